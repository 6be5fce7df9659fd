/**
 * One command in a pod, frame by frame (kubernetes/apimachinery remotecommand, v5.channel.k8s.io and v4): whole lines as they
 * come, and exactly one end, however it comes about. Knows frames, but no socket.
 */
import { TraceError } from '../errors.ts';
import { createLineSplitter } from '../parse/lines.ts';
import type { Completed, PodRef, Running, RunOptions } from '../ports.ts';
import { readStatus } from './exec-status.ts';

/** The open connection, as far as a session needs it. */
export interface Wire {
  /** v5 can end the command's input; v4 has no way to. */
  halfCloses: boolean;
  send(frame: Buffer): void;
  ping(): void;
  /** Says goodbye, and does not wait long for the answer. */
  close(): void;
}

export interface Limits {
  handshakeMs: number;
  pingMs: number;
  /** Without a frame or a pong for so long, nobody is there any more. */
  silentMs: number;
  /** What a command gets to end by itself, once it was asked to. */
  leaveMs: number;
}

export const LIMITS: Limits = { handshakeMs: 10_000, pingMs: 5000, silentMs: 20_000, leaveMs: 6000 };

const MOST_OUTPUT = 64 * 1024 * 1024;

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const STATUS = 3;
/** v5 only: closes the channel whose number follows. */
const CLOSE = 255;

export class ExecSession implements Running {
  readonly done: Promise<Completed>;
  readonly target: PodRef;
  readonly #options: RunOptions;
  readonly #limits: Limits;
  readonly #lines: ReturnType<typeof createLineSplitter>;
  /** A letter may come in two frames. */
  readonly #out = new TextDecoder();
  readonly #err = new TextDecoder();
  readonly #began = performance.now();
  readonly #waiting: Buffer[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #settle!: (outcome: Completed | Error) => void;
  #wire: Wire | undefined;
  #ended = false;
  #inputEnds = false;
  #stderr = '';
  #received = 0;
  #heard = performance.now();

  constructor(target: PodRef, line: (text: string) => void, options: RunOptions, limits: Limits) {
    this.target = target;
    this.#options = options;
    this.#limits = limits;
    this.#lines = createLineSplitter(text => line(text));
    this.done = new Promise<Completed>((resolve, reject) => {
      this.#settle = outcome => (outcome instanceof Error ? reject(outcome) : resolve(outcome));
    });
    this.done.catch(() => {});
    options.signal?.addEventListener('abort', this.#abort, { once: true });
    if (options.signal?.aborted) this.#abort();
    else this.#watch();
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** What was written before goes out now. A session that ended in the meantime has no use for the connection. */
  open(wire: Wire): void {
    if (this.#ended) return wire.close();
    this.#wire = wire;
    this.heard();
    for (const frame of this.#waiting.splice(0)) wire.send(frame);
    if (this.#inputEnds) this.endInput();
  }

  heard(): void {
    this.#heard = performance.now();
  }

  frame(frame: Buffer): void {
    if (this.#ended) return;
    this.heard();
    const data = frame.subarray(1);
    if (frame[0] === STATUS) return this.#end(this.#outcomeOf(data.toString('utf8')));
    this.#received += data.length;
    if (this.#received > MOST_OUTPUT)
      this.fail(new TraceError('api', `a command in pod ${this.target.pod} printed more than ${MOST_OUTPUT} bytes`));
    else if (frame[0] === STDOUT) this.#lines.push(this.#out.decode(data, { stream: true }));
    else if (frame[0] === STDERR) this.#stderr += this.#err.decode(data, { stream: true });
  }

  fail(error: Error): void {
    this.#end(error);
  }

  write(text: string): void {
    const frame = Buffer.concat([Buffer.from([STDIN]), Buffer.from(text)]);
    if (this.#ended) return;
    if (this.#wire) this.#wire.send(frame);
    else this.#waiting.push(frame);
  }

  endInput(): void {
    this.#inputEnds = true;
    if (this.#wire?.halfCloses && !this.#ended) this.#wire.send(Buffer.from([CLOSE, STDIN]));
  }

  async stop(): Promise<void> {
    this.endInput();
    // Where there is no connection there is no command that could end by itself.
    const late = setTimeout(() => this.#end(this.#completed(137)), this.#wire ? this.#limits.leaveMs : 0);
    await this.done.catch(() => {});
    clearTimeout(late);
  }

  #outcomeOf(text: string): Completed | Error {
    const status = readStatus(text, `a command in pod ${this.target.namespace}/${this.target.pod}`);
    return typeof status === 'number' ? this.#completed(status) : status;
  }

  #completed(code: number): Completed {
    return { code, stdout: '', stderr: this.#stderr, durationMs: performance.now() - this.#began };
  }

  readonly #abort = (): void => this.#end(this.#completed(130));

  #watch(): void {
    const { pingMs, silentMs } = this.#limits;
    const look = () => {
      if (performance.now() - this.#heard > silentMs) this.fail(silent(this.target, silentMs));
      else this.#wire?.ping();
    };
    this.#timers.push(setInterval(look, pingMs));
    const { timeoutMs } = this.#options;
    if (timeoutMs !== undefined) this.#timers.push(setTimeout(() => this.#end(this.#completed(124)), timeoutMs));
  }

  #end(outcome: Completed | Error): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#options.signal?.removeEventListener('abort', this.#abort);
    this.#lines.push(this.#out.decode());
    this.#lines.end();
    this.#settle(outcome);
    this.#wire?.close();
  }
}

function silent({ pod, namespace }: PodRef, silentMs: number): TraceError {
  return new TraceError(
    'api',
    `the connection to pod ${namespace}/${pod} has been silent for ${silentMs / 1000} s`,
    'Is the API server or the node gone? Run it again.',
  );
}
