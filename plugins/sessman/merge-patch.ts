export type Json = null | boolean | number | string | Json[] | JsonObject;
export type JsonObject = { [name: string]: Json };

/** JSON merge patch (RFC 7396): members of `patch` replace those of `target`, objects merge, null removes. */
export function mergePatch(target: JsonObject, patch: JsonObject): JsonObject {
  // A Map and fromEntries rather than assignment: `__proto__` is then a name like any other.
  const merged = new Map(Object.entries(target));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) merged.delete(name);
    else if (!isJsonObject(value)) merged.set(name, value);
    else {
      const before = merged.get(name);
      merged.set(name, mergePatch(isJsonObject(before) ? before : {}, value));
    }
  }
  return Object.fromEntries(merged);
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
