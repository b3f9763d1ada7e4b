import type { Socket } from 'node:net';
import type { Context } from 'plugin-server';

/**
 * Waits until the responses before this one on its connection are out. A client may send thousands of requests without
 * reading a response; only the one whose turn it is opens files. False when the connection closes first, of which Node
 * tells no response that is still waiting.
 */
export function isItsTurn({ req, res }: Context): true | Promise<boolean> {
  if (res.socket !== null) return true;
  if (req.socket.destroyed) return Promise.resolve(false);
  return new Promise((resolve) => {
    const waiting = waitingOn(req.socket);
    const drop = () => resolve(false);
    waiting.add(drop);
    res.once('socket', () => {
      waiting.delete(drop);
      resolve(true);
    });
  });
}

/** What to call when a connection closes. It has one listener for all, since Node warns about more than ten. */
const waiters = new WeakMap<Socket, Set<() => void>>();

function waitingOn(socket: Socket): Set<() => void> {
  const known = waiters.get(socket);
  if (known) return known;
  const waiting = new Set<() => void>();
  waiters.set(socket, waiting);
  socket.once('close', () => {
    for (const drop of waiting) drop();
  });
  return waiting;
}
