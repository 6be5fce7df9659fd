/**
 * Is this the same rule, written by another program? nft -nn prints `ct state 0x8` where nft list prints `ct state new`,
 * and the nft face of an iptables rule lacks its comment and the matches nft cannot say.
 */
import type { Match, Rule } from '../model.ts';
import { protocolName } from '../protocols.ts';
import { stateNames } from './evaluate.ts';

/** Two spellings of one rule of nft: every condition and the target must agree. */
export function sameNftRule(a: Rule, b: Rule): boolean {
  return canonical(a) === canonical(b);
}

/**
 * The same but for values that one text has as a number and the other as a word: nft -nn, nft of another version, and a word
 * this program does not know.
 */
export function likeNftRule(a: Rule, b: Rule): boolean {
  return (
    skeleton(a) === skeleton(b) &&
    a.matches.every((match, i) => likeValues(match.args, b.matches[i]?.args ?? [])) &&
    likeValues(a.targetArgs, b.targetArgs)
  );
}

/** All of a rule but its values. */
function skeleton(rule: Rule): string {
  const conditions = rule.matches.map(match => `${match.kind} ${match.negated} ${match.mask === undefined}`);
  return [...conditions, rule.vmap?.key.join('.') ?? '', rule.vmap?.map ?? '', rule.target ?? '', rule.goto].join('|');
}

function likeValues(a: string[], b: string[]): boolean {
  const one = a.map(numeric).join(' ');
  const other = b.map(numeric).join(' ');
  return one === other || /^\d+$/.test(one) !== /^\d+$/.test(other);
}

function canonical(rule: Rule): string {
  const conditions = rule.matches.map(
    match => `${match.kind} ${match.negated ? '!' : ''}${match.mask ? `&${numeric(match.mask)} ` : ''}${textOf(match)}`,
  );
  const map = rule.vmap ? `${rule.vmap.key.join('.')} ${rule.vmap.map ?? JSON.stringify(rule.vmap.elements)}` : '';
  const args = rule.target === 'MARK' ? assignment(rule.targetArgs) : rule.targetArgs.map(numeric);
  return [...conditions, map, rule.target ?? '', args.join(' ')].join('|');
}

/** nft 1.0 writes `mark or 0x4000`, nft 1.1 `meta mark | 0x00004000`. */
function assignment(words: string[]): string[] {
  return words.filter(word => word !== 'meta').map(word => ({ or: '|', and: '&', xor: '^' })[word] ?? numeric(word));
}

function textOf(match: Match): string {
  const text = match.args.join(' ');
  if (match.kind === 'ct state') return stateNames(text.replace(/[{} ]/g, '')).split(',').sort().join(',');
  if (match.kind === 'ct status') return statusNames(text);
  if (match.kind === 'meta l4proto' || match.kind === 'ip protocol') return protocolName(text);
  return match.args.map(numeric).join(' ');
}

/** include/uapi/linux/netfilter/nf_conntrack_common.h, enum ip_conntrack_status; the words are nft's. */
const STATUS_BITS: [number, string][] = [
  [1, 'expected'],
  [2, 'seen-reply'],
  [4, 'assured'],
  [8, 'confirmed'],
  [16, 'snat'],
  [32, 'dnat'],
  [512, 'dying'],
];

function statusNames(text: string): string {
  if (!/^(0x[0-9a-f]+|\d+)$/.test(text)) return text.split(',').sort().join(',');
  const names = STATUS_BITS.filter(([bit]) => (Number(text) & bit) !== 0).map(([, name]) => name);
  return names.sort().join(',');
}

function numeric(text: string): string {
  return /^0x[0-9a-f]+$/i.test(text) ? String(Number(text)) : text.replace(/^"|"$/g, '');
}

/** iptables' names for the conditions both can say. */
const COMMON: Record<string, string> = {
  'ip saddr': 'src',
  'ip6 saddr': 'src',
  'ip daddr': 'dst',
  'ip6 daddr': 'dst',
  iifname: 'in',
  oifname: 'out',
  'meta l4proto': 'proto',
  'ip protocol': 'proto',
};

/** Can the nft text be this iptables rule? The target must agree, and so must every condition both can say. */
export function sameAcrossSyntax(nft: Rule, iptables: Rule): boolean {
  if (targetOf(nft) !== targetOf(iptables) || nft.goto !== iptables.goto) return false;
  if (/DNAT|SNAT/.test(iptables.target ?? '') && !iptables.targetArgs.join(' ').includes(nft.targetArgs.at(-1) ?? ''))
    return false;
  return nft.matches.every(match => agrees(match, iptables)) && iptables.matches.every(match => foundIn(match, nft));
}

function targetOf(rule: Rule): string {
  return (rule.target ?? '').replace('CONNMARK', 'MARK');
}

function agrees(match: Match, iptables: Rule): boolean {
  const kind = COMMON[match.kind] ?? match.kind;
  const other = iptables.matches.find(m => m.kind === kind);
  return other === undefined || (other.negated === match.negated && plain(other.args[0]) === plain(match.args[0]));
}

function foundIn(match: Match, nft: Rule): boolean {
  if (!['src', 'dst', 'proto', 'in', 'out', 'tcp dport', 'udp dport'].includes(match.kind)) return true;
  return nft.matches.some(m => (COMMON[m.kind] ?? m.kind) === match.kind && plain(m.args[0]) === plain(match.args[0]));
}

function plain(value = ''): string {
  return protocolName(value.replace(/^"|"$/g, '').replace(/\/(32|128)$/, ''));
}
