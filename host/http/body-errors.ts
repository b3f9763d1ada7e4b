import { printParseErrorCode, visit } from 'jsonc-parser';
import { HttpError } from '../kit/http-error.js';

export interface BodyLimits {
  /** Bytes of a body, after decompression. */
  readonly body: number;
  /** How deep its objects and arrays may nest. */
  readonly depth: number;
}

/** Of an error of co-body or raw-body, the one that the client is told. */
export function explain(error: unknown, limits: BodyLimits): unknown {
  const { status, body, type } = error as { status?: number; body?: unknown; type?: unknown };
  if (type === 'stream.not.readable' || type === 'request.aborted') {
    return new HttpError(400, 'body_incomplete', 'The body ended before it was whole.', { cause: error });
  }
  if (status === 413) {
    return new HttpError(413, 'body_too_large', `The body is larger than ${limits.body} bytes.`, {
      cause: error,
    });
  }
  if (status === 415) {
    return new HttpError(
      415,
      'unsupported_encoding',
      'The body has a Content-Encoding that is not supported; use gzip, deflate, br or none.',
      {
        cause: error,
      },
    );
  }
  if (typeof body === 'string') return explainJson(withoutBom(body), limits, error);
  if (status !== undefined) return error;
  // zlib says so of a body that is not what its Content-Encoding claims.
  const { code } = error as { code?: unknown };
  if (typeof code === 'string' && /^(?:Z_|ERR_|__ERROR)/.test(code)) {
    return new HttpError(
      400,
      'invalid_encoding',
      'The body cannot be decompressed as its Content-Encoding says.',
      {
        cause: error,
      },
    );
  }
  return error;
}

function explainJson(text: string, limits: BodyLimits, cause: unknown): HttpError {
  const first = firstError(text, limits.depth);
  if (first === 'too deep') return tooDeep(limits);
  if (first !== undefined) {
    return new HttpError(
      400,
      'invalid_json',
      `The body is not JSON: ${first.what} at line ${first.line}, column ${first.column}.`,
      { cause },
    );
  }
  if (/^[ \t\n\r]*[[{]/.test(text)) {
    return new HttpError(400, 'forbidden_key', 'The body has a key "__proto__", which is not accepted.', {
      cause,
    });
  }
  return new HttpError(400, 'invalid_json', 'The body must be a JSON object or array.', { cause });
}

export function tooDeep({ depth }: BodyLimits): HttpError {
  return new HttpError(400, 'body_too_deep', `The body nests deeper than ${depth} levels.`);
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
