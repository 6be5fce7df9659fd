/** Which proxy a request goes through, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY (golang.org/x/net/http/httpproxy). */
import { isIP } from 'node:net';
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
  if (host === 'localhost' || host === '::1' || host.startsWith('127.')) return true;
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  return list
    .split(',')
    .map(entry => entry.trim().toLowerCase())
    .some(entry => entry !== '' && covers(entry, host, port));
}

function covers(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return isIP(host) !== 0 && inCidr(host, entry) === true;
  const [, name = entry, wanted] = /^(.*?)(?::(\d+))?$/.exec(isIP(entry) === 6 ? '' : entry) ?? [];
  if (wanted !== undefined && wanted !== port) return false;
  const plain = name === '' ? entry : name;
  if (plain.startsWith('*.')) return host.endsWith(plain.slice(1));
  if (plain.startsWith('.')) return host.endsWith(plain);
  return host === plain || (isIP(plain) === 0 && host.endsWith(`.${plain}`));
}
