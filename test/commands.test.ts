/** Which handler is called with which flags, wherever on the line they stand. */
import { describe, expect, test } from 'vitest';
import { createProgram, type Handlers } from '../src/commands.ts';

async function called(line: string): Promise<[string, unknown[]]> {
  let call: [string, unknown[]] = ['nothing', []];
  const note =
    (name: string) =>
    async (...args: unknown[]): Promise<void> => {
      call = [name, args];
    };
  const names = ['live', 'explain', 'lab', 'doctor', 'cleanup'];
  const handlers = Object.fromEntries(names.map(name => [name, note(name)])) as unknown as Handlers;
  await createProgram(handlers).parseAsync(line.split(' ').filter(Boolean), { from: 'user' });
  return call;
}

describe('flags hold for the command they stand before, or behind', () => {
  test.each<[string, string, unknown[]]>([
    ['', 'live', [[], {}]],
    ['web 80 -n shop', 'live', [['web', '80'], { namespace: 'shop' }]],
    ['-n shop svc/web', 'live', [['svc/web'], { namespace: 'shop' }]],
    ['cleanup --context prod', 'cleanup', [{ context: 'prod' }]],
    ['--context prod cleanup --run abcd', 'cleanup', [{ context: 'prod', run: 'abcd' }]],
    ['--context prod cleanup --context test', 'cleanup', [{ context: 'test' }]],
    ['--as jane --as-group a --as-group b doctor', 'doctor', [{ as: 'jane', asGroup: ['a', 'b'] }]],
    ['-o json doctor --all-nodes', 'doctor', [{ output: 'json', allNodes: true }]],
    ['-o json explain a b', 'explain', [['a', 'b'], { output: 'json' }]],
    ['-q lab healthy --keep', 'lab', ['healthy', { quiet: true, keep: true }]],
  ])('%s', async (line, name, args) => expect(await called(line)).toEqual([name, args]));
});
