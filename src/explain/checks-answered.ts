/** Connections that were made: answered, or accepted and no more. */
import type { Case } from './cases.ts';
import { type CheckInput, type Draft, draftOf, endpointText, packetEvidence, sentToText } from './draft.ts';

export function answered(input: CheckInput): Draft | undefined {
  const { connection, one, numberOf } = input;
  if (connection.fate.kind !== 'answered') return undefined;
  const facts: Draft['facts'] = { protocol: connection.connection.protocol };
  if (connection.endpoint) facts.endpoint = endpointText(connection);
  if (one.probe.httpStatus !== undefined) facts.status = one.probe.httpStatus;
  // A server that says nothing of HTTP has been reached, and is not what was asked for.
  else if (one.probe.kind === 'curl' && !one.probe.inferred && /^curl: \(/.test(one.probe.detail))
    facts.said = one.probe.detail;
  if (one.connections.length > 1) {
    facts.connections = one.connections.length;
    facts.answered = answeredFrom(one).get(facts.endpoint?.toString() ?? '') ?? 1;
  }
  const found = draftOf(
    input,
    'ServiceAnswered',
    facts,
    packetEvidence(connection.fate.by ?? connection.first, numberOf),
  );
  // A server that answers with its own failure has answered; that is not the network's fault, but nobody's success.
  if ((one.probe.httpStatus ?? 0) >= 500 || facts.said !== undefined) found.severity = 'warning';
  return found;
}

/** How many connections of a case each endpoint answered; counted once, for there may be many. */
function answeredFrom(one: Case): Map<string, number> {
  const known = counted.get(one);
  if (known) return known;
  const counts = new Map<string, number>();
  for (const connection of one.connections) {
    if (connection.fate.kind !== 'answered') continue;
    const endpoint = connection.endpoint ? endpointText(connection) : '';
    counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1);
  }
  counted.set(one, counts);
  return counts;
}

const counted = new WeakMap<Case, Map<string, number>>();

/** The handshake went through, and the question did not, or its answer. */
export function acceptedOnly(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  if (connection.fate.kind !== 'unanswered') return undefined;
  const { by, why } = connection.fate;
  const node = connection.connection.endpoint?.node;
  const facts: Draft['facts'] = {
    endpoint: sentToText(connection),
    accepted: why,
    ...(node === undefined ? {} : { node }),
  };
  return draftOf(input, 'EndpointSilent', facts, packetEvidence(by, numberOf));
}
