import { SessionError } from '../client/client.js';

/**
 * A session's data as JSON text. As in `JSON.stringify`, a member that is undefined, a function or a symbol is left out.
 * @throws SessionError `invalid_data` where the text would have another value; it names the place, and nothing is saved
 */
export function encode(data: object): string {
  const refused: { holder: object; key: string; what: string }[] = [];
  function check(this: object, key: string, value: unknown): unknown {
    const what = unkept(this, key, value);
    if (what === undefined) return value;
    refused.push({ holder: this, key, what });
    throw refused;
  }
  try {
    return JSON.stringify(data, check);
  } catch (cause) {
    const [first] = refused;
    if (first === undefined) {
      throw new SessionError(
        'invalid_data',
        `the session's data cannot be saved: ${(cause as Error).message}`,
        {
          cause,
        },
      );
    }
    const place = placeOf(data, first.holder, first.key);
    throw new SessionError('invalid_data', `the session's data cannot be saved: "${place}" ${first.what}`);
  }
}

/** Why JSON would lose or change a member, if it would. */
function unkept(holder: object, key: string, value: unknown): string | undefined {
  if (key === '__proto__') return 'is a name that sessman refuses; use another name';
  if (typeof value === 'bigint')
    return `is the BigInt ${value}, which JSON cannot represent; save it as text`;
  if (isNumber(value) && !Number.isFinite(Number(value))) {
    return `is ${value}, which JSON cannot represent; save it as text, or leave it out`;
  }
  if (value === null && (holder as Record<string, unknown>)[key] instanceof Date)
    return 'is an invalid date; save null, or leave it out';
  if (Array.isArray(holder) && ['undefined', 'function', 'symbol'].includes(typeof value))
    return `is ${typeof value}, which JSON cannot represent in a list; save null, or leave it out`;
  const [, kind = ''] = /^\[object (.*)\]$/.exec(Object.prototype.toString.call(value)) ?? [];
  if (typeof value === 'object' && !kept.includes(kind))
    return `is of the type ${kind}, which JSON cannot represent; save a plain object, a list or text`;
  return undefined;
}

const kept = ['Object', 'Array', 'String', 'Number', 'Boolean', 'Null'];

function isNumber(value: unknown): boolean {
  return typeof value === 'number' || value instanceof Number;
}

/** The place of that member, such as `cart.items[2].price`. */
function placeOf(data: object, holder: object, key: string): string {
  const seen = new Set<object>();
  const search = (value: unknown, path: string): string | undefined => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return undefined;
    if (value === holder) return join(value, path, key);
    seen.add(value);
    for (const [name, member] of Object.entries(value)) {
      const found = search(member, join(value, path, name));
      if (found !== undefined) return found;
    }
    return undefined;
  };
  // What `toJSON` returned is not in the data itself.
  return search(data, '') ?? key;
}

function join(holder: object, path: string, key: string): string {
  if (Array.isArray(holder)) return `${path}[${key}]`;
  return path === '' ? key : `${path}.${key}`;
}
