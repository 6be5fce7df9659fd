/**
 * Which base chains must a packet have met between two hooks? Those the rules list, and those other packets of the same
 * trace met there. Chains of type nat are asked only for a connection's first packet, so their absence proves nothing.
 */
import type { Backend, Chain, Family, Hook, PacketHeader, Table, TraceEvent } from '../model.ts';
import { isOwnRule, type RuleBook } from '../rules/book.ts';
import { evaluateRule, type PacketFacts } from '../rules/evaluate.ts';
import { builtinHook, isBesideIp, place, tableHooks, tablePriority } from '../rules/hooks.ts';
import { OWN_TABLE } from '../rules/locate.ts';
import { eventsOf, isNat, type Pass, placesOf, type Segment } from './pass.ts';
import type { Shape } from './shape.ts';

export interface ExpectedChain {
  backend: Backend;
  family: Family | 'inet';
  hook: Hook;
  table: string;
  chain: string;
  place: number;
  nat: boolean;
}

export interface Expectations {
  /** Base chains of a backend, for packets of a family, in the order of their places. */
  of(backend: Backend, family: Family): ExpectedChain[];
  /** Where the kernel log's lines of a packet must begin: where those of other packets from the same address do, or at the rule that traces it. */
  startOf(header: PacketHeader, segment: Segment): number;
  /** Chains of type nat at a hook, of any backend and family. */
  nat(hook: Hook): ExpectedChain[];
}

export function createExpectations(passes: Pass[], book: RuleBook): Expectations {
  const known = new Map<string, ExpectedChain>();
  const starts = new Map<string, number>();
  const shapes = new Map<Shape, string>();
  for (const pass of passes) {
    // One packet of a shape and a sender tells all that the others could.
    const source = pass.headers[0]?.tuple.src;
    if (pass.shape && shapes.get(pass.shape) === source) continue;
    if (pass.shape && source !== undefined) shapes.set(pass.shape, source);
    learnStart(pass, starts);
    learnFrom(pass, known, book);
  }
  for (const ruleset of book.rulesets) for (const table of ruleset.tables) learnFromTable(table, known);
  const sorted = [...known.values()].filter(c => !c.nat).sort((a, b) => a.place - b.place);
  const nat = [...known.values()].filter(c => c.nat);
  return {
    of: (backend, family) => sorted.filter(c => c.backend === backend && (c.family === family || c.family === 'inet')),
    nat: hook => nat.filter(c => c.hook === hook),
    startOf: (header, segment) => {
      const learned = starts.get(startKey(header, segment.events[0] as TraceEvent)) ?? Number.POSITIVE_INFINITY;
      return Math.min(learned, tracedByRule(book, header, segment));
    },
  };
}

/** Packets that enter by the same kind of interface from the same address met the same tracing rule. */
function startKey(header: PacketHeader, event: TraceEvent): string {
  return `${header.tuple.src} ${event.via.in === undefined ? 'local' : 'in'}`;
}

function learnStart(pass: Pass, starts: Map<string, number>): void {
  const [header] = pass.headers;
  if (pass.backend !== 'legacy' || !header) return;
  const [first] = placesOf(pass);
  if (first?.priority === undefined) return;
  const key = startKey(header, eventsOf(pass)[0] as TraceEvent);
  starts.set(key, Math.min(starts.get(key) ?? Number.POSITIVE_INFINITY, place(first.hook, first.priority)));
}

/** A TRACE rule in raw that holds for the packet: its lines begin right behind that rule. */
function tracedByRule(book: RuleBook, header: PacketHeader, segment: Segment): number {
  const event = segment.events[0] as TraceEvent;
  const hook = event.via.in === undefined ? 'output' : 'prerouting';
  const facts: PacketFacts = {
    family: header.family,
    protocol: header.protocol,
    tuple: header.tuple,
    in: event.via.in,
    tcpFlags: header.tcp?.flags,
    icmpType: header.icmp?.type,
  };
  const rules = book.chain('legacy', header.family, 'raw', hook.toUpperCase()).flatMap(ref => ref.chain.rules);
  const traced = rules.some(
    rule => rule.target === 'TRACE' && evaluateRule(rule, facts, () => undefined).result === true,
  );
  return traced ? place(hook, -300) : Number.POSITIVE_INFINITY;
}

/** The table that marked the packet is the one of its own run. Others trace on the same node, and their tables come and go. */
function isMarkedIn(pass: Pass, table: string): boolean {
  return eventsOf(pass).some(({ point }) => point.table === table && point.kind === 'rule');
}

/** A raw table of iptables-nft with nothing but rules of tracers was made by one of them, and goes with it. */
function isTracersAlone(table: Table, chain: Chain): boolean {
  return table.backend === 'nft' && table.name === 'raw' && chain.rules.every(isOwnRule);
}

/** By the rules that were there at the end: it may be gone by then. */
function comesAndGoes(
  book: RuleBook,
  backend: Backend,
  family: Family | 'inet',
  table: string,
  chain: string,
): boolean {
  if (backend !== 'nft' || table !== 'raw' || builtinHook(chain) === undefined || book.rulesets.length === 0)
    return false;
  return book.chain('nft', family, table, chain).every(ref => ref.chain.rules.every(isOwnRule));
}

function add(known: Map<string, ExpectedChain>, chain: ExpectedChain): void {
  known.set(`${chain.backend} ${chain.family} ${chain.table} ${chain.chain}`, chain);
}

function learnFrom(pass: Pass, known: Map<string, ExpectedChain>, book: RuleBook): void {
  for (const segment of placesOf(pass)) {
    if (segment.base === undefined || segment.priority === undefined || isBesideIp(segment.family)) continue;
    // A packet is traced from the injecting rule on: that this chain was seen says nothing of packets marked later.
    if (OWN_TABLE.test(segment.table) && (segment.hook !== 'postrouting' || !isMarkedIn(pass, segment.table))) continue;
    if (comesAndGoes(book, pass.backend, segment.family, segment.table, segment.base)) continue;
    const { family, hook, table, base } = segment;
    if (pass.backend === 'legacy') for (const other of tableHooks(table)) addBuiltin(known, family, table, other);
    add(known, {
      backend: pass.backend,
      family,
      hook,
      table,
      chain: base,
      place: place(hook, segment.priority),
      nat: isNat(segment),
    });
  }
}

/** A legacy table hooks in everywhere at once (ip_tables.c ipt_register_table()): seen at one hook, it is at all of its hooks. */
function addBuiltin(known: Map<string, ExpectedChain>, family: Family | 'inet', table: string, hook: Hook): void {
  add(known, {
    backend: 'legacy',
    family,
    hook,
    table,
    chain: hook.toUpperCase(),
    place: place(hook, tablePriority(table, hook) ?? 0),
    nat: table === 'nat',
  });
}

function learnFromTable(table: Table, known: Map<string, ExpectedChain>): void {
  if (isBesideIp(table.family)) return;
  for (const chain of table.chains.values()) {
    if (!chain.hook || chain.priority === undefined) continue;
    // Learned where it was met: that of another run may have come later.
    if (OWN_TABLE.test(table.name)) continue;
    if (isTracersAlone(table, chain)) continue;
    if (!HOOKS_OF_IP.has(chain.hook)) continue;
    // iptables-nft-save invents the empty builtin chains of a table that nft does not have; only a chain with rules is sure.
    if (table.backend === 'nft' && chain.type === undefined && builtinHook(chain.name) && chain.rules.length === 0)
      continue;
    const nat = table.name === 'nat' || chain.type === 'nat';
    add(known, {
      backend: table.backend,
      family: table.family,
      hook: chain.hook,
      table: table.name,
      chain: chain.name,
      place: place(chain.hook, chain.priority),
      nat,
    });
  }
}

const HOOKS_OF_IP = new Set<string>(['prerouting', 'input', 'forward', 'output', 'postrouting']);
