/** Protocols by number, as rules and traces may write them (IANA; /etc/protocols). */
const PROTOCOLS: Record<string, string> = {
  '1': 'icmp',
  '6': 'tcp',
  '17': 'udp',
  '50': 'esp',
  '51': 'ah',
  '58': 'icmpv6',
  '132': 'sctp',
  '136': 'udplite',
  'ipv6-icmp': 'icmpv6',
};

export function protocolName(text: string): string {
  return PROTOCOLS[text] ?? text;
}
