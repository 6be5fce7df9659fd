/**
 * Requests made at the same time: none is left running behind the back of what cleans up, and of several that fail the first
 * in the list is told, not the first in time, so that the same trouble is told in the same words every time.
 */
export async function together<T extends readonly unknown[]>(
  work: {
    readonly [K in keyof T]: Promise<T[K]>;
  },
): Promise<T> {
  await Promise.allSettled(work);
  return (await Promise.all(work)) as unknown as T;
}
