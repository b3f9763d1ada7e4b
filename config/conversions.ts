/** How the text behind a prefix becomes a value, and what to say when it cannot. */
export interface Conversion {
  parse(text: string): unknown;
  readonly refusal: { readonly message: string; readonly hint: string };
}

/** Reads `6123` or `-5`: only digits, no leading zero, and nothing that a number cannot represent exactly. */
export function parseInteger(text: string): number | undefined {
  if (!/^-?(?:0|[1-9]\d*)$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value + 0 : undefined;
}

/** Reads a finite decimal number such as `0.5`, `-2` or `1e-3`. */
export function parseDecimal(text: string): number | undefined {
  if (!/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value + 0 : undefined;
}

const truths = ['true', 'enabled', 'enable', 'on', 'yes', '1'];
const untruths = ['false', 'disabled', 'disable', 'off', 'no', '0'];

/** Reads one of the words for true and false, in any case. */
export function parseBoolean(text: string): boolean | undefined {
  const word = text.toLowerCase();
  return truths.includes(word) ? true : untruths.includes(word) ? false : undefined;
}

export const conversions = {
  'int:': {
    parse: parseInteger,
    refusal: {
      message: 'the value after int: is not an integer',
      hint: 'write up to 15 digits and nothing else, such as int:6123',
    },
  },
  'float:': {
    parse: parseDecimal,
    refusal: {
      message: 'the value after float: is not a decimal number',
      hint: 'write digits and a point, such as float:0.5',
    },
  },
  'bool:': {
    parse: parseBoolean,
    refusal: {
      message: 'the value after bool: is neither true nor false',
      hint: `write bool: and one of ${truths.join(', ')}; ${untruths.join(', ')}`,
    },
  },
} as const satisfies Record<string, Conversion>;
