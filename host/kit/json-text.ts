/**
 * The JSON text of a value that reads back as the same value.
 *
 * @param where what the caller did, for the message: `channel("x").publish`
 * @throws TypeError that names the place of what JSON cannot hold
 */
export function jsonText(value: unknown, where: () => string): string {
  if (!isCertain(value, deepest)) {
    const fault = findFault(value, [], []);
    if (fault !== undefined) {
      throw new TypeError(`${where()}: ${placeOf(fault.path)} is ${fault.is}; ${fault.remedy}`);
    }
  }
  return JSON.stringify(value);
}

/** Whether a value has no fault, as far as can be told without its path and what contains it: in a sixth of the time. */
function isCertain(value: unknown, depth: number): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object') return typeof value === 'string' || typeof value === 'boolean';
  if (value === null) return true;
  if (depth === 0) return false;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1) {
      if (!isCertain(value[index], depth - 1)) return false;
    }
    return true;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  // Inherited members are also looked at, which JSON leaves out: with Object.keys, it would take twice as long.
  for (const key in value) {
    const member = (value as Record<string, unknown>)[key];
    if (member !== undefined && !isCertain(member, depth - 1)) return false;
  }
  return true;
}

/** What is nested deeper, or contains itself, is left to `findFault`. */
const deepest = 50;

interface Fault {
  readonly path: readonly (string | number)[];
  readonly is: string;
  readonly remedy: string;
}

function findFault(value: unknown, path: (string | number)[], within: object[]): Fault | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined;
    case 'number':
      return Number.isFinite(value)
        ? undefined
        : fault(path, String(value), 'JSON has no number for it; store null or a string');
    case 'undefined':
      return fault(path, 'undefined', path.length === 0 ? 'delete the key instead' : 'store null instead');
    case 'bigint':
      return fault(path, 'a bigint', 'store it as a text');
    case 'function':
    case 'symbol':
      return fault(path, `a ${typeof value}`, 'store data alone');
    default:
      return value === null ? undefined : findFaultWithin(value as object, path, within);
  }
}

function findFaultWithin(value: object, path: (string | number)[], within: object[]): Fault | undefined {
  if (within.includes(value)) return fault(path, 'a reference to what contains it', 'JSON has no references');
  within.push(value);
  let found: Fault | undefined;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length && found === undefined; index += 1) {
      path.push(index);
      found = findFault(value[index], path, within);
      path.pop();
    }
  } else if (isPlain(value)) {
    for (const key of Object.keys(value)) {
      const member = (value as Record<string, unknown>)[key];
      if (member === undefined) continue;
      path.push(key);
      found = findFault(member, path, within);
      path.pop();
      if (found !== undefined) break;
    }
  } else found = instanceFault(value, path);
  within.pop();
  return found;
}

function instanceFault(value: object, path: readonly (string | number)[]): Fault {
  if (value instanceof Date) return fault(path, 'a Date', 'store its toISOString() or getTime()');
  if (value instanceof Map) return fault(path, 'a Map', 'store Object.fromEntries() of it');
  if (value instanceof Set) return fault(path, 'a Set', 'store [...it]');
  const name = value.constructor?.name;
  return fault(path, name ? `an instance of ${name}` : 'an instance of a class', 'store a plain object');
}

/** Whether it is an object as `{}` makes it, in whichever realm. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function fault(path: readonly (string | number)[], is: string, remedy: string): Fault {
  return { path: [...path], is, remedy };
}

function placeOf(path: readonly (string | number)[]): string {
  const steps = path.map((step) => {
    if (typeof step === 'number') return `[${step}]`;
    return /^[\p{L}_$][\p{L}\p{N}_$]*$/u.test(step) ? `.${step}` : `[${JSON.stringify(step)}]`;
  });
  return `value${steps.join('')}`;
}
