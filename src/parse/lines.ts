/**
 * Chunks of text -> whole lines, however the chunks were cut. CRLF and a byte-order mark are not part of a line. Zero bytes are no
 * text: where power was lost, blocks of them stand where lines were.
 */

export interface LineSplitter {
  push(chunk: string): void;
  /** Ends the input. A last line without its newline is handed over with `torn` set: it may be half a line. */
  end(): void;
}

/** Longer lines are cut: no kernel line is longer than 1024 bytes, no rule nft prints anywhere near a megabyte. */
export const LONGEST_LINE = 1 << 20;

/**
 * @param hole told of every block of zero bytes; what stands before and behind it are lines of one number. Without it, zero bytes
 * are characters like others: what a command prints is not a log.
 */
export function createLineSplitter(
  line: (text: string, number: number, torn: boolean) => void,
  hole?: (bytes: number, number: number) => void,
): LineSplitter {
  let rest = '';
  let number = 0;
  let first = true;
  let zeros = 0;
  const give = (text: string, at: number, torn: boolean): void => {
    const clean = first && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    first = false;
    line(clean.charCodeAt(clean.length - 1) === 13 ? clean.slice(0, -1) : clean, at, torn);
  };
  const pushText = (text: string): void => {
    if (zeros > 0) endHole();
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      number++;
      give(rest === '' ? text.slice(from, end) : rest + text.slice(from, end), number, false);
      rest = '';
      from = end + 1;
    }
    rest = (rest + text.slice(from)).slice(0, LONGEST_LINE);
  };
  /** What stands before a hole, or before the end of the input: no newline, so it may be half a line. */
  const giveRest = (): void => {
    if (rest !== '') give(rest, number + 1, true);
    rest = '';
  };
  const endHole = (): void => {
    hole?.(zeros, number + 1);
    zeros = 0;
  };
  const pushWithHoles = (chunk: string): void => {
    for (const piece of chunk.split(/(\0+)/))
      if (piece.startsWith('\0')) {
        giveRest();
        zeros += piece.length;
      } else if (piece !== '') pushText(piece);
  };
  return {
    push: chunk => (hole && chunk.includes('\0') ? pushWithHoles(chunk) : pushText(chunk)),
    end() {
      giveRest();
      if (zeros > 0) endHole();
    },
  };
}
