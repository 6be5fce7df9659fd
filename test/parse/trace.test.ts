/** Traces of every kind in one file, line by line. The formats have files of their own. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { capture, captureLines, some } from '../support/captures.ts';
import { check, damaged, noise } from '../support/fuzz.ts';
import { expectWellFormed, readChunks, readTrace } from '../support/read-trace.ts';

const KERNEL =
  '[ 4536.356820] TRACE: raw:PREROUTING:policy:3 IN=cni0 OUT= SRC=10.244.1.72 DST=10.96.164.231 LEN=84 TOS=0x00 PREC=0x00 TTL=64 ID=44312 DF PROTO=ICMP TYPE=8 CODE=0 ID=270 SEQ=1 ';
const NFT = 'trace id 79ee2632 ip nat PREROUTING policy accept ';
const XTABLES = ' TRACE: 2 79ee2632 nat:PREROUTING:policy:ACCEPT ';

describe('one file, several sources', () => {
  it('every line is recognised by itself', () => {
    const { events, others } = readTrace(KERNEL, NFT, 'hello', KERNEL, XTABLES);
    expect(events.map(event => [event.line, event.point.backend, event.point.kind])).toEqual([
      [1, 'legacy', 'policy'],
      [2, 'nft', 'policy'],
      [4, 'legacy', 'policy'],
      [5, 'nft', 'policy'],
    ]);
    expect(others).toBe(1);
  });

  it('a line says which source it came from', () =>
    expect(readChunks([`${KERNEL}\n${NFT}\n${XTABLES}\nTRACE: a:b:rule:1 torn`], 7)).toMatchObject({
      events: [{ source: 7 }, { source: 7 }, { source: 7 }],
      unrecognised: [{ source: 7, line: 4, raw: 'TRACE: a:b:rule:1 torn' }],
    }));

  it('a line of several megabytes is shown only in part', () => {
    const { unrecognised } = readTrace(`TRACE: a:b:rule:1 ${'x'.repeat(3_000_000)}`);
    expect(unrecognised[0]?.raw.length).toBeLessThanOrEqual(2000);
  });
});

describe('half a last line', () => {
  it('that is whole but for its newline is an event', () => {
    const { events } = readChunks([`${KERNEL}\n${KERNEL.trimEnd()}`]);
    expect(events).toHaveLength(2);
  });

  it.each([
    { name: 'kernel', line: KERNEL.slice(0, KERNEL.indexOf('PROTO')) },
    { name: 'nft', line: 'trace id 79ee2632 ip nat PREROUTING rule jump KUBE (verd' },
    { name: 'xtables-monitor', line: 'PACKET: 2 79ee2632 IN=cni0 SRC=10.24' },
  ])('$name: is counted as not understood', ({ line }) => {
    const { events, unrecognised } = readChunks([`${KERNEL}\n${line}`]);
    expect([events.length, unrecognised.length, unrecognised[0]?.raw]).toEqual([1, 1, line]);
  });
});

describe('CRLF and a byte-order mark change nothing', () => {
  it.each(['legacy/web-curl/kmsg.txt', 'nft/web-curl/nft-monitor.txt', 'nft/web-curl/xtables-monitor.txt'])(
    '%s',
    path => {
      const text = capture(path);
      expect(readChunks([`\ufeff${text.replaceAll('\n', '\r\n')}`])).toEqual(readChunks([text]));
    },
  );
});

const LINES = ['kmsg.txt', 'nft-monitor.txt', 'xtables-monitor.txt'].flatMap(file => some(captureLines(file), 60));

describe('survives anything', () => {
  const line = fc.oneof(
    fc.constantFrom(...LINES),
    damaged(LINES),
    noise.map(text => text.replaceAll('\n', ' ')),
  );

  it('every line of whatever file is an event, not understood, a loss, or somebody else’s', () =>
    check(
      fc.property(fc.array(line, { maxLength: 12 }), lines => {
        const { events, unrecognised, losses, others } = readTrace(KERNEL, ...lines);
        for (const event of events) expectWellFormed(event);
        const counted = [...events, ...unrecognised, ...losses].map(each => each.line);
        for (const number of counted) expect(number >= 1 && number <= lines.length + 1).toBe(true);
        // PACKET lines of xtables-monitor belong to another line; all others are counted once.
        const packets = lines.filter(text => text.startsWith('PACKET: ')).length;
        expect(new Set(counted).size + others + packets).toBeGreaterThanOrEqual(lines.length + 1);
      }),
    ));

  it('it does not matter how a file is cut into chunks', () =>
    check(
      fc.property(fc.array(line, { maxLength: 6 }), fc.integer({ min: 1, max: 50 }), (lines, size) => {
        const text = [KERNEL, ...lines].join('\n');
        const chunks = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
          text.slice(i * size, (i + 1) * size),
        );
        expect(readChunks(chunks)).toEqual(readChunks([text]));
      }),
      0.3,
    ));
});
