/** Lines of traces that no capture has, as the kernel and nft would write them. */
import { type Capture, emptyCapture } from '../../src/capture.ts';
import { emptyObjects } from '../../src/kube/objects.ts';
import type { Loss, PacketHeader, TraceEvent, Unrecognised } from '../../src/model.ts';
import { createTraceReader } from '../../src/parse/trace.ts';

export interface Fields {
  in?: string;
  out?: string;
  src?: string;
  dst?: string;
  proto?: 'TCP' | 'UDP' | 'ICMP';
  spt?: number;
  dpt?: number;
  id?: number;
  len?: number;
  ttl?: number;
  flags?: string;
  seq?: number;
  ack?: number;
  window?: number;
  type?: number;
  code?: number;
  echo?: number;
  echoSeq?: number;
  mark?: number;
  at?: number;
  /** The packet an ICMP error quotes. */
  quotes?: Fields;
}

const POD = '10.244.1.5';
const SERVICE = '10.96.0.10';

function bodyOf(f: Fields): string {
  const proto = f.proto ?? 'TCP';
  const ip = `SRC=${f.src ?? POD} DST=${f.dst ?? SERVICE} LEN=${f.len ?? 60} TOS=0x00 PREC=0x00 TTL=${f.ttl ?? 64} ID=${f.id ?? 100} DF PROTO=${proto}`;
  if (proto === 'TCP')
    return `${ip} SPT=${f.spt ?? 40000} DPT=${f.dpt ?? 80} SEQ=${f.seq ?? 1000} ACK=${f.ack ?? 0} WINDOW=${f.window ?? 64240} RES=0x00 ${f.flags ?? 'SYN'} URGP=0 `;
  if (proto === 'UDP') return `${ip} SPT=${f.spt ?? 40000} DPT=${f.dpt ?? 53} LEN=${(f.len ?? 60) - 20} `;
  const echo = (f.type ?? 8) === 8 || f.type === 0;
  const quoted = f.quotes ? ` [${bodyOf(f.quotes).trimEnd()} ] ` : ' ';
  return `${ip} TYPE=${f.type ?? 8} CODE=${f.code ?? 0}${echo ? ` ID=${f.echo ?? 7} SEQ=${f.echoSeq ?? 1} ` : quoted}`;
}

let clock = 1_000_000;

/** `table:chain:kind:number` and the packet -> one line of the kernel log. */
export function kernelLine(point: string, fields: Fields = {}): string {
  const at = fields.at ?? clock++;
  const stamp = `[${String(Math.floor(at / 1e6)).padStart(5)}.${String(at % 1e6).padStart(6, '0')}]`;
  const mark = fields.mark === undefined ? '' : `MARK=0x${fields.mark.toString(16)} `;
  return `${stamp} TRACE: ${point} IN=${fields.in ?? ''} OUT=${fields.out ?? ''} MAC=aa:bb ${bodyOf(fields)}${mark}`;
}

/** Several lines of one packet; what each one says beside the common. */
export function kernelLines(common: Fields, points: (string | [string, Fields])[]): string[] {
  return points.map(point =>
    typeof point === 'string' ? kernelLine(point, common) : kernelLine(point[0], { ...common, ...point[1] }),
  );
}

/** nft monitor's header line. */
export function nftPacket(id: string, chain: string, f: Fields = {}): string {
  const proto = (f.proto ?? 'TCP').toLowerCase();
  const io = `${f.in ? `iif "${f.in}" ` : ''}${f.out ? `oif "${f.out}" ` : ''}`;
  const flags = { SYN: '0x2', 'ACK SYN': '0x12', ACK: '0x10', 'ACK RST': '0x14' }[f.flags ?? 'SYN'] ?? '0x2';
  const l4 =
    proto === 'tcp'
      ? `tcp sport ${f.spt ?? 40000} tcp dport ${f.dpt ?? 80} tcp flags == ${flags} tcp window ${f.window ?? 64240}`
      : proto === 'udp'
        ? `udp sport ${f.spt ?? 40000} udp dport ${f.dpt ?? 53} udp length ${(f.len ?? 60) - 20} udp checksum 0x1`
        : `icmp type ${f.type ?? 8} icmp code ${f.code ?? 0} icmp id ${f.echo ?? 7} icmp sequence ${f.echoSeq ?? 1}`;
  return `trace id ${id} ip ${chain} packet: ${io}ip saddr ${f.src ?? POD} ip daddr ${f.dst ?? SERVICE} ip dscp 0x00 ip ecn 0x0 ip ttl ${f.ttl ?? 64} ip id ${f.id ?? 100} ip length ${f.len ?? 60} ${l4} `;
}

export function nftRule(id: string, chain: string, rule: string, verdict: string): string {
  return `trace id ${id} ip ${chain} rule ${rule} (verdict ${verdict})`;
}

export function nftPolicy(id: string, chain: string, verdict = 'accept', mark?: number): string {
  return `trace id ${id} ip ${chain} policy ${verdict} ${mark === undefined ? '' : `meta mark 0x${mark.toString(16)} `}`;
}

export interface Read {
  events: TraceEvent[];
  unrecognised: Unrecognised[];
  losses: Loss[];
}

export function readLines(lines: string[], source = 0): Read {
  const read: Read = { events: [], unrecognised: [], losses: [] };
  const reader = createTraceReader(source, {
    event: event => void read.events.push({ ...event }),
    unrecognised: line => void read.unrecognised.push(line),
    loss: loss => void read.losses.push(loss),
    other() {},
  });
  for (const [i, line] of lines.entries()) reader.line(line, i + 1);
  reader.end();
  return read;
}

/** The header a packet with these fields has. */
export function headerOf(fields: Fields = {}): PacketHeader {
  const [event] = readLines([kernelLine('raw:PREROUTING:policy:1', fields)]).events;
  if (!event?.header) throw new Error('no header');
  return event.header;
}

/** The header as nft prints it: without TCP's numbers. */
export function nftHeaderOf(fields: Fields = {}): PacketHeader {
  const [event] = readLines([nftPacket('a1', 'filter FORWARD', fields)]).events;
  if (!event?.header) throw new Error('no header');
  return event.header;
}

export function captureWith(lines: string[], more: Partial<Capture> = {}): Capture {
  return {
    ...emptyCapture('files', emptyObjects()),
    traces: [{ name: 'trace', text: `${lines.join('\n')}\n` }],
    ...more,
  };
}

export function rulesOf(text: string): Capture['rules'] {
  return [{ name: 'rules', text }];
}
