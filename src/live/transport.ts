/**
 * Requests to the API server, over one connection that is kept open, each with a timeout. client-node opens a connection a call and
 * waits for a silent server forever.
 */
import http from 'node:http';
import https from 'node:https';
import { setTimeout as pause } from 'node:timers/promises';
import { ApiError, hasStatus } from '../errors.ts';
import type { SendOptions } from '../ports.ts';
import { apiErrorOf, networkError } from './api-errors.ts';
import type { PluginDeps } from './credentials.ts';
import { authenticate, type Identity } from './identity.ts';
import type { Connection } from './kubeconfig.ts';

export interface Transport {
  readonly server: string;
  /** The server as errors name it, with the proxy before it. */
  readonly where: string;
  /** How far the server's clock is ahead of ours, in milliseconds, by its newest answer; 0 where that is no difference. */
  clockAheadMs(): number;
  /** The answer's JSON. @throws ApiError for every other answer than 2xx, and for none */
  send(method: string, path: string, options?: SendOptions): Promise<unknown>;
  /** What `ws` needs to speak to the same server as the same user. */
  socketOptions(): Promise<{ agent: http.Agent; headers: http.OutgoingHttpHeaders }>;
  /** After an answer 401: is there another credential to be had? The next request asks for it. */
  renew(): boolean;
  close(): void;
}

const MOST_BODY = 256 * 1024 * 1024;

/** An error, and what it tells about asking again. */
type Failure = ApiError & { retryAfterMs?: number; stale?: boolean };

/** A busy server says when to come back; for so long, and so often, it is done. */
const LONGEST_PAUSE_MS = 5000;
const MOST_TRIES = 5;

export function openTransport(connection: Connection, timeoutMs: number, deps: PluginDeps): Transport {
  const where = describeServer(connection);
  const session = createAuthentication(connection, deps);
  const clock = createServerClock();
  return {
    server: connection.server,
    where,
    clockAheadMs: clock.aheadMs,
    async send(method, path, options = {}) {
      for (let tries = 1; ; tries++) {
        const used = session.current();
        try {
          const answer = exchange(
            connection.server,
            where,
            method,
            path,
            { timeoutMs, ...options, heard: clock.heard },
            await used,
          );
          return await answer;
        } catch (error) {
          if (isUnknown(error) && tries === 1 && session.renew(used)) continue;
          if (!(error instanceof ApiError) || !(await mayAskAgain(error, method, tries, options.signal))) throw error;
        }
      }
    },
    async socketOptions() {
      const { agent, headers } = await session.current();
      return { agent, headers };
    },
    renew: () => session.renew(session.current()),
    close: session.close,
  };
}

/** The Date header has whole seconds, and an answer takes its time: less than this is no difference. */
const SAME_CLOCK_MS = 3000;

function createServerClock() {
  let ahead = 0;
  return {
    aheadMs: () => ahead,
    heard(date: string | undefined) {
      const difference = Date.parse(date ?? '') - Date.now();
      if (!Number.isNaN(difference)) ahead = Math.abs(difference) < SAME_CLOCK_MS ? 0 : difference;
    },
  };
}

/** A credential may end in the middle of a run; its source is asked for another one. */
function isUnknown(error: unknown): boolean {
  return hasStatus(error, 401);
}

/** Who we are to the server, asked for once, and again only when it was not accepted. */
function createAuthentication(connection: Connection, deps: PluginDeps) {
  const made: Promise<Identity>[] = [];
  let authenticated: Promise<Identity> | undefined;
  return {
    current() {
      if (authenticated === undefined) {
        authenticated = authenticate(connection, deps);
        made.push(authenticated);
      }
      return authenticated;
    },
    /** Of several that were refused at the same time, only the first one asks for another credential. */
    renew(used: Promise<Identity>): boolean {
      if (connection.exec === undefined && connection.tokenFile === undefined) return false;
      if (authenticated === used) authenticated = undefined;
      return true;
    },
    close() {
      for (const one of made) one.then(({ agent }) => agent.destroy()).catch(() => {});
    },
  };
}

async function mayAskAgain(
  { retryAfterMs, stale }: Failure,
  method: string,
  tries: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  // A connection that was kept open and is found closed: nothing was answered, but something may have been done.
  if (stale) return tries === 1 && (method === 'GET' || method === 'DELETE');
  if (retryAfterMs === undefined || tries >= MOST_TRIES) return false;
  await pause(Math.min(retryAfterMs, LONGEST_PAUSE_MS), undefined, signal ? { signal } : {}).catch(() => {});
  return signal?.aborted !== true;
}

/** As an error names it: with the proxy in between, without that one's password. */
function describeServer({ server, proxyUrl }: Connection): string {
  if (proxyUrl === undefined) return server;
  const { protocol, host } = new URL(proxyUrl);
  return `${server} (through the proxy ${protocol}//${host})`;
}

function exchange(
  server: string,
  where: string,
  method: string,
  path: string,
  options: SendOptions & { timeoutMs: number; heard(date: string | undefined): void },
  { agent, headers }: Identity,
): Promise<unknown> {
  const { promise, resolve, reject } = withResolvers<unknown>();
  const url = new URL(`${server.replace(/\/$/, '')}${path}`);
  const body = options.body === undefined ? undefined : JSON.stringify(options.body);
  const request = (url.protocol === 'http:' ? http : https).request(url, {
    method,
    agent,
    headers: {
      ...headers,
      Accept: 'application/json',
      'User-Agent': 'kubectl-trace_svc',
      ...(body === undefined
        ? {}
        : { 'Content-Type': options.contentType ?? 'application/json', 'Content-Length': Buffer.byteLength(body) }),
    },
  });
  const what = `${method} ${url.pathname}`;
  let answered = false;
  const give = (error: NodeJS.ErrnoException) => {
    const stale = isClosed(error) && request.reusedSocket && !answered;
    reject(Object.assign(networkError(error, where, options.timeoutMs), { stale }));
    request.destroy();
  };
  const late = setTimeout(
    () => give(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })),
    options.timeoutMs,
  );
  const abort = () => give(Object.assign(new Error('interrupted'), { code: 'ABORT' }));
  options.signal?.addEventListener('abort', abort, { once: true });
  if (options.signal?.aborted) abort();
  request.on('error', give);
  request.once('response', response => {
    answered = true;
    options.heard(response.headers.date);
    const chunks: Buffer[] = [];
    let length = 0;
    response.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MOST_BODY) give(new Error(`the answer to ${what} is longer than ${MOST_BODY} bytes`));
      else chunks.push(chunk);
    });
    response.on('error', () => give(new Error('the connection was cut in the middle of an answer')));
    response.once('end', () => settle(response, Buffer.concat(chunks).toString('utf8'), what, resolve, reject));
  });
  request.end(body);
  return promise.finally(() => {
    clearTimeout(late);
    options.signal?.removeEventListener('abort', abort);
  });
}

/** Of a connection that had been kept open, it may mean no more than that its time was over. */
function isClosed({ code }: NodeJS.ErrnoException): boolean {
  return code === 'ECONNRESET' || code === 'EPIPE';
}

function settle(
  { statusCode = 0, headers }: http.IncomingMessage,
  body: string,
  what: string,
  resolve: (value: unknown) => void,
  reject: (error: unknown) => void,
): void {
  if (statusCode < 200 || statusCode > 299) {
    const seconds = Number(headers['retry-after'] ?? Number.NaN);
    const again = seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {};
    reject(Object.assign(apiErrorOf(statusCode, body, what), again));
    return;
  }
  try {
    resolve(body === '' ? undefined : JSON.parse(body));
  } catch {
    reject(
      new ApiError(
        statusCode,
        'BadAnswer',
        `the answer to ${what} is no JSON (${headers['content-type'] ?? 'no type'})`,
        'Does the server of this context belong to Kubernetes, or is a proxy or a login page in between?',
      ),
    );
  }
}

function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
