/** Address arithmetic in one place; the library behind it is the only npm package the pure part of the program uses. */
import ipaddr from 'ipaddr.js';

/** RFC 5952 text of an address, or undefined where `text` is none. `010.0.0.1` and `1.2` are none: the kernel prints neither. */
export function canonicalAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!text.includes(':') || !ipaddr.IPv6.isValid(text)) return undefined;
  return ipaddr.IPv6.parse(text).toString();
}

export function isIPv4(text: string): boolean {
  return ipaddr.IPv4.isValidFourPartDecimal(text);
}

export function familyOf(address: string): 'ip' | 'ip6' {
  return address.includes(':') ? 'ip6' : 'ip';
}

/** Does `address` lie in `cidr` (`10.0.0.0/8`, `fd00::/64`, a bare address, or iptables' `10.0.0.0/255.0.0.0`)? Undefined: cannot tell. */
export function inCidr(address: string, cidr: string): boolean | undefined {
  const [network = '', mask] = cidr.split('/');
  const net = canonicalAddress(network);
  const own = canonicalAddress(address);
  if (net === undefined || own === undefined || familyOf(net) !== familyOf(own)) return net && own ? false : undefined;
  const bits = prefixLength(mask, familyOf(net));
  if (bits === undefined) return undefined;
  return ipaddr.parse(own).match(ipaddr.parse(net), bits);
}

function prefixLength(mask: string | undefined, family: 'ip' | 'ip6'): number | undefined {
  const whole = family === 'ip' ? 32 : 128;
  if (mask === undefined) return whole;
  if (/^\d{1,3}$/.test(mask)) return Number(mask) <= whole ? Number(mask) : undefined;
  const canonical = canonicalAddress(mask);
  if (canonical === undefined) return undefined;
  return ipaddr.parse(canonical).prefixLengthFromSubnetMask() ?? undefined;
}

/** `10.0.0.1:80`, `[fd00::1]:80`, or the bare address where there is no port. */
export function hostPort(address: string, port?: number): string {
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The reverse of `hostPort`; undefined where the text is not an address with an optional port. */
export function parseHostPort(text: string): { address: string; port?: number } | undefined {
  const bracketed = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text);
  const plain = bracketed ?? /^([^:]+|[^:]*:[^:]*:.*?)(?::(\d{1,5}))?$/.exec(text);
  const whole = canonicalAddress(text);
  if (whole !== undefined) return { address: whole };
  const address = canonicalAddress(plain?.[1] ?? '');
  if (address === undefined) return undefined;
  return plain?.[2] === undefined ? { address } : { address, port: Number(plain[2]) };
}
