/** How likely each endpoint was to be picked, from the rules of a Service's chain. */
import type { Chain, Rule } from '../model.ts';

/** `1 of 3`, or a percentage where the odds are not even. Undefined where the rule picks no endpoint by chance. */
export function oddsOf(chain: Chain, rule: Rule): string | undefined {
  const modulus = /numgen (?:random|inc) mod (\d+)/.exec(rule.vmap?.key.join(' ') ?? '')?.[1];
  if (modulus !== undefined) return outOf(Number(modulus));
  const shares = sharesOf(chain);
  const share = shares.get(rule);
  if (share === undefined) return undefined;
  const even = Math.abs(share - 1 / shares.size) < 0.001;
  return even ? outOf(shares.size) : `${Math.round(share * 1000) / 10} %`;
}

/** The rules of a Service's chain that pick an endpoint, each with its share of all packets: 0 to 1. */
export function sharesOf(chain: Chain): Map<Rule, number> {
  let left = 1;
  return new Map(
    chain.rules.filter(isPick).map(rule => {
      const share = left * probability(rule);
      left -= share;
      return [rule, share];
    }),
  );
}

/** A rule that sends to an endpoint by chance, or takes what is left over; affinity's rules send by memory. */
function isPick(rule: Rule): boolean {
  return /^KUBE-SEP-/.test(rule.target ?? '') && !isAffinity(rule);
}

/** iptables: `-m statistic --mode random --probability 0.5`. The last rule has none and takes every packet that is left. */
function probability(rule: Rule): number {
  const match = rule.matches.find(m => m.kind === 'statistic probability');
  if (match) return Number(match.args[0]);
  const random = rule.matches.find(m => m.kind === 'meta random <');
  return random ? Number(random.args[0]) / 2 ** 31 : 1;
}

export function isAffinity(rule: Rule): boolean {
  return (
    affinitySeconds(rule) !== undefined ||
    rule.matches.some(m => /^ip6? saddr$/.test(m.kind) && /^@affinity-/.test(m.args[0] ?? ''))
  );
}

/** The same of a line of nft's trace, where no rules were given. */
export function isAffinityText(text: string | undefined): boolean {
  return /^ip6? saddr @affinity-/.test(text ?? '');
}

/** `-m recent --rcheck --seconds 10800`. */
export function affinitySeconds(rule: Rule): number | undefined {
  const seconds = rule.matches.find(m => m.kind === 'recent seconds')?.args[0];
  return rule.matches.some(m => m.kind === 'recent rcheck') && seconds !== undefined ? Number(seconds) : undefined;
}

export function durationText(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  return seconds % 60 === 0 ? `${seconds / 60} min` : `${seconds} s`;
}

export function outOf(count: number): string {
  return count === 1 ? 'the only one' : `1 of ${count}`;
}
