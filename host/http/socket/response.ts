import { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Context, Span } from '../../../databases/open-telemetry.js';
import type { TraceIds } from '../../kit/audit.js';
import type { RouteLabels } from '../../monitor/metrics.js';
import { BufferedHeaders } from '../fast/buffered-headers.js';

/** Where a connection has the response to its latest request, until both are complete. */
export const LATEST = Symbol('the response to the latest request of a connection');

export const JSON_TYPE = 'application/json; charset=utf-8';

/** nginx's status for a client that left before anything was sent. */
const CLIENT_LEFT = 499;
const SWITCHING_PROTOCOLS = 101;

/** Characters of a body; Node writes longer texts otherwise than short ones. */
const MOST_JOINED = 8192;

const noTimer = () => {};

/** What the tracing of a request needs to know until it ends. */
export interface TracedRequest {
  readonly context: Context;
  readonly span: Span;
  /** Another instrumentation has started the span, and ends it. */
  readonly isForeign: boolean;
}

/** What every response of one server carries. */
export interface ResponseDefaults {
  /** Header names and values, flat: `['X-Content-Type-Options', 'nosniff', …]`. A header that is already set stays. */
  readonly headers: readonly string[];
  /** Whether an answer closes its connection, as each does while the server drains. */
  readonly closes: (socket: Socket | null) => boolean;
}

/**
 * Node's response, which adds the default headers whoever writes the head: Koa, a plugin's own code, or `answerQuickly`.
 * It also holds what the access log and the metrics say about its request.
 */
export abstract class HostResponse extends BufferedHeaders {
  requestId = '';
  /** `performance.now()` when the request arrived, or when its turn came on its connection. */
  startedAt = 0;
  /** It waited too long for its turn, or would have to. */
  late = false;
  /** The plugin and route that the request was for, once known. */
  route: RouteLabels | undefined = undefined;
  recorded = false;
  /** Undefined where nothing traces. */
  traced: TracedRequest | undefined = undefined;
  /** Of its span here, or as the request says. */
  trace: TraceIds | undefined = undefined;
  /** Another process responds, counts the request and logs it. */
  relayed = false;
  /** What was thrown, where that made the response. */
  failure: unknown = undefined;
  /** The status of a response that was written past this object; 0 while there is none. */
  rawStatus = 0;
  /** The connection is a WebSocket, whose end is logged. */
  isWebSocket = false;
  /** The client, which waits to be asked for its body, has been asked. */
  hasAsked = false;
  /** Ends the timer that watches over the body in place of Node's. */
  stopTimer: () => void = noTimer;
  #cut = false;
  /** Of a request with Upgrade: what its connection had been sent when its turn came. */
  #sentBefore: number | undefined = undefined;

  /** Whether another timer than Node's watches over the body. */
  get ownTimer(): boolean {
    return this.stopTimer !== noTimer;
  }

  protected abstract readonly defaults: ResponseDefaults;

  /** Call for a request with Upgrade: its handler may write to the connection itself. */
  noteTakeover(): void {
    if (this.socket === null) this.once('socket', () => this.noteTakeover());
    else this.#sentBefore = this.socket.bytesWritten;
  }

  /** A handler has written to the connection itself: it speaks another protocol from then on. */
  get takenOver(): boolean {
    if (this.#sentBefore === undefined || this.headersSent || this.rawStatus !== 0) return false;
    return this.socket !== null && this.socket.bytesWritten > this.#sentBefore;
  }

  /** As it says of itself, whether its head is out or not. */
  get isEventStream(): boolean {
    const type = this.getHeader('Content-Type');
    return typeof type === 'string' && type.startsWith('text/event-stream');
  }

  /** All of it is out. Node takes the socket away from a response at its end, and only then. */
  get complete(): boolean {
    return this.writableEnded && this.socket === null;
  }

  /** Its connection closed before all of it was out. */
  get abandoned(): boolean {
    return this.#cut || this.socket?.destroyed === true;
  }

  /** Node calls it when all has been given to the socket, and also when the socket has thrown it away. */
  override detachSocket(socket: Socket): void {
    this.#cut = socket.destroyed;
    // An idle connection need not keep its last request alive.
    const held = socket as { [LATEST]?: HostResponse | undefined };
    if (held[LATEST] === this && this.req.complete) held[LATEST] = undefined;
    super.detachSocket(socket);
  }

  /** The status that the client was sent. */
  get sentStatus(): number {
    if (this.rawStatus !== 0) return this.rawStatus;
    if (this.headersSent) return this.statusCode;
    if (this.takenOver) return SWITCHING_PROTOCOLS;
    return this.abandoned ? CLIENT_LEFT : this.statusCode;
  }

  /**
   * As `end(text)`, for text whose bytes Content-Length says. Where it is ASCII, as most JSON is, it goes out as the end of the
   * head: Node would make two writes of them, and joining them again costs as much as the write itself.
   */
  endWith(text: string): void {
    const isShort = text.length <= MOST_JOINED && Buffer.byteLength(text) === text.length;
    // Middleware puts a method of its own in the place of `end` to see the body.
    if (!isShort || this.end !== ServerResponse.prototype.end || !this.hasHeader('Content-Length')) {
      this.end(text);
      return;
    }
    this.writeHead(this.statusCode);
    (this as unknown as { _header: string })._header += text;
    this.end();
  }

  override writeHead(status: number, ...rest: unknown[]): this {
    const { headers, closes } = this.defaults;
    if (closes(this.socket)) this.shouldKeepAlive = false;
    for (let i = 0; i < headers.length; i += 2) {
      if (!this.hasHeader(headers[i]!)) this.addHeader(headers[i]!, headers[i + 1]!);
    }
    this.setHeader('X-Request-Id', this.requestId);
    return super.writeHead(status, ...rest);
  }
}

/** A response class bound to one server's defaults, for `http.createServer({ ServerResponse })`. */
export function responseClass(defaults: ResponseDefaults): typeof ServerResponse {
  return class extends HostResponse {
    protected override get defaults(): ResponseDefaults {
      return defaults;
    }
  } as typeof ServerResponse;
}
