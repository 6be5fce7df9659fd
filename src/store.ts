/** Keeps passes for the analysis, up to a bound: a two-gigabyte log must not need two gigabytes of memory. */
import type { PacketHeader } from './model.ts';
import type { Pass, PassSink } from './reconstruct/pass.ts';

/** Lines that are kept cost some 150 bytes each, packets of a well-known shape some 800: about 100 MB in all. */
export const MOST_PASSES = 100_000;
export const MOST_EVENTS = 300_000;

export interface PassStore extends PassSink {
  passes: Pass[];
  notKept: number;
  /** Packets may be there twice: from several inputs, or from one whose clock does not only go forward. */
  mayRepeat: boolean;
}

/** @param podIps only packets that have one of these addresses are kept; empty: all. */
export function createPassStore(podIps: string[], mostPasses = MOST_PASSES, mostEvents = MOST_EVENTS): PassStore {
  let events = 0;
  const store: PassStore = {
    passes: [],
    notKept: 0,
    mayRepeat: false,
    rewound() {
      store.mayRepeat = true;
    },
    pass(pass) {
      if (pass.backend === 'nft' || pass.source > 0) store.mayRepeat = true;
      if (podIps.length > 0 && !concerns(pass, podIps)) return;
      const own = pass.events?.length ?? 0;
      if (store.passes.length >= mostPasses || events + own > mostEvents) {
        store.notKept++;
        return;
      }
      events += own;
      store.passes.push(pass.events ? pass : copyOf(pass));
    },
  };
  return store;
}

/**
 * What is kept is a copy, made here. V8 remembers where long-lived objects are made, and from then on lets all that are made
 * there live long: the packets of a long log, of which most are not kept, would pile up until the next full collection.
 * Events refer to their headers, so a pass that has its own stays as it is; few have.
 */
function copyOf(pass: Pass): Pass {
  return { ...pass, headers: pass.headers.map(copyOfHeader) };
}

function copyOfHeader(header: PacketHeader): PacketHeader {
  const copy: PacketHeader = { ...header, tuple: { ...header.tuple } };
  if (header.tcp) copy.tcp = { ...header.tcp };
  if (header.icmp) copy.icmp = { ...header.icmp };
  return copy;
}

/** An ICMP error concerns whom it quotes; a header that is missing may concern anybody. */
function concerns(pass: Pass, podIps: string[]): boolean {
  const has = ({ tuple }: PacketHeader) => podIps.includes(tuple.src) || podIps.includes(tuple.dst);
  return (
    pass.headers.length === 0 ||
    pass.headers.some(header => has(header) || (header.icmp?.inner !== undefined && has(header.icmp.inner)))
  );
}
