/**
 * The raw table that runs on iptables-nft share: whoever comes first makes it, whoever goes last takes it away, and one that was there
 * before stays. Told step by step, as runs that begin and end at the same moment may happen to do it.
 */
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { partOfAgent } from '../support/agent-script.ts';

const PARTS = ['MADE', 'MADE_CHAIN', 'is_marked', 'is_bare', 'mark_made', 'mark_again', 'remove_made_tables'];

/** `as A` and what follows is done by run A, each of which has a folder of its own; `rule` is the last line's rule of that run. */
const RUNS = `
set -u
PATH=$PATH:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
${PARTS.map(partOfAgent).join('\n')}
as() { run=$1; dir=/mnt/$1; mkdir -p "$dir"; shift; "$@"; }
marks() { mark_made ip; }
puts_in() { iptables-nft -t raw -I PREROUTING -s 10.0.0.1 -m comment --comment "trace-svc:$run" -j TRACE; mark_again; }
takes_out() { iptables-nft -t raw -D PREROUTING -s 10.0.0.1 -m comment --comment "trace-svc:$run" -j TRACE; remove_made_tables; }
goes() { remove_made_tables; }
`;

function tablesAfter(steps: string): string {
  // What a test leaves goes with the namespace.
  const root = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const script = `mount -t tmpfs tmpfs /mnt\n${RUNS}\n${steps}\nnft list tables`;
  const ran = spawnSync('unshare', [...root, '--net', '--mount', 'sh', '-c', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect(ran.stderr).toBe('');
  return ran.stdout.trim();
}

describe('when the last run has gone, the raw table', () => {
  test.each([
    ['of one run is gone', 'as a marks; as a puts_in; as a takes_out', ''],
    ['of two is gone', 'as a marks; as a puts_in; as b marks; as b puts_in; as a takes_out; as b takes_out', ''],
    [
      "is gone, where one that went took it out before the next one's first rule",
      'as a marks; as b marks; as a goes; as b puts_in; as c marks; as c puts_in; as b takes_out; as c takes_out',
      '',
    ],
    [
      'is gone, where who made it again was killed',
      'as a marks; as b marks; as a goes; as b puts_in; rm -r /mnt/b; as c marks; as c puts_in; iptables-nft -t raw -D PREROUTING 2; as c takes_out',
      '',
    ],
    ['of somebody else stays', 'nft add table ip raw; as a marks; as a puts_in; as a takes_out', 'table ip raw'],
    [
      'of somebody else stays, though it is as bare as ours',
      'iptables-nft -t raw -S >/dev/null; iptables-nft -t raw -P OUTPUT ACCEPT; as a marks; as a puts_in; as a takes_out',
      'table ip raw',
    ],
    [
      'stays while somebody else has a rule in it',
      'as a marks; as a puts_in; iptables-nft -t raw -A OUTPUT -j ACCEPT; as a takes_out',
      'table ip raw',
    ],
  ])('%s', (_, steps, left) => expect(tablesAfter(steps)).toBe(left));
});
