import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { hostError } from '../errors.js';
import { rawError, sayGoodbye } from './raw-response.js';

/** How many refused connections may be open at once, each reading its response; any more are closed without one. */
const MOST_FAREWELLS = 64;
/** Milliseconds between two lines about refused connections. */
const LOG_INTERVAL = 1000;

/** The share of the limit that has to be free before new connections are wanted again. */
const SPACE = 0.02;

const TOO_MANY = hostError('too_many_connections', { headers: { 'Retry-After': '1' } });

export interface ConnectionCap {
  readonly cap: number;
  readonly tls: boolean;
  readonly log: Logger;
  /** Told when the limit is reached, and when there is space again for some. */
  readonly onChange: (isFull: boolean) => void;
}

/**
 * Answers each connection beyond `cap` with a 503 and closes it. Node's own `maxConnections` would not do: it closes
 * without a word, and in a cluster it returns the connection to the primary, which passes it to the same worker again,
 * endlessly where there is only one.
 *
 * Call it before anything but Node listens for connections.
 */
export function capConnections(server: Server, { cap, tls, log, onChange }: ConnectionCap): void {
  const event = tls ? 'secureConnection' : 'connection';
  const accept = server.listeners(event) as ((socket: Socket) => void)[];
  server.removeAllListeners(event);
  /** Not at once: each change costs messages between processes. */
  const space = cap - Math.max(1, Math.floor(cap * SPACE));
  let open = 0;
  let isFull = false;
  let leaving = 0;
  let refused = 0;
  let isTold = false;

  const tell = () => {
    log.warn({ refused, connections: cap }, 'connection limit reached: new connections were refused');
    refused = 0;
    isTold = false;
  };
  const refuse = (socket: Socket) => {
    refused += 1;
    if (!isTold) setTimeout(tell, LOG_INTERVAL).unref();
    isTold = true;
    if (leaving >= MOST_FAREWELLS) {
      socket.destroy();
      return;
    }
    leaving += 1;
    socket.once('close', () => {
      leaving -= 1;
    });
    sayGoodbye(socket, rawError(TOO_MANY, tls).text);
  };

  const onClose = () => {
    open -= 1;
    if (!isFull || open > space) return;
    isFull = false;
    onChange(isFull);
  };

  server.on(event, (socket: Socket) => {
    if (open >= cap) {
      refuse(socket);
      return;
    }
    open += 1;
    socket.on('close', onClose);
    if (open === cap && !isFull) {
      isFull = true;
      onChange(isFull);
    }
    for (const listener of accept) listener.call(server, socket);
  });
}
