/**
 * The raw table that runs on iptables-nft share: whoever comes first makes it, whoever goes last takes it away, and one that was there
 * before stays. Told step by step, as runs that begin and end at the same moment may happen to do it.
 */
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { partOfAgent } from '../support/agent-script.ts';

const PARTS = [
  'MADE_CHAIN',
  'RUNS_CHAIN',
  'program',
  'raw_rules',
  'is_made',
  'is_bare',
  'use_table',
  'remove_made_tables',
];

/**
 * `as A` and what follows is done by run A, each of which has a folder of its own. `asked COMMAND…`: what another run does after this one
 * has looked, and before it acts on what it saw.
 */
const RUNS = `
set -u
PATH=$PATH:/usr/sbin:/sbin
have() { command -v "$1" >/dev/null 2>&1; }
${PARTS.map(partOfAgent).join('\n')}
as() { run=$1; tag=trace-svc:$1; stop=2037-01-01T00:00:00; dir=/mnt/$1; mkdir -p "$dir"; shift; "$@"; }
uses() { use_table 4; }
traces() { iptables-nft -t raw -I PREROUTING -s 10.0.0.1 -m comment --comment "$tag" -j TRACE; }
puts_in() { uses; traces; }
takes_out() {
  raw_rules iptables-nft "$tag" >"$dir/tagged"
  while read -r chain spec; do iptables-nft -t raw -D $chain $spec; done <"$dir/tagged"
  remove_made_tables
}
meanwhile=""
nft() {
  command nft "$@"; status=$?
  if [ "$1" = list ]; then then=$meanwhile; meanwhile=""; ( eval "$then" ) >/dev/null; fi
  return $status
}
traced() { command nft list chain ip raw PREROUTING 2>/dev/null | grep -c nftrace; }
`;

function outcome(steps: string): string {
  // What a test leaves goes with the namespace.
  const root = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const script = `mount -t tmpfs tmpfs /mnt\n${RUNS}\n${steps}`;
  const ran = spawnSync('unshare', [...root, '--net', '--mount', 'sh', '-c', script], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  expect(ran.stderr).toBe('');
  return ran.stdout.trim();
}

describe('when the last run has gone, the raw table', () => {
  test.each([
    ['of one run is gone', 'as a puts_in; as a takes_out', ''],
    ['of two is gone', 'as a puts_in; as b puts_in; as a takes_out; as b takes_out', ''],
    [
      'is gone, where one that went took it out before the next one had a rule in it',
      'as a puts_in; meanwhile="as a takes_out"; as b puts_in; as c puts_in; as b takes_out; as c takes_out',
      '',
    ],
    [
      'is gone, where two made it at the same time',
      'meanwhile="as b puts_in"; as a puts_in; as a takes_out; as b takes_out',
      '',
    ],
    [
      'is gone, where a run was killed before it had a rule in it',
      `command nft "create table ip raw; add chain ip raw $MADE_CHAIN; add chain ip raw $RUNS_CHAIN"; as a puts_in; as a takes_out`,
      '',
    ],
    ['of somebody else stays', 'nft add table ip raw; as a puts_in; as a takes_out', 'table ip raw'],
    [
      'of somebody else stays, though it is as bare as ours',
      'iptables-nft -t raw -S >/dev/null; iptables-nft -t raw -P OUTPUT ACCEPT; as a puts_in; as a takes_out',
      'table ip raw',
    ],
    [
      'stays while somebody else has a rule in it',
      'as a puts_in; iptables-nft -t raw -A OUTPUT -j ACCEPT; as a takes_out',
      'table ip raw',
    ],
  ])('%s', (_, steps, left) => expect(outcome(`${steps}; nft list tables`)).toBe(left));
});

describe('a rule of a run stays in while another run ends', () => {
  test.each([
    ['that has looked before it came', 'as a puts_in; meanwhile="as b puts_in"; as a takes_out'],
    ['that takes the table out before it has a rule in it', 'as a puts_in; meanwhile="as a takes_out"; as b puts_in'],
    [
      'that has looked before it said that it uses the table',
      'as a puts_in; meanwhile="as b uses"; as a takes_out; as b traces',
    ],
  ])('%s', (_, steps) => {
    expect(outcome(`${steps}; traced`)).toBe('1');
    expect(outcome(`${steps}; as b takes_out; nft list tables`)).toBe('');
  });
});
