import { performance } from 'node:perf_hooks';
import Koa from 'koa';
import type { Logger } from 'pino';
import type { Context } from '../../databases/open-telemetry.js';
import { messageOf } from '../kit/deadline.js';
import { HttpError } from '../kit/http-error.js';
import { makeRunner, type RouteSpec } from '../kit/route.js';
import type { Metrics, RouteLabels } from '../monitor/metrics.js';
import type { AccessLog } from './access-log.js';
import { Turns } from './admission.js';
import { checkKey, headKey, takeBodyKey } from './api-key.js';
import type { Bodies } from './bodies.js';
import { hasBody } from './body.js';
import { type ErrorAnswer, errorAnswer, statusAnswer } from './error-answer.js';
import { hostError, OVERLOADED } from './errors.js';
import type { FoundRoute } from './fast/compiled-routes.js';
import { type Chain, compose } from './fast/compose.js';
import { answerQuickly, saidNothing, shortenSetters } from './fast/respond.js';
import type { JudgeName } from './host-names.js';
import { endUnread } from './lingering-close.js';
import { type Mounted, type MountTable, pathBelow } from './mounts.js';
import { OverloadLog } from './overload.js';
import { isUtf8Encoded, requireUtf8Queries } from './percent-encoding.js';
import { awaitTurn } from './pipelining.js';
import type { RateLimit } from './rate-limit.js';
import type { RefusedKeys } from './refused-keys.js';
import { judgeHead } from './request-head.js';
import { routeRunner } from './route/runner.js';
import { requestId } from './socket/request-id.js';
import { type HostResponse, JSON_TYPE } from './socket/response.js';
import { limitSending } from './socket/send-timeout.js';
import { receivedIds } from './traceparent.js';
import { Tracing } from './tracing.js';
import { believeOnly, type TrustedPeers } from './trusted-peers.js';

export interface ApplicationOptions {
  readonly mounts: MountTable;
  readonly bodies: Bodies;
  readonly metrics: Metrics;
  readonly accessLog: AccessLog;
  readonly log: Logger;
  /** Told of every answer of 5xx. */
  readonly onFailure: (failure: Failure) => void;
  /** Whose X-Forwarded- headers are believed: nobody's, or those of these peers. */
  readonly proxy: false | TrustedPeers;
  /** Milliseconds that a request may wait for its turn before it is refused; 0 for no limit. */
  readonly maxDelay: number;
  /** Milliseconds that a client may take nothing of its answer. */
  readonly sendTimeout: number;
  /** Undefined where any host name will do. */
  readonly judgeName: JudgeName | undefined;
  readonly rateLimit: RateLimit | undefined;
  /** Undefined where no OpenTelemetry is registered. */
  readonly tracing?: Tracing | undefined;
  readonly refusedKeys: Pick<RefusedKeys, 'add'>;
  /** The server runs for the author of a plugin: responses are checked, and say what is for the author alone. */
  readonly development: boolean;
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
    super({ proxy: options.proxy !== false, compose } as object);
    this.#options = options;
    if (options.proxy !== false) believeOnly(this, options.proxy);
    this.#noRoute = options.metrics.route('', '');
    this.#overloadLog = new OverloadLog(options.log);
    const { tracing } = options;
    this.#turns = new Turns(
      tracing === undefined
        ? (ctx) => void this.#answer(ctx)
        : (ctx) => void tracing.within((ctx.res as HostResponse).traced!, () => this.#answer(ctx)),
      options.maxDelay,
    );
    shortenSetters(this.response);
    requireUtf8Queries(this.request);
    const application = this;
    this.context.onerror = function (this: Koa.Context, error: Error | null) {
      if (error == null) return;
      application.#fail(this, error);
      // A body that Koa could not write, such as a BigInt: it does not come back to this response.
      if (this.respond !== false && !this.res.headersSent) this.res.end(this.body);
    };
    Object.defineProperty(this.context, makeRunner, {
      value: (spec: RouteSpec) => routeRunner(spec, options.development),
    });
    Object.defineProperty(this.context, 'requestId', {
      get(this: Koa.Context) {
        return (this.res as HostResponse).requestId;
      },
    });
    Object.defineProperty(this.context, 'log', {
      // Made where it is used: an AsyncLocalStorage that tells every logger its request costs each request several percent.
      get(this: Koa.Context) {
        const { request_id, plugin, ...trace } = idsOf(this.res as HostResponse);
        // A server that traces adds the ids of the active span to each line.
        const log = options.log.child({ request_id, plugin, ...(tracing === undefined && trace) });
        this.log = log;
        return log;
      },
      set(this: Koa.Context, value: Logger) {
        Object.defineProperty(this, 'log', { value, writable: true, configurable: true });
      },
    });
    // What middleware emits on the application, after the head has gone out for instance.
    this.on('error', (error: unknown, ctx?: Koa.Context) => {
      const about = ctx && idsOf(ctx.res as HostResponse);
      options.log.error({ ...about, err: error }, 'the application emitted an error');
    });
  }

  /** The last middleware: everything that is not in a plugin's hands yet. Call once, after all `use`. */
  complete(): this {
    this.use((ctx) => this.#dispatch(ctx));
    return this;
  }

  /** Call for each connection that is accepted: the turn of those that wait may wait for its request. */
  expectRequest(): void {
    this.#turns.expect();
  }

  /** Koa's, called for each request with the middleware composed. */
  handleRequest(ctx: Koa.Context, run: Chain): void {
    const res = ctx.res as HostResponse;
    res.requestId = requestId(ctx.req);
    if (this.#options.tracing === undefined) res.trace = receivedIds(ctx.req.headers.traceparent);
    const arrived = this.#options.tracing?.arrive();
    res.statusCode = 404;
    this.#run = run;
    if (res.socket === null) awaitTurn(res, this.#options.sendTimeout, () => this.#begin(ctx, true, arrived));
    else this.#begin(ctx, false, arrived);
  }

  #begin(ctx: Koa.Context, pipelined: boolean, arrived: Context | undefined): void {
    const res = ctx.res as HostResponse;
    res.startedAt = performance.now();
    if (arrived !== undefined) {
      res.traced = this.#options.tracing!.begin(ctx, arrived);
      res.trace = Tracing.idsOf(res.traced);
    }
    this.#options.metrics.active += 1;
    this.#turns.add(ctx, pipelined);
  }

  async #answer(ctx: Koa.Context): Promise<void> {
    const res = ctx.res as HostResponse;
    if (res.rawStatus !== 0) {
      this.#recordAtEnd(ctx);
      return;
    }
    try {
      const running = this.#run(ctx);
      if (running !== undefined) await running;
      if (res.traced?.isForeign) Tracing.describe(res.traced, ctx);
      if (res.isWebSocket) {
        this.#record(ctx);
        return;
      }
      if (answerQuickly(ctx)) {
        if (res.writableLength === 0) this.#record(ctx);
        else this.#recordAtEnd(ctx);
        limitSending(res, this.#options.sendTimeout);
        return;
      }
      if (lacksBody(ctx)) {
        const silent = saidNothing(ctx);
        if (silent) this.#tellSilence(ctx);
        const answer =
          silent && this.#options.development ? errorAnswer(SILENCE) : statusAnswer(res.statusCode);
        this.#send(ctx, answer, OF_BODY);
      }
    } catch (error) {
      this.#fail(ctx, error);
    }
    // How long somebody watches says nothing about how fast the server answers.
    if (res.isEventStream || res.takenOver) this.#record(ctx);
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
    judgeHead(req);
    if (req.url === '*') return describeServer(ctx);
    const url = req.url!.charCodeAt(0) === SLASH ? req.url! : pathOfAbsolute(ctx);
    const query = url.indexOf('?');
    const end = query < 0 ? url.length : query;
    judgeTarget(url, end);
    const { mounts } = this.#options;
    const mount = mounts.find(url, end);
    if (mount?.cors !== undefined) return mount.cors(ctx, async () => this.#admit(ctx, mount, url, end));
    return this.#admit(ctx, mount, url, end);
  }

  #admit(ctx: Koa.Context, mount: Mounted | undefined, url: string, end: number): unknown {
    const { judgeName, rateLimit } = this.#options;
    if (mount?.always !== true) {
      if (judgeName !== undefined && mount?.anyHost !== true) judgeName(ctx);
      if ((ctx.res as HostResponse).late) throw OVERLOADED;
      if (rateLimit !== undefined && mount?.unmetered !== true) {
        const waiting = rateLimit.judge(ctx, mount?.keys);
        if (waiting !== undefined) return waiting.then(() => this.#enter(ctx, mount, url, end));
      }
    }
    return this.#enter(ctx, mount, url, end);
  }

  /**
   * The key from the head, else from a small JSON body where a route takes one; then the plugin's own middleware; then the
   * body, then the route. Nothing is awaited where nothing needs to be.
   */
  #enter(ctx: Koa.Context, mount: Mounted | undefined, url: string, end: number): unknown {
    if (mount === undefined)
      throw hostError(COMMON_METHODS.has(ctx.req.method!) ? 'not_found' : 'unknown_method');
    (ctx.res as HostResponse).route = mount.labels;
    const path = pathBelow(mount, url, end);
    const { keys } = mount;
    if (keys === undefined || mount.checksKeys === true) {
      mount.guard?.(ctx);
      return this.#serve(ctx, mount, path, url);
    }
    const key = headKey(ctx.req);
    if (key !== undefined) {
      checkKey(keys, key);
      return this.#serve(ctx, mount, path, url);
    }
    const { bodies } = this.#options;
    if (isBodyless(ctx) || !bodies.mayHoldKey(ctx)) return checkKey(keys, undefined);
    const route = mount.routes.find(ctx.req.method!, path);
    if (route.wish?.kind !== 'parsed') return checkKey(keys, undefined);
    return bodies.readForKey(ctx, route.wish).then(() => {
      checkKey(keys, takeBodyKey(ctx));
      return this.#serve(ctx, mount, path, url, route);
    });
  }

  /** `found` is the route, if it has been looked for. */
  #serve(ctx: Koa.Context, mount: Mounted, path: string, url: string, found?: FoundRoute): unknown {
    if (mount.uses === undefined) return this.#pass(ctx, mount, path, found);
    this.#options.bodies.leave(ctx, mount.bounds);
    const below = url.slice(mount.path.length);
    const rest = below.startsWith('/') ? below : `/${below}`;
    // Middleware may change the method.
    return mount.uses(ctx, rest, () => this.#pass(ctx, mount, path));
  }

  #pass(ctx: Koa.Context, mount: Mounted, path: string, found?: FoundRoute): unknown {
    if (mount.gates === undefined) return this.#route(ctx, mount, path, found);
    return mount.gates(ctx, path, () => this.#route(ctx, mount, path, found));
  }

  #route(ctx: Koa.Context, mount: Mounted, path: string, found?: FoundRoute): unknown {
    const { keys, routes, checksKeys } = mount;
    const route = found ?? routes.find(ctx.req.method!, path);
    const isUtf8 = isUtf8Encoded(path);
    if (isUtf8 && isBodyless(ctx) && !hasBody(ctx)) return route.run(ctx);
    const { wish } = route;
    // The body of a request that no route takes is nobody's.
    if (wish === undefined) return route.run(ctx);
    const { bodies } = this.#options;
    if (wish.kind === 'stream') {
      bodies.leave(ctx, wish);
      return route.run(ctx);
    }
    if (!isUtf8) throw hostError('invalid_parameter');
    if (wish.kind === 'parsed' && isBodyless(ctx)) return route.run(ctx);
    const proceed = () => {
      if (keys !== undefined && checksKeys !== true) takeBodyKey(ctx);
      return route.run(ctx);
    };
    const reading = bodies.read(ctx, wish);
    return reading === undefined ? proceed() : reading.then(proceed);
  }

  /** Answers an error, whatever it is; what the client is not told goes to the log. */
  #fail(ctx: Koa.Context, error: unknown): void {
    const { res, req } = ctx;
    const answer = errorAnswer(error);
    const { traced } = res as HostResponse;
    if (traced?.isForeign) Tracing.describe(traced, ctx);
    (res as HostResponse).failure = error;
    if (answer.status === 401 && answer.body.code === 'wrong_api_key') this.#options.refusedKeys.add(ctx);
    if (error === OVERLOADED) {
      this.#overloadLog.count();
    } else if (answer.status >= 500 && (res as HostResponse).abandoned) {
      // Whatever follows from a client's leaving is not an error of the server. What else was thrown is worth a line.
      if (!isBrokenConnection(error)) {
        const about = { ...idsOf(res as HostResponse), method: req.method };
        this.#options.log.info(
          { ...about, reason: messageOf(error) },
          'request failed after the client disconnected',
        );
      }
    } else if (answer.status >= 500) {
      const about = { ...idsOf(res as HostResponse), method: req.method };
      // An intended error, such as a 503 while a database is away, is not a fault in the code.
      if (error instanceof HttpError)
        this.#options.log.warn({ ...about, code: error.code, err: error.cause }, error.message);
      else this.#options.log.error({ ...about, err: error }, 'request failed');
    }
    if (res.headersSent || (res as HostResponse).isWebSocket || !ctx.writable) {
      // A part of the response has been sent: only a broken connection tells the client that it is incomplete.
      if (!res.writableEnded) res.destroy();
      ctx.respond = false;
      return;
    }
    this.#send(ctx, answer, OF_SUCCESS);
  }

  #send(ctx: Koa.Context, { status, headers, body }: ErrorAnswer, dropped: RegExp): void {
    const { res } = ctx;
    for (const name of res.getHeaderNames()) {
      if (dropped.test(name)) res.removeHeader(name);
    }
    ctx.respond = true;
    ctx.status = status;
    ctx.set(headers);
    ctx.type = JSON_TYPE;
    const text = JSON.stringify({ ...body, request_id: (res as HostResponse).requestId });
    if (ctx.req.complete) ctx.body = text;
    else endUnread(ctx, text);
  }

  /** A handler that forgot to await, or returned its value, leaves no other trace. */
  #tellSilence(ctx: Koa.Context): void {
    const res = ctx.res as HostResponse;
    this.#options.log.warn(
      { ...idsOf(res), method: ctx.req.method, route: res.route?.route },
      'the handler of this route set no response; set ctx.body, and await the code that sets it',
    );
  }

  #record(ctx: Koa.Context): void {
    const res = ctx.res as HostResponse;
    if (res.recorded) return;
    res.recorded = true;
    const { metrics, accessLog, onFailure } = this.#options;
    const seconds = (performance.now() - res.startedAt) / 1000;
    metrics.active -= 1;
    if (res.traced !== undefined) this.#options.tracing!.end(res.traced, ctx);
    if (res.relayed) return;
    const status = res.sentStatus;
    metrics.observe(res.route ?? this.#noRoute, ctx.req.method!, status, seconds);
    if (!res.isWebSocket) accessLog(ctx.req, res, seconds);
    if (status >= 500 && !res.abandoned) {
      const { requestId, route, failure: error } = res;
      onFailure({ requestId, method: ctx.req.method!, status, route, error });
    }
  }

  #recordAtEnd(ctx: Koa.Context): void {
    if (ctx.res.closed) this.#record(ctx);
    else ctx.res.once('close', () => this.#record(ctx));
  }
}

const SLASH = 47;

/** What every line of a request says of it. */
function idsOf({ requestId: request_id, route, trace }: HostResponse) {
  return { request_id, plugin: route?.plugin, ...trace };
}

/** Shown to the author of a plugin, in place of the 404. */
const SILENCE = hostError('no_response');

/** Those that some path here may have. Any other is unknown where no plugin is there to know it. */
const COMMON_METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** `OPTIONS *` asks what the server as a whole can do (RFC 9110 section 9.3.7); the form is for no other method. */
function describeServer(ctx: Koa.Context): void {
  if (ctx.method !== 'OPTIONS') {
    throw hostError('malformed_request', { part: 'target' });
  }
  ctx.status = 204;
  ctx.set('Allow', [...COMMON_METHODS].join(', '));
}

/** Neither may stand there (RFC 3986 section 3.3), and what reads them takes them for the end of the path, or for a slash. */
function judgeTarget(url: string, end: number): void {
  const backslash = url.indexOf('\\');
  if (url.includes('#') || (backslash >= 0 && backslash < end)) {
    throw hostError('malformed_request', { part: 'target' });
  }
}

/** Path and query of a target in the absolute form (RFC 9112 section 3.2.2), which is for Koa to take apart. */
function pathOfAbsolute(ctx: Koa.Context): string {
  const url = ctx.req.url!;
  // For a target that is not a URL, Node's parser below Koa throws or warns; it drops a fragment.
  if (!URL.canParse(url) || url.includes('#')) {
    throw hostError('malformed_request', { part: 'target' });
  }
  return ctx.path + ctx.search;
}

function isBodyless({ req }: Koa.Context): boolean {
  return req.method === 'GET' || req.method === 'HEAD';
}

/** Headers of a body that is replaced; every other header that a plugin set is sent. */
const OF_BODY =
  /^(?:content-(?:type|length|encoding|disposition|language|location)|transfer-encoding|etag|last-modified)$/;
/** What a handler said of its answer before it threw. */
const OF_SUCCESS =
  /^(?:content-(?:type|length|encoding|disposition|language|location)|transfer-encoding|etag|last-modified|cache-control|expires|age)$/;

function lacksBody(ctx: Koa.Context): boolean {
  return (
    ctx.respond !== false &&
    ctx.body == null &&
    ctx.res.statusCode >= 400 &&
    ctx.writable &&
    !ctx.res.headersSent
  );
}

const BROKEN_CONNECTION =
  /^(?:ECONNRESET|ECONNABORTED|EPIPE|ABORT_ERR|ERR_STREAM_(?:PREMATURE_CLOSE|DESTROYED|WRITE_AFTER_END))$/;

function isBrokenConnection(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === 'string' && BROKEN_CONNECTION.test(code);
}
