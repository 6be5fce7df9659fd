/** Lines -> passes: which line belongs to which packet and to which base chain, for the kernel log and for nft. */
import { describe, expect, test } from 'vitest';
import { createLegacyPasses } from '../../src/reconstruct/legacy-passes.ts';
import { createNftPasses } from '../../src/reconstruct/nft-passes.ts';
import { eventsOf, type Pass, segmentsOf } from '../../src/reconstruct/pass.ts';
import { createShapes } from '../../src/reconstruct/shape.ts';
import { createRuleBook } from '../../src/rules/book.ts';
import { type Fields, kernelLine, kernelLines, nftPacket, nftPolicy, nftRule, readLines } from './packets.ts';

function passesOf(lines: string[]): Pass[] {
  const passes: Pass[] = [];
  let order = 0;
  const sink = { pass: (pass: Pass) => void passes.push(pass) };
  const shapes = createShapes();
  const legacy = createLegacyPasses(sink, () => order++, shapes);
  const nft = createNftPasses(sink, () => order++, createRuleBook([], []), shapes);
  for (const event of readLines(lines).events) (event.point.backend === 'legacy' ? legacy : nft).push(event);
  legacy.end();
  nft.end();
  return passes.sort((a, b) => a.order - b.order);
}

/** `hook table base: line line` for every base chain. */
function cut(pass: Pass): string[] {
  return segmentsOf(pass).map(
    ({ hook, table, base, events }) => `${hook} ${table} ${base ?? '?'}: ${events.map(event => event.line).join(' ')}`,
  );
}

const ROUTED: Fields = { in: 'veth1', out: 'eth0' };
const POSTROUTED: Fields = { out: 'eth0' };
const DNAT: Fields = { dst: '10.244.2.9', dpt: 8080 };

describe('the kernel log', () => {
  test('one packet through five base chains, its address rewritten', () => {
    const [pass, ...more] = passesOf([
      ...kernelLines({ in: 'veth1' }, [
        'raw:PREROUTING:policy:2',
        'nat:PREROUTING:rule:1',
        'nat:KUBE-SERVICES:rule:2',
        'nat:KUBE-SEP-X:rule:1',
      ]),
      ...kernelLines({ ...ROUTED, ...DNAT, ttl: 63 }, [
        'filter:FORWARD:rule:1',
        'filter:KUBE-FORWARD:return:3',
        'filter:FORWARD:policy:2',
      ]),
      ...kernelLines({ ...POSTROUTED, ...DNAT, ttl: 63 }, ['mangle:POSTROUTING:policy:1', 'nat:POSTROUTING:policy:1']),
    ]);
    expect(more).toEqual([]);
    expect(cut(pass as Pass)).toEqual([
      'prerouting raw PREROUTING: 1',
      'prerouting nat PREROUTING: 2 3 4',
      'forward filter FORWARD: 5 6 7',
      'postrouting mangle POSTROUTING: 8',
      'postrouting nat POSTROUTING: 9',
    ]);
    expect((pass as Pass).headers.map(header => header.tuple.dst)).toEqual(['10.96.0.10', '10.244.2.9']);
  });

  test('lines of two packets in turns', () => {
    const points = ['raw:PREROUTING:policy:1', 'mangle:PREROUTING:policy:1', 'nat:PREROUTING:policy:1'];
    const passes = passesOf(points.flatMap(point => [1, 2].map(id => kernelLine(point, { in: 'veth1', id }))));
    expect(passes.map(pass => eventsOf(pass).length)).toEqual([3, 3]);
  });

  test('the same addresses and IP id again, with a later sequence number, is another packet', () => {
    const passes = passesOf([
      ...kernelLines({ in: 'veth1', id: 0, seq: 1 }, ['raw:PREROUTING:policy:1']),
      ...kernelLines({ in: 'veth1', id: 0, seq: 2 }, ['raw:PREROUTING:policy:1']),
    ]);
    expect(passes).toHaveLength(2);
  });

  test('a line twice at the same moment is a copy, a moment later it is a packet of its own', () => {
    const twice = passesOf([
      kernelLine('raw:PREROUTING:policy:1', { in: 'veth1', at: 5 }),
      kernelLine('raw:PREROUTING:policy:1', { in: 'veth1', at: 5 }),
    ]);
    expect(twice.map(pass => pass.duplicates)).toEqual([1]);
    const later = passesOf([
      kernelLine('raw:PREROUTING:policy:1', { in: 'veth1', at: 5 }),
      kernelLine('raw:PREROUTING:policy:1', { in: 'veth1', at: 5_000_000 }),
    ]);
    expect(later.map(pass => pass.duplicates)).toEqual([0, 0]);
  });

  test('a chain that two chains of one base chain call is one base chain', () => {
    const [pass] = passesOf(
      kernelLines({ in: 'veth1' }, [
        'nat:PREROUTING:rule:1',
        'nat:A:return:1',
        'nat:PREROUTING:rule:2',
        'nat:A:return:1',
        'nat:PREROUTING:policy:3',
      ]),
    );
    expect(cut(pass as Pass)).toEqual(['prerouting nat PREROUTING: 1 2 3 4 5']);
  });

  test('a packet for the node itself goes through input, one of its own through output', () => {
    const [pass] = passesOf(
      kernelLines({ in: 'eth0' }, ['raw:PREROUTING:policy:1', 'filter:INPUT:policy:1', 'nat:INPUT:policy:1']),
    );
    expect(cut(pass as Pass).map(text => text.split(' ')[0])).toEqual(['prerouting', 'input', 'input']);
    const [own] = passesOf(
      kernelLines({ out: 'eth0' }, ['raw:OUTPUT:policy:1', 'filter:OUTPUT:policy:1', 'nat:POSTROUTING:policy:1']),
    );
    expect(cut(own as Pass).map(text => text.split(' ')[0])).toEqual(['output', 'output', 'postrouting']);
  });

  test("security's chain stands behind filter's, and raw's before mangle's", () => {
    const [pass] = passesOf(
      kernelLines(ROUTED, ['mangle:FORWARD:policy:1', 'filter:FORWARD:policy:1', 'security:FORWARD:policy:1']),
    );
    expect(cut(pass as Pass)).toHaveLength(3);
  });
});

describe('nft monitor', () => {
  const PRE = 'nat PREROUTING';
  test('base chains of one packet are one pass, though its trace id changes', () => {
    const passes = passesOf([
      nftPacket('a1', PRE, { in: 'veth1' }),
      nftRule('a1', PRE, 'jump KUBE-SERVICES', 'jump KUBE-SERVICES'),
      nftRule('a1', 'nat KUBE-SERVICES', 'dnat to 10.244.2.9:8080', 'accept'),
      nftPacket('b2', 'filter FORWARD', { ...ROUTED, ...DNAT, ttl: 63 }),
      nftPolicy('b2', 'filter FORWARD'),
    ]);
    expect(passes.map(cut)).toEqual([['prerouting nat PREROUTING: 1 2 3', 'forward filter FORWARD: 4 5']]);
  });

  test('two packets of one connection under one trace id are two', () => {
    const passes = passesOf([
      nftPacket('a1', PRE, { in: 'veth1' }),
      nftPolicy('a1', PRE),
      nftPacket('a1', 'filter FORWARD', ROUTED),
      nftPolicy('a1', 'filter FORWARD'),
      nftPacket('a1', PRE, { in: 'veth1', id: 101, flags: 'ACK', len: 52 }),
      nftPolicy('a1', PRE),
    ]);
    expect(passes.map(cut)).toEqual([
      ['prerouting nat PREROUTING: 1 2', 'forward filter FORWARD: 3 4'],
      ['prerouting nat PREROUTING: 5 6'],
    ]);
  });

  test('chains of two packets in turns, told apart by their ids', () => {
    const passes = passesOf([
      nftPacket('a1', PRE, { in: 'veth1', id: 1 }),
      nftPacket('b2', PRE, { in: 'veth2', id: 2 }),
      nftRule('a1', PRE, 'jump X', 'jump X'),
      nftRule('b2', PRE, 'jump Y', 'jump Y'),
      nftPolicy('b2', PRE),
      nftPolicy('a1', PRE),
    ]);
    expect(passes.map(cut)).toEqual([['prerouting nat PREROUTING: 1 3 6'], ['prerouting nat PREROUTING: 2 4 5']]);
  });

  test('where a chain stands is told by its name, else by the interfaces', () => {
    const [pass] = passesOf([
      nftPacket('a1', 'mine dstnat', { in: 'veth1' }),
      nftPolicy('a1', 'mine dstnat'),
      nftPacket('a1', 'mine whatever', ROUTED),
      nftPolicy('a1', 'mine whatever'),
      nftPacket('a1', 'mine srcnat', POSTROUTED),
      nftPolicy('a1', 'mine srcnat'),
    ]);
    expect(cut(pass as Pass).map(text => text.split(' ')[0])).toEqual(['prerouting', 'forward', 'postrouting']);
  });

  test('the same line twice in a row is a copy', () => {
    const [pass, ...more] = passesOf([
      nftPacket('a1', PRE, { in: 'veth1' }),
      nftPacket('a1', PRE, { in: 'veth1' }),
      nftPolicy('a1', PRE),
      nftPolicy('a1', PRE),
    ]);
    expect(more).toEqual([]);
    expect((pass as Pass).duplicates).toBe(2);
    expect(cut(pass as Pass)).toEqual(['prerouting nat PREROUTING: 1 3']);
  });

  test('a base chain whose header is lost keeps its lines', () => {
    const [pass] = passesOf([nftRule('a1', PRE, 'jump X', 'jump X'), nftPolicy('a1', PRE)]);
    expect((pass as Pass).headers).toEqual([]);
    expect(cut(pass as Pass)).toEqual(['prerouting nat PREROUTING: 1 2']);
  });
});

describe('shapes', () => {
  const packet = (i: number): string[] => [
    ...kernelLines({ in: 'veth1', id: i, spt: 1000 + i }, [
      'raw:PREROUTING:policy:1',
      'nat:PREROUTING:rule:1',
      'nat:KUBE-SVC-X:rule:1',
    ]),
    ...kernelLines({ ...ROUTED, ...DNAT, id: i, spt: 1000 + i }, ['filter:FORWARD:policy:1']),
  ];
  const LINES = Array.from({ length: 200 }, (_, i) => packet(i + 1)).flat();

  test('of packets that went a well-known way the lines are told again exactly as they were', () => {
    const passes = passesOf(LINES);
    expect(passes).toHaveLength(200);
    expect(passes.filter(pass => pass.events === undefined).length).toBeGreaterThan(100);
    for (const [i, pass] of passes.entries()) {
      expect(eventsOf(pass).map(event => event.line)).toEqual([1, 2, 3, 4].map(n => i * 4 + n));
      expect(
        eventsOf(pass).map(
          event => `${event.point.table}:${event.point.chain}:${event.point.kind}:${event.point.number}`,
        ),
      ).toEqual([
        'raw:PREROUTING:policy:1',
        'nat:PREROUTING:rule:1',
        'nat:KUBE-SVC-X:rule:1',
        'filter:FORWARD:policy:1',
      ]);
      expect(eventsOf(pass).map(event => event.header?.tuple.dst)).toEqual([
        '10.96.0.10',
        '10.96.0.10',
        '10.96.0.10',
        '10.244.2.9',
      ]);
      expect(cut(pass)).toHaveLength(3);
    }
  });

  test('one that leaves the well-known way keeps its own lines', () => {
    const odd = kernelLines({ in: 'veth1', id: 999 }, [
      'raw:PREROUTING:policy:1',
      'nat:PREROUTING:rule:1',
      'nat:KUBE-SVC-X:return:5',
      'nat:PREROUTING:policy:2',
    ]);
    const pass = passesOf([...LINES, ...odd]).at(-1) as Pass;
    expect(eventsOf(pass).map(event => `${event.point.kind}:${event.point.number}`)).toEqual([
      'policy:1',
      'rule:1',
      'return:5',
      'policy:2',
    ]);
  });

  test('one whose lines do not follow each other keeps the numbers of its lines', () => {
    const [first, ...rest] = packet(999);
    const other = kernelLine('raw:PREROUTING:policy:1', { in: 'veth9', id: 5000 });
    const passes = passesOf([...LINES, first as string, other, ...rest]);
    const pass = passes.find(one => one.headers[0]?.id === 999) as Pass;
    expect(eventsOf(pass).map(event => event.line)).toEqual([801, 803, 804, 805]);
  });
});
