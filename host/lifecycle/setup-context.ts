import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import type { Router } from '@koa/router';
import type { DefaultState, Middleware } from 'koa';
import type { Channels } from '../channels/channels.js';
import type { Audit } from '../kit/audit.js';
import { messageOf } from '../kit/deadline.js';
import type { AllowOriginsOptions, Context, OpenMountOptions, SetupContext } from '../kit/index.js';
import type { PluginKeys } from '../kit/plugin-keys.js';
import type { ListenOptions } from '../kit/plugin-listener.js';
import { sendFile } from '../kit/send-file.js';
import type { ServerView } from '../kit/server-view.js';
import { SettingError } from '../kit/setting-error.js';
import type { WebSocketHandler, WebSocketOptions } from '../kit/websocket.js';
import type { PluginMetricsMaker } from '../monitor/plugin-metrics.js';
import { parseAfter } from '../prepare/order.js';
import { PATH_FORM } from '../prepare/paths.js';
import type { StorageHub } from '../storage/hub.js';
import type { Jobs } from '../storage/jobs.js';
import type { PluginUnit } from './plugin-unit.js';

/** The parts of the context that all plugins of a server share. */
export interface SharedSurroundings {
  readonly dataFolder: string;
  readonly audit: Audit;
  readonly metrics: PluginMetricsMaker;
  readonly resolvePath: (path: string) => string;
  readonly server: ServerView;
  /** Whether browsers reach the server by HTTPS. */
  readonly https: boolean;
  readonly storage: StorageHub;
  readonly jobs: Jobs;
  readonly channels: Channels;
  /** Aborts when the server begins to drain. */
  readonly draining: AbortSignal;
  /** All plugins, by lower-case name. */
  readonly units: ReadonlyMap<string, PluginUnit>;
  /** Replacements for plugins that do not run, by lower-case name. */
  readonly fakes: ReadonlyMap<string, unknown>;
}

export interface SetupSurroundings extends SharedSurroundings {
  readonly router: Router<DefaultState, Context>;
  /** Returns a router for another path, which requires no key if it is open. Throws if it cannot. */
  readonly mount: (path: string, open: boolean, options?: OpenMountOptions) => Router<DefaultState, Context>;
  /** Whether no key is required for the routes of the plugin. */
  readonly isOpen: boolean;
  /** Leaves the check of keys to the plugin. */
  readonly takeKeys: () => PluginKeys;
  /** The origins whose pages may call with the visitor's cookies. */
  readonly allowOrigins: (origins: readonly string[], options?: AllowOriginsOptions) => void;
  /** Adds a route that opens WebSockets. */
  readonly websocket: <D>(path: string, options: WebSocketOptions<D>, handler: WebSocketHandler<D>) => void;
  /** Opens a listener of the plugin's own. */
  readonly listen: (server: Server, options: ListenOptions) => Promise<AddressInfo>;
  /** Adds middleware in front of the routes below the plugin's path. */
  readonly use: (middleware: Middleware) => void;
}

/** The argument of a plugin's `setup`. */
export function setupContext(
  unit: PluginUnit,
  around: SetupSurroundings,
): SetupContext<never, never, string> {
  const { router, units } = around;
  const inSetup = (call: string) => {
    if (unit.state !== 'setting_up') throw new Error(`${call} was called after setup; call it in setup`);
  };
  const mount = (path: string, open: boolean, options?: OpenMountOptions) => {
    inSetup(`mount("${path}")`);
    return around.mount(path, open, options);
  };
  return {
    config: unit.plugin.parameters as never,
    sections: unit.plugin.sections as never,
    router,
    use: (middleware) => {
      inSetup('use()');
      around.use(middleware);
    },
    channel: (name, options) => {
      inSetup(`channel("${name}")`);
      const { name: plugin, dataName } = unit.plugin;
      return around.channels.channel(
        { name: plugin, dataName, log: unit.log, signal: unit.abort.signal },
        name,
        options,
      );
    },
    listen: async (server, options) => {
      inSetup('listen()');
      return around.listen(server, options);
    },
    websocket: <D>(
      path: string,
      ...rest: [WebSocketHandler<undefined>] | [WebSocketOptions<D>, WebSocketHandler<D>]
    ) => {
      inSetup(`websocket("${path}")`);
      const [options, handler] = rest.length === 1 ? [{}, rest[0] as WebSocketHandler<D>] : rest;
      around.websocket(path, options, handler);
    },
    mount: (path, setting) => {
      try {
        return mount(path, false);
      } catch (error) {
        throw setting === undefined ? error : new SettingError(setting, messageOf(error), PATH_FORM);
      }
    },
    mountOpen: (path, options) => mount(path, true, options),
    takeKeys: () => {
      inSetup('takeKeys()');
      return around.takeKeys();
    },
    allowOrigins: (origins, options) => {
      inSetup('allowOrigins()');
      around.allowOrigins(origins, options);
    },
    isOpen: around.isOpen,
    https: around.https,
    storage: (name) => {
      inSetup(`storage("${name}")`);
      return around.storage.storage(unit.plugin, name);
    },
    every: (name, schedule, run, options) => {
      inSetup(`every("${name}")`);
      around.jobs.every(unit, name, schedule, run, options);
    },
    now: () => new Date(around.storage.clock.now()),
    sendFile: (ctx, root, path, options = {}) =>
      sendFile(ctx, around.resolvePath(root), path, options, unit.log),
    log: unit.log,
    audit: (event, about, message) => around.audit(event, { plugin: unit.name, ...about }, message),
    signal: unit.abort.signal,
    draining: around.draining,
    server: around.server,
    name: unit.name,
    path: unit.path,
    dataFolder: join(around.dataFolder, unit.plugin.dataName),
    resolvePath: around.resolvePath,
    metrics: around.metrics.of(unit.name, unit.plugin.definition),
    onReady: (hook) => {
      unit.readyHooks.push(hook);
    },
    onClose: (hook) => {
      unit.closeHooks.push(hook);
    },
    onCheck: (name, check) => {
      unit.checks.set(name, check);
    },
    plugin: (name) => {
      const after = (unit.plugin.definition.after ?? []).map(parseAfter);
      const entry = after.find((each) => each.name.toLowerCase() === name.toLowerCase());
      if (entry === undefined) {
        throw new Error(`plugin("${name}") requires "${name}" in "after" of definePlugin`);
      }
      if (around.fakes.has(name.toLowerCase())) return around.fakes.get(name.toLowerCase()) as never;
      const other = units.get((unit.plugin.bindings.get(name.toLowerCase()) ?? name).toLowerCase());
      if (other?.state !== 'ready' && entry.optional) return undefined as never;
      if (other?.state !== 'ready')
        throw new Error(`plugin "${name}" is not ready: ${other?.problem ?? 'it does not exist'}`);
      return other.exports as never;
    },
  };
}
