import { chmodSync, lstatSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import {
  bindPath,
  bindPort,
  boundAddress,
  inheritedSocket,
  type SocketHandle,
  systemError,
} from '../http/socket/bound-socket.js';
import { explainListening } from '../http/socket/listen-error.js';
import type { Address } from '../ipc/messages.js';
import { queueLength } from './queue-length.js';
import { StartFailure } from './start-failure.js';

/** An address to listen on, or a socket that listens already, passed by systemd. */
export type ListenTarget = Address | { readonly fd: number };

/** The mode of a Unix socket: its user and its group, such as that of a reverse proxy, may connect. */
const unixSocketMode = 0o660;

/**
 * The socket that all workers accept from. The supervisor keeps it open and never accepts from it, so that clients wait in
 * the kernel's queue while no worker listens.
 */
export class ListeningSocket {
  private constructor(
    readonly handle: SocketHandle,
    /** The address as configured: port 0 stays 0. */
    readonly wanted: ListenTarget,
    /** The address that is bound. */
    readonly address: Address,
  ) {}

  /**
   * Binds the address. Until a worker has claimed it by listening, another program may take it.
   * Rejects with a StartFailure that names the address and the remedy.
   */
  static async bind(wanted: ListenTarget): Promise<ListeningSocket> {
    try {
      if ('fd' in wanted) return fromDescriptor(wanted);
      return 'path' in wanted ? await bindUnix(wanted.path) : await bindAddress(wanted.host, wanted.port);
    } catch (error) {
      throw new StartFailure(explainBinding(error as NodeJS.ErrnoException, wanted));
    }

    function fromDescriptor(target: { readonly fd: number }): ListeningSocket {
      const handle = inheritedSocket(target.fd);
      const bound = boundAddress(handle);
      return new ListeningSocket(handle, target, typeof bound === 'string' ? { path: 'systemd' } : bound);
    }

    async function bindAddress(host: string, port: number): Promise<ListeningSocket> {
      const { handle, ...bound } = await bindPort(host, port);
      return new ListeningSocket(handle, { host, port }, bound);
    }

    async function bindUnix(path: string): Promise<ListeningSocket> {
      await removeIfStale(path);
      const handle = bindPath(path);
      chmodSync(path, unixSocketMode);
      return new ListeningSocket(handle, { path }, { path });
    }
  }

  /** Whether this is the socket for that address. */
  serves(wanted: ListenTarget): boolean {
    return JSON.stringify(this.wanted) === JSON.stringify(wanted);
  }

  /** Whether a worker has to claim it. A socket passed by systemd listens already. */
  get needsClaim(): boolean {
    return !('fd' in this.wanted);
  }

  /** The system's error code from a worker that listened on it, as a StartFailure. */
  refusal(code: string): StartFailure {
    return new StartFailure(explainBinding(systemError(code), this.wanted));
  }

  /**
   * How many connections wait in the kernel's queue. 0 where this is unknown: on a Unix socket, and on a system without
   * /proc/net/tcp.
   */
  queueLength(): number {
    if ('path' in this.address) return 0;
    return queueLength(this.address.host, this.address.port);
  }

  close(): void {
    this.handle.close();
    if ('path' in this.wanted) rmSync(this.wanted.path, { force: true });
  }
}

/** A socket file that refuses connections was left behind by a killed server. */
async function removeIfStale(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const refused = await new Promise<boolean>((resolve) => {
    const socket = net.connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
  if (refused) rmSync(path, { force: true });
}

function explainBinding(error: NodeJS.ErrnoException, wanted: ListenTarget): string {
  if ('fd' in wanted) return `The socket that systemd passed cannot be used (${error.code}).`;
  return 'path' in wanted
    ? explainListening(error, wanted.path, undefined)
    : explainListening(error, wanted.host, wanted.port);
}
