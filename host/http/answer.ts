import type Koa from 'koa';
import type { HostResponse } from './response.js';

/**
 * The short way out for `ctx.body = {…}`, which costs Koa about ten header calls. The one header that it implies waits
 * until somebody looks at or sets a header (then it is set at once, as Koa would have done) or until `answerQuickly` sends
 * the whole head in one call. Everything else is answered by Koa's own code.
 */
type DeferringResponse = Koa.Response & {
  /** A JSON Content-Type is due and not yet set. */
  deferred?: boolean;
  _body?: unknown;
  _explicitStatus?: boolean;
};

const EMPTY_STATUSES = new Set([204, 205, 304]);

/** Teaches an application's response prototype to defer the JSON header. */
export function deferJsonHeader(response: Koa.BaseResponse): void {
  const koa = Object.getPrototypeOf(response);
  const body = Object.getOwnPropertyDescriptor(koa, 'body')!;
  const header = Object.getOwnPropertyDescriptor(koa, 'header')!;

  Object.defineProperty(response, 'body', {
    configurable: true,
    enumerable: true,
    get: body.get,
    set(this: DeferringResponse, value: unknown) {
      if (isPlain(value) && canDefer(this)) {
        this.deferred = true;
        this._body = value;
        if (!this._explicitStatus) this.status = 200;
      } else {
        settle(this);
        body.set!.call(this, value);
      }
    },
  });
  Object.defineProperty(response, 'header', {
    configurable: true,
    enumerable: true,
    get(this: DeferringResponse) {
      settle(this);
      return header.get!.call(this);
    },
  });
  for (const name of ['get', 'has', 'set', 'remove', 'flushHeaders'] as const) {
    Object.defineProperty(response, name, {
      configurable: true,
      value(this: DeferringResponse, ...args: unknown[]) {
        settle(this);
        return koa[name].apply(this, args);
      },
    });
  }
}

/** Answers a plain object or array as JSON, or a text as it is, in one go; false when it is Koa's turn. */
export function answerQuickly(ctx: Koa.Context): boolean {
  const response = ctx.response as DeferringResponse;
  const res = ctx.res as HostResponse;
  if (
    ctx.respond === false ||
    res.headersSent ||
    (typeof response._body !== 'string' && !isPlain(response._body)) ||
    ctx.req.method === 'HEAD' ||
    EMPTY_STATUSES.has(res.statusCode) ||
    !response.writable ||
    res.hasHeader('Transfer-Encoding')
  ) {
    return false;
  }
  if (typeof response._body === 'string') {
    // Koa's setter has set its type and length.
    res.end(response._body);
    return true;
  }
  const text = JSON.stringify(response._body);
  if (response.deferred === true && res.getHeaderNames().length === 0) {
    res.endJson(text);
    return true;
  }
  settle(response);
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.end(text);
  return true;
}

function canDefer(response: DeferringResponse): boolean {
  const { res } = response;
  return (
    (response._body === undefined || response.deferred === true) &&
    response.ctx.respond !== false &&
    !res.headersSent &&
    !res.hasHeader('Content-Type') &&
    !res.hasHeader('Content-Length')
  );
}

function settle(response: DeferringResponse): void {
  if (response.deferred !== true) return;
  response.deferred = false;
  const { res } = response;
  if (!res.headersSent && !res.hasHeader('Content-Type')) {
    res.setHeader('Content-Type', 'application/json; charset=utf-8');
  }
}

function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === Array.prototype || prototype === null;
}
