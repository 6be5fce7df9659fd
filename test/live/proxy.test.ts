/** HTTPS_PROXY, HTTP_PROXY and NO_PROXY as Go reads them (golang.org/x/net/http/httpproxy). */
import { describe, expect, test } from 'vitest';
import { TraceError } from '../../src/errors.ts';
import { checkProxy, proxyFor } from '../../src/live/proxy.ts';

describe('which proxy', () => {
  test.each<[string, string, Record<string, string>, string | undefined]>([
    ['none', 'https://api:6443', {}, undefined],
    ['https', 'https://api:6443', { HTTPS_PROXY: 'http://p:1', HTTP_PROXY: 'http://q:1' }, 'http://p:1'],
    ['http', 'http://api', { HTTPS_PROXY: 'http://p:1', HTTP_PROXY: 'http://q:1' }, 'http://q:1'],
    ['lower case', 'https://api', { https_proxy: 'http://p:1' }, 'http://p:1'],
    ['capitals first', 'https://api', { https_proxy: 'http://p:1', HTTPS_PROXY: 'http://q:1' }, 'http://q:1'],
    ['an empty one is none', 'https://api', { HTTPS_PROXY: '' }, undefined],
    ['without its scheme', 'https://api', { HTTPS_PROXY: 'me:secret@p:3128' }, 'http://me:secret@p:3128'],
    ['socks', 'https://api', { HTTPS_PROXY: 'socks5://p:1' }, 'socks5://p:1'],
    ['not for ALL_PROXY', 'https://api', { ALL_PROXY: 'http://p:1' }, undefined],
    ['not for this machine by name', 'https://localhost:6443', { HTTPS_PROXY: 'http://p:1' }, undefined],
    ['not for this machine by number', 'https://127.9.9.9', { HTTPS_PROXY: 'http://p:1' }, undefined],
    ['not for this machine in IPv6', 'https://[::1]:6443', { HTTPS_PROXY: 'http://p:1' }, undefined],
    [
      'for a name that begins like this machine',
      'https://127.example.com',
      { HTTPS_PROXY: 'http://p:1' },
      'http://p:1',
    ],
  ])('%s', (_, server, env, proxy) => expect(proxyFor(server, env)).toBe(proxy));
});

describe('NO_PROXY', () => {
  test.each<[string, string, string, boolean]>([
    ['everything', '*', 'https://api.example.com', true],
    ['a name', 'api.example.com', 'https://api.example.com:6443', true],
    ['a name, in capitals', 'API.Example.COM', 'https://api.example.com', true],
    ['names below a name', 'example.com', 'https://api.example.com', true],
    ['not names that end alike', 'ample.com', 'https://api.example.com', false],
    ['a dot: names below', '.example.com', 'https://api.example.com', true],
    ['a dot: not the name', '.example.com', 'https://example.com', false],
    ['a star: names below', '*.example.com', 'https://api.example.com', true],
    ['a star: not the name', '*.example.com', 'https://example.com', false],
    ['its port', 'api.example.com:6443', 'https://api.example.com:6443', true],
    ['another port', 'api.example.com:8443', 'https://api.example.com:6443', false],
    ['the port nobody wrote', 'api.example.com:443', 'https://api.example.com', true],
    ['a port alone is nothing', ':6443', 'https://api.example.com:6443', false],
    ['one of several, with blanks', 'a.example , ,api.example.com', 'https://api.example.com', true],
    ['an address', '10.0.0.1', 'https://10.0.0.1:6443', true],
    ['an address and its port', '10.0.0.1:6443', 'https://10.0.0.1:6443', true],
    ['another address', '10.0.0.1', 'https://10.0.0.11', false],
    ['a network', '10.0.0.0/8', 'https://10.1.2.3', true],
    ['another network', '10.0.0.0/8', 'https://11.1.2.3', false],
    ['a network is not for names', '10.0.0.0/8', 'https://api.example.com', false],
    ['a network that is none', '10.0.0.0/99', 'https://10.1.2.3', false],
    ['IPv6', 'fd00::1', 'https://[fd00::1]:6443', true],
    ['IPv6, spelt otherwise', 'FD00:0:0::1', 'https://[fd00::1]:6443', true],
    ['IPv6 in brackets', '[fd00::1]', 'https://[fd00::1]:6443', true],
    ['IPv6 and its port', '[fd00::1]:6443', 'https://[fd00::1]:6443', true],
    ['IPv6 and another port', '[fd00::1]:1', 'https://[fd00::1]:6443', false],
    ['a network of IPv6', 'fd00::/8', 'https://[fd12::1]', true],
    ['nothing', '', 'https://api.example.com', false],
  ])('%s', (_, list, server, direct) => {
    for (const name of ['NO_PROXY', 'no_proxy'])
      expect(proxyFor(server, { HTTPS_PROXY: 'http://p:1', [name]: list })).toBe(direct ? undefined : 'http://p:1');
  });
});

describe('what can be one', () => {
  test.each(['http://p', 'http://p:3128', 'https://me:x@p:1', 'socks5://p:1', 'socks5h://[fd00::1]:1'])('%s', proxy =>
    expect(checkProxy(proxy)).toBe(proxy),
  );
  test.each(['ftp://p', 'p', 'p:3128', 'http://', 'http://p:port', 'http://me:secret@p:port', ''])('not %j', proxy => {
    expect(() => checkProxy(proxy)).toThrow(TraceError);
    expect(() => checkProxy(proxy)).not.toThrow(/secret/);
  });
});
