/**
 * What kubectl shows when Tab is pressed: candidates, one a line, and a directive, as cobra's completion has it. Whatever fails, fails
 * without a word: a person is in the middle of typing. Imports no effect; the edge hands them in.
 */
import type { CommandShape } from './commands.ts';
import { type Asked, type Candidate, commandsOf, readUnfinished, type Unfinished } from './completion.ts';
import type { Cluster } from './ports.ts';

export interface CompleteDeps {
  /** @throws where there is no cluster to ask */
  open(flags: Record<string, string>): Promise<Cluster>;
  /** Names in the kubeconfig. */
  names(flags: Record<string, string>, kind: 'contexts' | 'clusters' | 'users'): Promise<string[]>;
  /** Aborts when a person would have gone on typing. */
  signal: AbortSignal;
}

/** cobra's ShellCompDirectiveDefault: the shell completes files; NoFileComp; NoSpace. */
const FILES = 0;
const NO_FILES = 4;
const NO_SPACE = 2;

/** No list of a big cluster is worth waiting for. */
const MOST = 500;

/** @param words what kubectl passes: all words so far, the last one unfinished */
export async function runComplete(words: string[], root: CommandShape, deps: CompleteDeps): Promise<string> {
  const unfinished = readUnfinished(words, root);
  if (unfinished.asked.kind === 'files') return `:${FILES}\n`;
  const found = await candidatesOf(unfinished, root, deps).catch(() => []);
  const fitting = found.filter(({ word }) => word.startsWith(unfinished.prefix) && /^[\w.:/@=-]+$/.test(word));
  const lines = fitting.map(({ word, about }) => {
    const text = about?.replace(/\s+/g, ' ').replace(/[^\x20-\x7e]/g, '');
    return `${unfinished.before}${word}${text ? `\t${text}` : ''}\n`;
  });
  // `svc/` and a name that begins so go on without a space.
  const goesOn = fitting.length > 0 && fitting.every(({ word }) => word.endsWith('/'));
  return `${lines.join('')}:${NO_FILES + (goesOn ? NO_SPACE : 0)}\n`;
}

async function candidatesOf(unfinished: Unfinished, root: CommandShape, deps: CompleteDeps): Promise<Candidate[]> {
  const { asked, flags, before } = unfinished;
  if (asked.kind === 'words') return asked.words;
  if (asked.kind === 'contexts' || asked.kind === 'clusters' || asked.kind === 'users')
    return (await deps.names(flags, asked.kind)).map(word => ({ word }));
  const commands = asked.kind === 'services' && before === '' ? commandsOf(root) : [];
  return [...(await fromCluster(asked, unfinished, deps).catch(() => [])), ...commands];
}

async function fromCluster(asked: Asked, { flags, prefix }: Unfinished, deps: CompleteDeps): Promise<Candidate[]> {
  const cluster = await deps.open(flags);
  const namespace = `/api/v1/namespaces/${encodeURIComponent(cluster.namespace)}`;
  const list = async (path: string) =>
    ((await cluster.send('GET', `${path}?limit=${MOST}`, { signal: deps.signal })) as { items?: Item[] }).items ?? [];
  try {
    if (asked.kind === 'services') return (await list(`${namespace}/services`)).map(serviceCandidate);
    if (asked.kind === 'nodes') return (await list('/api/v1/nodes')).map(named);
    if (asked.kind === 'namespaces') return (await list('/api/v1/namespaces')).map(named);
    if (asked.kind === 'pods') return (await list(`${namespace}/pods`)).flatMap(item => podCandidate(item, prefix));
    if (asked.kind !== 'ports' || asked.service === '') return [];
    const path = `${namespace}/services/${encodeURIComponent(asked.service)}`;
    return portCandidates((await cluster.send('GET', path, { signal: deps.signal })) as Item);
  } finally {
    cluster.close();
  }
}

interface Port {
  port?: number;
  name?: string;
  protocol?: string;
}

interface Item {
  metadata?: { name?: string };
  spec?: { type?: string; clusterIP?: string; ports?: Port[]; nodeName?: string; hostNetwork?: boolean };
  status?: { phase?: string };
}

function named({ metadata }: Item): Candidate {
  return { word: metadata?.name ?? '' };
}

function serviceCandidate(item: Item): Candidate {
  const { type = 'ClusterIP', clusterIP = 'None', ports = [] } = item.spec ?? {};
  const list = ports.map(({ port, protocol = 'TCP' }) => `${port}/${protocol}`).join(',');
  return { ...named(item), about: `${type} ${clusterIP} ${list}`.trim() };
}

/** Only a pod that runs can send. */
function podCandidate({ metadata, spec, status }: Item, prefix: string): Candidate[] {
  if (status?.phase !== 'Running') return [];
  const name = metadata?.name ?? '';
  return [{ word: prefix.includes('/') ? `pod/${name}` : name, about: `on ${spec?.nodeName}` }];
}

/** By number, and by name where it has one; of two with the same number, the second one says its protocol. */
function portCandidates({ spec }: Item): Candidate[] {
  const seen = new Set<number>();
  return (spec?.ports ?? []).flatMap(({ port = 0, name, protocol = 'TCP' }) => {
    const word = seen.has(port) ? `${port}/${protocol.toLowerCase()}` : `${port}`;
    seen.add(port);
    const byName = name === undefined || name === '' ? [] : [{ word: name, about: `${port}/${protocol}` }];
    return [{ word, about: name ? `${name} ${protocol}` : protocol }, ...byName];
  });
}
