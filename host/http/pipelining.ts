import type { Socket } from 'node:net';
import type { HostResponse } from './socket/response.js';

/** How many requests of one connection may wait for the response before theirs until no more are read. */
const MOST_WAITING = 64;

/** Node's, with which a response says how many bytes it holds back; Node reads no further beyond the high-water mark. */
interface Held {
  _onPendingData(bytes: number): void;
}

/** The requests of a connection that wait. */
interface Queue {
  length: number;
  /** Set while the connection is watched. */
  watch: NodeJS.Timeout | undefined;
}

const queues = new WeakMap<Socket, Queue>();

/**
 * Calls `begin` when a pipelined request's turn comes: when the responses before it on its connection are out. So one
 * response of a connection at a time is in preparation, with its files, memory and timers, and each has its socket. When
 * the connection closes first, the request was never begun.
 *
 * While so many wait that no more is read, nobody sees the client leave: such a connection ends when nothing has been sent
 * on it for `patience` milliseconds.
 */
export function awaitTurn(response: HostResponse, patience: number, begin: () => void): void {
  const connection = response.req.socket;
  const queue = queueOf(connection);
  const weight = Math.ceil(response.writableHighWaterMark / MOST_WAITING);
  const held = response as unknown as Held;
  held._onPendingData(weight);
  queue.length += 1;
  if (queue.length === MOST_WAITING) endIfStuck(connection, queue, patience);
  response.once('socket', (socket) => {
    held._onPendingData(-weight);
    queue.length -= 1;
    if (!socket.destroyed) begin();
  });
}

function queueOf(connection: Socket): Queue {
  let queue = queues.get(connection);
  if (queue === undefined) {
    const made: Queue = { length: 0, watch: undefined };
    queues.set(connection, made);
    connection.once('close', () => clearTimeout(made.watch));
    queue = made;
  }
  return queue;
}

function endIfStuck(connection: Socket, queue: Queue, patience: number): void {
  if (queue.watch !== undefined) return;
  const sent = connection.bytesWritten;
  queue.watch = setTimeout(() => {
    queue.watch = undefined;
    if (queue.length < MOST_WAITING) return;
    if (connection.bytesWritten === sent) connection.destroy();
    else endIfStuck(connection, queue, patience);
  }, patience);
}
