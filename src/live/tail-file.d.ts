/** The parts of tail-file 1.4.16 we use; the package has no types of its own. */
declare module 'tail-file' {
  import type { EventEmitter } from 'node:events';

  export default class Tail extends EventEmitter {
    constructor(
      filename: string,
      options?: { startPos?: 'start' | 'end' | number; encoding?: string; force?: boolean; sep?: string | RegExp },
    );
    startP(): Promise<void>;
    stop(): Promise<void>;
  }
}
