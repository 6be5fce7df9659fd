/** Which proxy a request goes through, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY (golang.org/x/net/http/httpproxy). */
import { isIP } from 'node:net';
import { TraceError } from '../errors.ts';
import { inCidr } from '../ip.ts';

/** @returns undefined where the server is reached directly */
export function proxyFor(server: string, env: Record<string, string | undefined>): string | undefined {
  const url = new URL(server);
  const either = (name: string) => env[name] || env[name.toLowerCase()] || undefined;
  const proxy = url.protocol === 'https:' ? either('HTTPS_PROXY') : either('HTTP_PROXY');
  if (proxy === undefined || isExcepted(url, either('NO_PROXY') ?? '')) return undefined;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

function isExcepted(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || host === '::1' || inCidr(host, '127.0.0.0/8') === true) return true;
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list
    .split(',')
    .map(entry => entry.trim().toLowerCase())
    .some(entry => entry !== '' && covers(entry, host, port));
}

function covers(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  const { name, wanted } = split(entry);
  if (name === '' || (wanted !== undefined && wanted !== port)) return false;
  // One address and a network of them, however they are spelt.
  if (isIP(name.split('/')[0] as string) !== 0) return isIP(host) !== 0 && inCidr(host, name) === true;
  if (name.startsWith('*.')) return host.endsWith(name.slice(1));
  return host.endsWith(name.startsWith('.') ? name : `.${name}`) || host === name;
}

/** `NAME:PORT`, `[IPV6]:PORT`, or either without the port. */
function split(entry: string): { name: string; wanted?: string } {
  const bare = isIP(entry) === 6 || entry.includes('/');
  const [, name = entry, wanted] = bare ? [] : (/^(.*?)(?::(\d+))?$/.exec(entry) ?? []);
  const plain = name.replace(/^\[(.*)\]$/, '$1');
  return wanted === undefined ? { name: plain } : { name: plain, wanted };
}

const SCHEMES = ['http:', 'https:', 'socks5:', 'socks5h:'];

/** @throws TraceError(usage) for what cannot be a proxy; the message has no password of it */
export function checkProxy(proxy: string): string {
  const url = URL.canParse(proxy) ? new URL(proxy) : undefined;
  if (url !== undefined && SCHEMES.includes(url.protocol) && url.hostname !== '') return proxy;
  throw new TraceError(
    'usage',
    `the proxy ${JSON.stringify(proxy.replace(/\/\/[^@/]*@/, '//'))} cannot be used`,
    'It is of the form http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT.',
  );
}
