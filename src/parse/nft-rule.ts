/**
 * One rule of nft, as `nft list` and `nft monitor trace` print it: conditions, then what is done. What is not known stays
 * in the text and becomes a condition of kind `unknown`, which nobody may claim to have evaluated.
 */
import type { Match, Rule } from '../model.ts';
import { parseElements, splitNftWords, unquote } from './nft-words.ts';
import { own } from './strings.ts';

export function parseNftRule(line: string, number: number): Rule {
  const handle = / # handle (\d+)$/.exec(line);
  const words = splitNftWords(handle ? line.slice(0, handle.index) : line);
  const rule: Rule = { number, text: '', matches: [], targetArgs: [], goto: false };
  if (handle) rule.handle = Number(handle[1]);
  const reader = new Reader(words, rule);
  while (!reader.done()) reader.statement();
  rule.text = own(reader.shown());
  return rule;
}

const VERDICTS: Record<string, string> = {
  accept: 'ACCEPT',
  drop: 'DROP',
  return: 'RETURN',
  continue: 'CONTINUE',
  queue: 'QUEUE',
  reject: 'REJECT',
  masquerade: 'MASQUERADE',
  dnat: 'DNAT',
  snat: 'SNAT',
  redirect: 'REDIRECT',
  tproxy: 'TPROXY',
  notrack: 'NOTRACK',
  log: 'LOG',
};

/** Left-hand sides by their first word: how many words they have. */
const LENGTHS: Record<string, number> = {
  iif: 1,
  iifname: 1,
  oif: 1,
  oifname: 1,
  mark: 1,
  iiftype: 1,
  oiftype: 1,
  skuid: 1,
  skgid: 1,
  meta: 2,
  ip: 2,
  ip6: 2,
  tcp: 2,
  udp: 2,
  udplite: 2,
  sctp: 2,
  th: 2,
  icmp: 2,
  icmpv6: 2,
  ether: 2,
  vlan: 2,
  arp: 2,
  socket: 2,
  rt: 2,
  exthdr: 2,
  frag: 2,
  ct: 2,
  fib: 3,
  numgen: 4,
  jhash: 6,
};

class Reader {
  private at = 0;
  private readonly kept: string[] = [];
  private readonly words: string[];
  private readonly rule: Rule;
  constructor(words: string[], rule: Rule) {
    this.words = words;
    this.rule = rule;
  }

  done(): boolean {
    return this.at >= this.words.length;
  }

  /** The rule without counters and comment. */
  shown(): string {
    return this.kept.join(' ');
  }

  statement(): void {
    const from = this.at;
    const word = this.words[this.at] ?? '';
    if (word === 'counter') return this.counter();
    if (word === 'comment') return this.comment();
    if (word === 'jump' || word === 'goto') this.jump(word);
    else if (Object.hasOwn(VERDICTS, word)) this.verdict(word);
    else if (word === 'update' || word === 'add' || word === 'delete') this.setUpdate();
    else if (word === 'limit' || word === 'quota' || word === 'xt' || word === 'connlimit') this.opaque(word);
    else this.condition();
    if (this.at === from) this.at++;
    this.kept.push(...this.words.slice(from, this.at));
  }

  private counter(): void {
    this.at++;
    if (this.words[this.at] === 'packets') {
      this.rule.packets = Number(this.words[this.at + 1]);
      this.at += 4;
    } else if (this.words[this.at] === 'name') this.at += 2;
  }

  private comment(): void {
    this.rule.comment = own(unquote(this.words[this.at + 1] ?? ''));
    this.at += 2;
  }

  private jump(word: string): void {
    this.rule.target = own(this.words[this.at + 1] ?? '');
    this.rule.goto = word === 'goto';
    this.at += 2;
  }

  /** A terminal statement takes the rest of the line but counters and comments, which nft prints last or first. */
  private verdict(word: string): void {
    const from = this.at++;
    while (!this.done() && this.words[this.at] !== 'comment' && this.words[this.at] !== 'counter') {
      // `log prefix "x" drop`: a log goes on.
      if (word === 'log' && Object.hasOwn(VERDICTS, this.words[this.at] ?? '')) break;
      this.at++;
    }
    if (this.rule.target !== undefined && word === 'log') return;
    this.rule.target = VERDICTS[word] ?? word;
    this.rule.targetArgs = this.words.slice(from + 1, this.at).map(own);
  }

  private setUpdate(): void {
    this.rule.target ??= 'SET';
    this.at += 2;
    if (this.words[this.at]?.startsWith('{')) this.at++;
  }

  /** Conditions we print but cannot evaluate: rates, quotas, xtables extensions nft cannot translate. */
  private opaque(word: string): void {
    const from = this.at++;
    while (!this.done() && !this.startsStatement()) this.at++;
    const text = this.words.slice(from, this.at).join(' ');
    if (text === 'xt target "TRACE"') this.rule.target ??= 'TRACE';
    else if (/^xt match "comment"/.test(text)) return;
    else this.push({ kind: word, args: [], negated: false, text });
  }

  private startsStatement(): boolean {
    const word = this.words[this.at] ?? '';
    return (
      Object.hasOwn(VERDICTS, word) ||
      Object.hasOwn(LENGTHS, word) ||
      ['counter', 'comment', 'jump', 'goto', 'xt', 'limit'].includes(word)
    );
  }

  private condition(): void {
    const from = this.at;
    const key = this.leftSide();
    if (key.length === 0) {
      this.push({ kind: 'unknown', args: [], negated: false, text: this.words[this.at] ?? '' });
      return;
    }
    const mask = this.mask();
    const operator = this.words[this.at] ?? '';
    if (operator === 'set') return this.assignment(key);
    if (operator === 'vmap') return this.verdictMap(key);
    if (/^(==|!=|<=?|>=?)$/.test(operator)) this.at++;
    const args = this.rightSide();
    const match: Match = {
      kind: key.join(' . '),
      args,
      negated: operator === '!=',
      text: this.words.slice(from, this.at).join(' '),
    };
    if (mask !== undefined) match.mask = mask;
    if (operator.startsWith('<') || operator.startsWith('>')) match.kind = `${match.kind} ${operator}`;
    this.push(match);
  }

  private push(match: Match): void {
    this.rule.matches.push({ ...match, kind: own(match.kind), args: match.args.map(own), text: own(match.text) });
  }

  /** `ip daddr . meta l4proto . th dport`: its parts, or none where the words are not known. */
  private leftSide(): string[] {
    const parts: string[] = [];
    for (;;) {
      const word = this.words[this.at] ?? '';
      const length = word === 'ct' ? this.conntrackLength() : (LENGTHS[word] ?? 0);
      if (length === 0) break;
      parts.push(this.words.slice(this.at, this.at + length).join(' '));
      this.at += length;
      // `fib daddr . iif type local`
      while (word === 'fib' && this.words[this.at - 1] === '.') this.at += 2;
      if (this.words[this.at] !== '.') break;
      this.at++;
    }
    return parts;
  }

  /** `ct state`, `ct original proto-dst`, `ct original ip saddr`. */
  private conntrackLength(): number {
    const [, direction, next] = this.words.slice(this.at, this.at + 3);
    if (direction !== 'original' && direction !== 'reply') return 2;
    return next === 'ip' || next === 'ip6' ? 4 : 3;
  }

  private mask(): string | undefined {
    const word = this.words[this.at];
    if (word !== '&' && word !== 'and' && word !== '|' && word !== 'or' && word !== '^' && word !== 'xor')
      return undefined;
    const mask = this.words[this.at + 1];
    this.at += 2;
    return mask;
  }

  /** A value, or several joined by dots; a list in braces or behind commas is one word each. */
  private rightSide(): string[] {
    const args: string[] = [this.words[this.at++] ?? ''];
    while (this.words[this.at] === '.') {
      args.push(this.words[this.at + 1] ?? '');
      this.at += 2;
    }
    return args;
  }

  /** `meta mark set meta mark | 0x4000`, `meta nftrace set 1`: acts and goes on. */
  private assignment(key: string[]): void {
    const from = ++this.at;
    while (!this.done() && !this.startsNewStatement()) this.at++;
    if (this.rule.target !== undefined) return;
    const kind = key.join(' . ');
    this.rule.target =
      kind === 'meta nftrace' ? 'TRACE' : kind === 'ct mark' ? 'CONNMARK' : kind.endsWith('mark') ? 'MARK' : 'SET';
    this.rule.targetArgs = this.words.slice(from, this.at).map(own);
  }

  private startsNewStatement(): boolean {
    const before = this.words[this.at - 1] ?? '';
    if (/^(set|meta|ct|\||or|\^|xor|&|and|\.)$/.test(before)) return false;
    return this.startsStatement();
  }

  private verdictMap(key: string[]): void {
    const map = this.words[this.at + 1] ?? '';
    this.at += 2;
    this.rule.vmap = map.startsWith('@')
      ? { key, map: own(map.slice(1)) }
      : { key, elements: parseElements(map.slice(1, -1)) };
  }
}
