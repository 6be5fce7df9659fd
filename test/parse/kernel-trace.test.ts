import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { TraceEvent } from '../../src/model.ts';
import { createKernelTraceReader, TRACE_MARK } from '../../src/parse/kernel-trace.ts';
import { captureLines, some } from '../support/captures.ts';
import { check, survivesAnything } from '../support/fuzz.ts';
import { kernelLine, printKernelLine } from '../support/packets.ts';
import { expectWellFormed } from '../support/read-trace.ts';

const PACKET =
  'SRC=10.244.1.72 DST=10.96.164.231 LEN=60 TOS=0x00 PREC=0x00 TTL=64 ID=38682 DF PROTO=TCP SPT=38858 DPT=80 ' +
  'SEQ=2362888013 ACK=0 WINDOW=64240 RES=0x00 SYN URGP=0 ';
const PACKET6 =
  'SRC=fd00:0010:0244:0001:0000:0000:0000:0048 DST=fd00:0010:0096:0000:0000:0000:0000:0001 LEN=72 TC=0 HOPLIMIT=63 ' +
  'FLOWLBL=720896 PROTO=UDP SPT=40000 DPT=53 LEN=32 ';

/** What a fresh reader says to a line that begins at `TRACE: `. The event is the reader's own and is copied. */
function read(line: string, reader = createKernelTraceReader(0)): TraceEvent | string {
  const result = reader.read(line, TRACE_MARK.length, undefined, 1);
  return typeof result === 'string' ? result : { ...result };
}

function event(line: string): TraceEvent {
  const result = read(line);
  expect(result).not.toBeTypeOf('string');
  return result as TraceEvent;
}

describe('the point: table, chain, kind and number', () => {
  it.each([
    { where: 'raw:PREROUTING:policy:2', want: { table: 'raw', chain: 'PREROUTING', kind: 'policy', number: 2 } },
    { where: 'nat:KUBE-SERVICES:rule:57', want: { table: 'nat', chain: 'KUBE-SERVICES', kind: 'rule', number: 57 } },
    {
      where: 'nat:KUBE-MARK-MASQ:return:2',
      want: { table: 'nat', chain: 'KUBE-MARK-MASQ', kind: 'return', number: 2 },
    },
    {
      where: 'raw:cali-PREROUTING:return:5',
      want: { table: 'raw', chain: 'cali-PREROUTING', kind: 'return', number: 5 },
    },
    { where: 'filter:a:b:rule:1', want: { table: 'filter', chain: 'a:b', kind: 'rule', number: 1 } },
    { where: 'filter:x:rule:3:rule:1', want: { table: 'filter', chain: 'x:rule:3', kind: 'rule', number: 1 } },
    { where: 'filter:rule:return:9', want: { table: 'filter', chain: 'rule', kind: 'return', number: 9 } },
    {
      where: 'security:a.b_c+d:rule:12345',
      want: { table: 'security', chain: 'a.b_c+d', kind: 'rule', number: 12345 },
    },
  ])('$where', ({ where, want }) => {
    const { point } = event(`TRACE: ${where} IN=eth0 OUT= ${PACKET}`);
    expect(point).toMatchObject({ ...want, backend: 'legacy', family: 'ip' });
  });

  it.each([
    'nat:KUBE-SERVICES:rule:',
    'nat:KUBE-SERVICES:rule:x',
    'nat:KUBE-SERVICES:rul:1',
    'nat:rule:1',
    ':KUBE:rule:1',
    'nat',
    '',
  ])('%j is none', where => expect(read(`TRACE: ${where} IN=eth0 OUT= ${PACKET}`)).toBe('not table:chain:kind:number'));

  it('takes the family from the addresses', () => {
    const v4 = event(`TRACE: nat:PREROUTING:rule:1 IN=eth0 OUT= ${PACKET}`);
    const v6 = event(`TRACE: nat:PREROUTING:rule:1 IN=eth0 OUT= ${PACKET6}`);
    expect([v4.point.family, v6.point.family]).toEqual(['ip', 'ip6']);
    expect(v4.point.id).not.toBe(v6.point.id);
  });

  it('is one object for all lines that say the same', () => {
    const reader = createKernelTraceReader(0);
    const points = ['nat:A:rule:1', 'nat:B:rule:1', 'nat:A:rule:1', 'nat:A:rule:2'].map(
      where => (read(`TRACE: ${where} IN=eth0 OUT= ${PACKET}`, reader) as TraceEvent).point,
    );
    expect(points[2]).toBe(points[0]);
    expect(new Set(points.map(point => point.id)).size).toBe(3);
  });
});

describe('the interfaces', () => {
  const MAC = 'MAC=4a:b6:be:bc:69:8a:36:04:b4:d3:e0:80:08:00';
  it.each([
    { name: 'prerouting', text: `IN=cni0 OUT= ${MAC} `, want: { in: 'cni0' } },
    { name: 'output', text: 'IN= OUT=eth0 ', want: { out: 'eth0' } },
    { name: 'forward', text: `IN=cni0 OUT=eth0 ${MAC} `, want: { in: 'cni0', out: 'eth0' } },
    { name: 'neither', text: 'IN= OUT= ', want: {} },
    { name: 'an empty MAC', text: 'IN=tun0 OUT= MAC= ', want: { in: 'tun0' } },
    { name: 'a tunnel behind the MAC', text: `IN=sit0 OUT= ${MAC} TUNNEL=10.0.0.1->10.0.0.2 `, want: { in: 'sit0' } },
    {
      name: 'decoded MAC',
      text: 'IN=eth0 OUT= MACSRC=36:04:b4:d3:e0:80 MACDST=4a:b6:be:bc:69:8a MACPROTO=0800 ',
      want: { in: 'eth0' },
    },
    { name: 'a VLAN', text: 'IN=eth0.100 OUT=bond0-1_x ', want: { in: 'eth0.100', out: 'bond0-1_x' } },
    {
      name: 'a bridge port',
      text: `IN=cni0 OUT= PHYSIN=veth657da331 ${MAC} `,
      want: { in: 'cni0', physIn: 'veth657da331' },
    },
    {
      name: 'two bridge ports',
      text: `IN=docker0 OUT=docker0 PHYSIN=veth1 PHYSOUT=veth2 ${MAC} `,
      want: { in: 'docker0', out: 'docker0', physIn: 'veth1', physOut: 'veth2' },
    },
    { name: 'only the port out', text: 'IN= OUT=br0 PHYSOUT=veth2 ', want: { out: 'br0', physOut: 'veth2' } },
  ])('$name', ({ text, want }) => {
    const { id: _, ...via } = event(`TRACE: raw:X:rule:1 ${text}${PACKET}`).via;
    expect(via).toEqual(want);
  });

  it('are one object for all lines that say the same', () =>
    expect(event(`TRACE: raw:X:rule:1 IN=a OUT=b ${PACKET}`).via).toBe(
      event(`TRACE: nat:Y:rule:9 IN=a OUT=b ${PACKET6}`).via,
    ));
});

describe('the tail behind the packet', () => {
  it.each([
    { name: 'nothing', tail: '', mark: undefined },
    { name: 'a mark', tail: 'MARK=0x4000 ', mark: 0x4000 },
    { name: 'all bits of a mark', tail: 'MARK=0xffffffff ', mark: 0xffffffff },
    { name: 'the sender', tail: 'UID=1000 GID=100 ', mark: undefined },
    { name: 'the sender and a mark', tail: 'UID=0 GID=0 MARK=0x1 ', mark: 1 },
    { name: 'options and a mark', tail: 'OPT (020405B4) MARK=0x40000 ', mark: 0x40000 },
  ])('$name', ({ tail, mark }) => {
    const { header, ...rest } = event(`TRACE: raw:X:rule:1 IN=a OUT= ${PACKET}${tail}`);
    expect(rest.mark).toBe(mark);
    expect(header?.tcp?.flags).toBe('SYN');
  });

  it('a mark of the packet before is not this packet’s', () => {
    const reader = createKernelTraceReader(0);
    const lines = [`IN=a OUT= ${PACKET}MARK=0x4000 `, `IN=a OUT= ${PACKET}`, `IN=a OUT= ${PACKET6}`];
    const marks = lines.map(text => (read(`TRACE: nat:X:rule:1 ${text}`, reader) as TraceEvent).mark);
    expect(marks).toEqual([0x4000, undefined, undefined]);
  });
});

describe('torn lines', () => {
  it.each([
    { name: 'inside the chain', line: 'TRACE: nat:KUBE-SERV' },
    { name: 'inside IN=', line: 'TRACE: nat:KUBE-SERVICES:rule:5 IN=cn' },
    { name: 'inside the MAC', line: 'TRACE: nat:KUBE-SERVICES:rule:5 IN=cni0 OUT= MAC=4a:b6' },
    { name: 'inside SRC=', line: 'TRACE: nat:X:rule:5 IN=cni0 OUT= SRC=10.24' },
    { name: 'inside DST=', line: 'TRACE: nat:X:rule:5 IN=cni0 OUT= SRC=10.244.1.72 DST=10.96.164.2' },
    { name: 'inside TTL=', line: `TRACE: nat:X:rule:5 IN=cni0 OUT= ${PACKET.slice(0, PACKET.indexOf('4 ID='))}` },
    { name: 'before PROTO=', line: `TRACE: nat:X:rule:5 IN=cni0 OUT= ${PACKET.slice(0, PACKET.indexOf('PROTO='))}` },
    { name: 'inside SPT=', line: `TRACE: nat:X:rule:5 IN=cni0 OUT= ${PACKET.slice(0, PACKET.indexOf('858 DPT'))}` },
    { name: 'inside DPT=', line: `TRACE: nat:X:rule:5 IN=cni0 OUT= ${PACKET.slice(0, PACKET.indexOf('0 SEQ'))}` },
    { name: 'inside SEQ=', line: `TRACE: nat:X:rule:5 IN=cni0 OUT= ${PACKET.slice(0, PACKET.indexOf('13 ACK'))}` },
    { name: 'before the flags', line: `TRACE: nat:X:rule:5 IN=cni0 OUT= ${PACKET.slice(0, PACKET.indexOf('SYN'))}` },
    { name: 'behind a flag', line: `TRACE: nat:X:rule:5 IN=cni0 OUT= ${PACKET.slice(0, PACKET.indexOf('URGP'))}` },
    { name: 'no interfaces', line: `TRACE: nat:X:rule:5 ${PACKET}` },
    {
      name: 'an address that is none',
      line: `TRACE: nat:X:rule:5 IN=a OUT= ${PACKET.replace('10.96.164.231', '10.96.164.2311')}`,
    },
  ])('$name', ({ line }) => expect(read(line)).toBeTypeOf('string'));

  it('leave nothing behind for the next line', () => {
    const reader = createKernelTraceReader(0);
    const whole = `TRACE: nat:X:rule:1 IN=a OUT= ${PACKET}`;
    const before = read(whole, reader);
    for (let end = TRACE_MARK.length; end < whole.length - PACKET.length + 40; end++) {
      expect(read(whole.slice(0, end), reader)).toBeTypeOf('string');
      expect(read(whole, reader)).toEqual(before);
    }
  });
});

describe('a reader that has read other lines before', () => {
  it('says the same as a fresh one', () => {
    const reader = createKernelTraceReader(0);
    const lines = some(captureLines('kmsg.txt'), 1000).filter(line => line.includes(TRACE_MARK));
    const used = lines.map(line => read(line.slice(line.indexOf(TRACE_MARK)), reader) as TraceEvent);
    const fresh = lines.map(line => read(line.slice(line.indexOf(TRACE_MARK))) as TraceEvent);
    expect(lines.length).toBeGreaterThan(300);
    expect(used).toEqual(fresh);
  });

  it('says the same as a fresh one of any lines in any order', () =>
    check(
      fc.property(
        fc.array(kernelLine, { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(), { maxLength: 20 }),
        (lines, turns) => {
          const reader = createKernelTraceReader(0);
          for (const turn of turns) {
            const text = printKernelLine(lines[turn % lines.length] as (typeof lines)[number]);
            expect(read(text, reader)).toEqual(read(text));
          }
        },
      ),
      0.3,
    ));

  it('fills one event again and again: who keeps it copies it', () => {
    const reader = createKernelTraceReader(3);
    const first = reader.read(`TRACE: nat:X:rule:1 IN=a OUT= ${PACKET}`, TRACE_MARK.length, 5, 10);
    const second = reader.read(`TRACE: nat:X:rule:2 IN=a OUT= ${PACKET}`, TRACE_MARK.length, 6, 11);
    expect(second).toBe(first);
    expect(second).toMatchObject({ source: 3, line: 11, at: 6, point: { number: 2 } });
  });
});

describe('round trip', () => {
  it('whatever packet the kernel prints, the same fields come back', () =>
    check(
      fc.property(kernelLine, fc.boolean(), (line, stripped) => {
        const text = printKernelLine(line);
        const { point, via, header, mark } = event(stripped ? text.trimEnd() : text);
        expect(point).toMatchObject({ table: line.table, chain: line.chain, kind: line.kind, number: line.number });
        expect(point.family).toBe(line.header.family);
        expect([via.in ?? '', via.out ?? '', via.physIn ?? '', via.physOut ?? '']).toEqual([
          line.in,
          line.out,
          line.physIn,
          line.physOut,
        ]);
        expect(header).toEqual(line.header);
        expect(mark ?? 0).toBe(line.mark);
      }),
    ));
});

survivesAnything(
  text => {
    // In the middle of a log: other lines were read before.
    const reader = createKernelTraceReader(0);
    read(`TRACE: nat:X:rule:1 IN=a OUT= ${PACKET}`, reader);
    return read(`${TRACE_MARK}${text}`, reader);
  },
  some(captureLines('kmsg.txt'), 100).map(line => line.slice(line.indexOf(TRACE_MARK) + TRACE_MARK.length)),
  result => {
    if (typeof result === 'string') expect(result).not.toBe('');
    else expectWellFormed(result);
  },
);
