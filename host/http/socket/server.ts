import { chmodSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { Server as NetServer } from 'node:net';
import type { Logger } from 'pino';
import type { Drain } from '../../lifecycle/drain.js';
import { ACCEPT_QUEUE } from './accept-queue.js';
import { capConnections } from './connection-cap.js';
import { connectionsThatFit } from './descriptors.js';
import { OpenSockets } from './open-sockets.js';
import { Refusals } from './refusals.js';
import { type HostResponse, responseClass } from './response.js';
import { securityHeaders } from './security-headers.js';

export interface ServerOptions {
  readonly listener: RequestListener;
  /** Called for each connection before it is read from. */
  readonly onConnection?: () => void;
  readonly log: Logger;
  /** PEM texts; undefined for plain HTTP. */
  readonly tls: { readonly key: string; readonly cert: string } | undefined;
  readonly drain: Drain;
  /**
   * Told when as many connections are open as there may be, and then when there is space. The server pauses meanwhile, so that
   * another process accepts. Absent where there is none: those beyond are refused.
   */
  readonly tellCapacity?: ((isFull: boolean) => void) | undefined;
  /** Seconds, but for `connections`: how many at once, 0 for as many as there are file descriptors for. */
  readonly limits: {
    readonly headerTimeout: number;
    readonly requestTimeout: number;
    readonly keepAlive: number;
    readonly connections: number;
  };
}

interface Listener {
  readonly server: NetServer;
  readonly canPause: boolean;
}

/** Milliseconds. */
export interface DrainOptions {
  /** Requests that are left after this are cut. Event streams and upgraded connections have the deadline of `Drain`. */
  readonly timeout: number;
  /**
   * How long a connection without a request is left open, so that a request that is on its way in still gets its answer
   * (with `Connection: close`). Long where another process serves already, short where somebody waits for the end.
   */
  readonly idle: number;
}

/** A Unix socket's user and group may connect: a reverse proxy's, say. */
const UNIX_SOCKET_MODE = 0o660;

/** How long an upgraded connection may take to say goodbye once the deadline is over, in milliseconds. */
const FAREWELL = 2000;

/** How often Node looks for requests that are late, in milliseconds: how exact the timeouts are. */
const TIMEOUT_CHECK = 1000;

/** How often idle connections are looked for once `idle` is over, in milliseconds. */
const IDLE_CHECK = 50;

/** Node's HTTP server with this host's limits, default headers and error answers, and a drain that drops no request. */
export class HttpServer {
  readonly refusals: Refusals;
  readonly #server: Server;
  readonly #drain: Drain;
  readonly #options: ServerOptions;
  /** Every connection, upgraded ones included, which Node's own list leaves out. */
  readonly #sockets = new OpenSockets();
  #drained: Promise<void> | undefined;
  #endedIdle = () => {};
  /** Resolves when a drain has closed the connections that are idle. */
  readonly idleEnded = new Promise<void>((resolve) => {
    this.#endedIdle = resolve;
  });
  /** Those that close with their next answer. */
  readonly #shed = new WeakSet<Socket>();
  #accepted = 0;
  #isFull = false;
  #refusing = false;
  /** What accepts from each socket, by the socket's index. Connections of all are handled by `#server`. */
  readonly #listeners = new Map<number, Listener>();

  constructor(options: ServerOptions) {
    const { limits, log, tls, drain } = options;
    this.#drain = drain;
    this.#options = options;
    this.refusals = new Refusals({
      log,
      tls: tls !== undefined,
      requestTimeout: limits.requestTimeout * 1000,
    });
    const listener: RequestListener = (request, response) => {
      this.refusals.track(request, response as HostResponse);
      options.listener(request, response);
    };
    const serverOptions = {
      ServerResponse: responseClass({
        headers: securityHeaders(tls !== undefined),
        closes: (socket) => drain.begun.aborted || (socket !== null && this.#shed.has(socket)),
      }),
      headersTimeout: limits.headerTimeout * 1000,
      requestTimeout: limits.requestTimeout * 1000,
      keepAliveTimeout: limits.keepAlive * 1000,
      connectionsCheckingInterval: TIMEOUT_CHECK,
      // The application answers a missing Host in its own form.
      requireHostHeader: false,
    };
    this.#server =
      tls === undefined
        ? createServer(serverOptions, listener)
        : createTlsServer(
            { ...serverOptions, ...tls, handshakeTimeout: limits.headerTimeout * 1000 },
            listener,
          );
    // Node would leave out those beyond a thousand without a word, the key or the host among them; all of them together
    // may have 16 KiB.
    this.#server.maxHeadersCount = 0;
    const cap = Math.min(limits.connections || Number.POSITIVE_INFINITY, connectionsThatFit());
    const onChange = (isFull: boolean) => this.#onCapacity(isFull);
    if (cap < Number.POSITIVE_INFINITY)
      capConnections(this.#server, { cap, tls: tls !== undefined, log, onChange });
    this.#server.on('connection', (socket) => {
      this.#accepted += 1;
      this.#sockets.add(socket);
      options.onConnection?.();
    });
    const { refusals } = this;
    this.#server.on('clientError', (error, socket) => refusals.onClientError(error, socket));
    this.#server.on('connect', (request, socket) => refusals.onConnect(request, socket));
    // The application judges Expect, so that its response waits for its turn.
    this.#server.on('checkExpectation', listener);
    // A body is asked for when it is wanted.
    this.#server.on('checkContinue', listener);
  }

  /**
   * Listens on an address, or on a bound socket (a handle of Node's), beside those with other indexes. Rejects with the
   * system's error, such as EADDRINUSE. The backlog is an argument of its own since Node ignores it beside a handle.
   */
  async listen(target: ListenOptions | object, refusing = false, index = 0): Promise<void> {
    // A full server may have got space while it was told to refuse.
    this.#refusing = refusing && this.#isFull;
    const server = this.#listeners.get(index)?.server ?? this.#newListener();
    // Node has a second handle for the descriptor of a Unix socket, which would go on accepting.
    this.#listeners.set(index, { server, canPause: 'getsockname' in target });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(target as ListenOptions, ACCEPT_QUEUE as never, () => {
        server.off('error', reject);
        resolve();
      });
    });
    if ('path' in target) chmodSync(String(target.path), UNIX_SOCKET_MODE);
  }

  /** A server of Node's listens on one socket: those beyond pass their connections to it. */
  #newListener(): NetServer {
    if (this.#listeners.size === 0) return this.#server;
    return new NetServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#server.emit('connection', socket),
    );
  }

  /** Accepts no further connection. Those that are open stay. */
  stopAccepting(): void {
    for (const { server } of this.#listeners.values())
      if (server.listening) NetServer.prototype.close.call(server);
  }

  /** Accepts no connection until the next `listen`, but for Unix sockets. */
  pause(): void {
    for (const { server, canPause } of this.#listeners.values())
      if (canPause && server.listening) NetServer.prototype.close.call(server);
  }

  get #canPause(): boolean {
    return [...this.#listeners.values()].some(({ canPause }) => canPause);
  }

  /** Closes so many of the open connections, each with its next answer. Those that are about to close already count. */
  shed(count: number): void {
    let left = count - [...this.#sockets].filter((socket) => this.#shed.has(socket)).length;
    for (const socket of this.#sockets) {
      if (left <= 0) return;
      if (this.#shed.has(socket) || this.refusals.isStreaming(socket)) continue;
      this.#shed.add(socket);
      left -= 1;
    }
  }

  #onCapacity(isFull: boolean): void {
    this.#isFull = isFull;
    const { tellCapacity } = this.#options;
    if (tellCapacity === undefined || !this.#canPause || this.#drain.begun.aborted) return;
    if (isFull && this.#refusing) return;
    this.#refusing = false;
    if (isFull) this.pause();
    tellCapacity(isFull);
  }

  /** Accepted in all, and open now but for event streams and upgraded ones: those cannot be told to go elsewhere. */
  get counts(): { readonly accepted: number; readonly connections: number } {
    let connections = 0;
    for (const socket of this.#sockets) if (!this.refusals.isStreaming(socket)) connections += 1;
    return { accepted: this.#accepted, connections };
  }

  /** All that are open. */
  get openConnections(): number {
    return this.#sockets.size;
  }

  /** Those it listens on, in the order of their indexes. A Unix socket's is its path. */
  get addresses(): readonly (AddressInfo | string)[] {
    return [...this.#listeners.values()].map(({ server }) => server.address() as AddressInfo | string);
  }

  /**
   * Stops accepting, lets each connection end with the answer that it is waiting for, closes the others after `idle`
   * and whatever is left after `timeout`, or after the deadline of the drain, which has begun. A later call can only make
   * `idle` and the deadline end sooner.
   *
   * server.close() would not do: since Node 19 it destroys connections that are idle at that moment, and with them
   * requests that are on their way in (nodejs/node#60617).
   */
  drain({ timeout, idle }: DrainOptions): Promise<void> {
    this.#drained ??= this.#close(timeout);
    let sweep: NodeJS.Timeout;
    const closeIdleFrom = (pause: number) => {
      sweep = setTimeout(() => {
        this.#closeIdle();
        this.#endedIdle();
        closeIdleFrom(IDLE_CHECK);
      }, pause);
    };
    closeIdleFrom(idle);
    this.#drained.then(() => {
      clearTimeout(sweep);
      this.#endedIdle();
    });
    return this.#drained;
  }

  async #close(timeout: number): Promise<void> {
    this.stopAccepting();
    const { deadline } = this.#drain;
    const isOver = (socket: Socket) => deadline.aborted || !this.refusals.isStreaming(socket);
    const timers = [setTimeout(() => this.#destroy(isOver), timeout)];
    const onDeadline = () => {
      this.#destroy((socket) => this.refusals.isStreaming(socket) && !this.refusals.isTakenOver(socket));
      timers.push(setTimeout(() => this.#destroy((socket) => this.refusals.isStreaming(socket)), FAREWELL));
    };
    if (deadline.aborted) onDeadline();
    else deadline.addEventListener('abort', onDeadline, { once: true });
    await this.#sockets.ended();
    deadline.removeEventListener('abort', onDeadline);
    for (const timer of timers) clearTimeout(timer);
    // What watches over slow clients.
    this.#server.close(() => {});
  }

  #destroy(fits: (socket: Socket) => boolean): void {
    for (const socket of this.#sockets) if (fits(socket)) socket.destroy();
  }

  #closeIdle(): void {
    this.#server.closeIdleConnections();
    // Browsers open connections in advance; Node counts those as busy.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
  }
}
