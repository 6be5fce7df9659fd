/** Chunks of text -> whole lines, however the chunks were cut. CRLF and a byte-order mark are not part of a line. */

export interface LineSplitter {
  push(chunk: string): void;
  /** Ends the input. A last line without its newline is handed over with `torn` set: it may be half a line. */
  end(): void;
}

/** Longer lines are cut: no kernel line is longer than 1024 bytes, no rule nft prints anywhere near a megabyte. */
export const LONGEST_LINE = 1 << 20;

export function createLineSplitter(line: (text: string, number: number, torn: boolean) => void): LineSplitter {
  let rest = '';
  let number = 0;
  let first = true;
  const emit = (text: string, torn: boolean): void => {
    number++;
    const clean = first && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    first = false;
    line(clean.charCodeAt(clean.length - 1) === 13 ? clean.slice(0, -1) : clean, number, torn);
  };
  return {
    push(chunk) {
      let from = 0;
      for (let end = chunk.indexOf('\n'); end >= 0; end = chunk.indexOf('\n', from)) {
        emit(rest === '' ? chunk.slice(from, end) : rest + chunk.slice(from, end), false);
        rest = '';
        from = end + 1;
      }
      rest = (rest + chunk.slice(from)).slice(0, LONGEST_LINE);
    },
    end() {
      if (rest !== '') emit(rest, true);
      rest = '';
    },
  };
}
