import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { announce } from '../announce.js';
import { ChannelHub } from '../channels/channel-hub.js';
import type { Asker, ReloadOutcome } from '../control.js';
import { RateCounts } from '../http/rate-counts.js';
import { giveBackStartMemory } from '../ipc/idle-gc.js';
import type { FromWorker, ToWorker, WorkerOptions, WorkerReport } from '../ipc/messages.js';
import type { WorkerView } from '../kit/server-view.js';
import type { JobTimes } from '../storage/jobs.js';
import { FrontDoor } from './front-door.js';
import { Generation } from './generation.js';
import type { ListeningSocket } from './listening-socket.js';
import { ListeningSockets } from './listening-sockets.js';
import { MonitorHub } from './monitor-hub.js';
import { PidFile } from './pid-file.js';
import { PluginSockets } from './plugin-sockets.js';
import { queueEmptied } from './queue-length.js';
import { StartFailure } from './start-failure.js';
import { SupervisorLog } from './supervisor-log.js';
import { Systemd } from './systemd.js';
import { MemoryWatch } from './worker-memory.js';
import { WorkerMetrics } from './worker-metrics.js';
import type { WorkerProcess } from './worker-process.js';

interface SupervisorEvents {
  /** A generation serves, including the first. `begun` is when it started to read its files. */
  serving: [report: WorkerReport, url: string, begun: number, adminUrl: string | undefined];
  /** A reload failed. It has been logged. */
  reloadFailed: [outcome: Extract<ReloadOutcome, { success: false }>, begun: number];
  stopped: [];
}

/**
 * How long a draining worker keeps an idle connection open, because a request may be on its way. Milliseconds.
 * Shorter at a stop, where somebody waits for the worker to end.
 */
const idleAtReload = 10_000;
const idleAtStop = 250;
const idleAtRetirement = 1000;
const idleOfTests = 100;
/** How many old generations may keep their streams after a reload. */
const mostOld = 2;
/** How long to wait for a worker in place of one that ended while a test moved the clock, in milliseconds. */
const replacementPause = 50;
/** How long a worker may take to respond before it counts as silent. Milliseconds. */
const heardPatience = 1000;
/** How long to serve the queue of a socket that is about to be closed. Milliseconds. */
const queueTimeout = 1000;

export interface SupervisorOptions {
  /**
   * A reload closes the connections that ask nothing before it is done. For tests: their client would otherwise send its next
   * request to the old generation.
   */
  readonly endsIdleAtReload?: boolean;
  /** Milliseconds between two looks at the memory of the workers, for tests; five seconds by default. */
  readonly memoryInterval?: number;
}

/**
 * Owns the listening socket, the pid file and the workers. It starts each generation, swaps it with the one before
 * without losing a connection, and replaces workers that end. It imports no plugin and nothing heavy. Its pid never changes.
 *
 * starting -> serving -> stopping
 */
export class Supervisor extends EventEmitter<SupervisorEvents> {
  #state: 'starting' | 'serving' | 'stopping' = 'starting';
  readonly #log = new SupervisorLog();
  readonly #systemd = new Systemd(process.env);
  readonly #frontDoor = new FrontDoor();
  /** Of the admin address. */
  readonly #adminDoor = new FrontDoor();
  readonly #metrics = new WorkerMetrics(() => this.#log.dropped);
  readonly #monitor = new MonitorHub(() => this.#workerViews());
  readonly #channels = new ChannelHub<WorkerProcess>();
  /** Kept over reloads. */
  readonly #rates = new RateCounts();
  readonly #pluginSockets = new PluginSockets();
  /** Every generation that has a process: starting, serving or draining. */
  readonly #generations = new Set<Generation>();
  /** Those that drain since a reload and may keep their streams, the oldest first. */
  #old: Generation[] = [];
  #count = 0;
  #serving: Generation | undefined;
  #sockets: ListeningSockets | undefined;
  #pidFile: PidFile | undefined;
  #stopped: Promise<void> | undefined;
  /** The start, or the latest reload. Never rejects. */
  #latest: Promise<unknown> = Promise.resolve();
  /** When the first generation came into force, by the steady clock. */
  #upSince: number | undefined;
  /** The process ids of old workers that did not confirm at the latest reload that they accept no further connections. */
  #unanswered: readonly number[] = [];
  /** A reload that waits for `#latest`. It reads every change made until then. */
  #queued: Promise<ReloadOutcome> | undefined;
  /** Who asked for it. */
  readonly #askers: Asker[] = [];

  constructor(
    private readonly options: WorkerOptions,
    private readonly own: SupervisorOptions = {},
  ) {
    super();
    options.serverId = randomUUID();
  }

  get stopping(): boolean {
    return this.#state === 'stopping';
  }

  /** Resolves when the first generation serves. Rejects with a StartFailure. */
  start(): Promise<void> {
    const started = this.#bringUp();
    this.#latest = started.catch(() => {});
    return started.then(() => {
      if (this.#state === 'starting') this.#state = 'serving';
      giveBackStartMemory();
      return this.#systemd.notify('READY=1', this.#status());
    });
  }

  /** Starts a new generation; the old one continues if that fails. Calls during a reload share the next one. */
  reload(asker: Asker): Promise<ReloadOutcome> {
    this.#askers.push(asker);
    if (this.#queued === undefined) {
      const queued = this.#latest.then(() => {
        this.#queued = undefined;
        return this.#reloadOnce(this.#askers.splice(0));
      });
      this.#queued = queued;
      this.#latest = queued;
    }
    return this.#queued;
  }

  /** Finishes the requests in flight, within the stop timeout, and ends. A second call returns the same promise. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop().then(() => {
      this.emit('stopped');
    });
    return this.#stopped;
  }

  /** Moves the time of jobs in all workers, for tests. Resolves when each run that came due has ended. */
  async moveClock(shift: number): Promise<JobTimes> {
    this.options.timeShift = shift;
    for (;;) {
      await this.#latest;
      const generations = [...this.#generations].filter((each) => each !== this.#serving);
      for (const { processes } of generations)
        for (const worker of processes) worker.send({ type: 'move_clock', shift });
      const workers = this.#serving?.workers ?? [];
      try {
        const times = await Promise.all(workers.map((worker) => worker.moveClock(shift)));
        const next = times.flatMap((each) => each.next ?? []);
        if (times.length > 0)
          return { now: times[0]!.now, ...(next.length > 0 && { next: Math.min(...next) }) };
      } catch (error) {
        // A worker has ended: another takes its place, and what it ran.
        if (this.stopping) throw error;
      }
      await sleep(replacementPause);
    }
  }

  /** Ends at once. Requests in flight are lost. */
  async stopNow(): Promise<void> {
    this.#state = 'stopping';
    await Promise.all([...this.#generations].map((generation) => generation.kill()));
    this.#frontDoor.close();
    this.#adminDoor.close();
    for (const socket of this.#sockets?.all ?? []) socket.close();
    this.#pidFile?.remove();
  }

  /** Resolves once the new generation serves. Rejects with a StartFailure, and then changes nothing. */
  async #bringUp(): Promise<void> {
    const generation = this.#newGeneration();
    let sockets: ListeningSockets | undefined;
    let pidFile: PidFile | undefined;
    try {
      const settings = await generation.configure();
      if (this.#state === 'starting') this.#log.configure(settings.log);
      if (settings.pidFile !== undefined) await PidFile.refuseIfTaken(settings.pidFile);
      // Before the setup of the plugins: it would be in vain if the port is taken.
      sockets = await ListeningSockets.claim(settings, generation, this.#sockets, this.#systemd.listenFd);
      await generation.prepare(sockets.relayPath);
      pidFile = await this.#writePidFile(settings.pidFile);
      if (this.#state === 'stopping') throw new StartFailure('The server is stopping.');
      await this.#serve(generation, sockets);
    } catch (failure) {
      await generation.kill();
      await this.#pluginSockets.abandon(generation, 0);
      for (const socket of sockets?.without(this.#sockets) ?? []) socket.close();
      if (pidFile !== this.#pidFile) pidFile?.remove();
      throw failure;
    }
    await this.#swap(generation, sockets, pidFile);
  }

  #newGeneration(): Generation {
    this.#count += 1;
    let memory: MemoryWatch<WorkerProcess> | undefined;
    const generation: Generation = new Generation(this.#count, this.options, {
      onForked: (worker) =>
        worker.on('message', (message) => this.#onSetupMessage(generation, worker, message)),
      onReady: (worker) => {
        worker.on('message', (message) => this.#onMessage(worker, message));
        worker.on('message', (message) => {
          if (message.type === 'retire') generation.retire(worker, { by: 'worker', reason: message.reason });
        });
        if (!worker.isFront) {
          memory ??= this.#watchMemory(generation);
          memory.add(worker);
        }
        if (generation === this.#serving) this.#replace(worker, this.#sockets!);
      },
      onCrash: (worker, cause, pause) => {
        this.#metrics.countRestart();
        this.#monitor.addLostWorker(cause);
        this.#log.error({ worker: worker.pid, cause }, `a worker was lost (${cause}); ${replacement(pause)}`);
        this.#tellState();
        this.#tellChangedCode(generation);
      },
      onRetiring: (worker, { by, reason }, pause) => {
        this.#metrics.countRestart();
        this.#log.warn(
          { worker: worker.pid, reason },
          `a worker ${by === 'worker' ? 'asked to be' : 'is'} replaced (${reason}); ${replacement(pause)}`,
        );
      },
      onRetired: async (worker) => {
        await this.#doorOf(worker).dismiss(worker);
        const timeout = generation.settings.stopTimeout;
        const finished = await worker.drain({ idle: idleAtRetirement, timeout });
        if (!finished) this.#log.warn({ worker: worker.pid }, overdue);
      },
      onRetryFailed: (failure, pause) => {
        const { message, problems } = failure;
        this.#log.error(
          { problems },
          `a lost worker could not be replaced: ${message}; ${replacement(pause)}`,
        );
        this.#tellState();
      },
      onOverdue: (worker) => {
        this.#log.warn({ worker: worker.pid }, overdue);
      },
      onGone: (worker) => {
        this.#channels.remove(worker);
        this.#pluginSockets.forget(worker);
        this.#metrics.remove(worker);
        memory?.remove(worker);
        this.#monitor.remove(worker);
      },
    });
    this.#generations.add(generation);
    generation.ended.then(() => this.#generations.delete(generation));
    return generation;
  }

  #workerViews(): readonly WorkerView[] {
    return [...this.#generations].flatMap(({ number, processes }) =>
      processes.map(({ pid, state, openConnections, isFront }) => ({
        pid: pid!,
        state,
        generation: number,
        connections: openConnections,
        forOperators: isFront,
      })),
    );
  }

  #watchMemory(generation: Generation): MemoryWatch<WorkerProcess> {
    const { workerMemory: limit } = generation.settings;
    return new MemoryWatch({
      limit,
      interval: this.own.memoryInterval,
      isReplacing: () => generation.isReplacing,
      replace: (worker, memory) => {
        const reason = `it uses ${megabytes(memory)}, more than worker_memory, ${megabytes(limit)}`;
        generation.retire(worker, { by: 'memory', reason });
      },
      onTooLow: (memory) => {
        this.#log.warn(
          { memory, limit },
          `worker_memory (${megabytes(limit)}) is too low: a worker uses ${megabytes(memory)} at rest, and is not replaced; ` +
            `set it to ${Math.ceil((memory * 2) / 1e6) * 1e6} or more`,
        );
      },
    });
  }

  /** Has every worker of a generation accept connections, beside the workers of the current one. */
  async #serve(generation: Generation, sockets: ListeningSockets): Promise<void> {
    await Promise.all(generation.workers.map((worker) => this.#employ(worker, sockets)));
    // Last, so that what it relays is served.
    const front = generation.processes.find(({ isFront }) => isFront);
    if (front !== undefined) await this.#employ(front, sockets);
  }

  #doorOf({ isFront }: WorkerProcess): FrontDoor {
    return isFront ? this.#adminDoor : this.#frontDoor;
  }

  async #writePidFile(path: string | undefined): Promise<PidFile | undefined> {
    if (path === undefined || path === this.#pidFile?.path)
      return path === undefined ? undefined : this.#pidFile;
    return PidFile.write(path, { reload: () => this.reload({ by: 'command' }) });
  }

  /** The new generation accepts already. The old one stops accepting before the reload is reported as done. */
  async #swap(
    generation: Generation,
    sockets: ListeningSockets,
    pidFile: PidFile | undefined,
  ): Promise<void> {
    const old = this.#serving;
    const given = this.#sockets?.without(sockets) ?? [];
    const { settings, report } = generation;
    this.#serving = generation;
    this.#sockets = sockets;
    const policy = { maxDelay: settings.maxDelay, scheme: report.scheme };
    this.#frontDoor.use(sockets.main, policy);
    this.#adminDoor.use(sockets.admin, policy);
    generation.activate();
    if (this.#pidFile !== pidFile) this.#pidFile?.remove();
    this.#pidFile = pidFile;
    this.#log.configure(settings.log);
    if (old !== undefined) {
      // No other process serves the connections that wait at an address that is given up.
      await Promise.all(given.map((socket) => queueEmptied(() => socket.queueLength(), queueTimeout)));
      for (const socket of given) socket.close();
      this.#unanswered = await this.#dismiss(old);
      await this.#retire(old);
    }
    for (const worker of generation.processes) worker.send(this.#inForce());
    const [urls, adminUrls] = [this.#urls(sockets.main), this.#urls(sockets.admin)];
    const log = this.#log;
    const isStart = old === undefined;
    announce(
      {
        info: (fields, text) => (isStart ? log.audit('server_start', fields, text) : log.info(fields, text)),
        warn: (fields, text) => log.warn(fields, text),
      },
      { urls, adminUrls, ...report },
    );
    this.emit('serving', report, urls[0]!, generation.begun, adminUrls[0]);
  }

  /** At most two old generations keep WebSockets and event streams. One that had to leave them finishes its requests. */
  async #retire(old: Generation): Promise<void> {
    this.#old.push(old);
    old.ended.then(() => {
      this.#old = this.#old.filter((each) => each !== old);
    });
    const { stopTimeout, streamGrace: grace } = old.settings;
    if (this.own.endsIdleAtReload) {
      const ended = old.idleEnded();
      old.drain({ idle: idleOfTests, grace });
      await ended;
    } else old.drain({ idle: Math.min(idleAtReload, stopTimeout / 2), grace });
    for (const each of this.#old.splice(0, this.#old.length - mostOld))
      each.drain({ idle: idleAtStop, grace: 0 });
  }

  async #employ(worker: WorkerProcess, sockets: ListeningSockets): Promise<void> {
    this.#metrics.add(worker);
    await this.#doorOf(worker).employ(worker, sockets.of(worker));
    await this.#pluginSockets.employ(worker);
  }

  /** Has the replacement of a lost worker accept connections. */
  async #replace(worker: WorkerProcess, sockets: ListeningSockets): Promise<void> {
    try {
      await this.#employ(worker, sockets);
    } catch (failure) {
      // Its end counts as a crash, and the next replacement tries again.
      worker.kill((failure as Error).message);
      return;
    }
    worker.send(this.#inForce());
    this.#log.info({ worker: worker.pid }, 'a new worker serves in place of the lost one');
    this.#tellState();
  }

  #inForce(): ToWorker {
    this.#upSince ??= performance.now();
    return { type: 'in_force', upFor: performance.now() - this.#upSince };
  }

  /** Resolves to the process ids of those that did not confirm in time. */
  async #dismiss(generation: Generation): Promise<readonly number[]> {
    await this.#pluginSockets.abandon(generation, queueTimeout);
    const unanswered = await Promise.all(
      generation.processes.map(async (worker) =>
        (await this.#doorOf(worker).dismiss(worker)) ? [] : [worker.pid!],
      ),
    );
    return unanswered.flat();
  }

  async #reloadOnce(asked_by: readonly Asker[]): Promise<ReloadOutcome> {
    if (this.#state !== 'serving') return { success: false, reason: 'The server is stopping.', problems: [] };
    const begun = Date.now();
    this.#log.info({}, 'reloading');
    this.#systemd.notify('RELOADING=1', 'Reloading');
    const outcome = await this.#tryReload();
    const about = { outcome: outcome.success ? 'success' : 'failure', asked_by, ms: Date.now() - begun };
    if (outcome.success) this.#log.audit('reload', about, 'reloaded');
    else {
      const { problems, reason } = outcome;
      const text = `not reloaded, the server continues unchanged: ${reason}`;
      this.#log.audit('reload', { ...about, problems }, text, 'error');
      this.emit('reloadFailed', outcome, begun);
    }
    this.#monitor.addReload(asked_by, outcome, this.options.iniFile);
    this.#metrics.countReload(outcome.success ? 'success' : 'failure');
    const note = outcome.success ? '' : '; the latest reload failed';
    // The server is ready whatever the outcome; systemd waits for this.
    this.#systemd.notify('READY=1', this.#status() + note);
    return outcome;
  }

  async #tryReload(): Promise<ReloadOutcome> {
    try {
      await this.#bringUp();
      const unanswered = this.#unanswered;
      return unanswered.length === 0 ? { success: true } : { success: true, unanswered };
    } catch (failure) {
      const problems = failure instanceof StartFailure ? failure.problems : [];
      return {
        success: false,
        reason: failure instanceof Error ? failure.message : String(failure),
        problems,
      };
    }
  }

  async #stop(): Promise<void> {
    const serving = this.#serving;
    this.#state = 'stopping';
    this.#log.audit('server_stop', {}, 'stopping');
    this.#systemd.notify('STOPPING=1', 'Stopping');
    if (serving === undefined) return this.stopNow();
    serving.announceStop();
    await sleep(serving.settings.stopGrace);
    for (const generation of this.#generations) if (generation.comingUp) generation.kill();
    const sockets = this.#sockets!.all;
    await Promise.all(sockets.map((socket) => queueEmptied(() => socket.queueLength(), queueTimeout)));
    this.#frontDoor.close();
    this.#adminDoor.close();
    // Closing the last copy of a socket resets the connections in its queue. A worker closes it between two accepts.
    for (const socket of sockets) socket.close();
    await this.#dismiss(serving);
    // Includes generations that drain since an earlier reload: they get the shorter time.
    for (const generation of this.#generations)
      if (!generation.comingUp) generation.drain({ idle: idleAtStop });
    await Promise.all([...this.#generations].map((generation) => generation.ended));
    this.#monitor.close();
    this.#pidFile?.remove();
    this.#log.info({}, 'stopped');
  }

  #onMessage(worker: WorkerProcess, message: FromWorker): void {
    if (message.type === 'reload') {
      this.reload(message.asker).then((outcome) =>
        worker.send({ type: 'reloaded', id: message.id, outcome }),
      );
    } else if (message.type === 'all_metrics') {
      this.#metrics
        .collect()
        .then((metrics) => worker.send({ type: 'all_metrics', id: message.id, metrics }));
    } else if (message.type === 'ask_heard') {
      this.#heard().then((heard) => worker.send({ type: 'heard', id: message.id, ...heard }));
    } else if (message.type === 'take_shares') {
      const shares = message.requests.map((request) => this.#rates.take(request));
      worker.send({ type: 'shares', id: message.id, shares });
    } else if (message.type === 'give_back') this.#rates.giveBack(message.unused);
    else this.#monitor.receive(worker, message);
  }

  /** Asks all workers that serve whether they respond. */
  async #heard(): Promise<{ workers: readonly number[]; silent: readonly number[] }> {
    const workers = this.#serving?.workers ?? [];
    const silent = await Promise.all(
      workers.map(async (worker) => {
        const heard = worker.until('pong', heardPatience).then(
          () => true,
          () => false,
        );
        worker.send({ type: 'ping' });
        return (await heard) ? [] : [worker.pid!];
      }),
    );
    return { workers: workers.map(({ pid }) => pid!), silent: silent.flat() };
  }

  /** From the start of a worker on: a subscription that setup makes is in force before the worker is ready. */
  #onSetupMessage(generation: Generation, worker: WorkerProcess, message: FromWorker): void {
    if (message.type === 'bind') {
      const { id, listener } = message;
      this.#pluginSockets
        .bind(generation, worker, listener)
        .then((bound) => worker.send({ type: 'bound', id, bound }));
    } else if (message.type === 'publish') this.#channels.publish(message.messages);
    else if (message.type === 'unsubscribe') this.#channels.unsubscribe(worker, message.topic);
    else if (message.type === 'subscribe') {
      this.#channels.subscribe(worker, message.topic);
      worker.send({ type: 'subscribed', id: message.id });
    }
  }

  #status(): string {
    const { number, workers, settings, degraded } = this.#serving as Generation;
    const state = degraded ? 'Degraded' : 'Serving';
    const urls = this.#urls(this.#sockets!.main).join(' and ');
    return `${state} on ${urls}, ${workers.length} of ${settings.workers} workers, generation ${number}`;
  }

  #tellState(): void {
    this.#systemd.notify(undefined, this.#status());
  }

  /** A replacement has the configuration from a snapshot, but loads the current code of the plugins. */
  async #tellChangedCode({ report, begun }: Generation): Promise<void> {
    const { changedPlugins } = await import('./changed-code.js');
    const plugins = changedPlugins(report.plugins, begun);
    if (plugins.length === 0) return;
    const text = `the code of ${plugins.join(', ')} has changed since the last reload: the new worker runs the changed code`;
    this.#log.warn({ plugins }, text);
  }

  #urls(sockets: readonly ListeningSocket[]): string[] {
    const { scheme } = (this.#serving as Generation).report;
    return sockets.map(({ address }) => {
      if ('path' in address) return `${scheme}+unix:${address.path}`;
      const { host, port } = address;
      return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
    });
  }
}

const overdue = 'a worker did not finish within stop_timeout and was killed';

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

function replacement(pause: number): string {
  return pause === 0 ? 'a new one starts at once' : `a new one starts in ${pause / 1000} s`;
}
