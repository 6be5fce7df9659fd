/** Which kubeconfig files there are, and what they hold together: the first one that names a thing wins (clientcmd loading rules). */
import { readFileSync } from 'node:fs';
import { delimiter, dirname, join, resolve } from 'node:path';
import { TraceError } from '../errors.ts';
import { isJson, type Json } from '../json.ts';
import { parseYaml } from '../yaml.ts';

interface Environment {
  KUBECONFIG?: string | undefined;
  HOME?: string | undefined;
  USERPROFILE?: string | undefined;
}

export interface Named {
  value: Json;
  /** The folder relative paths start from. */
  folder: string;
}

export interface Merged {
  files: string[];
  clusters: Map<string, Named>;
  users: Map<string, Named>;
  contexts: Map<string, Named>;
  currentContext?: string;
}

/** Files that hold nothing are as none. */
export function isEmpty({ clusters, users, contexts }: Merged): boolean {
  return clusters.size + users.size + contexts.size === 0;
}

export function mergeFiles(flags: { kubeconfig?: string }, env: Environment): Merged {
  const merged: Merged = { files: [], clusters: new Map(), users: new Map(), contexts: new Map() };
  const home = env.HOME ?? env.USERPROFILE ?? '';
  const explicit = Boolean(flags.kubeconfig);
  const listed = explicit ? [flags.kubeconfig as string] : (env.KUBECONFIG ?? '').split(delimiter).filter(Boolean);
  const paths = listed.length > 0 ? listed : [join(home, '.kube', 'config')];
  for (const path of new Set(paths)) mergeFile(path, explicit, merged);
  return merged;
}

function mergeFile(path: string, mustExist: boolean, merged: Merged): void {
  const text = readFile(path, mustExist);
  if (text === undefined) return;
  merged.files.push(path);
  const config = parseFile(path, text);
  const folder = dirname(resolve(path));
  for (const key of ['cluster', 'user', 'context'] as const)
    mergeList(listOf(config[`${key}s`], key, path), key, folder, merged[`${key}s`]);
  const current = config['current-context'];
  if (merged.currentContext === undefined && typeof current === 'string' && current !== '')
    merged.currentContext = current;
}

export function readFile(path: string, mustExist: boolean): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && !mustExist) return undefined;
    const why = { ENOENT: 'it does not exist', EACCES: 'you may not read it', EISDIR: 'it is a directory' }[code ?? ''];
    throw new TraceError('usage', `kubeconfig ${path} cannot be read: ${why ?? (error as Error).message}`);
  }
}

function parseFile(path: string, text: string): Json {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    const why = (error as Error).message.split('\n')[0];
    throw new TraceError('usage', `kubeconfig ${path} is no YAML: ${why}`);
  }
  if (value === null || value === undefined) return {};
  if (!isJson(value)) throw new TraceError('usage', `kubeconfig ${path} is no kubeconfig: it holds no mapping`);
  return value;
}

type Entry = Json & { name: string };

/** Of several files the first one that has a name wins; one file that has it twice is refused, by kubectl as well. */
function listOf(list: unknown, key: string, path: string): Entry[] {
  const entries = (Array.isArray(list) ? list : []).filter(
    (item): item is Entry => isJson(item) && typeof item.name === 'string',
  );
  const twice = entries.find(({ name }, i) => entries.findIndex(one => one.name === name) < i);
  if (twice)
    throw new TraceError(
      'usage',
      `kubeconfig ${path} has two ${key}s named ${JSON.stringify(twice.name)}`,
      'Remove one.',
    );
  return entries;
}

function mergeList(list: Entry[], key: string, folder: string, into: Map<string, Named>): void {
  for (const item of list)
    if (!into.has(item.name)) into.set(item.name, { value: isJson(item[key]) ? item[key] : {}, folder });
}
