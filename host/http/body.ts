import type { IncomingMessage } from 'node:http';
import bourne from '@hapi/bourne';
import { printParseErrorCode, visit } from 'jsonc-parser';
import type Koa from 'koa';
import { HttpError } from './http-error.js';

export interface BodyLimits {
  /** Bytes of a body, after decompression. */
  readonly body: number;
  /** How deep its objects and arrays may nest. */
  readonly depth: number;
}

/** Reads a request's body into `ctx.request.body`, once; rejects with a 400, 413 or 415. */
export type ReadBody = (ctx: Koa.Context) => Promise<void> | void;

/** Types whose body the quick way may take: no charset, or UTF-8. */
const QUICK_TYPE = /^(?:application\/json|text\/javascript|text\/plain)(?:; ?charset=utf-8)?$/i;
const JSON_TYPE = /^(?:application|text)\/(?:[\w.!#$&^-]+\+)?(?:json|javascript|x-javascript|plain)\b/i;
const CHARSET = /;\s*charset\s*=\s*"?([^\s;"]+)"?/i;
const UTF8 = /^(?:utf-?8|us-ascii)$/i;

/**
 * JSON is read whatever member of its family the Content-Type names, text/javascript and text/plain included, and where
 * there is no Content-Type. A small body that has arrived whole is taken with one read; all others go through
 * koa-bodyparser.
 */
export function bodyReader(limits: BodyLimits): ReadBody {
  let general: Promise<Koa.Middleware> | undefined;
  const parsed = async () => {};

  async function readGenerally(ctx: Koa.Context): Promise<void> {
    const type = ctx.req.headers['content-type'];
    const charset = type === undefined ? null : CHARSET.exec(type);
    if (charset !== null && !UTF8.test(charset[1]!)) {
      throw new HttpError(415, 'unsupported_charset', `Bodies are read as UTF-8, not ${charset[1]}.`);
    }
    general ??= loadBodyParser(limits);
    const parse = await general;
    // What has been cut off meanwhile emits nothing more that koa-bodyparser could wait for.
    if (ctx.req.destroyed && !ctx.req.complete) {
      throw new HttpError(400, 'incomplete_body', 'The connection closed before the whole body had arrived.');
    }
    try {
      await parse(ctx, parsed);
    } catch (error) {
      throw explain(error, limits);
    }
    const text = ctx.request.rawBody as string | undefined;
    if (text !== undefined) checkDepth(text, ctx.request.body, limits);
  }

  return (ctx) => {
    const { req, request } = ctx;
    if (request.body !== undefined) return;
    const { 'content-length': length, 'content-type': type, 'content-encoding': encoding } = req.headers;
    if (length === undefined && req.headers['transfer-encoding'] === undefined) {
      request.body = {};
      return;
    }
    if (
      length === undefined ||
      type === undefined ||
      encoding !== undefined ||
      !req.complete ||
      req.readableFlowing !== null ||
      !(Number(length) <= limits.body) ||
      !QUICK_TYPE.test(type)
    ) {
      return readGenerally(ctx);
    }
    const text = withoutBom(readArrived(req, Number(length)));
    request.rawBody = text;
    request.body = text === '' ? {} : parse(text, limits);
    checkDepth(text, request.body, limits);
  };
}

/** A body that has arrived whole. Node 26 gives it in the pieces it came in, Node before that in one. */
function readArrived(req: IncomingMessage, length: number): string {
  const first = req.read() as Buffer | null;
  if (first === null) return '';
  if (first.length === length) return first.toString();
  const chunks = [first];
  for (let next = req.read(); next !== null; next = req.read()) chunks.push(next);
  return Buffer.concat(chunks).toString();
}

/** Loaded when a body first needs it: with all that it brings it takes 4 MB, and many servers never do. */
async function loadBodyParser(limits: BodyLimits): Promise<Koa.Middleware> {
  const { default: bodyParser } = await import('koa-bodyparser');
  return bodyParser({
    jsonLimit: `${limits.body}b`,
    formLimit: `${limits.body}b`,
    detectJSON: (ctx) => isJson(ctx.request.headers['content-type']),
  });
}

function isJson(type: string | undefined): boolean {
  return type === undefined || JSON_TYPE.test(type);
}

function withoutBom(text: string): string {
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

/** As koa-bodyparser does it: an object or an array, and no `__proto__` in it. */
function parse(text: string, limits: BodyLimits): unknown {
  try {
    if (!/^[ \t\n\r]*[[{]/.test(text)) throw new SyntaxError('neither an object nor an array');
    return bourne.parse(text);
  } catch (error) {
    throw explain(Object.assign(error as Error, { status: 400, body: text }), limits);
  }
}

/** Of an error of co-body or raw-body, the one that the client is told. */
function explain(error: unknown, limits: BodyLimits): unknown {
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

function checkDepth(text: string, value: unknown, limits: BodyLimits): void {
  // Where no more brackets open than levels are allowed, no look at the value is needed.
  if (opensMoreThan(limits.depth, text) && !depthAtMost(value, limits.depth)) throw tooDeep(limits);
}

function tooDeep({ depth }: BodyLimits): HttpError {
  return new HttpError(400, 'body_too_deep', `The body nests deeper than ${depth} levels.`);
}

function opensMoreThan(limit: number, text: string): boolean {
  if (text.length <= 2 * limit) return false;
  let count = 0;
  for (const bracket of ['{', '[']) {
    for (let at = text.indexOf(bracket); at >= 0; at = text.indexOf(bracket, at + 1)) {
      count += 1;
      if (count > limit) return true;
    }
  }
  return false;
}

function depthAtMost(root: unknown, limit: number): boolean {
  let level: object[] = isObject(root) ? [root] : [];
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth === limit) return false;
    level = level.flatMap((item) => Object.values(item).filter(isObject));
  }
  return true;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}
