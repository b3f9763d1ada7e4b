import type { Router } from '@koa/router';
import type Koa from 'koa';
import type { Logger } from 'pino';
import { nearest } from '../../../config/index.js';
import { type Deadlines, withDeadline } from '../../kit/deadline.js';
import type { Context } from '../../kit/index.js';
import { openapi } from '../../kit/operation.js';
import type { WebSocketHandler, WebSocketOptions } from '../../kit/websocket.js';
import type { Drain } from '../../lifecycle/drain.js';
import type { Metrics, RouteLabels } from '../../monitor/metrics.js';
import type { SocketLog } from '../access-log.js';
import { hostError } from '../errors.js';
import type { SocketJudge } from '../foreign-origin.js';
import type { HostResponse } from '../socket/response.js';
import { chooseProtocol, readHandshake } from './handshake.js';
import type { HostSocket, SocketServer } from './host-socket.js';

export interface WebSocketsOptions {
  readonly drain: Drain;
  readonly metrics: Metrics;
  readonly log: SocketLog;
  readonly judgeOrigin: SocketJudge;
  /** Bytes of a message, where the plugin says nothing else. */
  readonly maxPayload: number;
  /** Milliseconds: without a pong, after which a client is gone; and for listeners, once all sockets have closed. */
  readonly deadlines: Pick<Deadlines, 'pong' | 'close'>;
}

/** The plugin whose route a socket belongs to. */
export interface SocketPlugin {
  readonly name: string;
  /** `/hello` */
  readonly path: string;
  readonly router: Router<Koa.DefaultState, Context>;
  readonly log: Logger;
  /** Bytes of a message where its route says nothing else; undefined for the server's own limit. */
  readonly maxPayload: number | undefined;
  /** Whose pages may use the plugin with the visitor's cookies, beside the server's own. */
  readonly origins: () => readonly string[];
}

/** Pings in each time that a client may take to answer one. */
const PINGS = 3;
/** Between two lots of sockets that are told to leave, in milliseconds. */
const LOT = 50;

/** What a listener of a socket has not finished. */
interface Work {
  readonly route: string;
  readonly log: Logger;
}

/** The WebSockets of one server: the routes that open them, and the end of each. npm's ws is loaded for the first route. */
export class WebSockets {
  readonly #options: WebSocketsOptions;
  readonly #admitted: {
    readonly origins: readonly string[];
    readonly hasCookie: (ctx: Koa.Context) => boolean;
  }[] = [];
  readonly #open = new Set<HostSocket>();
  readonly #work = new Set<Work>();
  /** Called when no socket is open and no listener has work to do. */
  #onIdle = () => {};
  #ws: typeof import('./host-socket.js') | undefined;
  #isWanted = false;
  #pings: NodeJS.Timeout | undefined;
  #finished: Promise<void> | undefined;

  constructor(options: WebSocketsOptions) {
    this.#options = options;
    const { leave } = options.drain;
    leave.addEventListener('abort', () => this.#dismiss(leave.reason === 'stop'), { once: true });
  }

  /** Adds a route that opens sockets. Throws where the options are wrong. */
  route<D>(
    plugin: SocketPlugin,
    path: string,
    options: WebSocketOptions<D>,
    handler: WebSocketHandler<D>,
  ): void {
    checkOptions(path, options, handler);
    this.#isWanted = true;
    const { upgrade, protocols = [], maxPayload, perMessageDeflate = false } = options;
    const labels = this.#options.metrics.route(plugin.name, path === '/' ? plugin.path : plugin.path + path);
    let server: SocketServer | undefined;
    const describe = openapi({
      summary: `WebSocket ${path}`,
      responses: { 101: { description: 'The connection is a WebSocket from here on (RFC 6455).' } },
    });
    plugin.router.get(path, describe, async (ctx) => {
      const offered = readHandshake(ctx.req);
      this.#options.judgeOrigin(ctx, () => [...plugin.origins(), ...this.#admittedTo(ctx)]);
      const protocol = chooseProtocol(offered, protocols);
      const data = (await upgrade?.(ctx)) as D;
      // A client may have left in the meantime, and a draining server sends no more there.
      if (ctx.req.socket.destroyed) return;
      if (this.#options.drain.leave.aborted) throw hostError('unavailable');
      server ??= new this.#ws!.SocketServer({
        maxPayload: maxPayload ?? plugin.maxPayload ?? this.#options.maxPayload,
        perMessageDeflate,
      });
      const socket = openSocket(server, ctx, protocol);
      this.#keep(socket, ctx, labels, plugin.log);
      try {
        await handler(socket, ctx, data);
      } catch (error) {
        socket.fail(error);
      }
    });
  }

  /** Lets pages of these origins open the sockets of all plugins, where `hasCookie` is true of the request. */
  admit(origins: readonly string[], hasCookie: (ctx: Koa.Context) => boolean): void {
    this.#admitted.push({ origins, hasCookie });
  }

  #admittedTo(ctx: Koa.Context): readonly string[] {
    return this.#admitted.flatMap(({ origins, hasCookie }) => (hasCookie(ctx) ? origins : []));
  }

  /** Call when setup is over, before the first request. */
  async ready(): Promise<void> {
    if (this.#isWanted) this.#ws ??= await import('./host-socket.js');
  }

  /**
   * Resolves when the listeners of all sockets have finished, those of `close` included, or have had their time. Call when the
   * connections have closed.
   */
  finished(): Promise<void> {
    this.#finished ??= this.#finish();
    return this.#finished;
  }

  async #finish(): Promise<void> {
    const { close } = this.#options.deadlines;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
      this.#tellIdle();
    });
    await withDeadline(close, () => idle).catch(() => {
      for (const { route, log } of this.#work)
        log.warn({ route }, `a listener of a WebSocket did not finish within ${close / 1000} s`);
    });
  }

  #tellIdle(): void {
    if (this.#open.size === 0 && this.#work.size === 0) this.#onIdle();
  }

  #keep(socket: HostSocket, ctx: Koa.Context, route: RouteLabels, pluginLog: Logger): void {
    const { metrics, log } = this.#options;
    const res = ctx.res as HostResponse;
    const began = performance.now();
    const about = { request_id: res.requestId, route: route.route, ...res.trace };
    socket.onFailure = (error) => pluginLog.error({ ...about, err: error }, 'WebSocket handler failed');
    socket.onWork = (promise) => {
      const work = { route: route.route, log: pluginLog };
      this.#work.add(work);
      promise.finally(() => {
        this.#work.delete(work);
        this.#tellIdle();
      });
    };
    this.#open.add(socket);
    this.#watch();
    metrics.countSocket(route, 1);
    socket.once('close', (code: number) => {
      this.#open.delete(socket);
      metrics.countSocket(route, -1);
      log(ctx.req, res, (performance.now() - began) / 1000, code);
      // The other listeners of this event come after this one.
      process.nextTick(() => this.#tellIdle());
    });
  }

  /** Pings all sockets, and cuts those whose client has not answered. */
  #watch(): void {
    const { pong } = this.#options.deadlines;
    this.#pings ??= setInterval(() => {
      const latest = performance.now() - pong;
      for (const socket of this.#open) {
        if (socket.alive < latest) socket.terminate();
        else if (socket.readyState === socket.OPEN) socket.ping();
      }
      if (this.#open.size > 0) return;
      clearInterval(this.#pings);
      this.#pings = undefined;
    }, pong / PINGS).unref();
  }

  /** Tells every client to go: at a stop at once, at a reload little by little, since all of them come back elsewhere. */
  #dismiss(isStop: boolean): void {
    const { drain } = this.#options;
    const tell = (socket: HostSocket) =>
      isStop ? socket.leave(1001, 'The server is stopping') : socket.leave(1012, 'The server has reloaded');
    const waiting = [...this.#open];
    const lots = Math.max(1, Math.floor((isStop ? 0 : drain.left) / LOT));
    const size = Math.ceil(waiting.length / lots);
    const next = () => {
      for (const socket of waiting.splice(0, drain.deadline.aborted ? waiting.length : size)) tell(socket);
      if (waiting.length > 0) setTimeout(next, LOT);
    };
    next();
  }
}

/** Sends the 101. What middleware has set on the response goes with it. */
function openSocket(server: SocketServer, ctx: Koa.Context, protocol: string | undefined): HostSocket {
  const res = ctx.res as HostResponse;
  const lines = [`X-Request-Id: ${res.requestId}`];
  for (const [name, value] of Object.entries(res.getHeaders())) {
    for (const each of Array.isArray(value) ? value : [value]) lines.push(`${name}: ${each}`);
  }
  ctx.respond = false;
  try {
    const socket = server.open(ctx.req, protocol, lines);
    res.isWebSocket = true;
    return socket;
  } catch (error) {
    ctx.respond = true;
    throw hostError('invalid_websocket_handshake', { cause: error, headers: { Connection: 'close' } });
  }
}

const KNOWN: readonly string[] = [
  'upgrade',
  'protocols',
  'maxPayload',
  'perMessageDeflate',
] satisfies (keyof WebSocketOptions<unknown>)[];

/** A token of RFC 9110 section 5.6.2, as names of subprotocols are. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

function checkOptions<D>(path: string, options: WebSocketOptions<D>, handler: unknown): void {
  const fail = (what: string) => {
    throw new TypeError(`websocket("${path}"): ${what}`);
  };
  if (typeof handler !== 'function') fail('the handler is not a function');
  for (const key of Object.keys(options)) {
    if (KNOWN.includes(key)) continue;
    const near = nearest(key, KNOWN);
    fail(
      `unknown option "${key}"; ${near === undefined ? `known: ${KNOWN.join(', ')}` : `did you mean "${near}"?`}`,
    );
  }
  const { upgrade, protocols = [], maxPayload = 1 } = options;
  if (upgrade !== undefined && typeof upgrade !== 'function') fail('upgrade is not a function');
  if (!Array.isArray(protocols) || !protocols.every((name) => typeof name === 'string' && TOKEN.test(name)))
    fail('protocols is not an array of names of subprotocols');
  if (!Number.isSafeInteger(maxPayload) || maxPayload < 1) fail('maxPayload is not a number of bytes from 1');
}
