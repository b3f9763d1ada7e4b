import { getSystemErrorName } from 'node:util';
import { ACCEPT_QUEUE } from '../http/socket/accept-queue.js';

/** A socket received from the supervisor: one of Node's TCP or Pipe handles. */
export interface ReceivedSocket {
  /** 0, or a negative errno. */
  listen(backlog: number): number;
  close(): void;
}

/**
 * Listens on a bound socket and closes this process's copy in the same turn, so that this process accepts nothing. The
 * supervisor's copy stays in the state LISTEN: no other program can bind the address, and clients wait.
 * Returns the system's error code, such as EADDRINUSE, when listening fails.
 */
export function claim(socket: ReceivedSocket): string | undefined {
  const status = socket.listen(ACCEPT_QUEUE);
  socket.close();
  return status === 0 ? undefined : getSystemErrorName(status);
}
