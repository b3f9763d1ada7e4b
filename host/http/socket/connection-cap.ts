import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { type RawError, rawError } from './raw-response.js';

/** Milliseconds that a refused connection may take to read its answer. */
const FAREWELL = 1000;

const TOO_MANY: RawError = {
  status: 503,
  code: 'too_many_connections',
  sentence: 'The server has as many connections as it may have. Try again shortly.',
  headers: ['Retry-After: 1'],
};

/**
 * Answers each connection beyond `cap` with a 503 and closes it. Node's own `maxConnections` would not do: it closes
 * without a word, and in a cluster it gives the connection back to the primary, which gives it to the same worker
 * again, without end where there is but one.
 *
 * @param event `connection`, or `secureConnection` of a TLS server; called before anything listens for it but Node
 */
export function capConnections(server: Server, event: 'connection' | 'secureConnection', cap: number): void {
  const accept = server.listeners(event) as ((socket: Socket) => void)[];
  server.removeAllListeners(event);
  let open = 0;
  server.on(event, (socket: Socket) => {
    if (open >= cap) {
      refuse(socket);
      return;
    }
    open += 1;
    socket.once('close', () => {
      open -= 1;
    });
    for (const listener of accept) listener.call(server, socket);
  });
}

function refuse(socket: Socket): void {
  socket.on('error', () => {});
  // What the client sends meanwhile has to be read: the kernel answers unread bytes with a reset.
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), FAREWELL);
  socket.once('close', () => clearTimeout(timer));
  socket.end(rawError(TOO_MANY).text);
}
