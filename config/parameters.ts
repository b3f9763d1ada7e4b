import { isSecretName } from './secrets.js';
import type { Fault, Source, Span } from './source.js';
import { dropStart, type Part, type Reference, spanOf, splitParts, trimParts } from './template.js';

/** One of the parameters in `a=1&b=2`; `json=FILE` is one with the key `json`. */
export interface Parameter {
  readonly key: string;
  readonly keySpan: Span;
  readonly value: readonly Part[];
  readonly valueSpan: Span;
}

/** A reference in place of a parameter: to an object whose keys all become parameters. */
export interface Spread {
  readonly reference: Reference;
}

/**
 * Splits a list of parameters. This happens before references are followed, so that their values may contain `&`.
 * Nothing is percent-decoded; blanks around `&` and around `=` do not count.
 */
export function parseParameters(
  parts: readonly Part[],
  source: Source,
  fault: (fault: Fault) => void,
): (Parameter | Spread)[] {
  const parameters: (Parameter | Spread)[] = [];
  const pieces = splitParts(parts, /&/g);
  let ampersand = spanOf(parts)?.start ?? 0;
  let afterSecret = false;
  for (const [index, piece] of parts.length === 0 ? [] : pieces.entries()) {
    const isLast = index === pieces.length - 1;
    ampersand = spanOf(piece)?.end ?? ampersand;
    const trimmed = trimParts(piece);
    const span = spanOf(trimmed);
    const parameter = span && parseParameter(trimmed, span);
    if (parameter) {
      parameters.push(parameter);
      afterSecret = 'key' in parameter && isSecretName(parameter.key);
    } else if (span) {
      // This may be the rest of a secret that contains "&".
      if (afterSecret) source.hide(span);
      fault({ ...span, ...notNamed });
    } else {
      const start = isLast ? ampersand - 1 : ampersand;
      fault({ start, end: start + 1, ...nothing });
    }
    ampersand += 1;
  }
  return parameters;
}

const notNamed = {
  message: 'the parameter is not name=value',
  hint: `put a value that contains "&" in [main], and write \${main:key} here`,
};
const nothing = { message: 'a parameter is missing beside this "&"', hint: 'write a=1&b=2' };

function parseParameter(parts: readonly Part[], span: Span): Parameter | Spread | undefined {
  const first = parts[0]!;
  if (first.kind === 'reference') return parts.length === 1 ? { reference: first } : undefined;
  const equals = first.text.indexOf('=');
  const key = first.text.slice(0, Math.max(equals, 0)).trimEnd();
  if (key === '') return undefined;
  const value = trimParts(dropStart(parts, equals + 1));
  return {
    key,
    keySpan: { start: first.start, end: first.start + key.length },
    value,
    valueSpan: spanOf(value) ?? { start: span.end, end: span.end },
  };
}
