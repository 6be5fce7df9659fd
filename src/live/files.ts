/** Files of the workstation: node:fs and node:zlib. Every way a file can be no text ends in one clear line. */
import { isAscii } from 'node:buffer';
import fs, { closeSync, constants, createReadStream, openSync, readSync } from 'node:fs';
import { Socket } from 'node:net';
import { pipeline, Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { promisify, TextDecoder } from 'node:util';
import { TraceError } from '../errors.ts';
import type { Files } from '../ports.ts';

/** node:fs/promises would bring a dozen of Node's modules with it that a run's first request need not wait for. */
const stat = promisify(fs.stat);
const writeFile = promisify(fs.writeFile);

/** Larger pieces leave the processor's cache between being read and being cut into lines, and take twice as long. */
const CHUNK = 64 * 1024;

const STDIN = 'standard input';

/** @param stdin asked for when it is to be read: to open it takes time */
export function createFiles(stdin: () => Readable): Files {
  const chunks = (path: string, signal?: AbortSignal) =>
    path === '-' ? decode(stdin(), STDIN, signal) : fileChunks(path, signal);
  return {
    chunks,
    async read(path, signal) {
      const parts: string[] = [];
      let length = 0;
      for await (const chunk of chunks(path, signal)) {
        parts.push(chunk);
        length += chunk.length;
        if (length > MOST_TEXT)
          throw fail(
            path,
            `is larger than ${MOST_TEXT / 1024 / 1024} MiB`,
            'Name a smaller file: rules, objects and probe output of one node are far smaller.',
          );
      }
      const text = parts.join('');
      // A log may have holes, and says so; rules with a hole would be other rules.
      if (text.includes('\0')) throw fail(path, 'is damaged: blocks of zero bytes stand in it', 'Take it again.');
      return text;
    },
    // Loaded only by those who follow: the package costs more time to load than a small log to explain.
    async *follow(path, signal) {
      const { followFile } = await import('./tail.ts');
      yield* followFile(path, signal);
    },
    async write(path, text) {
      try {
        await writeFile(path, text);
      } catch (error) {
        throw new TraceError(
          'usage',
          `cannot write ${path}: ${reasonOf(error)}`,
          'Name a file in a folder you may write to.',
          error,
        );
      }
    },
  };
}

const MOST_TEXT = 256 * 1024 * 1024;

async function* fileChunks(path: string, signal?: AbortSignal): AsyncGenerator<string> {
  const info = await stat(path).catch(error => {
    throw fail(path, reasonOf(error), remedyOf(error), error);
  });
  if (info.isDirectory()) throw fail(path, 'is a directory', 'Name the log file in it.');
  if (info.isFile() && info.size === 0)
    throw fail(
      path,
      'is empty',
      'Was the log written elsewhere? Try journalctl -k, dmesg, or another file in /var/log.',
    );
  if (info.isCharacterDevice()) yield* kernelRecords(path, signal);
  else yield* decode(info.isFIFO() ? openPipe(path) : createReadStream(path, { highWaterMark: CHUNK }), path, signal);
}

/** `<(dmesg)` or mkfifo: opened without waiting, for a blocking open() would hold the process against every signal. */
function openPipe(path: string): Readable {
  try {
    return new Socket({
      fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK),
      readable: true,
      writable: false,
    });
  } catch (error) {
    throw fail(path, reasonOf(error), remedyOf(error), error);
  }
}

/** So many records are read before signals get a turn. */
const TURN = 256;

/** /dev/kmsg gives one record a read, and EAGAIN at the end; EPIPE says that records were overwritten before they were read. */
async function* kernelRecords(path: string, signal?: AbortSignal): AsyncGenerator<string> {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw fail(path, reasonOf(error), remedyOf(error), error);
  }
  try {
    const buffer = Buffer.alloc(8192);
    for (let records = 1; ; records++) {
      const text = readRecord(fd, buffer);
      if (text === undefined) return;
      // The kernel escapes zero bytes; devices without an end, like /dev/zero and /dev/random, are told by them.
      if (text.includes('\0')) throw fail(path, 'is not text but binary', 'Of devices, explain reads /dev/kmsg.');
      yield text;
      if (records % TURN === 0) await setImmediate();
      if (signal?.aborted) throw interrupted(path);
    }
  } finally {
    closeSync(fd);
  }
}

function readRecord(fd: number, buffer: Buffer): string | undefined {
  try {
    const length = readSync(fd, buffer);
    return length === 0 ? undefined : buffer.toString('utf8', 0, length);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'EPIPE') return '';
    if (code === 'EAGAIN') return undefined;
    throw error;
  }
}

function isGzip(head: Buffer): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

/** Magic numbers of what log rotation may use beside gzip. */
function packedBy(head: Buffer): string | undefined {
  const hex = head.toString('hex');
  if (hex.startsWith('fd377a585a00')) return 'xz';
  if (hex.startsWith('28b52ffd')) return 'zstd';
  return hex.startsWith('425a68') ? 'bzip2' : undefined;
}

async function* gunzip(packed: AsyncIterable<Buffer>, path: string): AsyncGenerator<Buffer> {
  const { createGunzip } = await import('node:zlib');
  const gunzip = createGunzip({ chunkSize: CHUNK });
  // Its errors, and those of the source, come out where it is read.
  pipeline(Readable.from(packed), gunzip, () => {});
  try {
    for await (const chunk of gunzip) yield chunk as Buffer;
  } catch (error) {
    if (error instanceof TraceError) throw error;
    throw fail(
      path,
      `is a damaged gzip file (${(error as Error).message})`,
      'Copy it again; the copy may have been cut off.',
      error,
    );
  }
}

/** Ctrl-C ends the writer of a pipe as well, and what that still wrote is read; a reader left waiting gives up. */
const GRACE_MS = 500;

/** What a stream holds, until its end or until whoever waits for it has had enough. */
async function* readable(stream: Readable, path: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
  let timer: NodeJS.Timeout | undefined;
  const stop = () => {
    timer = setTimeout(() => stream.destroy(interrupted(path)), GRACE_MS);
  };
  if (signal?.aborted) stop();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (error) {
    throw error instanceof TraceError ? error : fail(path, reasonOf(error), remedyOf(error), error);
  } finally {
    signal?.removeEventListener('abort', stop);
    clearTimeout(timer);
  }
}

/** Packed or not, told by the first bytes: a pipe cannot be read twice. */
async function* unpacked(chunks: AsyncGenerator<Buffer>, path: string): AsyncGenerator<Buffer> {
  const first = await chunks.next();
  if (first.done) throw fail(path, 'is empty', 'Nothing was written to it.');
  const packed = packedBy(first.value);
  if (packed !== undefined)
    throw fail(
      path,
      `is packed by ${packed}`,
      `Unpack it first: ${packed} -dc${path === STDIN ? '' : ` ${path}`} | kubectl trace-svc explain -`,
    );
  const whole = (async function* () {
    yield first.value;
    yield* chunks;
  })();
  yield* isGzip(first.value) ? gunzip(whole, path) : whole;
}

/**
 * Zero bytes mean that this is no text, but for whole blocks of them among text: a file system leaves those where power was lost
 * before lines reached the disk, and a log that was truncated while its writer went on begins with them.
 */
function isBinary(head: Buffer): boolean {
  if (!head.includes(0)) return false;
  const text = head.toString('latin1').replace(/^\0+|\0+$|\0{8,}/g, '');
  return /[\0-\x08\x0e-\x1a\x1c-\x1f]/.test(text);
}

/** By the byte-order mark, as PowerShell's `>` and others write it. */
function encodingOf(head: Buffer): 'utf-16le' | 'utf-16be' | 'utf-8' {
  if (head[0] === 0xff && head[1] === 0xfe) return 'utf-16le';
  return head[0] === 0xfe && head[1] === 0xff ? 'utf-16be' : 'utf-8';
}

/** UTF-8 or UTF-16 as characters. */
async function* decode(stream: Readable, path: string, signal?: AbortSignal): AsyncGenerator<string> {
  let decoder: TextDecoder | undefined;
  let ascii = true;
  for await (const chunk of unpacked(readable(stream, path, signal), path)) {
    if (!decoder) {
      const encoding = encodingOf(chunk);
      if (encoding === 'utf-8' && isBinary(chunk.subarray(0, 65_536)))
        throw fail(
          path,
          'is not text but binary',
          'explain reads text: kernel logs, nft monitor trace, xtables-monitor, or a saved capture.',
        );
      decoder = new TextDecoder(encoding);
      ascii = encoding === 'utf-8';
    }
    // Kernel logs are ASCII: a byte is a character then, and no decoder is needed until the first one that is more.
    ascii = ascii && isAscii(chunk);
    yield ascii ? chunk.toString('latin1') : decoder.decode(chunk, { stream: true });
  }
  const rest = decoder?.decode();
  if (rest) yield rest;
}

function interrupted(path: string): TraceError {
  return new TraceError('interrupted', `${path} was not read to its end`);
}

function fail(path: string, what: string, remedy: string, cause?: unknown): TraceError {
  return new TraceError('usage', `${path} ${what}`, remedy, cause);
}

function reasonOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
      return 'does not exist';
    case 'EACCES':
    case 'EPERM':
      return 'cannot be read: permission denied';
    case 'EISDIR':
      return 'is a directory';
    case 'ENOTDIR':
      return 'does not exist: a part of the path is a file';
    case 'ENOSPC':
      return 'no space left on the disk';
    default:
      return `cannot be read: ${(error as Error).message}`;
  }
}

function remedyOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case 'EACCES':
    case 'EPERM':
      return 'Kernel logs are often for root only: try sudo, or copy the file.';
    default:
      return 'Check the spelling and the folder.';
  }
}
