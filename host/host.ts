import { randomUUID } from 'node:crypto';
import type { AddressInfo, ListenOptions } from 'node:net';
import type { Logger } from 'pino';
import type { Configuration } from '../config/index.js';
import { announce } from './announce.js';
import { Channels } from './channels/channels.js';
import type { Control } from './control.js';
import { blame } from './diagnostics/blame.js';
import { portRemedy } from './diagnostics/port-taken.js';
import { socketLog } from './http/access-log.js';
import { KeyRing } from './http/api-key.js';
import { Audiences } from './http/audience.js';
import { credentialedCors } from './http/cors.js';
import { Entrance, type EntranceOptions } from './http/entrance.js';
import { foreignJudge, socketJudge } from './http/foreign-origin.js';
import { hostRoutes } from './http/host-routes.js';
import type { MountTable } from './http/mounts.js';
import { openPlugins } from './http/open-plugins.js';
import { openapiDocument } from './http/openapi.js';
import type { RateLimit } from './http/rate-limit.js';
import { RefusedKeys } from './http/refused-keys.js';
import { fromRelay, relayMount } from './http/relay.js';
import { serverView } from './http/server-view.js';
import { setUpPlugins } from './http/set-up-plugins.js';
import { ListenError } from './http/socket/listen-error.js';
import { NO_SOCKETS, OwnSockets, PluginListeners } from './http/socket/plugin-listeners.js';
import { Tracing } from './http/tracing.js';
import { WebSockets } from './http/websocket/websockets.js';
import type { FrontOptions } from './ipc/messages.js';
import { DEADLINES, messageOf } from './kit/deadline.js';
import { Drain } from './lifecycle/drain.js';
import { place } from './lifecycle/failure.js';
import { PluginUnit } from './lifecycle/plugin-unit.js';
import type { Log } from './log/index.js';
import { Metrics } from './monitor/metrics.js';
import { LocalMonitor, type MonitorLink } from './monitor/monitor.js';
import { Reporter } from './monitor/reporter.js';
import { version } from './package-layout.js';
import { strayText } from './prepare/data-names.js';
import { type Prepared, type PrepareOptions, prepare } from './prepare/index.js';
import type { Listening } from './prepare/listen-addresses.js';
import { type LogOptions, logWarnings, openLogOf } from './prepare/open-log.js';
import { isHttps, type Settings, storageFolder } from './prepare/settings.js';
import { StorageHub } from './storage/hub.js';
import { Jobs, type JobTimes } from './storage/jobs.js';

export interface HostOptions extends PrepareOptions, LogOptions {
  /** The same for all processes of one server; a new one when absent. */
  readonly serverId?: string;
  /** What the process around it can do; a Host without one can neither reload nor sum metrics over workers. */
  readonly control?: Control;
  /** In place of `[network] bindto` and `port`. `false`: it listens only when `serve` is called. */
  readonly listen?: ListenOptions | false;
  /** Milliseconds that the time of `every`, ttl and `now` differs from the real one: for tests. */
  readonly timeShift?: number;
  /** It runs no plugin: it serves the addresses for operators, and relays what plugins serve to the workers. */
  readonly front?: FrontOptions;
  /** Called when everything has been read and found right, and awaited before the first plugin is set up. */
  readonly onPrepared?: (prepared: Prepared) => void | Promise<void>;
  /** For the author of a plugin: responses of `route()` are checked, and a route that sets no response says so. */
  readonly development?: boolean;
}

/** A socket that another process has passed. */
export interface ServeOptions {
  /** Its index among those that are passed. */
  readonly listener?: number;
  /** What comes from it is relayed by the process that serves operators. */
  readonly relayed?: boolean;
  /** At the limit of connections the host goes on to accept and refuses them, even where another process could take them. */
  readonly refusing?: boolean;
}

export interface HostDrainOptions {
  /** How many milliseconds a connection without a request is left open. */
  readonly idle?: number;
  /**
   * At a reload, where another server serves already: how many milliseconds WebSockets and event streams may stay. Absent at
   * a stop, where they have the stop timeout.
   */
  readonly grace?: number;
}

/** Of the stop timeout, at most so many milliseconds are kept for the plugins to close. */
const CLOSE_RESERVE = 2000;

/** Milliseconds. Enough for a client that sends one request after the other to be told to connect again. */
const IDLE = 100;

/**
 * One server in this process: loads the configuration, finds the plugins, sets them up, listens, and closes.
 *
 * ```ts
 * const host = await Host.start({ iniFile: 'plugin-server.ini' });
 * console.log(host.url);
 * await host.close();
 * ```
 */
export class Host {
  readonly configuration: Configuration;
  readonly settings: Settings;
  readonly plugins: readonly PluginUnit[];
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly #log: Log;
  readonly #entrance: Entrance;
  /** The one for operators, with [admin]. */
  readonly #operators: Entrance | undefined;
  readonly #tls: boolean;
  readonly #drain = new Drain();
  readonly #monitor: MonitorLink;
  readonly #reporter: Reporter;
  readonly #storage: StorageHub;
  readonly #webSockets: WebSockets;
  readonly #jobs: Jobs;
  readonly #channels: Channels;
  readonly #listeners: PluginListeners;
  readonly #refusedKeys: RefusedKeys;
  readonly #rateLimit: RateLimit | undefined;
  /** Undefined where no OpenTelemetry is registered. */
  readonly #tracing: Tracing | undefined;
  /** Undefined if a supervisor has the sockets of plugins. */
  readonly #ownSockets: OwnSockets | undefined;
  #stopping = false;
  #closed: Promise<void> | undefined;

  /**
   * Rejects with a ConfigError, whose problems name each fault's place, when the configuration or a plugin is wrong, and
   * with a ListenError when the address cannot be had. Nothing is left running then.
   */
  static async start(options: HostOptions): Promise<Host> {
    const prepared = await prepare({ ...options, withoutPlugins: options.front !== undefined });
    const { settings } = prepared;
    const log = await openLogOf(prepared, options);
    // Several workers share one snapshot: the worker that read the files has logged them.
    if (options.snapshot === undefined) logWarnings(prepared.configuration, log.logger);
    const host = new Host(prepared, log, options, await loadRateLimit(settings, options));
    try {
      await options.onPrepared?.(prepared);
      await host.#setUp(prepared, options);
      if (options.snapshot === undefined && options.safe !== true) host.#tellStray(prepared);
      if (options.listen !== false) {
        await host.#listen(options.listen);
        await host.#ownSockets?.serve(host.#listeners);
        const { urls, adminUrls, plugins, openPlugins: open } = host;
        announce(host.log, { urls, adminUrls, plugins, open });
      }
      if (options.control === undefined) host.startJobs(0);
    } catch (error) {
      await host.close();
      throw error;
    }
    return host;
  }

  private constructor(prepared: Prepared, log: Log, options: HostOptions, rateLimit: RateLimit | undefined) {
    const { configuration, settings, tls } = prepared;
    this.configuration = configuration;
    this.settings = settings;
    this.#log = log;
    this.log = log.logger;
    this.#refusedKeys = new RefusedKeys(log.audit);
    this.#rateLimit = rateLimit;
    this.#tls = tls !== undefined;
    // What the front relays is traced by the worker that responds.
    if (options.front === undefined) this.#tracing = Tracing.of(settings.proxy, this.#tls ? 'https' : 'http');
    this.metrics = new Metrics(this.#tls ? 'https' : 'http', () => log.dropped);
    this.#storage = new StorageHub({
      folder: storageFolder(settings),
      mongodb: settings.storage,
      log: this.log,
      registry: this.metrics.registry,
      retire: (reason) => options.control?.retire?.(reason),
      retirements: options.control?.retirements ?? [],
    });
    this.#storage.clock.shift = options.timeShift ?? 0;
    this.#jobs = new Jobs({
      storage: this.#storage,
      registry: this.metrics.registry,
      begun: this.#drain.begun,
      deadline: this.#drain.deadline,
      hold: (run) => this.#drain.hold(run),
    });
    const deadlines = { ...DEADLINES, ...options.deadlines };
    this.plugins = prepared.plugins.map((plugin) => new PluginUnit(plugin, this.log, deadlines));
    this.metrics.watchPlugins(() => this.plugins);
    this.#channels = new Channels({
      registry: this.metrics.registry,
      link: options.control?.channels,
      relay:
        settings.storage &&
        (async (events) => {
          const { MongoRelay } = await import('./channels/mongodb-relay.js');
          const host = options.serverId ?? randomUUID();
          return MongoRelay.open({ link: await this.#storage.link(), log: this.log, host, ...events });
        }),
    });
    const link = options.control?.listeners ?? (options.listen === false ? NO_SOCKETS : new OwnSockets());
    this.#ownSockets = link instanceof OwnSockets ? link : undefined;
    this.#listeners = new PluginListeners(link, this.#drain);
    this.#webSockets = new WebSockets({
      drain: this.#drain,
      metrics: this.metrics,
      log: socketLog(log),
      judgeOrigin: socketJudge(settings.corsOrigins),
      maxPayload: settings.limits.body,
      deadlines,
    });
    this.#monitor = options.control?.monitor ?? new LocalMonitor();
    this.#reporter = new Reporter({
      metrics: this.metrics,
      connections: () => this.#entrance.server.openConnections,
      send: (report) => this.#monitor.report(report),
    });
    const processes = options.control === undefined ? 1 : settings.workers;
    const isFront = options.front !== undefined;
    const common = {
      log,
      drain: this.#drain,
      metrics: this.metrics,
      rateLimit,
      refusedKeys: this.#refusedKeys,
      tracing: this.#tracing,
      development: options.development === true,
      onProblem: (problem) => this.#reporter.addProblem(problem),
      tellCapacity: options.control?.tellCapacity && ((isFull) => options.control?.tellCapacity?.(isFull)),
    } satisfies Partial<EntranceOptions>;
    // Operators use internal names and addresses. Without a key, DNS rebinding is as harmful there.
    const operatorsHosts = settings.apiKeys.length === 0 ? 'local' : undefined;
    this.#entrance = new Entrance(prepared, {
      ...common,
      tls,
      hosts: isFront ? operatorsHosts : settings.hosts,
      // The workers of one server share its connections.
      limits: {
        ...settings.limits,
        connections: isFront ? 0 : Math.ceil(settings.limits.connections / processes),
      },
    });
    const isRelayed = options.listen === false;
    this.#operators =
      settings.admin === undefined || isFront
        ? undefined
        : new Entrance(prepared, {
            ...common,
            tls: isRelayed ? undefined : tls,
            hosts: operatorsHosts,
            limits: { ...settings.limits, connections: 0 },
            tellCapacity: undefined,
            ...(isRelayed && { wrap: (listener) => fromRelay(listener, this.#tls) }),
          });
  }

  /** The paths that are served to everybody, or where operators have no address of their own, to both. */
  get mounts(): MountTable {
    return this.#entrance.mounts;
  }

  /** The paths that are served to operators, with [admin]. */
  get operatorsMounts(): MountTable | undefined {
    return this.#operators?.mounts;
  }

  /** `http://127.0.0.1:6123`, the first of several. */
  get url(): string {
    return this.urls[0]!;
  }

  get urls(): readonly string[] {
    return this.#entrance.urls(this.#tls ? 'https' : 'http');
  }

  /** Those for operators, with [admin]. */
  get adminUrls(): readonly string[] {
    return this.#operators?.urls(this.#tls ? 'https' : 'http') ?? [];
  }

  get address(): AddressInfo {
    return this.#entrance.server.addresses[0] as AddressInfo;
  }

  /** The plugins that are served to whoever asks, since no key is set for them. */
  get openPlugins(): readonly string[] {
    return openPlugins(this.mounts, this.plugins);
  }

  /** From now on /readyz says 503, while serving goes on. */
  announceStop(): void {
    this.#stopping = true;
  }

  /** Accepts connections from a bound socket that another process has passed; `socket` is a handle of Node's. */
  serve(
    socket: object,
    { listener = 0, relayed = false, refusing = false }: ServeOptions = {},
  ): Promise<void> {
    const { server } = relayed ? this.#operators! : this.#entrance;
    return server.listen(socket, refusing, listener);
  }

  /** Accepts no connection until the next `serve`. */
  pause(): void {
    this.#entrance.server.pause();
  }

  /** Accepts no further connection and starts no further job. Those that are open stay. */
  stopAccepting(): void {
    this.#jobs.stop();
    for (const { server } of this.#entrances) server.stopAccepting();
    this.#listeners.stopAccepting();
  }

  get #entrances(): readonly Entrance[] {
    return this.#operators === undefined ? [this.#entrance] : [this.#entrance, this.#operators];
  }

  /** Accepts connections for a listener that a plugin has opened, from a socket that another process has passed. */
  acceptFor(key: string, socket: object): Promise<void> {
    return this.#listeners.accept(key, socket);
  }

  /** This generation is in force: its jobs run. `upFor` is for how many milliseconds workers have been there. */
  startJobs(upFor: number): void {
    this.#jobs.start(upFor);
  }

  /**
   * Moves the time of `every`, ttl and `now` by so many milliseconds from the real one, for tests. Resolves when each run
   * that came due has ended, to the time then and when the next one is due.
   */
  moveClock(shift: number): Promise<JobTimes> {
    this.#storage.clock.shift = shift;
    return this.#jobs.settle();
  }

  /** Closes so many of the kept connections, each with its next answer, so that their clients come back elsewhere. */
  shed(count: number): void {
    this.#entrance.server.shed(count);
  }

  /** Connections accepted in all, and those open now. */
  get connections(): { readonly accepted: number; readonly connections: number } {
    return this.#entrance.server.counts;
  }

  /** Stops accepting and answers what is in flight. A later call can only shorten the times of the first. */
  async drain({ idle = IDLE, grace }: HostDrainOptions = {}): Promise<void> {
    this.announceStop();
    const { stopTimeout } = this.settings;
    const timeout = stopTimeout - Math.min(CLOSE_RESERVE, stopTimeout / 5);
    if (grace === undefined) this.#drain.begin('stop', timeout);
    else this.#drain.begin('reload', grace);
    this.#listeners.stopAccepting();
    this.#rateLimit?.drain();
    const servers = this.#entrances.map(({ server }) => server.drain({ timeout, idle }));
    await Promise.all([...servers, this.#drain.finished()]);
    await this.#webSockets.finished();
  }

  /** Resolves when a drain has closed the connections that ask nothing. */
  get idleEnded(): Promise<unknown> {
    return Promise.all(this.#entrances.map(({ server }) => server.idleEnded));
  }

  /** Drains, then closes the plugins in reverse order. Idempotent: the first call decides. */
  close({ idle = IDLE }: { idle?: number } = {}): Promise<void> {
    this.#closed ??= this.#close(idle);
    return this.#closed;
  }

  async #close(idle: number): Promise<void> {
    await this.drain({ idle });
    for (const plugin of this.plugins.toReversed()) await plugin.close();
    await this.#jobs.close();
    this.#ownSockets?.close();
    await this.#channels.close();
    await this.#storage.close();
    await this.#flushSpans();
    this.#reporter.close();
    this.#refusedKeys.close();
    this.metrics.close();
    await this.#log.end();
  }

  async #flushSpans(): Promise<void> {
    try {
      await this.#tracing?.flush();
    } catch (error) {
      this.log.warn({ reason: messageOf(error) }, 'the last spans could not be exported');
    }
  }

  async #setUp(prepared: Prepared, options: HostOptions): Promise<void> {
    const { settings, configuration } = prepared;
    const { control } = options;
    const keys = settings.apiKeys.length === 0 ? undefined : new KeyRing(settings.apiKeys, 'global');
    for (const entrance of this.#entrances) {
      const routes = hostRoutes({
        names: options.front?.plugins,
        plugins: this.plugins,
        isStopping: () => this.#stopping,
        keys,
        metrics: this.metrics,
        control,
        openapi: () => openapiDocument(entrance.mounts, version),
        folder: configuration.folder,
      });
      const isShared = this.#operators === undefined;
      for (const { mount, audience, needsNoPlugin } of routes) {
        const isHere =
          options.front !== undefined
            ? needsNoPlugin
            : isShared || audience === 'everybody' || entrance === this.#operators;
        if (isHere) entrance.mounts.add(mount);
      }
    }
    if (options.front !== undefined) {
      const { socketPath } = options.front;
      this.#entrance.mounts.addFallback(relayMount({ socketPath, control }));
    }
    const server = serverView({
      version,
      units: this.plugins,
      monitor: this.#monitor,
      control,
      keys,
      isForOperators: (ctx) => this.#operators?.serves(ctx) ?? true,
      folder: configuration.folder,
    });
    await setUpPlugins(this.plugins, {
      configuration,
      log: this.log,
      mounts: new Audiences(this.mounts, this.#operators?.mounts),
      keys,
      refuseForeign: foreignJudge(settings.corsOrigins),
      corsFor: (origins) => credentialedCors(origins, settings.corsOrigins, settings.corsHeaders),
      onPlugin: options.onPlugin,
      webSockets: this.#webSockets,
      listeners: this.#listeners,
      shared: {
        dataFolder: settings.dataFolder,
        audit: this.#log.audit,
        metrics: this.metrics.ofPlugins,
        resolvePath: (path) => configuration.resolvePath(path),
        server,
        storage: this.#storage,
        jobs: this.#jobs,
        channels: this.#channels,
        draining: this.#drain.begun,
        https: isHttps(settings),
        units: new Map(this.plugins.map((unit) => [unit.name.toLowerCase(), unit])),
        fakes: new Map(Object.entries(options.fakes ?? {}).map(([name, fake]) => [name.toLowerCase(), fake])),
      },
    });
  }

  /** Logs that plugins which are gone have left values in the storage. */
  async #tellStray({ claimed }: Prepared): Promise<void> {
    try {
      const text = strayText("the plugins' storage", await this.#storage.dataNames(), claimed);
      if (text !== undefined) this.log.warn(`${text.message}; ${text.hint}`);
    } catch (error) {
      this.log.debug({ err: error }, 'the storage could not be searched for data of no plugin');
    }
  }

  /** Logs an error that nobody caught, with the plugin whose code it came from and the place there. */
  reportStray(error: unknown): void {
    const blamed = blame(
      error,
      this.plugins.map(({ name, plugin }) => ({ name, folder: plugin.package_.folder })),
    );
    const remedy = portRemedy(error);
    const why = remedy === undefined ? '' : `: ${messageOf(error)}; ${remedy}`;
    if (blamed === undefined) {
      this.log.error({ err: error }, `uncaught error${why}`);
      return;
    }
    const { plugin, position } = blamed;
    const at = place(this.configuration, position);
    this.log.error({ err: error, plugin, at }, `uncaught error in plugin "${plugin}"${why}`);
  }

  /** Writes out log lines that are still in memory; close() does so too. */
  flushLog(): void {
    this.#log.flush();
  }

  async #listen(instead: ListenOptions | undefined): Promise<void> {
    const { addresses, admin = [] } = this.settings;
    await listenAt(this.#entrance, instead === undefined ? addresses : [{ address: instead }]);
    if (this.#operators !== undefined) await listenAt(this.#operators, admin);
  }
}

/** Several addresses with the port 0 get the same port. */
async function listenAt(
  { server }: Entrance,
  addresses: readonly { readonly address: Listening['address'] | ListenOptions }[],
): Promise<void> {
  for (const [index, { address }] of addresses.entries()) {
    const first = server.addresses.find((each) => typeof each !== 'string') as AddressInfo | undefined;
    const target = 'port' in address && address.port === 0 ? { ...address, port: first?.port ?? 0 } : address;
    try {
      await server.listen(target, false, index);
    } catch (error) {
      throw new ListenError(error as NodeJS.ErrnoException, target);
    }
  }
}

/** It is loaded where it is asked for. */
async function loadRateLimit(
  { rateLimit }: Settings,
  { control }: HostOptions,
): Promise<RateLimit | undefined> {
  if (rateLimit === undefined) return undefined;
  const { RateLimit } = await import('./http/rate-limit.js');
  return new RateLimit(rateLimit, control?.rates);
}
