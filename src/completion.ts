/** A command line that is not finished -> what its last word may be. Pure: what only a cluster or a kubeconfig knows is left open here. */
import type { CommandShape, FlagShape } from './commands.ts';
import { MODES, SCENARIOS } from './lab/scenarios.ts';
import { LOG_SOURCES, METHODS } from './plan/agent.ts';
import { PULL_POLICIES } from './plan/pods.ts';
import { VIAS } from './plan/target.ts';
import { FORMATS } from './render/formats.ts';
import { EXPECTATIONS } from './request-live.ts';

/** What completes a word: words that are known, files, or what the cluster or the kubeconfig has of a kind. */
export type Asked =
  | { kind: 'words'; words: Candidate[] }
  | { kind: 'files' }
  | { kind: 'services' | 'pods' | 'nodes' | 'namespaces' | 'contexts' | 'clusters' | 'users' }
  | { kind: 'ports'; service: string };

export interface Candidate {
  word: string;
  about?: string;
}

export interface Unfinished {
  asked: Asked;
  /** What the word begins with, and what stands before that and stays: `--node=`, `svc/`, `svc/web:`. */
  prefix: string;
  before: string;
  /** Flags given so far, by commander's names for them. */
  flags: Record<string, string>;
}

const FILES: Asked = { kind: 'files' };
const NOTHING: Asked = { kind: 'words', words: [] };
const some = (words: readonly string[]): Asked => ({ kind: 'words', words: words.map(word => ({ word })) });

const VALUES: Record<string, Asked> = {
  node: { kind: 'nodes' },
  from: { kind: 'pods' },
  namespace: { kind: 'namespaces' },
  agentNamespace: { kind: 'namespaces' },
  context: { kind: 'contexts' },
  cluster: { kind: 'clusters' },
  user: { kind: 'users' },
  via: some(VIAS),
  ipFamily: some(['IPv4', 'IPv6']),
  scheme: some(['http', 'https']),
  expect: some(EXPECTATIONS),
  method: some(METHODS),
  logSource: some(LOG_SOURCES),
  imagePullPolicy: some(PULL_POLICIES),
  output: some(FORMATS),
  color: some(['auto', 'always', 'never']),
  mode: some(MODES),
  ...Object.fromEntries(['kubeconfig', 'save', 'rules', 'objects', 'conntrack', 'probe'].map(key => [key, FILES])),
  ...Object.fromEntries(['certificateAuthority', 'clientCertificate', 'clientKey'].map(key => [key, FILES])),
};

/** @param words all that was typed after the plugin's name; the last one is not finished, and may be empty */
export function readUnfinished(words: string[], root: CommandShape): Unfinished {
  const word = words.at(-1) ?? '';
  const line = readLine(words.slice(0, -1), root);
  const made = (asked: Asked, prefix = word): Unfinished => ({
    asked,
    prefix,
    before: word.slice(0, word.length - prefix.length),
    flags: line.flags,
  });
  if (line.waiting) return made(valuesOf(line.waiting, line.command));
  const [, name, value] = /^(--[^=]+)=(.*)$/s.exec(word) ?? [];
  if (name !== undefined) return made(valuesOf(findFlag(line.command, name), line.command), value);
  if (word.startsWith('-') && !line.onlyOperands) return made({ kind: 'words', words: flagsOf(line.command) });
  return operand(line, root, made, word);
}

interface Line {
  command: CommandShape;
  flags: Record<string, string>;
  operands: string[];
  /** A flag whose value is still to come. */
  waiting: FlagShape | undefined;
  /** Behind `--`. */
  onlyOperands: boolean;
}

function readLine(words: string[], root: CommandShape): Line {
  const line: Line = { command: root, flags: {}, operands: [], waiting: undefined, onlyOperands: false };
  for (const word of words) readWord(word, line);
  return line;
}

function readWord(word: string, line: Line): void {
  if (line.waiting) {
    line.flags[line.waiting.key] = word;
    line.waiting = undefined;
  } else if (word === '--') line.onlyOperands = true;
  else if (word.startsWith('-') && word !== '-' && !line.onlyOperands) readFlag(word, line);
  else {
    const command = line.operands.length === 0 ? line.command.commands.find(({ name }) => name === word) : undefined;
    if (command) line.command = command;
    else line.operands.push(word);
  }
}

/** `--flag=value`, `--flag value`, `-f value` and `-fvalue`. */
function readFlag(word: string, line: Line): void {
  const [, name = '', value] = /^(--[^=]+|-[^-])=?(.+)?$/s.exec(word) ?? [];
  const flag = findFlag(line.command, name);
  if (!flag?.takesValue) return;
  if (value === undefined) line.waiting = flag;
  else line.flags[flag.key] = value;
}

function findFlag(command: CommandShape, name: string): FlagShape | undefined {
  return command.flags.find(flag => flag.long === name || flag.short === name);
}

function valuesOf(flag: FlagShape | undefined, { name }: CommandShape): Asked {
  if (flag?.key === 'output' && name === 'doctor') return some(['text', 'json']);
  return VALUES[flag?.key ?? ''] ?? NOTHING;
}

function flagsOf({ flags }: CommandShape): Candidate[] {
  return flags.filter(({ hidden }) => !hidden).map(({ long, about }) => ({ word: long, about }));
}

function operand(
  { command, operands }: Line,
  root: CommandShape,
  made: (asked: Asked, prefix?: string) => Unfinished,
  word: string,
): Unfinished {
  if (command !== root) return made(operandOf(command, operands.length, root));
  const [service = ''] = operands;
  if (operands.length === 1) return made(service.includes(':') ? NOTHING : { kind: 'ports', service: bare(service) });
  if (operands.length > 1) return made(NOTHING);
  const [, kind = '', name = '', port] = /^((?:svc|services?)\/)?([^:]*)(?::(.*))?$/is.exec(word) ?? [];
  if (port !== undefined) return made({ kind: 'ports', service: name }, port);
  return made({ kind: 'services' }, kind === '' ? word : name);
}

function bare(service: string): string {
  return service.replace(/^[^/]*\//, '');
}

function operandOf({ name }: CommandShape, at: number, root: CommandShape): Asked {
  if (name === 'explain') return FILES;
  if (name === 'lab' && at === 0)
    return { kind: 'words', words: SCENARIOS.map(one => ({ word: one.name, about: one.about })) };
  return name === 'help' && at === 0 ? { kind: 'words', words: commandsOf(root) } : NOTHING;
}

export function commandsOf({ commands }: CommandShape): Candidate[] {
  return commands.map(({ name, about }) => ({ word: name, about }));
}
