export type Json = null | boolean | number | string | Json[] | JsonObject;
export type JsonObject = { [name: string]: Json };

/** JSON merge patch (RFC 7396): members of `patch` replace those of `target`, objects merge, null removes. Gives `target`. */
export function applyMergePatch(target: JsonObject, patch: JsonObject): JsonObject {
  for (const name of Object.keys(patch)) {
    const value = patch[name]!;
    if (value === null) delete target[name];
    else if (!isJsonObject(value)) setMember(target, name, value);
    else {
      const before = Object.hasOwn(target, name) ? target[name] : undefined;
      setMember(target, name, applyMergePatch(isJsonObject(before) ? before : {}, value));
    }
  }
  return target;
}

/** `__proto__` is a name like any other here, which an assignment would take for something else. */
function setMember(object: JsonObject, name: string, value: Json): void {
  if (name !== '__proto__') object[name] = value;
  else Object.defineProperty(object, name, { value, enumerable: true });
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
