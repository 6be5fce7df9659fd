/** kubectl finds the plugin and its completion by their names, and shows what the cluster has. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { VERSION } from '../../src/version.ts';
import { applyObjects, kubeconfig, kubectl, kubectlPath, NAMESPACE, nodes } from './cluster.ts';

const PLUGINS = fileURLToPath(new URL('../../plugin', import.meta.url));

beforeAll(applyObjects);

/** kubectl hands its whole environment and the words behind the plugin's name down. */
async function throughKubectl(...words: string[]): Promise<{ lines: string[]; stderr: string }> {
  const env = { ...process.env, KUBECONFIG: kubeconfig(), PATH: `${PLUGINS}:${process.env.PATH}` };
  const { stdout, stderr } = await promisify(execFile)(kubectlPath(), words, { env });
  return { lines: stdout.trimEnd().split('\n'), stderr };
}

const completed = async (...words: string[]) => {
  const { lines } = await throughKubectl('__complete', 'trace-svc', '-n', NAMESPACE, ...words);
  return lines.map(line => line.split('\t')[0] ?? '').filter(line => !/^(\[Debug\]|Completion ended)/.test(line));
};

test('kubectl runs it', async () => expect((await throughKubectl('trace-svc', '--version')).lines).toEqual([VERSION]));

describe('kubectl completes', () => {
  test('Services', async () => {
    const names = (await kubectl('-n', NAMESPACE, 'get', 'services', '-o', 'name')).trim().split('\n');
    const found = await completed('svc/');
    expect(found).toEqual([...names.map(name => name.replace('service/', 'svc/')), ':4']);
    expect(names.length).toBeGreaterThan(1);
  });
  test('ports', async () => expect(await completed('web', '')).toEqual(expect.arrayContaining(['80', ':4'])));
  test('nodes', async () => {
    const { n1, n2 } = await nodes();
    expect(await completed('web', '--node', '')).toEqual(expect.arrayContaining([n1, n2, ':4']));
  });
  test('pods', async () => {
    const found = await completed('web', '--from', 'pod/');
    expect(found.length).toBeGreaterThan(1);
    expect(found.slice(0, -1).every(word => word.startsWith('pod/'))).toBe(true);
  });
});
