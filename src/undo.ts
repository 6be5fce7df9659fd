/** What must be undone, last things first. An undo is registered before the deed, and all of them run, whatever fails. */

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
