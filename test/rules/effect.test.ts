import { describe, expect, it } from 'vitest';
import type { Chain, Table } from '../../src/model.ts';
import { parseRule } from '../../src/parse/iptables-save.ts';
import { parseNftRule } from '../../src/parse/nft-rule.ts';
import { effectOf, effectOfVerdict, policyEffect, verdictText } from '../../src/rules/effect.ts';

const chain = (name: string): Chain => ({ name, rules: [] });
const TABLE: Table = {
  backend: 'legacy',
  family: 'ip',
  name: 'nat',
  chains: new Map([['KUBE-SERVICES', chain('KUBE-SERVICES')]]),
  sets: new Map(),
};

describe('what a rule does', () => {
  it.each([
    { text: '-j ACCEPT', want: { kind: 'accept' } },
    { text: '-j DROP', want: { kind: 'drop' } },
    { text: '-j REJECT --reject-with icmp-port-unreachable', want: { kind: 'reject' } },
    { text: '-j TARPIT', want: { kind: 'reject' } },
    { text: '-j RETURN', want: { kind: 'return' } },
    { text: '-j KUBE-SERVICES', want: { kind: 'jump', chain: 'KUBE-SERVICES' } },
    { text: '-g KUBE-SERVICES', want: { kind: 'goto', chain: 'KUBE-SERVICES' } },
    { text: '-j DNAT --to-destination 10.0.0.1:80', want: { kind: 'accept' } },
    { text: '-j SNAT --to-source 10.0.0.1', want: { kind: 'accept' } },
    { text: '-j MASQUERADE', want: { kind: 'accept' } },
    { text: '-j REDIRECT --to-ports 80', want: { kind: 'accept' } },
    { text: '-j MARK --set-xmark 0x4000/0x4000', want: { kind: 'continue' } },
    { text: '-j LOG --log-prefix x', want: { kind: 'continue' } },
    { text: '-j NFLOG', want: { kind: 'continue' } },
    { text: '-j TRACE', want: { kind: 'continue' } },
    { text: '-j CT --notrack', want: { kind: 'continue' } },
    { text: '-p tcp', want: { kind: 'continue' } },
    { text: '-j SOMETHING-NEW', want: { kind: 'unknown' } },
  ])('$text', ({ text, want }) => expect(effectOf(parseRule(text, 1), TABLE)).toEqual(want));

  it.each([
    { text: 'accept', want: { kind: 'accept' } },
    { text: 'ip daddr 10.0.0.1 reject', want: { kind: 'reject' } },
    { text: 'jump KUBE-SERVICES', want: { kind: 'jump', chain: 'KUBE-SERVICES' } },
    { text: 'meta mark set 0x4000', want: { kind: 'continue' } },
    { text: 'counter packets 0 bytes 0', want: { kind: 'continue' } },
    { text: 'meta nftrace set 1', want: { kind: 'continue' } },
    { text: 'ip daddr vmap @service-ips', want: { kind: 'unknown' } },
    { text: 'notrack', want: { kind: 'continue' } },
    { text: 'queue num 0', want: { kind: 'accept' } },
  ])('nft: $text', ({ text, want }) => expect(effectOf(parseNftRule(text, 1), TABLE)).toEqual(want));

  it('a jump in a table nobody gave is unknown', () =>
    expect(effectOf(parseRule('-j KUBE-SERVICES', 1), undefined)).toEqual({ kind: 'unknown' }));
});

describe('what nft’s verdict says', () => {
  it.each([
    { verdict: 'accept', want: { kind: 'accept' } },
    { verdict: 'drop', want: { kind: 'drop' } },
    { verdict: 'continue', want: { kind: 'continue' } },
    { verdict: 'return', want: { kind: 'return' } },
    { verdict: 'jump KUBE-SERVICES', want: { kind: 'jump', chain: 'KUBE-SERVICES' } },
    { verdict: 'goto service-X', want: { kind: 'goto', chain: 'service-X' } },
    { verdict: 'queue', want: { kind: 'accept' } },
    { verdict: 'stolen', want: { kind: 'accept' } },
    { verdict: 'break', want: { kind: 'unknown' } },
    { verdict: '', want: { kind: 'unknown' } },
  ])('$verdict', ({ verdict, want }) => expect(effectOfVerdict(verdict, undefined)).toEqual(want));

  it('the drop of a reject is a reject', () => {
    expect(effectOfVerdict('drop', parseNftRule('ip daddr @cluster-ips reject', 1))).toEqual({ kind: 'reject' });
    expect(effectOfVerdict('drop', parseNftRule('ip daddr @cluster-ips drop', 1))).toEqual({ kind: 'drop' });
  });
});

describe('how people write it', () => {
  it.each([
    [{ kind: 'accept' } as const, 'ACCEPT'],
    [{ kind: 'reject' } as const, 'REJECT'],
    [{ kind: 'continue' } as const, 'CONTINUE'],
    [{ kind: 'jump', chain: 'X' } as const, 'jump X'],
    [{ kind: 'goto', chain: 'X' } as const, 'goto X'],
    [{ kind: 'unknown' } as const, undefined],
  ])('%j is %s', (effect, want) => expect(verdictText(effect)).toBe(want));
});

describe('a chain’s policy', () => {
  it.each([
    { policy: 'ACCEPT', want: { kind: 'accept' } },
    { policy: 'DROP', want: { kind: 'drop' } },
    { policy: undefined, want: { kind: 'unknown' } },
  ])('$policy', ({ policy, want }) =>
    expect(policyEffect(policy ? { ...chain('X'), policy } : chain('X'))).toEqual(want),
  );

  it('of no chain is unknown', () => expect(policyEffect(undefined)).toEqual({ kind: 'unknown' }));
});
