/**
 * A base chain's events -> hops, checked against the rules: every line must be one the kernel can write after the line
 * before it. Where it cannot, something is missing, and a gap says what and how we know.
 * Model: net/ipv4/netfilter/ip_tables.c ipt_do_table(), net/netfilter/nf_tables_core.c nft_do_chain().
 */
import type { Chain, Hop, PacketHeader, TraceEvent } from '../model.ts';
import { isNftText, isOwnRule, type RuleBook } from '../rules/book.ts';
import { type Effect, verdictText } from '../rules/effect.ts';
import { evaluateRule, type PacketFacts } from '../rules/evaluate.ts';
import { isBesideIp } from '../rules/hooks.ts';
import { OWN_TABLE } from '../rules/locate.ts';
import { exactMark, type Mark, markAfter } from '../rules/mark.ts';
import { type Resolved, resolve } from '../rules/resolve.ts';
import type { Segment } from './pass.ts';
import { possibleHooks } from './places.ts';

export interface SegmentWalk {
  hops: Hop[];
  /** How the base chain ended; `open` where nothing says so. */
  end: 'accept' | 'drop' | 'reject' | 'open' | 'unknown';
  /** Why the rules given are not those the packet met. */
  mismatches: string[];
  gaps: number;
  /** The packet's mark when it left, as far as the trace tells. */
  mark: Mark;
}

export interface WalkContext {
  book: RuleBook;
  /** Conntrack state of the packet, where evidence tells it. */
  state: string | undefined;
  mark: Mark;
  original: PacketHeader['tuple'] | undefined;
  /** The header before this segment, for segments that lost theirs. */
  header: PacketHeader;
  sourceNames: string[];
  /** nft monitor opens every base chain with the packet's header; xtables-monitor does not. */
  headerExpected: boolean;
}

interface Frame {
  chain: string;
  /** Number of the rule last met, 0 at the start; undefined where the trace gave no number. */
  at: number | undefined;
  rules: Chain | undefined;
}

export function walkSegment(segment: Segment, context: WalkContext): SegmentWalk {
  const walk = new Walk(segment, context);
  for (const event of segment.events) walk.event(event);
  return walk.finish();
}

class Walk {
  private readonly hops: Hop[] = [];
  private readonly mismatches: string[] = [];
  private readonly frames: Frame[] = [];
  private gaps = 0;
  private effect: Effect | undefined;
  private called: { chain: string; goto: boolean } | undefined;
  private ended = false;
  private mark: Mark;
  private newest: TraceEvent | undefined;
  private readonly segment: Segment;
  private readonly context: WalkContext;

  constructor(segment: Segment, context: WalkContext) {
    this.segment = segment;
    this.context = context;
    this.mark = context.mark;
    this.frames.push(this.frame(segment.base ?? '?'));
    const first = segment.events[0];
    const headless = context.headerExpected && !segment.header;
    if (headless && segment.base !== undefined) this.gap(`the packet line of chain ${segment.base} is missing`);
    if (first && first.point.chain !== segment.base && (first.point.backend === 'legacy' || segment.base === undefined))
      this.beginInside(first);
  }

  /** The first line is a user chain's. Without its base chain's own line the hook is read off the interfaces, and they may fit two. */
  private beginInside(first: TraceEvent): void {
    this.frames.push({ ...this.frame(first.point.chain), at: undefined });
    if (this.tracesInside(first)) return;
    const hooks = this.segment.base === undefined && first.point.backend === 'legacy' ? possibleHooks(first) : [];
    const doubt = hooks.length > 1 ? `: by its interfaces it may have been called at ${hooks.join(' or at ')}` : '';
    this.gap(`the lines that led to chain ${first.point.chain} are missing${doubt}`);
  }

  /** The TRACE rule may itself stand in a user chain; from where that was called, no line can tell. */
  private tracesInside(first: TraceEvent): boolean {
    const rules = this.chainOf(first.point.chain)?.rules ?? [];
    const found = rules.some(
      rule => rule.target === 'TRACE' && evaluateRule(rule, this.facts(first), () => undefined).result !== false,
    );
    if (found) this.frames[0] = { ...(this.frames[0] as Frame), at: undefined };
    return found;
  }

  event(event: TraceEvent): void {
    this.newest = event;
    if (event.point.backend === 'legacy') this.mark = exactMark(event.mark ?? 0);
    if (event.point.kind === 'packet') return this.add(event, { effect: { kind: 'continue' } });
    this.enter(event);
    const frame = this.frames[this.frames.length - 1] as Frame;
    const resolved = resolve(event, this.context.book, this.facts(event), frame.at ?? 0);
    if (resolved.mismatch !== undefined && !this.isInjectionShift(event, resolved))
      this.mismatches.push(resolved.mismatch);
    this.checkSkipped(frame, resolved, event);
    this.add(event, resolved);
    this.apply(event, resolved, frame);
  }

  finish(): SegmentWalk {
    const end = this.ended ? endOf(this.effect) : this.openEnd();
    if (end === 'open')
      this.gap(`the verdict of chain ${this.segment.base ?? '?'} is missing: the trail ends inside it`);
    return { hops: this.hops, end, mismatches: this.mismatches, gaps: this.gaps, mark: this.mark };
  }

  /** Makes the event's chain the current one, and says what is missing if the kernel could not have come there from here. */
  private enter(event: TraceEvent): void {
    if (this.ended) this.reopen();
    const current = this.frames[this.frames.length - 1];
    const called = this.called;
    this.called = undefined;
    if (called?.chain === event.point.chain) return this.call(called);
    if (called && this.mustSpeak(called.chain))
      this.gap(`the lines of chain ${called.chain} are missing: it was called and wrote nothing`);
    if (current?.chain === event.point.chain && !this.goesBack(current, event)) return;
    const known = this.frames.findLastIndex(frame => frame.chain === event.point.chain);
    if (known >= 0 && known < this.frames.length - 1) return this.returnTo(known);
    this.gap(`the line of the rule that sent the packet to ${event.point.chain} is missing`);
    this.frames.push(this.frame(event.point.chain));
  }

  private call(called: { chain: string; goto: boolean }): void {
    if (called.goto) this.frames.pop();
    this.frames.push(this.frame(called.chain));
  }

  /** Legacy writes a line at every chain's end; nft of today does not, and only its rules can be missed. */
  private mustSpeak(chain: string): boolean {
    if (this.segment.events[0]?.point.backend === 'legacy') return true;
    return this.surelyMatching({ chain, at: 0, rules: this.chainOf(chain) }, undefined) !== undefined;
  }

  private goesBack(frame: Frame, event: TraceEvent): boolean {
    return frame.at !== undefined && event.point.number !== undefined && event.point.number <= frame.at;
  }

  private returnTo(index: number): void {
    const left = this.frames.splice(index + 1);
    if (this.segment.events[0]?.point.backend === 'legacy') {
      // A frame is left by its own end or by RETURN, and was then taken off; without rules any rule may have been a RETURN.
      if (this.effect?.kind !== 'unknown') this.gap(`the end of chain ${left.at(-1)?.chain} is missing`);
      return;
    }
    for (const frame of left.reverse()) {
      const missed = this.surelyMatching(frame, undefined);
      if (missed) this.gap(missed);
    }
  }

  /** Rules between the last line and this one that by their conditions must have matched, and would have written a line. */
  private checkSkipped(frame: Frame, resolved: Resolved, event: TraceEvent): void {
    // Of a chain beside the hooks of IP only the line that ended the packet is there.
    if (resolved.mismatch !== undefined || resolved.number === undefined || isBesideIp(event.point.family)) return;
    frame.rules ??= resolved.chain;
    const missed = this.surelyMatching(frame, resolved.number, event);
    if (missed) this.gap(missed);
  }

  private surelyMatching(frame: Frame, before: number | undefined, event = this.newest): string | undefined {
    const { rules, at } = frame;
    if (!rules || at === undefined || !event) return undefined;
    const sets = this.setsOf(frame.chain);
    const from = at === 0 ? this.tracedFrom(rules, before, event) : at;
    for (const rule of rules.rules.slice(from, before === undefined ? undefined : before - 1)) {
      // ip_tables sets the mark after it has looked whether to log the line; nf_tables looks afterwards.
      if (rule.target === 'TRACE' && event.point.backend === 'legacy') continue;
      if (evaluateRule(rule, this.facts(event), sets).result === true)
        return `rule ${rule.number} of ${frame.chain} must have matched, but its line is missing: ${rule.text}`;
    }
    return undefined;
  }

  /**
   * A TRACE rule need not be its chain's first, and those in front of it write no line. Its own line nf_tables writes,
   * and ip_tables does not.
   */
  private tracedFrom({ rules }: Chain, before: number | undefined, event: TraceEvent): number {
    const held = rules
      .slice(0, before)
      .filter(rule => rule.target === 'TRACE')
      .map(rule => ({ rule, result: evaluateRule(rule, this.facts(event), () => undefined).result }))
      .filter(({ result }) => result !== false);
    const traces = held.find(({ result }) => result === true) ?? held.at(-1);
    if (!traces) return 0;
    return event.point.backend === 'legacy' ? traces.rule.number : traces.rule.number - 1;
  }

  private apply(event: TraceEvent, resolved: Resolved, frame: Frame): void {
    const { effect } = resolved;
    this.effect = effect;
    frame.at = resolved.number ?? (event.point.backend === 'legacy' ? event.point.number : undefined);
    if (event.point.backend === 'nft') this.followMark(event, resolved);
    if (effect.kind === 'jump' || effect.kind === 'goto')
      this.called = { chain: effect.chain, goto: effect.kind === 'goto' };
    else if (effect.kind === 'return') this.leave(event);
    else if (effect.kind === 'accept' || effect.kind === 'drop' || effect.kind === 'reject') this.ended = true;
    else if (event.point.kind === 'policy') this.ended = true;
    else if (effect.kind === 'unknown') this.called = this.guessCall(event);
  }

  /** RETURN in a base chain goes to its policy, which writes a line of its own. */
  private leave(event: TraceEvent): void {
    if (this.frames.length > 1) this.frames.pop();
    else if (event.point.kind === 'return' && this.segment.base === undefined) this.frames.pop();
  }

  /** Without rules, a line of another chain right after a rule's line means that the rule called it. */
  private guessCall(event: TraceEvent): { chain: string; goto: boolean } | undefined {
    const next = this.segment.events[this.segment.events.indexOf(event) + 1];
    const called =
      next && next.point.chain !== event.point.chain && !this.frames.some(frame => frame.chain === next.point.chain);
    return called ? { chain: next.point.chain, goto: false } : undefined;
  }

  /** nft tells the mark only at a chain's end; in between, what the rules that set it say is all there is. */
  private followMark(event: TraceEvent, resolved: Resolved): void {
    if (event.point.kind === 'policy' || event.point.kind === 'return') this.mark = exactMark(event.mark ?? 0);
    else if (resolved.rule?.target === 'MARK') this.mark = markAfter(this.mark, resolved.rule);
  }

  /** A line after a verdict that ends the chain: the rule was not the one we took it for. */
  private reopen(): void {
    this.ended = false;
    this.mismatches.push(`the packet went on behind a rule that ends ${this.segment.table}`);
  }

  private openEnd(): 'open' | 'unknown' {
    return this.effect?.kind === 'unknown' ? 'unknown' : 'open';
  }

  /**
   * Numbers in raw count the rules of tracers, which a snapshot taken before or after the trace does not have, or has of another
   * run: only an end that leaves no room for the chain's other rules is a sign of change.
   */
  private isInjectionShift({ point }: TraceEvent, { chain }: Resolved): boolean {
    if (point.table !== 'raw' || point.backend !== 'legacy') return false;
    const others = chain?.rules.filter(rule => !isOwnRule(rule)) ?? [];
    return others.length === chain?.rules.length || (point.kind !== 'rule' && (point.number ?? 0) > others.length);
  }

  private frame(chain: string): Frame {
    return { chain, at: 0, rules: this.chainOf(chain) };
  }

  private refs(chain: string) {
    const first = this.segment.events[0] as TraceEvent;
    return this.context.book.chain(first.point.backend, this.segment.family, this.segment.table, chain);
  }

  private chainOf(chain: string): Chain | undefined {
    const refs = this.refs(chain);
    const save = refs.filter(ref => !isNftText(ref.table));
    const best = (save.length > 0 ? save : refs)[0];
    // Of several snapshots that differ none is surely the one the packet met.
    return refs.every(ref => ref.chain.rules.length === best?.chain.rules.length) ? best?.chain : undefined;
  }

  private setsOf(chain: string) {
    const table = this.refs(chain)[0]?.table;
    return table ? this.context.book.sets(table) : () => undefined;
  }

  private facts(event: TraceEvent): PacketFacts {
    const header = event.header ?? this.segment.header ?? this.context.header;
    const where = event.header ? event : (this.segment.events[0] as TraceEvent);
    return {
      family: header.family,
      protocol: header.protocol,
      tuple: header.tuple,
      in: where.via.in,
      out: where.via.out,
      physIn: where.via.physIn,
      physOut: where.via.physOut,
      mark: this.mark,
      tcpFlags: header.tcp?.flags,
      icmpType: header.icmp?.type,
      icmpCode: header.icmp?.code,
      state: this.context.state,
      original: this.context.original,
    };
  }

  private add(event: TraceEvent, resolved: Resolved): void {
    const { rule, effect } = resolved;
    const hop: Hop = { ...this.place(event), event: event.point.kind === 'conntrack' ? 'packet' : event.point.kind };
    const number = resolved.number ?? event.point.number;
    if (event.point.kind !== 'packet' && number !== undefined && number > 0) hop.rule = number;
    const handle = event.point.handle ?? rule?.handle;
    if (handle !== undefined) hop.handle = handle;
    if (rule && rule.text !== '') hop.text = rule.text;
    if (rule?.comment !== undefined) hop.comment = rule.comment;
    const verdict = event.point.kind === 'packet' ? undefined : verdictText(effect);
    if (verdict !== undefined) hop.verdict = verdict;
    if (rule?.target !== undefined && verdict !== rule.target && !verdict?.endsWith(` ${rule.target}`))
      hop.target = rule.target;
    if (resolved.mismatch !== undefined && !this.isInjectionShift(event, resolved)) hop.uncertain = true;
    this.hops.push(hop);
  }

  private gap(text: string): void {
    const event = this.newest ?? (this.segment.events[0] as TraceEvent);
    this.gaps++;
    this.hops.push({ ...this.place(event), event: 'gap', text });
  }

  private place(event: TraceEvent): Omit<Hop, 'event'> {
    const header = event.header ?? this.segment.header ?? this.context.header;
    const where = event.header ? event : (this.segment.events.find(e => e.header) ?? event);
    const hop: Omit<Hop, 'event'> = {
      hook: this.segment.hook,
      table: isBesideIp(event.point.family) ? `${event.point.family} ${this.segment.table}` : this.segment.table,
      chain: event.point.chain,
      backend: event.point.backend,
      family: header.family,
      tuple: header.tuple,
      depth: Math.max(0, this.frames.length - 1),
      evidence: [`${this.context.sourceNames[event.source] ?? event.source}:${event.line}`],
    };
    if (where.via.in !== undefined) hop.in = where.via.in;
    if (where.via.out !== undefined) hop.out = where.via.out;
    if (where.via.physIn !== undefined) hop.physIn = where.via.physIn;
    if (where.via.physOut !== undefined) hop.physOut = where.via.physOut;
    const mark = event.point.backend === 'legacy' ? event.mark : event.point.kind === 'policy' ? event.mark : undefined;
    if (mark !== undefined && mark !== 0) hop.mark = mark;
    if (OWN_TABLE.test(hop.table)) hop.owner = 'trace-svc';
    return hop;
  }
}

function endOf(effect: Effect | undefined): SegmentWalk['end'] {
  if (effect?.kind === 'accept' || effect?.kind === 'drop' || effect?.kind === 'reject') return effect.kind;
  // The policy's line is there, but no rules to say what the policy is.
  return 'unknown';
}
