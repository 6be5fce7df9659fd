/** The world behind narrow doors. Each comment is the contract; live/ and lab/ keep it, and fakes are held to it by the same tests. */

/** Files of the workstation. */
export interface Files {
  /**
   * The text of a file in chunks, decompressed and decoded. `-` is standard input.
   * @throws TraceError(usage) for what cannot be read: missing, a directory, no permission, empty, binary, packed in a way we cannot unpack
   */
  chunks(path: string): AsyncIterable<string>;
  /** The whole text, for small files. Same errors. */
  read(path: string): Promise<string>;
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
}
