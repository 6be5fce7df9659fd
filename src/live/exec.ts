/**
 * Commands in a pod: the `exec` subresource over a websocket (kubernetes/apimachinery remotecommand, v5.channel.k8s.io and v4).
 * Every way for it to end is one answer or one error: a socket that is cut, that is silent, or that is refused.
 */
import WebSocket from 'ws';
import { TraceError } from '../errors.ts';
import { createLineSplitter } from '../parse/lines.ts';
import type { Completed, Running, RunOptions, Shell } from '../ports.ts';
import { apiErrorOf, networkError } from './api-errors.ts';
import { readStatus } from './exec-status.ts';
import type { Transport } from './transport.ts';

export interface ExecTarget {
  namespace: string;
  pod: string;
  container: string;
}

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const STATUS = 3;
/** v5 only: closes the channel whose number follows. */
const CLOSE = 255;

const HANDSHAKE_MS = 10_000;
const PING_MS = 5000;
/** Without a frame or a pong for so long, nobody is there any more. */
const SILENT_MS = 20_000;
const MOST_OUTPUT = 64 * 1024 * 1024;

export function podShell(transport: Transport, target: ExecTarget): Shell {
  return {
    async run(argv, options = {}) {
      const parts: string[] = [];
      const running = openSession(transport, target, argv, line => parts.push(line), options);
      const { done } = running;
      if (options.stdin !== undefined) running.write(options.stdin);
      const result = await done;
      return { ...result, stdout: parts.length > 0 ? `${parts.join('\n')}\n` : '' };
    },
    start: (argv, line, options = {}) => openSession(transport, target, argv, line, options),
  };
}

function openSession(
  transport: Transport,
  target: ExecTarget,
  argv: string[],
  line: (text: string) => void,
  options: RunOptions,
): Running {
  const session = createSession(target, line, options);
  transport
    .socketOptions()
    .then(authentication => {
      const socket = new WebSocket(
        urlOf(transport.server, target, withEnv(argv, options.env)),
        ['v5.channel.k8s.io', 'v4.channel.k8s.io'],
        { ...authentication, handshakeTimeout: HANDSHAKE_MS, maxPayload: MOST_OUTPUT } as WebSocket.ClientOptions,
      );
      session.attach(socket, transport.server);
    })
    .catch(session.fail);
  return session;
}

function urlOf(server: string, { namespace, pod, container }: ExecTarget, argv: string[]): string {
  const query = new URLSearchParams({ container, stdin: 'true', stdout: 'true', stderr: 'true' });
  for (const word of argv) query.append('command', word);
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/exec`;
  return `${server.replace(/\/$/, '').replace(/^http/, 'ws')}${path}?${query}`;
}

/** The subresource has no field for the environment. */
function withEnv(argv: string[], env: Record<string, string> | undefined): string[] {
  return env ? ['env', ...Object.entries(env).map(([key, value]) => `${key}=${value}`), ...argv] : argv;
}

function createSession(target: ExecTarget, line: (text: string) => void, options: RunOptions) {
  const began = performance.now();
  const lines = createLineSplitter(line);
  const decode = new TextDecoder();
  const waiting: Buffer[] = [];
  let socket: WebSocket | undefined;
  let stderr = '';
  let received = 0;
  let heard = performance.now();
  const timers: NodeJS.Timeout[] = [];
  let settle!: (outcome: Completed | Error) => void;
  const done = new Promise<Completed>((resolve, reject) => {
    settle = outcome => (outcome instanceof Error ? reject(outcome) : resolve(outcome));
  });
  done.catch(() => {});
  const end = (outcome: Completed | Error): void => {
    for (const timer of timers) clearTimeout(timer);
    options.signal?.removeEventListener('abort', aborted);
    lines.push(decode.decode());
    lines.end();
    settle(outcome);
    socket?.close();
    // A close that is not answered must not keep the program.
    setTimeout(() => socket?.terminate(), 1000).unref();
  };
  const completed = (code: number): Completed => ({ code, stdout: '', stderr, durationMs: performance.now() - began });
  const aborted = (): void => end(completed(130));
  const fail = (error: Error): void => end(error);
  const send = (frame: Buffer): void => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(frame);
    else waiting.push(frame);
  };
  const closeInput = (): void => {
    if (socket?.protocol === 'v5.channel.k8s.io') send(Buffer.from([CLOSE, STDIN]));
  };

  function onFrame(frame: Buffer): void {
    heard = performance.now();
    const [channel] = frame;
    const data = frame.subarray(1);
    if (channel === STATUS) {
      const status = readStatus(data.toString('utf8'));
      end(status instanceof Error ? status : completed(status));
      return;
    }
    received += data.length;
    if (received > MOST_OUTPUT) {
      end(new TraceError('api', `a command in pod ${target.pod} printed more than ${MOST_OUTPUT} bytes`));
    } else if (channel === STDOUT) lines.push(decode.decode(data, { stream: true }));
    else if (channel === STDERR) stderr += data.toString('utf8');
  }

  function watch(): void {
    const timer = setInterval(() => {
      if (performance.now() - heard > SILENT_MS) fail(silent(target));
      else if (socket?.readyState === WebSocket.OPEN) socket.ping();
    }, PING_MS);
    timers.push(timer);
    if (options.timeoutMs !== undefined) timers.push(setTimeout(() => end(completed(124)), options.timeoutMs));
  }

  return {
    done,
    fail,
    write: (text: string) => send(Buffer.concat([Buffer.from([STDIN]), Buffer.from(text)])),
    async stop() {
      closeInput();
      const late = setTimeout(() => end(completed(137)), 6000);
      await done.catch(() => {});
      clearTimeout(late);
    },
    attach(opened: WebSocket, server: string) {
      socket = opened;
      socket.binaryType = 'nodebuffer';
      socket.on('open', () => {
        for (const frame of waiting.splice(0)) socket?.send(frame);
      });
      socket.on('message', data => onFrame(data as Buffer));
      socket.on('pong', () => {
        heard = performance.now();
      });
      socket.on('unexpected-response', (_, response) => {
        let body = '';
        response.on('data', chunk => {
          if (body.length < 65_536) body += String(chunk);
        });
        response.on('end', () => fail(refused(response.statusCode ?? 0, body, target)));
      });
      socket.on('error', error => fail(networkError(error, server, HANDSHAKE_MS)));
      socket.on('close', code => fail(cut(target, code)));
      options.signal?.addEventListener('abort', aborted, { once: true });
      if (options.signal?.aborted) aborted();
      watch();
    },
  };
}

function refused(status: number, body: string, { pod, namespace }: ExecTarget): Error {
  if (status >= 200 && status < 400)
    return new TraceError(
      'api',
      `exec in pod ${namespace}/${pod} was answered ${status} instead of a websocket`,
      'A proxy or load balancer before the API server does not pass websockets on.',
    );
  return apiErrorOf(status, body, `exec in pod ${namespace}/${pod}`);
}

function cut({ pod, namespace }: ExecTarget, code: number): TraceError {
  return new TraceError(
    'api',
    `the connection to pod ${namespace}/${pod} was cut before its command ended (websocket code ${code})`,
    'Was the pod or its node ended, or does a proxy in between cut connections? Run it again.',
  );
}

function silent({ pod, namespace }: ExecTarget): TraceError {
  return new TraceError(
    'api',
    `the connection to pod ${namespace}/${pod} has been silent for ${SILENT_MS / 1000} s`,
    'Is the API server or the node gone? Run it again.',
  );
}
