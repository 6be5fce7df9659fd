/**
 * An API server for faults only: it answers as it is told, or not at all. Its exec runs the command on this machine, so that it
 * can be held to the same cases as a real one (exec-cases.ts).
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { type WebSocket, WebSocketServer } from 'ws';

export interface Seen {
  method: string;
  path: string;
  /** Names and values as they were sent, a name as often as it was. */
  rawHeaders: string[];
  headers: http.IncomingHttpHeaders;
  body: string;
  /** Which connection it came on, counted from 1. */
  connection: number;
  /** The subject of the client's certificate. */
  client?: string;
}

export type Answer = (response: http.ServerResponse, seen: Seen) => void;

export interface FakeExec {
  argv: string[];
  protocol: string;
  stdin: boolean;
  send(channel: number, data: string | Uint8Array): void;
  status(value: object | string): void;
  socket: WebSocket;
  onFrame(listen: (channel: number, data: Buffer) => void): void;
}

export interface FakeOrder {
  answer?: Answer;
  /** Before the handshake; returns true where it answered by itself. */
  upgrade?: (socket: Socket, request: http.IncomingMessage) => boolean;
  exec?: (exec: FakeExec) => void;
  /** Undefined: plain http. */
  tls?: 'server' | 'both';
  /** Versions of the exec protocol it speaks. */
  protocols?: string[];
}

export interface FakeApi {
  url: string;
  seen: Seen[];
  connections: () => number;
  /** Every connection is cut at once. */
  cut(): void;
  close(): Promise<void>;
}

export const tlsFile = (name: string): string => fileURLToPath(new URL(`tls/${name}`, import.meta.url));

export async function fakeApi(order: FakeOrder): Promise<FakeApi> {
  const seen: Seen[] = [];
  const sockets = new Set<Socket>();
  const numbers = new WeakMap<Socket, number>();
  const server = serverFor(order);
  let count = 0;
  server.on(order.tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    count += 1;
    numbers.set(socket, count);
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket)).on('error', () => {});
  });
  server.on('request', (request, response) => {
    readAll(request, body => {
      const one = seenOf(request, body, numbers.get(request.socket) ?? 0);
      seen.push(one);
      (order.answer ?? ok)(response, one);
    });
  });
  serveExec(server, order);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `${order.tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    seen,
    connections: () => count,
    cut,
    close: () =>
      new Promise(resolve => {
        cut();
        server.close(() => resolve());
      }),
  };
}

function serverFor({ tls }: FakeOrder): http.Server | https.Server {
  if (tls === undefined) return http.createServer();
  return https.createServer({
    key: readFileSync(tlsFile('server.key')),
    cert: readFileSync(tlsFile('server.crt')),
    ca: readFileSync(tlsFile('ca.crt')),
    requestCert: tls === 'both',
  });
}

function readAll(request: http.IncomingMessage, then: (body: string) => void): void {
  let body = '';
  request.setEncoding('utf8').on('data', chunk => {
    body += chunk;
  });
  request.once('end', () => then(body));
}

function seenOf(request: http.IncomingMessage, body: string, connection: number): Seen {
  const { method = '', url = '', headers, rawHeaders, socket } = request;
  const client = (socket as TLSSocket).getPeerCertificate?.()?.subject?.CN;
  const seen = { method, path: url, headers, rawHeaders, body, connection };
  return typeof client === 'string' ? { ...seen, client } : seen;
}

export const ok: Answer = response => json(200, {})(response, undefined as unknown as Seen);

export function json(status: number, value: unknown, headers: http.OutgoingHttpHeaders = {}): Answer {
  return response =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
}

export function text(status: number, body: string, headers: http.OutgoingHttpHeaders = {}): Answer {
  return response => void response.writeHead(status, { 'content-type': 'text/plain', ...headers }).end(body);
}

export function status(code: number, reason: string, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message };
}

/** One answer after the other; the last one for all that follow. */
export function inTurn(...answers: Answer[]): Answer {
  let turn = 0;
  return (response, seen) => answers[Math.min(turn++, answers.length - 1)]?.(response, seen);
}

export const silence: Answer = () => {};

function serveExec(server: http.Server, { exec, upgrade, protocols = ['v5.channel.k8s.io'] }: FakeOrder): void {
  const sockets = new WebSocketServer({
    noServer: true,
    handleProtocols: offered => protocols.find(one => offered.has(one)) ?? false,
  });
  server.on('upgrade', (request, socket: Socket, head) => {
    socket.on('error', () => {});
    if (upgrade?.(socket, request)) return;
    sockets.handleUpgrade(request, socket, head, opened => {
      opened.on('error', () => {});
      exec?.(execOf(opened, new URL(request.url ?? '', 'http://x').searchParams));
    });
  });
}

function execOf(socket: WebSocket, query: URLSearchParams): FakeExec {
  const send = (channel: number, data: string | Uint8Array) => {
    if (socket.readyState === 1) socket.send(Buffer.concat([Buffer.from([channel]), Buffer.from(data as string)]));
  };
  return {
    argv: query.getAll('command'),
    protocol: socket.protocol,
    stdin: query.get('stdin') === 'true',
    send,
    socket,
    status: value => send(3, typeof value === 'string' ? value : JSON.stringify(value)),
    onFrame: listen =>
      void socket.on('message', data => listen((data as Buffer)[0] as number, (data as Buffer).subarray(1))),
  };
}

export const SUCCESS = { status: 'Success', metadata: {} };

export function exitCode(code: number): object {
  const causes = [{ reason: 'ExitCode', message: String(code) }];
  return code === 0 ? SUCCESS : { status: 'Failure', reason: 'NonZeroExitCode', details: { causes } };
}

/** Runs the command here, and tells what a container runtime tells. */
export function runHere(exec: FakeExec): void {
  const [command = '', ...args] = exec.argv;
  const child = spawn(command, args, { stdio: [exec.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'] });
  child.stdout?.on('data', data => exec.send(1, data));
  child.stderr?.on('data', data => exec.send(2, data));
  child.stdin?.on('error', () => {});
  child.once('error', () =>
    exec.status({
      status: 'Failure',
      reason: 'InternalError',
      message: `exec: "${command}": executable file not found in $PATH`,
    }),
  );
  child.once('close', (code, signal) => {
    exec.status(exitCode(code ?? (signal === 'SIGKILL' ? 137 : 143)));
    exec.socket.close(1000);
  });
  exec.socket.once('close', () => child.kill('SIGKILL'));
  exec.onFrame((channel, data) => {
    if (channel === 0) child.stdin?.write(data);
    if (channel === 255 && data[0] === 0) child.stdin?.end();
  });
}

/** A proxy that connects to wherever it is asked to. */
export async function fakeProxy(): Promise<{ url: string; asked: string[]; close(): Promise<void> }> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = http.createServer((_, response) => void response.writeHead(501).end());
  server.on('connect', (request, socket: Socket) => {
    asked.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
    const [host = '', port] = (request.url ?? '').split(':');
    const onward = connect(Number(port), host, () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    for (const one of [socket, onward]) {
      sockets.add(one);
      one.on('error', () => {});
    }
    socket.pipe(onward).pipe(socket);
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    close: () =>
      new Promise(resolve => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
