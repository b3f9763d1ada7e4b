import type { IncomingMessage } from 'node:http';
import type Koa from 'koa';
import { HttpError } from '../kit/http-error.js';
import { askForBody, bodyReader, mayHoldKey, type ReadBody, readRaw } from './body.js';
import type { BodyLimits } from './body-errors.js';
import { type BodyBounds, type BodyWish, UNBOUND } from './body-wish.js';
import { hostError } from './errors.js';
import type { HostResponse } from './socket/response.js';

/** Watches over the bodies that Node's own timer does not watch over. Times are in milliseconds. */
export interface BodyWatch {
  /** A handler reads the body while it comes in: nothing of it may fail to come for that long. */
  watchUnread(request: IncomingMessage, response: HostResponse, timeout?: number): void;
  /** The whole request has to arrive in that time. */
  limitArrival(request: IncomingMessage, response: HostResponse, timeout: number): void;
  /** A body that is read while it comes in may have so many bytes. */
  limitBytes(request: IncomingMessage, response: HostResponse, limit: number): void;
}

/** The largest body that is read for a key, in bytes. */
const KEY_BODY = 65_536;

/** Takes the bodies of requests as their routes wish. Nothing is awaited where a body has arrived. */
export class Bodies {
  readonly #read: ReadBody;
  readonly #limit: number;
  readonly #watch: BodyWatch;

  constructor(limits: BodyLimits, watch: BodyWatch) {
    this.#read = bodyReader(limits);
    this.#limit = limits.body;
    this.#watch = watch;
  }

  /** Whether a request may bring its API key in its body, where the route takes JSON. */
  mayHoldKey(ctx: Koa.Context): boolean {
    return mayHoldKey(ctx, KEY_BODY);
  }

  /** Reads a small JSON body for the key in it. What cannot be read has none. */
  async readForKey(ctx: Koa.Context, { limit = this.#limit, timeout }: BodyWish): Promise<void> {
    if (timeout !== undefined) this.#watch.limitArrival(ctx.req, ctx.res as HostResponse, timeout);
    try {
      await this.#read(ctx, Math.min(KEY_BODY, limit));
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
    }
  }

  /** Reads a body into `ctx.request.body`. One of a type that nobody reads here is the handler's to read. */
  read(ctx: Koa.Context, { kind, anyJson, limit = this.#limit, timeout }: BodyWish): Promise<void> | void {
    const { req } = ctx;
    const res = ctx.res as HostResponse;
    if (timeout !== undefined) this.#watch.limitArrival(req, res, timeout);
    const watchRest = () => {
      if (!req.complete) this.#watch.watchUnread(req, res, timeout);
    };
    const reading = kind === 'raw' ? readRaw(ctx, limit) : this.#read(ctx, limit, anyJson);
    return reading === undefined ? watchRest() : reading.then(watchRest);
  }

  /** Leaves a body to whoever reads it while it comes in. */
  leave(ctx: Koa.Context, { limit, timeout }: BodyBounds = UNBOUND): void {
    const { req, request } = ctx;
    const res = ctx.res as HostResponse;
    // What has arrived of it waits in the request.
    if (limit !== undefined && (Number(req.headers['content-length']) > limit || req.readableLength > limit))
      throw hostError('body_too_large', { limit });
    if (!req.complete) {
      this.#watch.watchUnread(req, res, timeout);
      if (limit !== undefined) this.#watch.limitBytes(req, res, limit);
    }
    if (request.body === undefined) askForBody(ctx);
  }
}
