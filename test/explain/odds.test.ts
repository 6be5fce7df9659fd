import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { affinitySeconds, durationText, isAffinity, oddsOf, outOf } from '../../src/explain/odds.ts';
import type { Chain } from '../../src/model.ts';
import { parseIptablesSave } from '../../src/parse/iptables-save.ts';
import { parseNftRuleset } from '../../src/parse/nft-ruleset.ts';

function chainOf(rules: string[]): Chain {
  const seps = [...new Set(rules.flatMap(rule => /KUBE-SEP-\S+/.exec(rule)?.[0] ?? []))];
  const text = `*nat\n:KUBE-SVC-A - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n${seps.map(name => `:${name} - [0:0]\n`).join('')}${rules.map(rule => `-A KUBE-SVC-A ${rule}\n`).join('')}COMMIT\n`;
  const chain = parseIptablesSave(text, 'rules')[0]?.tables[0]?.chains.get('KUBE-SVC-A');
  if (!chain) throw new Error('no chain');
  return chain;
}

function oddsIn(chain: Chain): (string | undefined)[] {
  return chain.rules.map(rule => oddsOf(chain, rule));
}

const random = (probability: string, to: string) =>
  `-m statistic --mode random --probability ${probability} -j KUBE-SEP-${to}`;

describe("how likely each endpoint was, by kube-proxy's own rules", () => {
  test.each<[string, string[], (string | undefined)[]]>([
    ['one endpoint', ['-j KUBE-SEP-1'], ['the only one']],
    ['two', [random('0.50000000000', '1'), '-j KUBE-SEP-2'], ['1 of 2', '1 of 2']],
    [
      'three',
      [random('0.33333333349', '1'), random('0.50000000000', '2'), '-j KUBE-SEP-3'],
      ['1 of 3', '1 of 3', '1 of 3'],
    ],
    [
      'five, with a masquerade in front',
      [
        '! -s 10.244.0.0/16 -j KUBE-MARK-MASQ',
        random('0.20000000019', '1'),
        random('0.25000000000', '2'),
        random('0.33333333349', '3'),
        random('0.50000000000', '4'),
        '-j KUBE-SEP-5',
      ],
      [undefined, '1 of 5', '1 of 5', '1 of 5', '1 of 5', '1 of 5'],
    ],
    ['uneven', [random('0.25000000000', '1'), '-j KUBE-SEP-2'], ['25 %', '75 %']],
    ['uneven, three', [random('0.1', '1'), random('0.5', '2'), '-j KUBE-SEP-3'], ['10 %', '45 %', '45 %']],
    [
      "affinity's rules pick by memory, the others by chance",
      [
        '-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-1 --mask 255.255.255.255 --rsource -j KUBE-SEP-1',
        random('0.5', '1'),
        '-j KUBE-SEP-2',
      ],
      [undefined, '1 of 2', '1 of 2'],
    ],
    ['a rule that is none of this', ['-j KUBE-SVL-X'], [undefined]],
  ])('%s', (_, rules, odds) => {
    expect(oddsIn(chainOf(rules))).toEqual(odds);
  });

  test('whatever the number of endpoints, kube-proxy writes even odds', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 60 }), count => {
        // pkg/proxy/iptables/proxier.go computeProbability(): %0.10f of 1/n for the n endpoints that are left.
        const rules = Array.from({ length: count }, (_, i) =>
          i === count - 1 ? `-j KUBE-SEP-${i}` : random((1 / (count - i)).toFixed(10), String(i)),
        );
        expect(oddsIn(chainOf(rules))).toEqual(rules.map(() => `1 of ${count}`));
      }),
      { numRuns: 40 },
    );
  });

  test('whatever the probabilities, the odds of all rules are one in all', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0.01, max: 0.99, noNaN: true }), { minLength: 1, maxLength: 8 }),
        shares => {
          const chain = chainOf([
            ...shares.map((share, i) => random(share.toFixed(10), String(i))),
            '-j KUBE-SEP-LAST',
          ]);
          const picks = chain.rules.length;
          const sum = oddsIn(chain).reduce((all, text) => {
            if (text === undefined) throw new Error('no odds');
            return (
              all + (text.endsWith('%') ? Number(text.slice(0, -2)) / 100 : text === 'the only one' ? 1 : 1 / picks)
            );
          }, 0);
          expect(sum).toBeCloseTo(1, 1);
        },
      ),
    );
  });

  test("nftables: numgen's modulus tells", () => {
    const ruleset = parseNftRuleset(
      'table ip kube-proxy {\n\tchain service-A-default/web/tcp/http {\n\t\tnumgen random mod 3 vmap { 0 : goto a, 1 : goto b, 2 : goto c } # handle 4\n\t}\n}\n',
      'rules',
    );
    const chain = ruleset?.tables[0]?.chains.get('service-A-default/web/tcp/http') as Chain;
    expect(oddsIn(chain)).toEqual(['1 of 3']);
  });
});

describe('session affinity', () => {
  const [kept, set, plain] = chainOf([
    '-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-1 --mask 255.255.255.255 --rsource -j KUBE-SEP-1',
    '-m recent --set --name KUBE-SEP-1 --mask 255.255.255.255 --rsource -j KUBE-SEP-1',
    '-j KUBE-SEP-1',
  ]).rules;
  test('a rule that looks whether it was here before', () => {
    expect(kept && isAffinity(kept)).toBe(true);
    expect(kept && affinitySeconds(kept)).toBe(10_800);
  });
  test('not one that only notes it, and not one without', () => {
    for (const rule of [set, plain]) {
      expect(rule && isAffinity(rule)).toBe(false);
      expect(rule && affinitySeconds(rule)).toBeUndefined();
    }
  });
});

test.each([
  [10_800, '3 h'],
  [3600, '1 h'],
  [60, '1 min'],
  [90, '90 s'],
  [5400, '90 min'],
  [1, '1 s'],
])('%d seconds are %s', (seconds, text) => {
  expect(durationText(seconds)).toBe(text);
});

test('one of one is the only one', () => {
  expect(outOf(1)).toBe('the only one');
  expect(outOf(4)).toBe('1 of 4');
});
