/** The workflows cannot be run here, so they are held to rules: pinned, with few rights, bounded, and of parts that exist. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const FOLDER = `${ROOT}.github/workflows/`;
const SCRIPTS = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')).scripts as Record<string, string>;

interface Step {
  uses?: string;
  run?: string;
  with?: Record<string, unknown>;
}

interface Job {
  needs?: string | string[];
  permissions?: Record<string, string>;
  'timeout-minutes'?: number;
  'runs-on': string;
  steps: Step[];
}

interface Workflow {
  on: Record<string, unknown>;
  permissions: Record<string, string>;
  concurrency?: unknown;
  jobs: Record<string, Job>;
}

const FILES = readdirSync(FOLDER).filter(name => /\.ya?ml$/.test(name));

test('there are workflows for tests, clusters and releases', () =>
  expect(FILES.sort()).toEqual(['clusters.yml', 'release.yml', 'test.yml']));

/** What may be written to, and why it must. */
const WRITES: Record<string, string[]> = {
  'release.yml publish': ['contents', 'id-token', 'attestations'],
  'release.yml sbom': ['id-token', 'attestations'],
};

describe.each(FILES)('%s', file => {
  const text = readFileSync(`${FOLDER}${file}`, 'utf8');
  const { on, permissions, concurrency, jobs } = parse(text) as Workflow;
  const steps = Object.values(jobs).flatMap(job => job.steps);

  test('uses actions by their commit, with the version said beside it', () => {
    const uses = [...text.matchAll(/uses: (.*)$/gm)].map(([, what]) => what as string);
    expect(uses.length).toBeGreaterThan(1);
    expect(uses.filter(what => !/^[\w-]+\/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/.test(what))).toEqual([]);
  });
  test('uses one version of each action', () => {
    const uses = new Set(steps.flatMap(({ uses: what }) => what ?? []));
    const names = [...uses].map(what => what.split('@')[0]);
    expect(new Set(names).size).toBe(names.length);
  });
  test('may read, and write only where it must', () => {
    expect(permissions).toEqual({ contents: 'read' });
    for (const [name, job] of Object.entries(jobs)) {
      const writes = Object.entries(job.permissions ?? {}).filter(([, right]) => right !== 'read');
      expect(writes.map(([what]) => what).sort()).toEqual([...(WRITES[`${file} ${name}`] ?? [])].sort());
    }
  });
  test('is not started with rights by strangers', () => {
    expect(Object.keys(on)).not.toContain('pull_request_target');
    expect(Object.keys(on)).not.toContain('workflow_run');
  });
  test('ends', () => {
    for (const [name, job] of Object.entries(jobs)) expect(job['timeout-minutes'], name).toBeLessThanOrEqual(60);
    expect(concurrency).toBeDefined();
  });
  test('runs on systems of a version', () => {
    const systems = [...text.matchAll(/(?:runs-on|os): (?!\$)\[?([^\]}\n]*)/g)].flatMap(([, list = '']) =>
      list.split(', '),
    );
    expect(systems.length).toBeGreaterThan(0);
    expect(systems.filter(name => /latest/.test(name))).toEqual([]);
  });
  test('leaves no credentials in a working copy', () => {
    const checkouts = steps.filter(({ uses = '' }) => uses.startsWith('actions/checkout@'));
    expect(checkouts.filter(step => step.with?.['persist-credentials'] !== false)).toEqual([]);
  });
  test('puts no values into scripts but through the environment', () =>
    expect(steps.filter(({ run = '' }) => run.includes('${{'))).toEqual([]));
  test('waits for jobs that are there', () => {
    const needed = Object.values(jobs).flatMap(({ needs = [] }) => needs);
    expect(needed.filter(name => !(name in jobs))).toEqual([]);
  });
  test('runs scripts and files that are there', () => {
    const runs = steps.map(({ run = '' }) => run).join('\n');
    const scripts = [...runs.matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, name]) => name as string);
    expect(scripts.filter(name => !(name in SCRIPTS))).toEqual([]);
    const paths = [...runs.matchAll(/(?<![\w/])((?:\.ci|plugin|test)\/[\w./-]+)/g)].map(([, path]) => path as string);
    expect(paths.filter(path => !existsSync(`${ROOT}${path}`))).toEqual([]);
  });
});

describe('the clusters', () => {
  const { jobs } = parse(readFileSync(`${FOLDER}clusters.yml`, 'utf8')) as {
    jobs: { kind: { strategy: { matrix: { mode: string[]; kubernetes: { version: string; image: string }[] } } } };
  };
  const { mode, kubernetes } = jobs.kind.strategy.matrix;

  test('are of every mode of kube-proxy', () => expect(mode).toEqual(['iptables', 'nftables', 'ipvs']));
  test('are of pinned images, each of the version it is called by', () => {
    expect(kubernetes.length).toBeGreaterThan(1);
    for (const { version, image } of kubernetes)
      expect(image).toMatch(new RegExp(`^kindest/node:${version}@sha256:[0-9a-f]{64}$`));
  });
  test('have two nodes for pods, and two stacks', () => {
    const config = parse(readFileSync(`${ROOT}test/cluster/kind.yaml`, 'utf8'));
    expect(config.networking).toEqual({ ipFamily: 'dual', kubeProxyMode: 'MODE' });
    expect(config.nodes.map(({ role }: { role: string }) => role)).toEqual(['control-plane', 'worker', 'worker']);
  });
});

test('a release is published only when every archive ran on its own system', () => {
  const { jobs } = parse(readFileSync(`${FOLDER}release.yml`, 'utf8')) as {
    jobs: Record<string, Job & { strategy: { matrix: { include: { pair: string }[] } } }>;
  };
  expect(jobs.run?.strategy.matrix.include.map(({ pair }) => pair)).toHaveLength(6);
  expect(jobs.publish?.needs).toEqual(['build', 'run']);
});
