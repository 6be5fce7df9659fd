/**
 * Packets -> connections and directions, the way conntrack does it: by tuples, followed through their rewrites. A reply has
 * the reverse of a tuple its request had at some hook; an ICMP error quotes a packet of the connection it belongs to.
 */
import type { Journey, PacketHeader, Tuple } from '../model.ts';
import { isSyn, isSynAck, reversed, sameTuple } from './identity.ts';

export interface Seen {
  header: PacketHeader;
  /** Every tuple the packet had on its way, the first one first. */
  tuples: Tuple[];
}

export interface Connection {
  index: number;
  protocol: string;
  /** As the client sent its first packet. */
  original: Tuple;
  icmpId?: number;
  /** Sequence number of the SYN, where known. */
  initial?: number;
  closed: boolean;
  /** The addresses its packets had, at any hook. */
  seen: { protocol: string; direction: Direction; tuple: Tuple }[];
  /** Its packets go from a pod to itself: addresses alone do not tell the direction. */
  hairpin: boolean;
  /** Set by the explanation: whose question this connection answers, and which endpoint it reached. */
  probe: number;
  endpoint?: Journey['endpoint'];
}

export type Direction = 'request' | 'reply';

export interface Assigned {
  connection: Connection;
  direction: Direction;
}

/** Who speaks first, where the packet itself does not tell: addresses that Services have are asked, not asking. */
export type IsServer = (address: string, port: number | undefined) => boolean;

/** An ICMP error comes at once, or not at all: only the newest packets can be the one it quotes. */
const QUOTABLE = 4096;
/** Packets mostly belong to a connection that another one belonged to just before. */
const RECENT = 4;

export class ConnectionTable {
  readonly all: Connection[] = [];
  private readonly forward = new Map<string, Connection>();
  private readonly backward = new Map<string, Connection>();
  /** A ring of the newest packets: header and assignment at the same index. */
  private readonly headers: PacketHeader[] = [];
  private readonly assigned: Assigned[] = [];
  private newest = 0;
  private readonly recent: Connection[] = [];
  private readonly isServer: IsServer;
  constructor(isServer: IsServer) {
    this.isServer = isServer;
  }

  assign(seen: Seen): Assigned {
    const found = this.quoted(seen.header) ?? this.again(seen) ?? this.known(seen);
    const assigned = found && !this.isNewSyn(seen.header, found) ? found : this.open(seen);
    this.learn(seen, assigned);
    return assigned;
  }

  /** An ICMP error belongs to the connection of the packet it quotes, and answers the one who sent that. */
  private quoted(header: PacketHeader): Assigned | undefined {
    if (!header.icmp || !isError(header)) return undefined;
    const { inner } = header.icmp;
    const quote =
      header.icmp.quoted ??
      (inner ? { protocol: inner.protocol, id: inner.id ?? 0, length: inner.length ?? 0 } : undefined);
    const about = (inner ? this.lookUp(inner, inner.tuple) : undefined) ?? (quote ? this.byQuote(quote) : undefined);
    return about && { connection: about.connection, direction: about.direction === 'request' ? 'reply' : 'request' };
  }

  private byQuote(quote: { protocol: string; id: number; length: number }): Assigned | undefined {
    if (quote.id === 0) return undefined;
    for (let back = 1; back <= this.headers.length; back++) {
      const index = (this.newest - back + QUOTABLE) % QUOTABLE;
      const header = this.headers[index];
      if (header?.id === quote.id && header.protocol === quote.protocol && header.length === quote.length)
        return this.assigned[index];
    }
    return undefined;
  }

  /** Exactly the addresses of a packet of a recent connection. Echoes are told apart by more than that. */
  private again({ header, tuples }: Seen): Assigned | undefined {
    const [first] = tuples;
    if (header.icmp || !first) return undefined;
    for (let i = this.recent.length - 1; i >= 0; i--) {
      const connection = this.recent[i] as Connection;
      const known = connection.seen.find(s => s.protocol === header.protocol && sameTuple(s.tuple, first));
      if (known && !connection.hairpin) return { connection, direction: known.direction };
    }
    return undefined;
  }

  private known(seen: Seen): Assigned | undefined {
    for (const tuple of seen.tuples) {
      const hit = this.lookUp(seen.header, tuple);
      if (hit) return hit;
    }
    return undefined;
  }

  private lookUp(header: PacketHeader, tuple: Tuple): Assigned | undefined {
    const key = keyOf(header, tuple);
    const request = this.forward.get(key);
    const reply = this.backward.get(key);
    // A hairpin's own address is both ends of it: what kind of packet it is decides then.
    if (request && reply && request === reply)
      return { connection: request, direction: answers(header) ? 'reply' : 'request' };
    if (request && !answersOnly(header)) return { connection: request, direction: 'request' };
    return reply && !asksOnly(header) ? { connection: reply, direction: 'reply' } : undefined;
  }

  /** The same ports used again: another initial sequence number, or a SYN after the connection's end. */
  private isNewSyn(header: PacketHeader, found: Assigned): boolean {
    if (!isSyn(header) || found.direction === 'reply') return false;
    const { initial, closed } = found.connection;
    const seq = header.tcp?.seq;
    return initial !== undefined && seq !== undefined ? initial !== seq : closed;
  }

  private open(seen: Seen): Assigned {
    const { header } = seen;
    const first = seen.tuples[0] as Tuple;
    const direction = this.directionOf(header, first);
    const connection: Connection = {
      index: this.all.length,
      protocol: header.protocol,
      original: direction === 'request' ? first : reversed(seen.tuples.at(-1) as Tuple),
      closed: false,
      seen: [],
      hairpin: false,
      probe: -1,
    };
    if (header.icmp?.id !== undefined) connection.icmpId = header.icmp.id;
    if (isSyn(header) && header.tcp?.seq !== undefined) connection.initial = header.tcp.seq;
    this.all.push(connection);
    return { connection, direction };
  }

  private directionOf(header: PacketHeader, tuple: Tuple): Direction {
    if (asksOnly(header)) return 'request';
    if (answersOnly(header)) return 'reply';
    if (this.isServer(tuple.dst, tuple.dport)) return 'request';
    return this.isServer(tuple.src, tuple.sport) ? 'reply' : 'request';
  }

  private learn(seen: Seen, assigned: Assigned): void {
    const { header } = seen;
    const { connection } = assigned;
    const flags = header.tcp?.flags;
    if (flags !== undefined && (flags.includes('FIN') || flags.includes('RST'))) connection.closed = true;
    // What an error is about is not what its own addresses say.
    if (header.icmp && isError(header)) return;
    for (const tuple of seen.tuples) this.learnTuple(header, tuple, assigned);
    this.headers[this.newest] = header;
    this.assigned[this.newest] = assigned;
    this.newest = (this.newest + 1) % QUOTABLE;
    if (this.recent.at(-1) === connection) return;
    const at = this.recent.indexOf(connection);
    if (at >= 0) this.recent.splice(at, 1);
    this.recent.push(connection);
    if (this.recent.length > RECENT) this.recent.shift();
  }

  private learnTuple(header: PacketHeader, tuple: Tuple, { connection, direction }: Assigned): void {
    if (connection.seen.some(s => s.direction === direction && sameTuple(s.tuple, tuple))) return;
    if (connection.seen.length < 16) connection.seen.push({ protocol: header.protocol, direction, tuple });
    if (tuple.src === tuple.dst) connection.hairpin = true;
    const own = keyOf(header, tuple);
    const back = keyOf(header, reversed(tuple));
    this.forward.set(direction === 'request' ? own : back, connection);
    this.backward.set(direction === 'request' ? back : own, connection);
  }
}

function keyOf(header: PacketHeader, tuple: Tuple): string {
  return `${header.protocol} ${tuple.src} ${tuple.sport ?? ''} ${tuple.dst} ${tuple.dport ?? ''} ${header.icmp?.id ?? ''}`;
}

function asksOnly(header: PacketHeader): boolean {
  return isSyn(header) || isEcho(header, 8, 128);
}

function answersOnly(header: PacketHeader): boolean {
  return isSynAck(header) || isEcho(header, 0, 129);
}

function answers(header: PacketHeader): boolean {
  return answersOnly(header) || /\bRST\b/.test(header.tcp?.flags ?? '');
}

function isEcho(header: PacketHeader, v4: number, v6: number): boolean {
  return (
    (header.protocol === 'icmp' && header.icmp?.type === v4) ||
    (header.protocol === 'icmpv6' && header.icmp?.type === v6)
  );
}

/** Destination unreachable, source quench, redirect, time exceeded, parameter problem (RFC 792); ICMPv6 types below 128 (RFC 4443). */
export function isError(header: PacketHeader): boolean {
  const type = header.icmp?.type;
  if (type === undefined) return false;
  return header.protocol === 'icmp' ? [3, 4, 5, 11, 12].includes(type) : type < 128;
}

/**
 * An error that says the packet did not arrive: unreachable, time exceeded, parameter problem. A redirect, a source quench or
 * "fragmentation needed" ask the sender to do something else, and say nothing of the connection's fate.
 */
export function isRefusal(header: PacketHeader): boolean {
  if (!header.icmp) return false;
  const { type, code } = header.icmp;
  if (header.protocol !== 'icmp') return type === 1 || type === 3 || type === 4;
  return (type === 3 && code !== 4) || type === 11 || type === 12;
}

/** RFC 792 type 5, RFC 4861 type 137. */
export function isRedirect(header: PacketHeader): boolean {
  return header.icmp?.type === (header.protocol === 'icmp' ? 5 : 137);
}

/** Its requests were seen with more than one pair of ends. */
export function isTranslated({ seen, original }: Connection): boolean {
  return seen.some(({ direction, tuple }) => direction === 'request' && !sameTuple(tuple, original));
}
