/** What a person calls a packet. */
import type { PacketHeader } from '../model.ts';

export function packetLabel(header: PacketHeader): string {
  if (header.fragment !== undefined && header.fragment > 0) return `fragment at ${header.fragment}`;
  if (header.tcp) return header.tcp.flags || 'no flags';
  if (header.icmp) return icmpLabel(header);
  if (header.protocol === 'unknown') return 'protocol not printed';
  return header.protocol === 'udp' ? 'datagram' : header.protocol;
}

/** IANA's names of ICMP types and codes, those a Service's packets meet. */
const ICMP: Record<string, string> = {
  '3/0': 'network unreachable',
  '3/1': 'host unreachable',
  '3/2': 'protocol unreachable',
  '3/3': 'port unreachable',
  '3/4': 'fragmentation needed',
  '3/9': 'network prohibited',
  '3/10': 'host prohibited',
  '3/13': 'administratively prohibited',
  '5/1': 'redirect',
  '11/0': 'TTL exceeded',
};
const ICMP6: Record<string, string> = {
  '1/0': 'no route',
  '1/1': 'administratively prohibited',
  '1/3': 'address unreachable',
  '1/4': 'port unreachable',
  '2/0': 'packet too big',
  '3/0': 'hop limit exceeded',
};

function icmpLabel(header: PacketHeader): string {
  const { type, code, seq } = header.icmp ?? { type: -1, code: 0 };
  const v4 = header.protocol === 'icmp';
  const number = seq === undefined ? '' : ` ${seq}`;
  if (type === (v4 ? 8 : 128)) return `echo request${number}`;
  if (type === (v4 ? 0 : 129)) return `echo reply${number}`;
  return (v4 ? ICMP : ICMP6)[`${type}/${code}`] ?? `type ${type} code ${code}`;
}
