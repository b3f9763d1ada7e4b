import type { AddressInfo, Server } from 'node:net';
import type { Context, Middleware } from 'koa';
import type { WebSocket } from 'ws';
import type { Channel, ChannelOptions } from './channel.js';
import type { Job, Schedule } from './jobs.js';
import type { ListenOptions } from './plugin-listener.js';
import type { SendFileOptions } from './send-file.js';
import type { Storage } from './storage.js';
import type { WebSocketHandler, WebSocketOptions } from './websocket.js';

/**
 * What `setup` receives, among the rest, so that a plugin works over several workers, reloads and hosts. A type for functions
 * that setup passes some of it to: `Pick<Kit, 'storage' | 'now'>`.
 */
export interface Kit {
  /**
   * Koa middleware for everything below the plugin's path, whether a route matches or not, before its routes and in the
   * order of the calls: static files, proxies. It sees the path without the plugin's prefix, as with koa-mount, and the
   * unread body, unless the API key was in the body. In setup only.
   */
  use(middleware: Middleware): void;
  /**
   * JSON values that all workers and generations share, and on MongoDB all hosts. The same name gives the same storage; it
   * has 1 to 64 characters of a-z, 0-9, _ and -. In setup only.
   */
  storage<T>(name: string): Storage<T>;
  /**
   * A WebSocket of npm's ws at a path of the router, parameters included. API key, host names, rate limits and `use()` work
   * as for a route, before the socket opens; refusals are JSON. Pages of the server's own origin and of `[cors]` may open it,
   * and with sessman's cookie those of its `cookie_origins`; pages of other origins get 403. A plain GET gets 426.
   *
   * A reload closes the socket with 1012 at the end of `stream_grace`, and a stop with 1001. It is cut off when its client does not
   * answer pings for 30 s, or leaves more than 4 MiB unread. In setup only.
   */
  websocket(path: string, handler: (socket: WebSocket, ctx: Context) => void | Promise<void>): void;
  websocket<D>(path: string, options: WebSocketOptions<D>, handler: WebSocketHandler<D>): void;
  /**
   * Runs a job on a schedule, one run at a time over all workers, and on MongoDB over all hosts. `name` is unique within the
   * plugin. Only the newest generation starts runs, once it is in force. Times that come during a run are skipped; a run that
   * throws is logged, and the job runs again at its next time. If a worker is killed or hangs during a run, another takes over
   * after 15 s. In setup only.
   */
  every(
    name: string,
    schedule: Schedule,
    run: (job: Job) => void | Promise<void>,
    options?: {
      /** The time zone of cron fields, by its IANA name; UTC by default. */
      timeZone?: string;
    },
  ): void;
  /**
   * Carries values to all workers. The same name gives the same channel; it has 1 to 64 characters of a-z, 0-9, _ and -. In
   * setup only.
   */
  channel<T>(name: string, options?: ChannelOptions): Channel<T>;
  /**
   * Listens on another port for the plugin: all workers and generations share its socket. Resolves when the address is bound,
   * and rejects if it cannot be. Connections are accepted once this generation is in force, and no longer once it drains; those
   * that are open after `stream_grace` (at a stop: `stop_timeout`) are destroyed. The server's keys, limits and log do not apply
   * to them. In setup only.
   */
  listen(server: Server, options: ListenOptions): Promise<AddressInfo>;
  /** The time of `every` and ttl; tests can move it. */
  now(): Date;
  /**
   * Responds with a file below `root` as the plugin files does: type, ETag, Last-Modified, conditions, ranges, HEAD. `root` is
   * relative to the INI file, and `path` to `root`. Resolves when the response is set on `ctx`, not when it is sent. Rejects
   * with a 404 `not_found` for a path that does not exist, is a folder or a dot file, or leads outside through links.
   */
  sendFile(ctx: Context, root: string, path: string, options?: SendFileOptions): Promise<void>;
}
