import { getSystemErrorName } from 'node:util';

/** A socket that came from the supervisor: a TCP or Pipe handle of Node's. */
export interface ReceivedSocket {
  /** 0, or a negative errno. */
  listen(backlog: number): number;
  close(): void;
}

const backlog = 4096;

/**
 * Listens on a bound socket and closes this process's copy of it in the same turn, so that nothing is accepted here. The
 * supervisor's copy stays, in the state LISTEN: no other program can take the address, and clients wait.
 * Gives the system's code, such as EADDRINUSE, when it refuses.
 */
export function claim(socket: ReceivedSocket): string | undefined {
  const status = socket.listen(backlog);
  socket.close();
  return status === 0 ? undefined : getSystemErrorName(status);
}
