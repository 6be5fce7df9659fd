/** What logs write around a kernel message. The message is always the same; only its wrapping differs. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { dmesgClock, readKernelMessage } from '../../src/parse/kernel-log.ts';
import { capture, captureLines, some } from '../support/captures.ts';
import { check, survivesAnything } from '../support/fuzz.ts';
import { expectWellFormed, readChunks, readTrace } from '../support/read-trace.ts';

const MESSAGE =
  'TRACE: nat:KUBE-SERVICES:rule:2 IN=cni0 OUT= MAC=4a:b6:be:bc:69:8a:36:04:b4:d3:e0:80:08:00 SRC=10.244.1.72 ' +
  'DST=10.96.164.231 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=38682 DF PROTO=TCP SPT=38858 DPT=80 SEQ=2362888013 ACK=0 ' +
  'WINDOW=64240 RES=0x00 SYN URGP=0 OPT (020405B40402080AF7B53362000000000103030A) MARK=0x4000 ';
const BYTES = [...Buffer.from(MESSAGE)].join(', ');

/** `at`: the kernel's clock where the wrapping has it, in microseconds. */
const WRAPPINGS: { name: string; line: string; at?: number; times?: number }[] = [
  { name: 'nothing at all', line: MESSAGE },
  { name: 'kern.log (RFC 3164)', line: `May  8 15:51:07 ceph2 kernel: [309854.514762] ${MESSAGE}`, at: 309854514762 },
  { name: 'syslog without the kernel clock', line: `May  8 15:51:07 ceph2 kernel: ${MESSAGE}` },
  {
    name: 'rsyslog with ISO dates',
    line: `2026-08-21T10:00:00.123456+00:00 nodea kernel: [ 4536.356820] ${MESSAGE}`,
    at: 4536356820,
  },
  {
    name: 'a host whose name has a number in brackets',
    line: `2026-08-21T10:00:00Z node[7] kernel: [    0.000001] ${MESSAGE}`,
    at: 1,
  },
  { name: 'dmesg', line: `[ 4536.356820] ${MESSAGE}`, at: 4536356820 },
  { name: 'dmesg in the first second', line: `[    0.000012] ${MESSAGE}`, at: 12 },
  { name: 'dmesg after years', line: `[123456789.999999] ${MESSAGE}`, at: 123456789999999 },
  { name: 'dmesg -T', line: `[Fri May  8 15:51:07 2026] ${MESSAGE}` },
  { name: 'dmesg --time-format iso', line: `2026-08-21T10:00:00,123456+00:00 ${MESSAGE}` },
  { name: 'dmesg -x', line: `kern  :warn  : [ 4536.356820] ${MESSAGE}`, at: 4536356820 },
  { name: 'dmesg -x -T', line: `kern  :warn  : [Fri May  8 15:51:07 2026] ${MESSAGE}` },
  { name: 'dmesg -r', line: `<4>[ 4536.356820] ${MESSAGE}`, at: 4536356820 },
  {
    name: 'dmesg --color=always',
    line: `\x1b[32m[ 4536.356820] \x1b[0m\x1b[33m${MESSAGE.trimEnd()}\x1b[0m`,
    at: 4536356820,
  },
  { name: 'printk with its caller, a CPU', line: `[    1.500000][    C0] ${MESSAGE}`, at: 1500000 },
  { name: 'printk with its caller, a thread', line: `[ 4536.356820][ T1234] ${MESSAGE}`, at: 4536356820 },
  { name: '/dev/kmsg', line: `4,1234,4536356820,-;${MESSAGE}`, at: 4536356820 },
  { name: '/dev/kmsg with a caller', line: `4,1234,4536356820,-,caller=T17;${MESSAGE}`, at: 4536356820 },
  {
    name: '/dev/kmsg with a later kernel’s fields',
    line: `4,1234,4536356820,c,caller=C1,x=y;${MESSAGE}`,
    at: 4536356820,
  },
  { name: 'journalctl -k', line: `Aug 21 10:00:00 nodea kernel: ${MESSAGE}` },
  { name: 'journalctl -o short-monotonic', line: `[ 4536.356820] nodea kernel: ${MESSAGE}`, at: 4536356820 },
  { name: 'journalctl -o short-iso', line: `2026-08-21T10:00:00+0000 nodea kernel: ${MESSAGE}` },
  {
    name: 'journalctl -o json',
    line: JSON.stringify({ PRIORITY: '4', _SOURCE_MONOTONIC_TIMESTAMP: '4536356820', MESSAGE }),
    at: 4536356820,
  },
  {
    name: 'journalctl -o json without the kernel clock',
    line: JSON.stringify({ MESSAGE, __MONOTONIC_TIMESTAMP: '9' }),
  },
  {
    name: 'journalctl -o json with the message as bytes',
    line: `{"MESSAGE":[${BYTES}],"_SOURCE_MONOTONIC_TIMESTAMP":"4536356820"}`,
    at: 4536356820,
  },
  { name: 'journalctl -o json-pretty', line: `\t"MESSAGE" : ${JSON.stringify(MESSAGE)},` },
  { name: 'journalctl -o json-pretty, last field', line: `        "MESSAGE" : ${JSON.stringify(MESSAGE)}` },
  { name: 'journalctl -o json-pretty with the message as bytes', line: `\t"MESSAGE" : [ ${BYTES} ],` },
  {
    name: 'rsyslog, repeated',
    line: `May  8 15:51:07 ceph2 kernel: message repeated 3 times: [ [309854.514762] ${MESSAGE}]`,
    at: 309854514762,
    times: 3,
  },
  {
    name: 'rsyslog, repeated, without the kernel clock',
    line: `May  8 15:51:07 ceph2 kernel: message repeated 2 times: [ ${MESSAGE}]`,
    times: 2,
  },
  { name: 'Talos', line: `172.20.0.2: kern: warning: [2026-08-21T10:00:00.123456789Z]: ${MESSAGE}` },
  {
    name: 'kubectl logs --timestamps',
    line: `2026-08-21T10:00:00.123456789Z [ 4536.356820] ${MESSAGE}`,
    at: 4536356820,
  },
];

describe('every wrapping of a kernel message', () => {
  for (const { name, line, at, times = 1 } of WRAPPINGS) {
    it(name, () => {
      const { events, unrecognised, losses, others } = readTrace(line);
      expect({ unrecognised, losses, others }).toEqual({ unrecognised: [], losses: [], others: 0 });
      expect(events).toHaveLength(times);
      for (const event of events) {
        expect(event.point).toMatchObject({
          table: 'nat',
          chain: 'KUBE-SERVICES',
          kind: 'rule',
          number: 2,
          family: 'ip',
        });
        expect(event.header?.tuple).toEqual({ src: '10.244.1.72', sport: 38858, dst: '10.96.164.231', dport: 80 });
        expect(event).toMatchObject({ mark: 0x4000, line: 1, at, via: { in: 'cni0' } });
      }
    });
    it(`${name}, its trailing spaces stripped, with CRLF and a byte-order mark`, () => {
      const { events, unrecognised } = readChunks([`\ufeff${line.replace(/ +(?=\]?$)/, '')}\r\n`]);
      expect(unrecognised).toEqual([]);
      expect(events.map(event => [event.header?.tuple.dst, event.mark, event.at])).toEqual(
        Array.from({ length: times }, () => ['10.96.164.231', 0x4000, at]),
      );
    });
  }

  it('takes no more repetitions than could be told apart', () =>
    expect(readTrace(`h kernel: message repeated 999999999 times: [ ${MESSAGE}]`).events.length).toBeLessThanOrEqual(
      1000,
    ));

  it('keeps the bracket of an ICMP error in a repeated message', () => {
    const inner = `[SRC=10.0.0.2 DST=10.0.0.1 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=7 PROTO=TCP SPT=1 DPT=2 SEQ=3 ACK=0 WINDOW=5 RES=0x00 SYN URGP=0 ] `;
    const error = `TRACE: raw:OUTPUT:policy:2 IN= OUT=v SRC=10.0.0.1 DST=10.0.0.2 LEN=88 TOS=0x00 PREC=0xC0 TTL=64 ID=5 PROTO=ICMP TYPE=3 CODE=3 ${inner}`;
    const { events } = readTrace(`h kernel: message repeated 2 times: [ ${error}]`, error);
    expect(events.map(event => event.header?.icmp?.inner?.tuple.dport)).toEqual([2, 2, 2]);
  });

  it('reads whole journalctl -o json-pretty records, counting their other lines', () => {
    const record = [
      '{',
      '\t"PRIORITY" : "4",',
      `\t"MESSAGE" : ${JSON.stringify(MESSAGE)},`,
      '\t"_HOSTNAME" : "n"',
      '}',
    ];
    expect(readTrace(...record)).toMatchObject({ events: [{ line: 3 }], others: 4, unrecognised: [] });
  });
});

describe('/dev/kmsg records', () => {
  const record = (sequence: number, text = MESSAGE) => `4,${sequence},4536356820,-;${text}`;

  it.each([
    { name: 'one after the other', lines: [record(7), record(8)], lost: [] },
    { name: 'one is missing', lines: [record(7), record(9)], lost: [1] },
    { name: 'many are missing', lines: [record(7), record(1000)], lost: [992] },
    { name: 'twice', lines: [record(7), record(9), record(19)], lost: [1, 9] },
    { name: 'other people’s records count', lines: [record(7), '6,8,4536356821,-;eth0: link up', record(9)], lost: [] },
    { name: 'missing before other people’s', lines: [record(7), '6,10,4536356821,-;eth0: link up'], lost: [2] },
    {
      name: 'continuation lines are no records',
      lines: [record(7), ' SUBSYSTEM=net', ' DEVICE=n2', record(8)],
      lost: [],
    },
    { name: 'the same again (read twice)', lines: [record(7), record(7)], lost: [] },
    { name: 'from the start again (another boot)', lines: [record(900), record(3), record(4)], lost: [] },
    { name: 'the first one may have any number', lines: [record(123456)], lost: [] },
  ])('$name: lost $lost', ({ lines, lost }) => {
    const { losses, unrecognised } = readTrace(...lines);
    expect(losses.map(loss => loss.count)).toEqual(lost);
    expect(unrecognised).toEqual([]);
  });

  it('names the records that are missing, and the line that shows it', () =>
    expect(readTrace(record(7), record(11)).losses).toEqual([
      { reason: 'kernel log records 8 to 10 are missing', count: 3, source: 0, line: 2 },
    ]));
});

describe('other people’s messages', () => {
  it.each([
    'Aug 21 10:00:00 nodea kernel: eth0: link becomes ready',
    'Aug 21 10:00:00 nodea myapp[12]: TRACE: entering function foo()',
    '2026-08-21 10:00:00 TRACE: http request GET / IN=1ms',
    'DROPPED IN=eth0 OUT= MAC= SRC=10.0.0.1 DST=10.0.0.2 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=1 PROTO=UDP SPT=1 DPT=2 LEN=9 ',
    '{"MESSAGE":null}',
    '{"MESSAGE":"hello","PRIORITY":"6"}',
    '{"MESSAGE":[300,1]}',
    '{broken json',
    '',
    '   ',
  ])('%j', line => expect(readTrace(line)).toEqual({ events: [], unrecognised: [], losses: [], others: 1 }));
});

describe('the clock of a dmesg line', () => {
  it.each([
    { line: '[ 4536.356820] TRACE: x', want: { at: 4536356820, trace: 15 } },
    { line: '[1234567890.000001] TRACE: x', want: { at: 1234567890000001, trace: 20 } },
    { line: '[ 4536.356820] nodea TRACE: x', want: undefined },
    { line: '[ 4536.35682] TRACE: x', want: undefined },
    { line: '[ 4536.3568200] TRACE: x', want: undefined },
    { line: '[ 45x6.356820] TRACE: x', want: undefined },
    { line: '[.356820] TRACE: x', want: undefined },
    { line: '[Fri May  8 15:51:07 2026] TRACE: x', want: undefined },
    { line: '[', want: undefined },
  ])('$line', ({ line, want }) => expect(dmesgClock(line)).toEqual(want));

  it('agrees with the general reader wherever it answers', () => {
    for (const line of some(captureLines('kmsg.txt'), 500)) {
      const { at, trace } = readKernelMessage(line);
      expect(dmesgClock(line)).toEqual({ at, trace });
    }
  });

  it('agrees for any clock', () =>
    check(
      fc.property(fc.nat({ max: 2 ** 31 }), fc.nat({ max: 999_999 }), (seconds, micros) => {
        const clock = `${String(seconds).padStart(5)}.${String(micros).padStart(6, '0')}`;
        expect(dmesgClock(`[${clock}] TRACE: `)?.at).toBe(seconds * 1e6 + micros);
        expect(readKernelMessage(`x [${clock}] TRACE: `).at).toBe(seconds * 1e6 + micros);
      }),
    ));
});

describe('real logs', () => {
  it.each(['legacy/web-curl', 'nft/web-curl', 'nftables/web-curl'])('%s: every line is an event with a clock', path => {
    const text = capture(`${path}/kmsg.txt`);
    const { events, unrecognised, others } = readChunks([text]);
    expect(unrecognised).toEqual([]);
    expect(events.length + others).toBe(text.trimEnd().split('\n').length);
    expect(events.length).toBe(text.match(/TRACE: /g)?.length);
    expect(events.filter(event => event.at === undefined)).toEqual([]);
  });

  it('a session with other output around: only the trace lines are events', () => {
    const text = capture('ipvs-vm/session.txt');
    const { events, unrecognised } = readChunks([text]);
    expect(events.length).toBe(text.match(/TRACE: /g)?.length);
    expect(unrecognised).toEqual([]);
  });
});

survivesAnything(
  line => readTrace(MESSAGE, line),
  [...some(captureLines('kmsg.txt'), 60), ...WRAPPINGS.map(wrapping => wrapping.line)],
  ({ events, unrecognised, losses }) => {
    for (const event of events) expectWellFormed(event);
    for (const { reason } of [...unrecognised, ...losses]) expect(reason).not.toBe('');
  },
);
