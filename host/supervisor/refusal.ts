import type { Socket } from 'node:net';
import { OVERLOADED } from '../http/errors.js';
import { rawAnswer, rawError } from '../http/socket/raw-response.js';

/** Milliseconds that a client may take to send its request, and again to read the response. */
const patience = 1000;

/** Liveness is reported however busy the workers are: the supervisor watches their heartbeats. */
const alive = /^(?:GET|HEAD) \/(?:livez|healthz)[ ?/]/;

/** Responds to a connection for which the workers have no time, and closes it. */
export function refuse(socket: Socket): void {
  // A client that resets the connection meanwhile must not end the supervisor.
  socket.on('error', () => {});
  const timer = setTimeout(() => socket.destroy(), 2 * patience);
  socket.once('close', () => clearTimeout(timer));
  socket.once('data', (chunk: Buffer) => {
    const isAlive = alive.test(chunk.toString('latin1', 0, 32));
    socket.end(isAlive ? rawAnswer(200, { status: 'ok' }) : rawError(OVERLOADED).text);
  });
  // Further bytes have to be read: the kernel resets a connection that is closed with unread bytes.
  socket.resume();
}
