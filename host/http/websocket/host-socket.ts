import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';

/** How long a client may take to answer a close, in milliseconds. */
const FAREWELL = 2000;
/** How many bytes may wait for a client that reads too slowly. */
const MOST_BUFFERED = 4 * 1024 * 1024;

/** A socket that its handler cannot bring the process down with, nor fill the memory. */
export class HostSocket extends WebSocket {
  /** Told of what a listener throws or rejects with. */
  onFailure: (error: unknown) => void = () => {};
  /** Told of what an asynchronous listener does; it never rejects. */
  onWork: (work: Promise<unknown>) => void = () => {};
  /** `performance.now()` of the latest pong, or of the opening. */
  alive = performance.now();
  #failed = false;
  #looking = false;

  /** As EventEmitter does it, but a listener's error or rejection is its own, and does not reach the event loop. */
  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'pong') this.alive = performance.now();
    // A handler that has failed is in an unknown state.
    if (this.#failed && event === 'message') return false;
    const listeners = this.rawListeners(event) as ((...args: unknown[]) => unknown)[];
    for (const listener of listeners) {
      try {
        const result = Reflect.apply(listener, this, args);
        if (result instanceof Promise) this.onWork(result.catch((error) => this.fail(error)));
      } catch (error) {
        this.fail(error);
      }
    }
    return listeners.length > 0;
  }

  override send(...args: [data: never, ...rest: never[]]): void {
    super.send(...(args as never as Parameters<WebSocket['send']>));
    if (this.#looking) return;
    this.#looking = true;
    // The system takes what it can until then.
    setImmediate(() => {
      this.#looking = false;
      if (this.bufferedAmount > MOST_BUFFERED) this.terminate();
    });
  }

  /** The handler or a listener failed: 1011. */
  fail(error: unknown): void {
    this.onFailure(error);
    this.#failed = true;
    this.leave(1011, 'Internal error');
  }

  /** Closes, and cuts the connection when the client does not answer. */
  leave(code: number, reason: string): void {
    if (this.readyState === WebSocket.CLOSED) return;
    this.close(code, reason);
    const timer = setTimeout(() => this.terminate(), FAREWELL);
    this.once('close', () => clearTimeout(timer));
  }
}

export interface SocketServerOptions {
  readonly maxPayload: number;
  readonly perMessageDeflate: boolean;
}

/** Opens sockets for the requests of one route. */
export class SocketServer {
  readonly #server: InstanceType<typeof WebSocketServer<typeof HostSocket>>;
  #protocol: string | undefined;
  #headers: readonly string[] = [];
  #refused: Error | undefined;

  constructor(options: SocketServerOptions) {
    this.#server = new WebSocketServer({
      ...options,
      noServer: true,
      clientTracking: false,
      WebSocket: HostSocket,
      handleProtocols: () => this.#protocol ?? false,
    });
    this.#server.on('headers', (headers) => headers.push(...this.#headers));
    this.#server.on('wsClientError', (error) => {
      this.#refused = error;
    });
  }

  /**
   * Sends the 101 with these header lines. The connection is the socket's from then on, and Node's parser sees no more of it.
   * Throws what is wrong with the extensions that the client offers.
   */
  open(request: IncomingMessage, protocol: string | undefined, headers: readonly string[]): HostSocket {
    const { socket } = request;
    this.#protocol = protocol;
    this.#headers = headers;
    this.#refused = undefined;
    let opened: HostSocket | undefined;
    detachParser(socket);
    this.#server.handleUpgrade(request, socket, Buffer.alloc(0), (webSocket) => {
      opened = webSocket;
    });
    if (opened === undefined) throw this.#refused ?? new Error('the WebSocket was not opened');
    // ws answers what breaks its protocol, and says so here. The code in the log tells it, too.
    opened.on('error', () => {});
    return opened;
  }
}

/**
 * Takes the connection of a request from Node's HTTP server. Node itself does so where the server has an `upgrade` listener, and
 * then for all requests with Upgrade: those for other protocols could no longer be answered. Node keeps the parser until the
 * connection closes, and frees it then.
 */
function detachParser(socket: Socket): void {
  for (const event of ['data', 'end', 'error', 'timeout']) socket.removeAllListeners(event);
}
