const MAX_KEY = 512;

/**
 * Refuses what cannot be a key.
 * @throws TypeError
 */
export function checkKey(key: unknown, where: string): asserts key is string {
  if (typeof key !== 'string') throw new TypeError(`${where}: the key is not a text but ${kindOf(key)}`);
  if (key === '') throw new TypeError(`${where}: the key is empty; keys have 1 to ${MAX_KEY} bytes`);
  checkText(key, where, 'the key');
  // Most keys are short, and no character has more than three bytes for each unit.
  if (key.length * 3 > MAX_KEY && Buffer.byteLength(key) > MAX_KEY) {
    throw new TypeError(
      `${where}: the key has ${Buffer.byteLength(key)} bytes of UTF-8; keys have 1 to ${MAX_KEY}`,
    );
  }
}

/**
 * Refuses a text that no key can begin with.
 * @throws TypeError
 */
export function checkText(text: unknown, where: string, what: string): asserts text is string {
  if (typeof text !== 'string') throw new TypeError(`${where}: ${what} is not a text but ${kindOf(text)}`);
  if (text.includes('\0')) throw new TypeError(`${where}: ${what} contains NUL`);
  if (LONE_SURROGATE.test(text)) {
    throw new TypeError(`${where}: ${what} contains half a surrogate pair, which UTF-8 cannot hold`);
  }
}

/** The first text, in the order of UTF-8 bytes, after all that begin with `text`. One of its characters is below U+10FFFF. */
export function afterAll(text: string): string {
  const points = Array.from(text, (character) => character.codePointAt(0)!);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop()!;
  // U+D800 to U+DFFF are no characters.
  points.push(last === 0xd7ff ? 0xe000 : last + 1);
  return String.fromCodePoint(...points);
}

const LONE_SURROGATE = /\p{Surrogate}/u;

function kindOf(value: unknown): string {
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : typeof value;
}
