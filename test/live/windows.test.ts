/** On Windows, kubeconfig files are listed with semicolons, and the home has another name. */
import { readFileSync } from 'node:fs';
import { beforeEach, expect, test, vi } from 'vitest';
import { loadConnection } from '../../src/live/kubeconfig.ts';
import { mergeFiles } from '../../src/live/kubeconfig-files.ts';

vi.mock('node:path', async original => ((await original()) as { win32: object }).win32);
vi.mock('node:fs', async original => ({ ...((await original()) as object), readFileSync: vi.fn() }));

const USER = '{name: u, user: {client-certificate: crt.pem}}';
const FILES: Record<string, string> = {
  'C:\\Users\\jane\\.kube\\config': 'current-context: home',
  'C:\\a b\\one.yaml': `{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], users: [${USER}]}`,
  'D:\\two.yaml': '{clusters: [{name: c, cluster: {server: "https://s", certificate-authority: "..\\\\ca.pem"}}]}',
};

beforeEach(() => {
  vi.mocked(readFileSync).mockImplementation(path => {
    const text = FILES[String(path)];
    if (text === undefined) throw Object.assign(new Error(`ENOENT ${path}`), { code: 'ENOENT' });
    return text;
  });
});

test('several files', () => {
  const KUBECONFIG = 'C:\\a b\\one.yaml;;D:\\none.yaml;D:\\two.yaml';
  expect(mergeFiles({}, { KUBECONFIG }).files).toEqual(['C:\\a b\\one.yaml', 'D:\\two.yaml']);
  const connection = loadConnection({}, { KUBECONFIG });
  expect(connection).toMatchObject({ context: 'x', certFile: 'C:\\a b\\crt.pem', caFile: 'D:\\ca.pem' });
});

test('the home', () =>
  expect(mergeFiles({}, { USERPROFILE: 'C:\\Users\\jane' })).toMatchObject({ currentContext: 'home' }));
