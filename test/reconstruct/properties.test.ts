/** What must not change the result: the order lines of different packets are written in, copies, wrappings, and how a file is cut. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { analyse, createAnalysis } from '../../src/analyse.ts';
import type { Capture } from '../../src/capture.ts';
import { allScenarios, captureOf, fileOf, hasFile, linesOf, type Mode, scenarios, withTraces } from './captures.ts';
import { inOneFile, interleaved, plainJourneys, RUNS } from './compare.ts';

const NEVER = { numRuns: RUNS, endOnFailure: false } as const;

/** Rules and objects of a mode, without probes: those are questions, and would decide which packets are listed. */
function bare(mode: Mode, scenario: string, traces?: readonly string[]): Capture {
  return captureOf(mode, scenario, { probe: false, conntrack: false, ...(traces ? { traces } : {}) });
}

/** Lines of one packet: the IP id and TCP's numbers survive NAT, and so do an echo's. */
function packetsOf(mode: Mode, scenario: string): string[][] {
  const packets = new Map<string, string[]>();
  for (const line of linesOf(fileOf(mode, scenario, 'kmsg.txt'))) {
    const key = ['LEN', ' ID', 'SEQ', 'ACK', 'WINDOW', 'TYPE'].map(
      name => new RegExp(`${name}=(\\S+)`).exec(line)?.[1] ?? '',
    );
    const flags = / RES=\S+ (.*?)URGP/.exec(line)?.[1] ?? '';
    const own = `${key.join(' ')} ${flags}`;
    packets.set(own, [...(packets.get(own) ?? []), line]);
  }
  return [...packets.values()];
}

/**
 * nft monitor's lines in streams that no two CPUs could have mixed up: a base chain's lines go with the header before them,
 * a packet's base chains are kept in order, and packets that share a trace id stay together.
 */
function nftStreams(mode: Mode, scenario: string): string[][] {
  const newest = new Map<string, string>();
  const packets = new Map<string, { lines: string[]; ids: Set<string> }>();
  for (const line of linesOf(fileOf(mode, scenario, 'nft-monitor.txt'))) {
    const id = line.slice(9, 17);
    const header = / packet: .*?(ip id \d+ ip length \d+ .*)/.exec(line)?.[1];
    if (header !== undefined) newest.set(id, header.replace(/[sd]port \d+/g, ''));
    const key = newest.get(id) ?? id;
    const packet = packets.get(key) ?? { lines: [], ids: new Set() };
    packet.lines.push(line);
    packet.ids.add(id);
    packets.set(key, packet);
  }
  const streams: { lines: string[]; ids: Set<string> }[] = [];
  for (const packet of packets.values()) {
    const shared = streams.filter(stream => [...packet.ids].some(id => stream.ids.has(id)));
    const merged = shared[0] ?? { lines: [], ids: new Set<string>() };
    if (shared.length === 0) streams.push(merged);
    for (const other of shared.slice(1)) {
      merged.lines.push(...other.lines);
      for (const id of other.ids) merged.ids.add(id);
      streams.splice(streams.indexOf(other), 1);
    }
    merged.lines.push(...packet.lines);
    for (const id of packet.ids) merged.ids.add(id);
  }
  return streams.map(stream => stream.lines);
}

/** The same capture as if it were another connection at another time: other port, IP ids and sequence numbers. */
function another(lines: string[], by: number): string[] {
  return lines.map(line =>
    line
      .replace(/^\[ *(\d+)\.(\d+)\]/, (_, s, us) => `[${Number(s) + 5}.${us}]`)
      .replace(/\bID=(\d+) /, (all, id) => (id === '0' ? all : `ID=${(Number(id) + by) % 65_536 || 1} `))
      .replace(/\b([SD])PT=(\d{5})\b/, (_, end, port) => `${end}PT=${((Number(port) + by) % 30_000) + 30_000}`)
      .replace(/\bSEQ=(\d{4,})/, (_, seq) => `SEQ=${(Number(seq) + by) % 2 ** 32}`)
      .replace(/\bACK=(\d{4,})/, (_, ack) => `ACK=${(Number(ack) + by) % 2 ** 32}`)
      .replace(/(PROTO=ICMP TYPE=[08] CODE=0 ID=)(\d+)/, (_, head, id) => `${head}${(Number(id) + by) % 65_536}`),
  );
}

const legacy = scenarios('legacy');
const picks = fc.array(fc.nat(7), { minLength: 1, maxLength: 200 });

describe('any interleaving gives the same journeys', () => {
  const alone = new Map(legacy.map(name => [name, plainJourneys(analyse(bare('legacy', name)))]));

  test('two captures of the kernel log in one', () => {
    fc.assert(
      fc.property(fc.constantFrom(...legacy), fc.constantFrom(...legacy), picks, (a, b, order) => {
        fc.pre(a !== b);
        const mixed = interleaved(
          [a, b].map(name => linesOf(fileOf('legacy', name, 'kmsg.txt'))),
          order,
        );
        expect(plainJourneys(analyse(inOneFile(bare('legacy', a), mixed.join('\n'))))).toEqual(
          [...(alone.get(a) as string[]), ...(alone.get(b) as string[])].sort(),
        );
      }),
      NEVER,
    );
  });

  test('every packet of a capture mixed with every other packet of it', () => {
    fc.assert(
      fc.property(fc.constantFrom(...legacy), picks, (name, order) => {
        // A hairpin or a retransmission tells its direction by what came before: the first packets keep their order.
        const packets = packetsOf('legacy', name);
        const firsts = packets.map(lines => lines[0] as string);
        const mixed = [
          ...firsts,
          ...interleaved(
            packets.map(lines => lines.slice(1)),
            order,
          ),
        ];
        expect(plainJourneys(analyse(inOneFile(bare('legacy', name), mixed.join('\n'))))).toEqual(alone.get(name));
      }),
      NEVER,
    );
  });

  test('two connections of one kind: the same capture with other ports, ids and numbers', () => {
    fc.assert(
      fc.property(fc.constantFrom(...legacy), fc.integer({ min: 1, max: 9000 }), picks, (name, by, order) => {
        const own = linesOf(fileOf('legacy', name, 'kmsg.txt'));
        const other = another(own, by);
        const apart = plainJourneys(analyse(inOneFile(bare('legacy', name), other.join('\n'))));
        const mixed = interleaved([own, other], order);
        expect(plainJourneys(analyse(inOneFile(bare('legacy', name), mixed.join('\n'))))).toEqual(
          [...(alone.get(name) as string[]), ...apart].sort(),
        );
      }),
      NEVER,
    );
  });

  const both = allScenarios().filter(({ mode, scenario }) => hasFile(mode, scenario, 'nft-monitor.txt'));
  const TWO = ['kmsg.txt', 'nft-monitor.txt'] as const;
  const apart = new Map(
    both.map(({ mode, scenario }) => [`${mode}/${scenario}`, plainJourneys(analyse(bare(mode, scenario, TWO)))]),
  );

  test('kernel log and nft monitor of the same packets in one file', () => {
    fc.assert(
      fc.property(fc.constantFrom(...both), picks, ({ mode, scenario }, order) => {
        const mixed = interleaved(
          TWO.map(name => linesOf(fileOf(mode, scenario, name))),
          order,
        );
        expect(plainJourneys(analyse(inOneFile(bare(mode, scenario), mixed.join('\n'))))).toEqual(
          apart.get(`${mode}/${scenario}`),
        );
      }),
      NEVER,
    );
  });

  test('nft monitor: packets of one capture that share no trace id, mixed line by line', () => {
    const mixable = both.map(one => ({ ...one, streams: nftStreams(one.mode, one.scenario) }));
    expect(mixable.filter(one => one.streams.length > 2).length).toBeGreaterThan(5);
    fc.assert(
      fc.property(fc.constantFrom(...mixable), picks, ({ mode, scenario, streams }, order) => {
        const firsts = streams.map(lines => lines[0] as string);
        const mixed = [
          ...firsts,
          ...interleaved(
            streams.map(lines => lines.slice(1)),
            order,
          ),
        ];
        expect(plainJourneys(analyse(inOneFile(bare(mode, scenario), mixed.join('\n'))))).toEqual(
          plainJourneys(analyse(bare(mode, scenario, ['nft-monitor.txt']))),
        );
      }),
      NEVER,
    );
  });

  test('nft monitor of two captures in one', () => {
    const alone = new Map(
      both.map(({ mode, scenario }) => [
        `${mode}/${scenario}`,
        plainJourneys(analyse(bare(mode, scenario, ['nft-monitor.txt']))),
      ]),
    );
    const nftables = scenarios('nftables');
    fc.assert(
      fc.property(fc.constantFrom(...nftables), fc.constantFrom(...nftables), picks, (a, b, order) => {
        fc.pre(a !== b);
        const streams = [a, b].map(name => linesOf(fileOf('nftables', name, 'nft-monitor.txt')));
        // The kernel's ids are 32 bits of a hash: two captures that happen to share one are no fair pair.
        const ids = streams.map(lines => new Set(lines.map(line => line.slice(0, 17))));
        fc.pre([...(ids[0] as Set<string>)].every(id => !ids[1]?.has(id)));
        const mixed = interleaved(streams, order);
        expect(plainJourneys(analyse(inOneFile(bare('nftables', a), mixed.join('\n'))))).toEqual(
          [...(alone.get(`nftables/${a}`) as string[]), ...(alone.get(`nftables/${b}`) as string[])].sort(),
        );
      }),
      NEVER,
    );
  });
});

describe('a line that stands twice is counted, and changes nothing', () => {
  const files = allScenarios().flatMap(({ mode, scenario }) =>
    ['kmsg.txt', 'nft-monitor.txt']
      .filter(name => hasFile(mode, scenario, name))
      .map(file => ({ mode, scenario, file })),
  );
  const once = new Map(
    files.map(({ mode, scenario, file }) => [
      `${mode}/${scenario}/${file}`,
      plainJourneys(analyse(bare(mode, scenario, [file]))),
    ]),
  );

  for (const { mode, scenario, file } of files) {
    const name = `${mode}/${scenario}/${file}`;
    test(`${name}: every single line`, () => {
      const lines = linesOf(fileOf(mode, scenario, file));
      for (const [i, line] of lines.entries()) {
        const twice = [...lines.slice(0, i), line, ...lines.slice(i)];
        const report = analyse(inOneFile(bare(mode, scenario), twice.join('\n')));
        expect(plainJourneys(report), `line ${i + 1} twice`).toEqual(once.get(name));
        expect(report.completeness.duplicates, `line ${i + 1} twice`).toBe(1);
      }
    });

    test(`${name}: the whole file behind itself`, () => {
      const text = fileOf(mode, scenario, file);
      const report = analyse(inOneFile(bare(mode, scenario), text + text));
      // nft monitor has no clock, and no sequence numbers: packets without an IP id may have been sent again.
      const told = (journey: string) => file === 'kmsg.txt' || !/"id":0,/.test(journey);
      expect(plainJourneys(report).filter(told)).toEqual(once.get(name)?.filter(told));
      expect(new Set(plainJourneys(report))).toEqual(new Set(once.get(name)));
      // The kernel log has a clock, and its lines are copies where it says the same.
      if (file === 'kmsg.txt') expect(report.completeness.duplicates).toBe(linesOf(text).length);
      else expect(report.completeness.duplicates).toBeGreaterThan(0);
    });

    test(`${name}: the whole file as a second file`, () => {
      const text = fileOf(mode, scenario, file);
      const twice = [
        { name: 'one', text },
        { name: 'two', text },
      ];
      const report = analyse(withTraces(bare(mode, scenario), twice));
      expect(plainJourneys(report)).toEqual(once.get(name));
      expect(report.completeness.duplicates).toBe(linesOf(text).length);
    });
  }

  for (const { mode, scenario } of allScenarios().filter(one => hasFile(one.mode, one.scenario, 'xtables-monitor.txt')))
    test(`${mode}/${scenario}/xtables-monitor.txt: every single line of the trace`, () => {
      const lines = linesOf(fileOf(mode, scenario, 'xtables-monitor.txt'));
      const whole = plainJourneys(analyse(inOneFile(bare(mode, scenario), lines.join('\n'))));
      for (const [i, line] of lines.entries()) {
        if (!/^ TRACE: .*(rule|policy):/.test(line)) continue;
        const report = analyse(
          inOneFile(bare(mode, scenario), lines.flatMap((l, at) => (at === i ? [l, line] : [l])).join('\n')),
        );
        expect(plainJourneys(report), `line ${i + 1} twice`).toEqual(whole);
        expect(report.completeness.duplicates, `line ${i + 1} twice`).toBe(1);
      }
    });

  test('any lines of any file, any number of times', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.array(fc.tuple(fc.nat(1000), fc.integer({ min: 1, max: 3 })), { minLength: 1, maxLength: 8 }),
        ({ mode, scenario, file }, copies) => {
          const lines = linesOf(fileOf(mode, scenario, file));
          const more = lines.flatMap((line, i) => [
            line,
            ...copies.flatMap(([at, times]) => (at % lines.length === i ? new Array<string>(times).fill(line) : [])),
          ]);
          const report = analyse(inOneFile(bare(mode, scenario), more.join('\n')));
          expect(plainJourneys(report)).toEqual(once.get(`${mode}/${scenario}/${file}`));
          expect(report.completeness.duplicates).toBe(more.length - lines.length);
        },
      ),
      NEVER,
    );
  });
});

describe('the same trace in every wrapping', () => {
  const message = (line: string) => line.replace(/^\[ *\d+\.\d+\] /, '');
  const clock = (line: string) => /^\[ *(\d+)\.(\d+)\] /.exec(line) as RegExpExecArray;
  const micros = (line: string) => Number(clock(line)[1]) * 1e6 + Number(clock(line)[2]);
  const wall = (line: string) => new Date(1.7e12 + Math.floor(micros(line) / 1000));
  const MONTHS = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
  const rfc3164 = (line: string) => {
    const at = wall(line);
    return `${MONTHS[at.getUTCMonth()]} ${String(at.getUTCDate()).padStart(2)} ${at.toISOString().slice(11, 19)}`;
  };
  const journal = (line: string, i: number) => ({
    _TRANSPORT: 'kernel',
    SYSLOG_IDENTIFIER: 'kernel',
    PRIORITY: '4',
    __CURSOR: `s=1;i=${i.toString(16)}`,
    __REALTIME_TIMESTAMP: String(wall(line).getTime() * 1000),
    _SOURCE_MONOTONIC_TIMESTAMP: String(micros(line)),
    MESSAGE: message(line),
  });

  const WRAPPINGS: Record<string, (line: string, i: number) => string> = {
    'dmesg, with caller': line => line.replace(/^(\[ *\d+\.\d+\]) /, '$1[    C1] '),
    'dmesg -x': line => `kern  :warn  : ${line}`,
    'dmesg --color': line => line.replace(/^(\[ *\d+\.\d+\]) (TRACE: )/, '\u001b[32m$1 \u001b[0m\u001b[33m$2\u001b[0m'),
    'syslog (RFC 3164)': line => `${rfc3164(line)} nodea kernel: ${line}`,
    'syslog without the kernel clock': line => `${rfc3164(line)} nodea kernel: ${message(line)}`,
    'syslog with a priority': line => `<4>${rfc3164(line)} nodea kernel: ${line}`,
    'rsyslog (ISO 8601)': line => `${wall(line).toISOString().replace('Z', '+00:00')} nodea kernel: ${line}`,
    'syslog (RFC 5424)': line => `<4>1 ${wall(line).toISOString()} nodea kernel - - - ${line}`,
    'journalctl -o short-monotonic': line => line.replace(/^(\[ *\d+\.\d+\]) /, '$1 nodea kernel: '),
    'journalctl -o json': (line, i) => JSON.stringify(journal(line, i)),
    'journalctl -o json-pretty': (line, i) => JSON.stringify(journal(line, i), undefined, '\t'),
    'journalctl -o json, message as bytes': (line, i) =>
      JSON.stringify({ ...journal(line, i), MESSAGE: [...Buffer.from(message(line))] }),
    '/dev/kmsg': (line, i) => `4,${1000 + i},${micros(line)},-;${message(line)}`,
    '/dev/kmsg with a continuation and a dictionary': (line, i) =>
      `4,${1000 + i},${micros(line)},-,caller=T12;${message(line)}\n SUBSYSTEM=net`,
    CRLF: line => `${line}\r`,
  };

  for (const { mode, scenario } of allScenarios()) {
    const capture = bare(mode, scenario, ['kmsg.txt']);
    const expected = analyse(capture);
    test.each(Object.keys(WRAPPINGS))(`${mode}/${scenario}: %s`, name => {
      const wrap = WRAPPINGS[name] as (line: string, i: number) => string;
      const text = `${linesOf(fileOf(mode, scenario, 'kmsg.txt'))
        .map(wrap)
        .join('\n')}\n`;
      const report = analyse(inOneFile(capture, text));
      expect(plainJourneys(report)).toEqual(plainJourneys(expected));
      expect(report.completeness).toMatchObject({
        lost: 0,
        duplicates: 0,
        gaps: expected.completeness.gaps,
        events: expected.completeness.events,
        unrecognised: { count: 0 },
      });
    });
  }

  test('among the lines of other programs', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...legacy),
        fc.array(
          fc.tuple(
            fc.nat(500),
            fc.constantFrom(
              '[ 1.000000] usb 1-1: new device',
              'sshd[1]: TRACE: x',
              '',
              '{"MESSAGE":"hello"}',
              'IN=eth0 OUT= SRC=1.2.3.4',
            ),
          ),
          { maxLength: 20 },
        ),
        (name, noise) => {
          const lines = linesOf(fileOf('legacy', name, 'kmsg.txt'));
          const noisy = lines.flatMap((line, i) => [
            ...noise.flatMap(([at, text]) => (at % lines.length === i ? [text] : [])),
            line,
          ]);
          const report = analyse(inOneFile(bare('legacy', name), noisy.join('\n')));
          expect(plainJourneys(report)).toEqual(plainJourneys(analyse(bare('legacy', name))));
          expect(report.completeness.unrecognised.count).toBe(0);
        },
      ),
      { numRuns: Math.min(RUNS, 100) },
    );
  });
});

describe('however the text is cut into pieces', () => {
  const files = allScenarios().flatMap(({ mode, scenario }) =>
    ['kmsg.txt', 'nft-monitor.txt', 'xtables-monitor.txt']
      .filter(name => hasFile(mode, scenario, name))
      .map(file => ({ mode, scenario, file })),
  );

  function inPieces(capture: Capture, name: string, pieces: string[]) {
    const analysis = createAnalysis(capture);
    const input = analysis.input(name);
    for (const piece of pieces) input.push(piece);
    input.end();
    return analysis.report();
  }

  test('the report is the same to the last field', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.array(fc.nat(60_000), { maxLength: 60 }),
        fc.boolean(),
        ({ mode, scenario, file }, cuts, crlf) => {
          const capture = captureOf(mode, scenario, { traces: [file] });
          const whole = fileOf(mode, scenario, file);
          const text = crlf ? whole.replaceAll('\n', '\r\n') : whole;
          const at = [...new Set([0, ...cuts.map(cut => cut % text.length), text.length])].sort((a, b) => a - b);
          const pieces = at.slice(1).map((end, i) => text.slice(at[i], end));
          expect(inPieces(capture, file, pieces)).toEqual(analyse(capture));
        },
      ),
      NEVER,
    );
  });

  test('character by character', () => {
    const capture = captureOf('nft', 'web-curl', { traces: ['nft-monitor.txt'] });
    const text = fileOf('nft', 'web-curl', 'nft-monitor.txt');
    expect(inPieces(capture, 'nft-monitor.txt', [...text])).toEqual(analyse(capture));
  });
});
