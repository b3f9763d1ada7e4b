import { Server as HttpServer } from 'node:http';
import { Server as HttpsServer } from 'node:https';
import { type AddressInfo, isIPv6, Server, type Socket } from 'node:net';
import { nearest } from '../../../config/index.js';
import type {
  BoundListener,
  ListenerLink,
  ListenOptions,
  PluginListener,
} from '../../kit/plugin-listener.js';
import type { Drain } from '../../lifecycle/drain.js';
import { ACCEPT_QUEUE } from './accept-queue.js';
import { bindPort, type SocketHandle } from './bound-socket.js';
import { explainPluginListening } from './listen-error.js';

interface Opened {
  readonly server: Server;
  readonly sockets: Set<Socket>;
}

/** The listeners that the plugins of one server have opened beside it: their sockets come from the link, and their end from the drain. */
export class PluginListeners {
  readonly #link: ListenerLink;
  readonly #drain: Drain;
  readonly #opened = new Map<string, Opened>();
  readonly #binding = new Set<Promise<unknown>>();
  /** The plugins that have asked, by key, and how often for a free port. */
  readonly #owners = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  constructor(link: ListenerLink, drain: Drain) {
    this.#link = link;
    this.#drain = drain;
    const { deadline } = drain;
    deadline.addEventListener('abort', () => {
      for (const { sockets } of this.#opened.values()) for (const socket of sockets) socket.destroy();
    });
  }

  /** Resolves when the address is bound. Rejects with a sentence that names it where it cannot be had. */
  listen(plugin: string, server: Server, options: ListenOptions): Promise<AddressInfo> {
    const bound = this.#bind(plugin, server, options);
    this.#binding.add(bound);
    // `ready` reports it where the plugin does not wait for it.
    bound.catch(() => {});
    return bound;
  }

  /** Rejects where a listener could not be bound. */
  async ready(): Promise<void> {
    await Promise.all(this.#binding);
    this.#binding.clear();
  }

  /** The keys of all that have been bound. */
  get keys(): Iterable<string> {
    return this.#opened.keys();
  }

  /** Accepts connections from a bound socket, a handle of Node's. Rejects with the system's error. */
  async accept(key: string, handle: object): Promise<void> {
    const { server } = this.#opened.get(key)!;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(handle as never, ACCEPT_QUEUE as never, () => {
        server.off('error', reject);
        resolve();
      });
    });
  }

  /** Accepts no further connection. Those that are open stay until the deadline of the drain, which waits for them. */
  stopAccepting(): void {
    for (const { server, sockets } of this.#opened.values()) {
      if (!server.listening) continue;
      Server.prototype.close.call(server);
      if (server instanceof HttpServer || server instanceof HttpsServer) closeWithResponses(server);
      for (const socket of sockets)
        this.#drain.hold(new Promise<void>((resolve) => socket.once('close', () => resolve())));
    }
  }

  async #bind(plugin: string, server: Server, options: ListenOptions): Promise<AddressInfo> {
    checkArguments(server, options);
    const { port, host = '127.0.0.1' } = options;
    const key = this.#keyOf(plugin, host, port);
    const bound = await this.#link.bind({ key, plugin, host, port });
    if ('error' in bound) throw new Error(bound.error);
    const sockets = new Set<Socket>();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    this.#opened.set(key, { server, sockets });
    return { address: bound.host, port: bound.port, family: isIPv6(bound.host) ? 'IPv6' : 'IPv4' };
  }

  #keyOf(plugin: string, host: string, port: number): string {
    if (port !== 0) {
      const key = `${host}:${port}`;
      const owner = this.#owners.get(key);
      if (owner !== undefined)
        throw new Error(
          `plugin "${owner}" already listens on port ${port} of ${host}; give this listener another port`,
        );
      this.#owners.set(key, plugin);
      return key;
    }
    const kind = `${plugin} ${host}:0`;
    const count = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, count);
    return `${kind} ${count}`;
  }
}

/** The listeners of a server that is one process. */
export class OwnSockets implements ListenerLink {
  readonly #handles = new Map<string, SocketHandle>();

  async bind({ key, host, port }: PluginListener): Promise<BoundListener> {
    try {
      const { handle, ...bound } = await bindPort(host, port);
      this.#handles.set(key, handle);
      return bound;
    } catch (error) {
      return { error: explainPluginListening(error as NodeJS.ErrnoException, host, port) };
    }
  }

  /** Has each listener accept connections. Rejects with a sentence where another program has taken the address. */
  async serve(listeners: PluginListeners): Promise<void> {
    for (const [key, handle] of this.#handles) {
      this.#handles.delete(key);
      await listeners.accept(key, handle);
    }
  }

  /** Closes what accepts nothing yet. */
  close(): void {
    for (const handle of this.#handles.values()) handle.close();
    this.#handles.clear();
  }
}

/** For a server that serves nobody, as for a list of its routes. */
export const NO_SOCKETS: ListenerLink = {
  bind: async ({ host, port }) => ({ host, port }),
};

/** Each connection of a draining HTTP server ends with its next response, so that its client connects to the next generation. */
function closeWithResponses(server: HttpServer | HttpsServer): void {
  server.prependListener('request', (_request, response) => {
    response.shouldKeepAlive = false;
  });
}

const KNOWN: readonly string[] = ['port', 'host'] satisfies (keyof ListenOptions)[];

function checkArguments(server: unknown, options: ListenOptions): void {
  const fail = (what: string) => {
    throw new TypeError(`listen(): ${what}`);
  };
  if (!(server instanceof Server))
    fail('the first argument is not a server of node:net, node:http, node:https or node:tls');
  else if (server.listening) fail('the server listens already; pass it before it does');
  if (typeof options !== 'object' || options === null) fail('the second argument is not { port }');
  for (const key of Object.keys(options)) {
    if (KNOWN.includes(key)) continue;
    const near = nearest(key, KNOWN);
    fail(
      `unknown option "${key}"; ${near === undefined ? `known: ${KNOWN.join(', ')}` : `did you mean "${near}"?`}`,
    );
  }
  const { port, host = '127.0.0.1' } = options;
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    fail(`port is ${port}, not a number from 0 to 65535`);
  if (typeof host !== 'string' || host === '') fail('host is not an address or a host name');
}
