import { Router } from '@koa/router';
import type { Logger } from 'pino';
import { ConfigError, type Configuration, type Problem } from '../../config/index.js';
import type { PluginCode } from '../diagnostics/blame.js';
import type { Context } from '../kit/index.js';
import { describeFailure } from '../lifecycle/failure.js';
import { type PluginRoute, PluginRoutes } from '../lifecycle/plugin-routes.js';
import type { PluginUnit } from '../lifecycle/plugin-unit.js';
import { type SharedSurroundings, setupContext } from '../lifecycle/setup-context.js';
import { PathClaims } from '../prepare/paths.js';
import type { PreparedPlugin } from '../prepare/plugin-parameters.js';
import { KeyRing, pluginKeys } from './api-key.js';
import type { Audiences } from './audience.js';
import { hostError } from './errors.js';
import type { Mount } from './mounts.js';
import type { PluginListeners } from './socket/plugin-listeners.js';
import type { WebSockets } from './websocket/websockets.js';

export interface PluginSurroundings {
  readonly configuration: Configuration;
  readonly log: Logger;
  readonly mounts: Audiences;
  /** The global keys; undefined if none is set. */
  readonly keys: KeyRing | undefined;
  /** Keeps pages of other sites from plugins that are open only because no global key is set. */
  readonly refuseForeign: Mount['guard'];
  /** CORS for a plugin that lets pages of these origins use the visitor's cookies. */
  readonly corsFor: (origins: readonly string[]) => Mount['cors'];
  /** Called for each plugin before its setup runs. */
  readonly onPlugin: ((plugin: PluginCode) => void) | undefined;
  readonly webSockets: WebSockets;
  readonly listeners: PluginListeners;
  readonly shared: SharedSurroundings;
}

/**
 * Sets up the plugins, one after another, and mounts their routes. A plugin that fails and is not required is left out: its
 * path responds with the error. Rejects when a required plugin fails.
 */
export async function setUpPlugins(units: readonly PluginUnit[], around: PluginSurroundings): Promise<void> {
  const claims = new PathClaims(units);
  for (const unit of units) await new PluginSetup(unit, around).run(claims);
}

class PluginSetup {
  readonly #unit: PluginUnit;
  readonly #around: PluginSurroundings;

  constructor(unit: PluginUnit, around: PluginSurroundings) {
    this.#unit = unit;
    this.#around = around;
  }

  async run(claims: PathClaims): Promise<void> {
    this.#around.onPlugin?.(this.#code());
    const routes = new PluginRoutes(this.#unit.path);
    const asked = await this.#setUp(routes, claims);
    if (asked !== undefined) this.#mount(routes, asked);
  }

  /** The plugin's routes; undefined when it is left out. */
  async #setUp(routes: PluginRoutes, claims: PathClaims): Promise<readonly PluginRoute[] | undefined> {
    const unit = this.#unit;
    const { fault: found, stray } = this.#unit.plugin;
    const thrown = stray?.aborted ? stray.reason : undefined;
    const fault = found ?? (thrown && this.#describe(thrown));
    if (fault !== undefined) {
      unit.fail(fault.message);
      this.#leaveOut(fault, thrown);
      return undefined;
    }
    const { name, path, log } = unit;
    const { router } = routes;
    const maxPayload = unit.plugin.bounds.limit;
    const socketPlugin = { name, path, log, router, maxPayload, origins: () => routes.origins ?? [] };
    const context = setupContext(unit, {
      ...this.#around.shared,
      router: routes.router,
      mount: (text, open, options) =>
        routes.at(claims.claim(text, unit.name), open, options?.subrequests === true),
      isOpen: keysOf(unit.plugin, this.#around.keys) === undefined,
      takeKeys: () => {
        routes.checksKeys = true;
        return pluginKeys(ownKeysOf(this.#unit.plugin, this.#around.keys));
      },
      allowOrigins: (origins, { hasCookie } = {}) => {
        routes.origins = origins;
        if (hasCookie === undefined) return;
        this.#around.webSockets.admit(origins, (ctx) => unit.state === 'ready' && hasCookie(ctx as Context));
      },
      use: (middleware) => routes.middleware.push(middleware),
      listen: (server, options) => this.#around.listeners.listen(name, server, options),
      websocket: (path, options, handler) =>
        this.#around.webSockets.route(socketPlugin, path, options, handler),
    });
    try {
      let asked: readonly PluginRoute[] = [];
      await unit.start(async () => {
        const exports = await unit.plugin.definition.setup(context);
        asked = [...routes];
        await this.#around.shared.storage.ready();
        await this.#around.webSockets.ready();
        await this.#around.shared.jobs.check();
        await this.#around.shared.channels.ready();
        await this.#around.listeners.ready();
        return exports;
      });
      return asked;
    } catch (error) {
      const problem = this.#describe(error);
      if (unit.plugin.required) throw new ConfigError([problem]);
      this.#leaveOut(problem, (error as Error).cause ?? error);
      return undefined;
    }
  }

  #mount({ checksKeys, origins }: PluginRoutes, asked: readonly PluginRoute[]): void {
    const { mounts, keys, refuseForeign, corsFor } = this.#around;
    const isOpen = this.#unit.plugin.auth === 'global' && keys === undefined && !checksKeys;
    const closed = {
      keys: checksKeys ? ownKeysOf(this.#unit.plugin, keys) : keysOf(this.#unit.plugin, keys),
      guard: isOpen ? refuseForeign : undefined,
      checksKeys,
      ownKeys: checksKeys || this.#unit.plugin.auth === 'own',
    };
    const cors = origins && corsFor(origins);
    for (const { path, router, open, subrequests, middleware } of asked) {
      const opener = open ? { keys: undefined, open: true } : closed;
      const exempt = { anyHost: subrequests, unmetered: subrequests, exact: subrequests };
      const mount = {
        name: this.#unit.name,
        packageName: this.#unit.plugin.uses === undefined ? undefined : this.#unit.plugin.package_.name,
        path,
        router: router as never,
        ...opener,
        ...exempt,
        cors,
        middleware,
        bounds: this.#unit.plugin.bounds,
      };
      mounts.add(mount, this.#isForOperators);
    }
  }

  /** An uncaught error during the start makes only the plugin fail, if it is not required. */
  #code(): PluginCode {
    const unit = this.#unit;
    const code = { name: unit.name, folder: unit.plugin.package_.folder };
    if (unit.plugin.required) return code;
    return {
      ...code,
      fail: (error) => {
        const wasReady = unit.state === 'ready';
        unit.break(error);
        if (!wasReady) return;
        this.#around.mounts.remove(unit.name);
        this.#leaveOut(this.#describe(error), error);
      },
    };
  }

  #describe(error: unknown): Problem {
    return describeFailure(this.#around.configuration, this.#unit.plugin, error);
  }

  /** The server continues without the plugin. */
  #leaveOut(problem: Problem, error?: unknown): void {
    const unit = this.#unit;
    unit.fault = problem;
    this.#around.log.error(
      { ...(error !== undefined && { err: error }), plugin: unit.name },
      problem.message,
    );
    const mount = { name: unit.name, path: unit.path, router: failedRouter(unit.name), keys: undefined };
    this.#around.mounts.add(mount, this.#isForOperators);
  }

  get #isForOperators(): boolean {
    return this.#unit.plugin.definition.operators === true;
  }
}

function keysOf({ auth, keys }: PreparedPlugin, globalKeys: KeyRing | undefined): KeyRing | undefined {
  if (auth === 'global') return globalKeys;
  return auth === 'plugin' ? new KeyRing(keys, 'plugin') : undefined;
}

/** As `keysOf`, for a plugin that checks them itself: `none` opens nothing there. */
function ownKeysOf(plugin: PreparedPlugin, globalKeys: KeyRing | undefined): KeyRing | undefined {
  return plugin.auth === 'plugin' ? keysOf(plugin, globalKeys) : globalKeys;
}

/** Serves the path of a plugin that failed and is not required. */
function failedRouter(name: string): Router {
  return new Router().all(/.*/, () => {
    throw hostError('plugin_failed', { name });
  });
}
