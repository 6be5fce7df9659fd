/** Whole texts through the line splitter and the trace reader, as the program reads its files; events are copied. */
import { expect } from 'vitest';
import type { Loss, TraceEvent, Unrecognised } from '../../src/model.ts';
import { createLineSplitter } from '../../src/parse/lines.ts';
import { createTraceReader } from '../../src/parse/trace.ts';

export interface Read {
  events: TraceEvent[];
  unrecognised: Unrecognised[];
  losses: Loss[];
  /** How many lines were other people's. */
  others: number;
}

export function readTrace(...lines: string[]): Read {
  return readChunks([`${lines.join('\n')}\n`]);
}

export function readChunks(chunks: Iterable<string>, source = 0): Read {
  const read: Read = { events: [], unrecognised: [], losses: [], others: 0 };
  const reader = createTraceReader(source, {
    event: event => read.events.push({ ...event }),
    unrecognised: line => read.unrecognised.push(line),
    loss: loss => read.losses.push(loss),
    other: () => read.others++,
  });
  const splitter = createLineSplitter((text, number) => reader.line(text, number));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  reader.end();
  return read;
}

/** The one event of a line that must be understood. */
export function eventOf(line: string): TraceEvent {
  const { events, unrecognised } = readTrace(line);
  expect({ events: events.length, unrecognised }).toEqual({ events: 1, unrecognised: [] });
  return events[0] as TraceEvent;
}

/** Why a line is not understood; it must be seen as a line of a trace nevertheless. */
export function reasonOf(line: string): string {
  const { events, unrecognised } = readTrace(line);
  expect({ events: events.length, unrecognised: unrecognised.length }).toEqual({ events: 0, unrecognised: 1 });
  expect(unrecognised[0]?.reason).not.toBe('');
  return unrecognised[0]?.reason ?? '';
}

const KINDS = ['packet', 'rule', 'return', 'policy', 'conntrack'];

/** What every event has to be, whatever line it came from. */
export function expectWellFormed(event: TraceEvent): void {
  const { point, via, header } = event;
  const sound =
    Number.isInteger(point.id) &&
    ['legacy', 'nft'].includes(point.backend) &&
    ['ip', 'ip6', 'inet'].includes(point.family) &&
    point.table !== '' &&
    point.chain !== '' &&
    KINDS.includes(point.kind) &&
    Number.isInteger(via.id) &&
    Number.isInteger(event.line) &&
    isOptional(event.mark, Number.isInteger) &&
    isOptional(event.at, Number.isFinite) &&
    (header === undefined ||
      (['ip', 'ip6'].includes(header.family) &&
        typeof header.protocol === 'string' &&
        header.tuple.src !== '' &&
        header.tuple.dst !== '' &&
        isOptional(header.tuple.sport, Number.isInteger) &&
        isOptional(header.tuple.dport, Number.isInteger)));
  if (!sound) expect(event).toBe('a well-formed event');
}

function isOptional<T>(value: T | undefined, test: (value: T) => boolean): boolean {
  return value === undefined || test(value);
}
