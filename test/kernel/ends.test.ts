/** However a lab ends, the machine is as it was: interrupted, killed, kept and cleaned up, told nonsense. */
import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MODES_HERE, startPlugin } from '../support/lab.ts';
import { fingerprint, ourProcesses, untilGone } from '../support/machine.ts';

let before: Record<string, string>;
beforeEach(() => {
  before = fingerprint();
});
afterEach(async () => {
  await startPlugin(['cleanup']).done;
});

interface Row {
  signal: NodeJS.Signals;
  /** What the run has said when the signal comes. */
  when: string;
  code: number | null;
}

const ROWS: Row[] = [
  { signal: 'SIGINT', when: 'building', code: 130 },
  { signal: 'SIGINT', when: 'tracing', code: 130 },
  { signal: 'SIGTERM', when: 'building', code: 143 },
  { signal: 'SIGTERM', when: 'tracing', code: 143 },
  { signal: 'SIGHUP', when: 'tracing', code: 129 },
  { signal: 'SIGKILL', when: 'building', code: null },
  { signal: 'SIGKILL', when: 'tracing', code: null },
];

for (const mode of MODES_HERE)
  describe(`a lab in mode ${mode}`, () => {
    for (const { signal, when, code } of ROWS)
      it(`leaves nothing after ${signal} while ${when}`, async () => {
        const run = startPlugin(['lab', 'no-endpoints', '--mode', mode]);
        await run.until(when);
        run.child.kill(signal);
        const ended = await run.done;
        await untilGone();
        expect(fingerprint()).toEqual(before);
        expect(ended.code).toBe(code);
      });
  });

describe('a kept lab', () => {
  it('is there until cleanup takes it away', async () => {
    const kept = await startPlugin(['lab', 'no-endpoints', '--mode', 'nft', '--keep']).done;
    expect(kept.stdout).toContain('Look around');
    expect(ourProcesses().length).toBeGreaterThan(0);

    const cleaned = await startPlugin(['cleanup']).done;
    await untilGone();
    expect(cleaned.stdout).toMatch(/^removed lab [0-9a-f]{8}$/m);
    expect(fingerprint()).toEqual(before);
  });

  it('can be looked around in, with the commands it names', async () => {
    const kept = await startPlugin(['lab', '--mode', 'nft', '--keep']).done;
    const commands = kept.stdout.split('\n').filter(line => /^ {2}nsenter .*(-t nat -S|conntrack -L|curl )/.test(line));
    expect(commands).toHaveLength(3);
    for (const command of commands) {
      const [program = '', ...args] = command.trim().split(' ');
      expect(execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })).not.toBe('');
    }
  });
});

describe('cleanup', () => {
  it('leaves a lab alone that is at work, and kept ones where another run is named', async () => {
    const kept = await startPlugin(['lab', 'no-endpoints', '--mode', 'nft', '--keep']).done;
    expect(kept.stdout).toContain('Look around');
    const named = await startPlugin(['cleanup', '--run', 'nobodys1']).done;
    expect(named.stdout).not.toMatch(/removed lab/);
    const atWork = startPlugin(['lab', 'no-endpoints', '--mode', 'nft']);
    await atWork.until('tracing');
    const all = await startPlugin(['cleanup']).done;
    expect(all.stdout.match(/^removed lab/gm)).toHaveLength(1);
    expect((await atWork.done).code).toBe(3);
    await untilGone();
    expect(fingerprint()).toEqual(before);
  });
});

describe('without root', () => {
  it.runIf(process.getuid?.() === 0)('runs in a user namespace', async () => {
    // Whoever we become must be able to read the program, wherever this checkout lies.
    const folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
    try {
      const root = fileURLToPath(new URL('../../', import.meta.url));
      for (const part of ['plugin', 'dist', 'package.json'])
        cpSync(join(root, part), join(folder, part), { recursive: true });
      chmodSync(folder, 0o755);
      const run = await startPlugin(['lab', '-o', 'json'], {
        uid: 65_534,
        plugin: join(folder, 'plugin/kubectl-trace_svc'),
        env: { PATH: process.env.PATH, HOME: '/nonexistent' },
      }).done;
      await untilGone();
      const report = JSON.parse(run.stdout);
      expect(report.findings[0].kind).toBe('ServiceAnswered');
      expect(report.notes.join(' ')).not.toContain('Recorded');
      expect(report.completeness.complete).toBe(true);
      expect(fingerprint()).toEqual(before);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
