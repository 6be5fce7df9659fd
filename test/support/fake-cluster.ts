/** A cluster of answers: what a path is answered with, and what was asked, in order. No network. */
import { ApiError } from '../../src/errors.ts';
import type { Cluster, Completed, Shell } from '../../src/ports.ts';

export type Reply = unknown | ((body: unknown) => unknown);

export interface FakeCluster extends Cluster {
  asked: string[];
  bodies: unknown[];
}

/** @param replies by `METHOD /path`; a list is used up one by one, its last one stays */
export function fakeCluster(replies: Record<string, Reply[]>, shell?: Shell): FakeCluster {
  const asked: string[] = [];
  const bodies: unknown[] = [];
  return {
    context: 'fake',
    server: 'https://fake',
    namespace: 'shop',
    asked,
    bodies,
    async send(method, path, options = {}) {
      const key = `${method} ${path}`;
      asked.push(key);
      bodies.push(options.body);
      const list = replies[key] ?? replies[method];
      const reply = list && (list.length > 1 ? list.shift() : list[0]);
      const value = typeof reply === 'function' ? await reply(options.body) : reply;
      if (value === undefined) throw new ApiError(404, 'NotFound', `from the API server (NotFound): ${path} not found`);
      if (value instanceof Error) throw value;
      return value;
    },
    clockAheadMs: () => 0,
    shell: () => shell ?? SILENT,
    close() {},
  };
}

const ENDED: Completed = { code: 0, stdout: '', stderr: '', durationMs: 1 };

const SILENT: Shell = {
  run: async () => ENDED,
  start: () => ({ write() {}, stop: async () => {}, done: Promise.resolve(ENDED) }),
};

/** A node agent that says these lines, and then ends, or fails. */
export function saying(lines: string[], failure?: Error): Shell {
  return {
    ...SILENT,
    start(_, line) {
      for (const text of lines) line(text);
      const done = failure ? Promise.reject(failure) : Promise.resolve(ENDED);
      done.catch(() => {});
      return { write() {}, stop: async () => {}, done };
    },
  };
}

export const forbidden = (message: string): ApiError =>
  new ApiError(403, 'Forbidden', `from the API server (Forbidden): ${message}`);
