/** Reads `6123` or `-5`: digits alone, no leading zero, and nothing that a number could not hold exactly. */
export function parseInteger(text: string): number | undefined {
  if (!/^-?(0|[1-9]\d*)$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value + 0 : undefined;
}

/** Reads a decimal number such as `0.5`, `-2` or `1e-3`; finite ones alone. */
export function parseDecimal(text: string): number | undefined {
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value + 0 : undefined;
}

const booleans = new Map([
  ...['true', 'enabled', 'enable', 'on', 'yes', '1'].map((word) => [word, true] as const),
  ...['false', 'disabled', 'disable', 'off', 'no', '0'].map((word) => [word, false] as const),
]);

/** Reads one of the words for true and false, in any case. */
export function parseBoolean(text: string): boolean | undefined {
  return booleans.get(text.toLowerCase());
}

/** What `parseBoolean` takes, for messages. */
export const booleanWords = 'true, enabled, enable, on, yes or 1; false, disabled, disable, off, no or 0';
