/**
 * Commands in a pod: the `exec` subresource over a websocket. Every way for it to end is one answer or one error: a socket that
 * is cut, that is silent, or that is refused.
 */
import type WebSocket from 'ws';
import { TraceError } from '../errors.ts';
import type { PodRef, RunOptions, Shell } from '../ports.ts';
import { apiErrorOf, networkError } from './api-errors.ts';
import { ExecSession, LIMITS, type Limits } from './exec-session.ts';
import type { Transport } from './transport.ts';

const V5 = 'v5.channel.k8s.io';
const V4 = 'v4.channel.k8s.io';

const LARGEST_FRAME = 64 * 1024 * 1024;
/** A goodbye that is not answered must not keep the program. */
const GOODBYE_MS = 1000;

export function podShell(transport: Transport, target: PodRef, limits: Limits = LIMITS): Shell {
  const open = (argv: string[], stdin: boolean, line: (text: string) => void, options: RunOptions) => {
    const session = new ExecSession(target, line, options, limits);
    const url = urlOf(transport.server, target, withEnv(argv, options.env), stdin);
    connect(transport, url, session, limits, true).catch((error: Error) => session.fail(error));
    return session;
  };
  return {
    async run(argv, options = {}) {
      const parts: string[] = [];
      const session = open(argv, options.stdin !== undefined, line => parts.push(line), options);
      if (options.stdin !== undefined) {
        session.write(options.stdin);
        session.endInput();
      }
      const result = await session.done;
      return { ...result, stdout: parts.length > 0 ? `${parts.join('\n')}\n` : '' };
    },
    start: (argv, line, options = {}) => open(argv, true, line, options),
  };
}

function urlOf(server: string, { namespace, pod, container }: PodRef, argv: string[], stdin: boolean): string {
  const query = new URLSearchParams({ container, stdin: String(stdin), stdout: 'true', stderr: 'true' });
  for (const word of argv) query.append('command', word);
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/exec`;
  return `${server.replace(/\/$/, '').replace(/^http/, 'ws')}${path}?${query}`;
}

/** The subresource has no field for the environment. */
function withEnv(argv: string[], env: Record<string, string> | undefined): string[] {
  return env ? ['env', ...Object.entries(env).map(([key, value]) => `${key}=${value}`), ...argv] : argv;
}

/** @param again a credential that is not accepted any more may be asked for once again */
async function connect(
  transport: Transport,
  url: string,
  session: ExecSession,
  limits: Limits,
  again: boolean,
): Promise<void> {
  const authentication = await transport.socketOptions();
  // The first request of a run is not to wait for it.
  const { default: Socket } = await import('ws');
  if (session.ended) return;
  const options = { ...authentication, handshakeTimeout: limits.handshakeMs, maxPayload: LARGEST_FRAME };
  const socket = new Socket(url, [V5, V4], options as WebSocket.ClientOptions);
  attach(socket, session, transport.where, limits);
  socket.on('unexpected-response', (_, response) => {
    textOf(response, body => {
      if (response.statusCode === 401 && again && transport.renew())
        connect(transport, url, session, limits, false).catch((error: Error) => session.fail(error));
      else session.fail(refused(response.statusCode ?? 0, body, session.target));
      socket.terminate();
    });
  });
}

/** Whatever there is of it: an answer that is cut is one as well. */
function textOf(response: NodeJS.ReadableStream, then: (body: string) => void): void {
  let body = '';
  response.on('data', chunk => {
    if (body.length < 65_536) body += String(chunk);
  });
  response.on('error', () => {});
  response.once('close', () => then(body));
}

function attach(socket: WebSocket, session: ExecSession, where: string, { handshakeMs }: Limits): void {
  let opened = false;
  let refusal = false;
  socket.binaryType = 'nodebuffer';
  socket.once('open', () => {
    opened = true;
    session.open(wireOf(socket));
  });
  socket.on('message', data => session.frame(data as Buffer));
  socket.on('pong', () => session.heard());
  socket.once('unexpected-response', () => {
    refusal = true;
  });
  socket.on('error', error => {
    if (!opened && !refusal) session.fail(networkError(timed(error), where, handshakeMs));
  });
  socket.once('close', code => {
    if (opened) session.fail(cut(session.target, code));
  });
  // A session that ends before its connection is there takes that with it.
  session.done.catch(() => {}).finally(() => opened || socket.terminate());
}

/** ws has no code for it. */
function timed(error: Error): NodeJS.ErrnoException {
  return /handshake has timed out/.test(error.message) ? Object.assign(error, { code: 'ETIMEDOUT' }) : error;
}

function wireOf(socket: WebSocket) {
  const ifOpen = (act: () => void) => () => {
    if (socket.readyState === socket.OPEN) act();
  };
  return {
    halfCloses: socket.protocol === V5,
    send: (frame: Buffer) => ifOpen(() => socket.send(frame))(),
    ping: ifOpen(() => socket.ping()),
    close() {
      socket.close();
      setTimeout(() => socket.terminate(), GOODBYE_MS).unref();
    },
  };
}

function refused(status: number, body: string, { pod, namespace }: PodRef): Error {
  if (status >= 200 && status < 400)
    return new TraceError(
      'api',
      `exec in pod ${namespace}/${pod} was answered ${status} instead of a websocket`,
      'A proxy or load balancer before the API server does not pass websockets on.',
    );
  const error = apiErrorOf(status, body, `exec in pod ${namespace}/${pod}`);
  return error.reason === 'NotFound'
    ? new TraceError('api', `pod ${namespace}/${pod} was deleted by somebody else`, 'Run it again.', error)
    : error;
}

function cut({ pod, namespace }: PodRef, code: number): TraceError {
  return new TraceError(
    'api',
    `the connection to pod ${namespace}/${pod} was cut before its command ended (websocket code ${code})`,
    'Was the pod or its node ended, or does a proxy in between cut connections? Run it again.',
  );
}
