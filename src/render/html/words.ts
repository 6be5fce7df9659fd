/** What a step of a lesson says, in words for somebody who sees the chains for the first time. */
import type { Hop, Journey, Rewrite } from '../../model.ts';
import { actionOf, chainEndText } from '../tree-journey.ts';

/** @param inward the interface it comes in by; undefined where the node itself sends */
export function startText(journey: Journey, sender: string, inward: string | undefined): string {
  return `${sender} ${deedOf(journey)}${inward === undefined ? '' : `, and it comes to the node by ${inward}`}`;
}

function deedOf({ packet: { label, protocol } }: Journey): string {
  if (label === 'SYN') return 'opens a TCP connection (SYN)';
  if (label.startsWith('echo request')) return `pings (${label})`;
  return `sends ${label === '' ? `a packet (${protocol})` : label}`;
}

export function hopText(hop: Hop, journey: Journey): string {
  switch (hop.event) {
    case 'gap':
      return `lines are missing here: ${hop.text ?? ''}`;
    case 'return':
      return hop.meaning ?? `end of the chain: ${chainEndText(hop, journey)}`;
    case 'policy':
      return `end of the chain: policy ${hop.verdict ?? ''}`.trimEnd();
    case 'packet':
      return 'the packet as it comes to this chain';
    default:
      return hop.meaning ?? deed(hop);
  }
}

function deed(hop: Hop): string {
  const chain = /^(?:jump|goto) (.+)$/.exec(hop.verdict ?? '')?.[1];
  return chain === undefined ? actionOf(hop) : `on to chain ${chain}`;
}

/** By which evidence. */
export const SEEN = {
  trace: 'seen in the trace',
  conntrack: "read from conntrack's table",
  ipvs: "read from IPVS' table",
  rule: "read from the rule's text",
  routing: "read off the next hook's interfaces",
};

export function byWhom(rewrite: Rewrite): string {
  const { table, chain, rule, fromConnection, kind } = rewrite;
  if (chain !== undefined) return `${table ?? ''} ${chain}${rule === undefined ? '' : ` rule ${rule}`}`;
  return fromConnection ? 'the connection, no rule is asked' : kind;
}

export function rewriteText({ field }: Rewrite, { direction, endpoint }: Journey): string {
  const word = field === 'dst' ? 'destination' : 'source';
  if (direction === 'reply') return `the ${word} is translated back`;
  if (field !== 'dst' || endpoint?.pod === undefined) return `the ${word} is rewritten`;
  return `the destination is rewritten: pod ${endpoint.pod}${endpoint.node ? ` on ${endpoint.node}` : ''}`;
}

export function quietText(asked: number): string {
  return `nothing matched${asked === 0 ? '' : ` (${asked} ${asked === 1 ? 'chain' : 'chains'} asked)`}`;
}

/** @param hop the first one behind the decision */
export function routingText({ hook, tuple: { dst }, out, physOut }: Hop): string {
  if (hook === 'input') return `${dst} is an address of this node: the packet stays here`;
  const by = physOut ?? out;
  return `${dst} is no address of this node: passed on${by === undefined ? '' : ` by ${by}`}`;
}

export interface Ending {
  sign: '✔' | '✘' | '→' | '?';
  what: string;
  /** Of the picture, where it is not where the last line came from. */
  place?: string;
}

/** @param dst the destination it had at last */
export function endingOf({ outcome, direction, endpoint }: Journey, last: Hop | undefined, dst: string): Ending {
  const out = last?.physOut ?? last?.out;
  const by = out === undefined ? '' : ` by ${out}`;
  const pod = direction === 'request' && endpoint?.pod !== undefined ? ` to pod ${endpoint.pod}` : '';
  const place = `out/${out ?? ''}`;
  switch (outcome) {
    case 'delivered':
      if (last?.hook === 'input') return { sign: '✔', what: 'delivered to this node itself', place: 'local' };
      return { sign: '✔', what: `delivered${pod}${by}`, place };
    case 'left-node':
      return { sign: '→', what: `left this node${by}, for ${dst}`, place };
    case 'rejected':
      return { sign: '✘', what: 'rejected: the rule ends it, and sends an error back' };
    case 'dropped':
      return { sign: '✘', what: 'dropped: the packet goes no further, and nobody is told' };
    default:
      return { sign: '?', what: unknownEnd(last) };
  }
}

function unknownEnd(last: Hop | undefined): string {
  return last?.hook === 'prerouting'
    ? 'routing did not hand it on, or the lines behind are lost'
    : 'the trail ends here: nothing tells what became of it';
}
