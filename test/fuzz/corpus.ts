/** Real lines of every kind, from the captures and from the lab's recorded runs. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { captureLines, captures, some } from '../support/captures.ts';

/** The most lines of a kind: more of the same find no more. */
const MOST = 600;

function fromCaptures(...files: string[]): string[] {
  return some(files.flatMap(captureLines), MOST);
}

const folder = fileURLToPath(new URL('../../plugin/recorded/', import.meta.url));

export const RECORDED: string[] = readdirSync(folder)
  .filter(name => name.endsWith('.json.gz'))
  .map(name => gunzipSync(readFileSync(folder + name)).toString('utf8'));

interface Recorded {
  traces: { name: string; text: string }[];
}

const recorded = RECORDED.map(text => JSON.parse(text) as Recorded);

function fromTraces(name: string): string[] {
  const lines = recorded.flatMap(({ traces }) => traces.filter(trace => trace.name === name).map(trace => trace.text));
  return some(
    lines.flatMap(text => text.split('\n')).filter(line => line !== ''),
    MOST,
  );
}

const ipvs = readFileSync(fileURLToPath(new URL('../captures/ipvs-vm/session.txt', import.meta.url)), 'utf8').split(
  '\n',
);
const kernel = fromCaptures('kmsg.txt');
const save = fromCaptures('iptables-save.txt');

export const CORPUS = {
  kernel,
  journal: kernel.map((line, i) =>
    JSON.stringify({ MESSAGE: line.replace(/^\[[^\]]*\] /, ''), _SOURCE_MONOTONIC_TIMESTAMP: String(i) }),
  ),
  kmsg: kernel.map((line, i) => `4,${i},${4_536_000_000 + i},-;${line.replace(/^\[[^\]]*\] /, '')}`),
  nft: fromCaptures('nft-monitor.txt'),
  xtables: fromCaptures('xtables-monitor.txt'),
  nflog: fromTraces('nflog'),
  save,
  ruleset: fromCaptures('nft-ruleset.txt'),
  conntrack: fromCaptures('conntrack.txt'),
  // As ipset 7.17 saves kube-proxy's sets; no capture has any.
  ipset: [
    'create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536 bucketsize 12 initval 0x5e3d3a3b',
    'create KUBE-LOOP-BACK hash:ip,port,ip family inet hashsize 1024 maxelem 65536 timeout 0',
    'add KUBE-CLUSTER-IP 10.96.0.1,tcp:443',
    'add KUBE-LOOP-BACK 10.244.1.6,tcp:8080,10.244.1.6',
    'add KUBE-6-CLUSTER-IP fd00:96::1,udp:53',
  ],
  ipvs: ipvs.filter(line => /^(TCP|UDP|IP V| {2}->)/.test(line)),
  probe: fromCaptures('probe.out', 'probe.err', 'probe.cmd'),
  // As `ip route get` and `ip neigh` of iproute2 6.1 print them, behind the address that was asked.
  route: [
    '10.244.1.11 10.244.1.11 from 10.244.1.2 dev veth-web-1',
    '10.96.100.1 10.96.100.1 from 10.244.1.2 via 172.30.0.1 dev eth0',
    '172.30.0.11 local 172.30.0.11 from 10.244.1.2 dev lo table local',
    '10.9.9.9 RTNETLINK answers: Network is unreachable',
    'fd00:244:2::7 fd00:244:2::7 from fd00:244:1::2 via fd00:30::12 dev eth0 proto static metric 1024 pref medium',
    '172.30.0.99 dev eth0  FAILED',
  ],
  agent: [...save.slice(0, 80).map(line => ` ${line}`), '@ready', '@begin rules iptables-save', '@end', '@finished'],
};

/** Whole texts, for what is read as a whole. */
export const SAVES = captures('iptables-save.txt').map(({ text }) => text);
export const RULESETS = captures('nft-ruleset.txt').map(({ text }) => text);
export const OBJECTS = ['legacy', 'nft', 'nftables'].map(mode =>
  readFileSync(fileURLToPath(new URL(`../captures/${mode}/objects.json`, import.meta.url)), 'utf8'),
);
