/** Tar archives (ustar) that hold nothing but names, modes and contents: the same files are the same bytes, whoever packs them, and when. */
import { gunzipSync } from 'node:zlib';

const BLOCK = 512;

/** @param files {path, data: Buffer, mode}, paths of at most 100 bytes; krew unpacks regular files alone */
export function packTar(files) {
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  const blocks = sorted.flatMap(file => [headerOf(file), file.data, Buffer.alloc(padding(file.data.length))]);
  return Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
}

function headerOf({ path, data, mode }) {
  if (Buffer.byteLength(path) > 100) throw new Error(`${path} is too long a path for ustar`);
  const header = Buffer.alloc(BLOCK);
  header.write(path, 0);
  for (const [value, at, length] of [
    [mode, 100, 8],
    [0, 108, 8],
    [0, 116, 8],
    [data.length, 124, 12],
    [0, 136, 12],
  ])
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at);
  header.write('0', 156);
  header.write('ustar\x0000', 257);
  header.fill(' ', 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

function padding(length) {
  return (BLOCK - (length % BLOCK)) % BLOCK;
}

/** @returns {path, mode, type, data} of each entry of a .tar.gz; names longer than 100 bytes are not put together */
export function* readTarGz(packed) {
  const tar = gunzipSync(packed);
  for (let at = 0; at + BLOCK <= tar.length && tar[at] !== 0; ) {
    const text = (from, to) => tar.toString('latin1', at + from, at + to).replace(/\0.*$/s, '');
    const size = Number.parseInt(text(124, 136), 8);
    const data = tar.subarray(at + BLOCK, at + BLOCK + size);
    yield { path: text(0, 100), mode: Number.parseInt(text(100, 108), 8), type: text(156, 157) || '0', data };
    at += BLOCK + size + padding(size);
  }
}
