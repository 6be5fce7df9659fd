/**
 * Runs every scenario of the lab on this machine and keeps what was gathered under plugin/recorded, for machines that cannot
 * run it: `lab SCENARIO --recorded`. Needs root, for the legacy tables are read by tcpdump. `npm run record`.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const plugin = fileURLToPath(new URL('../plugin/kubectl-trace_svc', import.meta.url));
const recorded = fileURLToPath(new URL('../plugin/recorded/', import.meta.url));
const names = process.argv.slice(2);

const folder = mkdtempSync(join(tmpdir(), 'trace-svc-record-'));
try {
  mkdirSync(recorded, { recursive: true });
  for (const name of names.length > 0 ? names : scenarios()) record(name);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function scenarios() {
  return lab(['--list'])
    .stdout.trimEnd()
    .split('\n')
    .map(line => line.split(' ')[0]);
}

function record(name) {
  const file = join(folder, `${name}.json`);
  const { stdout, stderr } = lab([name, '--mode', 'legacy', '-o', 'json', '--save', file]);
  if (stderr.includes('replaying')) throw new Error(`this machine cannot run the lab:\n${stderr}`);
  const { complete, reasons } = JSON.parse(stdout).completeness;
  if (!complete) throw new Error(`${name} is incomplete, run it again: ${reasons.join('; ')}`);
  const packed = pack(impersonal(JSON.parse(readFileSync(file, 'utf8'))));
  writeFileSync(join(recorded, `${name}.json.gz`), packed);
  process.stdout.write(`${name}: ${packed.length} bytes\n`);
}

/** Exit code 3 is what most scenarios are about: the Service did not answer. */
function lab(args) {
  const done = spawnSync(process.execPath, [plugin, 'lab', ...args], { encoding: 'utf8', maxBuffer: 1e8 });
  if (done.status !== 0 && done.status !== 3) throw new Error(`lab ${args.join(' ')}: ${done.stderr}`);
  return done;
}

/** What follows a kernel's version says who built it, and teaches nothing. */
function impersonal(capture) {
  const local = capture.node.kernel;
  const version = /^\d+(\.\d+)*/.exec(local)[0];
  return JSON.parse(JSON.stringify(capture).replaceAll(local, version));
}

/** Byte 9 of gzip's head names the system that packed it; the time is zero already. */
function pack(capture) {
  const packed = gzipSync(`${JSON.stringify(capture, undefined, 1)}\n`, { level: 9 });
  packed[9] = 255;
  return packed;
}
