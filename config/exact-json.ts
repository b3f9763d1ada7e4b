/** A place in a JSON text at which `JSON.parse` silently loses something. */
export interface InexactJson {
  /** `number`: a double cannot represent it. `duplicate`: the object already has a member of this name. */
  readonly kind: 'number' | 'duplicate';
  /** From the start of the text, in UTF-16 units. */
  readonly offset: number;
  readonly length: number;
  /** Line and column count from 1. */
  readonly line: number;
  readonly column: number;
  /** Where in the value: `data.items[3].id`. Empty for the value itself. */
  readonly path: string;
}

/**
 * The first number that a double cannot represent, or the first member given twice in one object. `text` must be valid
 * JSON, and `value` what it parses to. For most texts, counting is enough: as many members as names, and only safe numbers.
 */
export function findInexact(text: string, value: unknown): InexactJson | undefined {
  return countNames(text) === countMembers(value, mayUnderflow(text), 0) ? undefined : scan(text);
}

/**
 * Whether a double represents a number of JSON. From 2^53 on, it must print as the same number; zero must come from zero.
 * A smaller number becomes the nearest double, which is what its author expects of 0.1.
 */
export function isExactNumber(text: string): boolean {
  const value = Number(text);
  if (Math.abs(value) < 2 ** 53) return value !== 0 || /^[^eE1-9]*(?:[eE]|$)/.test(text);
  return Number.isFinite(value) && decimal(text) === decimal(String(value));
}

const quote = 0x22;
const backslash = 0x5c;
const deepest = 200;

/** An upper bound of the names in the text: a string may contain what looks like one, and no name is missed. */
function countNames(text: string): number {
  let count = 0;
  for (let at = text.indexOf(':'); at !== -1; at = text.indexOf(':', at + 1)) {
    let before = at - 1;
    let code = text.charCodeAt(before);
    while (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) code = text.charCodeAt(--before);
    if (code === quote) count += 1;
  }
  return count;
}

/** A zero can come from another number only by a negative exponent or by hundreds of zeros. */
function mayUnderflow(text: string): boolean {
  return text.includes('e-') || text.includes('E-') || text.includes(zeros);
}

const zeros = '0'.repeat(300);

/** The number of members of all its objects; NaN, which equals nothing, when only a scan can tell. */
function countMembers(value: unknown, isZeroSuspect: boolean, depth: number): number {
  if (typeof value === 'number') {
    if (value === 0) return isZeroSuspect ? Number.NaN : 0;
    return value < 2 ** 53 && value > -(2 ** 53) ? 0 : Number.NaN;
  }
  if (typeof value !== 'object' || value === null) return 0;
  // Deeper than this, recursion might exhaust the stack.
  if (depth > deepest) return Number.NaN;
  let count = 0;
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index += 1)
      count += countMembers(value[index], isZeroSuspect, depth + 1);
  } else {
    for (const name in value)
      count += 1 + countMembers((value as Record<string, unknown>)[name], isZeroSuspect, depth + 1);
  }
  return count;
}

/** An object or a list that is being scanned. */
interface Frame {
  readonly isList: boolean;
  /** Index of the item, in a list. */
  index: number;
  /** The latest name, in an object; undefined where the next string is a name. */
  name: string | undefined;
  names: Set<string> | undefined;
}

/**
 * Skips strings, so that it sees only structure and numbers. jsonc-parser's `visit` would take eighteen times as
 * long over the body of a request, and calls itself for each level.
 */
function scan(text: string): InexactJson | undefined {
  const frames: Frame[] = [];
  const number = /-?\d[\d.eE+-]*/y;
  let frame: Frame | undefined;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      const end = endOfString(text, at);
      if (frame && !frame.isList && frame.name === undefined) {
        const name = unescaped(text.slice(at, end));
        const isTwice = frame.names?.has(name);
        frame.name = name;
        if (isTwice) return found('duplicate', text, at, end, frames);
        frame.names ??= new Set();
        frame.names.add(name);
      }
      at = end - 1;
    } else if (code === 0x2d || (code >= 0x30 && code <= 0x39)) {
      number.lastIndex = at;
      const [digits = ''] = number.exec(text) ?? [];
      const end = at + Math.max(digits.length, 1);
      if (!isExactNumber(digits)) return found('number', text, at, end, frames);
      at = end - 1;
    } else if (code === 0x7b || code === 0x5b) {
      frame = { isList: code === 0x5b, index: 0, name: undefined, names: undefined };
      frames.push(frame);
    } else if (code === 0x7d || code === 0x5d) {
      frames.pop();
      frame = frames.at(-1);
    } else if (code === 0x2c && frame) {
      frame.index += 1;
      frame.name = undefined;
    }
  }
  return undefined;
}

/** The offset after the quote that closes the string. */
function endOfString(text: string, start: number): number {
  for (let at = text.indexOf('"', start + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let first = at;
    while (text.charCodeAt(first - 1) === backslash) first -= 1;
    if ((at - first) % 2 === 0) return at + 1;
  }
  return text.length;
}

function unescaped(literal: string): string {
  return literal.includes('\\') ? JSON.parse(literal) : literal.slice(1, -1);
}

/** A number's significant digits and the exponent of the last digit: the same however the number is written. */
function decimal(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const digits = (whole + fraction).replace(/^0+/, '');
  const significant = withoutZerosAtEnd(digits);
  return `${sign}${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}

/** Not by /0+$/, whose time grows with the square of the zeros before another digit. */
function withoutZerosAtEnd(digits: string): string {
  let end = digits.length;
  while (digits.charCodeAt(end - 1) === 0x30) end -= 1;
  return digits.slice(0, end);
}

function found(
  kind: InexactJson['kind'],
  text: string,
  offset: number,
  end: number,
  frames: readonly Frame[],
): InexactJson {
  const before = text.slice(0, offset).split(/\r\n|\n|\r/);
  const place = { line: before.length, column: before.at(-1)!.length + 1 };
  return { kind, offset, length: end - offset, ...place, path: pathOf(frames) };
}

/** The path; if it is long, without its middle. */
function pathOf(frames: readonly Frame[]): string {
  const steps = frames.map(({ isList, index, name = '' }) => {
    if (isList) return `[${index}]`;
    const short = name.length > 60 ? `${name.slice(0, 59)}…` : name;
    return /^[\p{L}_$][\p{L}\p{N}_$…-]*$/u.test(short) ? `.${short}` : `[${JSON.stringify(short)}]`;
  });
  const shown = steps.length > 12 ? [...steps.slice(0, 6), '…', ...steps.slice(-5)] : steps;
  return shown.join('').replace(/^\./, '');
}
