/** The built plugin as people run it: what it reads, what it refuses and how, what it prints where, and how it ends. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const PLUGIN = join(ROOT, 'plugin/kubectl-trace_svc');
const CAPTURES = join(ROOT, 'test/captures');

function newest(folder: string): number {
  return Math.max(
    ...readdirSync(folder, { withFileTypes: true }).map(entry => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? newest(path) : statSync(path).mtimeMs;
    }),
  );
}

let dir: string;

beforeAll(() => {
  const built = join(ROOT, 'dist/cli.cjs');
  if (!existsSync(built) || statSync(built).mtimeMs < newest(join(ROOT, 'src')))
    execFileSync(process.execPath, [join(ROOT, '.ci/build.mjs')], { cwd: ROOT });
  dir = mkdtempSync(join(tmpdir(), 'trace-svc-cli-'));
  // Another user must be able to come here and find what may not be read.
  chmodSync(dir, 0o755);
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(dir, name);
  writeFileSync(path, content);
  return path;
}

const capture = (path: string) => join(CAPTURES, path);
const KMSG = capture('legacy/web-curl/kmsg.txt');
const RULES = capture('legacy/web-curl/iptables-save.txt');
const OBJECTS = capture('legacy/objects.json');
const WITH = ['--rules', RULES, '--objects', OBJECTS];
const kmsg = readFileSync(KMSG, 'utf8');

interface Result {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

interface How {
  input?: string | Buffer;
  env?: Record<string, string>;
  uid?: number;
}

const PLAIN = { PATH: process.env.PATH ?? '', HOME: '/nonexistent' };

/** Whoever runs the plugin must be able to read it, and this checkout may lie where only its owner may look. */
function readableByAll(): string {
  const folder = join(dir, 'installed');
  for (const part of ['plugin', 'dist', 'package.json'])
    cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  return join(folder, 'plugin/kubectl-trace_svc');
}

function start(args: string[], { env = {}, uid }: How = {}): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [uid === undefined ? PLUGIN : readableByAll(), ...args], {
    env: { ...PLAIN, ...env },
    cwd: dir,
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
}

function ended(child: ChildProcessWithoutNullStreams): Promise<Result> {
  const result: Result = { code: null, signal: null, stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    result.stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    result.stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ ...result, code, signal }));
  });
}

function run(args: string[], how: How = {}): Promise<Result> {
  const child = start(args, how);
  // Who refuses its arguments does not wait for its input.
  child.stdin.on('error', () => {});
  child.stdin.end(how.input ?? '');
  return ended(child);
}

const explain = (args: string[], how?: How) => run(['explain', ...args], how);

describe('refused: one line that says what failed, one that says what to do, and nothing on standard output', () => {
  const rows: [string, () => string[], RegExp, RegExp, How?][] = [
    ['a file that is not there', () => [join(dir, 'none.log')], /none\.log does not exist/, /spelling/],
    ['a path through a file', () => [join(KMSG, 'x')], /does not exist: a part of the path is a file/, /spelling/],
    ['a directory', () => [CAPTURES], /captures is a directory/, /log file in it/],
    ['an empty file', () => [file('empty.log', '')], /empty\.log is empty/, /journalctl -k|dmesg/],
    ['empty standard input', () => ['-'], /standard input is empty/, /Nothing was written/],
    [
      'a binary file',
      () => [file('binary.log', Buffer.from([1, 2, 0, 3, 4]))],
      /binary\.log is not text but binary/,
      /explain reads text/,
    ],
    [
      'a binary on standard input',
      () => ['-'],
      /standard input is not text but binary/,
      /text/,
      { input: Buffer.from([0, 1, 2]) },
    ],
    [
      'packed by xz',
      () => [file('kern.log.xz', Buffer.from('fd377a585a000004e6d6b446', 'hex'))],
      /kern\.log\.xz is packed by xz/,
      /xz -dc .* \| kubectl trace-svc explain -/,
    ],
    [
      'packed by xz, on standard input',
      () => ['-'],
      /standard input is packed by xz/,
      /first: xz -dc \| kubectl/,
      { input: Buffer.from('fd377a585a000004e6d6b446', 'hex') },
    ],
    [
      'rules with a hole of zero bytes',
      () => [KMSG, '--rules', file('holed.txt', `*nat\n${'\0'.repeat(512)}\nCOMMIT\n`)],
      /holed\.txt is damaged: blocks of zero bytes/,
      /Take it again/,
    ],
    ['a device without an end', () => ['/dev/zero'], /\/dev\/zero is not text but binary/, /\/dev\/kmsg/],
    [
      'packed by zstd',
      () => [file('kern.log.zst', Buffer.from('28b52ffd2400010000', 'hex'))],
      /is packed by zstd/,
      /zstd -dc/,
    ],
    [
      'packed by bzip2',
      () => [file('kern.log.bz2', Buffer.from('425a68393141592653', 'hex'))],
      /is packed by bzip2/,
      /bzip2 -dc/,
    ],
    [
      'a gzip file that was cut off',
      () => [file('cut.gz', gzipSync(kmsg).subarray(0, 700))],
      /cut\.gz is a damaged gzip file/,
      /Copy it again/,
    ],
    [
      'a gzip file whose bytes were changed',
      () => {
        const bytes = gzipSync(kmsg);
        bytes.fill(0x55, 100, 140);
        return [file('changed.gz', bytes)];
      },
      /changed\.gz is a damaged gzip file/,
      /Copy it again/,
    ],
    [
      'a log without a TRACE line',
      () => [file('plain.log', '[ 1.000000] usb 1-1: new device\n')],
      /plain\.log holds no TRACE line/,
      /nf_log/,
    ],
    [
      'LOG lines instead of TRACE lines',
      () => [file('log.log', '[ 1.000000] IN=eth0 OUT= MAC= SRC=1.2.3.4 DST=5.6.7.8 LEN=60\n')],
      /holds no TRACE line: it looks like lines of a LOG rule/,
      /./,
    ],
    [
      'rules where the trace belongs',
      () => [RULES],
      /holds no TRACE line: it looks like iptables-save \(--rules\)/,
      /./,
    ],
    [
      'objects where the trace belongs',
      () => [OBJECTS],
      /holds no TRACE line: it looks like Kubernetes objects \(--objects\)/,
      /./,
    ],
    [
      'conntrack where the trace belongs',
      () => [capture('legacy/web-curl/conntrack.txt')],
      /it looks like conntrack output \(--conntrack\)/,
      /./,
    ],
    [
      'a ping where the trace belongs',
      () => [capture('legacy/web-ping/probe.out')],
      /it looks like the output of curl or ping \(--probe\)/,
      /./,
    ],
    [
      'standard input without a TRACE line',
      () => ['-'],
      /standard input holds no TRACE line/,
      /./,
      { input: 'nothing\n' },
    ],
    [
      'several files without one',
      () => [RULES, OBJECTS],
      /iptables-save\.txt, .*objects\.json holds? no TRACE line/,
      /./,
    ],
    [
      'a trace where rules belong',
      () => [KMSG, '--rules', KMSG],
      /--rules .*kmsg\.txt holds no rules: it looks like a kernel log with TRACE lines/,
      /iptables-save/,
    ],
    ['rules that are missing', () => [KMSG, '--rules', join(dir, 'none')], /none does not exist/, /spelling/],
    [
      'rules where objects belong',
      () => [KMSG, '--objects', RULES],
      /--objects .* is not JSON: it looks like iptables-save/,
      /kubectl get/,
    ],
    [
      'JSON that is no objects',
      () => [KMSG, '--objects', file('other.json', '{"a":1}')],
      /--objects .*other\.json holds no Services/,
      /kubectl get services,endpointslices,pods,nodes -A -o json/,
    ],
    [
      'objects that were cut off',
      () => [KMSG, '--objects', file('cut.json', '{"kind":"List","items":[')],
      /cut\.json is not JSON/,
      /kubectl get/,
    ],
    [
      'rules where conntrack belongs',
      () => [KMSG, '--conntrack', RULES],
      /--conntrack .* holds no entries of conntrack -L or -E: it looks like iptables-save/,
      /Give a file/,
    ],
    [
      'rules where a probe belongs',
      () => [KMSG, '--probe', RULES],
      /--probe .*: nothing in it is the output of curl or ping/,
      /curl \(with -w or -v\) or ping/,
    ],
    [
      'a saved capture that was cut off',
      () => [file('cut.trace.json', '{\n "apiVersion": "trace-svc/v1alpha1",\n "kind": "Capture",\n "traces": [')],
      /cut\.trace\.json is a damaged capture/,
      /--save/,
    ],
    [
      'a saved capture of another version',
      () => [file('v9.json', '{ "apiVersion": "trace-svc/v9", "kind": "Capture" }')],
      /capture of version trace-svc\/v9; this program reads trace-svc\/v1alpha1/,
      /version of kubectl-trace_svc/,
    ],
    [
      'a saved capture with a wrong part',
      () => [file('odd.json', '{ "apiVersion": "trace-svc/v1alpha1", "kind": "Capture", "traces": {} }')],
      /damaged capture: `?traces`? is not a list/,
      /--save/,
    ],
    [
      'two saved captures',
      () => {
        const one = file('one.json', '{ "apiVersion": "trace-svc/v1alpha1", "kind": "Capture" }');
        return [one, one];
      },
      /only one saved capture/,
      /Name one/,
    ],
    [
      'a pod IP that is none',
      () => [KMSG, '--pod-ip', 'web-0'],
      /--pod-ip "web-0" is not an IP address/,
      /kubectl get pod/,
    ],
    [
      'a format nobody knows',
      () => [KMSG, '-o', 'xml'],
      /-o "xml" is not a format/,
      /tree, wide, json, yaml, markdown/,
    ],
    ['a colour nobody knows', () => [KMSG, '--color', 'red'], /--color "red" is not known/, /auto, always or never/],
    ['standard input twice', () => ['-', '--rules', '-'], /standard input \(-\) can be read only once/, /Save one/],
    ['no file', () => [], /explain needs a file/, /dmesg \| kubectl trace-svc explain -/],
    ['--follow of two files', () => [KMSG, KMSG, '--follow'], /--follow follows one file/, /./],
    ['--follow of a file that is not there', () => [join(dir, 'never.log'), '--follow'], /never\.log/, /spelling/],
    [
      '--save where nobody may write',
      () => [KMSG, ...WITH, '--save', join(dir, 'no/such/dir/x.json')],
      /cannot write .*x\.json: does not exist/,
      /folder you may write to/,
    ],
    ['a flag nobody knows', () => [KMSG, '--ruls', RULES], /unknown option '--ruls'/, /--help/],
    ['a flag without its value', () => [KMSG, '--rules'], /argument missing/, /--help/],
  ];

  test.each(rows)('%s', async (_, args, message, remedy, how) => {
    const result = await explain(args(), how);
    const lines = result.stderr.split('\n');
    expect(result).toMatchObject({ code: 2, signal: null, stdout: '' });
    expect(lines.at(-1)).toBe('');
    expect(lines.length - 1, result.stderr).toBeLessThanOrEqual(2);
    expect(lines[0]).toMatch(/^error: /);
    expect(lines[0]).toMatch(message);
    expect(lines.filter(line => line.startsWith('error:'))).toHaveLength(1);
    expect(lines[1]).toMatch(/^ {2}\S/);
    expect(lines[1]).toMatch(remedy);
    expect(result.stderr).not.toMatch(/\n\s+at |node:internal|undefined/);
  });

  test.each<[string, string[], RegExp]>([
    ['a command nobody knows', ['explian'], /error: unknown command 'explian'/],
    ['a global flag nobody knows', ['--bogus'], /error: unknown option '--bogus'/],
  ])('%s', async (_, args, message) => {
    const result = await run(args);
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(message);
    expect(result.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2);
  });

  test('a file that may not be read', async () => {
    const path = file('secret.log', kmsg);
    chmodSync(path, 0o000);
    const result = await explain([path], process.getuid?.() === 0 ? { uid: 65_534 } : {});
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toMatch(/^error: .*secret\.log cannot be read: permission denied\n {2}.*sudo/);
    expect(result.stderr.trimEnd().split('\n')).toHaveLength(2);
  });

  test('words of the command line cannot steer the terminal', async () => {
    const result = await explain([`${dir}/\u001b[31mred\u009b\n`, '--pod-ip', '10.0.0.1']);
    expect(result.stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(result.code).toBe(2);
  });
});

describe('what is read', () => {
  /** The report without the names of the files it was read from. */
  const told = async (args: string[], how?: How) => {
    const { code, stdout, stderr } = await explain([...args, ...WITH, '-o', 'json'], how);
    expect(stderr).toBe('');
    const report = JSON.parse(stdout);
    const names = (value: string) => value.replace(/^[^:]*:(?=\d+$)/, '');
    for (const journey of report.journeys) for (const hop of journey.hops) hop.evidence = hop.evidence.map(names);
    for (const finding of report.findings)
      for (const evidence of finding.evidence) if (evidence.line) evidence.line = names(evidence.line);
    report.node.sources = [];
    return { code, report };
  };
  let plain: Awaited<ReturnType<typeof told>>;
  beforeAll(async () => {
    plain = await told([KMSG]);
  });

  test.each<[string, () => string | Buffer]>([
    ['gzip', () => gzipSync(kmsg)],
    ['several gzip files in one', () => Buffer.concat([gzipSync(kmsg.slice(0, 5000)), gzipSync(kmsg.slice(5000))])],
    ['CRLF', () => kmsg.replaceAll('\n', '\r\n')],
    ['a byte-order mark', () => `\ufeff${kmsg}`],
    ['UTF-16, as PowerShell writes it', () => Buffer.from(`\ufeff${kmsg}`, 'utf16le')],
    ['UTF-16, big end first', () => Buffer.from(`\ufeff${kmsg}`, 'utf16le').swap16()],
    ['UTF-16 and CRLF', () => Buffer.from(`\ufeff${kmsg.replaceAll('\n', '\r\n')}`, 'utf16le')],
    ['no newline at the end', () => kmsg.trimEnd()],
  ])('%s', async (name, content) => {
    expect(await told([file(`${name.replace(/\W/g, '-')}.log`, content())])).toEqual(plain);
  });

  test('a log with a hole of zero bytes, as a power loss leaves it: read, and said to be incomplete', async () => {
    const [first = '', ...rest] = kmsg.split(/(?<=\n)/);
    const holed = file('holed.log', `${first}${'\0'.repeat(4096)}${rest.join('')}`);
    const { code, stdout } = await explain([holed, ...WITH, '-o', 'json']);
    const { completeness, journeys } = JSON.parse(stdout);
    expect(completeness).toMatchObject({ complete: false, lost: 1, gaps: 0 });
    expect(completeness.reasons).toEqual([
      expect.stringMatching(/^holed\.log:2: 4096 zero bytes stand where lines were/),
    ]);
    expect([code, journeys.length]).toEqual([6, plain.report.journeys.length]);
  });

  test('standard input', async () => {
    expect(await told(['-'], { input: kmsg })).toEqual(plain);
  });

  test('standard input, UTF-16', async () => {
    expect(await told(['-'], { input: Buffer.from(`\ufeff${kmsg}`, 'utf16le') })).toEqual(plain);
  });

  test('rules on standard input', async () => {
    const { code, stdout } = await explain([KMSG, '--rules', '-', '--objects', OBJECTS, '-o', 'json'], {
      input: readFileSync(RULES),
    });
    expect(code).toBe(0);
    expect(JSON.parse(stdout).completeness).toMatchObject({ complete: true });
  });

  test('letters of two bytes at the seams of what is read at once', async () => {
    const noise = `${'ü'.repeat(200)}\n`.repeat(800);
    expect((await told([file('noise.log', noise + kmsg)])).report.findings).toEqual(
      plain.report.findings.map((finding: { evidence: { line?: string }[] }) => ({
        ...finding,
        evidence: finding.evidence.map(one => (one.line ? { ...one, line: String(Number(one.line) + 800) } : one)),
      })),
    );
  });

  test('half a line at the end is said to be half a line, or counted as lost; what was before it stands', async () => {
    const lines = kmsg.split('\n');
    const half = `${lines.slice(0, 40).join('\n')}\n${(lines[40] as string).slice(0, 80)}`;
    const { code, report } = await told([file('half.log', half)]);
    expect(code).toBe(6);
    expect(report.completeness.complete).toBe(false);
    expect(report.journeys[0].rewrites).toEqual(plain.report.journeys[0].rewrites);
  });

  test('several files at once', async () => {
    const { code, stdout } = await explain([KMSG, capture('legacy/web-ping/kmsg.txt'), ...WITH]);
    expect(code).toBe(0);
    expect(stdout).toContain('Where they part  nat KUBE-SERVICES rule 2');
  });

  test('two sources of the same packets', async () => {
    const at = (name: string) => capture(`nftables/web-curl/${name}`);
    const { code, stdout } = await explain([
      at('kmsg.txt'),
      at('nft-monitor.txt'),
      '--rules',
      at('nft-ruleset.txt'),
      '--objects',
      capture('nftables/objects.json'),
      '-o',
      'json',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout).node.backends).toEqual(['legacy', 'nft']);
  });

  test('a failure is a document too, where one was asked for', async () => {
    const { code, stdout, stderr } = await explain([join(dir, 'nowhere'), '-o', 'json']);
    expect(code).toBe(2);
    const { kind, error } = JSON.parse(stdout);
    expect(kind).toBe('Error');
    expect(stderr).toBe(`error: ${error.message}\n  ${error.remedy}\n`);
  });

  test('a pod nobody spoke to: who did is told', async () => {
    const { code, stdout, stderr } = await explain([KMSG, '--pod-ip', '192.0.2.1']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/no packet in the trace is from or to 192\.0\.2\.1\n.*10\.244\.1\.72/);
  });

  test('only what concerns the pod', async () => {
    const both = file('both.log', kmsg + readFileSync(capture('legacy/web-ping/kmsg.txt'), 'utf8'));
    const { stdout } = await explain([both, ...WITH, '--pod-ip', '10.244.1.74', '-o', 'json']);
    const report = JSON.parse(stdout);
    const kinds = report.probes.map((probe: { kind: string }) => probe.kind);
    expect(kinds).not.toContain('ping');
    expect(kinds).not.toEqual([]);
  });

  test('an empty error output of curl beside its output is no mistake', async () => {
    const probe = ['probe.cmd', 'probe.out', 'probe.err', 'probe.rc'].flatMap(name => [
      '--probe',
      capture(`legacy/web-curl/${name}`),
    ]);
    const { code, stdout, stderr } = await explain([KMSG, ...WITH, ...probe]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('answered with HTTP 200');
  });
});

describe('saved and replayed', () => {
  const at = (mode: string, name: string) => capture(`${mode}/${name}`);
  test.each<[string, string[]]>([
    ['legacy/web-curl', ['kmsg.txt']],
    ['nft/apiserver-curl', ['kmsg.txt', 'nft-monitor.txt', 'xtables-monitor.txt']],
    ['nftables/itplocal-curl', ['nft-monitor.txt']],
  ])('%s: the same report', async (name, traces) => {
    const saved = join(dir, `${name.replace('/', '-')}.json`);
    const rules = ['iptables-save.txt', 'nft-ruleset.txt']
      .filter(one => existsSync(at(name, one)))
      .flatMap(one => ['--rules', at(name, one)]);
    const args = [
      ...traces.map(one => at(name, one)),
      ...rules,
      '--objects',
      capture(`${name.split('/')[0]}/objects.json`),
      ...['probe.out', 'probe.err'].flatMap(one => ['--probe', at(name, one)]),
    ];
    const first = await explain([...args, '--save', saved, '-o', 'json']);
    expect(first.stderr).toBe(`saved: ${saved} (replay it with: kubectl trace-svc explain ${saved})\n`);
    const again = await explain([saved, '-o', 'json']);
    expect(again).toMatchObject({ code: first.code, stderr: '' });
    expect(JSON.parse(again.stdout)).toEqual(JSON.parse(first.stdout));
    const packed = await explain([
      file(`${name.replace('/', '-')}.json.gz`, gzipSync(readFileSync(saved))),
      '-o',
      'json',
    ]);
    expect(packed.stdout).toBe(again.stdout);
  });

  test('a saved capture may be told more', async () => {
    const saved = join(dir, 'bare.json');
    await explain([KMSG, '--save', saved]);
    const { code, stdout } = await explain([saved, ...WITH]);
    expect(code).toBe(0);
    expect(stdout).toContain('default/web:80');
  });

  test('-q says nothing of it', async () => {
    const { stderr } = await explain([KMSG, '--save', join(dir, 'quiet.json'), '-q']);
    expect(stderr).toBe('');
  });
});

describe('how it ends', () => {
  test.each<[string, number, string[]]>([
    ['answered', 0, [KMSG, ...WITH]],
    ['a ping that nobody could answer is no failure', 0, [capture('legacy/web-ping/kmsg.txt'), ...WITH]],
    ['the Service did not answer', 3, [capture('legacy/noep-curl/kmsg.txt'), ...WITH]],
    ['dropped', 3, [capture('legacy/itplocal-curl/kmsg.txt'), ...WITH]],
    [
      'the trace is not whole',
      6,
      [capture('nft/web-curl/xtables-monitor.txt'), '--rules', capture('nft/web-curl/iptables-save.txt')],
    ],
    [
      'what was found wins over what is missing',
      3,
      [
        capture('nft/noep-curl/nft-monitor.txt'),
        capture('nft/noep-curl/xtables-monitor.txt'),
        '--rules',
        capture('nft/noep-curl/iptables-save.txt'),
        '--objects',
        capture('nft/objects.json'),
      ],
    ],
  ])('%s: %d', async (_, code, args) => {
    const result = await explain(args);
    expect(result).toMatchObject({ code, signal: null, stderr: '' });
    expect(result.stdout).not.toBe('');
  });

  test.each(['tree', 'wide', 'json', 'yaml', 'markdown'])('-o %s ends with the same code', async format => {
    expect((await explain([capture('legacy/noep-curl/kmsg.txt'), ...WITH, '-o', format])).code).toBe(3);
  });

  test('a reader that has seen enough leaves no error behind', async () => {
    const child = start(['explain', KMSG, ...WITH, '-o', 'json']);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    // The way `head -1` does it: take some, close.
    child.stdout.once('data', () => child.stdout.destroy());
    const signal = await new Promise(resolve => child.on('close', (_, killed) => resolve(killed)));
    expect({ stderr, signal }).toEqual({ stderr: '', signal: null });
  });

  test('the same through a shell', () => {
    const quoted = [process.execPath, PLUGIN, 'explain', KMSG, '-o', 'json'].map(word => `'${word}'`).join(' ');
    const stdout = execFileSync('sh', ['-c', `${quoted} 2>'${join(dir, 'pipe.err')}' | head -1`], {
      encoding: 'utf8',
      env: PLAIN,
    });
    expect(stdout).toBe('{\n');
    expect(readFileSync(join(dir, 'pipe.err'), 'utf8')).toBe('');
  });

  test('help and version go to standard output and are no failure', async () => {
    for (const args of [['--help'], ['explain', '--help'], ['--version']]) {
      const result = await run(args);
      expect(result).toMatchObject({ code: 0, stderr: '' });
      expect(result.stdout.length).toBeGreaterThan(4);
    }
    expect((await run(['--version'])).stdout).toBe(
      `${JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version}\n`,
    );
    const help = await run(['explain', '--help']);
    for (const flag of [
      '--rules',
      '--objects',
      '--conntrack',
      '--probe',
      '--pod-ip',
      '--follow',
      '--output',
      '--save',
      '--color',
    ])
      expect(help.stdout).toContain(flag);
    // An example is one command, however long.
    for (const line of help.stdout.split('\n').filter(one => !one.startsWith('  kubectl')))
      expect(line.length, line).toBeLessThanOrEqual(100);
  });
});

describe('colour', () => {
  const ESC = '\u001b[';
  test.each<[string, string[], Record<string, string>, boolean]>([
    ['nobody is looking', [], {}, false],
    ['--color always', ['--color', 'always'], {}, true],
    ['--color never wins over FORCE_COLOR', ['--color', 'never'], { FORCE_COLOR: '1' }, false],
    ['--color always wins over NO_COLOR', ['--color', 'always'], { NO_COLOR: '1' }, true],
    ['FORCE_COLOR', [], { FORCE_COLOR: '1' }, true],
    ['FORCE_COLOR=0', [], { FORCE_COLOR: '0' }, false],
    ['NO_COLOR wins over FORCE_COLOR', [], { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
    ['an empty NO_COLOR says nothing', [], { NO_COLOR: '', FORCE_COLOR: '1' }, true],
  ])('%s', async (_, args, env, coloured) => {
    const { stdout } = await explain([KMSG, ...args], { env });
    expect(stdout.includes(ESC)).toBe(coloured);
  });

  test('never in JSON, YAML or Markdown', async () => {
    for (const format of ['json', 'yaml', 'markdown'])
      expect((await explain([KMSG, '--color', 'always', '-o', format])).stdout).not.toContain(ESC);
  });
});

describe('--follow', () => {
  /** Resolves when everything printed so far holds the text; the child's own end is an error then. */
  function reader(child: ChildProcessWithoutNullStreams) {
    let all = '';
    const listeners = new Set<() => void>();
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      all += text;
      for (const listener of listeners) listener();
    });
    return {
      has: (text: string) =>
        new Promise<string>((resolve, reject) => {
          const look = () => {
            if (!all.includes(text)) return;
            listeners.delete(look);
            resolve(all);
          };
          listeners.add(look);
          child.once('close', () => reject(new Error(`ended before it said ${text}:\n${all}`)));
          look();
        }),
    };
  }

  test('tells every batch of lines when it has come to rest, also after the file was rotated', async () => {
    const path = file('grows.log', kmsg);
    const child = start(['explain', path, '--follow', ...WITH]);
    const out = reader(child);
    const end = ended(child);
    await out.has('default/web:80 answered');
    appendFileSync(path, readFileSync(capture('legacy/noep-curl/kmsg.txt')));
    await out.has('default/noep:80 was rejected');
    renameSync(path, `${path}.1`);
    writeFileSync(path, readFileSync(capture('legacy/web-ping/kmsg.txt')));
    await out.has('ping 10.96.164.231');
    child.kill('SIGINT');
    expect(await end).toMatchObject({ code: 130, stderr: '' });
  });

  test('a line that comes in two pieces is one line', async () => {
    const path = file('pieces.log', '');
    const lines = kmsg.trimEnd().split('\n');
    const child = start(['explain', path, '--follow', ...WITH, '-o', 'json']);
    const out = reader(child);
    const end = ended(child);
    const half = kmsg.indexOf('TRACE', 4000) + 3;
    appendFileSync(path, kmsg.slice(0, half));
    appendFileSync(path, kmsg.slice(half));
    const all = await out.has(`"events": ${lines.length}`);
    expect(all).toContain('"unrecognised": {\n      "count": 0');
    child.kill('SIGTERM');
    expect((await end).code).toBe(143);
  });

  test('standard input ends by itself', async () => {
    const result = await explain(['-', '--follow', ...WITH], { input: kmsg });
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toContain('default/web:80 answered');
  });

  test('nothing to tell is told by nothing', async () => {
    const path = file('silent.log', 'no trace here\n');
    const child = start(['explain', path, '--follow']);
    const end = ended(child);
    await new Promise<void>(resolve => child.once('spawn', () => resolve()));
    child.kill('SIGINT');
    const result = await end;
    expect(result.stdout).toBe('');
    expect(result.stderr).toBe('');
  });
});

describe('pipes', () => {
  const fifo = (name: string): string => {
    const path = join(dir, name);
    execFileSync('mkfifo', [path]);
    return path;
  };

  test('a named one is read like a file, also where it is packed', async () => {
    const path = fifo('pipe');
    const end = ended(start(['explain', path, ...WITH]));
    execFileSync('sh', ['-c', `gzip -c '${KMSG}' >'${path}'`]);
    const result = await end;
    expect(result).toMatchObject({ code: 0, stderr: '' });
    expect(result.stdout).toContain('default/web:80 answered');
  });

  test('gzip on standard input', async () => {
    expect((await explain(['-', ...WITH], { input: gzipSync(kmsg) })).stdout).toContain('default/web:80 answered');
  });

  test.each<[string, () => string, NodeJS.Signals, number]>([
    ['a named one that nobody writes to', () => fifo('silent-pipe'), 'SIGINT', 130],
    ['standard input that stays open', () => '-', 'SIGTERM', 143],
  ])('a signal ends the waiting for %s', async (_, path, signal, code) => {
    const child = start(['explain', path()]);
    const end = ended(child);
    await new Promise(resolve => setTimeout(resolve, 700));
    child.kill(signal);
    expect(await end).toMatchObject({ code, stdout: '', stderr: 'interrupted; cleaned up\n' });
  });
});

describe('the lab on a machine that cannot run it', () => {
  test.each([
    [['lab', '--recorded'], {}, 0],
    [['lab', 'no-endpoints', '--recorded'], {}, 3],
    [['lab', 'no-endpoints', '--mode', 'legacy'], { env: { PATH: '/nonexistent' } }, 3],
  ] as [string[], How, number][])('%j replays', async (args, how, code) => {
    const result = await run(args, how);
    expect(result.stderr).toContain('replaying a recorded run');
    expect(result.stdout).toContain('not on this machine');
    expect(result.code).toBe(code);
  });
});
