/** What plugin/node-agent.sh says, line by line -> traces by source, evidence by kind, facts and receipts. */
import { own } from './strings.ts';

export interface AgentOutput {
  facts: Record<string, string>;
  /** Raw trace text by source: `nft-monitor`, `kmsg`, `nflog`. */
  traces: Map<string, string[]>;
  sections: { kind: string; name: string; lines: string[] }[];
  losses: string[];
  removed: string[];
  left: string[];
  said: string[];
  /** Why the agent gave up. */
  failure: string | undefined;
  ready: boolean;
  ended: boolean;
  /** Lines that are none of the protocol. */
  unknown: string[];
}

export function newAgentOutput(): AgentOutput {
  return {
    facts: {},
    traces: new Map(),
    sections: [],
    losses: [],
    removed: [],
    left: [],
    said: [],
    failure: undefined,
    ready: false,
    ended: false,
    unknown: [],
  };
}

const SOURCES: Record<string, string> = { n: 'nft-monitor', k: 'kmsg', p: 'nflog' };

/** Adds one line. Sections hold lines with a blank before them, so nothing in them can be taken for the protocol. */
export function readAgentLine(output: AgentOutput, line: string): void {
  if (line.startsWith(' ')) {
    const section = output.sections.at(-1);
    if (section) section.lines.push(own(line.slice(1)));
    else output.unknown.push(own(line));
    return;
  }
  const [, word = '', rest = ''] = /^@(\w+) ?(.*)$/s.exec(line) ?? [];
  const source = SOURCES[word];
  if (source !== undefined) {
    const lines = output.traces.get(source) ?? [];
    lines.push(own(rest));
    output.traces.set(source, lines);
    return;
  }
  const reader = WORDS[word];
  if (reader) reader(output, own(rest));
  else if (line.trim() !== '') output.unknown.push(own(line.slice(0, 500)));
}

const WORDS: Record<string, (output: AgentOutput, rest: string) => void> = {
  fact(output, rest) {
    const [, key = '', value = ''] = /^(\S+) ?(.*)$/.exec(rest) ?? [];
    output.facts[key] = value;
  },
  begin(output, rest) {
    const [kind = '', name = ''] = rest.split(' ');
    output.sections.push({ kind, name, lines: [] });
  },
  end() {},
  step() {},
  finished(output) {
    output.ended = true;
  },
  ready(output) {
    output.ready = true;
  },
  lost: (output, rest) => void output.losses.push(rest),
  over: (output, rest) =>
    void output.losses.push(`${rest || 'a source'}: its line budget was used up, what came after is missing`),
  removed: (output, rest) => void output.removed.push(rest),
  left: (output, rest) => void output.left.push(rest),
  say: (output, rest) => void output.said.push(rest),
  fail(output, rest) {
    output.failure ??= rest;
  },
};
