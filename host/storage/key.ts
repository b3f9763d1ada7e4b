const MAX_KEY = 512;

/** Why this cannot be a key; undefined when it can. */
export function keyFault(key: unknown): string | undefined {
  if (key === '') return `the key is empty; keys have 1 to ${MAX_KEY} bytes`;
  const fault = textFault(key);
  if (fault !== undefined) return `the key ${fault}`;
  const text = key as string;
  // Most keys are short, and no character has more than three bytes for each unit.
  if (text.length * 3 <= MAX_KEY || Buffer.byteLength(text) <= MAX_KEY) return undefined;
  return `the key has ${Buffer.byteLength(text)} bytes of UTF-8; keys have 1 to ${MAX_KEY}`;
}

/** Why no key can begin with this, as the rest of a sentence; undefined when one can. */
export function textFault(text: unknown): string | undefined {
  if (typeof text !== 'string') return `is not a text but ${kindOf(text)}`;
  if (text.includes('\0')) return 'contains NUL';
  return (text as WellFormed).isWellFormed()
    ? undefined
    : 'contains half a surrogate pair, which UTF-8 cannot represent';
}

/** The first text, in the order of UTF-8 bytes, after all that begin with `text`. One of its characters is below U+10FFFF. */
export function afterAll(text: string): string {
  const points = Array.from(text, (character) => character.codePointAt(0)!);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop()!;
  // U+D800 to U+DFFF are not characters.
  points.push(last === 0xd7ff ? 0xe000 : last + 1);
  return String.fromCodePoint(...points);
}

/** ECMAScript 2024, which Node has had since 20. */
type WellFormed = string & { isWellFormed(): boolean };

function kindOf(value: unknown): string {
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : typeof value;
}
