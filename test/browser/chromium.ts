/** A headless Chromium of our own, spoken to over a pipe in its DevTools protocol: no port that others could find. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

// biome-ignore lint/suspicious/noExplicitAny: the protocol's answers are as many as its commands
export type Answer = any;

export interface DevToolsEvent {
  method: string;
  params: Answer;
  sessionId?: string;
}

export interface Browser {
  send(method: string, params?: object, sessionId?: string): Promise<Answer>;
  listen(listener: (event: DevToolsEvent) => void): void;
  pid: number;
  profile: string;
  close(): Promise<void>;
}

/** As Debian, Ubuntu, Fedora and Google name it. */
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** @throws where there is none: a suite that is left out would say nothing */
export function findChromium(path = process.env.PATH ?? ''): string {
  const folders = path.split(':').filter(folder => folder !== '');
  const found = folders.flatMap(folder => NAMES.map(name => join(folder, name))).find(file => existsSync(file));
  if (found === undefined)
    throw new Error(`no Chromium on the path (${NAMES.join(', ')}). On Debian, as root: apt-get install chromium`);
  return found;
}

const FLAGS = [
  '--headless=new',
  '--remote-debugging-pipe',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--no-default-browser-check',
  '--hide-scrollbars',
  '--force-color-profile=srgb',
];

/** Starts the browser with a profile of its own, which goes with it. Its sandbox needs a user who is not root. */
export async function startBrowser(program: string): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), 'trace-svc-chromium-'));
  const flags = [...FLAGS, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), `--user-data-dir=${profile}`];
  const child = spawn(program, [...flags, 'about:blank'], { stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'] });
  const last = tailOf(child.stderr as Readable);
  const line = connect(child, last);
  const close = async () => {
    await end(child, line);
    rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
  try {
    await line.send('Browser.getVersion');
  } catch (error) {
    await close();
    throw error;
  }
  return { ...line, pid: child.pid as number, profile, close };
}

/** Asks it to go; if it is gone already, there is nobody to answer. */
async function end(child: ChildProcess, line: Pick<Browser, 'send'>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  const asked = line.send('Browser.close').catch(() => {});
  const killer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await Promise.all([gone, asked]);
  clearTimeout(killer);
}

function tailOf(stream: Readable): () => string {
  let text = '';
  stream.setEncoding('utf8').on('data', (chunk: string) => {
    text = (text + chunk).slice(-2000);
  });
  return () => text.trim();
}

/** Messages are JSON, each ended by a zero byte; commands go down file descriptor 3, answers come up 4. */
function connect(child: ChildProcess, said: () => string): Pick<Browser, 'send' | 'listen'> {
  const waiting = new Map<number, { resolve(value: Answer): void; reject(error: Error): void }>();
  const listeners: ((event: DevToolsEvent) => void)[] = [];
  let next = 1;
  let rest = '';
  const receive = (text: string): void => {
    const { id, error, result, ...event } = JSON.parse(text);
    if (id === undefined) return listeners.forEach(listener => void listener(event));
    const asked = waiting.get(id);
    waiting.delete(id);
    if (error) asked?.reject(new Error(error.message));
    else asked?.resolve(result);
  };
  (child.stdio[4] as Readable).setEncoding('utf8').on('data', (chunk: string) => {
    const messages = (rest + chunk).split('\0');
    rest = messages.pop() ?? '';
    messages.forEach(receive);
  });
  const fail = (why: string) => {
    for (const asked of waiting.values()) asked.reject(new Error(`${why}: ${said()}`));
    waiting.clear();
  };
  child.on('error', error => fail(error.message));
  child.on('exit', code => fail(`the browser ended (${code})`));
  const down = child.stdio[3] as Writable;
  down.on('error', error => fail(error.message));
  return {
    send: (method, params = {}, sessionId) =>
      new Promise((resolve, reject) => {
        const id = next++;
        waiting.set(id, { resolve, reject });
        down.write(`${JSON.stringify({ id, method, params, ...(sessionId ? { sessionId } : {}) })}\0`);
      }),
    listen: listener => void listeners.push(listener),
  };
}
