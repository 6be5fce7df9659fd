import { describe, expect, it } from 'vitest';
import { newAgentOutput, readAgentLine } from '../../src/parse/agent-output.ts';
import { survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';

function read(...lines: string[]) {
  const output = newAgentOutput();
  for (const line of lines) readAgentLine(output, line);
  return output;
}

describe('what the node agent says', () => {
  it.each([
    { name: 'nothing', lines: [], want: { ready: false, ended: false, failure: undefined, unknown: [], sections: [] } },
    {
      name: 'facts',
      lines: ['@fact kernel 6.18.0', '@fact proxy-mode', '@fact note two words'],
      want: { facts: { kernel: '6.18.0', 'proxy-mode': '', note: 'two words' } },
    },
    {
      name: 'sections, whose lines cannot be taken for the protocol',
      lines: [
        '@begin iptables-save legacy',
        ' *nat',
        ' @ready',
        '  :X - [0:0]',
        ' ',
        '@end',
        '@begin conntrack',
        ' tcp 6',
      ],
      want: {
        sections: [
          { kind: 'iptables-save', name: 'legacy', lines: ['*nat', '@ready', ' :X - [0:0]', ''] },
          { kind: 'conntrack', name: '', lines: ['tcp 6'] },
        ],
        ready: false,
      },
    },
    { name: 'readiness and end', lines: ['@ready', '@finished'], want: { ready: true, ended: true } },
    {
      name: 'losses',
      lines: ['@lost kmsg overrun', '@over nflog', '@over'],
      want: {
        losses: [
          'kmsg overrun',
          'nflog: its line budget was used up, what came after is missing',
          'a source: its line budget was used up, what came after is missing',
        ],
      },
    },
    {
      name: 'receipts',
      lines: ['@removed table ip x', '@left rule y'],
      want: { removed: ['table ip x'], left: ['rule y'] },
    },
    { name: 'the first failure', lines: ['@fail no nft', '@fail and more'], want: { failure: 'no nft' } },
    { name: 'what it says to people', lines: ['@say hello there'], want: { said: ['hello there'] } },
    {
      name: 'other lines',
      lines: ['sh: nft: not found', '', '   ', '@unheard of'],
      want: { unknown: ['sh: nft: not found', '   ', '@unheard of'] },
    },
  ])('$name', ({ lines, want }) => expectLike(read(...lines), want));

  it('traces by their source, in order', () =>
    expect([
      ...read('@n trace id 1 ip t c policy accept', '@k 4,1,2,-;TRACE: x', '@n  # ERROR', '@p \t0x0000:  0200', '@n')
        .traces,
    ]).toEqual([
      ['nft-monitor', ['trace id 1 ip t c policy accept', ' # ERROR', '']],
      ['kmsg', ['4,1,2,-;TRACE: x']],
      ['nflog', ['\t0x0000:  0200']],
    ]));
});

survivesAnything(
  text => read(...text.split('\n')),
  [
    '@fact kernel 6.18\n@begin iptables-save legacy\n *nat\n@end\n@ready',
    '@n trace id 1 ip t c policy accept\n@lost x\n@over k\n@finished',
    '@fail why\n@removed a\n@left b',
  ],
  output => {
    for (const { kind, lines } of output.sections)
      expect([typeof kind, Array.isArray(lines)]).toEqual(['string', true]);
    for (const [source] of output.traces) expect(typeof source).toBe('string');
  },
);
