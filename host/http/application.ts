import { performance } from 'node:perf_hooks';
import Koa from 'koa';
import type { Logger } from 'pino';
import { HttpError } from '../kit/http-error.js';
import type { Metrics, RouteLabels } from '../monitor/metrics.js';
import type { AccessLog } from './access-log.js';
import { Turns } from './admission.js';
import { checkKey, headKey, takeBodyKey } from './api-key.js';
import type { ReadBody } from './body.js';
import { type ErrorAnswer, errorAnswer, statusAnswer } from './errors.js';
import { type Chain, compose } from './fast/compose.js';
import { answerQuickly, shortenSetters } from './fast/respond.js';
import { endUnread } from './lingering-close.js';
import { type Mounted, type MountTable, pathBelow } from './mounts.js';
import { OVERLOADED, OverloadLog } from './overload.js';
import type { RateLimit } from './rate-limit.js';
import { requestId } from './socket/request-id.js';
import { type HostResponse, JSON_TYPE } from './socket/response.js';
import { limitSending } from './socket/send-timeout.js';

export interface ApplicationOptions {
  readonly mounts: MountTable;
  readonly readBody: ReadBody;
  readonly metrics: Metrics;
  readonly accessLog: AccessLog;
  readonly log: Logger;
  /** Told of every answer of 5xx. */
  readonly onFailure: (failure: Failure) => void;
  /** Koa's `proxy`: believe X-Forwarded-* headers. */
  readonly proxy: boolean;
  /** Milliseconds that a request may wait for its turn before it is refused. */
  readonly maxDelay: number;
  /** Milliseconds that a client may take nothing of its answer. */
  readonly sendTimeout: number;
  readonly rateLimit: RateLimit | undefined;
}

/** A request that was answered with 5xx. */
export interface Failure {
  readonly requestId: string;
  readonly method: string;
  readonly status: number;
  readonly route: RouteLabels | undefined;
  /** What was thrown; undefined where the answer was made without. */
  readonly error: unknown;
}

/**
 * The way of a request: an id, the mount by its path, the API key, the body, the plugin's route, the answer, the record
 * of it in log and metrics. It is Koa's own application but for three short cuts (fast/).
 */
export class Application extends Koa {
  readonly #options: ApplicationOptions;
  readonly #noRoute: RouteLabels;
  readonly #overloadLog: OverloadLog;
  readonly #turns: Turns;
  #run: Chain = () => {};

  constructor(options: ApplicationOptions) {
    // Of X-Forwarded-For only the last entry is the proxy's own word; what stands before it, a client can make up.
    super({ proxy: options.proxy, maxIpsCount: 1, compose } as object);
    this.#options = options;
    this.#noRoute = options.metrics.route('', '');
    this.#overloadLog = new OverloadLog(options.log);
    this.#turns = new Turns((ctx) => void this.#answer(ctx), options.maxDelay);
    shortenSetters(this.response);
    const application = this;
    this.context.onerror = function (this: Koa.Context, error: Error | null) {
      if (error != null) application.#fail(this, error);
    };
    Object.defineProperty(this.context, 'requestId', {
      get(this: Koa.Context) {
        return (this.res as HostResponse).requestId;
      },
    });
    this.silent = true;
  }

  /** The last middleware: everything that is not in a plugin's hands yet. Call once, after all `use`. */
  complete(): this {
    this.use((ctx) => this.#dispatch(ctx));
    return this;
  }

  /** Koa's, called for each request with the middleware composed. */
  handleRequest(ctx: Koa.Context, run: Chain): void {
    const res = ctx.res as HostResponse;
    res.requestId = requestId(ctx.req);
    res.startedAt = performance.now();
    res.statusCode = 404;
    this.#options.metrics.active += 1;
    this.#run = run;
    this.#turns.add(ctx);
  }

  async #answer(ctx: Koa.Context): Promise<void> {
    const res = ctx.res as HostResponse;
    try {
      const running = this.#run(ctx);
      if (running !== undefined) await running;
      if (answerQuickly(ctx)) {
        this.#record(ctx);
        limitSending(res, this.#options.sendTimeout);
        return;
      }
      if (lacksBody(ctx)) this.#send(ctx, statusAnswer(res.statusCode));
    } catch (error) {
      this.#fail(ctx, error);
    }
    // How long somebody watches says nothing about how fast the server answers.
    if (isEventStream(ctx)) this.#record(ctx);
    else this.#recordAtEnd(ctx);
    const { statusCode } = res;
    const koa = Koa.prototype as unknown as { handleRequest(ctx: Koa.Context, run: Chain): Promise<void> };
    // Koa answers: text, a Buffer, a stream, HEAD, 204.
    await koa.handleRequest.call(this, ctx, async () => {
      res.statusCode = statusCode;
    });
    limitSending(res, this.#options.sendTimeout);
  }

  #dispatch(ctx: Koa.Context): unknown {
    const { req } = ctx;
    if (req.headers.host === undefined && req.httpVersionMinor === 1) {
      throw new HttpError(400, 'host_required', 'An HTTP/1.1 request needs a Host header.');
    }
    const url = req.url!.charCodeAt(0) === SLASH ? req.url! : pathOfAbsolute(ctx);
    const query = url.indexOf('?');
    const end = query < 0 ? url.length : query;
    const { mounts, rateLimit } = this.#options;
    const mount = mounts.find(url, end);
    if (mount?.always !== true) {
      if ((ctx.res as HostResponse).late) throw OVERLOADED;
      if (rateLimit !== undefined) {
        return rateLimit(ctx, mount?.keys).then(() => this.#enter(ctx, mount, url, end));
      }
    }
    return this.#enter(ctx, mount, url, end);
  }

  /** The key, then the body, then the route. Nothing is awaited where nothing needs to be. */
  #enter(ctx: Koa.Context, mount: Mounted | undefined, url: string, end: number): unknown {
    if (mount === undefined) throw new HttpError(404, 'not_found', 'There is nothing at this path.');
    (ctx.res as HostResponse).route = mount.labels;
    const path = pathBelow(mount, url, end);
    const { keys, routes } = mount;
    const hasBody = ctx.req.method !== 'GET' && ctx.req.method !== 'HEAD';
    const key = keys === undefined ? undefined : headKey(ctx.req);
    const keyIsInBody = keys !== undefined && key === undefined && hasBody;
    if (keys !== undefined && !keyIsInBody) checkKey(keys, key);
    if (!hasBody) return routes.run(ctx, path);
    const proceed = () => {
      if (keys !== undefined) {
        const bodyKey = takeBodyKey(ctx);
        if (keyIsInBody) checkKey(keys, bodyKey);
      }
      return routes.run(ctx, path);
    };
    const reading = this.#options.readBody(ctx);
    return reading === undefined ? proceed() : reading.then(proceed);
  }

  /** Answers an error, whatever it is; what the client is not told goes to the log. */
  #fail(ctx: Koa.Context, error: unknown): void {
    const { res, req } = ctx;
    const answer = errorAnswer(error);
    const { requestId: request_id, route } = res as HostResponse;
    (res as HostResponse).failure = error;
    if (error === OVERLOADED) {
      this.#overloadLog.count();
    } else if (answer.status >= 500 && !wasAborted(ctx)) {
      const about = { request_id, plugin: route?.plugin, method: req.method };
      // One that was meant, such as a 503 while a database is away, is no fault in the code.
      if (error instanceof HttpError)
        this.#options.log.warn({ ...about, code: error.code, err: error.cause }, error.message);
      else this.#options.log.error({ ...about, err: error }, 'request failed');
    }
    if (res.headersSent || !ctx.writable) {
      // Half an answer is out: only a broken connection tells the client that it is no whole one.
      if (!res.writableEnded) res.destroy();
      ctx.respond = false;
      return;
    }
    this.#send(ctx, answer);
  }

  #send(ctx: Koa.Context, { status, headers, body }: ErrorAnswer): void {
    const { res } = ctx;
    for (const name of res.getHeaderNames()) {
      if (!KEPT_ON_ERROR.test(name)) res.removeHeader(name);
    }
    ctx.respond = true;
    ctx.status = status;
    ctx.set(headers);
    ctx.type = JSON_TYPE;
    const text = JSON.stringify({ ...body, request_id: (res as HostResponse).requestId });
    if (ctx.req.complete) ctx.body = text;
    else endUnread(ctx, text);
  }

  #record(ctx: Koa.Context): void {
    const res = ctx.res as HostResponse;
    if (res.recorded) return;
    res.recorded = true;
    const { metrics, accessLog, onFailure } = this.#options;
    const seconds = (performance.now() - res.startedAt) / 1000;
    metrics.active -= 1;
    metrics.observe(res.route ?? this.#noRoute, ctx.req.method!, res.statusCode, seconds);
    accessLog(ctx.req, res, seconds);
    if (res.statusCode >= 500 && !wasAborted(ctx)) {
      const { requestId, statusCode: status, route, failure: error } = res;
      onFailure({ requestId, method: ctx.req.method!, status, route, error });
    }
  }

  #recordAtEnd(ctx: Koa.Context): void {
    if (ctx.res.closed) this.#record(ctx);
    else ctx.res.once('close', () => this.#record(ctx));
  }
}

const SLASH = 47;

/** The path of a target in the absolute form (RFC 9112 section 3.2.2), which is for Koa to take apart; or `*`. */
function pathOfAbsolute(ctx: Koa.Context): string {
  // Of one that is no URL, Node's parser below Koa throws or warns.
  if (ctx.req.url !== '*' && !URL.canParse(ctx.req.url!)) {
    throw new HttpError(400, 'malformed_request', 'The target of this request is not a valid URL.');
  }
  return ctx.path;
}

/** CORS and rate limit headers are as true of an error as of any other answer. */
const KEPT_ON_ERROR = /^(?:access-control-|ratelimit|vary$|x-request-id$)/;

function lacksBody(ctx: Koa.Context): boolean {
  return (
    ctx.respond !== false &&
    ctx.body == null &&
    ctx.res.statusCode >= 400 &&
    ctx.writable &&
    !ctx.res.headersSent
  );
}

function isEventStream(ctx: Koa.Context): boolean {
  const type = ctx.res.getHeader('Content-Type');
  return typeof type === 'string' && type.startsWith('text/event-stream');
}

function wasAborted(ctx: Koa.Context): boolean {
  return ctx.req.destroyed && !ctx.req.complete;
}
