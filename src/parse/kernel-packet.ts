/**
 * The packet part of a kernel log line, from `SRC=` on. Keys repeat (LEN= twice for UDP, ID= twice for an echo, OPT twice,
 * everything again in the brackets of an ICMP error), so it is read in order, never into a map.
 * Grammar: net/netfilter/nf_log_syslog.c dump_ipv4_packet(), dump_ipv6_packet(), nf_log_dump_tcp_header() (Linux 6.12).
 */

import type { IcmpHeader, PacketHeader, TcpHeader, Tuple } from '../model.ts';
import { protocolName } from '../protocols.ts';
import { addressOf, intern, tcpFlags, uint } from './strings.ts';

export interface PacketParse {
  header?: PacketHeader;
  mark?: number;
  problem?: string;
}

/**
 * The whole of a usual IPv4 TCP packet in one expression: nine lines of ten. Everything else, and everything that is not
 * exactly like this, is read word by word.
 */
const USUAL =
  /^SRC=([\d.]+) DST=([\d.]+) LEN=(\d{1,5}) TOS=0x\w\w PREC=0x\w\w TTL=(\d{1,3}) ID=(\d{1,5})(?: DF)? PROTO=TCP SPT=(\d{1,5}) DPT=(\d{1,5}) SEQ=(\d{1,10}) ACK=(\d{1,10}) WINDOW=(\d{1,5}) RES=0x\w\w ([A-Z ]*)URGP=\d{1,5}(?: OPT \([0-9A-F]*\))?(?: MARK=0x([0-9a-f]{1,8}))?$/;

/** The same for a ping and its answer. */
const ECHO =
  /^SRC=([\d.]+) DST=([\d.]+) LEN=(\d{1,5}) TOS=0x\w\w PREC=0x\w\w TTL=(\d{1,3}) ID=(\d{1,5})(?: DF)? PROTO=ICMP TYPE=([08]) CODE=(\d{1,3}) ID=(\d{1,5}) SEQ=(\d{1,5})(?: MARK=0x([0-9a-f]{1,8}))?$/;

/** @param text from `SRC=` to the end of the line, without the trailing space. */
export function parsePacket(text: string): PacketParse {
  const usual = USUAL.exec(text);
  if (usual) return readUsual(usual) ?? parseAny(text);
  const echo = ECHO.exec(text);
  return (echo && readEcho(echo)) ?? parseAny(text);
}

/** What an expression has found to be digits, as a number: many times faster than Number, which must expect anything. */
function decimal(digits: string | undefined): number {
  let value = 0;
  for (let i = 0; i < (digits as string).length; i++) value = value * 10 + (digits as string).charCodeAt(i) - 48;
  return value;
}

function readUsual(p: RegExpExecArray): PacketParse | undefined {
  const src = addressOf(p[1] as string);
  const dst = addressOf(p[2] as string);
  if (src === '' || dst === '') return undefined;
  const tcp: TcpHeader = {
    flags: tcpFlags(p[11] as string),
    window: decimal(p[10]),
    seq: decimal(p[8]),
    ack: decimal(p[9]),
  };
  const tuple = { src, sport: decimal(p[6]), dst, dport: decimal(p[7]) };
  const header: PacketHeader = {
    family: 'ip',
    protocol: 'tcp',
    tuple,
    length: decimal(p[3]),
    ttl: decimal(p[4]),
    id: decimal(p[5]),
    tcp,
  };
  return p[12] === undefined ? { header } : { header, mark: Number.parseInt(p[12], 16) };
}

function readEcho(p: RegExpExecArray): PacketParse | undefined {
  const src = addressOf(p[1] as string);
  const dst = addressOf(p[2] as string);
  if (src === '' || dst === '') return undefined;
  const header: PacketHeader = {
    family: 'ip',
    protocol: 'icmp',
    tuple: { src, dst },
    length: decimal(p[3]),
    ttl: decimal(p[4]),
    id: decimal(p[5]),
    icmp: { type: decimal(p[6]), code: decimal(p[7]), id: decimal(p[8]), seq: decimal(p[9]) },
  };
  return p[10] === undefined ? { header } : { header, mark: Number.parseInt(p[10], 16) };
}

function parseAny(text: string): PacketParse {
  const open = text.indexOf('[SRC=');
  const close = open < 0 ? -1 : text.lastIndexOf(']');
  if (open >= 0 && close < open) return { problem: 'cut off inside the packet an ICMP error quotes' };
  const outer = open < 0 ? text : `${text.slice(0, open)}${text.slice(close + 1)}`;
  const words = new Words(outer);
  const header = readIp(words);
  if (typeof header === 'string') return { problem: header };
  if (open >= 0 && header.icmp) header.icmp.inner = quotedPacket(text.slice(open + 1, close));
  const mark = readTail(words, header);
  return mark === undefined ? { header } : { header, mark };
}

/** An ICMP error quotes as little as eight bytes behind the IP header: what is missing there is no fault of the line. */
function quotedPacket(text: string): PacketHeader | undefined {
  const header = readIp(new Words(text.trim()), true);
  return typeof header === 'string' ? undefined : header;
}

class Words {
  private at = 0;
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
  /** The next word, without moving; empty at the end. */
  peek(): string {
    while (this.text.charCodeAt(this.at) === 32) this.at++;
    const space = this.text.indexOf(' ', this.at);
    return space < 0 ? this.text.slice(this.at) : this.text.slice(this.at, space);
  }
  next(): string {
    const word = this.peek();
    this.at += word.length;
    return word;
  }
  /** The value of `key=` if that is the next word. */
  take(key: string): string | undefined {
    const word = this.peek();
    if (!word.startsWith(key) || word.charCodeAt(key.length) !== 61) return undefined;
    this.at += word.length;
    return word.slice(key.length + 1);
  }
  number(key: string): number | undefined {
    return uint(this.take(key));
  }
  /** `OPT (0204…)` for IPv4 and TCP, `OPT ( … )` for IPv6. */
  skipOptions(): void {
    while (this.peek() === 'OPT') {
      this.next();
      let word = this.next();
      while (word !== '' && !word.endsWith(')')) word = this.next();
    }
  }
}

function readIp(words: Words, quoted = false): PacketHeader | string {
  const src = addressOf(words.take('SRC') ?? '');
  const dst = addressOf(words.take('DST') ?? '');
  if (src === '' || dst === '') return 'SRC= or DST= is no address';
  const tuple: Tuple = { src, dst };
  const header: PacketHeader = { family: src.includes(':') ? 'ip6' : 'ip', protocol: '', tuple };
  let word = words.peek();
  while (word !== '' && !word.startsWith('PROTO=')) {
    readIpField(words, header);
    word = words.peek();
  }
  const protocol = words.take('PROTO');
  if (!protocol) return 'cut off before the protocol';
  header.protocol = intern(protocolName(protocol.toLowerCase()));
  const problem = readTransport(words, header);
  return problem !== undefined && !quoted ? problem : header;
}

/** One field of the IP header. TOS, PREC, TC, FLOWLBL, CE, DF and MF tell nothing we use; newer kernels may add more. */
function readIpField(words: Words, header: PacketHeader): void {
  if (words.peek() === 'OPT') return words.skipOptions();
  const word = words.next();
  const value = word.slice(word.search(/[=:]/) + 1);
  if (word.startsWith('LEN=')) header.length = uint(value);
  else if (word.startsWith('TTL=') || word.startsWith('HOPLIMIT=')) header.ttl = uint(value);
  else if (word.startsWith('ID=')) header.id = uint(value);
  else if (word.startsWith('ID:')) header.id = Number.parseInt(value, 16);
  // IPv4 prints the offset in units of 8 bytes, IPv6 in bytes.
  else if (word.startsWith('FRAG:')) header.fragment = (uint(value) ?? 0) * (header.family === 'ip' ? 8 : 1);
}

function readTransport(words: Words, header: PacketHeader): string | undefined {
  if (header.fragment !== undefined && header.fragment > 0) return undefined;
  if (words.peek() === 'INCOMPLETE') return skipIncomplete(words);
  switch (header.protocol) {
    case 'tcp':
      return readPorts(words, header) ?? readTcp(words, header);
    case 'udp':
    case 'udplite':
    case 'sctp':
    case 'dccp':
      return readPorts(words, header) ?? skipLength(words);
    case 'icmp':
    case 'icmpv6':
      return readIcmp(words, header);
    case 'ah':
    case 'esp':
      header.spi = words.take('SPI');
  }
  return undefined;
}

/** `INCOMPLETE [8 bytes]`: the kernel itself had no more of the packet. */
function skipIncomplete(words: Words): undefined {
  words.next();
  if (words.peek().startsWith('[')) {
    words.next();
    words.next();
  }
}

function skipLength(words: Words): undefined {
  words.take('LEN');
}

function readPorts(words: Words, header: PacketHeader): string | undefined {
  const sport = words.number('SPT');
  const dport = words.number('DPT');
  // SCTP's ports are printed only by kernels that know how; without them the line is still whole.
  if (sport === undefined || dport === undefined)
    return header.protocol === 'sctp' ? undefined : 'cut off inside the ports';
  header.tuple.sport = sport;
  header.tuple.dport = dport;
  return undefined;
}

function readTcp(words: Words, header: PacketHeader): string | undefined {
  const tcp: TcpHeader = { flags: '' };
  const seq = words.number('SEQ');
  if (seq !== undefined) tcp.seq = seq;
  const ack = words.number('ACK');
  if (ack !== undefined) tcp.ack = ack;
  const window = words.number('WINDOW');
  if (window !== undefined) tcp.window = window;
  words.take('RES');
  const flags: string[] = [];
  while (words.peek() !== '' && !words.peek().includes('=')) flags.push(words.next());
  // Everything before URGP= may be missing a flag: a SYN read as no SYN would be a wrong journey.
  if (words.take('URGP') === undefined) return 'cut off inside the TCP header';
  tcp.flags = tcpFlags(flags.join(' '));
  header.tcp = tcp;
  words.skipOptions();
  return undefined;
}

function readIcmp(words: Words, header: PacketHeader): string | undefined {
  const type = words.number('TYPE');
  const code = words.number('CODE');
  if (type === undefined || code === undefined) return 'cut off inside the ICMP header';
  const icmp: IcmpHeader = { type, code };
  header.icmp = icmp;
  if (words.peek() === 'INCOMPLETE') return skipIncomplete(words);
  const id = words.number('ID');
  const seq = words.number('SEQ');
  if (id !== undefined) icmp.id = id;
  if (seq !== undefined) icmp.seq = seq;
  if (isEcho(header.protocol, type) && seq === undefined) return 'cut off inside the ICMP header';
  return undefined;
}

function isEcho(protocol: string, type: number): boolean {
  return protocol === 'icmp' ? type === 8 || type === 0 : type === 128 || type === 129;
}

/** What may follow the transport header: MTU and GATEWAY of ICMP errors, UID and GID of local sockets, MARK of the outermost packet. */
function readTail(words: Words, header: PacketHeader): number | undefined {
  let mark: number | undefined;
  for (let word = words.next(); word !== ''; word = words.next()) {
    if (word.startsWith('MARK=0x')) mark = Number.parseInt(word.slice(7), 16);
    else if (word.startsWith('MTU=') && header.icmp) header.icmp.mtu = uint(word.slice(4));
    else if (word.startsWith('GATEWAY=') && header.icmp) header.icmp.gateway = word.slice(8);
  }
  return mark;
}
