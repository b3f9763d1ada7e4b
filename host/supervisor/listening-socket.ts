import { chmodSync, existsSync, lstatSync, rmSync } from 'node:fs';
import * as net from 'node:net';
import { dirname } from 'node:path';
import {
  bindPath,
  bindPort,
  boundAddress,
  inheritedSocket,
  type SocketHandle,
  systemError,
} from '../http/socket/bound-socket.js';
import { explainListening, sentence } from '../http/socket/listen-error.js';
import type { Address, Listening } from '../ipc/messages.js';
import { queueLength } from './queue-length.js';
import { StartFailure } from './start-failure.js';

/** An address to listen on, or a socket that listens already, passed by systemd. */
export type ListenTarget = Address | { readonly fd: number };

/** What a socket is for, and where its address was written, if it was. */
export type Purpose = Partial<Omit<Listening, 'address'>> & {
  /** It is between processes of this server: the admin address's, and the workers'. */
  readonly relayed?: true;
  /** Of a Unix socket: the folder that was created for it. */
  readonly folder?: string;
};

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
    readonly purpose: Purpose,
  ) {}

  /**
   * Binds the address. Until a worker has claimed it by listening, another program may take it.
   * Rejects with a StartFailure that names the address and the remedy. `port` is used in place of a port 0.
   */
  static async bind(wanted: ListenTarget, purpose: Purpose = {}, port = 0): Promise<ListeningSocket> {
    try {
      if ('fd' in wanted) return fromDescriptor(wanted);
      return 'path' in wanted ? await bindUnix(wanted.path) : await bindAddress(wanted.host, wanted.port);
    } catch (error) {
      throw bindingFailure(error as NodeJS.ErrnoException, wanted, purpose);
    }

    function fromDescriptor(target: { readonly fd: number }): ListeningSocket {
      const handle = inheritedSocket(target.fd);
      const bound = boundAddress(handle);
      const address = typeof bound === 'string' ? { path: 'systemd' } : bound;
      return new ListeningSocket(handle, target, address, purpose);
    }

    async function bindAddress(host: string, wantedPort: number): Promise<ListeningSocket> {
      const { handle, ...bound } = await bindPort(host, wantedPort === 0 ? port : wantedPort);
      return new ListeningSocket(handle, { host, port: wantedPort }, bound, purpose);
    }

    async function bindUnix(path: string): Promise<ListeningSocket> {
      await removeIfStale(path);
      const handle = bindInFolder(path);
      chmodSync(path, unixSocketMode);
      return new ListeningSocket(handle, { path }, { path }, purpose);
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
    return bindingFailure(systemError(code), this.wanted, this.purpose);
  }

  /**
   * Whether a worker can close its copy and accept again later, and this process can accept from a copy. Node makes a second
   * handle for a Unix socket.
   */
  get canPause(): boolean {
    return 'getsockname' in this.handle;
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
    if ('path' in this.wanted)
      rmSync(this.purpose.folder ?? this.wanted.path, { recursive: true, force: true });
  }
}

/** libuv reports a folder that does not exist as EACCES. */
function bindInFolder(path: string): SocketHandle {
  try {
    return bindPath(path);
  } catch (error) {
    throw existsSync(dirname(path)) ? error : systemError('ENOENT');
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

function bindingFailure(error: NodeJS.ErrnoException, wanted: ListenTarget, purpose: Purpose): StartFailure {
  if ('fd' in wanted)
    return new StartFailure(`The socket that systemd passed cannot be used (${error.code}).`);
  const { section, atAddress, atPort } = purpose;
  const { at, ...explained } = explainListening(error, wanted, section);
  const place = at === 'port' ? (atPort ?? atAddress) : (atAddress ?? atPort);
  return new StartFailure(sentence(explained), place && [{ ...place, ...explained }]);
}
