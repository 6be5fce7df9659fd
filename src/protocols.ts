/** IP protocols by number, as headers, rules and traces may write them (IANA; /etc/protocols). */
const NAMES: Record<string, string> = {
  '1': 'icmp',
  '6': 'tcp',
  '17': 'udp',
  '47': 'gre',
  '50': 'esp',
  '51': 'ah',
  '58': 'icmpv6',
  '132': 'sctp',
  '136': 'udplite',
  'ipv6-icmp': 'icmpv6',
};

/** Its name; a number or name that is not known stays what it is. */
export function protocolName(text: string): string {
  return Object.hasOwn(NAMES, text) ? (NAMES[text] as string) : text;
}
