/**
 * Which base chains a packet must have met, of which it has no line: each is a gap, put where the chain stands. Only what
 * the way it went makes sure is missed.
 */
import type { Backend, Hook, Hop, PacketHeader } from '../model.ts';
import { place } from '../rules/hooks.ts';
import { OWN_TABLE } from '../rules/locate.ts';
import type { Expectations, ExpectedChain } from './expect.ts';
import type { SegmentWalk } from './hops.ts';
import type { Packet } from './join.ts';
import type { Placed } from './order.ts';
import { isNat } from './pass.ts';

export interface Missing {
  chain: ExpectedChain;
  text: string;
}

export interface Travelled {
  packet: Packet;
  header: PacketHeader;
  /** In the order they happened. */
  segments: Placed[];
  /** How the last one ended. */
  end: SegmentWalk['end'];
  /** The nat chains were asked. */
  first: boolean;
  /** Of the segments. */
  hops: Hop[];
  expectations: Expectations;
}

export function missingChains(way: Travelled): Missing[] {
  const { segments, packet } = way;
  const [start] = segments;
  if (!start) return [];
  const missing = beforeStart(way, start);
  // The mark that makes the kernel trace a packet is one for both backends: where one's lines begin, the other's must too.
  const before: Partial<Record<Backend, Placed>> = packet.legacy && packet.nft ? { legacy: start, nft: start } : {};
  for (const placed of segments) {
    const from = before[placed.backend];
    if (from) missing.push(...between(way, from, placed.at, placed.backend));
    before[placed.backend] = placed;
  }
  missing.push(...atEnd(way, before));
  if (way.first) missing.push(...nat(way));
  return missing;
}

function beforeStart({ packet, header, segments, expectations }: Travelled, first: Placed): Missing[] {
  if (!packet.legacy || packet.nft) return [];
  const from = expectations.startOf(header, first.segment);
  const early = first.segment.events[0]?.via.in === undefined ? 'output' : 'prerouting';
  return expectations
    .of('legacy', header.family)
    .filter(chain => chain.place >= from && chain.place < first.at)
    .filter(chain => chain.hook === early || onTheWay(chain.hook, segments))
    .map(chain => ({ chain, text: `the trail begins behind chain ${nameOf(chain)}, whose lines are missing` }));
}

/** A chain that must have been met between two of a backend's segments, and was not. */
function between({ header, segments, expectations }: Travelled, from: Placed, to: number, backend: Backend): Missing[] {
  return expectations
    .of(backend, header.family)
    .filter(chain => chain.place > from.at && chain.place < to && onTheWay(chain.hook, segments))
    .map(chain => ({
      chain,
      text: `chain ${nameOf(chain)}${orInput(chain, segments)} was on the way, but its lines are missing`,
    }));
}

/** A packet goes through input or forward, as its other lines tell; output is the way of packets the node sends itself. */
function onTheWay(hook: Hook, all: Placed[]): boolean {
  const seen = (other: Hook) => all.some(placed => placed.segment.hook === other);
  if (seen(hook)) return true;
  // Who came in and went out again was forwarded; IPVS alone takes packets at input and sends them on.
  if (hook === 'forward') return seen('prerouting') && seen('postrouting') && !seen('input') && !seen('output');
  return hook === 'postrouting' && seen('forward');
}

/** No line tells that the packet was forwarded, only that it came in and went out. */
function orInput(chain: ExpectedChain, all: Placed[]): string {
  const told = chain.hook !== 'forward' || all.some(placed => placed.segment.hook === 'forward');
  return told ? '' : ' (or of input, had IPVS taken the packet there)';
}

/** After the verdict that let it pass, a packet goes on to the next hook; there its first line must be. */
function atEnd(way: Travelled, last: Partial<Record<Backend, Placed>>): Missing[] {
  const { segments, header, expectations } = way;
  const newest = segments.at(-1) as Placed;
  const missing: Missing[] = [];
  for (const backend of ['legacy', 'nft'] as const) {
    const from = last[backend];
    if (!from) continue;
    if (from !== newest) missing.push(...between(way, from, newest.at, backend));
    if (!wentOn(way)) continue;
    for (const chain of expectations.of(backend, header.family))
      if (chain.place > from.at && chain.place >= newest.at && isNext(chain.hook, newest.segment.hook))
        missing.push({ chain, text: `chain ${nameOf(chain)} comes next, but its lines are missing` });
  }
  return missing;
}

/** The last chain let the packet pass: by its verdict, or by its policy, which without the rules is not known to drop. */
function wentOn({ end, segments }: Travelled): boolean {
  if (end === 'unknown') return segments.at(-1)?.segment.events.at(-1)?.point.kind === 'policy';
  return end === 'accept';
}

/** Behind forward and output comes postrouting; what comes behind prerouting routing decides, and nobody wrote down. */
function isNext(hook: Hook, newest: Hook): boolean {
  return hook === newest || (hook === 'postrouting' && (newest === 'forward' || newest === 'output'));
}

/**
 * A new connection's first packet is shown to the nat chains of a hook until one of them translates it (nf_nat_core.c
 * nf_nat_inet_fn()): to one of them at least, and to every one of them if none did.
 */
function nat(way: Travelled): Missing[] {
  return (['prerouting', 'output', 'postrouting'] as const).flatMap(hook => natAt(way, hook));
}

function natAt(way: Travelled, hook: Hook): Missing[] {
  const { segments, header, expectations } = way;
  const known = expectations
    .nat(hook)
    .filter(chain => chain.family === header.family || chain.family === 'inet')
    .filter(chain => passedBy(chain, way));
  const seen = segments.filter(
    placed => placed.segment.hook === hook && (isNat(placed.segment) || known.some(chain => isOf(placed, chain))),
  );
  const unseen = known.filter(chain => !seen.some(placed => isOf(placed, chain)));
  const [first] = unseen;
  if (!first) return [];
  if (seen.length === 0) return [{ chain: first, text: noneOf(unseen) }];
  return noneTranslated(way.hops, hook, known) ? unseen.map(chain => ({ chain, text: noneOf([chain]) })) : [];
}

/** Are these lines of that chain, as far as their base chain is known? */
export function isOf({ backend, segment }: Placed, chain: ExpectedChain): boolean {
  if (backend !== chain.backend || segment.table !== chain.table) return false;
  // A table may have several base chains at a hook; of lines in the middle of one it is not known whose they are.
  return segment.base === undefined || segment.base === chain.chain;
}

/** The packet came by the chain's place, or its last verdict sent it there. */
function passedBy(chain: ExpectedChain, way: Travelled): boolean {
  const newest = way.segments.at(-1) as Placed;
  if (way.segments.some(placed => placed.segment.hook === chain.hook) && chain.place < newest.at) return true;
  return wentOn(way) && chain.place >= newest.at && isNext(chain.hook, newest.segment.hook);
}

function noneOf(chains: ExpectedChain[]): string {
  const [first] = chains;
  if (first && chains.length === 1)
    return `chain ${nameOf(first)} sees the first packet of every connection, but its lines are missing`;
  const names = chains.map(chain => `${nameOf(chain)} (${chain.backend})`).join(', ');
  return `one of the nat chains sees the first packet of every connection, but of ${names} no line is here`;
}

/** Without the rules, a nat chain that ended with a rule may have translated. */
function noneTranslated(hops: Hop[], hook: Hook, known: ExpectedChain[]): boolean {
  const own = hops.filter(hop => hop.hook === hook);
  if (own.some(hop => /^(DNAT|SNAT|MASQUERADE|REDIRECT|NETMAP)$/.test(hop.target ?? ''))) return false;
  const isKnown = (hop: Hop) =>
    hop.depth === 0 &&
    known.some(one => one.backend === hop.backend && one.table === hop.table && one.chain === hop.chain);
  const asked = own.filter(hop => hop.table === 'nat' || /^nat-/.test(hop.chain) || isKnown(hop));
  // Whoever translates is the last one asked.
  return asked.every(hop => hop.event !== 'gap') && asked.at(-1)?.event === 'policy';
}

function nameOf(chain: ExpectedChain): string {
  return `${chain.chain} of ${chain.table}`;
}

/** A stretch of the way: one base chain's hops, or a gap. */
export interface Piece {
  at: number;
  hops: Hop[];
}

/** The gap before the first piece that stands behind its place. It has the addresses the packet had before: of more no line tells. */
export function putGap(pieces: Piece[], { chain, text }: Missing, header: PacketHeader): void {
  const found = pieces.findIndex(piece => piece.at > chain.place);
  const index = found < 0 ? pieces.length : found;
  const near = pieces[index - 1]?.hops.at(-1) ?? pieces[index]?.hops[0];
  const hop: Hop = {
    hook: chain.hook,
    table: chain.table,
    chain: chain.chain,
    event: 'gap',
    backend: chain.backend,
    family: header.family,
    tuple: near?.tuple ?? header.tuple,
    depth: 0,
    evidence: [],
    text,
  };
  if (OWN_TABLE.test(chain.table)) hop.owner = 'trace-svc';
  pieces.splice(index, 0, {
    at: Math.max(chain.place, pieces[index - 1]?.at ?? place('prerouting', -10_000)),
    hops: [hop],
  });
}
