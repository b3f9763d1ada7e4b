import type { HostResponse } from './socket/response.js';

/** How many requests of one connection may wait for the response before theirs until no more are read. */
const MOST_WAITING = 64;

/** Node's, with which a response says how many bytes it holds back; Node reads no further beyond the high-water mark. */
interface Held {
  _onPendingData(bytes: number): void;
}

/**
 * Calls `begin` when a pipelined request's turn comes: when the responses before it on its connection are out. So one
 * response of a connection at a time is in preparation, with its files, memory and timers, and each has its socket. When
 * the connection closes first, the request was never begun.
 */
export function awaitTurn(response: HostResponse, begin: () => void): void {
  const weight = Math.ceil(response.writableHighWaterMark / MOST_WAITING);
  const held = response as unknown as Held;
  held._onPendingData(weight);
  response.once('socket', (socket) => {
    held._onPendingData(-weight);
    if (!socket.destroyed) begin();
  });
}
