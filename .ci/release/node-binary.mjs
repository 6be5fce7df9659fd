/** The Node that goes into an archive: fetched by npm once, kept in the user's cache, and held to the sums of platforms.mjs. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { NODE_VERSION, ownPlatform, pairOf } from './platforms.mjs';
import { readTarGz } from './tar.mjs';

const CACHE = join(
  process.env.XDG_CACHE_HOME || join(homedir(), '.cache'),
  'trace-svc-release',
  `node-${NODE_VERSION}`,
);

/** @throws Error where npm cannot fetch the package, or what came is not what was pinned */
export function nodeBinary(platform) {
  return cached(
    `${pairOf(platform)}-node`,
    data => sha256(data) === platform.sha256,
    () => {
      const name = platform.os === 'windows' ? 'package/bin/node.exe' : 'package/bin/node';
      return entryOf(platform, name);
    },
  );
}

/** Node's licence, with those of all it is made of. */
export function nodeLicence(platform) {
  return cached(
    'LICENSE',
    () => true,
    () => entryOf(platform, 'package/LICENSE'),
  );
}

/** The path of a Node that runs here, of the released version. */
export function ownNode() {
  const platform = ownPlatform();
  nodeBinary(platform);
  const path = join(CACHE, `${pairOf(platform)}-node`);
  chmodSync(path, 0o755);
  return path;
}

export function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}

function cached(name, isRight, make) {
  const path = join(CACHE, name);
  if (existsSync(path)) {
    const data = readFileSync(path);
    if (isRight(data)) return data;
  }
  const data = make();
  if (!isRight(data)) throw new Error(`${name} is not the one that was pinned: sha256 ${sha256(data)}`);
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(`${path}.${process.pid}`, data);
  renameSync(`${path}.${process.pid}`, path);
  return data;
}

function entryOf(platform, path) {
  for (const entry of readTarGz(fetchPackage(platform))) if (entry.path === path) return entry.data;
  throw new Error(`${platform.package} has no ${path}`);
}

/** Through npm, so that a mirror or a proxy that npm is set up for is used here as well. */
function fetchPackage({ package: name, integrity }) {
  const spec = `${name}@${NODE_VERSION}`;
  mkdirSync(CACHE, { recursive: true });
  const file = join(CACHE, `${name}-${NODE_VERSION}.tgz`);
  if (!existsSync(file)) {
    process.stderr.write(`release: npm pack ${spec}\n`);
    const args = ['pack', '--silent', '--pack-destination', CACHE, spec];
    execFileSync('npm', args, { stdio: ['ignore', 'ignore', 'inherit'], shell: process.platform === 'win32' });
  }
  const data = readFileSync(file);
  const found = `sha512-${createHash('sha512').update(data).digest('base64')}`;
  if (found !== integrity)
    throw new Error(`${file} is not the one that was pinned: ${found}. Remove it and try again.`);
  return data;
}
