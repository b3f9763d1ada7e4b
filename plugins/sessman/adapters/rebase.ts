export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/**
 * Applies to `theirs` what changed from `base` to `mine`: key by key inside objects, anything else as a whole. Where
 * both changed the same thing, mine wins. `undefined` stands for an absent key.
 */
export function rebase(
  base: Json | undefined,
  mine: Json | undefined,
  theirs: Json | undefined,
): Json | undefined {
  if (same(base, mine)) return theirs;
  if (same(base, theirs) || !isObject(mine) || !isObject(theirs)) return mine;
  const before = isObject(base) ? base : {};
  const entries: [string, Json][] = [];
  for (const key of new Set([...Object.keys(theirs), ...Object.keys(mine)])) {
    const value = rebase(own(before, key), own(mine, key), own(theirs, key));
    if (value !== undefined) entries.push([key, value]);
  }
  return Object.fromEntries(entries);
}

function isObject(value: Json | undefined): value is { readonly [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function own(object: { readonly [key: string]: Json }, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

function same(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((value, index) => same(value, b[index]));
  }
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]))
  );
}
