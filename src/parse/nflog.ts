/**
 * TRACE lines that went to nfnetlink_log instead of the kernel log, as `tcpdump -n -xx -tt -i nflog:0` prints them: the
 * packet itself with the same prefix. Interfaces are numbers there; `# ifindex 5 veth1` lines before it tell the names.
 * Format: LINKTYPE_NFLOG (tcpdump.org), include/uapi/linux/netfilter/nfnetlink_log.h.
 */
import type { TraceEvent } from '../model.ts';
import { parseIpPacket } from './ip-packet.ts';
import { pointsOf, TRACE_MARK } from './kernel-trace.ts';
import { viaOf } from './points.ts';

export interface NflogReader {
  /** True if the line was one of ours. */
  take(line: string, number: number): boolean;
  end(): void;
}

const HEX = /^\s+0x([0-9a-f]{4,8}):\s+((?:[0-9a-f]{2,4} ?)+)/;
const STAMP = /^(\d{9,11})\.(\d{6}) /;
const IFINDEX = /^# ifindex (\d{1,9}) (\S+)$/;

interface Dump {
  bytes: number[];
  at: number | undefined;
  line: number;
}

export function createNflogReader(
  source: number,
  /** An event, why it is none, or nothing where the dump is somebody else's. */
  give: (event: TraceEvent | string | undefined, line: number) => void,
): NflogReader {
  const names = new Map<number, string>();
  let dump: Dump | undefined;
  let stamp: number | undefined;
  const finish = (): void => {
    if (dump)
      give(
        readDump(dump, source, index => names.get(index) ?? `if${index}`),
        dump.line,
      );
    dump = undefined;
  };
  return {
    take(line, number) {
      const hex = HEX.exec(line);
      const begins = hex && Number.parseInt(hex[1] ?? '', 16) === 0;
      // Bytes whose beginning is not here are nobody's.
      if (hex && (begins || dump)) {
        if (begins) {
          finish();
          dump = { bytes: [], at: stamp, line: number };
        }
        dump?.bytes.push(...bytesOf(hex[2] ?? ''));
        return true;
      }
      finish();
      const found = STAMP.exec(line);
      stamp = found ? Number(found[1]) * 1e6 + Number(found[2]) : undefined;
      const named = IFINDEX.exec(line);
      if (named) names.set(Number(named[1]), named[2] ?? '');
      return named !== null;
    },
    end: finish,
  };
}

function bytesOf(text: string): number[] {
  return (text.replace(/ /g, '').match(/../g) ?? []).map(pair => Number.parseInt(pair, 16));
}

/** NFULA_* attribute types. */
const MARK = 2;
const INDEV = 4;
const OUTDEV = 5;
const PHYSINDEV = 6;
const PHYSOUTDEV = 7;
const PAYLOAD = 9;
const PREFIX = 10;

/** A packet, a reason why it is not understood, or nothing: other rules may log to the same group. */
function readDump(dump: Dump, source: number, nameOf: (index: number) => string): TraceEvent | string | undefined {
  const bytes = Uint8Array.from(dump.bytes);
  const attributes = readAttributes(bytes);
  if (!attributes) return 'the dump is damaged';
  const prefix = attributes.get(PREFIX);
  const text = prefix ? Buffer.from(prefix).toString('latin1').replace(/\0.*$/, '') : '';
  if (!text.startsWith(TRACE_MARK)) return undefined;
  const points = pointsOf(text.slice(TRACE_MARK.length).trim());
  if (typeof points === 'string') return points;
  const header = parseIpPacket(attributes.get(PAYLOAD) ?? new Uint8Array());
  if (!header) return 'the dump holds no whole IP header';
  const name = (type: number): string => {
    const value = attributes.get(type);
    return value ? nameOf(uint32(value)) : '';
  };
  const via = viaOf(name(INDEV), name(OUTDEV), name(PHYSINDEV), name(PHYSOUTDEV));
  const event: TraceEvent = {
    point: header.family === 'ip' ? points.ip : points.ip6,
    via,
    header,
    source,
    line: dump.line,
  };
  const mark = attributes.get(MARK);
  if (mark) event.mark = uint32(mark);
  if (dump.at !== undefined) event.at = dump.at;
  return event;
}

function uint32(bytes: Uint8Array): number {
  return bytes.length < 4 ? 0 : new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

/** A 4-byte header (family, version, resource), then attributes: length and type in the host's order, padded to 4 bytes; undefined where it is none of that. */
function readAttributes(bytes: Uint8Array): Map<number, Uint8Array> | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const attributes = new Map<number, Uint8Array>();
  for (let at = 4; at + 4 <= bytes.length; ) {
    const length = view.getUint16(at, true);
    const type = view.getUint16(at + 2, true) & 0x7fff;
    if (length < 4 || at + length > bytes.length) return undefined;
    if (!attributes.has(type)) attributes.set(type, bytes.subarray(at + 4, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}
