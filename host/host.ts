import { randomUUID } from 'node:crypto';
import type { AddressInfo, ListenOptions } from 'node:net';
import type { Logger } from 'pino';
import type { Configuration } from '../config/index.js';
import { announce } from './announce.js';
import { Channels } from './channels/channels.js';
import type { Control } from './control.js';
import { blame } from './diagnostics/blame.js';
import { socketLog } from './http/access-log.js';
import { KeyRing } from './http/api-key.js';
import { credentialedCors } from './http/cors.js';
import { foreignJudge, socketJudge } from './http/foreign-origin.js';
import { hostRoutes } from './http/host-routes.js';
import { makeApplication } from './http/make-application.js';
import { MountTable } from './http/mounts.js';
import { openPlugins } from './http/open-plugins.js';
import { openapiDocument } from './http/openapi.js';
import type { RateLimit } from './http/rate-limit.js';
import { RefusedKeys } from './http/refused-keys.js';
import { serverView } from './http/server-view.js';
import { setUpPlugins } from './http/set-up-plugins.js';
import { ListenError } from './http/socket/listen-error.js';
import { NO_SOCKETS, OwnSockets, PluginListeners } from './http/socket/plugin-listeners.js';
import { HttpServer } from './http/socket/server.js';
import { Tracing } from './http/tracing.js';
import { WebSockets } from './http/websocket/websockets.js';
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
  /** Called when everything has been read and found right, and awaited before the first plugin is set up. */
  readonly onPrepared?: (prepared: Prepared) => void | Promise<void>;
  /** For the author of a plugin: responses of `route()` are checked, and a route that sets no response says so. */
  readonly development?: boolean;
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
  readonly mounts: MountTable;
  readonly log: Logger;
  readonly #log: Log;
  readonly #server: HttpServer;
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
    const prepared = await prepare(options);
    const { settings } = prepared;
    const log = await openLogOf(prepared, options);
    // Several workers share one snapshot: the worker that read the files has logged them.
    if (options.snapshot === undefined) logWarnings(prepared.configuration, log.logger);
    const host = new Host(prepared, log, options, await loadRateLimit(settings));
    try {
      await options.onPrepared?.(prepared);
      await host.#setUp(prepared, options);
      if (options.snapshot === undefined && options.safe !== true) host.#tellStray(prepared);
      if (options.listen !== false) {
        await host.#listen(options.listen ?? settings.address);
        await host.#ownSockets?.serve(host.#listeners);
        announce(host.log, { url: host.url, plugins: host.plugins, open: host.openPlugins });
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
    this.#tls = tls !== undefined;
    this.#tracing = Tracing.of(settings.proxy, this.#tls ? 'https' : 'http');
    this.metrics = new Metrics(this.#tls ? 'https' : 'http', () => log.dropped);
    this.mounts = new MountTable((plugin, route) => this.metrics.route(plugin, route));
    this.#storage = new StorageHub({
      folder: storageFolder(settings),
      mongodb: settings.storage,
      log: this.log,
      registry: this.metrics.registry,
      retire: (reason) => options.control?.retire?.(reason),
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
      send: (report) => this.#monitor.report(report),
    });
    const application = makeApplication(prepared, {
      log,
      mounts: this.mounts,
      metrics: this.metrics,
      rateLimit,
      refusedKeys: this.#refusedKeys,
      tracing: this.#tracing,
      development: options.development === true,
      onProblem: (problem) => this.#reporter.addProblem(problem),
      watchBodies: {
        watchUnread: (...given) => this.#server.refusals.watchUnread(...given),
        limitArrival: (...given) => this.#server.refusals.limitArrival(...given),
        limitBytes: (...given) => this.#server.refusals.limitBytes(...given),
      },
    });
    const processes = options.control === undefined ? 1 : settings.workers;
    this.#server = new HttpServer({
      listener: application.complete().callback(),
      // Before the first request of a TLS connection its handshake takes its time.
      ...(tls === undefined && { onConnection: () => application.expectRequest() }),
      log: this.log,
      drain: this.#drain,
      tls,
      tellCapacity: options.control?.tellCapacity && ((isFull) => options.control?.tellCapacity?.(isFull)),
      // The workers of one server share its connections.
      limits: { ...settings.limits, connections: Math.ceil(settings.limits.connections / processes) },
    });
  }

  /** `http://127.0.0.1:6123` */
  get url(): string {
    const bound = this.#server.address;
    if (typeof bound === 'string') return `${this.#tls ? 'https' : 'http'}+unix:${bound}`;
    const { address, family, port } = bound;
    const name = family === 'IPv6' ? `[${address}]` : address;
    return `${this.#tls ? 'https' : 'http'}://${name}:${port}`;
  }

  get address(): AddressInfo {
    return this.#server.address as AddressInfo;
  }

  /** The plugins that are served to whoever asks, since no key is set for them. */
  get openPlugins(): readonly string[] {
    return openPlugins(this.mounts, this.plugins);
  }

  /** From now on /readyz says 503, while serving goes on. */
  announceStop(): void {
    this.#stopping = true;
  }

  /**
   * Accepts connections from a bound socket that another process has passed; `socket` is a handle of Node's. `refusing`: at the
   * limit of connections it goes on to accept and refuses them, even where another process could take them.
   */
  serve(socket: object, { refusing = false }: { refusing?: boolean } = {}): Promise<void> {
    return this.#server.listen(socket, refusing);
  }

  /** Accepts no connection until the next `serve`. */
  pause(): void {
    this.#server.stopAccepting();
  }

  /** Accepts no further connection and starts no further job. Those that are open stay. */
  stopAccepting(): void {
    this.#jobs.stop();
    this.#server.stopAccepting();
    this.#listeners.stopAccepting();
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
    this.#server.shed(count);
  }

  /** Connections accepted in all, and those open now. */
  get connections(): { readonly accepted: number; readonly connections: number } {
    return this.#server.counts;
  }

  /** Stops accepting and answers what is in flight. A later call can only shorten the times of the first. */
  async drain({ idle = IDLE, grace }: HostDrainOptions = {}): Promise<void> {
    this.announceStop();
    const { stopTimeout } = this.settings;
    const timeout = stopTimeout - Math.min(CLOSE_RESERVE, stopTimeout / 5);
    if (grace === undefined) this.#drain.begin('stop', timeout);
    else this.#drain.begin('reload', grace);
    this.#listeners.stopAccepting();
    await Promise.all([this.#server.drain({ timeout, idle }), this.#drain.finished()]);
    await this.#webSockets.finished();
  }

  /** Resolves when a drain has closed the connections that ask nothing. */
  get idleEnded(): Promise<void> {
    return this.#server.idleEnded;
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
    for (const mount of hostRoutes({
      plugins: this.plugins,
      isStopping: () => this.#stopping,
      keys,
      metrics: this.metrics,
      control,
      openapi: () => openapiDocument(this.mounts, version),
      folder: configuration.folder,
    })) {
      this.mounts.add(mount);
    }
    const server = serverView({
      version,
      units: this.plugins,
      monitor: this.#monitor,
      control,
      keys,
      folder: configuration.folder,
    });
    await setUpPlugins(this.plugins, {
      configuration,
      log: this.log,
      mounts: this.mounts,
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
    if (blamed === undefined) {
      this.log.error({ err: error }, 'uncaught error');
      return;
    }
    const { plugin, position } = blamed;
    const at = place(this.configuration, position);
    this.log.error({ err: error, plugin, at }, `uncaught error in plugin "${plugin}"`);
  }

  /** Writes out log lines that are still in memory; close() does so too. */
  flushLog(): void {
    this.#log.flush();
  }

  async #listen(options: ListenOptions): Promise<void> {
    try {
      await this.#server.listen(options);
    } catch (error) {
      throw new ListenError(error as NodeJS.ErrnoException, options);
    }
  }
}

/** Its library is loaded where it is asked for. */
async function loadRateLimit({ rateLimit: options }: Settings): Promise<RateLimit | undefined> {
  return options && (await import('./http/rate-limit.js')).rateLimit(options);
}
