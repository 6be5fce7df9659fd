/** Which base chains lead to a user chain, by jumps and gotos, as far as rules or names tell. */
import type { Chain, Hook, SetElement, Table, TableFamily } from '../model.ts';
import type { RuleBook } from './book.ts';
import { tableHooks, tablePriority } from './hooks.ts';

export interface Caller {
  hook: Hook;
  priority: number | undefined;
  /** Undefined where only the hook is known. */
  base: string | undefined;
}

/** By the rules given: every base chain of the table from which the chain can be reached. Undefined: they do not have it, or it is a base chain itself. */
export function callersByRules(
  book: RuleBook,
  family: TableFamily,
  table: string,
  chain: string,
): Caller[] | undefined {
  const key = `${family} ${table} ${chain}`;
  const found = known.get(book) ?? new Map<string, Caller[] | undefined>();
  known.set(book, found);
  if (!found.has(key)) found.set(key, findCallers(book, family, table, chain));
  return found.get(key);
}

/** Asked for every line of a trace. */
const known = new WeakMap<RuleBook, Map<string, Caller[] | undefined>>();

function findCallers(book: RuleBook, family: TableFamily, table: string, chain: string): Caller[] | undefined {
  const refs = book.chain('nft', family, table, chain);
  if (refs.length === 0 || refs.some(ref => ref.chain.hook !== undefined)) return undefined;
  const callers = new Map<string, Caller>();
  for (const { table } of refs)
    for (const base of table.chains.values())
      if (base.hook && reaches(table, base, chain, new Set()))
        callers.set(base.name, { hook: base.hook, priority: base.priority, base: base.name });
  return [...callers.values()];
}

/** A chain of a table that iptables made, whose base chains have iptables' names: every hook of that table that may call it. */
export function callersByName(table: string, chain: string): Caller[] {
  return tableHooks(table)
    .filter(hook => mayCall(table, chain, hook))
    .map(hook => ({ hook, priority: tablePriority(table, hook), base: undefined }));
}

/** Of kube-proxy's nat chains, KUBE-POSTROUTING is called at postrouting, and all others before routing (pkg/proxy/iptables/proxier.go). */
export function mayCall(table: string, chain: string, hook: Hook): boolean {
  if (table !== 'nat' || !chain.startsWith('KUBE-')) return true;
  return (chain === 'KUBE-POSTROUTING') === (hook === 'postrouting' || hook === 'input');
}

function reaches(table: Table, from: Chain, to: string, passed: Set<string>): boolean {
  if (passed.has(from.name)) return false;
  passed.add(from.name);
  for (const name of calledBy(table, from)) {
    if (name === to) return true;
    const next = table.chains.get(name);
    if (next && reaches(table, next, to, passed)) return true;
  }
  return false;
}

function calledBy(table: Table, chain: Chain): string[] {
  return chain.rules.flatMap(({ target, vmap }) => {
    const elements: SetElement[] = vmap ? (vmap.elements ?? table.sets.get(vmap.map ?? '')?.elements ?? []) : [];
    const verdicts = elements.flatMap(({ verdict }) => /^(?:jump|goto) (\S+)$/.exec(verdict ?? '')?.[1] ?? []);
    return target === undefined ? verdicts : [...verdicts, target];
  });
}
