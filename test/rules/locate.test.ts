import { describe, expect, it } from 'vitest';
import type { Ruleset } from '../../src/model.ts';
import { parseNftRuleset } from '../../src/parse/nft-ruleset.ts';
import { createRuleBook } from '../../src/rules/book.ts';
import { locate } from '../../src/rules/locate.ts';

const NONE = createRuleBook([], []);
const RULES = createRuleBook(
  [
    parseNftRuleset(
      'table inet fw {\n\tchain odd {\n\t\ttype filter hook output priority filter + 3; policy accept;\n\t}\n\tchain pre {\n\t\taccept\n\t}\n}\n',
      'f',
    ) as Ruleset,
  ],
  [],
);

describe('where a base chain of nft stands', () => {
  it.each([
    { name: 'by its rules', book: RULES, base: ['inet', 'fw', 'odd', 'eth0', undefined], want: ['output', 3] },
    {
      name: 'rules that know it only as a user chain do not tell',
      book: RULES,
      base: ['inet', 'fw', 'pre', 'eth0', undefined],
      want: ['prerouting', undefined],
    },
    {
      name: 'this program’s own',
      book: NONE,
      base: ['ip', 'trace_svc_1', 'pre', 'eth0', undefined],
      want: ['prerouting', -350],
    },
    {
      name: 'this program’s own, after conntrack',
      book: NONE,
      base: ['ip', 'trace_svc_1', 'pre2', 'eth0', undefined],
      want: ['prerouting', -150],
    },
    {
      name: 'this program’s own, at the end',
      book: NONE,
      base: ['ip', 'trace_svc_1', 'post', 'cni0', 'eth0'],
      want: ['postrouting', 300],
    },
    {
      name: 'kube-proxy’s',
      book: NONE,
      base: ['ip', 'kube-proxy', 'nat-prerouting', 'eth0', undefined],
      want: ['prerouting', -100],
    },
    {
      name: 'kube-proxy’s before DNAT',
      book: NONE,
      base: ['ip6', 'kube-proxy', 'filter-output-pre-dnat', undefined, 'eth0'],
      want: ['output', -110],
    },
    {
      name: 'kube-proxy’s, whose priority changed with its releases',
      book: NONE,
      base: ['ip', 'kube-proxy', 'filter-forward', 'a', 'b'],
      want: ['forward', undefined],
    },
    { name: 'iptables’ builtin', book: NONE, base: ['ip', 'nat', 'POSTROUTING', 'a', 'b'], want: ['postrouting', 100] },
    {
      name: 'iptables’ builtin in the filter table',
      book: NONE,
      base: ['ip', 'filter', 'FORWARD', 'a', 'b'],
      want: ['forward', 0],
    },
    {
      name: 'by its name: srcnat',
      book: NONE,
      base: ['ip', 't', 'my_srcnat', 'a', 'b'],
      want: ['postrouting', undefined],
    },
    {
      name: 'by its name: forward',
      book: NONE,
      base: ['ip', 't', 'fwd_rules', 'a', 'b'],
      want: ['forward', undefined],
    },
    {
      name: 'by its name: input',
      book: NONE,
      base: ['ip', 't', 'filter_INPUT', 'a', undefined],
      want: ['input', undefined],
    },
    {
      name: 'by its name: output',
      book: NONE,
      base: ['ip', 't', 'output_x', undefined, 'b'],
      want: ['output', undefined],
    },
    {
      name: 'a name that contradicts the interfaces is no evidence',
      book: NONE,
      base: ['ip', 't', 'pre', 'a', 'b'],
      want: ['forward', undefined],
    },
    {
      name: 'by its interfaces: in',
      book: NONE,
      base: ['ip', 't', 'xyz', 'a', undefined],
      want: ['prerouting', undefined],
    },
    {
      name: 'by its interfaces: out',
      book: NONE,
      base: ['ip', 't', 'xyz', undefined, 'b'],
      want: ['output', undefined],
    },
    { name: 'by its interfaces: both', book: NONE, base: ['ip', 't', 'xyz', 'a', 'b'], want: ['forward', undefined] },
  ] as const)('$name', ({ book, base, want }) => {
    const [family, table, chain, inward, outward] = base;
    const { hook, priority } = locate(book, { family, table, chain, in: inward, out: outward });
    expect([hook, priority]).toEqual(want);
  });
});
