import { lookup } from 'node:dns/promises';
import * as net from 'node:net';
import { getSystemErrorName } from 'node:util';

/** One of Node's TCP or Pipe handles, as it is sent to a worker over IPC. */
export interface SocketHandle {
  close(callback?: () => void): void;
  /** Fills in the address. Returns 0 or a negative errno. A Pipe does not have this method. */
  getsockname?(address: { address?: string; port?: number }): number;
}

/**
 * Node's only way to bind without listening. A listening server accepts connections itself, and net.Server has no pause. Every
 * supported release has it: test/host/supervisor/listening-socket.test.ts.
 *
 * Returns a handle or a negative errno. For a Pipe, pass the path as the address, and -1 as port and family.
 */
type CreateServerHandle = (
  address: string | null,
  port: number | null,
  family: 4 | 6 | -1 | null,
  fd?: number,
) => SocketHandle | number;

const createServerHandle = (net as unknown as { _createServerHandle: CreateServerHandle })
  ._createServerHandle;

/** A socket that is bound, and listens nowhere yet. */
export interface BoundSocket {
  readonly handle: SocketHandle;
  readonly host: string;
  readonly port: number;
}

/** Binds an address, 0 for any free port. Rejects with the system's error, such as EADDRINUSE. */
export async function bindPort(host: string, port: number): Promise<BoundSocket> {
  const { address, family } = await lookup(host);
  const handle = created(createServerHandle(address, port, family === 6 ? 6 : 4));
  const bound = boundAddress(handle);
  // libuv reports a taken port only at listen(): until then the handle has no port, or the errno.
  if (typeof bound === 'string' || (port !== 0 && bound.port !== port)) {
    handle.close();
    throw systemError(typeof bound === 'string' ? bound : 'EADDRINUSE');
  }
  return { handle, ...bound };
}

/** Binds the path of a Unix socket. Throws the system's error. */
export function bindPath(path: string): SocketHandle {
  return created(createServerHandle(path, -1, -1));
}

/** A socket that this process was started with. Throws the system's error. */
export function inheritedSocket(fd: number): SocketHandle {
  return created(createServerHandle(null, null, null, fd));
}

/** The address and port, or the system's error code without one, as for a Pipe. */
export function boundAddress(handle: SocketHandle): { host: string; port: number } | string {
  const found: { address?: string; port?: number } = {};
  const status = handle.getsockname?.(found) ?? 0;
  if (status !== 0) return getSystemErrorName(status);
  return found.address === undefined ? 'ENOTSOCK' : { host: found.address, port: found.port ?? 0 };
}

export function systemError(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(code), { code });
}

function created(handle: SocketHandle | number): SocketHandle {
  if (typeof handle === 'number') throw systemError(getSystemErrorName(handle));
  return handle;
}
