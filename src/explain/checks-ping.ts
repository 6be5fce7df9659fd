/** Checks on an echo request: a cluster IP is a rule per port, so what a ping of it meets depends on who wrote the rules. */
import { isError, isRefusal } from '../reconstruct/connections.ts';
import { type ConnectionCase, lastHop } from './cases.ts';
import { isPortCheck, natEnd, turnedAwayBy } from './checks-service.ts';
import { type CheckInput, type Draft, hopEvidence, packetEvidence, ruleFacts, targetText } from './draft.ts';
import { nearestServiceRule } from './nearest.ts';

export function checkPing(input: CheckInput): Draft[] {
  const { connection, one } = input;
  const { protocol } = connection.connection;
  const isEcho = protocol.startsWith('icmp') || (protocol === 'unknown' && one.probe.kind === 'ping');
  if (!isEcho || !connection.first) return [];
  const found =
    answeredByNode(input) ??
    answered(input) ??
    rejected(input) ??
    turnedAway(input) ??
    dropped(input) ??
    notTranslated(input);
  return found ? [found] : [];
}

function draft(input: CheckInput, kind: Draft['kind'], facts: Draft['facts'], evidence: Draft['evidence']): Draft {
  const address = input.connection.connection.original.dst;
  return {
    kind,
    facts: { target: targetText(input.connection, input.context), address, ...facts },
    evidence,
    probe: input.one.index,
  };
}

/** The node's own stack sent the reply: its first hook is output. */
function answeredByNode(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  const reply = connection.replies.find(traced => !isError(traced.header));
  const delivered = connection.requests.some(
    traced => traced.summary.lastHook === 'input' && traced.outcome === 'delivered',
  );
  const local = reply?.summary.firstHook === 'output';
  const byProbe = connection.fate.kind === 'answered' && delivered && !connection.dnat;
  if (!local && !byProbe) return undefined;
  return draft(input, 'PingAnsweredByNode', {}, [
    ...packetEvidence(connection.first, numberOf),
    ...packetEvidence(reply, numberOf),
  ]);
}

function answered(input: CheckInput): Draft | undefined {
  const { connection, numberOf, one } = input;
  if (connection.fate.kind !== 'answered') return undefined;
  const facts: Draft['facts'] = {};
  if (connection.dnat?.to !== undefined) facts.endpoint = connection.dnat.to;
  if (one.probe.from !== undefined) facts.from = one.probe.from;
  return draft(input, 'PingAnswered', facts, packetEvidence(connection.fate.by ?? connection.first, numberOf));
}

function rejected(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  if (connection.fate.kind !== 'rejected') return undefined;
  const hop = lastHop(connection.fate.at);
  const facts: Draft['facts'] = { ...ruleFacts(hop), ...near(input) };
  const from = connection.fate.answer?.trail.hops[0]?.tuple.src;
  if (from !== undefined) facts.from = from;
  const evidence = [
    ...hopEvidence(connection.fate.at, hop, numberOf),
    ...packetEvidence(connection.fate.answer, numberOf),
  ];
  // Only kube-proxy's check of ports rejects a ping for being none; any other rule has a reason of its own.
  const kind = isPortCheck(hop) ? 'PingRejected' : 'RejectedByRule';
  return { ...draft(input, kind, facts, evidence), ...(kind === 'RejectedByRule' ? { severity: 'warning' } : {}) };
}

function turnedAway({ connection, numberOf, ...input }: CheckInput): Draft | undefined {
  if (connection.fate.kind !== 'turned-away') return undefined;
  const found = draft({ connection, numberOf, ...input }, 'RejectedByRule', ...turnedAwayBy(connection.fate, numberOf));
  // Most Services' addresses are no host's, and nobody minds that a ping of one is refused.
  return { ...found, severity: 'info' };
}

function dropped(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  if (connection.fate.kind !== 'dropped') return undefined;
  const hop = lastHop(connection.fate.at);
  return draft(input, 'DroppedByRule', ruleFacts(hop), hopEvidence(connection.fate.at, hop, numberOf));
}

function notTranslated(input: CheckInput): Draft | undefined {
  const { connection, numberOf, context } = input;
  const { first, dnat } = connection;
  const isService =
    connection.service !== undefined ||
    context.names.isServiceAddress(connection.connection.original.dst) ||
    sharesTarget(input);
  if (!first || dnat || !isService || first.summary.gaps > 0) return undefined;
  const hop = lastHop(first);
  const facts: Draft['facts'] = { ...near(input), out: hop?.out ?? '', left: first.outcome === 'left-node' };
  const error = connection.replies.find(traced => isRefusal(traced.header));
  if (error) Object.assign(facts, { error: error.label, from: error.trail.hops[0]?.tuple.src ?? '' });
  if (input.one.probe.outcome === 'timeout' && !input.one.probe.inferred) facts.timeout = true;
  const end = natEnd(first.journey.hops);
  return draft(input, 'PingNotTranslated', facts, [
    ...hopEvidence(first, end, numberOf),
    ...hopEvidence(first, hop, numberOf),
    ...conntrackEvidence(connection),
  ]);
}

/** Without objects and rules: the address another probe reached a Service by. */
function sharesTarget(input: CheckInput): boolean {
  const address = input.connection.connection.original.dst;
  return input.all.some(other =>
    other.connections.some(c => c.dnat !== undefined && c.connection.original.dst === address),
  );
}

function near(input: CheckInput): Draft['facts'] {
  const { first } = input.connection;
  const hop = first && (natEnd(first.journey.hops) ?? first.journey.hops[0]);
  const found = hop && nearestServiceRule(hop, first.header, input.context);
  if (!found) return {};
  const place = `${found.chain}${found.number === undefined ? '' : ` rule ${found.number}`}`;
  return { nearest: place, nearestText: found.text, held: found.held.join(', '), failed: found.failed.join(', ') };
}

function conntrackEvidence(connection: ConnectionCase): Draft['evidence'] {
  return connection.conntrack ? [{ what: connection.conntrack.raw }] : [];
}
