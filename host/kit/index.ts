/// <reference types="koa-bodyparser" preserve="true" />
// koa-bodyparser's types add `ctx.request.body`; an import would be missing in the types that are published.
/**
 * The plugin kit: all that a plugin imports from `plugin-server`.
 *
 * ```ts
 * import { definePlugin, z } from 'plugin-server';
 *
 * export default definePlugin({
 *   config: z.object({ greeting: z.string().default('Hello') }),
 *   setup({ config, router }) {
 *     router.get('/:name', (ctx) => {
 *       ctx.body = { message: `${config.greeting}, ${ctx.params.name}` };
 *     });
 *   },
 * });
 * ```
 */
import type { AddressInfo, Server } from 'node:net';
import type { Router as KoaRouter } from '@koa/router';
import type { Context, DefaultState, Middleware } from 'koa';
import type { Logger } from 'pino';
import type {
  Counter,
  CounterConfiguration,
  Gauge,
  GaugeConfiguration,
  Histogram,
  HistogramConfiguration,
} from 'prom-client';
import { z } from 'zod';
import type { Channel } from './channel.js';
import type { Job, Schedule } from './jobs.js';
import type { PluginKeys } from './plugin-keys.js';
import type { ListenOptions } from './plugin-listener.js';
import type { SendFileOptions } from './send-file.js';
import type { AuthType, ServerView } from './server-view.js';
import type { BundledServices } from './session-service.js';
import type { SettingPath } from './setting-error.js';
import type { Storage } from './storage.js';
import type { WebSocketHandler, WebSocketOptions } from './websocket.js';

// Schemas of parameters that take the forms of the INI file as well as those of JSON: `on`, `bool:on` and true.
export { boolean, choice, decimal, integer, list, text } from '../../config/fields.js';
export type { Channel } from './channel.js';
export { DeadlineError, withDeadline } from './deadline.js';
export { defineErrors, type ErrorEntry, type ErrorTable } from './error-table.js';
export { etagOf } from './etag.js';
export { startAnswer, type Validators } from './file-conditions.js';
export { fileError, fileErrors } from './file-errors.js';
export { HttpError, type HttpErrorOptions } from './http-error.js';
export type { Job, Schedule } from './jobs.js';
export { once } from './once.js';
export { asksKey, type Operation, openapi } from './operation.js';
export type { PluginKeys } from './plugin-keys.js';
export type { ListenOptions } from './plugin-listener.js';
export {
  type RawBody,
  type RouteInput,
  type RouteOptions,
  type RouteProblem,
  raw,
  route,
  type StreamBody,
  stream,
} from './route.js';
export type { SendFileOptions } from './send-file.js';
export { sendOpenFile } from './send-open-file.js';
export { type FolderEntry, type OpenFile, ServedFolder, versionOf } from './served-folder.js';
export { isServable } from './served-name.js';
export type {
  AuthType,
  MonitorEvent,
  PlacedProblem,
  PluginState,
  PluginView,
  ReloadResult,
  Sample,
  SeenProblem,
  ServerProblem,
  ServerView,
  Traffic,
} from './server-view.js';
export type {
  ExpectedSession,
  LoginOptions,
  Session,
  SessionEnded,
  SessionEntry,
  SessionPage,
  SessionRenewal,
  SessionService,
  SessionTraits,
  SessionWalk,
  VisitorOptions,
} from './session-service.js';
export { SettingError, type SettingPath } from './setting-error.js';
export type { Storage } from './storage.js';
export type { WebSocketHandler, WebSocketOptions } from './websocket.js';
export type { Context, Logger };
export { z };

/** The router that `setup` is given. */
export type Router = KoaRouter<DefaultState, Context>;

/**
 * What each plugin returns from its `setup`, by plugin name. A plugin that offers something to others adds itself:
 *
 * ```ts
 * declare module 'plugin-server' {
 *   interface Plugins { clock: { now(): number } }
 * }
 * ```
 */
export interface Plugins extends BundledServices {}

/** The type that `plugin(name)` gives: as declared in `Plugins`, else unknown. */
export type PluginExports<Name extends string> = Name extends keyof Plugins ? Plugins[Name] : unknown;

/** Makes metrics that appear under /metrics. Names follow Prometheus (`sessman_sessions_ended_total`). */
export interface PluginMetrics {
  counter<Label extends string>(options: CounterConfiguration<Label>): Counter<Label>;
  gauge<Label extends string>(options: GaugeConfiguration<Label>): Gauge<Label>;
  histogram<Label extends string>(options: HistogramConfiguration<Label>): Histogram<Label>;
}

/** The names in `after`: `clock` of `clock?` too. */
export type AfterName<After extends string> = After extends `${infer Name}?` ? Name : After;

type Schemas = Readonly<Record<string, z.ZodType>>;
type Outputs<Sections extends Schemas> = { [Name in keyof Sections]: z.output<Sections[Name]> };

/** What `setup` is given. */
export interface SetupContext<Config, Sections extends Schemas, After extends string> {
  /** The plugin's parameters, checked and typed by `config`. */
  readonly config: Config;
  /** The INI sections that the plugin asked for in `sections`, each checked and typed by its schema. */
  readonly sections: Outputs<Sections>;
  /** An @koa/router whose routes lie under the plugin's path. Any Koa middleware works on it. */
  readonly router: Router;
  /**
   * Koa middleware for everything below the plugin's path, whether a route matches or not, before its routes and in the
   * order of the calls: static files, proxies. It sees the path without the plugin's prefix, as koa-mount does it, and the
   * body unread, unless the API key came in it. In setup only.
   */
  use(middleware: Middleware): void;
  /**
   * A router under one more path that is the plugin's, where its configuration names one: `/docs`. For setup only. Throws
   * when the path is no path or another's; shown at `setting`, as in SettingError, where that is given.
   */
  mount(path: string, setting?: SettingPath): Router;
  /**
   * As `mount`, for what anyone may have whatever keys the plugin asks for: scripts and styles, say, which browsers fetch
   * without a key. The path may lie below the plugin's own, `/hello/client.js`.
   */
  mountOpen(path: string, options?: OpenMountOptions): Router;
  /**
   * Takes the check of API keys over from the server: the plugin's own routes are open from then on, and ask what this
   * returns. For a plugin that some callers use without a key, with a cookie say. In setup only.
   */
  takeKeys(): PluginKeys;
  /**
   * Lets pages of these origins call all paths of the plugin with the visitor's cookies: CORS with credentials, and
   * preflights without a key. Origins of `[cors]` may call as well, without credentials. In setup only.
   */
  allowOrigins(origins: readonly string[]): void;
  /** Whether browsers reach the server by HTTPS, as far as its settings tell: `[ssl]`, or `[network] proxy`. */
  readonly https: boolean;
  /**
   * JSON values that are the same for every worker and generation, and on MongoDB for every host. The same name is the same
   * storage; it has 1 to 64 of a-z, 0-9, _ and -. In setup only.
   */
  storage<T>(name: string): Storage<T>;
  /**
   * A WebSocket of npm's ws at a path of the router, parameters included. API key, host names, rate limits and `use()` are as
   * for a route, and come first; what refuses there answers as JSON. A page may open it from the server's own origin and those
   * of `[cors]`; any other is a 403. At a plain GET the path answers 426.
   *
   * A reload closes the socket with 1012 at the end of `stream_grace`, and a stop with 1001. It is cut when its client answers no
   * ping for 30 s, or leaves more than 4 MiB unread. In setup only.
   */
  websocket(path: string, handler: WebSocketHandler): void;
  websocket<D>(path: string, options: WebSocketOptions<D>, handler: WebSocketHandler<D>): void;
  /**
   * Runs a job at its times, one run at a time over all workers, and on MongoDB over all hosts. `name` is the job's own in
   * this plugin. Only the newest generation starts runs, once it is in force. Times that come while a run lasts are skipped; a
   * run that throws is logged, and the job runs again at its next time. What a worker that is killed or hangs was running is
   * taken up by another after 15 s. In setup only.
   */
  every(
    name: string,
    schedule: Schedule,
    run: (job: Job) => void | Promise<void>,
    options?: {
      /** Of the fields of cron: an IANA name; default UTC. */
      timeZone?: string;
    },
  ): void;
  /**
   * Carries values to all workers. The same name is the same channel; it has 1 to 64 of a-z, 0-9, _ and -. In setup only.
   */
  channel<T>(name: string): Channel<T>;
  /**
   * Opens a listener of the plugin's own, beside the server's: all workers and generations share its socket. Resolves when the
   * address is bound, and rejects where it cannot be had; connections are accepted once this generation is in force. At a drain
   * it accepts no more; connections that are open after `stream_grace` (at a stop: `stop_timeout`) are destroyed. The server's
   * keys, limits and log do not apply to it. In setup only.
   */
  listen(server: Server, options: ListenOptions): Promise<AddressInfo>;
  /** The time that `every` and ttl go by; a test may move it. */
  now(): Date;
  /**
   * Answers with a file below `root` as the plugin files does: type, ETag, Last-Modified, conditions, ranges, HEAD. `root` is
   * relative to the INI file, and `path` to `root`. Resolves when the answer is set on `ctx`, not when it is sent. Rejects
   * with the 404 `not_found` for what is missing, is a folder or a dot file, or lies outside once links are followed.
   */
  sendFile(ctx: Context, root: string, path: string, options?: SendFileOptions): Promise<void>;
  /** A pino logger whose lines carry the plugin's name. */
  readonly log: Logger;
  /** Aborts when the plugin is about to close: stop background work on it. */
  readonly signal: AbortSignal;
  /**
   * Aborts when the server begins to drain, which lasts until every answer has ended: end those that would not end by
   * themselves, such as event streams.
   */
  readonly draining: AbortSignal;
  /** The server as its operator sees it: plugins, figures, recent problems, reload. */
  readonly server: ServerView;
  /** The plugin's name and the path its routes lie under (`/hello`). */
  readonly name: string;
  readonly path: string;
  /** A folder that is the plugin's own, under `[paths] data`. It is not made until the plugin makes it. */
  readonly dataFolder: string;
  /** An absolute path of one written in the configuration: relative to the INI file, `~` is the home directory. */
  resolvePath(path: string): string;
  /** Runs before the server says it is ready, in the order registered; a rejection fails the plugin. */
  onReady(hook: () => void | Promise<void>): void;
  /** Runs at shutdown, in reverse order of registration, each within its own deadline, all even when one throws. */
  onClose(hook: () => void | Promise<void>): void;
  /**
   * A named readiness check, run at each /readyz: throws or rejects while the plugin cannot do its work. Only the words
   * of an HttpError are shown there; every error is logged.
   */
  onCheck(name: string, check: () => void | Promise<void>): void;
  readonly metrics: PluginMetrics;
  /**
   * What the plugin `name`, listed in `after`, returned from its setup; undefined when it is listed as `name?` and is
   * not there, or has failed.
   */
  plugin<Name extends AfterName<After>>(
    name: Name,
  ): PluginExports<Name> | (Name extends After ? never : undefined);
}

export interface OpenMountOptions {
  /** For a proxy that asks on behalf of a visitor: answers under any host name, and counts for no rate limit. */
  readonly subrequests?: boolean;
}

/** What `check` is given. */
export interface CheckContext<Config, Sections extends Schemas> {
  readonly config: Config;
  readonly sections: Outputs<Sections>;
  /** The plugin's name, under which its parameters are in `plugin_parms`, and the key that its routes require. */
  readonly name: string;
  readonly auth: AuthType;
  /** As in setup. */
  readonly https: boolean;
  /** `[network] hosts`: the names that requests may be addressed to; empty where any may. */
  readonly hosts: readonly string[];
  resolvePath(path: string): string;
  /** Says that a setting is wrong, and what to write instead. */
  report(setting: SettingPath, message: string, hint?: string): void;
  /** Says what deserves a second look and stops nothing. */
  warn(setting: SettingPath, message: string, hint?: string): void;
}

export interface PluginDefinition<
  Config extends z.ZodType = z.ZodType,
  Sections extends Schemas = Schemas,
  After extends string = string,
  Exports = unknown,
> {
  /** Defaults to the name in the folder's package.json (without its scope), then to the folder's or file's own. */
  readonly name?: string;
  /**
   * Plugins that must be ready before this one is set up. `clock?` is one that it can do without: it is waited for where
   * it is there.
   */
  readonly after?: readonly After[];
  /** The schema of the plugin's line in `[plugin_parms]`. Without one, the plugin takes no parameters. */
  readonly config?: Config;
  /** Schemas of whole INI sections that belong to this plugin, by section name. */
  readonly sections?: Sections;
  /**
   * Finds out what no schema can tell of the configuration: that a folder is there, say. It opens nothing that it does not
   * close. Run by `plugin-server check`, and before any plugin is set up.
   */
  check?(context: CheckContext<z.output<Config>, Sections>): void | Promise<void>;
  /**
   * `own`: the plugin's routes are open but for those that ask for a key themselves (`server.requireGlobalKey`), and its
   * line in `[plugin_parms]` takes no `auth_type`. For pages in a browser, which cannot send a key before they are loaded.
   */
  readonly auth?: 'own';
  setup(context: SetupContext<z.output<Config>, Sections, After>): Exports | Promise<Exports>;
}

const brand = Symbol.for('plugin-server.plugin');

/** Describes a plugin; the package's default export. The types of `config`, `sections` and `plugin()` follow from it. */
export function definePlugin<
  Config extends z.ZodType = z.ZodObject<Record<never, never>>,
  Sections extends Schemas = Record<never, never>,
  const After extends string = never,
  Exports = void,
>(
  definition: PluginDefinition<Config, Sections, After, Exports>,
): PluginDefinition<Config, Sections, After, Exports> {
  return Object.assign(definition, { [brand]: true });
}

/** Whether a module's default export came out of `definePlugin`, of whichever copy of the kit. */
export function isPlugin(value: unknown): value is PluginDefinition {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true;
}

declare module 'koa' {
  interface ExtendableContext {
    /** The id that the answer's X-Request-Id and the log lines of the request carry. */
    readonly requestId: string;
  }
}
