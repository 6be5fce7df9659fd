/** What the documents say is held against the program: commands, flags, links, exit codes, findings, outputs. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, test } from 'vitest';
import { EXIT } from '../src/errors.ts';
import { SCENARIOS } from '../src/lab/scenarios.ts';
import { EXPECTED } from './support/expected.ts';
import { PLUGIN } from './support/lab.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const PAGES = pagesUnder('.');

function pagesUnder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap(entry => {
    const path = folder === '.' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) return /^(node_modules|dist|coverage|\.git)$/.test(entry.name) ? [] : pagesUnder(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** Every page but captures' own notes, with code and what stands in backticks left out. */
function proseOf(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, '').replace(/`[^`\n]*`/g, '``');
}

describe('links', () => {
  test.each(PAGES)('of %s lead somewhere', page => {
    const links = [...proseOf(read(page)).matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)].map(([, to = '']) => to);
    const broken = links.filter(to => !/^(https?:|mailto:)/.test(to) && !leadsSomewhere(page, to));
    expect(broken).toEqual([]);
  });

  test('every page of docs is linked from somewhere', () => {
    const all = PAGES.map(page => `${page}\n${read(page)}`).join('\n');
    const pages = PAGES.filter(page => /^docs\/[^/]+$/.test(page)).map(page => page.slice('docs/'.length));
    expect(pages.filter(page => !new RegExp(`\\]\\((docs/|\\.\\./)?${page}[)#]`).test(all))).toEqual([]);
  });
});

function leadsSomewhere(page: string, to: string): boolean {
  const [path = '', anchor] = to.split('#');
  const target = path === '' ? page : join(dirname(page), decodeURIComponent(path));
  if (!existsSync(join(ROOT, target))) return false;
  return anchor === undefined || anchorsOf(read(target)).includes(anchor);
}

/** As GitHub makes them of headings. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

describe('findings', () => {
  const source = read('src/model/report.ts');
  const union = /export type FindingKind =([\s\S]*?);/.exec(source)?.[1] ?? '';
  const kinds = [...union.matchAll(/'(\w+)'/g)].map(([, kind]) => kind as string);
  const list = read('docs/findings/README.md');

  it('are many', () => expect(kinds.length).toBeGreaterThan(20));

  test.each(kinds)('%s has a page, and the list names it', kind => {
    expect(read(`docs/findings/${kind}.md`)).toMatch(new RegExp(`^# ${kind}\n\nSeverity: \\w+`));
    expect(list).toContain(`[${kind}](${kind}.md)`);
  });

  test('the list names no other', () => {
    const listed = [...list.matchAll(/^\| \[(\w+)\]/gm)].map(([, kind]) => kind);
    expect(listed.sort()).toEqual([...kinds].sort());
  });
});

test('the page of exit codes has those of the program, and no other', () => {
  const listed = [...read('docs/exit-codes.md').matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code));
  const ended = [...read('src/cli.ts').matchAll(/process\.exit\((\d+)\)/g)].map(([, code]) => Number(code));
  expect(listed).toEqual([...Object.values(EXIT), ...ended].sort((a, b) => a - b));
});

test('the page of the lab has every scenario with its findings and its exit code', () => {
  const rows = [...read('docs/lab.md').matchAll(/^\| ([\w-]+) \| [^|]+ \| ([\w, ]+) \| (\d) \|$/gm)];
  const listed = Object.fromEntries(
    rows.map(([, name = '', findings = '', code]) => [name, { code: Number(code), findings: findings.split(', ') }]),
  );
  const wanted = SCENARIOS.map(({ name }) => [
    name,
    { code: EXPECTED[name]?.code, findings: EXPECTED[name]?.findings },
  ]);
  expect(listed).toEqual(Object.fromEntries(wanted));
});

test('package.json and the changelog tell of the same version', () => {
  const { version } = JSON.parse(read('package.json'));
  const newest = /^## \[([^\]]+)\]/m.exec(read('CHANGELOG.md'))?.[1];
  expect([version, 'Unreleased']).toContain(newest);
});

// ---- commands -------------------------------------------------------------------------------------------------------

/** What is still being built carries this mark in front of its paragraph or block, until somebody has checked it. */
const UNCHECKED = /<!-- live: check -->\n(?:```[\s\S]*?\n```|(?:.+\n?)+)/g;

/** Every line of a shell block that runs the plugin or npm. */
function commandsOf(page: string): string[][] {
  const text = read(page).replace(UNCHECKED, '');
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)]
    .flatMap(([, block = '']) => block.split('\n'))
    .flatMap(line => /(?:kubectl trace-svc|npm (?:run|test))[^|>#]*/.exec(line)?.[0] ?? [])
    .map(command => command.trim().split(/\s+/));
}

function help(...command: string[]): string {
  return execFileSync(process.execPath, [PLUGIN, ...command, '--help'], { encoding: 'utf8' });
}

const commands = new Map(
  [...help().matchAll(/^ {2}(\w+)(?: \[options\])?(?: [[<].*?[\]>])* {2,}\S/gm)]
    .map(([, name]) => name as string)
    .map(name => [name, name === 'help' ? '' : help(name)] as const),
);
const scripts = JSON.parse(read('package.json')).scripts as Record<string, string>;

const COMMANDS = ['README.md', 'CONTRIBUTING.md', 'SECURITY.md', ...PAGES.filter(page => page.startsWith('docs/'))]
  .flatMap(page => commandsOf(page).map(words => [page, words] as const))
  .map(([page, words]) => ({ page, words, text: words.join(' ') }));

describe('commands', () => {
  it('are many', () => expect(COMMANDS.length).toBeGreaterThan(20));

  test.each(COMMANDS)('$page: $text', ({ words }) => {
    if (words[0] === 'npm') expectScript(words);
    else expectCommand(words.slice(2));
  });
});

function expectScript(words: string[]): void {
  const name = words[1] === 'test' ? 'test' : (words.find((word, i) => i > 1 && !word.startsWith('-')) ?? '');
  expect(Object.keys(scripts)).toContain(name);
  const after = words.indexOf('--');
  if (after >= 0) expectCommand([name, ...words.slice(after + 1)]);
}

function expectCommand(words: string[]): void {
  const [command = ''] = words;
  // Anything that is no command is a Service; with flags alone it is the API server's own.
  const text = commands.get(command) ?? (command === '' || /^(-|svc\/|web$)/.test(command) ? help() : undefined);
  expect(text, `there is no command ${command}`).toBeDefined();
  for (const flag of words.filter(word => /^--?[a-z]/.test(word)))
    expect(text).toMatch(new RegExp(`(^|[\\s,])${flag}(?![\\w-])`, 'm'));
  const scenario = words[1] ?? '-';
  if (command === 'lab' && !scenario.startsWith('-')) expect(SCENARIOS.map(({ name }) => name)).toContain(scenario);
}

// ---- outputs --------------------------------------------------------------------------------------------------------

const OUTPUT = /<!-- output: ([\w -]+?)(?:, (\d+) lines)? -->\n```text\n([\s\S]*?)```/g;

/** U=1 writes them anew: `U=1 npx vitest run --project unit test/docs.test.ts`. */
test("the README's outputs are what the program prints", () => {
  const text = read('README.md');
  const printed = text.replace(OUTPUT, (whole, command: string, lines: string | undefined, before: string) =>
    whole.replace(`\n\`\`\`text\n${before}`, () => `\n\`\`\`text\n${outputOf(command, lines)}`),
  );
  if (process.env.U === '1') writeFileSync(join(ROOT, 'README.md'), printed);
  else expect(text).toBe(printed);
});

function outputOf(command: string, lines: string | undefined): string {
  const { stdout } = spawnSync(process.execPath, [PLUGIN, ...command.split(' ')], { encoding: 'utf8' });
  return lines === undefined ? stdout : `${stdout.split('\n').slice(0, Number(lines)).join('\n')}\n`;
}
