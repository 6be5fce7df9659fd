/** Words of others on their way to a shell: this machine's sh gets them, and must see words and nothing else. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { agentEnvironment } from '../../src/plan/agent.ts';
import { agentPod, probePod } from '../../src/plan/pods.ts';
import { udpProbe } from '../../src/plan/probes.ts';
import { nftCommands, rawRules } from '../../src/plan/rules.ts';
import { shellWord } from '../../src/plan/shell-word.ts';
import { readPodState } from '../../src/site/pods.ts';
import { HOSTILE } from '../render/arbitrary.ts';

/** A shell starts a process for each case: a hundredth of the other properties' cases, but fifty words a case. */
const RUNS = Math.ceil(Number(process.env.FC_RUNS ?? 1000) / 50);

let dir: string;
let canary: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  canary = join(dir, 'canary');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** Every way a word could make a shell do something; each would leave a file behind. */
const attacks = (file: string): string[] => [
  `$(touch ${file})`,
  `\`touch ${file}\``,
  `'; touch ${file}; '`,
  `"; touch ${file}; "`,
  `\\'; touch ${file}; #`,
  `x\ntouch ${file}\n`,
  `x & touch ${file} &`,
  `| touch ${file}`,
  `> ${file}`,
  `\${x:=\`touch ${file}\`}`,
  `*`,
  `~`,
  `$HOME`,
  `!!`,
  `-n`,
  `--`,
  `\\`,
  `'`,
  `a'b"c\\d`,
  '\u001b[2J',
  '\u202e',
  'x'.repeat(65_536),
  ...HOSTILE,
];

const word = () =>
  fc
    .oneof(fc.constantFrom(...attacks(canary)), fc.string({ unit: 'binary', maxLength: 40 }))
    // An argument ends at a zero byte, and lone surrogates are no bytes at all.
    .map(text => Buffer.from(text.replaceAll('\0', '')).toString());

const SHELLS = ['sh', 'bash', 'dash', 'busybox'].filter(
  shell => spawnSync(shell, shell === 'busybox' ? ['sh', '-c', ':'] : ['-c', ':']).status === 0,
);

/** By a file, as a command line has no room for long words. */
function runShell(shell: string, script: string, env: Record<string, string> = {}, args: string[] = []) {
  const file = join(dir, 'script');
  writeFileSync(file, script);
  const ran = spawnSync(shell, shell === 'busybox' ? ['sh', file, ...args] : [file, ...args], {
    cwd: dir,
    env: { PATH: process.env.PATH ?? '', ...env },
    maxBuffer: 1 << 26,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  rmSync(file);
  return ran;
}

describe.each(SHELLS)('%s', shell => {
  it('gets every word back as it was', () => {
    fc.assert(
      fc.property(fc.array(word(), { minLength: 1, maxLength: 50 }), words => {
        const printed = runShell(shell, `printf '%s\\0' ${words.map(shellWord).join(' ')}`);
        expect(printed.stderr.toString()).toBe('');
        expect(printed.stdout.toString('utf8').split('\0').slice(0, -1)).toEqual(words);
      }),
      { numRuns: RUNS },
    );
    expect(readdirSync(dir)).toEqual([]);
  });

  it('sends exactly the bytes of --data', () => {
    fc.assert(
      fc.property(word(), text => {
        // Four letters a byte, and an argument has 128 KiB at most (MAX_ARG_STRLEN).
        const data = text.slice(0, 8000);
        const [, , , , payload = ''] = udpProbe('10.96.0.1', 8080, data, 1).argv;
        // The script's own way of writing it: `printf "$1"`.
        const sent = runShell(shell, 'printf "$1"', {}, [payload]);
        expect(sent.stdout.equals(Buffer.from(data))).toBe(true);
      }),
      { numRuns: RUNS },
    );
    expect(existsSync(canary)).toBe(false);
  });
});

/** As kubelet reads a command and an environment (third_party/forked/golang/expansion/expand.go). */
function expanded(text: string, known: Record<string, string>): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (whole, name?: string) =>
    whole === '$$' ? '$' : (known[name ?? ''] ?? whole),
  );
}

describe('a pod', () => {
  const order = {
    run: 'abc',
    namespace: 'default',
    forced: false,
    seconds: 60,
    image: 'x',
    pullPolicy: 'Always' as const,
    pullSecrets: [],
  };

  it('gets its script as it is, whatever dollars are in it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('$', '$$', '(', ')', '$(TS_RUN)', '{x}', 'a', '\n'), { maxLength: 40 }),
        parts => {
          const script = parts.join('');
          const pod = agentPod({ ...order, script, log: 'auto', lock: false }) as never as {
            spec: { containers: { env: { name: string; value: string }[] }[] };
          };
          const given = pod.spec.containers[0]?.env.find(({ name }) => name === 'TS_AGENT')?.value ?? '';
          expect(expanded(given, { TS_RUN: 'expanded' })).toBe(script);
        },
      ),
    );
  });

  it('that waits is one that a shell can be given', () => {
    const pod = probePod(order) as never as { spec: { containers: { command: string[] }[] } };
    const script = pod.spec.containers[0]?.command[2] ?? '';
    expect(runShell('sh', `sh -n -c ${shellWord(expanded(script, {}))}`).status).toBe(0);
  });
});

describe('what the API server says of a pod', () => {
  it.each([
    '10.0.0.1; touch x',
    '$(id)',
    '*',
    '10.0.0.1 10.0.0.2',
    '10.0.0.1\n4 PREROUTING -j DROP',
    '',
    '1.2',
    '010.0.0.1',
  ])('%j is no address, and goes nowhere', ip => {
    const state = readPodState({ status: { podIPs: [{ ip: '10.244.1.7' }, { ip }], hostIP: ip } }, 'probe');
    expect([state.ips, state.hostIps]).toEqual([['10.244.1.7'], []]);
  });
});

describe('rules', () => {
  it('are words of letters, digits and a few signs, whatever is asked for', () => {
    const scope = { run: 'abc123', podIps: ['10.244.1.7', 'fd00::7'], ports: [{ protocol: 'tcp' as const, port: 80 }] };
    for (const busy of [true, false])
      for (const line of [...rawRules({ ...scope, busy }), ...nftCommands({ ...scope, busy })])
        expect(line).toMatch(/^[\w .:/@{};=<!-]+$/);
  });
});

describe('the node agent', () => {
  const SCRIPT = readFileSync(new URL('../../plugin/node-agent.sh', import.meta.url), 'utf8');

  it.each(SHELLS)('runs nothing of its environment, under %s', shell => {
    for (const attack of attacks(canary).map(text => text.replaceAll('\0', ''))) {
      const order = { run: 'abc', podIps: [attack], ports: [] };
      const env = agentEnvironment({
        scope: { ...order, podIps: ['10.244.1.7'] },
        seconds: 5,
        method: 'raw',
        log: 'none',
        service: attack,
        targets: [attack],
      });
      // Only its evidence is gathered; the programs of the node are not there.
      const story = SCRIPT.replace(
        /^case \$TS_ROLE in[\s\S]*$/m,
        'mkdir -p "$dir"; routes; is_long rules; own_chains; own_nft_chains; passed_on nflog p . 5',
      );
      const out = runShell(shell, story, {
        ...env,
        TS_PODS: attack,
        PATH: '/nonexistent:/bin:/usr/bin',
        TMPDIR: dir,
        TS_ROLE: attack,
      });
      expect([attack, existsSync(canary), out.status === null]).toEqual([attack, false, false]);
    }
  });
});
