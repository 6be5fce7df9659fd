/**
 * `nft list ruleset` and `nft -a list ruleset` (handles), also `list table`. Format: nftables src/rule.c
 * (table_print(), chain_print_declaration(), set_print_declaration()).
 */
import type { Chain, Hook, NamedSet, Rule, Ruleset, Table } from '../model.ts';
import { parseNftRule } from './nft-rule.ts';
import { parseElements } from './nft-words.ts';
import { own } from './strings.ts';

/** One Ruleset, or none where the text holds no table. */
export function parseNftRuleset(text: string, source: string): Ruleset | undefined {
  const ruleset: Ruleset = { source, backend: 'nft', backendKnown: true, tables: [], unrecognised: [] };
  const lines = new Lines(text);
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    const head = /^table (\S+) (\S+) \{/.exec(line);
    if (head) readTable(lines, head[1] as Table['family'], head[2] ?? '', ruleset);
  }
  return ruleset.tables.length > 0 ? ruleset : undefined;
}

/** Lines, with those of one brace group put together: nft breaks the elements of a set over many. */
class Lines {
  private readonly lines: string[];
  private at = 0;
  constructor(text: string) {
    this.lines = text.split('\n');
  }
  next(): string | undefined {
    return this.lines[this.at++]?.trim();
  }
  /**
   * The line and those after it, until every brace it opened is closed again. A comment may hold braces, quotes (nft does not
   * escape them) and newlines: a line with its handle is whole whatever is in it.
   */
  whole(line: string): string {
    if (HANDLE.test(line)) return line;
    if (/ comment "[^"]*$/.test(line)) return this.untilHandle(line);
    const all = [line];
    for (let open = openBraces(line); open > 0 && this.at < this.lines.length; ) {
      const more = this.lines[this.at++]?.trim() ?? '';
      all.push(more);
      open += openBraces(more);
    }
    return all.join(' ');
  }
  /** A comment has 255 bytes at most; where no line ends it, the line stays as it is. */
  private untilHandle(line: string): string {
    let length = 0;
    for (let end = this.at; end < this.lines.length && length <= 255; end++) {
      const more = this.lines[end] as string;
      if (HANDLE.test(more)) {
        const all = [line, ...this.lines.slice(this.at, end + 1).map(one => one.trim())];
        this.at = end + 1;
        return all.join(' ');
      }
      length += more.length + 1;
    }
    return line;
  }
}

const HANDLE = / # handle \d+$/;

function openBraces(text: string): number {
  let open = 0;
  for (const found of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}]/g))
    open += found[0] === '{' ? 1 : found[0] === '}' ? -1 : 0;
  return open;
}

function readTable(lines: Lines, family: Table['family'], name: string, ruleset: Ruleset): void {
  const table: Table = { backend: 'nft', family, name: own(name), chains: new Map(), sets: new Map() };
  ruleset.tables.push(table);
  for (let line = lines.next(); line !== undefined && line !== '}'; line = lines.next()) {
    const block = /^(chain|set|map|counter|quota|limit|flowtable|ct \S+|secmark|synproxy) (\S+) \{/.exec(line);
    if (block?.[1] === 'chain') readChain(lines, table, block[2] ?? '', ruleset);
    else if (block?.[1] === 'set' || block?.[1] === 'map') readSet(lines, table, block[2] ?? '');
    else if (block) skipBlock(lines);
  }
}

function skipBlock(lines: Lines): void {
  for (let line = lines.next(); line !== undefined && line !== '}'; line = lines.next()) lines.whole(line);
}

function readSet(lines: Lines, table: Table, name: string): void {
  const set: NamedSet = { name: own(name), elements: [] };
  for (let line = lines.next(); line !== undefined && line !== '}'; line = lines.next()) {
    const whole = lines.whole(line);
    const timeout = /^timeout (\S+)/.exec(whole);
    if (timeout) set.timeout = own(timeout[1] ?? '');
    // Packets add elements to a dynamic set, and time takes elements from one with a timeout.
    if (timeout || /^flags .*\b(dynamic|timeout)\b/.test(whole)) set.changing = true;
    const elements = /^elements = \{(.*)\}$/s.exec(whole);
    if (elements) set.elements = parseElements(elements[1] ?? '');
  }
  table.sets.set(set.name, set);
}

const BASE = /^type (\S+) hook (\S+)(?: devices? \S+)? priority ([^;]+);(?: policy (\w+);)?/;

function readChain(lines: Lines, table: Table, name: string, ruleset: Ruleset): void {
  const chain: Chain = { name: own(name), rules: [] };
  table.chains.set(chain.name, chain);
  for (let line = lines.next(); line !== undefined && line !== '}'; line = lines.next()) {
    const whole = lines.whole(line);
    const base = BASE.exec(whole);
    if (base) {
      chain.type = own(base[1] ?? '');
      chain.hook = own(base[2] ?? '') as Hook;
      chain.priority = priorityOf(base[3] ?? '');
      chain.policy = (base[4] ?? 'accept').toUpperCase();
    } else if (whole !== '' && !/^comment "|^#/.test(whole)) chain.rules.push(numbered(whole, chain, ruleset));
  }
}

function numbered(text: string, chain: Chain, ruleset: Ruleset): Rule {
  const rule = parseNftRule(text, chain.rules.length + 1);
  if (rule.matches.some(match => match.kind === 'unknown'))
    ruleset.unrecognised.push({
      raw: rule.text,
      reason: `an expression in chain ${chain.name} that is shown but not evaluated`,
    });
  return rule;
}

/** Named priorities of the ip, ip6 and inet families (nftables src/rule.c, std_prio_mapping). */
const PRIORITIES: Record<string, number> = {
  raw: -300,
  mangle: -150,
  dstnat: -100,
  filter: 0,
  security: 50,
  srcnat: 100,
};

function priorityOf(text: string): number {
  const [, name = '', sign, offset] = /^([a-z]+|-?\d+)(?: ([+-]) (\d+))?$/.exec(text.trim()) ?? [];
  const start = PRIORITIES[name] ?? Number(name);
  return start + (offset === undefined ? 0 : Number(`${sign}${offset}`));
}
