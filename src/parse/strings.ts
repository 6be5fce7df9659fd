/**
 * A line cut out of a chunk keeps the whole chunk alive for as long as any piece of the line is kept (V8's sliced
 * strings). Whatever outlives its line goes through here, so that memory stays flat over a file of any size.
 */
import { canonicalAddress } from '../ip.ts';

/** A copy of `text` that shares nothing with the chunk it was cut from. */
export function own(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8');
}

/** A bounded map from text to what was made of it; forgets everything when full, as a trace's vocabulary is small. */
export function memo<T>(make: (text: string) => T, limit = 8192): (text: string) => T {
  const known = new Map<string, T>();
  return text => {
    const found = known.get(text);
    if (found !== undefined) return found;
    if (known.size >= limit) known.clear();
    const key = own(text);
    const made = make(key);
    known.set(key, made);
    return made;
  };
}

export const intern: (text: string) => string = memo(text => text);

/** Canonical text of an address of a trace line; empty where it is none. */
export const addressOf: (text: string) => string = memo(text => canonicalAddress(text) ?? '');

/** A decimal number as the kernel prints it; undefined for anything else. */
export function uint(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

const ESCAPES = /\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?/g;

/** The text without terminal colours, as `dmesg --color=always` prints them. */
export function withoutColour(text: string): string {
  return text.includes('\x1b') ? text.replace(ESCAPES, '') : text;
}

const FLAG_ORDER = ['SYN', 'FIN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR', 'AE'];

/** TCP flags in one fixed order, whatever the source's: `ACK SYN` and `syn | ack` both become `SYN ACK`. */
export const tcpFlags: (words: string) => string = memo(words => {
  const given = new Set(words.toUpperCase().split(/[^A-Z]+/));
  return FLAG_ORDER.filter(flag => given.has(flag)).join(' ');
});

const FLAG_BITS: [number, string][] = [
  [0x02, 'SYN'],
  [0x01, 'FIN'],
  [0x04, 'RST'],
  [0x08, 'PSH'],
  [0x10, 'ACK'],
  [0x20, 'URG'],
  [0x40, 'ECE'],
  [0x80, 'CWR'],
  [0x100, 'AE'],
];

/** The same from the header's bits (RFC 9293, figure 1). */
export function tcpFlagsOfBits(bits: number): string {
  return FLAG_BITS.filter(([bit]) => (bits & bit) !== 0)
    .map(([, name]) => name)
    .join(' ');
}
