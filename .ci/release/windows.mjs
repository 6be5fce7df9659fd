/**
 * krew runs programs alone on Windows, no scripts. So there Node itself carries a few lines that start the program beside it (Node's
 * "single executable application"). The signature of Node's publisher ends with that, and is taken out: a broken one is worse than none.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'postject';
import { ownNode } from './node-binary.mjs';

/** The name of the fuse is fixed in Node (doc/api/single-executable-applications.md). */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/**
 * @param main text of a CommonJS script, run before anything else
 * @returns the program that runs it
 */
export async function withScript(node, main) {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-release-'));
  try {
    const blob = blobOf(main, folder);
    const program = join(folder, 'program.exe');
    writeFileSync(program, node.subarray(0, 2).toString() === 'MZ' ? withoutSignature(node) : node, { mode: 0o755 });
    await inject(program, 'NODE_SEA_BLOB', blob, { sentinelFuse: FUSE });
    return readFileSync(program);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Only the Node of the same version may make it. It holds no machine code, so it is the same for all platforms. */
function blobOf(main, folder) {
  const path = name => join(folder, name);
  writeFileSync(path('main.cjs'), main);
  const config = { main: 'main.cjs', output: 'blob', disableExperimentalSEAWarning: true };
  writeFileSync(path('config.json'), JSON.stringify(config));
  execFileSync(ownNode(), ['--experimental-sea-config', 'config.json'], { cwd: folder, stdio: 'pipe' });
  return readFileSync(path('blob'));
}

/** The certificate table is the fifth data directory of a PE32+ program, and lies at its end (Microsoft, "PE Format"). */
export function withoutSignature(program) {
  const copy = Buffer.from(program);
  const header = copy.readUInt32LE(0x3c);
  const entry = header + 24 + 112 + 4 * 8;
  const [at, size] = [copy.readUInt32LE(entry), copy.readUInt32LE(entry + 4)];
  if (at === 0) return copy;
  if (at + size !== copy.length) throw new Error('the signature does not lie at the end of the program');
  copy.fill(0, entry, entry + 8);
  return copy.subarray(0, at);
}
