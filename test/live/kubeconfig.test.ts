/** kubectl's rules for kubeconfig files, each as a row: what is in which file, what is asked for, and what comes of it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TraceError } from '../../src/errors.ts';
import { openCluster } from '../../src/live/cluster.ts';
import { type Connection, type KubeFlags, loadConnection } from '../../src/live/kubeconfig.ts';

let home: string;
beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
});
afterAll(() => rmSync(home, { recursive: true }));

let count = 0;
/** Puts files into a folder of their own; names of them in the environment's list and in flags are paths in it. */
function load(
  files: Record<string, string>,
  list: string[] | undefined,
  flags: KubeFlags,
  more: object = {},
): Connection {
  count += 1;
  const folder = join(home, String(count));
  mkdirSync(folder);
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  const at = (name: string) => join(folder, name);
  const kubeconfig = flags.kubeconfig ? { kubeconfig: at(flags.kubeconfig) } : {};
  const env = {
    HOME: folder,
    ...(list && { KUBECONFIG: list.map(name => (name === '' ? '' : at(name))).join(delimiter) }),
    ...more,
  };
  const connection = loadConnection({ ...flags, ...kubeconfig }, env);
  return JSON.parse(JSON.stringify(connection).replaceAll(folder, 'HERE'));
}

function refusal(work: () => unknown): TraceError {
  try {
    work();
  } catch (error) {
    if (error instanceof TraceError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

/** A kubeconfig whose every name begins with the same word. */
const config = (word: string, more: { cluster?: string; user?: string; context?: string; current?: string } = {}) => `
apiVersion: v1
kind: Config
clusters: [{ name: ${word}, cluster: { server: 'https://${word}.example', ${more.cluster ?? ''} } }]
users: [{ name: ${word}, user: { ${more.user ?? `token: ${word}-token`} } }]
contexts: [{ name: ${word}, context: { cluster: ${word}, user: ${word}, ${more.context ?? ''} } }]
current-context: ${more.current ?? word}
`;

describe('which files', () => {
  const files = { a: config('a'), b: config('b'), '.kube/config': config('home') };
  test.each<[string, string[] | undefined, KubeFlags, string]>([
    ["home's, if nothing is named", undefined, {}, 'home'],
    ["home's, if the list is empty", [''], {}, 'home'],
    ['the list', ['a'], {}, 'a'],
    ['the first of the list', ['b', 'a'], {}, 'b'],
    ['those of the list that are there', ['missing', 'a', 'gone'], {}, 'a'],
    ['empty places in the list are none', ['', 'a', ''], {}, 'a'],
    ['the same one twice', ['a', 'a'], {}, 'a'],
    ['--kubeconfig alone, whatever the list says', ['a'], { kubeconfig: 'b' }, 'b'],
    ['an empty --kubeconfig is none', ['a'], { kubeconfig: '' }, 'a'],
    ['a context of a later file', ['a', 'b'], { context: 'b' }, 'b'],
  ])('%s', (_, list, flags, context) => {
    expect(load(files, list, flags)).toMatchObject({
      context,
      server: `https://${context}.example`,
      token: `${context}-token`,
    });
  });

  test('a context of one file may use the cluster and the user of others', () => {
    const context = 'contexts: [{ name: x, context: { cluster: a, user: b, namespace: shop } }]\ncurrent-context: x';
    expect(load({ c: context, ...files }, ['c', 'a', 'b'], {})).toMatchObject({
      context: 'x',
      server: 'https://a.example',
      token: 'b-token',
      namespace: 'shop',
    });
  });
  test('the first file that has a name wins, whole', () => {
    const other = "clusters: [{ name: a, cluster: { server: 'https://other', tls-server-name: other } }]";
    expect(load({ ...files, o: other }, ['a', 'o'], {})).not.toHaveProperty('tlsServerName');
    expect(load({ ...files, o: other }, ['o', 'a'], {})).toMatchObject({
      server: 'https://other',
      tlsServerName: 'other',
    });
  });
  test('the first current context that is not empty wins', () => {
    expect(load({ ...files, e: 'current-context: ""' }, ['e', 'b', 'a'], {}).context).toBe('b');
  });
  test.each([
    ['an empty file', ''],
    ['blanks and comments', '\n# nothing\n---\n'],
    ['nothing but a kind', 'apiVersion: v1\nkind: Config\nclusters: null\nusers: []\n'],
    ['entries without names', 'clusters: [{ cluster: { server: x } }, 7, null]\ncontexts: {}\n'],
  ])('%s is no obstacle', (_, text) => expect(load({ ...files, e: text }, ['e', 'a'], {}).context).toBe('a'));
  test('JSON is YAML', () => {
    const json = JSON.stringify({ 'current-context': 'a' });
    expect(load({ ...files, j: json }, ['j', 'b', 'a'], {}).context).toBe('a');
  });
});

describe('refused', () => {
  const files = {
    a: config('a'),
    empty: '',
    bad: 'clusters: [',
    list: '- a',
    word: 'hello',
    twice: "clusters: [{ name: x, cluster: { server: 'https://1' } }, { name: x, cluster: { server: 'https://2' } }]",
    nocurrent: config('a', { current: '""' }),
    wrong: config('a', { current: 'b' }),
    nocluster: 'contexts: [{ name: x, context: { cluster: gone, user: u } }]\ncurrent-context: x',
    nouser:
      "clusters: [{ name: a, cluster: { server: 'https://a' } }]\ncontexts: [{ name: x, context: { cluster: a, user: gone } }]\ncurrent-context: x",
    noserver:
      'clusters: [{ name: a, cluster: {} }]\ncontexts: [{ name: x, context: { cluster: a } }]\ncurrent-context: x',
    badserver:
      "clusters: [{ name: a, cluster: { server: 'ftp://a' } }]\ncontexts: [{ name: x, context: { cluster: a } }]\ncurrent-context: x",
    noport:
      "clusters: [{ name: a, cluster: { server: 'https://a:port' } }]\ncontexts: [{ name: x, context: { cluster: a } }]\ncurrent-context: x",
    groups: config('a', { user: 'as-groups: [x]' }),
    'folder/file': '',
  };
  test.each<[string, string[], KubeFlags, RegExp, RegExp]>([
    [
      'none of the list is there',
      ['x', 'y'],
      {},
      /^there is no kubeconfig: .*x.*y does not exist$/,
      /--kubeconfig .* lab/,
    ],
    [
      '--kubeconfig is not there',
      ['a'],
      { kubeconfig: 'x' },
      /^kubeconfig \S+x cannot be read: it does not exist$/,
      /^$/,
    ],
    ['it is a folder', [], { kubeconfig: 'folder' }, /it is a directory/, /^$/],
    ['only an empty one', ['empty'], {}, /has no current context/, /names no context at all/],
    ['no YAML', ['bad'], {}, /kubeconfig \S+bad is no YAML: /, /^$/],
    ['a list', ['list'], {}, /holds no mapping/, /^$/],
    ['a word', ['word'], {}, /holds no mapping/, /^$/],
    ['a bad file behind a good one', ['a', 'bad'], {}, /is no YAML/, /^$/],
    ['a name twice in one file', ['twice'], {}, /has two clusters named "x"/, /Remove one/],
    ['no current context', ['nocurrent'], {}, /has no current context/, /Choose one with --context: a/],
    ['a current context that is not there', ['wrong'], {}, /context "b" does not exist in/, /There are: a\./],
    ['--context that is not there', ['a'], { context: 'x' }, /context "x" does not exist/, /There are: a\./],
    [
      '--context that is not there, with a server',
      ['a'],
      { context: 'x', server: 'https://s' },
      /context "x" does not/,
      /are: a/,
    ],
    ['a cluster that is not there', ['nocluster'], {}, /cluster "gone" does not exist/, /There is none/],
    ['--cluster that is not there', ['a'], { cluster: 'x' }, /cluster "x" does not exist/, /There are: a\./],
    ['a user that is not there', ['nouser'], {}, /user "gone" does not exist/, /There is none/],
    ['--user that is not there', ['a'], { user: 'x' }, /user "x" does not exist/, /There are: a\./],
    ['a cluster without a server', ['noserver'], {}, /cluster of context x has no server/, /^$/],
    ['a server that speaks no HTTP', ['badserver'], {}, /"ftp:\/\/a" is no address of an API server/, /For example/],
    ['a server whose port is none', ['noport'], {}, /"https:\/\/a:port" is no address/, /For example/],
    ['groups of nobody', ['groups'], {}, /--as-group and --as-uid need --as/, /--as USER/],
    ['--as-group of nobody', ['a'], { asGroup: ['x'] }, /need --as/, /--as USER/],
    ['--as-uid of nobody', ['a'], { asUid: '1' }, /need --as/, /--as USER/],
  ])('%s', (_, list, flags, message, remedy) => {
    const error = refusal(() => load(files, list, flags));
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
    expect(error.remedy ?? '').toMatch(remedy);
    expect(error.kind).toBe('usage');
  });
  test('a proxy that cannot be one, without its password', () => {
    writeFileSync(join(home, 'p'), config('a', { cluster: "proxy-url: 'gopher://me:secret@p:1'" }));
    const error = refusal(() => openCluster({ kubeconfig: join(home, 'p') }, 1000, { env: {}, interactive: false }));
    expect(error.message).toBe('the proxy "gopher://p:1" cannot be used');
  });
});

describe('what the files say', () => {
  const of = (more: Parameters<typeof config>[1], flags: KubeFlags = {}, env: object = {}) =>
    load({ 'k/config': config('a', more) }, ['k/config'], flags, env);

  test.each<[string, Parameters<typeof config>[1], Partial<Connection>]>([
    [
      'paths start from the file',
      {
        cluster: 'certificate-authority: ca.crt',
        user: 'client-certificate: ../c.crt, client-key: ./c.key, tokenFile: t',
      },
      { caFile: 'HERE/k/ca.crt', certFile: 'HERE/c.crt', keyFile: 'HERE/k/c.key', tokenFile: 'HERE/k/t' },
    ],
    ['whole paths stay', { cluster: 'certificate-authority: /etc/ca.crt' }, { caFile: '/etc/ca.crt' }],
    [
      'data',
      { cluster: 'certificate-authority-data: Y2E=', user: 'client-certificate-data: Yw==, client-key-data: aw==' },
      { caData: 'Y2E=', certData: 'Yw==', keyData: 'aw==' },
    ],
    [
      'a cluster that is not checked',
      { cluster: 'insecure-skip-tls-verify: true, tls-server-name: n' },
      { skipTlsVerify: true, tlsServerName: 'n' },
    ],
    ['a proxy', { cluster: "proxy-url: 'socks5://p:1'" }, { proxyUrl: 'socks5://p:1' }],
    ['a name and a password', { user: 'username: u, password: p' }, { username: 'u', password: 'p' }],
    [
      'impersonation',
      { user: "as: jane, as-groups: [x, y], as-uid: '7', as-user-extra: { k: [v] }" },
      { impersonate: { user: 'jane', groups: ['x', 'y'], uid: '7', extra: { k: ['v'] } } },
    ],
    ['an old plugin, as written', { user: 'auth-provider: { name: oidc }' }, { authProvider: { name: 'oidc' } }],
    [
      'empty words are none',
      {
        cluster: "certificate-authority: '', proxy-url: ''",
        user: "token: '', username: ''",
        context: "namespace: ''",
      },
      { namespace: 'default' },
    ],
  ])('%s', (_, more, wanted) => {
    const connection = of(more);
    expect(connection).toMatchObject(wanted);
    if (wanted.namespace === 'default')
      expect(Object.keys(connection).sort()).toEqual(['context', 'namespace', 'server', 'skipTlsVerify', 'userName']);
  });

  test.each<[string, string, object]>([
    [
      'a name is looked for on the PATH',
      'command: aws, args: [a, b], env: [{ name: A, value: b }]',
      { command: 'aws', args: ['a', 'b'], env: { A: 'b' } },
    ],
    ['a path starts from the file', 'command: ./bin/login', { command: 'HERE/k/bin/login' }],
    ['a whole path stays', 'command: /bin/login', { command: '/bin/login' }],
    [
      'everything',
      "apiVersion: client.authentication.k8s.io/v1beta1, command: x, installHint: 'get it', interactiveMode: Never, provideClusterInfo: true",
      {
        apiVersion: 'client.authentication.k8s.io/v1beta1',
        installHint: 'get it',
        interactiveMode: 'Never',
        provideClusterInfo: true,
      },
    ],
    [
      'almost nothing',
      'args: 7, env: [null, { name: A }]',
      { command: '', args: [], env: { A: '' }, interactiveMode: 'IfAvailable', provideClusterInfo: false },
    ],
  ])('a credential plugin: %s', (_, text, wanted) => {
    expect(of({ user: `exec: { ${text} }` }).exec).toMatchObject(wanted);
  });
  test('what the cluster has for a credential plugin', () => {
    const extensions =
      'extensions: [{ name: other, extension: 1 }, { name: client.authentication.k8s.io/exec, extension: { audience: x } }]';
    expect(of({ cluster: extensions }).execConfig).toEqual({ audience: 'x' });
  });

  test.each<[string, string, string]>([
    ['with its scheme', "server: 'http://s:1'", 'http://s:1'],
    ['without one, and nothing of TLS', "server: 's:1'", 'http://s:1'],
    ['without one, and an authority', "server: 's:1', certificate-authority-data: eA==", 'https://s:1'],
    ['without one, unchecked', "server: 's:1', insecure-skip-tls-verify: true", 'https://s:1'],
  ])('a server %s', (_, cluster, server) => {
    const text = `clusters: [{ name: a, cluster: { ${cluster} } }]\ncontexts: [{ name: x, context: { cluster: a } }]\ncurrent-context: x`;
    expect(load({ c: text }, ['c'], {}).server).toBe(server);
  });
});

describe('flags over files', () => {
  const everything = config('a', {
    cluster: 'certificate-authority-data: eA==, tls-server-name: file',
    user: 'token: file, tokenFile: t, username: u, password: p, client-certificate-data: eA==, client-key-data: eA==, exec: { command: x }, as: file, as-groups: [file]',
    context: 'namespace: file',
  });
  test.each<[string, KubeFlags, object, string[]]>([
    ['namespace', { namespace: 'flag' }, { namespace: 'flag' }, []],
    ['server', { server: 'https://flag' }, { server: 'https://flag', caData: 'eA==' }, []],
    [
      'a token takes the place of every other way',
      { token: 'flag' },
      { token: 'flag', certData: 'eA==' },
      ['tokenFile', 'username', 'password', 'exec'],
    ],
    ['an authority', { certificateAuthority: '/flag' }, { caFile: '/flag' }, ['caData']],
    [
      'a certificate',
      { clientCertificate: '/c', clientKey: '/k' },
      { certFile: '/c', keyFile: '/k' },
      ['certData', 'keyData'],
    ],
    ['the name of the server', { tlsServerName: 'flag' }, { tlsServerName: 'flag' }, []],
    ['no check', { insecureSkipTlsVerify: true }, { skipTlsVerify: true }, []],
    [
      '--as keeps the groups of the file',
      { as: 'flag' },
      { impersonate: { user: 'flag', groups: ['file'], extra: {} } },
      [],
    ],
    [
      '--as-group',
      { as: 'flag', asGroup: ['x', 'y'], asUid: '1' },
      { impersonate: { user: 'flag', groups: ['x', 'y'], uid: '1', extra: {} } },
      [],
    ],
  ])('%s', (_, flags, wanted, gone) => {
    const connection = load({ k: everything }, ['k'], flags);
    expect(connection).toMatchObject(wanted);
    for (const key of gone) expect(connection).not.toHaveProperty(key);
  });
  test("a flag's path starts from where we are", () => {
    const path = relative('.', join(home, 'x'));
    expect(load({ k: everything }, ['k'], { certificateAuthority: path }).caFile).toBe(join(home, 'x'));
  });
  test.each<[string, KubeFlags, object]>([
    ['another cluster', { cluster: 'b' }, { context: 'a', server: 'https://b.example', token: 'a-token' }],
    ['another user', { user: 'b' }, { context: 'a', server: 'https://a.example', token: 'b-token', userName: 'b' }],
    [
      'a server alone, without any file',
      { server: 'https://s', token: 't' },
      { server: 'https://s', token: 't', namespace: 'default' },
    ],
  ])('%s', (what, flags, wanted) => {
    const files = { a: config('a'), b: config('b') };
    expect(load(files, what.includes('without') ? ['none'] : ['a', 'b'], flags)).toMatchObject(wanted);
  });
});

describe('inside a cluster', () => {
  const env = (host: string) => ({ KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: '443' });
  test.each([
    ['10.96.0.1', 'https://10.96.0.1:443'],
    ['fd00::1', 'https://[fd00::1]:443'],
  ])('%s', (host, server) => {
    expect(load({}, ['none'], { namespace: 'n', as: 'jane' }, env(host))).toMatchObject({
      context: 'in-cluster',
      namespace: 'n',
      server,
      tokenFile: '/var/run/secrets/kubernetes.io/serviceaccount/token',
      impersonate: { user: 'jane' },
    });
  });
  test('files that hold nothing are as none', () => {
    expect(load({ e: 'kind: Config' }, ['e'], {}, env('10.96.0.1')).context).toBe('in-cluster');
  });
  test.each<[string, string[], KubeFlags]>([
    ['a file is there', ['a'], {}],
    ['a file is named', ['none'], { kubeconfig: 'a' }],
  ])('not where %s', (_, list, flags) =>
    expect(load({ a: config('a') }, list, flags, env('10.96.0.1')).context).toBe('a'),
  );
});
