/** Compares only what `want` says, at any depth; a field `want` has as undefined must not be there. */
import { expect } from 'vitest';

export function expectLike(actual: unknown, want: unknown): void {
  expect(project(actual, want)).toEqual(want);
}

function project(actual: unknown, want: unknown): unknown {
  if (Array.isArray(want) && Array.isArray(actual)) return actual.map((item, i) => project(item, want[i]));
  if (!isPlain(want) || !isPlain(actual)) return actual;
  return Object.fromEntries(Object.keys(want).map(key => [key, project(actual[key], want[key])]));
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
