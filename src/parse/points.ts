/** The shared parts of trace events: one object for everything that is written the same way, with a number of its own. */
import type { TracePoint, Via } from '../model.ts';
import { intern } from './strings.ts';

let points = 0;

/** A new point; whoever makes one remembers it by the text it was made from. */
export function makePoint(parts: Omit<TracePoint, 'id'>): TracePoint {
  return { id: points++, ...parts };
}

const vias = new Map<string, Via>();

/** The one Via of these interfaces. An empty name means: no such interface at this hook. */
export function viaOf(inward = '', outward = '', physIn = '', physOut = ''): Via {
  const key = `${inward} ${outward} ${physIn} ${physOut}`;
  const known = vias.get(key);
  if (known) return known;
  // Nodes come and go with thousands of interfaces; what is remembered is only a shortcut.
  if (vias.size >= 8192) vias.clear();
  const via: Via = { id: nextVia++ };
  if (inward !== '') via.in = intern(inward);
  if (outward !== '') via.out = intern(outward);
  if (physIn !== '') via.physIn = intern(physIn);
  if (physOut !== '') via.physOut = intern(physOut);
  vias.set(key, via);
  return via;
}

let nextVia = 0;

export const NO_VIA: Via = viaOf();
