import { isUtf8 } from 'node:buffer';
import bourne from '@hapi/bourne';
import type Koa from 'koa';
import { findInexact } from '../../config/exact-json.js';
import { type BodyLimits, explain, withoutBom } from './body-errors.js';
import { collectBody } from './collect-body.js';
import { hostError } from './errors.js';
import { takeQuickBody } from './fast/quick-body.js';
import { checkDepth } from './json-depth.js';

/** Reads a request's body into `ctx.request.body`, once; throws or rejects with a 400, 413 or 415. */
export type ReadBody = (ctx: Koa.Context, atMost?: number) => Promise<void> | void;

const JSON_TYPE = /^(?:application|text)\/(?:[\w.!#$&^-]+\+)?(?:json|javascript|x-javascript|plain)\b/i;
const CHARSET = /;\s*charset\s*=\s*"?([^\s;"]+)"?/i;
const UTF8 = /^(?:utf-?8|us-ascii)$/i;

/**
 * JSON is read whatever member of its family the Content-Type names, text/javascript and text/plain included, and where
 * there is no Content-Type. Forms go through koa-bodyparser.
 */
export function bodyReader(limits: BodyLimits): ReadBody {
  let forms: Promise<Koa.Middleware> | undefined;

  async function readGenerally(ctx: Koa.Context, limit: number): Promise<void> {
    const { req } = ctx;
    const type = req.headers['content-type'];
    const charset = type === undefined ? null : CHARSET.exec(type);
    if (charset !== null && !UTF8.test(charset[1]!)) {
      throw hostError('unsupported_charset', { charset: charset[1]! });
    }
    const { 'content-length': length, 'content-encoding': encoding } = req.headers;
    if (encoding === undefined && Number(length) > limit) throw hostError('body_too_large', { limit });
    askForBody(ctx);
    if (isJson(type)) {
      acceptJson(ctx, await collectBody(req, limit), limits);
      return;
    }
    forms ??= loadFormParser(limits);
    const parse = await forms;
    // What has been cut off meanwhile emits nothing more that koa-bodyparser could wait for.
    if (req.destroyed && !req.complete) throw hostError('body_incomplete');
    try {
      await parse(ctx, async () => {});
    } catch (error) {
      throw explain(error, limits);
    }
  }

  return (ctx, atMost = limits.body) => {
    const { req, request } = ctx;
    if (request.body !== undefined) return;
    if (!hasBody(ctx)) {
      request.body = {};
      return;
    }
    const limit = Math.min(atMost, limits.body);
    const bytes = takeQuickBody(req, limit);
    if (bytes === undefined) return readGenerally(ctx, limit);
    acceptJson(ctx, bytes, limits);
  };
}

/** Tells a client that waits to be asked to send its body (RFC 9110 section 10.1.1). */
export function askForBody({ req, res }: Koa.Context): void {
  if (req.headers.expect !== undefined && req.httpVersionMinor > 0) res.writeContinue();
}

/** Whether a request may bring its API key in a JSON body of at most that many bytes. */
export function mayHoldKey(ctx: Koa.Context, atMost: number): boolean {
  const { 'content-length': length, 'content-type': type } = ctx.req.headers;
  return hasBody(ctx) && isJson(type) && !(Number(length) > atMost);
}

function hasBody({ req }: Koa.Context): boolean {
  return req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined;
}

/** An object or an array, of which JSON.parse loses nothing, without `__proto__` in it. */
function acceptJson({ request }: Koa.Context, bytes: Buffer, limits: BodyLimits): void {
  if (!isUtf8(bytes)) throw hostError('invalid_utf8', { offset: firstInvalid(bytes) });
  const text = withoutBom(bytes.toString());
  request.rawBody = text;
  const body = text === '' ? {} : parse(text, limits);
  checkDepth(text, body, limits);
  const inexact = findInexact(text, body);
  if (inexact !== undefined) {
    const { kind, path, line, column } = inexact;
    const place = `${path} (line ${line}, column ${column})`;
    throw hostError(kind === 'number' ? 'inexact_number' : 'duplicate_parameter', { place });
  }
  request.body = body;
}

/** The offset of the first byte that is not UTF-8. */
function firstInvalid(bytes: Buffer): number {
  let text = bytes.toString();
  let offset = 0;
  for (;;) {
    const at = text.indexOf('\uFFFD');
    if (at < 0) return offset;
    offset += Buffer.byteLength(text.slice(0, at));
    if (bytes[offset] !== 0xef || bytes[offset + 1] !== 0xbf || bytes[offset + 2] !== 0xbd) return offset;
    offset += 3;
    text = text.slice(at + 1);
  }
}

/** Loaded when a form first needs it: with all that it brings it takes 4 MB, and many servers never do. */
async function loadFormParser(limits: BodyLimits): Promise<Koa.Middleware> {
  const { default: bodyParser } = await import('koa-bodyparser');
  return bodyParser({ enableTypes: ['form'], formLimit: `${limits.body}b` });
}

function isJson(type: string | undefined): boolean {
  return type === undefined || JSON_TYPE.test(type);
}

function parse(text: string, limits: BodyLimits): unknown {
  try {
    if (!/^[ \t\n\r]*[[{]/.test(text)) throw new SyntaxError('neither an object nor an array');
    return bourne.parse(text);
  } catch (error) {
    throw explain(Object.assign(error as Error, { status: 400, body: text }), limits);
  }
}
