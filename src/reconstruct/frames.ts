/**
 * Frames in chains of family bridge, arp and netdev, which stand beside the hooks of IP: what they hold, and whether it is a packet
 * that is known. That a frame passed is nothing; where it ended, its packet did.
 */
import type { Hook, PacketHeader, TraceEvent, TracePoint, Via } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import { builtinHook, place } from '../rules/hooks.ts';
import { type IsTied, mayBecome, sameTuple } from './identity.ts';
import { OPEN_PASSES, type Pass } from './pass.ts';

/** Frames on their way through a chain, by trace id. */
export function createFrames() {
  const frames = new Map<string, TraceEvent>();
  const forget = ({ traceId = '' }: TraceEvent): void => void frames.delete(traceId);
  return {
    /** Its packet line, which has no header where it holds no packet of IP; or that it was let through. */
    see(event: TraceEvent): void {
      if (event.point.kind === 'packet') {
        if (frames.size >= OPEN_PASSES) frames.clear();
        frames.set(event.traceId ?? '', { ...event });
      } else if (event.point.kind === 'policy' || event.point.verdict === 'accept') forget(event);
    },
    /** What ends here: undefined where its packet line is lost. */
    take(end: TraceEvent): TraceEvent | undefined {
      const frame = frames.get(end.traceId ?? '');
      forget(end);
      return frame?.point.family === end.point.family && frame.point.table === end.point.table ? frame : undefined;
    },
    /** The id goes on in a chain of IP: the end of that frame is lost. */
    forget,
  };
}

/**
 * Is it that very packet, as it was last seen, that ends here? It may have been translated since, and routed, but not gone back.
 * Without a header the trace id has to tell.
 */
export function mayEnd(pass: Pass, hook: Hook | undefined, header: PacketHeader | undefined, isTied: IsTied): boolean {
  const last = pass.headers.at(-1);
  if (pass.closed || pass.point.verdict === 'drop' || !last) return false;
  if (hook !== undefined && place(hook, 0) < place(pass.place.hook, 0)) return false;
  return !header || ((header.ttl ?? 0) <= (last.ttl ?? 255) && mayBecome(last, header, isTied));
}

/** The addresses it ended with: those of the frame, unless that tells less than was known. */
export function headerBeside(
  frame: PacketHeader | undefined,
  last: PacketHeader | undefined,
): PacketHeader | undefined {
  if (!frame || !last) return frame ?? last;
  const portless = frame.tuple.sport === undefined && last.tuple.sport !== undefined;
  return portless || sameTuple(frame.tuple, last.tuple) ? last : frame;
}

/**
 * Where a chain stands among the hooks of IP: the bridge calls some of them by itself, its input comes before them and its output
 * behind, as do an interface's ingress and egress. The rules tell, or the chain's name, or the interfaces; undefined where none does.
 */
export function hookBeside({ family, table, chain }: TracePoint, via: Via, book: RuleBook): Hook | undefined {
  const known = book.chain('nft', family, table, chain).find(ref => ref.chain.hook)?.chain.hook ?? builtinHook(chain);
  return BESIDE[known ?? ''] ?? byInterfaces(via);
}

const BESIDE: Partial<Record<string, Hook>> = {
  ingress: 'prerouting',
  prerouting: 'prerouting',
  input: 'prerouting',
  forward: 'forward',
  output: 'postrouting',
  postrouting: 'postrouting',
  egress: 'postrouting',
};

function byInterfaces(via: Via): Hook | undefined {
  if (via.out !== undefined) return via.in === undefined ? 'postrouting' : 'forward';
  return via.in === undefined ? undefined : 'prerouting';
}
