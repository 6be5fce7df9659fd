/**
 * What a log writes around a kernel message, and what it tells: when, and whether something was lost.
 * Shapes: /dev/kmsg (Documentation/ABI/testing/dev-kmsg), dmesg(1), RFC 3164 and ISO syslog lines, journalctl(1) short,
 * short-monotonic, short-iso, json and json-pretty, rsyslog's `message repeated N times: [ … ]`.
 */
import { TRACE_MARK } from './kernel-trace.ts';
import { withoutColour } from './strings.ts';

export interface KernelMessage {
  /** The line, without colours; for journald JSON the MESSAGE. */
  text: string;
  /** Where `TRACE: ` stands in it, or -1. */
  trace: number;
  /** Kernel clock in microseconds; undefined where the wrapping tells only the wall clock. */
  at: number | undefined;
  /** /dev/kmsg's record number. */
  sequence: number | undefined;
  /** How often the message stands for, in rsyslog's shortened form; otherwise 1. */
  times: number;
}

export function readKernelMessage(line: string): KernelMessage {
  const clean = withoutColour(line);
  const trace = clean.indexOf(TRACE_MARK);
  const first = clean.charCodeAt(0);
  const json = first === 123 || first === 34 || first === 32 || first === 9 ? journalMessage(clean) : undefined;
  if (json) return json;
  const before = trace < 0 ? clean.slice(0, 80) : clean.slice(0, trace);
  const kmsg = KMSG.exec(before);
  if (kmsg) return { text: clean, trace, at: Number(kmsg[2]), sequence: Number(kmsg[1]), times: 1 };
  const repeated = trace < 0 ? undefined : REPEATED.exec(before);
  if (repeated)
    return {
      text: withoutBracket(clean),
      trace,
      at: clockOf(before),
      sequence: undefined,
      times: repetitions(repeated[1]),
    };
  return { text: clean, trace, at: trace < 0 ? undefined : clockOf(before), sequence: undefined, times: 1 };
}

/**
 * Nearly every line is dmesg's own, `[ 4536.356820] TRACE: …`: the clock's microseconds if the line begins like that, and
 * `TRACE: ` follows at once; undefined for every other line.
 */
export function dmesgClock(text: string): { at: number; trace: number } | undefined {
  const close = text.indexOf('] ');
  const dot = close - 7;
  if (dot < 2 || close > 32 || text.charCodeAt(dot) !== 46 || !text.startsWith(TRACE_MARK, close + 2)) return undefined;
  let at = 0;
  for (let i = 1; i < close; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit >= 0 && digit <= 9) at = at * 10 + digit;
    else if (i !== dot && digit !== -16) return undefined;
  }
  return { at, trace: close + 2 };
}

/** `prio,seq,usec,flags[,…];` */
const KMSG = /^\d{1,10},(\d{1,15}),(\d{1,15}),[^;]{0,64};/;
const REPEATED = /message repeated (\d{1,9}) times?: \[ ?/;
/** `[ 4536.356820]`, also with a caller behind it (`[  1.5][    C0]`): exactly six decimals, as printk's clock has. */
const CLOCK = /\[ {0,8}(\d{1,10})\.(\d{6})\]/;
/** A log that says ten million repetitions says nothing more than one that says a thousand. */
const MOST_REPETITIONS = 1000;

function clockOf(before: string): number | undefined {
  if (!before.includes('[')) return undefined;
  const clock = CLOCK.exec(before);
  return clock ? Number(clock[1]) * 1e6 + Number(clock[2]) : undefined;
}

function repetitions(text: string | undefined): number {
  return Math.max(1, Math.min(Number(text), MOST_REPETITIONS));
}

function withoutBracket(text: string): string {
  const end = text.trimEnd();
  return end.endsWith(']') ? end.slice(0, -1) : end;
}

function journalMessage(line: string): KernelMessage | undefined {
  const pretty = /^\s*"MESSAGE"\s*:\s*(".*"|\[.*\]),?\s*$/.exec(line);
  const record = parseJson(pretty ? `{"MESSAGE":${pretty[1]}}` : line.startsWith('{') ? line : '');
  if (record === undefined) return undefined;
  const text = messageText(record.MESSAGE);
  if (text === undefined) return undefined;
  const trace = text.indexOf(TRACE_MARK);
  // The kernel's own clock, which journald copies; its reception clock (__MONOTONIC_TIMESTAMP) is coarser and later.
  const clock = record._SOURCE_MONOTONIC_TIMESTAMP;
  const at = typeof clock === 'string' && /^\d{1,15}$/.test(clock) ? Number(clock) : undefined;
  return { text, trace, at, sequence: undefined, times: 1 };
}

/** journald writes a message with unprintable bytes as an array of numbers. */
function messageText(message: unknown): string | undefined {
  if (typeof message === 'string') return message;
  if (!Array.isArray(message) || !message.every(byte => Number.isInteger(byte) && byte >= 0 && byte < 256))
    return undefined;
  return withoutColour(Buffer.from(message as number[]).toString('utf8'));
}

function parseJson(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
