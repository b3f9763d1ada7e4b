import type Koa from 'koa';
import { type HostResponse, JSON_TYPE } from '../socket/response.js';
import { bodyOf, hasExplicitStatus, setBodyAlone } from './koa-internals.js';

const EMPTY_STATUSES = new Set([204, 205, 304]);

/**
 * Teaches an application's response prototype the short way for what nearly every response is: headers of one value, and a
 * body of JSON or text. Each step does what Koa's own code does, and only in the case it is sure of; the rest is Koa's.
 */
export function shortenSetters(response: Koa.BaseResponse): void {
  const koa = Object.getPrototypeOf(response);
  const body = Object.getOwnPropertyDescriptor(koa, 'body')!;

  Object.defineProperty(response, 'body', {
    configurable: true,
    enumerable: true,
    get: body.get,
    set(this: Koa.Response, value: unknown) {
      const res = this.res as HostResponse;
      const isText = typeof value === 'string';
      if ((!isText && !isPlain(value)) || !isUntouched(this) || res.hasHeader('Content-Type') !== isText) {
        body.set!.call(this, value);
        return;
      }
      setBodyAlone(this, value);
      if (!hasExplicitStatus(this)) this.status = 200;
      if (isText) res.addHeader('Content-Length', Buffer.byteLength(value));
      else res.addHeader('Content-Type', JSON_TYPE);
    },
  });
  Object.defineProperty(response, 'set', {
    configurable: true,
    value(this: Koa.Response, ...args: unknown[]) {
      const [name, value] = args;
      if (typeof name !== 'string' || name === '' || typeof value !== 'string')
        return koa.set.apply(this, args);
      if (!this.res.headersSent) this.res.setHeader(name, value);
    },
  });
}

/** Whether a route was matched and its handler left the response as it was. */
export function saidNothing(ctx: Koa.Context): boolean {
  const { routeMatched } = ctx as { routeMatched?: boolean };
  return (
    routeMatched === true &&
    ctx.respond !== false &&
    ctx.res.statusCode === 404 &&
    !ctx.res.headersSent &&
    !hasExplicitStatus(ctx.response)
  );
}

/** Answers a plain object or array as JSON, a text as it is, or a bare 204, in one go; false when it is Koa's turn. */
export function answerQuickly(ctx: Koa.Context): boolean {
  const { response } = ctx;
  const res = ctx.res as HostResponse;
  const body = bodyOf(response);
  if (body === undefined && res.statusCode === 204 && isUntouched(response) && response.writable) {
    if (res.hasHeader('Content-Type')) return false;
    res.end();
    return true;
  }
  const isText = typeof body === 'string';
  if (
    (!isText && !isPlain(body)) ||
    ctx.respond === false ||
    res.headersSent ||
    ctx.req.method === 'HEAD' ||
    EMPTY_STATUSES.has(res.statusCode) ||
    !response.writable ||
    res.hasHeader('Transfer-Encoding')
  ) {
    return false;
  }
  if (isText) {
    // Koa's setter has set its type and length.
    res.endWith(body);
    return true;
  }
  const text = JSON.stringify(body);
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.endWith(text);
  return true;
}

function isUntouched(response: Koa.Response): boolean {
  const { res, ctx } = response;
  return (
    bodyOf(response) === undefined &&
    ctx.respond !== false &&
    !res.headersSent &&
    !res.hasHeader('Content-Length') &&
    !res.hasHeader('Transfer-Encoding')
  );
}

/** Whether JSON.stringify writes the members of a value as they are. */
export function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === Array.prototype || prototype === null;
}
