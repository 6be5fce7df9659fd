/**
 * The import law, held: data reads downwards, pure folders know nothing of the machine, and the machine is met behind narrow
 * doors. A file that has to break it is in the wrong place.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import { describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

interface Import {
  /** A file of src, by its path from there without its ending; a `node:` module; or an npm package. */
  to: string;
  kind: 'file' | 'node' | 'npm';
  types: boolean;
}

function filesUnder(folder: string): string[] {
  return readdirSync(`${ROOT}${folder}`, { withFileTypes: true })
    .flatMap(entry => {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesUnder(path);
      return [path];
    })
    .sort();
}

function textOf(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8');
}

const FILES = filesUnder('src').filter(path => path.endsWith('.ts') && !path.endsWith('.d.ts'));
const nameOf = (path: string) => path.replace(/^src\//, '').replace(/\.ts$/, '');

/** Comments and what stands in quotes are words, not code; but an import's own quotes must stay. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

const STATEMENT = /^(?:import|export)\b(?:([^;'"]*?)\bfrom\s*)?\s*'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/gm;

function importsOf(path: string): Import[] {
  return [...withoutComments(textOf(path)).matchAll(STATEMENT)].map(([, clause, from, dynamic]) => {
    const spec = (from ?? dynamic) as string;
    const types = clause !== undefined && isTypeOnly(clause);
    if (spec.startsWith('.')) return { to: resolved(path, spec), kind: 'file', types };
    return { to: spec, kind: spec.startsWith('node:') ? 'node' : 'npm', types };
  });
}

function isTypeOnly(clause: string): boolean {
  if (/^\s*type\b/.test(clause)) return true;
  const named = /^\s*\{([\s\S]*)\}\s*$/.exec(clause)?.[1];
  if (named === undefined) return false;
  const names = named.split(',').filter(name => name.trim() !== '');
  return names.length > 0 && names.every(name => /^\s*type\b/.test(name));
}

function resolved(path: string, spec: string): string {
  return nameOf(posix.normalize(posix.join(posix.dirname(path), spec)));
}

const IMPORTS = new Map(FILES.map(path => [nameOf(path), importsOf(path)] as const));

/** What a file or a folder may import: names of src files, folders (with their slash), `node:`, or npm packages. */
const LAW: [RegExp, string[]][] = [
  [/^model$/, ['type model/']],
  [/^model\//, ['type model/']],
  [/^errors$/, ['type model']],
  [/^(lessons|store|undo)$/, ['model', 'errors', 'type ports', 'ip', 'reconstruct/']],
  [/^shape-of$/, []],
  [/^version$/, ['package.json']],
  [/^ip$/, ['ipaddr.js']],
  [/^(json|protocols)$/, []],
  [/^steps$/, []],
  [/^ports$/, ['type model', 'type capture', 'type steps']],
  [/^capture$/, ['model', 'errors', 'shape-of', 'version']],
  [/^parse\//, ['model', 'ip', 'protocols', 'rules/hooks', 'parse/']],
  [/^rules\//, ['model', 'ip', 'protocols', 'rules/']],
  [/^kube\//, ['model', 'ip', 'json', 'kube/', 'node:crypto']],
  [/^reconstruct\//, ['model', 'ip', 'rules/', 'reconstruct/']],
  [/^explain\//, ['model', 'ip', 'protocols', 'lessons', 'rules/', 'kube/', 'reconstruct/', 'explain/']],
  // The page's policy names its script by a hash.
  [/^render\/html\/policy$/, ['node:crypto']],
  [/^render\//, ['model', 'ip', 'lessons', 'yaml', 'render/', 'picocolors']],
  // The analysis in pieces: all of them see the pure folders, and nothing else.
  [
    /^(analyse|report|completeness)$/,
    [
      'model',
      'ip',
      'capture',
      'version',
      'store',
      'report',
      'completeness',
      'parse/',
      'rules/',
      'kube/',
      'reconstruct/',
      'explain/',
    ],
  ],
  [/^plan\//, ['model', 'errors', 'kube/', 'ip', 'plan/']],
  // The story of getting a place to trace on, told to a Cluster.
  [
    /^site\//,
    [
      'ports',
      'errors',
      'model',
      'ip',
      'yaml',
      'undo',
      'kube/',
      'plan/',
      'parse/',
      'type collect',
      'type request-live',
      'site/',
    ],
  ],
  [/^doctor\//, ['doctor/', 'render/escape', 'render/style', 'version']],
  [/^yaml$/, ['yaml']],
  [/^completion$/, ['type commands', 'lab/scenarios', 'plan/', 'render/formats', 'request-live']],
  [/^commands$/, ['commander', 'type request', 'type request-live', 'version']],
  [
    /^live\//,
    [
      'ports',
      'errors',
      'model',
      'ip',
      'yaml',
      'json',
      'request',
      'type request-live',
      'parse/lines',
      'live/',
      'node:',
      'npm',
    ],
  ],
  // The lab is a story and its effects in one: it is the only other place that starts commands.
  [
    /^lab\//,
    ['ports', 'plan/', 'kube/', 'model', 'errors', 'ip', 'capture', 'collect', 'undo', 'live/process', 'lab/', 'node:'],
  ],
];

function isAllowed({ to, kind, types }: Import, allowed: string[]): boolean {
  return allowed.some(entry => {
    const onlyTypes = entry.startsWith('type ');
    const what = onlyTypes ? entry.slice(5) : entry;
    if (onlyTypes && !types) return false;
    if (what === 'node:') return kind === 'node';
    if (what === 'npm') return kind === 'npm';
    return what.endsWith('/') ? kind === 'file' && to.startsWith(what) : to === what;
  });
}

describe('what a file may import', () => {
  for (const [name, imports] of IMPORTS) {
    const law = LAW.find(([pattern]) => pattern.test(name));
    if (!law) continue;
    test(name, () => {
      const broken = imports.filter(one => !isAllowed(one, law[1])).map(one => `${one.types ? 'type ' : ''}${one.to}`);
      expect(broken, `${name} may import ${law[1].join(', ') || 'nothing'}`).toEqual([]);
    });
  }

  test('every folder of src has a law', () => {
    const folders = [...IMPORTS.keys()].flatMap(name => (name.includes('/') ? [`${name.split('/')[0]}/`] : []));
    const lawless = [...new Set(folders)].filter(folder => !LAW.some(([pattern]) => pattern.test(`${folder}x`)));
    expect(lawless).toEqual([]);
  });

  for (const name of [...IMPORTS.keys()].filter(file => /^(run|collect|explain-files)/.test(file)))
    test(`${name} meets the machine only through ports`, () => {
      const broken = (IMPORTS.get(name) as Import[]).filter(
        // What there is to choose from in the lab is data.
        one => !one.types && one.to !== 'lab/scenarios' && (one.kind !== 'file' || /^(live|lab)\//.test(one.to)),
      );
      expect(broken.map(one => one.to)).toEqual([]);
    });

  for (const [name, imports] of IMPORTS)
    if (name.startsWith('live/'))
      test(`${name} has one npm package at most`, () => {
        const packages = new Set(imports.filter(one => one.kind === 'npm').map(one => one.to));
        expect(packages.size, [...packages].join()).toBeLessThanOrEqual(1);
      });

  test('an npm package is imported in one place, but for the outputs', () => {
    const users = new Map<string, string[]>();
    for (const [name, imports] of IMPORTS)
      for (const { to, kind } of imports)
        if (kind === 'npm') users.set(to, [...new Set([...(users.get(to) ?? []), name])]);
    for (const [name, by] of users) expect(by, name).toHaveLength(1);
    expect([...users.keys()].every(name => Object.hasOwn(dependencies(), name))).toBe(true);
  });

  test('every dependency is used', () => {
    const used = new Set(
      [...IMPORTS.values()]
        .flat()
        .filter(one => one.kind === 'npm')
        .map(one => one.to),
    );
    const unused = Object.keys(dependencies()).filter(name => !used.has(name));
    expect(unused).toEqual([]);
  });
});

function dependencies(): Record<string, string> {
  return JSON.parse(textOf('package.json')).dependencies;
}

describe('no circles', () => {
  test('between files, but for types', () => {
    expect(circlesIn(name => (IMPORTS.get(name) ?? []).filter(one => one.kind === 'file' && !one.types))).toEqual([]);
  });
});

function circlesIn(next: (name: string) => Import[]): string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const walk = (name: string, path: string[]): void => {
    const at = path.indexOf(name);
    if (at >= 0) {
      circles.push([...path.slice(at), name].join(' > '));
      return;
    }
    if (done.has(name)) return;
    for (const { to } of next(name)) walk(to, [...path, name]);
    done.add(name);
  };
  for (const name of IMPORTS.keys()) walk(name, []);
  return circles;
}

/** Code alone: neither types nor comments nor anything in quotes. */
function codeOf(path: string): string {
  const { code } = transformSync(textOf(path), { loader: 'ts', minifyWhitespace: true, legalComments: 'none' });
  return code.replace(/'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"/g, "''").replace(/`(?:\\.|[^`\\])*`/g, '``');
}

describe('the edge', () => {
  // A command's whole group is ended through process.kill, which has no other home.
  for (const path of FILES.filter(file => file !== 'src/cli.ts' && file !== 'src/live/process.ts'))
    test(`${nameOf(path)} touches neither process nor console`, () => {
      expect(codeOf(path).match(/(?<![.\w$])(process|console)(?![\w$:])\s*[.[?]/g) ?? []).toEqual([]);
    });

  test('nothing imports the edge', () => {
    const importers = [...IMPORTS].filter(([, imports]) => imports.some(one => one.to === 'cli'));
    expect(importers.map(([name]) => name)).toEqual([]);
  });
});

describe('the text of the files', () => {
  const written = [...FILES, ...filesUnder('plugin'), ...filesUnder('.ci')].filter(
    path => statSync(`${ROOT}${path}`).size < 1_000_000 && !path.endsWith('.gz'),
  );

  for (const path of FILES)
    test(`${path} is no longer than 350 lines`, () => {
      expect(textOf(path).split('\n').length - 1).toBeLessThanOrEqual(350);
    });

  test("no path of one person's machine", () => {
    const found = written.flatMap(path =>
      textOf(path)
        .split('\n')
        .flatMap((line, i) =>
          /(^|[\s'"`(=:])\/(work|home\/\w|Users\/|root\/|workspace)/.test(line) ? [`${path}:${i + 1}`] : [],
        ),
    );
    expect(found).toEqual([]);
  });

  test('every file begins by saying what it is for', () => {
    const silent = FILES.filter(path => !/^(#!.*\n)?\/\*\*/.test(textOf(path)));
    expect(silent).toEqual([]);
  });
});
