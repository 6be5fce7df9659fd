/** What must be undone, last things first. An undo is registered before the deed, and all of them run, whatever fails. */

import { TraceError } from './errors.ts';

export interface NotUndone {
  what: string;
  why: string;
}

export interface Undo {
  /** @param what as a person would say it: "delete pod trace-svc-x1" */
  add(what: string, undo: () => Promise<void>): void;
  /** Runs what has not run yet. Returns what could not be undone; never throws. */
  run(): Promise<NotUndone[]>;
}

export function createUndo(): Undo {
  const steps: { what: string; undo: () => Promise<void> }[] = [];
  return {
    add(what, undo) {
      steps.push({ what, undo });
    },
    async run() {
      const failed: NotUndone[] = [];
      for (let step = steps.pop(); step; step = steps.pop()) {
        try {
          await step.undo();
        } catch (error) {
          failed.push({ what: step.what, why: error instanceof Error ? error.message : String(error) });
        }
      }
      return failed;
    },
  };
}

export function notUndoneText({ what, why }: NotUndone): string {
  return `${what}: ${why}`;
}

/**
 * Does the work, then undoes it, also where it failed.
 * @param remedy what to do about something that is left
 * @returns what came of the work, and what could not be undone
 * @throws the work's error; TraceError(cleanup) where something is left as well, as that is the worse news
 */
export async function thenUndo<T>(undo: Undo, remedy: string, work: () => Promise<T>): Promise<[T, string[]]> {
  let done: T;
  try {
    done = await work();
  } catch (error) {
    const left = (await undo.run()).map(notUndoneText).join('; ');
    if (left === '') throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new TraceError('cleanup', `${why}; and not cleaned up: ${left}`, remedy, error);
  }
  return [done, (await undo.run()).map(notUndoneText)];
}
