/** The world behind narrow doors. Each comment is the contract; live/ and lab/ keep it, and fakes are held to it by the same tests. */

import type { StepText } from './steps.ts';

/** Files of the workstation. */
export interface Files {
  /**
   * The text of a file in chunks, decompressed and decoded. `-` is standard input.
   * @throws TraceError(usage) for what cannot be read: missing, a directory, no permission, empty, binary, packed in a way we cannot unpack;
   *   TraceError(interrupted) where the signal aborts and the text does not end by itself soon after
   */
  chunks(path: string, signal?: AbortSignal): AsyncIterable<string>;
  /** The whole text, for small files. Same errors. */
  read(path: string, signal?: AbortSignal): Promise<string>;
  /** Whole lines as they are appended, beginning with those that are there; follows rotation. Ends when the signal aborts. */
  follow(path: string, signal: AbortSignal): AsyncIterable<string>;
  /** @throws TraceError(usage) where the file cannot be written */
  write(path: string, text: string): Promise<void>;
}

/** Where results and words go. The result is for programs and people, everything else for people only. */
export interface Out {
  result(text: string): void;
  /** One line of progress, warning or advice. */
  say(text: string): void;
  /** What is being done now; on a terminal it gives way to the next. */
  step(text: StepText): void;
}

/** A finished command. */
export interface Completed {
  code: number;
  stdout: string;
  stderr: string;
  durationMs: number;
}

export interface RunOptions {
  stdin?: string;
  env?: Record<string, string>;
  /** Milliseconds; the command is ended then, and `code` is 124. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A command that is still running. */
export interface Running {
  write(text: string): void;
  /** Ends its input; then, if it does not go by itself within a second, the command. Resolves when it is gone. */
  stop(): Promise<void>;
  done: Promise<Completed>;
}

/** A place where commands run: the node's network namespace, or a pod. */
export interface Shell {
  /** @throws TraceError where the command cannot be started; a command that fails resolves with its code */
  run(argv: string[], options?: RunOptions): Promise<Completed>;
  /** Lines of standard output are handed over as they come, whole. */
  start(argv: string[], line: (text: string) => void, options?: RunOptions): Running;
}

export interface SendOptions {
  body?: unknown;
  contentType?: string;
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface PodRef {
  namespace: string;
  pod: string;
  container: string;
}

/** A Kubernetes API server, as one user. */
export interface Cluster {
  readonly context: string;
  readonly server: string;
  /** The namespace of the context, or of -n. */
  readonly namespace: string;
  /** @throws ApiError for every answer that is not 2xx, and for none within the timeout */
  send(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, options?: SendOptions): Promise<unknown>;
  /** How far the server's clock is ahead of this machine's, in milliseconds, by its newest answer. */
  clockAheadMs(): number;
  shell(pod: PodRef): Shell;
  close(): void;
}

/** Where one run takes place: a pod to send from, and the node it stands on. */
export interface Site {
  node: Shell;
  pod: Shell;
  /** The agent has read back that nothing of it is left: its pod may go at once. */
  settled?: boolean;
  /** Where the agent ended without a receipt: removes what it left, and says so in the agent's own words. */
  sweep?(run: string, line: (text: string) => void): Promise<void>;
}
