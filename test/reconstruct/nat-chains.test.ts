/** nat chains are known by their type, whatever they and their tables are called, and a table may have several at a hook. */
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { captureWith, type Fields, nftPacket, nftPolicy, nftRule, rulesOf } from './packets.ts';

const chain = (name: string, type: string, hook: string, priority: number, ...rules: string[]) =>
  `\tchain ${name} {\n\t\ttype ${type} hook ${hook} priority ${priority}; policy accept;\n${rules.map(rule => `\t\t${rule}\n`).join('')}\t}\n`;

const RULES = `table ip edge {
${chain('early', 'nat', 'prerouting', -110)}${chain('redirected', 'nat', 'prerouting', -100, 'tcp dport 80 dnat to 10.244.2.9:8080')}${chain('through', 'filter', 'forward', 0)}${chain('outward', 'nat', 'postrouting', 100)}}
`;

const IN: Fields = { in: 'veth1' };
const TRANSLATED: Fields = { in: 'veth1', out: 'eth0', ttl: 63, dst: '10.244.2.9', dpt: 8080 };

const WAY: [string, string[]][] = [
  ['early', [nftPacket('a1', 'edge early', IN), nftPolicy('a1', 'edge early')]],
  [
    'redirected',
    [
      nftPacket('a1', 'edge redirected', IN),
      nftRule('a1', 'edge redirected', 'tcp dport 80 dnat to 10.244.2.9:8080', 'accept'),
    ],
  ],
  ['through', [nftPacket('a1', 'edge through', TRANSLATED), nftPolicy('a1', 'edge through')]],
  [
    'outward',
    [
      nftPacket('a1', 'edge outward', { out: 'eth0', ttl: 63, dst: '10.244.2.9', dpt: 8080 }),
      nftPolicy('a1', 'edge outward'),
    ],
  ],
];

const gapsWithout = (lost: string) => {
  const lines = WAY.filter(([name]) => name !== lost).flatMap(([, own]) => own);
  const report = analyse(captureWith(lines, { rules: rulesOf(RULES) }));
  return report.journeys.flatMap(journey => journey.hops.filter(hop => hop.event === 'gap').map(hop => hop.text));
};

describe('nat chains with names of their own', () => {
  test('nothing is missing where all spoke', () => expect(gapsWithout('none')).toEqual([]));
  test.each(['redirected', 'through'])('the lines of chain %s are missed', lost =>
    expect(gapsWithout(lost).join('\n')).toContain(lost),
  );
});
