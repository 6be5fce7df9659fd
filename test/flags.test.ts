/** docs/flags.md is what the commands have, and --help fits a terminal of 80 columns. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { type CommandShape, createProgram, type FlagShape, type Handlers, shapeOf } from '../src/commands.ts';

const PAGE = fileURLToPath(new URL('../docs/flags.md', import.meta.url));
const SRC = ['../src/request-live.ts', '../src/cli.ts'].map(path => new URL(path, import.meta.url));
const program = createProgram({} as Handlers);
const root = shapeOf(program);
const page = readFileSync(PAGE, 'utf8');

function table({ flags }: CommandShape): string {
  const rows = flags.map(flag => `| ${nameOf(flag)} | ${flag.about.replaceAll('|', '\\|')} |\n`);
  return `| flag | meaning |\n|---|---|\n${rows.join('')}`;
}

function nameOf({ long, short, takesValue }: FlagShape): string {
  const names = short === undefined ? `\`${long}\`` : `\`${short}\`, \`${long}\``;
  return takesValue ? `${names} …` : names;
}

/** U=1 writes them anew: `U=1 npx vitest run --project unit test/flags.test.ts`. */
test('every command and every flag is on the page', () => {
  const commands = [root, ...root.commands.filter(({ name }) => name !== 'help')];
  const found = [...page.matchAll(/<!-- flags: (.+) -->\n([\s\S]*?)(?=\n\n|\n*$)/g)];
  expect(found.map(([, name]) => name)).toEqual(commands.map(({ name }) => name));
  const tables = new Map(commands.map(one => [one.name, table(one)]));
  const printed = page.replace(
    /(<!-- flags: (.+) -->\n)[\s\S]*?(?=\n\n|\n*$)/g,
    (_, head: string, name: string) => `${head}${tables.get(name)?.trimEnd()}`,
  );
  if (process.env.U === '1') writeFileSync(PAGE, printed);
  else expect(page).toBe(printed);
});

test('every variable of the environment is on the page, and no other', () => {
  const variables = (text: string) => [...new Set(text.match(/KUBECTL_TRACE_SVC_[A-Z_]+/g))].sort();
  expect(variables(page)).toEqual(variables(SRC.map(path => readFileSync(path, 'utf8')).join('\n')));
});

describe('80 columns are enough for the help of', () => {
  const commands = [program, ...program.commands];
  test.each(commands.map(one => [one.name(), one] as const))('%s', (_, command) => {
    let text = '';
    const writeOut = (part: string) => {
      text += part;
    };
    command.configureOutput({ writeOut, getOutHelpWidth: () => 80 }).outputHelp();
    expect(text.split('\n').filter(line => line.length > 80)).toEqual([]);
    expect(text).toContain('Usage: kubectl trace-svc');
  });
});
