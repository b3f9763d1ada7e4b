import type { RequestListener } from 'node:http';
import type { Drain } from '../lifecycle/drain.js';
import type { Prepared } from '../prepare/index.js';
import type { TlsFiles } from '../prepare/snapshot.js';
import { type ApplicationSurroundings, makeApplication } from './make-application.js';
import { MountTable } from './mounts.js';
import { HttpServer, type ServerOptions } from './socket/server.js';

export interface EntranceOptions extends Omit<ApplicationSurroundings, 'mounts' | 'watchBodies'> {
  readonly drain: Drain;
  /** Undefined for plain HTTP. */
  readonly tls: TlsFiles | undefined;
  readonly limits: ServerOptions['limits'];
  readonly tellCapacity: ServerOptions['tellCapacity'];
  /** In front of the application. */
  readonly wrap?: (listener: RequestListener) => RequestListener;
}

/** One way into the server, for the public or for operators: the paths that are served there, and who serves them. */
export class Entrance {
  readonly mounts: MountTable;
  readonly server: HttpServer;
  readonly #application: ReturnType<typeof makeApplication>;

  constructor(prepared: Prepared, { drain, tls, limits, tellCapacity, wrap, ...around }: EntranceOptions) {
    this.mounts = new MountTable((plugin, route) => around.metrics.route(plugin, route));
    const application = makeApplication(prepared, {
      ...around,
      mounts: this.mounts,
      watchBodies: {
        watchUnread: (...given) => this.server.refusals.watchUnread(...given),
        limitArrival: (...given) => this.server.refusals.limitArrival(...given),
        limitBytes: (...given) => this.server.refusals.limitBytes(...given),
      },
    });
    this.#application = application;
    const listener = application.complete().callback();
    this.server = new HttpServer({
      listener: wrap === undefined ? listener : wrap(listener),
      // Before the first request of a TLS connection its handshake takes its time.
      ...(tls === undefined && { onConnection: () => application.expectRequest() }),
      log: around.log.logger,
      drain,
      tls,
      tellCapacity,
      limits,
    });
  }

  /** Whether the request came in here. */
  serves({ app }: { readonly app: unknown }): boolean {
    return app === this.#application;
  }

  /** `http://127.0.0.1:6123`, in the order of the addresses. */
  urls(scheme: string): string[] {
    return this.server.addresses.map((bound) => {
      if (typeof bound === 'string') return `${scheme}+unix:${bound}`;
      const { address, family, port } = bound;
      return `${scheme}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
    });
  }
}
