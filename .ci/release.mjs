/**
 * `npm run release`: the archives of all platforms, what is in them as an SBOM each, the manifest for krew with their sums, and the npm
 * package, in dist/release. The same commit gives the same bytes, on any day and in any folder (docs/release.md).
 *   --out FOLDER             another folder
 *   --only PAIR,…            of the archives only these, e.g. linux-amd64; no manifest then
 *   --repository OWNER/NAME  where the release will lie; $GITHUB_REPOSITORY
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { buildProgram } from './program.mjs';
import { botTemplate, krewManifest } from './release/krew.mjs';
import { noticesOf, packagesOf } from './release/licences.mjs';
import { nodeBinary, nodeLicence, sha256 } from './release/node-binary.mjs';
import { packNpm } from './release/npm-package.mjs';
import { NODE_VERSION, ownPlatform, PLATFORMS, pairOf, platformOf } from './release/platforms.mjs';
import { sbomOf } from './release/sbom.mjs';
import { packTar } from './release/tar.mjs';
import { withScript } from './release/windows.mjs';

const NAME = 'kubectl-trace_svc';
const RUN = 0o755;
const READ = 0o644;

const { values: flags } = parseArgs({
  options: { out: { type: 'string' }, only: { type: 'string' }, repository: { type: 'string' } },
});
const out = resolve(flags.out ?? fileURLToPath(new URL('../dist/release', import.meta.url)));
process.chdir(fileURLToPath(new URL('..', import.meta.url)));
const repository = flags.repository ?? process.env.GITHUB_REPOSITORY ?? 'OWNER/kubectl-trace-svc';
const platforms = flags.only === undefined ? PLATFORMS : flags.only.split(',').map(platformOf);
const manifest = JSON.parse(read('package.json'));

await main();

async function main() {
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  const { files, packages } = await programFiles();
  const sums = Object.fromEntries(await inPairs(platforms, platform => release(platform, files, packages)));
  npmPackage(files, packages);
  if (flags.only === undefined) {
    const template = read('krew-manifest.yaml').toString();
    write('trace-svc.yaml', krewManifest(template, { version: manifest.version, repository, sums }));
    write('krew-release-bot.yaml', botTemplate(template, repository));
  }
  writeSums();
}

/** What all platforms have in common. */
async function programFiles() {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-release-'));
  try {
    const packages = packagesOf(await buildProgram(folder));
    const bundles = readdirSync(folder).map(name => file(`dist/${name}`, readFileSync(join(folder, name))));
    const plugin = readdirSync('plugin', { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(entry => join(entry.parentPath, entry.name).replaceAll('\\', '/'))
      .map(path => file(path, read(path), path.startsWith('plugin/kubectl') ? RUN : READ));
    const texts = ['LICENSE', 'README.md', 'CHANGELOG.md'].map(path => file(path, read(path)));
    return { files: [...bundles, ...plugin, ...texts], packages };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @returns the pair and the sum of its archive */
async function release(platform, files, packages) {
  const pair = pairOf(platform);
  const node = nodeBinary(platform);
  const notices = noticesOf(packages, NODE_VERSION, nodeLicence(ownPlatform()));
  const all = [
    ...files,
    ...(await starters(platform, node)),
    file('package.json', read('package.json')),
    file('THIRD-PARTY-NOTICES', Buffer.from(notices)),
  ];
  const packed = await promisify(gzip)(packTar(all), { level: 9 });
  // Byte 9 of gzip's head names the system that packed it.
  packed[9] = 255;
  write(`${NAME}-v${manifest.version}-${pair}.tar.gz`, packed);
  const sbom = sbomOf(packages, manifest, { version: NODE_VERSION, sha256: platform.sha256 });
  write(`${NAME}-v${manifest.version}-${pair}.cdx.json`, sbom);
  process.stdout.write(`${pair}: ${(packed.length / 1e6).toFixed(1)} MB, sha256 ${sha256(packed)}\n`);
  return [pair, sha256(packed)];
}

async function starters({ os }, node) {
  const own = name => read(`.ci/release/${name}`);
  if (os === 'windows')
    return [
      file(`${NAME}.exe`, await withScript(node, own('exe.cjs')), RUN),
      file('kubectl_complete-trace_svc.cmd', own('complete.cmd')),
    ];
  return [
    file(NAME, own('launcher.sh'), RUN),
    file('kubectl_complete-trace_svc', own('complete.sh'), RUN),
    file('bin/node', node, RUN),
  ];
}

function npmPackage(files, packages) {
  const notices = file('THIRD-PARTY-NOTICES', Buffer.from(noticesOf(packages)));
  const name = packNpm(manifest, repository, [...files, notices], out);
  write(name.replace(/\.tgz$/, '.cdx.json'), sbomOf(packages, manifest));
  process.stdout.write(`npm: ${name}, sha256 ${sha256(readFileSync(join(out, name)))}\n`);
}

function writeSums() {
  const lines = readdirSync(out)
    .sort()
    .map(name => `${sha256(readFileSync(join(out, name)))}  ${name}\n`);
  write('SHA256SUMS', lines.join(''));
}

/** Two at a time: packing takes a core, and a whole Node has to be held in memory for each. */
async function inPairs(list, work) {
  const results = [];
  for (let i = 0; i < list.length; i += 2) results.push(...(await Promise.all(list.slice(i, i + 2).map(work))));
  return results;
}

function file(path, data, mode = READ) {
  return { path, data, mode };
}

function read(path) {
  return readFileSync(path);
}

function write(name, data) {
  writeFileSync(join(out, name), data);
}
