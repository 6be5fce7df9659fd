/** Where chains stand in the kernel: include/uapi/linux/netfilter_ipv4.h (enum nf_ip_hook_priorities). */
import type { Family, Hook, TableFamily } from '../model.ts';

/** In the order an IP packet meets them; a packet sees input or forward, never both. */
export const HOOKS: readonly Hook[] = ['prerouting', 'input', 'forward', 'output', 'postrouting'];

/** Chains of these families are asked at the bridge or at one interface: what they let pass is nothing IP's hooks know of. */
export function isBesideIp(family: TableFamily): family is Exclude<TableFamily, Family | 'inet'> {
  return family !== 'ip' && family !== 'ip6' && family !== 'inet';
}

const BUILTIN: Record<string, Hook> = {
  PREROUTING: 'prerouting',
  INPUT: 'input',
  FORWARD: 'forward',
  OUTPUT: 'output',
  POSTROUTING: 'postrouting',
};

/** The hook of an iptables builtin chain; undefined for every other chain. */
export function builtinHook(chain: string): Hook | undefined {
  return Object.hasOwn(BUILTIN, chain) ? BUILTIN[chain] : undefined;
}

const TABLE_PRIORITY: Record<string, number> = { raw: -300, mangle: -150, filter: 0, security: 50 };

/** Priority of an iptables table at a hook; nat translates destinations before routing and sources after it. */
export function tablePriority(table: string, hook: Hook): number | undefined {
  if (table === 'nat') return hook === 'prerouting' || hook === 'output' ? -100 : 100;
  return TABLE_PRIORITY[table];
}

export function isIptablesTable(table: string): boolean {
  return table === 'nat' || Object.hasOwn(TABLE_PRIORITY, table);
}

/** Which hooks a table of iptables has chains at. */
export function tableHooks(table: string): readonly Hook[] {
  switch (table) {
    case 'raw':
      return ['prerouting', 'output'];
    case 'nat':
      return ['prerouting', 'input', 'output', 'postrouting'];
    case 'filter':
    case 'security':
      return ['input', 'forward', 'output'];
    default:
      return HOOKS;
  }
}

/** One number that grows along a packet's way: hooks first, priorities within a hook. */
export function place(hook: Hook, priority: number): number {
  const stage = hook === 'prerouting' ? 0 : hook === 'input' || hook === 'forward' ? 1 : hook === 'output' ? 2 : 3;
  return stage * 10_000 + priority;
}
