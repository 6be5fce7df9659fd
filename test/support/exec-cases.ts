/** What a command in a pod must come to, whoever runs it: the fake API server and a real cluster are held to the same table. */
import { expect } from 'vitest';
import type { Completed, RunOptions, Shell } from '../../src/ports.ts';

export interface ExecCase {
  name: string;
  argv: string[];
  options?: RunOptions;
  expect: Partial<Completed> | ((result: Completed) => void);
}

const sh = (script: string): string[] => ['sh', '-c', script];

export const EXEC_CASES: ExecCase[] = [
  { name: 'ends well', argv: ['true'], expect: { code: 0, stdout: '', stderr: '' } },
  { name: 'ends with 1', argv: ['false'], expect: { code: 1 } },
  { name: 'ends with a code of its own', argv: sh('exit 42'), expect: { code: 42 } },
  { name: 'a program the shell does not find', argv: sh('there-is-no-such-program'), expect: { code: 127 } },
  { name: 'a program the runtime does not find', argv: ['there-is-no-such-program'], expect: { code: 127 } },
  { name: 'ended by a signal', argv: sh('kill -9 $$'), expect: { code: 137 } },
  {
    name: 'its output and its errors, apart',
    argv: sh('echo one; echo two >&2; echo three; echo four >&2; exit 3'),
    expect: { code: 3, stdout: 'one\nthree\n', stderr: 'two\nfour\n' },
  },
  { name: 'a last line without its end', argv: ['printf', 'a\\nb'], expect: { stdout: 'a\nb\n' } },
  { name: 'empty lines', argv: ['printf', '\\n\\na\\n'], expect: { stdout: '\n\na\n' } },
  { name: 'letters of several bytes', argv: ['printf', 'grüß 日本 🙂\\n'], expect: { stdout: 'grüß 日本 🙂\n' } },
  {
    name: 'bytes that are no text',
    argv: ['printf', '\\377\\376\\000x\\n'],
    expect: { stdout: '\ufffd\ufffd\u0000x\n' },
  },
  {
    name: 'five million bytes, each line whole',
    argv: sh('i=0; while [ $i -lt 50 ]; do printf "%099999d\\n" $i; i=$((i+1)); done'),
    expect({ stdout, code }) {
      expect(code).toBe(0);
      const lines = stdout.split('\n').slice(0, -1);
      expect(lines.map(line => `${line.length}:${Number(line)}`)).toEqual(
        Array.from({ length: 50 }, (_, i) => `99999:${i}`),
      );
    },
  },
  {
    name: 'its input, echoed and closed',
    argv: ['cat'],
    options: { stdin: 'one\ntwo\n' },
    expect: { stdout: 'one\ntwo\n', code: 0 },
  },
  { name: 'an empty input', argv: ['cat'], options: { stdin: '' }, expect: { stdout: '', code: 0 } },
  { name: 'no input', argv: ['cat'], expect: { stdout: '', code: 0 } },
  {
    name: 'an environment, whatever is in it',
    argv: sh('printf "%s|" "$A" "$B"'),
    options: { env: { A: `a 'b' "c" $d \`e\` \\f`, B: 'x=y\nz' } },
    expect: { stdout: `a 'b' "c" $d \`e\` \\f|x=y\nz|\n` },
  },
  {
    name: 'arguments no shell looks at',
    argv: ['printf', '%s|', `$HOME`, '*', 'a b', '', '&?=+%'],
    expect: { stdout: '$HOME|*|a b||&?=+%|\n' },
  },
  { name: 'takes too long', argv: ['sleep', '100'], options: { timeoutMs: 300 }, expect: { code: 124 } },
];

export async function holdToCase(shell: Shell, { argv, options, expect: wanted }: ExecCase): Promise<void> {
  const result = await shell.run(argv, options);
  if (typeof wanted === 'function') wanted(result);
  else expect(result).toMatchObject(wanted);
}

/** A conversation: what is written is answered line by line, and the end of the input ends the command. */
export async function holdToConversation(shell: Shell): Promise<void> {
  const lines: string[] = [];
  const heard = new Map<string, () => void>();
  const running = shell.start(sh('while read -r line; do echo "got $line"; done; echo bye'), line => {
    lines.push(line);
    heard.get(line)?.();
  });
  for (const word of ['one', 'two']) {
    const answered = new Promise<void>(resolve => heard.set(`got ${word}`, resolve));
    running.write(`${word}\n`);
    await answered;
  }
  await running.stop();
  expect(lines).toEqual(['got one', 'got two', 'bye']);
  expect((await running.done).code).toBe(0);
}
