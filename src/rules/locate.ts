/**
 * Where a base chain of nft stands: from the rules if they were given, else from what its name and table are known for,
 * else from the interfaces the packet had there. The trace itself never says.
 */
import type { Hook, TableFamily } from '../model.ts';
import type { RuleBook } from './book.ts';
import { builtinHook, tablePriority } from './hooks.ts';

export interface Located {
  hook: Hook;
  priority: number | undefined;
}

/** kube-proxy's own base chains (pkg/proxy/nftables/proxier.go, Kubernetes 1.29 to 1.36). */
const KUBE_PROXY: Record<string, [Hook, number | undefined]> = {
  'filter-prerouting-pre-dnat': ['prerouting', -110],
  'filter-output-pre-dnat': ['output', -110],
  'filter-prerouting': ['prerouting', -110],
  // -110 up to 1.33, 0 since the checks moved behind DNAT.
  'filter-input': ['input', undefined],
  'filter-forward': ['forward', undefined],
  'filter-output': ['output', undefined],
  'filter-output-post-dnat': ['output', -90],
  'nat-prerouting': ['prerouting', -100],
  'nat-output': ['output', -100],
  'nat-postrouting': ['postrouting', 100],
};

/** This program's own injecting table, and what it is called in a run. */
const OWN: Record<string, [Hook, number]> = {
  pre: ['prerouting', -350],
  pre2: ['prerouting', -150],
  out: ['output', -350],
  post: ['postrouting', 300],
};

export const OWN_TABLE = /^trace_svc_/;

export interface BaseChain {
  family: TableFamily;
  table: string;
  chain: string;
  in: string | undefined;
  out: string | undefined;
}

export function locate(book: RuleBook, base: BaseChain): Located {
  return locateKnown(book, base) ?? { hook: hookByName(base) ?? hookByInterfaces(base), priority: undefined };
}

/** Of a chain that surely is a base chain: by the rules given, or because its owner has no other chain of that name. */
export function locateKnown(book: RuleBook, base: Omit<BaseChain, 'in' | 'out'>): Located | undefined {
  for (const { chain } of book.chain('nft', base.family, base.table, base.chain))
    if (chain.hook) return { hook: chain.hook, priority: chain.priority };
  const own = OWN_TABLE.test(base.table) && Object.hasOwn(OWN, base.chain) ? OWN[base.chain] : undefined;
  const known =
    own ?? (base.table === 'kube-proxy' && Object.hasOwn(KUBE_PROXY, base.chain) ? KUBE_PROXY[base.chain] : undefined);
  if (known) return { hook: known[0], priority: known[1] };
  const builtin = builtinHook(base.chain);
  return builtin && { hook: builtin, priority: tablePriority(base.table, builtin) };
}

/** Longer names first: `postrouting` contains neither of the others, but `out` is in `output` and `route`. */
const NAMES: [RegExp, Hook][] = [
  [/post|srcnat/i, 'postrouting'],
  [/pre|dstnat/i, 'prerouting'],
  [/forward|fwd/i, 'forward'],
  [/input/i, 'input'],
  [/output/i, 'output'],
];

/** A name that contradicts the interfaces is no evidence: before routing there is no output interface. */
function hookByName(base: BaseChain): Hook | undefined {
  const hook = NAMES.find(([name]) => name.test(base.chain))?.[1];
  return hook && fits(hook, base) ? hook : undefined;
}

function fits(hook: Hook, base: BaseChain): boolean {
  if (hook === 'prerouting' || hook === 'input') return base.out === undefined;
  if (hook === 'output') return base.in === undefined;
  return base.out !== undefined || base.in === undefined;
}

function hookByInterfaces(base: BaseChain): Hook {
  if (base.out === undefined) return 'prerouting';
  return base.in === undefined ? 'output' : 'forward';
}
