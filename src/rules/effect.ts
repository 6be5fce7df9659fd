/** What a rule does to a packet that matched it, as far as its text tells. */
import type { Chain, Rule, Table } from '../model.ts';

export type Effect =
  | { kind: 'jump' | 'goto'; chain: string }
  | { kind: 'accept' | 'drop' | 'reject' | 'return' | 'continue' }
  /** A verdict map, or a target we do not know. */
  | { kind: 'unknown' };

const ACCEPTING = new Set([
  'ACCEPT',
  'DNAT',
  'SNAT',
  'MASQUERADE',
  'REDIRECT',
  'NETMAP',
  'TPROXY',
  'QUEUE',
  'NFQUEUE',
  'SYNPROXY',
]);

/** Targets that act and let the packet go on to the next rule (iptables-extensions(8), "non-terminating"). */
const CONTINUING = new Set(
  'MARK CONNMARK LOG NFLOG ULOG TRACE CT NOTRACK TCPMSS TCPOPTSTRIP DSCP TOS ECN TTL HL CLASSIFY SET SECMARK CONNSECMARK CHECKSUM AUDIT TEE HMARK RATEEST IDLETIMER LED CONTINUE'.split(
    ' ',
  ),
);

/** Does it take packets out of conntrack's hands, and with that out of nat's? */
export function isNotrack({ target, targetArgs }: Rule): boolean {
  return target === 'NOTRACK' || (target === 'CT' && targetArgs.includes('--notrack'));
}

export function effectOf(rule: Rule, table: Table | undefined): Effect {
  const target = rule.target;
  if (rule.vmap) return { kind: 'unknown' };
  if (target === undefined) return { kind: 'continue' };
  if (target === 'DROP') return { kind: 'drop' };
  if (target === 'REJECT' || target === 'TARPIT') return { kind: 'reject' };
  if (target === 'RETURN') return { kind: 'return' };
  if (ACCEPTING.has(target)) return { kind: 'accept' };
  if (CONTINUING.has(target)) return { kind: 'continue' };
  if (table?.chains.has(target)) return { kind: rule.goto ? 'goto' : 'jump', chain: target };
  return { kind: 'unknown' };
}

/** The same from nft's verdict, which the kernel itself reported. `drop` of a reject statement is a reject. */
export function effectOfVerdict(verdict: string, rule: Rule | undefined): Effect {
  const [word = '', chain] = verdict.split(' ');
  if ((word === 'jump' || word === 'goto') && chain !== undefined) return { kind: word, chain };
  if (word === 'drop') return { kind: rule?.target === 'REJECT' ? 'reject' : 'drop' };
  if (word === 'accept' || word === 'return' || word === 'continue') return { kind: word };
  if (word === 'queue' || word === 'stolen') return { kind: 'accept' };
  return { kind: 'unknown' };
}

/** How people write it: ACCEPT, jump KUBE-SERVICES. */
export function verdictText(effect: Effect): string | undefined {
  if (effect.kind === 'jump' || effect.kind === 'goto') return `${effect.kind} ${effect.chain}`;
  return effect.kind === 'unknown' ? undefined : effect.kind.toUpperCase();
}

export function policyEffect(chain: Chain | undefined): Effect {
  if (chain?.policy === undefined) return { kind: 'unknown' };
  return { kind: chain.policy === 'DROP' ? 'drop' : 'accept' };
}
