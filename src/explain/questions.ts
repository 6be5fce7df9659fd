/**
 * Which questions of a long log are looked at in full. Thirty thousand clients of one Service ask thirty thousand questions that
 * mostly went the same way: a few of each way are told, the others counted. What was counted is said, and nothing rare is lost.
 */
import { hostPort } from '../ip.ts';
import { type Connection, isError } from '../reconstruct/connections.ts';
import { eventsOf, type Pass } from '../reconstruct/pass.ts';
import { entryOf, type Traced } from '../reconstruct/traced.ts';
import type { ExplainContext } from './context.ts';

export interface Question {
  connections: Connection[];
  /** How many more there were that went just like this one. */
  alike: number;
}

export interface Questions {
  chosen: Question[];
  /** Questions that went like one that was chosen. */
  counted: number;
  /** Questions of which nobody looked how they went: there are too many ways. */
  unlooked: number;
}

/** So many questions are told in full; of those that went one way, once there are more than that, a few. */
export const MOST_QUESTIONS = 200;
const OF_ONE_WAY = 3;

/** Of a long connection the beginning tells its way. */
const PACKETS = 16;
const CONNECTIONS = 8;

/** @param packets of each connection, in order */
export function chooseQuestions(
  groups: Connection[][],
  packets: Map<Connection, Traced[]>,
  context: ExplainContext,
): Questions {
  if (groups.length <= MOST_QUESTIONS)
    return { chosen: groups.map(connections => ({ connections, alike: 0 })), counted: 0, unlooked: 0 };
  const ways = [...sortedByWay(groups, packets, context).values()];
  // What went wrong must not give way to what went well.
  ways.sort((a, b) => Number(b.trouble) - Number(a.trouble));
  const looked = ways.slice(0, MOST_QUESTIONS);
  const room = Math.max(1, Math.min(OF_ONE_WAY, Math.floor(MOST_QUESTIONS / looked.length)));
  const told = looked.flatMap(({ indexes }) =>
    indexes
      .slice(0, room)
      .map((index, i, own) => ({ index, alike: i === own.length - 1 ? indexes.length - own.length : 0 })),
  );
  told.sort((a, b) => a.index - b.index);
  const unlooked = ways.slice(MOST_QUESTIONS).reduce((sum, { indexes }) => sum + indexes.length, 0);
  return {
    chosen: told.map(({ index, alike }) => ({ connections: groups[index] as Connection[], alike })),
    counted: groups.length - told.length - unlooked,
    unlooked,
  };
}

interface Way {
  indexes: number[];
  trouble: boolean;
}

function sortedByWay(
  groups: Connection[][],
  packets: Map<Connection, Traced[]>,
  context: ExplainContext,
): Map<string, Way> {
  const ways = new Map<string, Way>();
  for (const [index, group] of groups.entries()) {
    const own = group.slice(0, CONNECTIONS);
    const packetsOf = (connection: Connection) => packets.get(connection) ?? [];
    const key = `${group.length} ${own.map(one => wayOf(one, packetsOf(one), context)).join(' / ')}`;
    const known = ways.get(key);
    if (known) known.indexes.push(index);
    else ways.set(key, { indexes: [index], trouble: own.some(one => packetsOf(one).some(isTrouble)) });
  }
  return ways;
}

/** Everything a finding's sentence may depend on, but for who asked. */
function wayOf(connection: Connection, own: Traced[], context: ExplainContext): string {
  const { original, protocol } = connection;
  const pod = context.names.pod(original.src);
  const entry = entryOf(connection, context.conntrack);
  return [
    `${protocol} ${original.dst} ${original.dport ?? ''}`,
    pod ? `pod on ${pod.node ?? '?'}` : '',
    entry ? `${entry.state ?? ''} ${entry.flags.join(',')} ${entry.reply.src} ${entry.reply.dst === original.src}` : '',
    own.length,
    ...own.slice(0, PACKETS).map(stepOf),
  ].join(' ');
}

function stepOf({ packet, direction, outcome, summary, label, header, connection }: Traced): string {
  const { legacy, nft } = packet;
  const last = (nft ?? legacy)?.headers.at(-1)?.tuple ?? header.tuple;
  const server =
    direction === 'request' ? hostPort(last.dst, last.dport) : hostPort(header.tuple.src, header.tuple.sport);
  const met = `${pathOf(legacy)} ${pathOf(nft)} ${summary.gaps} ${last.dst === connection.original.src}`;
  return `${direction} ${label.replace(/\d+$/, '')} ${outcome} ${server} ${met}`;
}

/** The lines it met, as a word. */
function pathOf(pass: Pass | undefined): string {
  if (!pass) return '-';
  return pass.shape
    ? `#${pass.shape.id}`
    : eventsOf(pass)
        .map(event => event.point.id)
        .join(',');
}

function isTrouble({ outcome, summary, header }: Traced): boolean {
  const refused = /\bRST\b/.test(header.tcp?.flags ?? '') || isError(header);
  return refused || outcome === 'dropped' || outcome === 'rejected' || summary.gaps > 0;
}
