import { printParseErrorCode, visit } from 'jsonc-parser';
import type { HttpError } from '../kit/http-error.js';
import { hostError } from './errors.js';

export interface BodyLimits {
  /** Bytes of a body, after decompression. */
  readonly body: number;
  /** How deep its objects and arrays may nest. */
  readonly depth: number;
}

/** What a client learns about text that is not JSON. */
export function explainJson(text: string, limits: BodyLimits, cause: unknown): HttpError {
  const first = firstError(text, limits.depth);
  if (first === 'too deep') return tooDeep(limits);
  if (first !== undefined) {
    const fault = `${first.what} at line ${first.line}, column ${first.column}`;
    return hostError('invalid_json', { fault }, { cause });
  }
  if (/^[ \t\n\r]*[[{]/.test(text)) return hostError('forbidden_key', { cause });
  return hostError('invalid_json', { fault: 'it must be an object or array' }, { cause });
}

export function tooDeep({ depth }: BodyLimits): HttpError {
  return hostError('body_too_deep', { depth });
}

export function withoutBom(text: string): string {
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

interface JsonError {
  readonly what: string;
  readonly line: number;
  readonly column: number;
}

/** The first error in a text, found without going deeper than `depth`: the visitor calls itself for each level. */
function firstError(text: string, depth: number): JsonError | 'too deep' | undefined {
  let level = 0;
  let found: JsonError | 'too deep' | undefined;
  const stop = new Error('found');
  const enter = () => {
    level += 1;
    if (level <= depth) return;
    found = 'too deep';
    throw stop;
  };
  const leave = () => {
    level -= 1;
  };
  try {
    visit(
      text,
      {
        onObjectBegin: enter,
        onObjectEnd: leave,
        onArrayBegin: enter,
        onArrayEnd: leave,
        onError(code, _offset, _length, line, column) {
          const what = printParseErrorCode(code).replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ');
          found = { what: what.toLowerCase(), line: line + 1, column: column + 1 };
          throw stop;
        },
      },
      { disallowComments: true, allowTrailingComma: false },
    );
  } catch (error) {
    if (error !== stop) throw error;
  }
  return found;
}
