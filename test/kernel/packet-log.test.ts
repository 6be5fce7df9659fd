/**
 * The packet log, which runs on one node read in turns: the kernel has one logger for IPv4, and tcpdump makes itself that. Whoever
 * comes next has to find the node's own, also where the run before was killed with all it had started.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { agentEnvironment } from '../../src/plan/agent.ts';

const AGENT = fileURLToPath(new URL('../../plugin/node-agent.sh', import.meta.url));
const RUN = 'abcd0000';
const ROOT = process.getuid?.() === 0;

/** `first A`: the first process of run A's container · `trace A` · `said A LINE`: waits for it · `kills A` · `ends A`. */
const RUNS = `
set -u
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs tmpfs /mnt
ip link set lo up
iptables-legacy -t nat -N KUBE-SERVICES
log=/proc/sys/net/netfilter/nf_log
echo nf_log_ipv4 >$log/2
agent() { # run role
  mkdir -p /mnt/$1
  TS_RUN=$1 TS_ROLE=$2 TMPDIR=/mnt/$1 TS_NFT=$(echo "$TS_NFT" | sed "s/${RUN}/$1/g") exec sh '${AGENT}'
}
first() {
  agent $1 guard >/mnt/$1.first </dev/null & first=$!
  until grep -qs @ready /mnt/$1.first; do sleep 0.02; done
}
trace() { mkfifo /mnt/$1.in; agent $1 trace </mnt/$1.in >/mnt/$1.out & eval "exec $2>/mnt/$1.in"; }
said() { looks=0; until grep -qs "^@$2" /mnt/$1.out || [ $looks -gt 1000 ]; do sleep 0.02; looks=$((looks + 1)); done; }
kills() {
  for pid in $(grep -lzx "TS_RUN=$1" /proc/[0-9]*/environ | cut -d / -f 3); do
    ! grep -qzx TS_ROLE=trace /proc/$pid/environ || kill -9 $pid
  done 2>/dev/null
}
ends() { echo done >&$2; said $1 finished; }
lost() { grep -h ^@lost /mnt/$1.out; }
logger() { cat $log/2; }
own() { looks=0; until [ "$(logger)" = nf_log_ipv4 ] || [ $looks -gt 500 ]; do sleep 0.02; looks=$((looks + 1)); done; }
`;

function said(steps: string): string[] {
  const scope = { run: RUN, podIps: ['192.0.2.2'], ports: [{ protocol: 'tcp' as const, port: 80 }] };
  const env = agentEnvironment({ scope, seconds: 60, method: 'nft', log: 'nflog', targets: [] });
  const words = [
    '--net',
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    'sh',
    '-c',
    `${RUNS}\n${steps}`,
  ];
  const ran = spawnSync('unshare', words, { encoding: 'utf8', timeout: 120_000, env: { ...process.env, ...env } });
  expect(ran.stderr).toBe('');
  return ran.stdout.trim().split('\n');
}

test.runIf(ROOT).each([
  [
    "a run's reader is the logger, and afterwards the node's own is",
    'trace a 4; said a ready; logger; ends a 4; logger; lost a',
    ['nfnetlink_log', 'nf_log_ipv4'],
  ],
  [
    'what a run set that was killed is put back by the first process of its container',
    'first a; trace a 4; said a ready; kills a; own; logger',
    ['nf_log_ipv4'],
  ],
  [
    'a first process that comes late leaves the trace alone',
    'trace a 4; said a ready; first a; ends a 4; logger; lost a; grep -c "^@begin rules" /mnt/a.out',
    ['nf_log_ipv4', expect.stringMatching(/^[1-9]/)],
  ],
  [
    'and so is all else where the script alone was killed',
    'first a; trace a 4; said a ready; kill -9 $(cat /mnt/a/*/main); own; logger; until [ -e /mnt/a/*/taken ]; do sleep 0.02; done; nft list tables',
    ['nf_log_ipv4'],
  ],
  [
    "who waited behind it finds the node's own, and loses nothing",
    'first a; trace a 4; said a ready; trace b 5; said b "step method"; kills a; said b ready; cat /mnt/b/*/nf_log.2; ends b 5; logger; lost b',
    ['nf_log_ipv4', 'nf_log_ipv4'],
  ],
  [
    'who took it for theirs, as nobody was left to put it back, says what it lost to one that is started again',
    'trace a 4; said a ready; kills a; trace b 5; said b ready; cat /mnt/b/*/nf_log.2; first a; own; ends b 5; logger; lost b',
    ['nfnetlink_log', 'nf_log_ipv4', expect.stringMatching(/^@lost the node's packet log went to another logger/)],
  ],
  [
    'who waits does not begin while the other one, whose reader was killed, goes on',
    'trace a 4; said a ready; trace b 5; said b "step method"; kill -9 $(cat /mnt/a/*/reader); ends a 4; said b ready; cat /mnt/b/*/nf_log.2; lost a; ends b 5; lost b',
    ['nf_log_ipv4', '@lost tcpdump ended before the probes did'],
  ],
])('%s', { timeout: 130_000 }, (_, steps, want) => expect(said(steps)).toEqual(want));

describe.runIf(ROOT)('nothing is left where the container is told to end at the step', () => {
  test.each(['guard set', 'facts known', 'method chosen', 'log open', 'nft started', 'rules in'])('%s', step => {
    const steps = `first a; trace a 4; said a "step ${step}"; kill -TERM $first; wait $first; logger; nft list tables; ls /mnt/a`;
    expect(said(steps)).toEqual(['nf_log_ipv4']);
  });
  test.each(['draining', 'gathering', 'taking out', 'passing on'])('%s', step => {
    const steps = `first a; trace a 4; said a ready; echo done >&4; said a "step ${step}"; kill -TERM $first; wait $first; logger; nft list tables; ls /mnt/a`;
    expect(said(steps)).toEqual(['nf_log_ipv4']);
  });
});
