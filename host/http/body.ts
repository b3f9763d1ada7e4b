import type { IncomingMessage } from 'node:http';
import bourne from '@hapi/bourne';
import type Koa from 'koa';
import { type BodyLimits, explain, withoutBom } from './body-errors.js';
import { hostError } from './errors.js';
import { checkDepth } from './json-depth.js';

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
      throw hostError('unsupported_charset', { charset: charset[1]! });
    }
    general ??= loadBodyParser(limits);
    const parse = await general;
    // What has been cut off meanwhile emits nothing more that koa-bodyparser could wait for.
    if (ctx.req.destroyed && !ctx.req.complete) {
      throw hostError('body_incomplete');
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

/** As koa-bodyparser does it: an object or an array, and no `__proto__` in it. */
function parse(text: string, limits: BodyLimits): unknown {
  try {
    if (!/^[ \t\n\r]*[[{]/.test(text)) throw new SyntaxError('neither an object nor an array');
    return bourne.parse(text);
  } catch (error) {
    throw explain(Object.assign(error as Error, { status: 400, body: text }), limits);
  }
}
