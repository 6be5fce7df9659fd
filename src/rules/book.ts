/**
 * All rules that were given, and what a trace's (table, chain, rule) means in them. Two snapshots of one table are two
 * moments: where they differ, a rule's text is only as sure as the moment it was taken at.
 */
import type { Backend, Chain, Family, NamedSet, Rule, Ruleset, Table, TableFamily } from '../model.ts';

export interface ChainRef {
  table: Table;
  chain: Chain;
}

export interface RuleBook {
  rulesets: Ruleset[];
  /** Every snapshot's view of a chain, oldest first. */
  chain(backend: Backend, family: TableFamily, table: string, chain: string): ChainRef[];
  /** Tables the snapshots show for a backend and family. */
  tables(backend: Backend, family: Family): Table[];
  /** True where some snapshot tells the rules of this backend and family. */
  covers(backend: Backend, family: Family): boolean;
  sets(table: Table): (name: string) => NamedSet | undefined;
  /** Chains whose rules differ between two snapshots: `family table chain`. */
  changed(backend: Backend, family: TableFamily, table: string, chain: string): boolean;
  /** Some chain differs between two snapshots. */
  anyChanged: boolean;
  /** Some rule looks at the sender's port, which differs from connection to connection. */
  asksSourcePorts: boolean;
}

export function createRuleBook(rulesets: Ruleset[], ipsets: NamedSet[]): RuleBook {
  const index = new Map<string, ChainRef[]>();
  for (const ruleset of rulesets)
    for (const table of ruleset.tables)
      for (const chain of table.chains.values()) {
        const key = keyOf(table.backend, table.family, table.name, chain.name);
        const list = index.get(key) ?? [];
        list.push({ table, chain });
        index.set(key, list);
      }
  const tablesOf = (backend: Backend, family: Family): Table[] =>
    rulesets.flatMap(r => r.tables.filter(t => t.backend === backend && (t.family === family || t.family === 'inet')));
  const tablesLike = (table: Table): Table[] =>
    rulesets
      .flatMap(r => r.tables)
      .filter(t => t.name === table.name && t.family === table.family && t.backend === table.backend);
  const differs = new Map([...index].map(([key, refs]) => [key, refs.length > 1 && differ(refs)] as const));
  const ipset = new Map(ipsets.map(set => [set.name, set]));
  return {
    rulesets,
    chain: (backend, family, table, chain) => index.get(keyOf(backend, family, table, chain)) ?? [],
    tables: tablesOf,
    covers: (backend, family) => tablesOf(backend, family).length > 0,
    sets: table => name => setOf(tablesLike(table), name) ?? ipset.get(name),
    changed: (backend, family, table, chain) => differs.get(keyOf(backend, family, table, chain)) ?? false,
    anyChanged: [...differs.values()].some(Boolean),
    asksSourcePorts: rulesets.some(r =>
      r.tables.some(t =>
        [...t.chains.values()].some(c =>
          c.rules.some(rule => rule.matches.some(m => /sport|multiport ports/.test(m.kind))),
        ),
      ),
    ),
  };
}

/** A set that two snapshots show with different elements changed while the trace ran: what it held for a packet is not known. */
function setOf(tables: Table[], name: string): NamedSet | undefined {
  const found = tables.flatMap(table => table.sets.get(name) ?? []);
  const [first] = found;
  if (!first || first.changing || found.length === 1) return first;
  const text = JSON.stringify(first.elements);
  return found.every(set => JSON.stringify(set.elements) === text) ? first : { ...first, changing: true };
}

function keyOf(backend: Backend, family: string, table: string, chain: string): string {
  return `${backend} ${family} ${table} ${chain}`;
}

/** Only texts of the same program can be compared: iptables-save with iptables-save, nft with nft. */
function differ(refs: ChainRef[]): boolean {
  const bySyntax = [refs.filter(ref => isNftText(ref.table)), refs.filter(ref => !isNftText(ref.table))];
  return bySyntax.some(same => same.some(ref => rulesText(ref.chain) !== rulesText((same[0] as ChainRef).chain)));
}

/** nft's own listing has handles or chain types; iptables-save never has. */
export function isNftText(table: Table): boolean {
  for (const chain of table.chains.values()) {
    if (chain.type !== undefined || chain.rules.some(rule => rule.handle !== undefined)) return true;
    if (chain.packets !== undefined || (chain.hook !== undefined && chain.type === undefined)) return false;
  }
  return table.sets.size > 0;
}

function rulesText(chain: Chain): string {
  return chain.rules
    .filter(rule => !isOwnRule(rule))
    .map(rule => rule.text)
    .join('\n');
}

/** Rules a tracer inserted itself, this program's or anybody's: they come and go and are not the node's. */
export function isOwnRule(rule: Rule): boolean {
  return rule.target === 'TRACE';
}
