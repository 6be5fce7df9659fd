/**
 * What became of a connection, from its packets and from what the probe saw. Only what the evidence carries is said: that
 * no reply was seen proves nothing where replies were not traced.
 */
import type { ConntrackEntry, Probe, Rewrite } from '../model.ts';
import type { Connection } from '../reconstruct/connections.ts';
import { isError, isRefusal } from '../reconstruct/connections.ts';
import { isSyn, isSynAck } from '../reconstruct/identity.ts';
import type { Traced } from '../reconstruct/traced.ts';

export type Fate =
  | { kind: 'answered'; by?: Traced }
  /** The connection was made, and what was asked in it was not answered. */
  | { kind: 'unanswered'; by: Traced; why: string }
  /** The endpoint itself said no: RST, or port unreachable from its address. */
  | { kind: 'refused'; by?: Traced }
  /** A rule said no, and the sender was told. */
  | { kind: 'rejected'; at: Traced; answer?: Traced }
  /** This node answered with an error, and no line tells what made it do so. */
  | { kind: 'turned-away'; at: Traced; by: Traced }
  | { kind: 'dropped'; at: Traced }
  /** A router on the way said that there is no way. */
  | { kind: 'unreachable'; by: Traced }
  /** An answer reached this node and did not reach the sender. */
  | { kind: 'reply-lost'; at: Traced }
  /** Gone from this node's netfilter with no answer; `stopped`: it left a hook for routing and was not seen again. */
  | { kind: 'silent'; at: Traced; stopped: boolean }
  | { kind: 'unknown' };

export interface FateInput {
  connection: Connection;
  requests: Traced[];
  replies: Traced[];
  dnat: Rewrite | undefined;
  conntrack: ConntrackEntry | undefined;
}

export function decideFate(input: FateInput, probe: Probe): Fate {
  return (
    answered(input, probe) ??
    refusedByRule(input) ??
    turnedAway(input) ??
    refused(input, probe) ??
    lost(input) ??
    unanswered(input, probe) ??
    silent(input, probe) ?? { kind: 'unknown' }
  );
}

function answered({ requests, replies, connection }: FateInput, probe: Probe): Fate | undefined {
  if (gaveUp(probe)) return undefined;
  const answer = replies.find(isAnswer);
  if (answer && (connection.protocol !== 'tcp' || wentOn(requests) || probe.outcome === 'answered'))
    return { kind: 'answered', by: answer };
  if (probe.outcome === 'answered' && !probe.inferred)
    return answer ? { kind: 'answered', by: answer } : { kind: 'answered' };
  // Replies may not have been traced; that the client went on after its SYN says that it was answered.
  return connection.protocol === 'tcp' && wentOn(requests) ? { kind: 'answered' } : undefined;
}

/** Who asked says that no answer came; that the connection was made does not speak against it. */
function gaveUp({ kind, outcome, inferred }: Probe): boolean {
  return kind === 'curl' && outcome === 'timeout' && !inferred;
}

function unanswered({ replies, requests }: FateInput, probe: Probe): Fate | undefined {
  const by = replies.find(isAnswer);
  return gaveUp(probe) && by && wentOn(requests) ? { kind: 'unanswered', by, why: probe.detail } : undefined;
}

/** Neither an error nor a reset, nor a packet whose protocol was not printed: that may be either. */
function isAnswer({ header }: Traced): boolean {
  return header.protocol !== 'unknown' && !isError(header) && !/\bRST\b/.test(header.tcp?.flags ?? '');
}

function wentOn(requests: Traced[]): boolean {
  return requests.some(
    traced => /\bACK\b/.test(traced.header.tcp?.flags ?? '') && !/\b(SYN|RST)\b/.test(traced.header.tcp?.flags ?? ''),
  );
}

function refusedByRule({ requests, replies }: FateInput): Fate | undefined {
  const rejected = requests.find(traced => traced.outcome === 'rejected');
  if (rejected) {
    const answer = replies.find(
      traced => isRefusal(traced.header) || (traced.summary.firstHook === 'output' && !isError(traced.header)),
    );
    return answer ? { kind: 'rejected', at: rejected, answer } : { kind: 'rejected', at: rejected };
  }
  const dropped = requests.find(traced => traced.outcome === 'dropped');
  return dropped && { kind: 'dropped', at: dropped };
}

/** The error is the node's own, and the request's trail ends where nothing says why: lines are lost. */
function turnedAway({ requests, replies }: FateInput): Fate | undefined {
  const by = replies.find(traced => isRefusal(traced.header) && traced.summary.firstHook === 'output');
  const quoted = by?.header.icmp?.inner?.id ?? by?.header.icmp?.quoted?.id;
  const at = requests.find(traced => traced.header.id === quoted) ?? requests[0];
  return by && at?.outcome === 'unknown' ? { kind: 'turned-away', at, by } : undefined;
}

function refused({ requests, replies, dnat }: FateInput, probe: Probe): Fate | undefined {
  const reset = replies.find(traced => /\bRST\b/.test(traced.header.tcp?.flags ?? ''));
  if (reset) return { kind: 'refused', by: reset };
  const error = replies.find(traced => isRefusal(traced.header));
  if (error)
    return isFromTarget(error, requests, dnat) ? { kind: 'refused', by: error } : { kind: 'unreachable', by: error };
  const gotThrough = requests.some(traced => traced.outcome === 'delivered' || traced.outcome === 'left-node');
  return probe.outcome === 'refused' && !probe.inferred && gotThrough ? { kind: 'refused' } : undefined;
}

/** Port unreachable from the very address the request was last sent to, before or after the reply's own translation. */
function isFromTarget(error: Traced, requests: Traced[], dnat: Rewrite | undefined): boolean {
  const targets = new Set(requests.slice(0, 3).flatMap(traced => traced.journey.hops.map(hop => hop.tuple.dst)));
  const final = dnat?.to?.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (final !== undefined) targets.add(final);
  const from = error.trail.hops[0]?.tuple.src ?? '';
  return targets.has(from) && /port unreachable/.test(error.label);
}

/** A SYN ACK came and the client still repeats its SYN, or never went on. */
function lost({ requests, replies }: FateInput): Fate | undefined {
  const answer = replies.find(traced => isSynAck(traced.header));
  if (!answer) return undefined;
  const stuck = replies.find(
    traced => !isError(traced.header) && (traced.outcome === 'dropped' || traced.outcome === 'rejected'),
  );
  const repeated = requests.some(traced => isSyn(traced.header) && isLater(traced, answer));
  return stuck || repeated ? { kind: 'reply-lost', at: stuck ?? answer } : undefined;
}

/** That no reply was seen is no witness: a log may end anywhere, and replies may not have been traced. */
/** Each backend's packets have an order of their own. */
function isLater({ packet: a }: Traced, { packet: b }: Traced): boolean {
  if (a.legacy && b.legacy) return a.legacy.order > b.legacy.order;
  return a.nft !== undefined && b.nft !== undefined && a.nft.order > b.nft.order;
}

function silent({ requests, conntrack, connection }: FateInput, probe: Probe): Fate | undefined {
  const at = requests.at(-1);
  const repeats = connection.protocol === 'tcp' && requests.filter(traced => isSyn(traced.header)).length > 1;
  const failed = (probe.outcome === 'timeout' || probe.outcome === 'unreachable') && !probe.inferred;
  if (!at || at.outcome === 'unknown')
    return at && (repeats || failed) && requests.every(stopsAtRouting)
      ? { kind: 'silent', at, stopped: true }
      : undefined;
  const told = failed || conntrack?.flags.includes('UNREPLIED') || repeats;
  const first = requests.find(traced => traced.summary.first) ?? at;
  return told || connection.protocol.startsWith('icmp') ? { kind: 'silent', at: first, stopped: false } : undefined;
}

/** Accepted at prerouting and nothing after it: routing came next. */
function stopsAtRouting({ summary, journey }: Traced): boolean {
  return (
    summary.lastHook === 'prerouting' &&
    summary.gaps === 0 &&
    (summary.end === 'accept' || journey.hops.at(-1)?.event === 'policy')
  );
}
