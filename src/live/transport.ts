/**
 * Requests to the API server: client-node knows how to authenticate, node:https carries them over one connection that is kept
 * open, each with a timeout. client-node alone opens a connection a call and waits for a silent server forever.
 */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { ApiError, TraceError } from '../errors.ts';
import { apiErrorOf, networkError } from './api-errors.ts';
import { type PluginDeps, runPlugin } from './credentials.ts';
import type { Connection } from './kubeconfig.ts';

export interface SendOptions {
  body?: unknown;
  contentType?: string;
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface Transport {
  readonly server: string;
  /** The answer's JSON. @throws ApiError for every other answer than 2xx, and for none */
  send(method: string, path: string, options?: SendOptions): Promise<unknown>;
  /** What `ws` needs to speak to the same server as the same user. */
  socketOptions(): Promise<{ agent: http.Agent; headers: http.OutgoingHttpHeaders }>;
  close(): void;
}

/** What client-node fills in: the agent carries certificates and proxy, the headers the identity. */
type Authenticated = https.RequestOptions & { agent: http.Agent; headers: http.OutgoingHttpHeaders };

const MOST_BODY = 256 * 1024 * 1024;

export function openTransport(connection: Connection, timeoutMs: number, deps: PluginDeps): Transport {
  let authenticated: Promise<Authenticated> | undefined;
  const authentication = () => {
    authenticated ??= authenticate(connection, deps);
    return authenticated;
  };
  const once = async (method: string, path: string, options: SendOptions) =>
    exchange(connection.server, method, path, { timeoutMs, ...options }, await authentication());
  return {
    server: connection.server,
    async send(method, path, options = {}) {
      try {
        return await once(method, path, options);
      } catch (error) {
        // A credential may end in the middle of a run; the plugin is asked for another one, once.
        if (!(error instanceof ApiError) || error.status !== 401 || !connection.exec) throw error;
        authenticated = undefined;
        return once(method, path, options);
      }
    },
    async socketOptions() {
      const { agent, headers } = await authentication();
      return { agent, headers };
    },
    close() {
      authenticated?.then(({ agent }) => agent.destroy()).catch(() => {});
    },
  };
}

async function authenticate(connection: Connection, deps: PluginDeps): Promise<Authenticated> {
  const config = await clientNodeConfig(connection, deps);
  const options = { headers: {} } as Authenticated;
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    throw new TraceError('usage', `the kubeconfig's user cannot be used: ${(error as Error).message}`);
  }
  const { agent, auth } = options as { agent: http.Agent; auth?: string };
  // client-node makes its agent without keep-alive, and hands down no option for it.
  const inner = agent as http.Agent & { keepAlive?: boolean; options: object };
  inner.keepAlive = true;
  Object.assign(inner.options, { keepAlive: true });
  const headers: http.OutgoingHttpHeaders = { ...options.headers, ...impersonation(connection) };
  if (auth) headers.Authorization = `Basic ${Buffer.from(auth).toString('base64')}`;
  return { agent, headers };
}

async function clientNodeConfig(connection: Connection, deps: PluginDeps): Promise<KubeConfig> {
  const credential = connection.exec ? await runPlugin(connection.exec, connection, deps) : {};
  const { caFile, caData, certFile, certData, keyFile, keyData, tlsServerName, proxyUrl } = connection;
  const token = tokenOf(connection);
  const config = new KubeConfig();
  config.loadFromOptions({
    clusters: [
      {
        name: 'c',
        server: connection.server,
        // What kubectl does without a word: a plain http server has no certificate to check.
        skipTLSVerify: connection.skipTlsVerify || connection.server.startsWith('http:'),
        ...defined({ caFile: caData === undefined ? caFile : undefined, caData, tlsServerName, proxyUrl }),
      },
    ],
    users: [
      {
        name: 'u',
        ...defined({
          certFile: certData === undefined ? certFile : undefined,
          certData,
          keyFile: keyData === undefined ? keyFile : undefined,
          keyData,
          token,
          username: connection.username,
          password: connection.password,
          authProvider: connection.authProvider,
        }),
        ...credential,
      },
    ],
    contexts: [{ name: 'x', cluster: 'c', user: 'u' }],
    currentContext: 'x',
  });
  return config;
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, own]) => own !== undefined)) as T;
}

function tokenOf({ token, tokenFile }: Connection): string | undefined {
  if (tokenFile === undefined) return token;
  try {
    return readFileSync(tokenFile, 'utf8').trim() || token;
  } catch {
    return token;
  }
}

/** https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation */
function impersonation({ impersonate }: Connection): http.OutgoingHttpHeaders {
  if (!impersonate) return {};
  const headers: http.OutgoingHttpHeaders = { 'Impersonate-User': impersonate.user };
  if (impersonate.groups.length > 0) headers['Impersonate-Group'] = impersonate.groups;
  if (impersonate.uid !== undefined) headers['Impersonate-Uid'] = impersonate.uid;
  for (const [key, values] of Object.entries(impersonate.extra))
    headers[`Impersonate-Extra-${encodeURIComponent(key)}`] = values;
  return headers;
}

function exchange(
  server: string,
  method: string,
  path: string,
  options: SendOptions & { timeoutMs: number },
  { agent, headers }: Authenticated,
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
  const late = setTimeout(
    () => request.destroy(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })),
    options.timeoutMs,
  );
  const abort = () => request.destroy(Object.assign(new Error('interrupted'), { code: 'ABORT' }));
  options.signal?.addEventListener('abort', abort, { once: true });
  if (options.signal?.aborted) abort();
  const fail = (error: NodeJS.ErrnoException) => reject(networkError(error, server, options.timeoutMs));
  request.once('error', fail);
  request.once('response', response => {
    const chunks: Buffer[] = [];
    let length = 0;
    response.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length > MOST_BODY) request.destroy(new Error(`the answer to ${what} is longer than ${MOST_BODY} bytes`));
      else chunks.push(chunk);
    });
    response.once('error', fail);
    response.once('aborted', () => fail(new Error('the connection was cut in the middle of an answer')));
    response.once('end', () => settle(response, Buffer.concat(chunks).toString('utf8'), what, resolve, reject));
  });
  request.end(body);
  return promise.finally(() => {
    clearTimeout(late);
    options.signal?.removeEventListener('abort', abort);
  });
}

function settle(
  { statusCode = 0, headers }: http.IncomingMessage,
  body: string,
  what: string,
  resolve: (value: unknown) => void,
  reject: (error: unknown) => void,
): void {
  if (statusCode < 200 || statusCode > 299) {
    reject(apiErrorOf(statusCode, body, what));
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
