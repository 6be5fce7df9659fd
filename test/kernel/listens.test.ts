/** Whether our nft listens is read off the kernel. Others on the node may listen as well, and their sockets are not ours. */
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { partOfAgent } from '../support/agent-script.ts';

/** Of two nfts, each with a table of ours in the kernel, the second one alone is told to monitor. */
const TWO = `
set -u
PATH=$PATH:/usr/sbin:/sbin
table=trace_svc_t
${partOfAgent('nft_listens')}
start() { mkfifo "$1"; nft -i <"$1" >/dev/null 2>&1 & nft_pid=$!; }
start ours; ours=$nft_pid; exec 3>ours
start theirs; theirs=$nft_pid; exec 4>theirs
echo 'add table ip trace_svc_t { flags owner; }' >&3
echo 'monitor trace' >&4
until nft list table ip trace_svc_t >/dev/null 2>&1; do sleep 0.02; done
nft_pid=$theirs; until nft_listens; do sleep 0.02; done
nft_pid=$ours; if nft_listens; then echo "it is taken for ours"; else echo "it is not ours"; fi
echo 'monitor trace' >&3
until nft_listens; do sleep 0.02; done
echo "now ours listens"
`;

test("another's monitor is not taken for our own", () => {
  // A folder of their own for the pipes, and processes that end with the first of them.
  const root = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const apart = [...root, '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
  const ran = spawnSync('unshare', [...apart, 'sh', '-c', `mount -t tmpfs tmpfs /mnt && cd /mnt && ${TWO}`], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect(ran.stdout.trim().split('\n')).toEqual(['it is not ours', 'now ours listens']);
});
