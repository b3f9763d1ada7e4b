import type { Socket } from 'node:net';
import { OVERLOADED } from '../http/errors.js';
import { rawAnswer, rawError } from '../http/socket/raw-response.js';

/** Milliseconds that a connection may take to say what it wants, and again to read the answer. */
const patience = 1000;

/** Whether the process answers is answered however busy the workers are: their heartbeat is watched here. */
const alive = /^(?:GET|HEAD) \/(?:livez|healthz)[ ?/]/;

/** Answers a connection for which the workers have no time, and closes it. */
export function refuse(socket: Socket): void {
  // A client that resets the connection meanwhile must not end the supervisor.
  socket.on('error', () => {});
  const timer = setTimeout(() => socket.destroy(), 2 * patience);
  socket.once('close', () => clearTimeout(timer));
  socket.once('data', (chunk: Buffer) => {
    const isAlive = alive.test(chunk.toString('latin1', 0, 32));
    socket.end(isAlive ? rawAnswer(200, { status: 'ok' }) : rawError(OVERLOADED).text);
  });
  // What else comes has to be read: the kernel answers unread bytes with a reset.
  socket.resume();
}
