/**
 * A trace of any kind, line by line: every line is recognised by itself, so one file may mix sources, and a file need not
 * say what it is. What is understood becomes events in the order of the lines; what looks like a trace and is not
 * understood becomes Unrecognised; everything else is other people's log and only counted.
 */
import type { Loss, TraceEvent, TracePoint, Unrecognised } from '../model.ts';
import { isBesideIp } from '../rules/hooks.ts';
import { dmesgClock, readKernelMessage } from './kernel-log.ts';
import { createKernelTraceReader, TRACE_MARK } from './kernel-trace.ts';
import { createNflogReader } from './nflog.ts';
import { NFT_LOSS, NFT_MARK, parseNftTrace } from './nft-trace.ts';
import { own } from './strings.ts';
import { createXtablesReader, isXtablesLine, XTABLES_STOP } from './xtables-monitor.ts';

export interface TraceSink {
  /** Valid until the call returns: who keeps an event copies it. */
  event(event: TraceEvent): void;
  unrecognised(line: Unrecognised): void;
  loss(loss: Loss): void;
  /**
   * A frame's line in a chain beside the hooks of IP. True where it ended a packet that is known there; an end of any other is not
   * understood.
   */
  beside?(event: TraceEvent): boolean;
  /** A line that is not a trace line at all. */
  other(line: number): void;
}

export interface TraceReader {
  line(text: string, number: number): void;
  end(): void;
}

export function createTraceReader(source: number, sink: TraceSink): TraceReader {
  const xtables = createXtablesReader();
  const kernel = createKernelTraceReader(source);
  let record: number | undefined;
  const nflog = createNflogReader(source, (result, line) =>
    result === undefined ? sink.other(line) : take(result, 'a dump of nflog', line),
  );
  const take = (result: TraceEvent | string, raw: string, line: number): void => {
    if (typeof result === 'string') sink.unrecognised({ raw: own(raw.slice(0, 2000)), reason: result, source, line });
    else sink.event(result);
  };
  const kernelLine = (text: string, line: number): void => {
    const message = readKernelMessage(text);
    if (message.sequence !== undefined) {
      noteSkippedRecords(record, message.sequence, line);
      record = message.sequence;
    }
    if (message.trace < 0) return sink.other(line);
    const start = message.trace + TRACE_MARK.length;
    const result = kernel.read(message.text, start, message.at, line);
    if (typeof result === 'string' && !looksLikeTrace(message.text, start)) return sink.other(line);
    for (let i = 0; i < message.times; i++) take(result, text, line);
  };
  const noteSkippedRecords = (before: number | undefined, now: number, line: number): void => {
    if (before === undefined || now <= before + 1) return;
    sink.loss({
      reason: `kernel log records ${before + 1} to ${now - 1} are missing`,
      count: now - before - 1,
      source,
      line,
    });
  };
  return {
    line(text, number) {
      // A kernel log's line as dmesg prints it must be fast; if anything about it is odd, it is read again the long way.
      const clock = text.charCodeAt(0) === 91 ? dmesgClock(text) : undefined;
      if (clock) {
        const event = kernel.read(text, clock.trace + TRACE_MARK.length, clock.at, number);
        if (typeof event !== 'string') return sink.event(event);
      }
      if (nflog.take(text, number)) return;
      const nft = text.indexOf(NFT_MARK);
      if (nft === 0 || (nft > 0 && nft < 64)) {
        const result = parseNftTrace(text.slice(nft + NFT_MARK.length), { source, line: number });
        if (typeof result === 'string' || !isBesideIp(result.point.family)) return take(result, text, number);
        if (sink.beside?.(result)) return;
        return result.point.verdict === 'drop' ? take(endedBeside(result.point), text, number) : sink.other(number);
      }
      if (isXtablesLine(text)) {
        for (const result of xtables.read(text, { source, line: number })) take(result, text, number);
        return;
      }
      if (text.includes(XTABLES_STOP))
        return sink.loss({ reason: 'xtables-monitor stopped at a rule it could not read', source, line: number });
      if (text.includes(NFT_LOSS))
        return sink.loss({ reason: 'nft lost events: its socket buffer overflowed', source, line: number });
      kernelLine(text, number);
    },
    end() {
      for (const event of xtables.flush()) sink.event(event);
      nflog.end();
    },
  };
}

function endedBeside({ family, table, chain }: TracePoint): string {
  return `dropped in chain ${chain} of ${family} table ${table}, beside the hooks of IP, and of which packet that was no line tells`;
}

/** Other programs log `TRACE: ` too; netfilter's is followed by table:chain:kind:number, or at least names both interfaces. */
function looksLikeTrace(text: string, start: number): boolean {
  return (
    /^\S+:\S+:(rule|return|policy):/.test(text.slice(start, start + 300)) ||
    (text.includes(' IN=') && text.includes(' OUT='))
  );
}
