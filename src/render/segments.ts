/** A journey's hops cut into base chains, and which of those nobody needs to read. */
import type { Hop, Journey, Rewrite } from '../model.ts';

export interface HopGroup {
  hops: { hop: Hop; index: number }[];
  /** Nothing matched but jumps into chains that matched nothing. */
  quiet: boolean;
}

export function groupHops(journey: Journey): HopGroup[] {
  const groups: HopGroup[] = [];
  for (const [index, hop] of journey.hops.entries()) {
    const last = groups.at(-1)?.hops.at(-1)?.hop;
    const opens =
      !last ||
      last.hook !== hop.hook ||
      last.table !== hop.table ||
      last.backend !== hop.backend ||
      hop.event === 'packet' ||
      endsChain(last);
    if (opens) groups.push({ hops: [], quiet: false });
    groups.at(-1)?.hops.push({ hop, index });
  }
  for (const group of groups) group.quiet = group.hops.every(({ hop }) => isQuiet(hop, journey));
  return groups;
}

function endsChain(hop: Hop): boolean {
  return hop.event === 'policy' && hop.depth === 0;
}

function isQuiet(hop: Hop, journey: Journey): boolean {
  if (hop.event === 'packet') return true;
  if (hop.event === 'gap' || hop.verdict === 'DROP' || hop.verdict === 'REJECT') return false;
  if (hop.event === 'policy') return true;
  if (hop.event === 'return') return !isEndOfServices(hop, journey);
  // A jump says nothing by itself: what was matched behind it is not quiet, and makes the whole group speak.
  return /^(jump|goto) /.test(hop.verdict ?? '') && hop.meaning === undefined;
}

/** That no Service's rule matched is the whole point of a packet that was not translated. */
export function isEndOfServices(hop: Hop, journey: Journey): boolean {
  return (
    hop.table === 'nat' &&
    hop.chain === 'KUBE-SERVICES' &&
    hop.event === 'return' &&
    !journey.rewrites.some(rewrite => rewrite.field === 'dst')
  );
}

/** Hops worth a line in the tree: rules that did something, ends that say something, gaps. */
export function tells(hop: Hop, journey: Journey): boolean {
  if (hop.event === 'gap') return true;
  if (hop.event === 'rule') return hop.owner !== 'trace-svc';
  if (hop.event === 'return') return isEndOfServices(hop, journey);
  return hop.event === 'policy' && hop.verdict === 'DROP';
}

export function rewritesBefore(journey: Journey, index: number): Rewrite[] {
  return journey.rewrites.filter(rewrite => rewrite.beforeHop === index);
}

/** The conditions of a rule without its target, its comment and the module names iptables-save repeats. */
export function conditionsOf(hop: Hop): string {
  const text = hop.text ?? '';
  if (/^-|^! -/.test(text) || / -[jg] /.test(text))
    return text
      .replace(/(^| )-[jg] .*$/, '')
      .replace(
        /(^| )-m (tcp|udp|sctp|conntrack|statistic|recent|mark|icmp|addrtype|comment|set|multiport|state)(?= |$)/g,
        '',
      )
      .replace(/--mode random --probability (0\.\d\d)\d*/, 'random $1')
      .replace(/\/(32|128)(?= |$)/g, '')
      .replace(/ --(mask|name) \S+| --rsource/g, '')
      .trim();
  return text
    .replace(/ ?\b(jump|goto|accept|drop|return|reject|masquerade|dnat|snat|redirect|vmap)\b.*$/, match =>
      match.trimStart().startsWith('vmap') ? match.replace(/\{.*\}/, '{ … }') : '',
    )
    .trim();
}
