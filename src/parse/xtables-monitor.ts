/**
 * `xtables-monitor --trace`, iptables 1.8.2 to 1.8.11. A PACKET line names no chain: it belongs to the TRACE line after it
 * (before it up to 1.8.6, where it says family 0), so one line is held back. Source: iptables/xtables-monitor.c.
 */
import type { PacketHeader, Rule, TraceEvent, TracePoint, Via } from '../model.ts';
import { parseRule } from './iptables-save.ts';
import { makePoint, NO_VIA, viaOf } from './points.ts';
import { addressOf, intern, memo, own, uint } from './strings.ts';

interface Origin {
  source: number;
  line: number;
}

export interface XtablesReader {
  /** An event that is now whole, a reason why the line is not understood, or nothing yet. */
  read(line: string, origin: Origin): (TraceEvent | string)[];
  flush(): TraceEvent[];
}

/** The monitor's last words when the kernel holds a rule that is newer than it: it exits, and sees nothing more. */
export const XTABLES_STOP = 'Parsing nftables rule failed';

export function isXtablesLine(line: string): boolean {
  return line.startsWith('PACKET: ') || LINE.test(line);
}

/** ` TRACE: 2 fc475095 nat:PREROUTING:rule:0x130:JUMP:KUBE-SERVICES  -4 -t nat -A PREROUTING …` */
const LINE = /^ ?TRACE: (\d{1,2}) ([0-9a-f]{1,8}) (\S+)(.*)$/;

export function createXtablesReader(): XtablesReader {
  let held: TraceEvent | undefined;
  let packet: { id: string; packet: Packet } | undefined;
  const release = (): TraceEvent[] => {
    const whole = held ? [held] : [];
    held = undefined;
    return whole;
  };
  const readPacketLine = (text: string): (TraceEvent | string)[] => {
    const [, family = '', id = '', fields = ''] = /^PACKET: (\d{1,2}) ([0-9a-f]{1,8}) (.*)$/.exec(text) ?? [];
    const parsed = id === '' ? 'not `PACKET: FAMILY ID …`' : readPacket(fields);
    if (typeof parsed === 'string') return [parsed];
    if (family === '0' && held?.traceId === id && !held.header) attach(held, parsed);
    else packet = { id: own(id), packet: parsed };
    return release();
  };
  const readTraceLine = (text: string, origin: Origin): (TraceEvent | string)[] => {
    const event = readTrace(text, origin);
    if (typeof event === 'string') return [event];
    if (packet && packet.id === event.traceId) attach(event, packet.packet);
    packet = undefined;
    const before = release();
    held = event;
    return before;
  };
  return {
    read: (line, origin) =>
      line.startsWith('PACKET: ') ? readPacketLine(line.trimEnd()) : readTraceLine(line.trimEnd(), origin),
    flush: release,
  };
}

interface Packet {
  header: PacketHeader;
  via: Via;
  mark: number | undefined;
}

function attach(event: TraceEvent, packet: Packet): void {
  event.header = packet.header;
  event.via = packet.via;
  event.mark = packet.mark;
}

const VERDICTS: Record<string, string> = {
  '0xffffffff': 'continue',
  '0xfffffffe': 'break',
  '0xfffffffb': 'return',
};

function readTrace(text: string, origin: Origin): TraceEvent | string {
  const [, family = '', id = '', where = '', rest = ''] = LINE.exec(text) ?? [];
  const point = pointOf(`${family} ${where} ${rest.trim()}`);
  return typeof point === 'string' ? point : { point, via: NO_VIA, traceId: own(id), ...origin };
}

/** `FAMILY table:chain:kind:… RULE`. */
const pointOf: (text: string) => TracePoint | string = memo(text => {
  const [, family = '', where = '', rest = ''] = /^(\S+) (\S+) ?(.*)$/.exec(text) ?? [];
  const [table = '', chain = '', kind = '', ...more] = where.split(':');
  if (table === '' || chain === '') return 'not `TRACE: FAMILY ID table:chain:…`';
  const place = {
    backend: 'nft',
    family: family === '10' ? 'ip6' : 'ip',
    table: intern(table),
    chain: intern(chain),
  } as const;
  if (kind === 'rule') return rulePoint(place, more, rest);
  if (kind === 'return' || kind === 'policy')
    return makePoint({ ...place, kind, verdict: kind === 'policy' ? (more[0] ?? '').toLowerCase() : 'continue' });
  return `\`${own(kind)}\` is not a known kind of event`;
});

function rulePoint(
  place: Pick<TracePoint, 'backend' | 'family' | 'table' | 'chain'>,
  parts: string[],
  rest: string,
): TracePoint | string {
  const [handle = '', verdict = '', ...chain] = parts;
  if (!/^0x[0-9a-f]{1,15}$/.test(handle)) return 'a rule without a handle';
  const point = makePoint({ ...place, kind: 'rule', handle: Number.parseInt(handle, 16) });
  point.verdict = own(
    chain.length > 0 ? `${verdict.toLowerCase()} ${chain.join(':')}` : (VERDICTS[verdict] ?? verdict.toLowerCase()),
  );
  if (rest !== '') point.rule = ruleOf(rest);
  return point;
}

/** The rule in iptables-save's words, behind the command that older versions shorten to `-4 -t nat`. */
const ruleOf: (text: string) => Rule = memo(text =>
  parseRule(
    text
      .trim()
      .replace(/^(?:-[46]|ip6?tables) /, '')
      .replace(/^-t \S+ ?/, '')
      .replace(/^-A \S+ ?/, ''),
    0,
  ),
);

/** No protocol is printed: flags mean TCP, ports without flags UDP (SCTP prints the same), anything else stays unknown. */
function readPacket(text: string): Packet | string {
  // 1.8.2 to 1.8.8 forget the space behind ID.
  const fields = text.replace(/\bID=(\d+?)(DF|MF|CE|FRAG)/, 'ID=$1 $2');
  const value = (key: string) => new RegExp(`(?:^| )${key}=(\\S*)`).exec(fields)?.[1];
  const src = addressOf(value('SRC') ?? '');
  const dst = addressOf(value('DST') ?? '');
  if (src === '' || dst === '') return 'no addresses in the packet dump';
  const sport = uint(value('SPORT'));
  const dport = uint(value('DPORT'));
  const flags = ['SYN', 'FIN', 'RST', 'PSH', 'ACK', 'URG'].filter(flag => new RegExp(` ${flag}(?= |$)`).test(fields));
  const protocol = flags.length > 0 ? 'tcp' : sport === undefined ? 'unknown' : 'udp';
  const tuple = sport === undefined ? { src, dst } : { src, sport, dst, dport };
  const header: PacketHeader = { family: src.includes(':') ? 'ip6' : 'ip', protocol, tuple };
  header.length = uint(value('LEN'));
  header.ttl = uint(value('TTL') ?? value('HOPLIMIT'));
  header.id = uint(value('ID'));
  if (flags.length > 0) header.tcp = { flags: flags.join(' ') };
  const mark = value('MARK');
  return {
    header,
    via: viaOf(value('IN'), value('OUT')),
    mark: mark?.startsWith('0x') ? Number.parseInt(mark, 16) : undefined,
  };
}
