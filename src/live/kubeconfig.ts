/**
 * kubectl's rules for finding and merging kubeconfig files (clientcmd: --kubeconfig alone, else the list in $KUBECONFIG, else
 * ~/.kube/config, else the service account of the pod we run in; the first file that names a thing wins) -> one connection.
 * client-node's own loader differs in each of these points.
 */
import { isAbsolute, join, resolve } from 'node:path';
import { TraceError } from '../errors.ts';
import { isJson, type Json, texts } from '../json.ts';
import type { KubeWords } from '../request-live.ts';
import { isEmpty, type Merged, mergeFiles, type Named, readFile } from './kubeconfig-files.ts';

export type KubeFlags = KubeWords;

export interface Environment {
  KUBECONFIG?: string | undefined;
  HOME?: string | undefined;
  USERPROFILE?: string | undefined;
  KUBERNETES_SERVICE_HOST?: string | undefined;
  KUBERNETES_SERVICE_PORT?: string | undefined;
}

export interface ExecPlugin {
  command: string;
  args: string[];
  env: Record<string, string>;
  apiVersion: string;
  installHint?: string;
  interactiveMode: string;
  provideClusterInfo: boolean;
}

/** Everything needed to speak to one API server as one user. Files are named by absolute paths. */
export interface Connection {
  context: string;
  namespace: string;
  server: string;
  caFile?: string;
  caData?: string;
  tlsServerName?: string;
  skipTlsVerify: boolean;
  proxyUrl?: string;
  /** What the cluster has for credential plugins (its extension `client.authentication.k8s.io/exec`). */
  execConfig?: unknown;
  userName: string;
  certFile?: string;
  certData?: string;
  keyFile?: string;
  keyData?: string;
  token?: string;
  tokenFile?: string;
  username?: string;
  password?: string;
  exec?: ExecPlugin;
  /** client-go's old plugins (oidc, gcp, azure), as written: client-node knows them. */
  authProvider?: unknown;
  impersonate?: { user: string; groups: string[]; uid?: string; extra: Record<string, string[]> };
}

/** @throws TraceError(usage) where no file can be used, or the context names what is not there */
export function loadConnection(flags: KubeFlags, env: Environment): Connection {
  const merged = mergeFiles(flags, env);
  if (isEmpty(merged) && flags.server === undefined) {
    const inside = insideCluster(flags, env);
    if (inside) return inside;
  }
  if (merged.files.length === 0 && flags.server === undefined) {
    throw new TraceError(
      'usage',
      `there is no kubeconfig: ${flags.kubeconfig || env.KUBECONFIG || '~/.kube/config'} does not exist`,
      'Name one with --kubeconfig or $KUBECONFIG, or try the tool without a cluster: kubectl trace-svc lab',
    );
  }
  return connectionOf(merged, flags);
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function connectionOf(merged: Merged, flags: KubeFlags): Connection {
  const context = contextOf(merged, flags);
  const cluster = pick(merged.clusters, 'cluster', flags.cluster ?? text(context.value.cluster), merged, flags.server);
  const userName = flags.user ?? text(context.value.user);
  const user = pick(merged.users, 'user', userName, merged, '');
  const server = flags.server ?? text(cluster.value.server);
  if (server === undefined)
    throw new TraceError('usage', `the kubeconfig's cluster of context ${context.name} has no server`);
  const connection: Connection = {
    context: context.name,
    namespace: flags.namespace ?? text(context.value.namespace) ?? 'default',
    server,
    skipTlsVerify: flags.insecureSkipTlsVerify ?? cluster.value['insecure-skip-tls-verify'] === true,
    userName: userName ?? '',
  };
  addCluster(connection, cluster, flags);
  addUser(connection, user, flags);
  connection.server = serverOf(connection);
  return connection;
}

/** client-go rest.DefaultServerURL: without a scheme it is https only where something of TLS is configured. */
function serverOf({ server, caFile, caData, certFile, certData, skipTlsVerify }: Connection): string {
  const secure = skipTlsVerify || [caFile, caData, certFile, certData].some(one => one !== undefined);
  const url = server.includes('://') ? server : `${secure ? 'https' : 'http'}://${server}`;
  if (/^https?:\/\//.test(url) && URL.canParse(url)) return url;
  throw new TraceError(
    'usage',
    `the server ${JSON.stringify(server)} is no address of an API server`,
    'For example https://10.0.0.1:6443',
  );
}

function contextOf(merged: Merged, flags: KubeFlags): { name: string } & Named {
  const name = flags.context ?? merged.currentContext ?? '';
  const found = merged.contexts.get(name);
  if (found) return { name, ...found };
  if (flags.context !== undefined || (name !== '' && flags.server === undefined))
    throw new TraceError(
      'usage',
      `context ${JSON.stringify(name)} does not exist in ${merged.files.join(', ') || 'the kubeconfig'}`,
      `There ${merged.contexts.size === 0 ? 'is none' : `are: ${[...merged.contexts.keys()].join(', ')}`}.`,
    );
  if (name === '' && flags.cluster === undefined && flags.server === undefined)
    throw new TraceError(
      'usage',
      `${merged.files.join(', ')} has no current context`,
      merged.contexts.size > 0
        ? `Choose one with --context: ${[...merged.contexts.keys()].join(', ')}`
        : 'It names no context at all.',
    );
  return { name, value: {}, folder: '.' };
}

function pick(
  from: Map<string, Named>,
  what: string,
  name: string | undefined,
  merged: Merged,
  instead: string | undefined,
): Named {
  const found = name === undefined ? undefined : from.get(name);
  if (found) return found;
  if (name === undefined || instead) return { value: {}, folder: '.' };
  throw new TraceError(
    'usage',
    `${what} ${JSON.stringify(name)} does not exist in ${merged.files.join(', ') || 'the kubeconfig'}`,
    `There ${from.size === 0 ? 'is none' : `are: ${[...from.keys()].join(', ')}`}.`,
  );
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** Sets what is there; leaves out what is not. */
function set<K extends keyof Connection>(connection: Writable<Connection>, key: K, value: Connection[K] | undefined) {
  if (value !== undefined) connection[key] = value as Connection[K];
}

function addCluster(connection: Connection, { value, folder }: Named, flags: KubeFlags): void {
  set(
    connection,
    'caData',
    flags.certificateAuthority === undefined ? text(value['certificate-authority-data']) : undefined,
  );
  set(connection, 'caFile', fileOf(flags.certificateAuthority, value['certificate-authority'], folder));
  set(connection, 'tlsServerName', flags.tlsServerName ?? text(value['tls-server-name']));
  set(connection, 'proxyUrl', text(value['proxy-url']));
  const extensions = Array.isArray(value.extensions) ? value.extensions.filter(isJson) : [];
  set(connection, 'execConfig', extensions.find(({ name }) => name === 'client.authentication.k8s.io/exec')?.extension);
}

function addUser(connection: Connection, { value, folder }: Named, flags: KubeFlags): void {
  set(
    connection,
    'certData',
    flags.clientCertificate === undefined ? text(value['client-certificate-data']) : undefined,
  );
  set(connection, 'certFile', fileOf(flags.clientCertificate, value['client-certificate'], folder));
  set(connection, 'keyData', flags.clientKey === undefined ? text(value['client-key-data']) : undefined);
  set(connection, 'keyFile', fileOf(flags.clientKey, value['client-key'], folder));
  set(connection, 'token', flags.token ?? text(value.token));
  if (flags.token === undefined) addOtherWays(connection, value, folder);
  addImpersonation(connection, value, flags);
}

/** Ways to say who one is that a token on the command line takes the place of. */
function addOtherWays(connection: Connection, value: Json, folder: string): void {
  // client-go: where both are there, the file is read and the token is what it falls back to.
  set(connection, 'tokenFile', fileOf(undefined, value.tokenFile, folder));
  set(connection, 'username', text(value.username));
  set(connection, 'password', text(value.password));
  if (isJson(value.exec)) connection.exec = execPlugin(value.exec, folder);
  if (isJson(value['auth-provider'])) connection.authProvider = value['auth-provider'];
}

/** A flag's path starts from where we are, a file's own from where the file is. */
function fileOf(flag: string | undefined, value: unknown, folder: string): string | undefined {
  if (flag !== undefined) return resolve(flag);
  const path = text(value);
  return path === undefined || isAbsolute(path) ? path : join(folder, path);
}

function addImpersonation(connection: Connection, value: Json, flags: KubeFlags): void {
  const user = flags.as ?? text(value.as);
  const groups = flags.asGroup ?? texts(value['as-groups']);
  const uid = flags.asUid ?? text(value['as-uid']);
  if (user === undefined) {
    if (groups.length > 0 || uid !== undefined)
      throw new TraceError('usage', '--as-group and --as-uid need --as', 'Name the user to act as: --as USER');
    return;
  }
  const extra = isJson(value['as-user-extra'])
    ? Object.fromEntries(Object.entries(value['as-user-extra']).map(([key, list]) => [key, texts(list)]))
    : {};
  connection.impersonate = uid === undefined ? { user, groups, extra } : { user, groups, uid, extra };
}

function execPlugin(value: Json, folder: string): ExecPlugin {
  const command = text(value.command) ?? '';
  const env = Array.isArray(value.env) ? value.env.filter(isJson) : [];
  const plugin: ExecPlugin = {
    // A bare name is looked for on the PATH, a relative path from the file that has it.
    command: /[\\/]/.test(command) && !isAbsolute(command) ? join(folder, command) : command,
    args: texts(value.args),
    env: Object.fromEntries(env.map(({ name, value: own }) => [String(name), String(own ?? '')])),
    apiVersion: text(value.apiVersion) ?? 'client.authentication.k8s.io/v1',
    interactiveMode: text(value.interactiveMode) ?? 'IfAvailable',
    provideClusterInfo: value.provideClusterInfo === true,
  };
  const hint = text(value.installHint);
  if (hint !== undefined) plugin.installHint = hint;
  return plugin;
}

const ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The service account of the pod we run in (client-go rest.InClusterConfig). */
function insideCluster(flags: KubeFlags, env: Environment): Connection | undefined {
  if (!env.KUBERNETES_SERVICE_HOST || !env.KUBERNETES_SERVICE_PORT || flags.kubeconfig) return undefined;
  const host = env.KUBERNETES_SERVICE_HOST.includes(':')
    ? `[${env.KUBERNETES_SERVICE_HOST}]`
    : env.KUBERNETES_SERVICE_HOST;
  const connection: Connection = {
    context: 'in-cluster',
    namespace: flags.namespace ?? readFile(`${ACCOUNT}/namespace`, false)?.trim() ?? 'default',
    server: `https://${host}:${env.KUBERNETES_SERVICE_PORT}`,
    caFile: `${ACCOUNT}/ca.crt`,
    tokenFile: `${ACCOUNT}/token`,
    skipTlsVerify: false,
    userName: 'service account',
  };
  addImpersonation(connection, {}, flags);
  return connection;
}
