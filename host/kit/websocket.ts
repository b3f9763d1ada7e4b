import type { Context } from 'koa';
import type { WebSocket } from 'ws';

/**
 * Called as soon as a WebSocket is open: listeners that are added before the first await miss nothing. An error of the handler or
 * of a listener is logged, and closes the socket with 1011.
 */
export type WebSocketHandler<D> = (socket: WebSocket, ctx: Context, data: D) => void | Promise<void>;

export interface WebSocketOptions<D> {
  /**
   * Runs before the socket opens: an HttpError thrown here is the response to the client, and what it returns is the third
   * argument of the handler.
   */
  readonly upgrade?: (ctx: Context) => D | Promise<D>;
  /** The subprotocols that the handler speaks. A client that offers only others gets a 400. */
  readonly protocols?: readonly string[];
  /** Maximum size of a message in bytes; by default that of a request body. A larger message closes the socket with 1009. */
  readonly maxPayload?: number;
  /** Compresses messages (RFC 7692), which costs memory and time for each socket. Off by default. */
  readonly perMessageDeflate?: boolean;
}
