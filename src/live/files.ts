/** Files of the workstation: node:fs and node:zlib. Every way a file can be no text ends in one clear line. */
import { isAscii } from 'node:buffer';
import { closeSync, constants, createReadStream, openSync, readSync } from 'node:fs';
import { open, stat, writeFile } from 'node:fs/promises';
import { TextDecoder } from 'node:util';
import { createGunzip } from 'node:zlib';
import { TraceError } from '../errors.ts';
import type { Files } from '../ports.ts';

/** Larger pieces leave the processor's cache between being read and being cut into lines, and take twice as long. */
const CHUNK = 64 * 1024;

export function createFiles(stdin: NodeJS.ReadableStream): Files {
  const chunks = (path: string) =>
    path === '-' ? decode(stdin as AsyncIterable<Buffer>, 'standard input') : fileChunks(path);
  return {
    chunks,
    async read(path) {
      const parts: string[] = [];
      let length = 0;
      for await (const chunk of chunks(path)) {
        parts.push(chunk);
        length += chunk.length;
        if (length > MOST_TEXT)
          throw fail(
            path,
            `is larger than ${MOST_TEXT / 1024 / 1024} MiB`,
            'Name a smaller file: rules, objects and probe output of one node are far smaller.',
          );
      }
      return parts.join('');
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

async function* fileChunks(path: string): AsyncGenerator<string> {
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
  if (info.isCharacterDevice()) {
    yield* kernelRecords(path);
    return;
  }
  const head = await readHead(path);
  const packed = packedBy(head);
  if (packed !== undefined)
    throw fail(path, `is packed by ${packed}`, `Unpack it first: ${packed} -dc ${path} | kubectl trace-svc explain -`);
  const raw = createReadStream(path, { highWaterMark: CHUNK });
  yield* decode(isGzip(head) ? gunzip(raw, path) : raw, path);
}

/** /dev/kmsg gives one record a read, and EAGAIN at the end; EPIPE says that records were overwritten before they were read. */
async function* kernelRecords(path: string): AsyncGenerator<string> {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw fail(path, reasonOf(error), remedyOf(error), error);
  }
  try {
    const buffer = Buffer.alloc(8192);
    for (;;) {
      const text = readRecord(fd, buffer);
      if (text === undefined) return;
      yield text;
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

async function readHead(path: string): Promise<Buffer> {
  const handle = await open(path).catch(error => {
    throw fail(path, reasonOf(error), remedyOf(error), error);
  });
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(16), 0, 16, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
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

async function* gunzip(raw: NodeJS.ReadableStream, path: string): AsyncGenerator<Buffer> {
  const unpacked = raw.pipe(createGunzip({ chunkSize: CHUNK }));
  try {
    for await (const chunk of unpacked) yield chunk as Buffer;
  } catch (error) {
    throw fail(
      path,
      `is a damaged gzip file (${(error as Error).message})`,
      'Copy it again; the copy may have been cut off.',
      error,
    );
  }
}

/** UTF-8, or UTF-16 as PowerShell's `>` writes it. A zero byte means that this is no text at all. */
async function* decode(chunks: AsyncIterable<Buffer>, path: string): AsyncGenerator<string> {
  let decoder: TextDecoder | undefined;
  let ascii = true;
  let any = false;
  for await (const chunk of chunks) {
    if (!decoder) {
      const utf16 = chunk[0] === 0xff && chunk[1] === 0xfe;
      if (!utf16 && chunk.subarray(0, 65_536).includes(0))
        throw fail(
          path,
          'is not text but binary',
          'explain reads text: kernel logs, nft monitor trace, xtables-monitor, or a saved capture.',
        );
      decoder = new TextDecoder(utf16 ? 'utf-16le' : 'utf-8');
      ascii = !utf16;
    }
    any = true;
    // Kernel logs are ASCII: a byte is a character then, and no decoder is needed until the first one that is more.
    ascii = ascii && isAscii(chunk);
    yield ascii ? chunk.toString('latin1') : decoder.decode(chunk, { stream: true });
  }
  if (!any) throw fail(path, 'is empty', 'Nothing was written to it.');
  const rest = decoder?.decode();
  if (rest) yield rest;
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
