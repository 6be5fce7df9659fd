/** Functions of plugin/node-agent.sh that need no node: taken out of the script as they stand, and run by this machine's sh and awk. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { partOfAgent } from '../support/agent-script.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'trace-svc-agent-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Runs a command with functions of the script; returns the lines it printed. */
function run(command: string, parts: string[], files: Record<string, string>, env: Record<string, string> = {}) {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  const ran = spawnSync('sh', ['-c', [`dir=${dir}`, ...parts.map(partOfAgent), command].join('\n')], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
  });
  expect(ran.stderr).toBe('');
  return ran.stdout.split('\n').slice(0, -1);
}

const PARTS = ['SERVICE_CHAIN', 'own_chains', 'own_nft_chains'];
const SHOP = { TS_SERVICE: 'shop/web' };

const SAVE = `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-AAAA - [0:0]
:KUBE-SEP-BBBB - [0:0]
:KUBE-SVC-CCCC - [0:0]
[1:60] -A PREROUTING -j KUBE-SERVICES
[1:60] -A KUBE-SERVICES -m comment --comment "shop/web:http cluster IP" -j KUBE-SVC-AAAA
[0:0] -A KUBE-SERVICES -m comment --comment "shop/web2 cluster IP" -j KUBE-SVC-CCCC
[1:60] -A KUBE-SVC-AAAA -m comment --comment "shop/web:http -> 10.0.0.1:80" -j KUBE-SEP-BBBB
[1:60] -A KUBE-SEP-BBBB -m comment --comment shop/web:http -j DNAT --to-destination 10.0.0.1:80
[0:0] -A KUBE-SVC-CCCC -m comment --comment "shop/web2 -> 10.0.0.2:80" -j DNAT --to-destination 10.0.0.2:80
COMMIT
`;

const NFT = `table ip nat {
\tchain KUBE-SVC-AAAA {
\t\tjump KUBE-SEP-BBBB
\t}

\tchain KUBE-SVC-CCCC {
\t\tcounter
\t}
}
`;

const NFTABLES = `table ip kube-proxy {
\tmap service-ips {
\t\telements = { 10.96.0.1 . tcp . 80 : goto service-AAAAAAAA-shop/web/tcp/http }
\t}

\tchain services {
\t\tip daddr . meta l4proto . th dport vmap @service-ips
\t}

\tchain service-AAAAAAAA-shop/web/tcp/http {
\t\tgoto endpoint-BBBBBBBB-shop/web/tcp/http__10.0.0.1/80
\t}

\tchain service-CCCCCCCC-shop/web2/tcp/http {
\t\tcounter
\t}
}
`;

describe('of a long listing, chains of other Services are left out', () => {
  test('iptables-save: everything else is kept as it stood', () => {
    const kept = run('own_chains', PARTS, { rules: SAVE, chains: '' }, SHOP);
    const other = /KUBE-SVC-CCCC - |-A KUBE-SVC-CCCC/;
    expect(kept).toEqual(SAVE.split('\n').filter(line => line !== '' && !other.test(line)));
    expect(readFileSync(join(dir, 'chains'), 'utf8').split('\n').sort()).toEqual([
      '',
      'KUBE-SEP-BBBB',
      'KUBE-SVC-AAAA',
    ]);
  });

  test('nft, of tables that iptables made: the chains that iptables-save told are kept', () => {
    const kept = run('own_nft_chains', PARTS, { rules: NFT, chains: 'KUBE-SVC-AAAA\nKUBE-SEP-BBBB\n' }, SHOP);
    expect(kept).toContain('\tchain KUBE-SVC-AAAA {');
    expect(kept.join('\n')).not.toContain('KUBE-SVC-CCCC');
  });

  test("nft, kube-proxy's own table, where no chain of iptables was told", () => {
    const kept = run('own_nft_chains', PARTS, { rules: NFTABLES, chains: '' }, SHOP);
    const [before = '', after = ''] = NFTABLES.split(/\tchain service-CCCC[\s\S]*?\n\t\}\n/);
    expect(kept).toEqual(`${before}${after}`.split('\n').slice(0, -1));
  });
});

describe('the kernel log where it can only be read at the end', () => {
  const TRACE = '[2.5] TRACE: raw:PREROUTING:policy:1 IN=eth0';

  /** `dmesg` is this: what the log holds when the probes are done. */
  function after(before: string[], lines: string[]): string[] {
    const files = {
      'dmesg.before': `${before.join('\n')}\n`,
      'dmesg.last': `${before.at(-1)}\n`,
      log: `${lines.join('\n')}\n`,
    };
    return run('dmesg() { cat "$dir/log"; }\nread_dmesg', ['say', 'read_dmesg'], files, { TS_BUDGET: '100' });
  }

  test.each([
    ['a plain last line', ['[1.0] up'], ['[1.0] up', TRACE], [`@k ${TRACE}`]],
    [
      'a last line with what awk would read as escapes',
      ['[1.0] path \\x41\\n'],
      ['[1.0] path \\x41\\n', TRACE],
      [`@k ${TRACE}`],
    ],
    [
      'the last line has been overwritten',
      ['[1.0] up'],
      [TRACE],
      ['@lost the kernel log was overwritten while tracing'],
    ],
  ])('%s', (_, before, lines, said) => expect(after(before, lines)).toEqual(said));
});

describe('a raw rule that the kernel does not take', () => {
  test.each([
    [
      'no TRACE',
      'iptables: No chain/target/match by that name.',
      'yes',
      "ipt cannot make the tracing rule: this node's kernel has no TRACE target (xt_TRACE), or not the time and comment matches; use --method nft",
    ],
    [
      'no raw table, and no nf_tables',
      "iptables v1.8.9 (legacy): can't initialize iptables table `raw': Table does not exist",
      '',
      "ipt has no raw table: this node's kernel lacks it",
    ],
    [
      'the lock is held',
      'Another app is currently holding the xtables lock.',
      'yes',
      'ipt: Another app is currently holding the xtables lock. ',
    ],
  ])('%s', (_, error, works, said) =>
    expect(run(`nft_works=${works}; why_no_rule ipt`, ['why_no_rule'], { err: `${error}\n` })).toEqual([said]),
  );
});

/** An iptables that knows one raw table, in `$dir/table`, and writes down what it is told to delete. */
const IPTABLES = `#!/bin/sh
dir=$(dirname "$0")
case " $* " in
*" -S "*) cat "$dir/table" ;;
*" -D "*) shift 4; echo "$*" >>"$dir/deleted" ;;
esac
`;
const RAW = `-P PREROUTING ACCEPT
-A PREROUTING -s 10.0.0.1/32 -p tcp -m comment --comment "trace-svc:aaaa1111" -j TRACE
-A PREROUTING -m comment --comment "somebody else's" -j NOTRACK
-A OUTPUT -d 10.0.0.1/32 -m comment --comment "trace-svc:aaaa1111" -j TRACE
-A OUTPUT -d 10.0.0.2/32 -m comment --comment "trace-svc:bbbb2222" -j TRACE
`;

describe('the raw rules of a run', () => {
  const files = { iptables: IPTABLES, table: RAW };
  const prepare = 'chmod +x "$dir/iptables"; raw_programs() { echo "$dir/iptables"; }; tag=trace-svc:aaaa1111';

  test('are those with its tag, in words a shell may take apart', () => {
    expect(run(`${prepare}; raw_rules "$dir/iptables" "$tag"`, ['raw_rules'], files)).toEqual([
      'PREROUTING -s 10.0.0.1/32 -p tcp -m comment --comment trace-svc:aaaa1111 -j TRACE',
      'OUTPUT -d 10.0.0.1/32 -m comment --comment trace-svc:aaaa1111 -j TRACE',
    ]);
  });
  test("are taken out by those words, so that two who clean up cannot take somebody else's", () => {
    expect(run(`${prepare}; remove_raw; cat "$dir/deleted"`, ['raw_rules', 'remove_raw'], files)).toEqual([
      '-D PREROUTING -s 10.0.0.1/32 -p tcp -m comment --comment trace-svc:aaaa1111 -j TRACE',
      '-D OUTPUT -d 10.0.0.1/32 -m comment --comment trace-svc:aaaa1111 -j TRACE',
    ]);
  });
});

describe('a raw table', () => {
  const BARE = `table ip raw {
\tchain PREROUTING {
\t\ttype filter hook prerouting priority raw; policy accept;
\t}

\tchain OUTPUT {
\t\ttype filter hook output priority raw; policy accept;
\t}
}
`;
  test.each([
    ['with its two chains alone is bare', BARE, 'bare'],
    [
      'with our chains in it is',
      BARE.replace(/\}\n$/, '\n\tchain trace-svc-made {\n\t}\n\n\tchain trace-svc-runs {\n\t}\n}\n'),
      'bare',
    ],
    [
      'that a run uses is not',
      BARE.replace(/\}\n$/, '\n\tchain trace-svc-runs {\n\t\tcounter jump trace-svc-made\n\t}\n}\n'),
      'kept',
    ],
    ['with a rule is not', BARE.replace('accept;\n', 'accept;\n\t\tcounter\n'), 'kept'],
    ['with a chain of somebody is not', BARE.replace('chain OUTPUT', 'chain cali-raw'), 'kept'],
    ['with a set is not', BARE.replace('\tchain OUTPUT', '\tset s {\n\t\ttype ipv4_addr\n\t}\n\tchain OUTPUT'), 'kept'],
  ])('%s', (_, listing, want) => {
    expect(
      run('if is_bare "$dir/listing"; then echo bare; else echo kept; fi', ['is_bare', 'MADE_CHAIN', 'RUNS_CHAIN'], {
        listing,
      }),
    ).toEqual([want]);
  });
});

describe('the flavour whose raw table the rules of method raw go to', () => {
  const fakes = `
legacy_tables() { case $1 in 4) echo "$LEGACY" | tr ' ' '\\n' ;; *) echo "$LEGACY6" | tr ' ' '\\n' ;; esac; }
has_legacy_kube_rules() { [ -n "$KUBE" ]; }
program() { case $1 in nft) echo $NFT_IPTABLES ;; *) echo iptables-legacy ;; esac; }
say() { echo "$*"; }
nft_works=$NFT
choose_flavour`;
  const NODE = { NFT: 'yes', KUBE: 'yes', NFT_IPTABLES: 'iptables-nft', LEGACY: 'filter nat', LEGACY6: 'filter nat' };
  const RAW = { LEGACY: 'filter nat raw', LEGACY6: 'raw filter' };
  test.each([
    ["kube-proxy's rules are legacy, and so is a raw table", { ...NODE, ...RAW }, 'legacy'],
    ['a legacy raw table would have to be made', NODE, 'nft'],
    ['one of them would', { ...NODE, LEGACY: RAW.LEGACY }, 'nft'],
    ['it would, and there is no other iptables', { ...NODE, NFT_IPTABLES: '' }, 'legacy'],
    ['the kernel has no nf_tables', { ...NODE, NFT: '' }, 'legacy'],
    ["kube-proxy's rules are nft's", { ...NODE, ...RAW, KUBE: '' }, 'nft'],
  ])('%s', (_, node, flavour) => {
    const env = { ...node, TS_RAW: '4 PREROUTING -j TRACE\n6 PREROUTING -j TRACE' };
    expect(run(fakes, ['choose_flavour', 'has_legacy_raw', 'raw_families'], {}, env)).toEqual([
      `fact flavour ${flavour}`,
    ]);
  });
});

const RESTORE = ['restore_nf_log', 'knows_logger', 'group_taken', 'reader_lives'];

test('the logger of IPv4, which the next run looks at, is put back last', () => {
  const files = { 'nf_log.2': 'NONE', 'nf_log.10': 'nf_log_ipv6', 2: 'x', 10: 'x', readers: '' };
  const watch = 'cat() { [ "$1" != "$dir/nf_log.2" ] || command cat "$dir/10" >"$dir/when"; command cat "$@"; }';
  const script = `nf_log=$dir; awk() { false; }; ${watch}; restore_nf_log; command cat "$dir/when" "$dir/2" "$dir/10"`;
  expect(run(`${script}; echo`, RESTORE, files)).toEqual(['nf_log_ipv6NONEnf_log_ipv6']);
});

test.each([
  ['put back by the run that knew it', 'nf_log_ipv4', 'nf_log_ipv4'],
  ["as it was: that is the node's own", 'nfnetlink_log', 'nfnetlink_log'],
])('a logger that was noted as ours of a run that was killed is left alone: %s', (_, now, want) => {
  const files = { 'nf_log.2': 'nfnetlink_log', 'nf_log.10': 'nfnetlink_log', 2: now, 10: now };
  const script = 'nf_log=$dir; awk() { false; }; restore_nf_log; cat "$dir/2"; ! [ -e "$dir/unrestored" ]; echo " $?"';
  expect(run(script, RESTORE, files)).toEqual([`${want} 0`]);
});

/** /proc/net/netfilter/nfnetlink_log: group, port id, queued, mode, range, timeout, uses. */
const TAKEN = '    0     49     0 2 65531    100  1\n';

test.each([
  [
    "one that read puts the logger back: ours were killed, and the other took our setting for the node's",
    ': >"$dir/reading"',
    'nf_log_ipv4',
  ],
  ['one that never read leaves that to the other', ':', 'nfnetlink_log'],
])('of two runs, where the other one reads, %s', (_, prepare, want) => {
  const files = { 'nf_log.2': 'nf_log_ipv4', 2: 'nfnetlink_log', readers: TAKEN };
  const script = `nf_log=$dir; awk() { command awk "$1" "$dir/readers"; }; sleep() { :; }; ${prepare}; restore_nf_log; cat "$dir/2"; echo`;
  expect(run(script, RESTORE, files)[0]).toBe(want);
});

describe('the turn at the packet log', () => {
  const parts = ['lock_log', 'knows_logger', 'group_taken', 'turn_may_come'];
  const may = (unread: number, files: Record<string, string>, lock = '') =>
    run(
      `nf_log=$dir; ${lock} unread=${unread}; awk() { command awk "$1" "$dir/readers"; }; if turn_may_come; then echo wait; else echo go; fi`,
      parts,
      files,
    );
  test.each([
    ['a reader of group 0', TAKEN, 'nfnetlink_log', 0, 'wait'],
    ['a reader of another group', TAKEN.replace('0', '5'), 'nf_log_ipv4', 0, 'go'],
    ['nobody', '', 'NONE', 0, 'go'],
    ['nobody yet, but the logger is set', '', 'nfnetlink_log', 0, 'wait'],
    ['nobody, and the logger stays set: that is how the node is', '', 'nfnetlink_log', 60, 'go'],
  ])('%s', (_, readers, logger, unread, want) => {
    expect(may(unread, { readers, 2: logger })).toEqual([want]);
  });
  test('nobody, but another run has the lock', () => {
    expect(may(0, { readers: '', 2: 'NONE' }, 'log_lock=yes; flock() { false; };')).toEqual(['wait']);
  });
  test('nobody, and we have the lock', () => {
    expect(may(0, { readers: '', 2: 'NONE' }, 'log_lock=yes; flock() { :; };')).toEqual(['go']);
  });
  test('nobody, and our reader, which was refused, has set the logger after the other run had put it back', () => {
    const files = { readers: '', 2: 'nfnetlink_log', 'nf_log.2': 'nf_log_ipv4' };
    expect(may(2, files)).toEqual(['wait']);
    expect(readFileSync(join(dir, '2'), 'utf8')).toBe('nf_log_ipv4');
    expect(may(0, { readers: '' })).toEqual(['go']);
  });
});

test.each([
  ['is noted', {}, ['nf_log_ipv4', 'nf_log_ipv6']],
  ['is not noted again by who knows it from before', { 'nf_log.2': 'NONE', 'nf_log.10': 'NONE' }, ['NONE', 'NONE']],
  [
    'takes the place of what a killed run had set',
    { 'nf_log.2': 'nfnetlink_log', 'nf_log.10': 'nfnetlink_log' },
    ['nf_log_ipv4', 'nf_log_ipv6'],
  ],
])("the node's own logger %s", (_, noted, want) => {
  const files = { ...noted, 2: 'nf_log_ipv4\n', 10: 'nf_log_ipv6\n' };
  const script = 'nf_log=$dir; logger=$(cat "$dir/2"); note_loggers; paste -sd "\\n" "$dir/nf_log.2" "$dir/nf_log.10"';
  expect(run(script, ['note_loggers', 'knows_logger'], files)).toEqual(want);
});

describe('the first process of the container takes a trace for killed', () => {
  test.each([
    ['when its script is dead', 'echo 999999 >"$dir/main"; echo $$ >"$dir/pids"', 'yes'],
    ['not while its script is alive', 'echo $$ >"$dir/main"', 'no'],
    ['not when there is none, or it has just gone', ':', 'no'],
    ['not when all was taken out', 'echo 999999 >"$dir/main"; : >"$dir/taken"', 'no'],
  ])('%s', (_, prepare, want) => {
    const script = `${prepare}; if is_abandoned; then echo yes; else echo no; fi`;
    expect(run(script, ['is_abandoned'], {})).toEqual([want]);
  });
});

test('whoever waited long behind a reader that was killed waits for its logger to be put back all the same', () => {
  const readers = TAKEN;
  const killed = 'turn_may_come; : >"$dir/readers"; if turn_may_come; then echo wait; else echo go; fi';
  const script = `nf_log=$dir; looks=99; unread=0; awk() { command awk "$1" "$dir/readers"; }; ${killed}`;
  const restored = 'echo nf_log_ipv4 >"$dir/2"; if turn_may_come; then echo wait; else echo go; fi';
  expect(
    run(`${script}; ${restored}`, ['lock_log', 'knows_logger', 'group_taken', 'turn_may_come'], {
      readers,
      2: 'nfnetlink_log',
    }),
  ).toEqual(['wait', 'go']);
});

describe('a console that is slow holds up every packet whose line it prints', () => {
  const TTY0 = 'tty0                 -WU (EC p  )    4:1\n';
  const SERIAL = 'ttyS0                -W- (E  p a)    4:64\n';

  /** The function, told to look into this folder instead of /proc. */
  function console(level: string, consoles: string): string[] {
    const text = partOfAgent('console_is_safe')
      .replaceAll('/proc/sys/kernel/printk', '"$dir/printk"')
      .replaceAll('/proc/consoles', '"$dir/consoles"');
    return run(`${text}\nconsole_is_safe && echo safe`, ['say'], { printk: level, consoles });
  }

  test.each([
    ['a virtual terminal', '7\t4\t1\t7\n', TTY0, true],
    ['a serial line that prints no warnings', '4\t4\t1\t7\n', TTY0 + SERIAL, true],
    ['a serial line that prints warnings', '7\t4\t1\t7\n', TTY0 + SERIAL, false],
    ['a serial line that prints warnings and nothing more', '5\t4\t1\t7\n', SERIAL, false],
    ['a serial line that is not enabled', '7\t4\t1\t7\n', 'ttyS0                -W- (   p  )    4:64\n', true],
    ['a serial line of an Arm machine', '7\t4\t1\t7\n', SERIAL.replace('ttyS0 ', 'ttyAMA0'), false],
    ["a hypervisor's console", '7\t4\t1\t7\n', SERIAL.replace('ttyS0', 'hvc0 '), false],
    ['the network', '7\t4\t1\t7\n', 'netcon0              -W- (E  p  )\n', false],
    [
      'memory that is read after a crash',
      '7\t4\t1\t7\n',
      'pstore-1             -W- (E  p  )\nramoops-1            -W- (E  p  )\n',
      true,
    ],
    ['none at all', '7\t4\t1\t7\n', '', true],
    ['nobody may look', '', '', true],
  ])('%s', (_, level, consoles, safe) => {
    const said = console(level, consoles);
    if (safe) expect(said).toEqual(['safe']);
    else
      expect(said).toEqual([
        expect.stringMatching(
          /^@fail this node prints warnings on a console that is slow \(\w+\): .* use --log-source nflog$/,
        ),
      ]);
  });
});

describe('what the limit left out', () => {
  const rule = (before: number, behind: number) =>
    `\t\tip saddr 10.1.0.2 udp dport 53 counter packets ${before} bytes 1 limit rate 500/second burst 1000 packets counter packets ${behind} bytes 1 meta nftrace set 1\n`;
  const nft = (text: string) =>
    run(
      'nft() { [ "$3" = ip6 ] || cat "$dir/list"; }\nlimits',
      ['limits'],
      { list: text },
      { TS_METHOD: 'nft', table: 'x' },
    );
  const raw = (count: number) =>
    run(
      'raw_programs() { echo listed; }\nlisted() { cat "$dir/list"; }\nlimits',
      ['limits'],
      {
        list: `${String(count).padStart(8)} 1 TRACE  udp  --  *  *  10.1.0.2  0.0.0.0/0  udp dpt:53 TIME until date 2026-11-21 limit: avg 500/sec burst 1000 /* trace-svc:abc */\n   99999 1 TRACE  all  --  *  * limit: avg 1/sec burst 5 /* trace-svc:other */\n`,
      },
      { TS_METHOD: 'raw', tag: 'trace-svc:abc' },
    );

  test.each([
    ['nft: every packet was traced', () => nft(rule(40, 40) + rule(0, 0)), []],
    [
      'nft: some were not',
      () => nft(rule(40, 40) + rule(99_000, 2000)),
      ['@lost more packets came than the 500/second that are traced: of 99000, 97000 were not'],
    ],
    ['raw: fewer than it lets by at once', () => raw(999), []],
    [
      'raw: as many',
      () => raw(1500),
      ['@lost more packets may have come than the 500/sec that are traced: a rule traced 1500 of them'],
    ],
  ])('%s', (_, said, want) => expect(said()).toEqual(want));
});

describe('what is taken out first', () => {
  const fakes = `
: >"$dir/raw"; echo rule >"$dir/raw"; pids=$(sleep 60 >/dev/null & echo $!); reader_lives() { false; }
restore_nf_log() { [ -e "$dir/restored" ] || echo logger; : >"$dir/restored"; }
remove_raw() { ! kill -0 $pids 2>/dev/null && echo table; echo rules; }; remove_made_tables() { :; }`;
  test.each([
    ['after an orderly run, the rules: their lines are not for the kernel log', 'yes', ['table', 'rules', 'logger']],
    ['when there may be no time, the logger, which nobody else knows', '', ['logger', 'table', 'rules']],
  ])('%s', (_, drained, want) => {
    const parts = ['take_out', 'end_starting_reader', 'await_end', 'has_ended', 'unlock_log'];
    expect(run(`drained=${drained}; ${fakes}; take_out`, parts, {})).toEqual(want);
  });
});

describe('a reader of the packet log, when its run is ended', () => {
  /** The reader makes itself the logger a moment after it was started, and then says that it listens. */
  const script = (listens: string) => `
nf_log=$dir; awk() { false; }; table=t; tag=t; pids=""; cleaned=""; drained=""; step() { :; }; say() { :; }; raw_programs() { :; }
( ${listens}; exec sleep 5 ) & echo $! >"$dir/reader"; pids=$!
until [ -e "$dir/begun" ]; do sleep 0.01; done
keep=$dir; rm() { [ "$1" = -rf ] || command rm "$@"; }
cleanup; sleep 0.5; command cat "$keep/2"; echo`;
  const parts = [
    'cleanup',
    'take_out',
    'end_starting_reader',
    'await_end',
    'has_ended',
    ...RESTORE,
    'unlock_log',
    'verify',
  ];
  const files = { 'nf_log.2': 'nf_log_ipv4', 'nf_log.10': 'nf_log_ipv6', 2: 'nf_log_ipv4', 10: 'nf_log_ipv6' };
  test.each([
    ['starts only then', 'trap "" TERM; : >"$dir/begun"; sleep 0.3; echo nfnetlink_log >"$dir/2"'],
    ['listens', 'echo nfnetlink_log >"$dir/2"; echo listening >"$dir/nflog.err"; : >"$dir/begun"'],
  ])('that %s is not the logger afterwards', (_, listens) => {
    expect(run(script(listens), parts, files)).toEqual(['nf_log_ipv4']);
  });
});
