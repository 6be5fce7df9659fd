/** A description of a JSON value's shape, and where a value departs from it. For what comes from outside and claims to be ours. */

/**
 * A type's name; the texts that are allowed; a list of one shape; or an object of shapes, `?` before a key that may be left out, `*` for
 * every key there is.
 */
export type Shape = 'string' | 'number' | 'boolean' | 'any' | Set<string> | [Shape] | { [key: string]: Shape };

/** The first place where the value is not as described, in words: `traces[2].text is not a string`. */
export function departsFrom(value: unknown, shape: Shape, path: string): string | undefined {
  if (shape === 'any') return undefined;
  if (typeof shape === 'string') {
    return typeof value === shape ? undefined : `${path} is not a ${shape}`;
  }
  if (shape instanceof Set)
    return shape.has(value as string) ? undefined : `${path} is not one of ${[...shape].join(', ')}`;
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) return `${path} is not a list`;
    return firstOf(value, (item, index) => departsFrom(item, shape[0], `${path}[${index}]`));
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `${path} is not an object`;
  return firstOf(Object.entries(shape), ([key, part]) => {
    if (key === '*') return firstOf(Object.entries(value), ([name, own]) => departsFrom(own, part, `${path}.${name}`));
    const optional = key.startsWith('?');
    const name = optional ? key.slice(1) : key;
    const own = (value as Record<string, unknown>)[name];
    return optional && own === undefined ? undefined : departsFrom(own, part, path === '' ? name : `${path}.${name}`);
  });
}

function firstOf<T>(items: T[], find: (item: T, index: number) => string | undefined): string | undefined {
  for (const [index, item] of items.entries()) {
    const found = find(item, index);
    if (found !== undefined) return found;
  }
  return undefined;
}
