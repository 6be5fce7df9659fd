/** What the lab needs of a machine, and which of it is missing. */
import { accessSync, constants } from 'node:fs';
import type { Mode } from './scenarios.ts';

const COMMON = ['unshare', 'nsenter', 'ip', 'mount', 'curl', 'ping', 'awk', 'sed'];
const BY_MODE: Record<Mode, string[]> = {
  legacy: ['iptables-legacy', 'iptables-legacy-restore', 'tcpdump'],
  nft: ['nft', 'iptables-nft', 'iptables-nft-restore'],
  mixed: ['nft', 'iptables-legacy', 'iptables-legacy-restore', 'iptables-nft', 'tcpdump'],
  nftables: ['nft', 'iptables-nft'],
};

/** Debian's package of each tool, for the message. */
const PACKAGES: Record<string, string> = {
  unshare: 'util-linux',
  nsenter: 'util-linux',
  mount: 'mount',
  ip: 'iproute2',
  curl: 'curl',
  ping: 'iputils-ping',
  awk: 'mawk',
  sed: 'sed',
  tcpdump: 'tcpdump',
  nft: 'nftables',
};

export interface Missing {
  tools: string[];
  packages: string[];
}

/** @param path the search path, as in PATH */
export function missingTools(mode: Mode, path: string): Missing {
  const folders = `${path}:/usr/local/sbin:/usr/sbin:/sbin`.split(':').filter(folder => folder !== '');
  const tools = [...COMMON, ...BY_MODE[mode]].filter(
    tool => !folders.some(folder => isExecutable(`${folder}/${tool}`)),
  );
  return { tools, packages: [...new Set(tools.map(tool => PACKAGES[tool] ?? 'iptables'))] };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
