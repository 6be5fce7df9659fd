/** Commands in a pod against an API server that fails in every way it can; what works is held to the table of the real one. */
import { afterEach, describe, expect, test } from 'vitest';
import type { TraceError } from '../../src/errors.ts';
import { podShell } from '../../src/live/exec.ts';
import { LIMITS } from '../../src/live/exec-session.ts';
import { openTransport } from '../../src/live/transport.ts';
import type { Shell } from '../../src/ports.ts';
import { EXEC_CASES, holdToCase, holdToConversation } from '../support/exec-cases.ts';
import {
  exitCode,
  type FakeApi,
  type FakeExec,
  type FakeOrder,
  fakeApi,
  fakeProxy,
  runHere,
  SUCCESS,
  status,
  tlsFile,
} from '../support/fake-api.ts';

const POD = { namespace: 'shop', pod: 'web-0', container: 'agent' };
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Place {
  shell: Shell;
  api: FakeApi;
}

async function place(order: FakeOrder, limits: Partial<typeof LIMITS> = {}, more: object = {}): Promise<Place> {
  const api = await fakeApi(order);
  closers.push(api.close);
  const connection = { context: 'x', namespace: 'd', server: api.url, skipTlsVerify: false, userName: 'u', ...more };
  const transport = openTransport(connection, 5000, { env: process.env, interactive: false });
  closers.push(() => transport.close());
  return { api, shell: podShell(transport, POD, { ...LIMITS, ...limits }) };
}

async function failure(work: Promise<unknown>): Promise<TraceError> {
  return work.then(
    value => {
      throw new Error(`did not fail: ${JSON.stringify(value)}`);
    },
    error => error as TraceError,
  );
}

describe('the cases of the real cluster', () => {
  test.each(EXEC_CASES)('$name', async one => holdToCase((await place({ exec: runHere })).shell, one));
  test('a conversation', async () => holdToConversation((await place({ exec: runHere })).shell));
});

describe('what goes wrong', () => {
  const says = (exec: (exec: FakeExec) => void): FakeOrder => ({ exec });
  const raw = (answer: string): FakeOrder => ({
    upgrade(socket) {
      socket.end(answer);
      return true;
    },
  });
  const refusal = (code: number, type: string, body: string) =>
    raw(`HTTP/1.1 ${code} X\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);

  test.each<[string, FakeOrder, RegExp]>([
    [
      'refused with a Status',
      refusal(
        403,
        'application/json',
        JSON.stringify(status(403, 'Forbidden', 'pods "web-0" is forbidden: cannot create pods/exec')),
      ),
      /from the API server \(Forbidden\): pods "web-0" is forbidden: cannot create pods\/exec/,
    ],
    [
      'refused in plain words',
      refusal(502, 'text/plain', 'bad gateway\n'),
      /exec in pod shop\/web-0 was answered 502: bad gateway/,
    ],
    ['refused without a word', refusal(500, 'text/plain', ''), /was answered 500: HTTP 500/],
    [
      'refused, and cut in the middle of why',
      raw('HTTP/1.1 403 X\r\nContent-Length: 500\r\n\r\n{"kind":"St'),
      /exec in pod shop\/web-0 was answered 403/,
    ],
    ['a page for a browser', refusal(200, 'text/html', '<html>'), /was answered 200 instead of a websocket/],
    [
      'sent elsewhere',
      raw('HTTP/1.1 302 X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n'),
      /was answered 302 instead of a websocket/,
    ],
    ['not known', refusal(401, 'text/plain', 'Unauthorized'), /does not know you \(401/],
    ['cut before the handshake', raw(''), /cannot be reached: (the connection was cut|socket hang up)/],
    [
      'closed without a status',
      says(({ socket }) => socket.close(1000)),
      /was cut before its command ended \(websocket code 1000\)/,
    ],
    [
      'cut without a goodbye',
      says(({ socket }) => socket.terminate()),
      /was cut before its command ended \(websocket code 1006\)/,
    ],
    [
      'cut after it said something',
      says(({ send, socket }) => {
        send(1, 'half a li');
        socket.terminate();
      }),
      /was cut before its command ended/,
    ],
    [
      'a status nobody can read',
      says(exec => exec.status('<html>')),
      /the status of a command in pod shop\/web-0 cannot be read: <html>$/,
    ],
    ['a status that is no object', says(exec => exec.status('null')), /cannot be read: null$/],
    [
      'a status that tells why',
      says(exec =>
        exec.status({ status: 'Failure', reason: 'InternalError', message: 'container not found ("agent")' }),
      ),
      /could not be run: container not found/,
    ],
    [
      'a status without any reason',
      says(exec => exec.status({ status: 'Failure' })),
      /could not be run: no reason given/,
    ],
    [
      'a frame too large to be one',
      says(({ socket }) => socket.send(Buffer.alloc(65 * 1024 * 1024, 1))),
      /was cut before its command ended/,
    ],
  ])('%s', async (_, order, message) => {
    const { shell } = await place(order);
    const error = await failure(shell.run(['true']));
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
    expect(error.kind).toBe('api');
  });

  test('nobody is there', async () => {
    const { shell, api } = await place({});
    await api.close();
    expect((await failure(shell.run(['true']))).message).toMatch(/cannot be reached: the connection was refused/);
  });
  test('the handshake is never answered', async () => {
    const { shell } = await place({ upgrade: () => true }, { handshakeMs: 50 });
    expect((await failure(shell.run(['true']))).message).toMatch(/did not answer within 0\.05 s/);
  });
  test('a refusal whose reason never comes', async () => {
    const order: FakeOrder = {
      upgrade(socket) {
        socket.write('HTTP/1.1 403 X\r\nContent-Length: 500\r\n\r\n{');
        return true;
      },
    };
    const { shell } = await place(order, { pingMs: 10, silentMs: 40 });
    expect((await failure(shell.run(['true']))).message).toMatch(/has been silent for 0\.04 s/);
  });
  test('a socket that is open and silent', async () => {
    // ws answers a ping by itself, so the server's socket is paused: as a machine that is gone.
    const { shell } = await place({ exec: ({ socket }) => socket.pause() }, { pingMs: 10, silentMs: 40 });
    expect((await failure(shell.run(['true']))).message).toMatch(/has been silent for 0\.04 s/);
  });
  test('a socket that is quiet but answers pings is alive', async () => {
    let pings = 0;
    const exec = (one: FakeExec) =>
      one.socket.on('ping', () => {
        pings += 1;
        if (pings === 20) one.status(SUCCESS);
      });
    const { shell } = await place({ exec }, { pingMs: 10, silentMs: 5000 });
    expect((await shell.run(['true'])).code).toBe(0);
  });
  test('the environment of a run is refused before anything is sent', async () => {
    const { shell, api } = await place(
      {},
      {},
      {
        exec: { command: '', args: [], env: {}, apiVersion: 'v1', interactiveMode: 'Never', provideClusterInfo: false },
      },
    );
    expect((await failure(shell.run(['true']))).message).toMatch(/names no command/);
    expect(api.connections()).toBe(0);
  });
});

describe('frames', () => {
  test('after the status are not heard', async () => {
    const lines: string[] = [];
    const exec = (one: FakeExec) => {
      one.send(1, 'before\n');
      one.status(SUCCESS);
      one.send(1, 'after\n');
      one.status('nonsense');
      one.socket.close();
    };
    const { shell } = await place({ exec });
    const running = shell.start(['x'], line => lines.push(line));
    expect((await running.done).code).toBe(0);
    await running.stop();
    expect(lines).toEqual(['before']);
  });
  test('of a megabyte', async () => {
    const line = 'y'.repeat(1024 * 1024 - 2);
    const exec = (one: FakeExec) => {
      for (let i = 0; i < 4; i++) one.send(1, `${line}\n`);
      one.status(SUCCESS);
    };
    expect((await (await place({ exec })).shell.run(['x'])).stdout).toBe(`${line}\n`.repeat(4));
  });
  test.each([
    [1, 'stdout'],
    [2, 'stderr'],
  ] as const)('that cut a letter in half (%s)', async (channel, where) => {
    const exec = (one: FakeExec) => {
      for (const byte of Buffer.from('ä日🙂\n')) one.send(channel, Uint8Array.of(byte));
      one.status(SUCCESS);
    };
    expect((await (await place({ exec })).shell.run(['x']))[where]).toBe('ä日🙂\n');
  });
  test('of no length, and of channels nobody knows, are passed over', async () => {
    const exec = (one: FakeExec) => {
      one.socket.send(Buffer.alloc(0));
      one.send(4, 'resize');
      one.send(255, Uint8Array.of(1));
      one.send(1, 'a\n');
      one.status(exitCode(7));
    };
    expect(await (await place({ exec })).shell.run(['x'])).toMatchObject({ code: 7, stdout: 'a\n' });
  });
});

describe('a command that is still running', () => {
  test('is told that its input ended, where the server can tell it', async () => {
    const heard: number[][] = [];
    const exec = (one: FakeExec) => {
      one.onFrame((channel, data) => {
        heard.push([channel, ...data]);
        if (channel === 255) one.status(SUCCESS);
      });
      one.send(1, 'here\n');
    };
    const { shell } = await place({ exec });
    let ready = () => {};
    const opened = new Promise<void>(resolve => {
      ready = resolve;
    });
    const running = shell.start(['x'], () => ready());
    // Written before there is a connection, and sent when there is one.
    running.write('a');
    await opened;
    await running.stop();
    expect(heard).toEqual([
      [0, 97],
      [255, 0],
    ]);
    expect((await running.done).code).toBe(0);
  });
  test('is left after a while, where the server cannot tell it (v4)', async () => {
    const frames: number[] = [];
    let ready = () => {};
    const opened = new Promise<void>(resolve => {
      ready = resolve;
    });
    const exec = (one: FakeExec) => {
      one.onFrame(channel => frames.push(channel));
      one.send(1, 'here\n');
    };
    const { shell } = await place({ exec, protocols: ['v4.channel.k8s.io'] }, { leaveMs: 30 });
    const running = shell.start(['x'], () => ready());
    await opened;
    await running.stop();
    expect((await running.done).code).toBe(137);
    expect(frames).toEqual([]);
  });
  test('that is stopped before its connection is there takes that with it', async () => {
    let asked = () => {};
    let gone = () => {};
    const asking = new Promise<void>(resolve => {
      asked = resolve;
    });
    const going = new Promise<void>(resolve => {
      gone = resolve;
    });
    const upgrade: FakeOrder['upgrade'] = socket => {
      socket.once('end', gone).resume();
      asked();
      return true;
    };
    const running = (await place({ upgrade })).shell.start(['x'], () => {});
    await asking;
    await running.stop();
    expect((await running.done).code).toBe(137);
    await going;
  });
  test('is left at once when the run is interrupted', async () => {
    const abort = new AbortController();
    const exec = () => abort.abort();
    const { shell } = await place({ exec });
    expect((await shell.run(['x'], { signal: abort.signal })).code).toBe(130);
  });
  test('is not begun when the run is interrupted already', async () => {
    const { shell, api } = await place({ exec: runHere });
    expect((await shell.run(['true'], { signal: AbortSignal.abort() })).code).toBe(130);
    expect(api.connections()).toBe(0);
  });
});

describe('ways to the server', () => {
  test('by a proxy, over TLS, with a certificate', async () => {
    const proxy = await fakeProxy();
    closers.push(proxy.close);
    const { shell, api } = await place(
      { exec: runHere, tls: 'both' },
      {},
      {
        proxyUrl: proxy.url,
        caFile: tlsFile('ca.crt'),
        certFile: tlsFile('client.crt'),
        keyFile: tlsFile('client.key'),
      },
    );
    expect((await shell.run(['echo', 'hello'])).stdout).toBe('hello\n');
    expect(proxy.asked).toEqual([new URL(api.url).host]);
  });
  test('behind a path, as Rancher has it', async () => {
    let path = '';
    const order: FakeOrder = {
      upgrade(socket, request) {
        path = request.url ?? '';
        socket.end('HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n');
        return true;
      },
    };
    const api = await fakeApi(order);
    closers.push(api.close);
    const connection = {
      context: 'x',
      namespace: 'd',
      server: `${api.url}/k8s/clusters/c-1/`,
      skipTlsVerify: false,
      userName: 'u',
    };
    const transport = openTransport(connection, 5000, { env: {}, interactive: false });
    await failure(podShell(transport, POD).run(['a b', '&']));
    transport.close();
    expect(path).toBe(
      '/k8s/clusters/c-1/api/v1/namespaces/shop/pods/web-0/exec?container=agent&stdin=false&stdout=true&stderr=true&command=a+b&command=%26',
    );
  });
});
