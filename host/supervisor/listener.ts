import { createServer, type Server, type Socket } from 'node:net';
import { explainListening } from '../http/socket/listen-error.js';
import type { Address } from '../ipc/messages.js';
import { StartFailure } from './start-failure.js';

/** An address to listen on, or a socket that listens already, passed by systemd. */
export type ListenTarget = Address | { readonly fd: number };

/** The listening socket. The supervisor owns it, so it stays open whatever becomes of the workers. */
export class Listener {
  readonly #server: Server;

  private constructor(
    server: Server,
    /** As configured: port 0 stays 0. */
    readonly wanted: ListenTarget,
  ) {
    this.#server = server;
  }

  /** Rejects with a StartFailure that says which address and what to do. */
  static open(
    wanted: ListenTarget,
    take: (socket: Socket) => void,
    onError: (error: Error) => void,
  ): Promise<Listener> {
    return new Promise((resolve, reject) => {
      // As an http.Server sets its own sockets up. Paused, since a worker is to read the first byte.
      const server = createServer({ pauseOnConnect: true, noDelay: true, allowHalfOpen: true }, take);
      const onRefused = (error: NodeJS.ErrnoException) => reject(new StartFailure(explain(error, wanted)));
      server.once('error', onRefused);
      server.listen({ ...wanted, backlog: 4096 }, () => {
        // From here on an error is about one connection that could not be accepted: out of descriptors, mostly.
        server.off('error', onRefused).on('error', onError);
        resolve(new Listener(server, wanted));
      });
    });
  }

  /** Where it really listens. */
  get address(): Address {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') return { host: String(address), port: 0 };
    return { host: address.address, port: address.port };
  }

  /** Whether it is what this configuration asks for too. */
  serves(wanted: ListenTarget): boolean {
    return JSON.stringify(this.wanted) === JSON.stringify(wanted);
  }

  close(): void {
    this.#server.close();
  }
}

function explain(error: NodeJS.ErrnoException, wanted: ListenTarget): string {
  return 'fd' in wanted
    ? `The socket that systemd passed cannot be used (${error.code}).`
    : explainListening(error, wanted.host, wanted.port);
}
