/** What a node's agent told of the kernel beside netfilter, read: switches by interface, and conntrack's counts. */
import type { NodeFacts } from '../model.ts';

/** @param facts key -> value, as plugin/node-agent.sh says them */
export function readNodeFacts(facts: Record<string, string> = {}): NodeFacts {
  const conntrack = {
    count: number(facts.conntrack_count),
    max: number(facts.conntrack_max),
    dropped: number(facts.conntrack_dropped) ?? 0,
  };
  return {
    notForwarding: {
      ip: new Set(settings(facts.not_forwarding).keys()),
      ip6: new Set(settings(facts.not_forwarding6).keys()),
    },
    rpFilters: settings(facts.rp_filters),
    conntrack,
    syncedSecondsAgo: number(facts.proxy_synced),
  };
}

function number(text = ''): number | undefined {
  return /^\d{1,15}$/.test(text.trim()) ? Number(text) : undefined;
}

/** `NAME=VALUE NAME=VALUE`. */
function settings(text = ''): Map<string, number> {
  return new Map(
    [...text.matchAll(/(?:^| )(\S+)=(\d{1,9})(?= |$)/g)].map(([, name, value]) => [name as string, Number(value)]),
  );
}
