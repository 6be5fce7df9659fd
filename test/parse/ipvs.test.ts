import { describe, expect, it } from 'vitest';
import { parseIpset, parseIpvs } from '../../src/parse/ipvs.ts';
import { capture } from '../support/captures.ts';
import { survivesAnything } from '../support/fuzz.ts';

const IPVSADM = `IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.1:443 rr
  -> 172.30.0.1:6443              Masq    1      3          0
TCP  10.96.164.231:80 rr persistent 10800
  -> 10.244.1.6:8080              Masq    1      0          1
  -> 10.244.2.26:8080             Masq    0      0          0
TCP  10.96.71.84:80 rr
UDP  10.96.0.10:53 wlc
  -> 10.244.1.2:53                Route   5      0          0
TCP  [fd00:96::1]:443 sh
  -> [fd00::7]:6443               Tunnel  1      0          0
SCTP 10.96.0.9:7777 rr
`;

describe('ipvsadm -Ln', () => {
  const services = parseIpvs(IPVSADM);

  it('services in their order', () =>
    expect(services.map(({ protocol, address, port, scheduler }) => [protocol, address, port, scheduler])).toEqual([
      ['tcp', '10.96.0.1', 443, 'rr'],
      ['tcp', '10.96.164.231', 80, 'rr'],
      ['tcp', '10.96.71.84', 80, 'rr'],
      ['udp', '10.96.0.10', 53, 'wlc'],
      ['tcp', 'fd00:96::1', 443, 'sh'],
      ['sctp', '10.96.0.9', 7777, 'rr'],
    ]));

  it('each with its destinations', () =>
    expect(services.map(service => service.destinations)).toEqual([
      [{ address: '172.30.0.1', port: 6443, forward: 'Masq', weight: 1 }],
      [
        { address: '10.244.1.6', port: 8080, forward: 'Masq', weight: 1 },
        { address: '10.244.2.26', port: 8080, forward: 'Masq', weight: 0 },
      ],
      [],
      [{ address: '10.244.1.2', port: 53, forward: 'Route', weight: 5 }],
      [{ address: 'fd00::7', port: 6443, forward: 'Tunnel', weight: 1 }],
      [],
    ]));

  it('within a session', () =>
    expect(parseIpvs(capture('ipvs-vm/session.txt'))).toMatchObject([
      {
        protocol: 'tcp',
        address: '10.96.0.1',
        port: 80,
        scheduler: 'rr',
        destinations: [{ address: '10.244.1.6', port: 8080 }],
      },
    ]));

  it.each([
    '',
    'IP Virtual Server version 1.2.1 (size=4096)',
    'TCP',
    'TCP  nonsense rr',
    '  -> 10.0.0.1:80 Masq 1 0 0',
  ])('none in %j', text => expect(parseIpvs(text)).toEqual([]));
});

const IPSET = `create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x1
add KUBE-CLUSTER-IP 10.96.0.1,tcp:443
add KUBE-CLUSTER-IP 10.96.0.10,udp:53
create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536
add KUBE-LOOP-BACK 10.244.1.6,tcp:8080,10.244.1.6
create KUBE-6-CLUSTER-IP hash:ip,port family inet6 hashsize 1024 maxelem 65536
add KUBE-6-CLUSTER-IP fd00:96::1,tcp:443
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 30080
create KUBE-EXTERNAL-IP hash:ip,port family inet hashsize 1024 maxelem 65536
add KUBE-LATE 10.0.0.1 timeout 300
`;

describe('ipset save', () => {
  it('sets with their elements; a set without elements is empty, not unknown', () =>
    expect(
      Object.fromEntries(parseIpset(IPSET).map(set => [set.name, set.elements.map(element => element.key)])),
    ).toEqual({
      'KUBE-CLUSTER-IP': [
        ['10.96.0.1', 'tcp:443'],
        ['10.96.0.10', 'udp:53'],
      ],
      'KUBE-LOOP-BACK': [['10.244.1.6', 'tcp:8080', '10.244.1.6']],
      'KUBE-6-CLUSTER-IP': [['fd00:96::1', 'tcp:443']],
      'KUBE-NODE-PORT-TCP': [['30080']],
      'KUBE-EXTERNAL-IP': [],
      'KUBE-LATE': [['10.0.0.1']],
    }));

  it('with CRLF and other lines', () =>
    expect(parseIpset('# ipset save\r\ncreate A hash:ip\r\nadd A 10.0.0.1\r\n')).toEqual([
      { name: 'A', elements: [{ key: ['10.0.0.1'] }] },
    ]));

  it.each(['', 'flush A', 'create', 'added A b'])('none in %j', text => expect(parseIpset(text)).toEqual([]));
});

survivesAnything(
  parseIpvs,
  IPVSADM.split('\n').flatMap((line, i, all) => [line, all.slice(i).join('\n')]),
  services => {
    for (const { address, port, destinations } of services) {
      expect([address === '', Number.isInteger(port)]).toEqual([false, true]);
      for (const to of destinations)
        expect([to.address === '', Number.isInteger(to.port + to.weight)]).toEqual([false, true]);
    }
  },
);

survivesAnything(
  parseIpset,
  IPSET.split('\n').flatMap((line, i, all) => [line, all.slice(i).join('\n')]),
  sets => {
    expect(new Set(sets.map(set => set.name)).size).toBe(sets.length);
  },
);
