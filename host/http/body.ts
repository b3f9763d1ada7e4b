import { isUtf8 } from 'node:buffer';
import bourne from '@hapi/bourne';
import type Koa from 'koa';
import { findInexact } from '../../config/exact-json.js';
import { type BodyLimits, explainJson, withoutBom } from './body-errors.js';
import { collectBody, collectBytes } from './collect-body.js';
import { hostError } from './errors.js';
import { readArrived, takeQuickBody } from './fast/quick-body.js';
import { parseForm } from './form-body.js';
import { checkDepth } from './json-depth.js';
import type { HostResponse } from './socket/response.js';

/**
 * Reads a request's body into `ctx.request.body`, once, up to `limit` bytes or those of the settings; throws or rejects with
 * a 400, 413 or 415. JSON is an object or an array, unless any is taken.
 */
export type ReadBody = (ctx: Koa.Context, limit?: number, anyJson?: boolean) => Promise<void> | void;

const JSON_TYPE = /^(?:application|text)\/(?:[\w.!#$&^-]+\+)?(?:json|javascript|x-javascript|plain)\b/i;
const CHARSET = /;\s*charset\s*=\s*"?([^\s;"]+)"?/i;
const UTF8 = /^(?:utf-?8|us-ascii)$/i;

/**
 * JSON is read whatever member of its family the Content-Type names, text/javascript and text/plain included, and where
 * there is no Content-Type; so are forms. A body of any other type stays unread.
 */
export function bodyReader(limits: BodyLimits): ReadBody {
  async function readGenerally(ctx: Koa.Context, limit: number, anyJson: boolean): Promise<void> {
    const { req, request } = ctx;
    const type = req.headers['content-type'];
    const charset = type === undefined ? null : CHARSET.exec(type);
    if (charset !== null && !UTF8.test(charset[1]!)) {
      throw hostError('unsupported_charset', { charset: charset[1]! });
    }
    const { 'content-length': length, 'content-encoding': encoding } = req.headers;
    if (encoding === undefined && Number(length) > limit) throw hostError('body_too_large', { limit });
    askForBody(ctx);
    if (isJson(type)) {
      acceptJson(ctx, await collectBody(req, limit), limits, anyJson);
    } else if (ctx.is('urlencoded')) {
      const text = utf8TextOf(await collectBody(req, limit));
      request.rawBody = text;
      request.body = await parseForm(text);
    } else {
      request.body = {};
    }
  }

  return (ctx, limit = limits.body, anyJson = false) => {
    const { req, request } = ctx;
    if (request.body !== undefined) return;
    if (!hasBody(ctx)) {
      request.body = {};
      return;
    }
    const bytes = takeQuickBody(req, limit);
    if (bytes === undefined) return readGenerally(ctx, limit, anyJson);
    acceptJson(ctx, bytes, limits, anyJson);
  };
}

/** Reads the bytes of a body as they come, into `ctx.request.body`. */
export function readRaw(ctx: Koa.Context, limit: number): Promise<void> | void {
  const { req, request } = ctx;
  if (request.body !== undefined || !hasBody(ctx)) return;
  const { 'content-length': length } = req.headers;
  if (Number(length) > limit) throw hostError('body_too_large', { limit });
  if (req.complete && length !== undefined && req.readableFlowing === null) {
    request.body = readArrived(req, Number(length));
    return;
  }
  askForBody(ctx);
  return collectBytes(req, limit).then((bytes) => {
    request.body = bytes;
  });
}

/** Asks a waiting client to send its body: 100 Continue (RFC 9110 section 10.1.1). */
export function askForBody({ req, res }: Koa.Context): void {
  const response = res as HostResponse;
  if (req.headers.expect === undefined || req.httpVersionMinor === 0 || response.hasAsked) return;
  response.hasAsked = true;
  response.writeContinue();
}

/** Whether a request may bring its API key in a JSON body of at most that many bytes. */
export function mayHoldKey(ctx: Koa.Context, atMost: number): boolean {
  const { 'content-length': length, 'content-type': type } = ctx.req.headers;
  return hasBody(ctx) && isJson(type) && !(Number(length) > atMost);
}

export function hasBody({ req }: Koa.Context): boolean {
  return req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined;
}

/** JSON of which JSON.parse loses nothing, without `__proto__` in it. */
function acceptJson({ request }: Koa.Context, bytes: Buffer, limits: BodyLimits, anyJson: boolean): void {
  const text = withoutBom(utf8TextOf(bytes));
  request.rawBody = text;
  const body = text === '' ? {} : parse(text, limits, anyJson);
  checkDepth(text, body, limits);
  const inexact = findInexact(text, body);
  if (inexact !== undefined) {
    const { kind, path, line, column } = inexact;
    const place = `${path} (line ${line}, column ${column})`;
    throw hostError(kind === 'number' ? 'inexact_number' : 'duplicate_parameter', { place });
  }
  request.body = body;
}

function utf8TextOf(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw hostError('invalid_utf8', { offset: firstInvalid(bytes) });
  return bytes.toString();
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

function isJson(type: string | undefined): boolean {
  return type === undefined || JSON_TYPE.test(type);
}

function parse(text: string, limits: BodyLimits, anyJson: boolean): unknown {
  try {
    if (!anyJson && !/^[ \t\n\r]*[[{]/.test(text)) throw new SyntaxError('neither an object nor an array');
    return bourne.parse(text);
  } catch (error) {
    throw explainJson(text, limits, error);
  }
}
