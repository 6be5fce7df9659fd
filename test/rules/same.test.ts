import { describe, expect, it } from 'vitest';
import { parseRule } from '../../src/parse/iptables-save.ts';
import { parseNftRule } from '../../src/parse/nft-rule.ts';
import { sameAcrossSyntax, sameNftRule } from '../../src/rules/same.ts';

describe('two spellings of one rule of nft', () => {
  it.each([
    ['ct state 0x8 jump X', 'ct state new jump X'],
    ['ct state established,related accept', 'ct state { related, established } accept'],
    ['ct state 0x6 accept', 'ct state established,related accept'],
    [
      'meta l4proto 6 ip daddr 10.0.0.1  tcp dport 443 counter packets 1 bytes 60 drop',
      'meta l4proto tcp ip daddr 10.0.0.1 tcp dport 443 counter packets 9 bytes 900 drop',
    ],
    ['meta mark & 0x00004000 != 0x00004000 return', 'meta mark & 0x4000 != 0x4000 return'],
    ['iifname "cni0" accept', 'iifname cni0 accept'],
    ['jump X # handle 5', 'jump X comment "why" # handle 9'],
    ['meta mark set mark or 0x4000', 'meta mark set meta mark | 0x00004000'],
    [
      'ip daddr . meta l4proto . th dport vmap @service-ips',
      'ip daddr . meta l4proto . th dport vmap @service-ips # handle 2',
    ],
  ])('%s = %s', (a, b) => {
    expect(sameNftRule(parseNftRule(a, 1), parseNftRule(b, 2))).toBe(true);
    expect(sameNftRule(parseNftRule(b, 1), parseNftRule(a, 2))).toBe(true);
  });

  it.each([
    ['jump X', 'jump Y'],
    ['accept', 'drop'],
    ['tcp dport 80 accept', 'tcp dport 81 accept'],
    ['tcp dport 80 accept', 'udp dport 80 accept'],
    ['tcp dport 80 accept', 'tcp dport != 80 accept'],
    ['tcp dport 80 accept', 'accept'],
    ['ct state new accept', 'ct state established accept'],
    ['meta mark & 0x4000 == 0x4000 accept', 'meta mark & 0x8000 == 0x4000 accept'],
    ['dnat to 10.0.0.1:80', 'dnat to 10.0.0.2:80'],
    ['ip daddr vmap @a', 'ip daddr vmap @b'],
    ['meta mark set 0x1', 'meta mark set 0x2'],
  ])('%s ≠ %s', (a, b) => expect(sameNftRule(parseNftRule(a, 1), parseNftRule(b, 1))).toBe(false));
});

describe('a rule of nft and a rule of iptables', () => {
  it.each([
    [
      'counter packets 21 bytes 3873 jump KUBE-SERVICES',
      '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    ],
    [
      'meta l4proto tcp ip daddr 10.96.164.231  tcp dport 80 counter packets 0 bytes 0 jump KUBE-SVC-X',
      '-d 10.96.164.231/32 -p tcp -m comment --comment "x" -m tcp --dport 80 -j KUBE-SVC-X',
    ],
    [
      'meta l4proto 6   counter packets 0 bytes 0 dnat to 10.244.2.26:8080',
      '-p tcp -m tcp -j DNAT --to-destination 10.244.2.26:8080',
    ],
    ['ip saddr 10.244.2.26  counter packets 0 bytes 0 jump KUBE-MARK-MASQ', '-s 10.244.2.26/32 -j KUBE-MARK-MASQ'],
    ['ip saddr != 10.244.0.0/16 jump KUBE-MARK-MASQ', '! -s 10.244.0.0/16 -j KUBE-MARK-MASQ'],
    ['iifname "cni0" oifname "eth0" accept', '-i cni0 -o eth0 -j ACCEPT'],
    ['ct state new jump X', '-m conntrack --ctstate NEW -j X'],
    ['counter packets 0 bytes 0 masquerade fully-random', '-j MASQUERADE --random-fully'],
    ['ip6 daddr fd00::1 drop', '-d fd00::1/128 -j DROP'],
  ])('%s = %s', (nft, iptables) => expect(sameAcrossSyntax(parseNftRule(nft, 1), parseRule(iptables, 1))).toBe(true));

  it.each([
    ['jump X', '-j Y'],
    ['jump X', '-g X'],
    ['ip daddr 10.0.0.1 jump X', '-d 10.0.0.2/32 -j X'],
    ['ip daddr 10.0.0.1 jump X', '! -d 10.0.0.1/32 -j X'],
    ['jump X', '-d 10.0.0.1/32 -j X'],
    ['jump X', '-p tcp -m tcp --dport 80 -j X'],
    ['meta l4proto udp jump X', '-p tcp -j X'],
    ['meta l4proto tcp tcp dport 80 jump X', '-p tcp -m tcp --dport 81 -j X'],
    ['dnat to 10.244.2.26:8080', '-j DNAT --to-destination 10.244.2.27:8080'],
  ])('%s ≠ %s', (nft, iptables) => expect(sameAcrossSyntax(parseNftRule(nft, 1), parseRule(iptables, 1))).toBe(false));
});
