/** Which runs are ended where and how: every way at every point in the full suite, a sample of them otherwise; in an order of chance that a seed repeats. */
import { MODES, type Mode } from './cluster.ts';
import type { Plan } from './kills-run.ts';
import { QUAKES, STRIKES, type Strike } from './kills-ways.ts';

export interface Order extends Plan {
  mode: Mode;
  quake: boolean;
}

/** Mulberry32. @returns numbers from 0 to below 1 */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function shuffled<T>(items: T[], next: () => number): T[] {
  const all = [...items];
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [all[i], all[j]] = [all[j] as T, all[i] as T];
  }
  return all;
}

const CELLS = MODES.flatMap(mode => (['nft', 'raw'] as const).map(method => ({ mode, method })));

interface Pair {
  way: string;
  point: string;
  quake: boolean;
}

/** @param points in the order a run comes to them */
export function planKills(points: string[], full: boolean, sample: number, seed: number): Order[] {
  const next = random(seed);
  const pairs = full ? allPairs(points) : sampled(points, sample, next);
  return shuffled(pairs, next).map((pair, i) => ({
    ...pair,
    ...(CELLS[i % CELLS.length] as (typeof CELLS)[number]),
    log: pair.quake || next() < 0.25 ? 'kmsg' : 'nflog',
    node: i % 4 < 2 ? 'n1' : 'n2',
    delayMs: Math.floor(next() * 40),
  }));
}

function allPairs(points: string[]): Pair[] {
  return [
    ...STRIKES.flatMap(strike => possible(strike, points).map(point => ({ way: strike.name, point, quake: false }))),
    ...QUAKES.flatMap(quake => points.map(point => ({ way: quake.name, point, quake: true }))),
  ];
}

/** Every way and every point at least once: all pairs in an order of chance, and of those the ones that bring something new first. */
function sampled(points: string[], count: number, next: () => number): Pair[] {
  const rest = shuffled(allPairs(points), next);
  const ways = new Set<string>();
  const seen = new Set<string>();
  const news = rest.filter(({ way, point, quake }) => {
    // What shakes the whole cluster takes long: once each.
    if ((ways.has(way) && (quake || seen.has(point))) || (quake && ways.has(way))) return false;
    ways.add(way);
    seen.add(point);
    return true;
  });
  const more = rest.filter(pair => !pair.quake && !news.includes(pair));
  return [...news, ...more.slice(0, Math.max(0, count - news.length))];
}

/** Nothing is on a node before it was asked for, nor after it has gone. */
function possible({ on }: Strike, points: string[]): string[] {
  const [from, to] = {
    plugin: [points[0], points.at(-1)],
    pods: ['POST pods/RUN-node: done', 'DELETE pods/RUN-node'],
    agent: ['on the node: guard set', 'on the node: looking back'],
  }[on] as [string, string];
  return points.slice(points.indexOf(from), points.indexOf(to) + 1);
}
