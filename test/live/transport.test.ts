/** Requests to an API server that fails in every way it can: one clear line each, and no more waiting than is allowed. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { ApiError, type TraceError } from '../../src/errors.ts';
import type { PluginDeps } from '../../src/live/credentials.ts';
import type { Connection, ExecPlugin } from '../../src/live/kubeconfig.ts';
import { openTransport, type Transport } from '../../src/live/transport.ts';
import {
  type Answer,
  type FakeApi,
  type FakeOrder,
  fakeApi,
  fakeProxy,
  inTurn,
  json,
  ok,
  silence,
  status,
  text,
  tlsFile,
} from '../support/fake-api.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  closers.push(() => rmSync(path, { recursive: true }));
  return path;
}

interface Place {
  api: FakeApi;
  transport: Transport;
}

const NOBODY: PluginDeps = { env: process.env, interactive: false };

async function place(
  order: FakeOrder,
  more: Partial<Connection> = {},
  timeoutMs = 5000,
  deps = NOBODY,
): Promise<Place> {
  const api = await fakeApi(order);
  closers.push(api.close);
  const connection = { context: 'x', namespace: 'd', server: api.url, skipTlsVerify: false, userName: 'u', ...more };
  const transport = openTransport(connection, timeoutMs, deps);
  closers.push(() => transport.close());
  return { api, transport };
}

async function failure(work: Promise<unknown>): Promise<TraceError> {
  return work.then(
    value => {
      throw new Error(`did not fail: ${JSON.stringify(value)}`);
    },
    error => error as TraceError,
  );
}

const partly =
  (then: (response: http.ServerResponse) => void): Answer =>
  response => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' });
    response.write('{"items":[', () => then(response));
  };

describe('an answer', () => {
  test.each<[string, Answer, unknown]>([
    ['JSON', json(200, { kind: 'List', items: [1] }), { kind: 'List', items: [1] }],
    ['created', json(201, { a: 1 }), { a: 1 }],
    ['nothing', text(200, ''), undefined],
    [
      'letters in pieces',
      response => {
        response.writeHead(200);
        const bytes = Buffer.from('{"a":"日🙂"}');
        response.write(bytes.subarray(0, 7), () => response.end(bytes.subarray(7)));
      },
      { a: '日🙂' },
    ],
  ])('%s', async (_, answer, value) => {
    expect(await (await place({ answer })).transport.send('GET', '/x')).toEqual(value);
  });

  test('what is asked is sent as it is', async () => {
    const { api, transport } = await place({ answer: ok });
    const body = { a: ['ä', "'", '\n'] };
    await transport.send('PATCH', '/api/v1/x?y=%20', { body, contentType: 'application/strategic-merge-patch+json' });
    expect(api.seen[0]).toMatchObject({ method: 'PATCH', path: '/api/v1/x?y=%20', body: JSON.stringify(body) });
    expect(api.seen[0]?.headers).toMatchObject({
      'content-type': 'application/strategic-merge-patch+json',
      accept: 'application/json',
      'user-agent': 'kubectl-trace_svc',
    });
  });
  test.each(['server', undefined] as const)('one connection for all (TLS: %s)', async tls => {
    const order: FakeOrder = tls ? { answer: ok, tls } : { answer: ok };
    const { api, transport } = await place(order, { caFile: tlsFile('ca.crt') });
    for (let i = 0; i < 5; i++) await transport.send('GET', `/${i}`);
    expect(api.connections()).toBe(1);
  });
  test('behind a path', async () => {
    const { api } = await place({ answer: ok });
    const connection = {
      context: 'x',
      namespace: 'd',
      server: `${api.url}/k8s/c-1/`,
      skipTlsVerify: false,
      userName: 'u',
    };
    const transport = openTransport(connection, 5000, NOBODY);
    closers.push(() => transport.close());
    await transport.send('GET', '/version');
    expect(api.seen[0]?.path).toBe('/k8s/c-1/version');
  });
});

describe('what goes wrong', () => {
  test.each<[string, Answer, number, RegExp, RegExp]>([
    [
      'a Status',
      json(403, status(403, 'Forbidden', 'nodes is forbidden: User "u" cannot list resource "nodes"')),
      403,
      /^from the API server \(Forbidden\): nodes is forbidden: User "u" cannot list/,
      /docs\/rbac\.md/,
    ],
    [
      'a Status without a reason',
      json(500, { kind: 'Status', message: 'etcd is gone' }),
      500,
      /\(Unknown\): etcd is gone/,
      /^$/,
    ],
    [
      '403 in plain words',
      text(403, 'Forbidden by the gateway\nmore\n'),
      403,
      /^GET \/x was answered 403: Forbidden by the gateway$/,
      /proxy or a login page/,
    ],
    [
      'JSON that is no Status',
      json(404, { error: 'no' }),
      404,
      /^GET \/x was answered 404: \{"error":"no"\}$/,
      /proxy/,
    ],
    ['JSON that is nothing', json(404, null), 404, /was answered 404: null/, /proxy/],
    [
      '401',
      json(401, status(401, 'Unauthorized', 'Unauthorized')),
      401,
      /does not know you \(401/,
      /kubectl auth whoami/,
    ],
    [
      '429 without a time',
      json(429, status(429, 'TooManyRequests', 'slow down')),
      429,
      /busy \(429\): slow down/,
      /Try again/,
    ],
    ['503 in plain words', text(503, 'no healthy upstream'), 503, /busy \(503\): no healthy upstream/, /Try again/],
    ['502 without a word', text(502, ''), 502, /was answered 502: HTTP 502/, /proxy/],
    [
      'a login page',
      text(200, '<!doctype html><title>Sign in</title>', { 'content-type': 'text/html' }),
      200,
      /^the answer to GET \/x is no JSON \(text\/html\)$/,
      /login page/,
    ],
    [
      'a page that says why',
      text(403, '<html>\n<head><title>Access  denied</title>'),
      403,
      /was answered 403: a web page, "Access {2}denied"$/,
      /login page/,
    ],
    ['a redirect', text(302, '', { location: '/login' }), 302, /was answered 302: HTTP 302/, /login page/],
    ['no JSON, of no type', response => void response.end('x'), 200, /is no JSON \(no type\)/, /proxy/],
    [
      'an answer that is cut',
      partly(response => response.destroy()),
      0,
      /cannot be reached: the connection was cut in the middle of an answer/,
      /VPN/,
    ],
    ['no answer at all', response => void response.destroy(), 0, /cannot be reached: the connection was cut/, /VPN/],
  ])('%s', async (_, answer, code, message, remedy) => {
    const error = await failure((await place({ answer })).transport.send('GET', '/x'));
    expect(error).toBeInstanceOf(ApiError);
    expect((error as ApiError).status).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
    expect(error.remedy ?? '').toMatch(remedy);
    expect(error.kind).toBe('api');
  });

  test.each<[string, Answer]>([
    ['says nothing', silence],
    ['stops in the middle', partly(() => {})],
  ])('a server that %s is not waited for longer than is allowed', async (_, answer) => {
    const { transport } = await place({ answer }, {}, 60);
    const error = await failure(transport.send('GET', '/x'));
    expect(error.message).toMatch(/did not answer within 0\.06 s$/);
    expect(error.remedy).toMatch(/--request-timeout/);
  });
  test('a slow answer is an answer', async () => {
    const answer: Answer = response => void setTimeout(() => json(200, { a: 1 })(response, undefined as never), 50);
    expect(await (await place({ answer })).transport.send('GET', '/x')).toEqual({ a: 1 });
  });
  test('nobody is there', async () => {
    const { api, transport } = await place({});
    await api.close();
    const error = await failure(transport.send('GET', '/x'));
    expect(error.message).toBe(`the API server ${api.url} cannot be reached: the connection was refused`);
  });
  test('a name nobody knows', async () => {
    const { transport } = await place({}, { server: 'https://api.invalid:6443' });
    expect((await failure(transport.send('GET', '/x'))).message).toMatch(
      /cannot be reached: its name (is not known|could not be)/,
    );
  });
  test.each<[string, Answer]>([
    ['before an answer', silence],
    ['in the middle of one', partly(() => {})],
  ])('interrupted %s', async (_, answer) => {
    const abort = new AbortController();
    const answered: Answer = (response, seen) => {
      answer(response, seen);
      setImmediate(() => abort.abort());
    };
    const { transport } = await place({ answer: answered });
    expect((await failure(transport.send('GET', '/x', { signal: abort.signal }))).kind).toBe('interrupted');
  });
  test('interrupted before it began', async () => {
    const { transport, api } = await place({ answer: ok });
    expect((await failure(transport.send('GET', '/x', { signal: AbortSignal.abort() }))).kind).toBe('interrupted');
    expect(api.seen).toEqual([]);
  });
});

describe('asked again', () => {
  const busy = (after: string) => json(429, status(429, 'TooManyRequests', 'slow down'), { 'retry-after': after });

  test.each(['GET', 'POST', 'DELETE'])('%s, when a busy server says when', async method => {
    const { api, transport } = await place({ answer: inTurn(busy('0'), busy('0'), json(200, { a: 1 })) });
    expect(await transport.send(method, '/x')).toEqual({ a: 1 });
    expect(api.seen).toHaveLength(3);
  });
  test('not for ever', async () => {
    const { api, transport } = await place({ answer: busy('0') });
    expect((await failure(transport.send('GET', '/x'))).message).toMatch(/busy \(429\)/);
    expect(api.seen).toHaveLength(5);
  });
  test('not when the run was interrupted in the meantime', async () => {
    const abort = new AbortController();
    const answer: Answer = (response, seen) => {
      busy('600')(response, seen);
      response.once('finish', () => setImmediate(() => abort.abort()));
    };
    const { api, transport } = await place({ answer });
    await failure(transport.send('GET', '/x', { signal: abort.signal }));
    expect(api.seen).toHaveLength(1);
  });
  const stale = () => inTurn(ok, response => void response.destroy(), json(200, { a: 1 }));
  test('on another connection, where the one that was kept open is closed', async () => {
    const { transport } = await place({ answer: stale() });
    await transport.send('GET', '/x');
    expect(await transport.send('GET', '/x')).toEqual({ a: 1 });
  });
  test('but nothing is made twice', async () => {
    const { api, transport } = await place({ answer: stale() });
    await transport.send('GET', '/x');
    expect((await failure(transport.send('POST', '/x'))).message).toMatch(/the connection was cut/);
    expect(api.seen).toHaveLength(2);
  });
});

describe('who we are', () => {
  const headersOf = async (more: Partial<Connection>) => {
    const { api, transport } = await place({ answer: ok }, more);
    await transport.send('GET', '/x');
    return api.seen[0]?.rawHeaders ?? [];
  };
  const valuesOf = (raw: string[], name: string) =>
    raw.filter((_, i) => i % 2 === 1 && raw[i - 1]?.toLowerCase() === name.toLowerCase());

  test('nobody', async () => expect(valuesOf(await headersOf({}), 'authorization')).toEqual([]));
  test('a token', async () => expect(valuesOf(await headersOf({ token: 't' }), 'authorization')).toEqual(['Bearer t']));
  test('a name and a password', async () => {
    const raw = await headersOf({ username: 'ü', password: 'p:w' });
    expect(valuesOf(raw, 'authorization')).toEqual([`Basic ${Buffer.from('ü:p:w').toString('base64')}`]);
  });
  test('somebody else, of several groups', async () => {
    const impersonate = { user: 'jane', groups: ['a', 'b c'], uid: '7', extra: { 'acme.com/x y': ['1', '2'] } };
    const raw = await headersOf({ token: 't', impersonate });
    expect(valuesOf(raw, 'Impersonate-User')).toEqual(['jane']);
    expect(valuesOf(raw, 'Impersonate-Group')).toEqual(['a', 'b c']);
    expect(valuesOf(raw, 'Impersonate-Uid')).toEqual(['7']);
    expect(valuesOf(raw, 'Impersonate-Extra-acme.com%2Fx%20y')).toEqual(['1', '2']);
  });
  test('a token in a file, which is read again when it is not accepted any more', async () => {
    const tokenFile = join(folder(), 'token');
    writeFileSync(tokenFile, 'old\n');
    const answer: Answer = (response, seen) => {
      if (seen.headers.authorization === 'Bearer new') return json(200, { a: 1 })(response, seen);
      writeFileSync(tokenFile, 'new\n');
      json(401, status(401, 'Unauthorized', 'Unauthorized'))(response, seen);
    };
    const { api, transport } = await place({ answer }, { tokenFile, token: 'not this' });
    expect(await transport.send('GET', '/x')).toEqual({ a: 1 });
    expect(api.seen.map(({ headers }) => headers.authorization)).toEqual(['Bearer old', 'Bearer new']);
  });
  test('a token file that is not there: the token beside it', async () => {
    expect(valuesOf(await headersOf({ tokenFile: '/nowhere/token', token: 't' }), 'authorization')).toEqual([
      'Bearer t',
    ]);
  });
});

describe('TLS', () => {
  const data = (name: string) => readFileSync(tlsFile(name)).toString('base64');
  const send = async (more: Partial<Connection>, tls: 'server' | 'both' = 'server') => {
    const { api, transport } = await place({ answer: ok, tls }, more);
    await transport.send('GET', '/x');
    return api.seen[0];
  };
  test.each<[string, Partial<Connection>]>([
    ['an authority in a file', { caFile: tlsFile('ca.crt') }],
    ['an authority as data', { caData: data('ca.crt') }],
    ['no check at all', { skipTlsVerify: true }],
    ['another name', { caFile: tlsFile('ca.crt'), tlsServerName: 'api.example' }],
  ])('%s', async (_, more) => expect(await send(more)).toBeDefined());
  test.each<[string, Partial<Connection>]>([
    ['in files', { certFile: tlsFile('client.crt'), keyFile: tlsFile('client.key') }],
    ['as data', { certData: data('client.crt'), keyData: data('client.key') }],
  ])('a certificate of our own, %s', async (_, more) => {
    expect((await send({ caFile: tlsFile('ca.crt'), ...more }, 'both'))?.client).toBe('client');
  });
  test.each<[string, Partial<Connection>]>([
    ['nobody vouches for', {}],
    ['is for another name', { caFile: tlsFile('ca.crt'), tlsServerName: 'other.example' }],
  ])('a certificate that %s', async (_, more) => {
    const error = await failure(send(more));
    expect(error.message).toMatch(/^the certificate of https:\S+ is not accepted: /);
    expect(error.remedy).toMatch(/certificate-authority-data/);
  });
  test.each<[string, Partial<Connection>, RegExp]>([
    ['an authority that is not there', { caFile: '/nowhere/ca.crt' }, /cannot be used: ENOENT.*\/nowhere\/ca\.crt/],
    [
      'a key that is none',
      { certData: data('client.crt'), keyData: 'bm90IGEga2V5' },
      /the kubeconfig's user cannot be used: /,
    ],
  ])('%s', async (_, more, message) => expect((await failure(send(more))).message).toMatch(message));
  test('plain http to a server that speaks TLS', async () => {
    const { api } = await place({ answer: ok, tls: 'server' });
    const { transport } = await place({}, { server: api.url.replace('https', 'http') });
    expect((await failure(transport.send('GET', '/x'))).kind).toBe('api');
  });
});

describe('a proxy', () => {
  test('is asked to connect, and kept connected', async () => {
    const proxy = await fakeProxy();
    closers.push(proxy.close);
    const proxyUrl = proxy.url.replace('//', '//me:secret@');
    const { api, transport } = await place({ answer: ok, tls: 'server' }, { proxyUrl, caFile: tlsFile('ca.crt') });
    for (let i = 0; i < 3; i++) await transport.send('GET', '/x');
    const basic = `Basic ${Buffer.from('me:secret').toString('base64')}`;
    expect(proxy.asked).toEqual([`${new URL(api.url).host} ${basic}`]);
  });
  test('that is not there is named, without its password', async () => {
    const proxy = await fakeProxy();
    await proxy.close();
    const proxyUrl = proxy.url.replace('//', '//me:secret@');
    const { transport } = await place({ answer: ok, tls: 'server' }, { proxyUrl });
    const { message } = await failure(transport.send('GET', '/x'));
    expect(message).toContain(`(through the proxy ${proxy.url}) cannot be reached`);
    expect(message).not.toContain('secret');
  });
});

describe('a credential plugin', () => {
  const plugin = (script: string, more: Partial<ExecPlugin> = {}): Partial<Connection> => ({
    exec: {
      command: 'sh',
      args: ['-c', script],
      env: { OWN: 'x y' },
      apiVersion: 'client.authentication.k8s.io/v1',
      interactiveMode: 'IfAvailable',
      provideClusterInfo: false,
      ...more,
    },
  });
  const says = (status: object) => `printf '%s' '${JSON.stringify({ kind: 'ExecCredential', status })}'`;
  const bearers = ({ seen }: FakeApi) => seen.map(({ headers }) => headers.authorization);

  test('is run once for a run', async () => {
    const log = join(folder(), 'log');
    const { api, transport } = await place({ answer: ok }, plugin(`echo run >>${log}; ${says({ token: 't' })}`));
    await Promise.all([transport.send('GET', '/1'), transport.send('GET', '/2'), transport.socketOptions()]);
    await transport.send('GET', '/3');
    expect(bearers(api)).toEqual(['Bearer t', 'Bearer t', 'Bearer t']);
    expect(readFileSync(log, 'utf8')).toBe('run\n');
  });
  test('is run once more when its credential is not accepted any more, however many were refused at once', async () => {
    const log = join(folder(), 'log');
    const script = `echo run >>${log}; n=$(wc -l <${log}); printf '{"status":{"token":"t%s"}}' $n`;
    const answer: Answer = (response, seen) =>
      seen.headers.authorization === 'Bearer t2'
        ? ok(response, seen)
        : json(401, status(401, 'Unauthorized', 'x'))(response, seen);
    const { transport } = await place({ answer }, plugin(script));
    await Promise.all([1, 2, 3].map(i => transport.send('GET', `/${i}`)));
    expect(readFileSync(log, 'utf8')).toBe('run\nrun\n');
  });
  test('is not run for ever', async () => {
    const { api, transport } = await place(
      { answer: json(401, status(401, 'Unauthorized', 'x')) },
      plugin(says({ token: 't' })),
    );
    expect((await failure(transport.send('GET', '/x'))).message).toMatch(/does not know you/);
    expect(api.seen).toHaveLength(2);
  });
  test('may give a certificate instead', async () => {
    const pem = (name: string) => readFileSync(tlsFile(name), 'utf8');
    const file = join(folder(), 'credential');
    const status = { clientCertificateData: pem('client.crt'), clientKeyData: pem('client.key') };
    writeFileSync(file, JSON.stringify({ status }));
    const { api, transport } = await place(
      { answer: ok, tls: 'both' },
      { caFile: tlsFile('ca.crt'), ...plugin(`cat ${file}`) },
    );
    await transport.send('GET', '/x');
    expect(api.seen[0]?.client).toBe('client');
  });

  const infoOf = async (more: Partial<Connection>, deps = NOBODY) => {
    const file = join(folder(), 'info');
    const given = plugin(
      `printf '%s\\n%s' "$KUBERNETES_EXEC_INFO" "$OWN" >${file}; ${says({ token: 't' })}`,
      more.exec,
    );
    const { api, transport } = await place({ answer: ok }, { ...more, ...given }, 5000, deps);
    await transport.send('GET', '/x');
    const [info = '', own] = readFileSync(file, 'utf8').split('\n');
    return { info: JSON.parse(info), own, api };
  };
  test('is told what it is asked for', async () => {
    const { info, own } = await infoOf({});
    expect(info).toEqual({
      apiVersion: 'client.authentication.k8s.io/v1',
      kind: 'ExecCredential',
      spec: { interactive: false },
    });
    expect(own).toBe('x y');
  });
  test('is told of the cluster, where it wants that', async () => {
    const exec = { provideClusterInfo: true } as ExecPlugin;
    const { info, api } = await infoOf({
      exec,
      caFile: tlsFile('ca.crt'),
      tlsServerName: 'n',
      execConfig: { audience: 'a' },
    });
    expect(info.spec.cluster).toEqual({
      server: api.url,
      'tls-server-name': 'n',
      'certificate-authority-data': readFileSync(tlsFile('ca.crt')).toString('base64'),
      config: { audience: 'a' },
    });
  });
  test.each<[string, string, Partial<ExecPlugin>, RegExp]>([
    [
      'is not there',
      '',
      { command: 'there-is-no-such-plugin', args: [] },
      /there-is-no-such-plugin gave no credential: there is no such program/,
    ],
    ['may not be run', '', { command: tlsFile('ca.crt'), args: [] }, /it may not be run/],
    ['has no name', '', { command: '' }, /names no command/],
    ['fails', 'exit 3', {}, /it ended with code 3/],
    ['is killed', 'kill -9 $$', {}, /it was ended by SIGKILL/],
    ['says nothing', ':', {}, /no JSON/],
    ['says what is no JSON', 'echo hello', {}, /no JSON/],
    ['says nothing that helps', says({}), {}, /neither a token nor a certificate/],
    ['has an answer without a status', 'echo {}', {}, /neither a token nor a certificate/],
    ['must ask, where nobody is', says({ token: 't' }), { interactiveMode: 'Always' }, /needs a terminal to ask at/],
  ])('that %s', async (_, script, more, message) => {
    const { api, transport } = await place({ answer: ok }, plugin(script, more));
    const error = await failure(transport.send('GET', '/x'));
    expect(error.message).toMatch(message);
    expect(error.kind).toBe('usage');
    expect(error.remedy).toBeDefined();
    expect(api.seen).toEqual([]);
  });
  test('that hangs is ended, and what it started is not waited for', async () => {
    const deps = { ...NOBODY, pluginTimeoutMs: 60 };
    const { transport } = await place({ answer: ok }, plugin('sleep 2; :'), 5000, deps);
    expect((await failure(transport.send('GET', '/x'))).message).toMatch(/it took longer than 0\.06 s/);
  });
  test('tells how it is installed', async () => {
    const { transport } = await place({}, plugin('exit 1', { installHint: 'brew install it' }));
    expect((await failure(transport.send('GET', '/x'))).remedy).toBe('brew install it');
  });
});

describe("the server's clock", () => {
  const hour = 3_600_000;
  const dated =
    (date: string): Answer =>
    response => {
      response.setHeader('Date', date);
      response.end('{}');
    };
  test.each<[string, (now: number) => string, number]>([
    ['an hour ahead', now => new Date(now + hour).toUTCString(), hour],
    ['an hour behind', now => new Date(now - hour).toUTCString(), -hour],
    ['a second ahead, which the header cannot tell', now => new Date(now + 1000).toUTCString(), 0],
    ['no date', () => 'soon', 0],
  ])('%s', async (_, date, ahead) => {
    const { transport } = await place({ answer: dated(date(Date.now())) });
    await transport.send('GET', '/version');
    expect(Math.round(transport.clockAheadMs() / 60_000)).toBe(ahead / 60_000);
  });
});
