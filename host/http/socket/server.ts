import { setMaxListeners } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, ListenOptions, Socket } from 'node:net';
import { Server as NetServer } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import { capConnections } from './connection-cap.js';
import { type RawError, rawError } from './raw-response.js';
import { responseClass, securityHeaders } from './response.js';

export interface ServerOptions {
  readonly listener: RequestListener;
  readonly log: Logger;
  /** PEM texts; undefined for plain HTTP. */
  readonly tls: { readonly key: string; readonly cert: string } | undefined;
  /** Seconds, but for `connections`: how many at once, 0 for no cap. */
  readonly limits: {
    readonly headerTimeout: number;
    readonly requestTimeout: number;
    readonly keepAlive: number;
    readonly connections: number;
  };
}

/** Milliseconds. */
export interface DrainOptions {
  /** Whatever is left after this is closed. */
  readonly timeout: number;
  /**
   * How long a connection without a request is left open, so that a request that is on its way in still gets its answer
   * (with `Connection: close`). Long where another process serves already, short where somebody waits for the end.
   */
  readonly idle: number;
}

/** How often Node looks for requests that are late, in milliseconds: how exact the timeouts are. */
const TIMEOUT_CHECK = 1000;

/** How often idle connections are looked for once `idle` is over, in milliseconds. */
const IDLE_CHECK = 50;

/** Node's HTTP server with this host's limits, default headers and error answers, and a drain that drops no request. */
export class HttpServer {
  readonly #server: Server;
  readonly #draining = new AbortController();
  /** Every connection, upgraded ones included, which Node's own list leaves out. */
  readonly #sockets = new Set<Socket>();
  #drained: Promise<void> | undefined;

  constructor(options: ServerOptions) {
    const { limits, log, tls } = options;
    // Each long answer may listen to it.
    setMaxListeners(0, this.draining);
    const serverOptions = {
      ServerResponse: responseClass({
        headers: securityHeaders(tls !== undefined),
        draining: () => this.draining.aborted,
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
        ? createServer(serverOptions, options.listener)
        : createTlsServer(
            { ...serverOptions, ...tls, handshakeTimeout: limits.headerTimeout * 1000 },
            options.listener,
          );
    // Node would leave out those beyond a thousand without a word, the key or the host among them; all of them together
    // may have 16 KiB.
    this.#server.maxHeadersCount = 0;
    if (limits.connections > 0) {
      capConnections(this.#server, tls === undefined ? 'connection' : 'secureConnection', limits.connections);
    }
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) =>
      refuseMalformed(error, socket, log),
    );
    this.#server.on('checkExpectation', (request: IncomingMessage) => refuseExpectation(request, log));
  }

  /** Aborts when the drain begins. */
  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  /** Rejects with the system's error, such as EADDRINUSE. */
  listen(options: ListenOptions): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(options, () => {
        this.#server.off('error', reject);
        resolve();
      });
    });
  }

  /** Serves the connections that come through `accept`, in place of listening. */
  open(): void {
    // Node's HTTP server begins to watch over slow clients at this event, whether it listens or not.
    this.#server.emit('listening');
  }

  /** Serves a connection that was accepted elsewhere, as if this server had. */
  accept(socket: Socket): void {
    socket.allowHalfOpen = true;
    this.#server.emit('connection', socket);
  }

  get address(): AddressInfo {
    return this.#server.address() as AddressInfo;
  }

  /**
   * Stops accepting, lets each connection end with the answer that it is waiting for, closes the others after `idle`
   * and whatever is left after `timeout`. A later call can only make `idle` end sooner.
   *
   * server.close() would not do: since Node 19 it destroys connections that are idle at that moment, and with them
   * requests that are on their way in (nodejs/node#60617).
   */
  drain({ timeout, idle }: DrainOptions): Promise<void> {
    this.#drained ??= this.#drain(timeout);
    let sweep: NodeJS.Timeout;
    const closeIdleFrom = (pause: number) => {
      sweep = setTimeout(() => {
        this.#closeIdle();
        closeIdleFrom(IDLE_CHECK);
      }, pause);
    };
    closeIdleFrom(idle);
    this.#drained.then(() => clearTimeout(sweep));
    return this.#drained;
  }

  async #drain(timeout: number): Promise<void> {
    this.#draining.abort();
    if (this.#server.listening) NetServer.prototype.close.call(this.#server);
    const atDeadline = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, timeout);
    for (const socket of this.#sockets)
      await new Promise<void>((resolve) => socket.once('close', () => resolve()));
    clearTimeout(atDeadline);
    // What watches over slow clients.
    this.#server.close(() => {});
  }

  #closeIdle(): void {
    this.#server.closeIdleConnections();
    // Browsers open connections in advance; Node counts those as busy.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy();
  }
}

/** Answers what Node's parser refused, in the form of every other error. */
function refuseMalformed(error: NodeJS.ErrnoException, socket: Duplex, log: Logger): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const answer = malformed(error.code);
  const { text, id } = rawError(answer);
  log.info(
    {
      request_id: id,
      status: answer.status,
      reason: error.code,
      remote: (socket as Socket).remoteAddress,
    },
    'malformed request',
  );
  socket.end(text);
}

/** Answers an `Expect` other than 100-continue (RFC 9110 section 10.1.1), which Node does without a body. */
function refuseExpectation({ socket }: IncomingMessage, log: Logger): void {
  const { text, id } = rawError({
    status: 417,
    code: 'expectation_failed',
    sentence: 'The only Expect that is met here is 100-continue.',
  });
  log.info({ request_id: id, status: 417, remote: socket.remoteAddress }, 'expectation refused');
  socket.end(text);
}

function malformed(code: string | undefined): RawError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return {
      status: 431,
      code: 'headers_too_large',
      sentence: 'The request line and headers are larger than 16 KiB.',
    };
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return {
      status: 408,
      code: 'request_timeout',
      sentence: 'The request did not arrive in time.',
    };
  }
  return {
    status: 400,
    code: 'malformed_request',
    sentence: 'This is not a valid HTTP request.',
  };
}
