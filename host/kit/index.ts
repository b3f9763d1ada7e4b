/// <reference types="koa-bodyparser" preserve="true" />
// koa-bodyparser's types add `ctx.request.body`; an import would be missing in the types that are published.
/**
 * The plugin kit: everything that a plugin imports from `plugin-server`.
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
import type { Router as KoaRouter } from '@koa/router';
import type { Context, DefaultState } from 'koa';
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
import type { Audit } from './audit.js';
import type { Kit } from './kit.js';
import type { PluginKeys } from './plugin-keys.js';
import type { AuthType, ServerView } from './server-view.js';
import type { BundledServices } from './session-service.js';
import type { SettingPath } from './setting-error.js';

// Schemas of parameters that accept the forms of the INI file and of JSON: `on`, `bool:on` and true.
export { boolean, choice, decimal, integer, list, text } from '../../config/fields.js';
export { type Audit, type Caller, callerOf } from './audit.js';
export type { Channel, ChannelOptions } from './channel.js';
export { DeadlineError, withDeadline } from './deadline.js';
export { defineErrors, type ErrorEntry, type ErrorTable } from './error-table.js';
export { etagOf } from './etag.js';
export { startAnswer, type Validators } from './file-conditions.js';
export { fileError, fileErrors } from './file-errors.js';
export { HttpError, type HttpErrorOptions } from './http-error.js';
export type { Job, Schedule } from './jobs.js';
export type { Kit } from './kit.js';
export { once } from './once.js';
export { alsoForOperators, asksKey, forOperators, type Operation, openapi } from './operation.js';
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
  ReloadView,
  Sample,
  SeenProblem,
  ServerProblem,
  ServerView,
  Traffic,
  WorkersView,
  WorkerView,
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

/** The router that `setup` receives. */
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

/** The type that `plugin(name)` returns: as declared in `Plugins`, else unknown. */
export type PluginExports<Name extends string> = Name extends keyof Plugins ? Plugins[Name] : unknown;

/** Creates metrics that appear in /metrics. Names follow Prometheus (`sessman_sessions_ended_total`). */
export interface PluginMetrics {
  counter<Label extends string>(options: CounterConfiguration<Label>): Counter<Label>;
  gauge<Label extends string>(options: GaugeConfiguration<Label>): Gauge<Label>;
  histogram<Label extends string>(options: HistogramConfiguration<Label>): Histogram<Label>;
}

/** The names in `after`, without the `?` of `clock?`. */
export type AfterName<After extends string> = After extends `${infer Name}?` ? Name : After;

type Schemas = Readonly<Record<string, z.ZodType>>;
type Outputs<Sections extends Schemas> = { [Name in keyof Sections]: z.output<Sections[Name]> };

/** How pages of other origins may use the visitor's cookies. */
export interface AllowOriginsOptions {
  /**
   * Whether a request carries the plugin's cookie. The pages may then open WebSockets of every plugin in such requests, for
   * other plugins that know visitors by that cookie.
   */
  readonly hasCookie?: (ctx: Context) => boolean;
}

/** The argument of `setup`. */
export interface SetupContext<Config, Sections extends Schemas, After extends string> extends Kit {
  /** The plugin's parameters, checked and typed by `config`. */
  readonly config: Config;
  /** The INI sections that the plugin asked for in `sections`, each checked and typed by its schema. */
  readonly sections: Outputs<Sections>;
  /** An @koa/router below the plugin's path. Any Koa middleware works on it. */
  readonly router: Router;
  /**
   * A router for another path of the plugin, such as one from its configuration: `/docs`. In setup only. Throws if the path
   * is not valid or is taken; with `setting`, the error points at that setting, like a SettingError.
   */
  mount(path: string, setting?: SettingPath): Router;
  /**
   * Like `mount`, but without a key, whatever keys the plugin requires: for scripts and styles, for example, which browsers
   * fetch without one. The path may lie below the plugin's own: `/hello/client.js`.
   */
  mountOpen(path: string, options?: OpenMountOptions): Router;
  /**
   * Lets the plugin check API keys itself: from then on, its own routes are open, and check keys with the returned object.
   * For a plugin that some callers use without a key, for example with a cookie. In setup only.
   */
  takeKeys(): PluginKeys;
  /**
   * Lets pages of these origins call all paths of the plugin with the visitor's cookies: CORS with credentials, and
   * preflights without a key. Origins of `[cors]` may call as well, without credentials. In setup only.
   */
  allowOrigins(origins: readonly string[], options?: AllowOriginsOptions): void;
  /** Whether anyone may call the plugin's own routes without a key: none is set, or the operator wrote `auth_type=none`. */
  readonly isOpen: boolean;
  /** Whether browsers reach the server over HTTPS, according to its settings: `[ssl]`, or `[network] proxy`. */
  readonly https: boolean;
  /** A pino logger whose lines carry the plugin's name. */
  readonly log: Logger;
  /**
   * Writes an audit line: something that somebody may have to account for, such as the end of another user's session. `event`
   * names what happened (`order_refunded`); `about` says to what, and who asked: `callerOf(ctx)`.
   */
  readonly audit: Audit;
  /** Aborts when the plugin is about to close: its last response, run and socket has ended, or their time is over. */
  readonly signal: AbortSignal;
  /**
   * Aborts when this generation begins to drain: another serves already, or the server stops. An event stream may go on for
   * `stream_grace`, at a stop for `stop_timeout`, or end now.
   */
  readonly draining: AbortSignal;
  /** The server as its operator sees it: plugins, figures, recent problems, reload. */
  readonly server: ServerView;
  /** The plugin's name, and the path of its routes (`/hello`). */
  readonly name: string;
  readonly path: string;
  /** A folder for the plugin's data, under `[paths] data`. The plugin has to create it. */
  readonly dataFolder: string;
  /** Resolves a path from the configuration: relative to the INI file, `~` is the home directory. */
  resolvePath(path: string): string;
  /** Runs before the server reports that it is ready, in the order of registration; a rejection makes the plugin fail. */
  onReady(hook: () => void | Promise<void>): void;
  /** Runs at shutdown, in reverse order of registration, each with its own deadline; if one throws, the others still run. */
  onClose(hook: () => void | Promise<void>): void;
  /**
   * A named readiness check, run at each /readyz: throw or reject while the plugin cannot do its work. The response shows only
   * the message of an HttpError; every error is logged. What it returns stands in `notes` of /readyz?verbose.
   */
  onCheck(name: string, check: () => void | string | Promise<void> | Promise<string>): void;
  readonly metrics: PluginMetrics;
  /**
   * What the plugin `name`, listed in `after`, returned from its setup; undefined if it is listed as `name?` and is missing or
   * has failed.
   */
  plugin<Name extends AfterName<After>>(
    name: Name,
  ): PluginExports<Name> | (Name extends After ? never : undefined);
}

export interface OpenMountOptions {
  /** For a proxy that asks on behalf of a visitor: responds under any host name, and no rate limit counts its requests. */
  readonly subrequests?: boolean;
}

/** The argument of `check`. */
export interface CheckContext<Config, Sections extends Schemas> {
  readonly config: Config;
  readonly sections: Outputs<Sections>;
  /** The plugin's name, under which its parameters are in `plugin_parms`, and the key that its routes require. */
  readonly name: string;
  readonly auth: AuthType;
  /** As in setup. */
  readonly https: boolean;
  /** `[network] hosts`: the names that requests may be addressed to; empty if all are allowed. */
  readonly hosts: readonly string[];
  resolvePath(path: string): string;
  /** Reports that a setting is wrong, and what to write instead. */
  report(setting: SettingPath, message: string, hint?: string): void;
  /** Warns of a setting that is probably wrong, without stopping anything. */
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
   * Plugins that must be ready before this one is set up. `clock?` may be missing: the plugin waits for it only if it exists.
   */
  readonly after?: readonly After[];
  /** The schema of the plugin's line in `[plugin_parms]`. Without it, the plugin accepts no parameters. */
  readonly config?: Config;
  /** Schemas of whole INI sections that belong to this plugin, by section name. */
  readonly sections?: Sections;
  /**
   * Finds mistakes in the configuration that no schema can find, such as a missing folder. It must close what it opens. Run by
   * `plugin-server check`, and before any plugin is set up.
   */
  check?(context: CheckContext<z.output<Config>, Sections>): void | Promise<void>;
  /**
   * `own`: the plugin's routes are open, except those that check a key themselves (`server.requireGlobalKey`), and its line in
   * `[plugin_parms]` accepts no `auth_type`. For pages in a browser, which cannot send a key before they are loaded.
   */
  readonly auth?: 'own';
  /** The whole plugin is for operators: with `[admin]`, it is served at that address and nowhere else. */
  readonly operators?: boolean;
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

/** Whether a module's default export was created by `definePlugin`, of any copy of the kit. */
export function isPlugin(value: unknown): value is PluginDefinition {
  return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true;
}

declare module 'koa' {
  interface ExtendableContext {
    /** The request's id, as in X-Request-Id of the response and in the log. */
    readonly requestId: string;
    /**
     * A pino logger whose lines carry the request's id, its plugin, and if it came with a valid `traceparent` (W3C Trace Context)
     * `trace_id` and `parent_id`.
     */
    log: Logger;
  }
}
