/** A file that grows: the package tail-file, which follows rotation and reads the rotated rest before the new file. */
import Tail from 'tail-file';
import { TraceError } from '../errors.ts';

/** Lines waiting to be read; a reader that is slower than the log for this long gets them in larger pieces, not fewer. */
export async function* followFile(path: string, signal: AbortSignal): AsyncGenerator<string> {
  const waiting: string[] = [];
  let wake: () => void = () => {};
  let failure: Error | undefined;
  // tail-file decodes each piece of a file by itself and so breaks characters at their seams: bytes first, text afterwards.
  const tail = new Tail(path, { startPos: 'start', encoding: 'latin1', force: false });
  tail.on('line', (line: string) => {
    waiting.push(Buffer.from(line, 'latin1').toString('utf8'));
    wake();
  });
  tail.on('error', (error: Error) => {
    failure ??= error;
    wake();
  });
  const stop = () => wake();
  signal.addEventListener('abort', stop);
  try {
    await tail.startP().catch((error: Error) => {
      failure ??= error;
    });
    for (;;) {
      if (waiting.length > 0) yield `${waiting.splice(0).join('\n')}\n`;
      if (failure)
        throw new TraceError(
          'usage',
          `cannot follow ${path}: ${failure.message}`,
          'Check the spelling and the permissions.',
          failure,
        );
      if (signal.aborted) return;
      if (waiting.length === 0) {
        await new Promise<void>(resolve => {
          wake = resolve;
          if (signal.aborted || waiting.length > 0 || failure) resolve();
        });
      }
    }
  } finally {
    signal.removeEventListener('abort', stop);
    await tail.stop().catch(() => {});
  }
}
