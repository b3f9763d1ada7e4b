import type { ProcessSettings, Snapshot, WorkerOptions, WorkerReport } from '../ipc/messages.js';
import { watchHeartbeat } from './heartbeat.js';
import type { ListeningSocket } from './listening-socket.js';
import { StartFailure } from './start-failure.js';
import { type DrainTimes, WorkerProcess } from './worker-process.js';

/** Why a worker is to be replaced: it asked for it, or holds too much memory. */
export interface Retirement {
  readonly by: 'worker' | 'memory';
  readonly reason: string;
}

/** Events of a generation that its supervisor acts on. */
export interface GenerationEvents {
  /** A worker has been started. */
  onForked(worker: WorkerProcess): void;
  /** A worker is ready; the generation may not be active yet. */
  onReady(worker: WorkerProcess): void;
  /** A worker ended unexpectedly. `retryIn` is the pause before its replacement, in milliseconds. */
  onCrash(worker: WorkerProcess, cause: string, retryIn: number): void;
  /** A worker is to be replaced; it serves meanwhile. */
  onRetiring(worker: WorkerProcess, why: Retirement, startIn: number): void;
  /** Its replacement is ready: let it finish its requests. */
  onRetired(worker: WorkerProcess): void;
  /** A replacement did not start. */
  onRetryFailed(failure: StartFailure, retryIn: number): void;
  /** A draining worker was killed at the stop timeout. */
  onOverdue(worker: WorkerProcess): void;
  /** A worker ended, for any reason. */
  onGone(worker: WorkerProcess): void;
}

/** How long a worker may take to read the configuration, and then to set up every plugin. Milliseconds. */
const startTimeout = 120_000;
/** How long a worker may take to end once its streams had to, in milliseconds: jobs and plugins close meanwhile. */
const endTimeout = 15_000;
/** How long a worker that asked to be replaced serves beside a replacement that does not get ready, in milliseconds. */
const retirePatience = 15_000;
/** After that time, what made a process retire has nothing to do with its predecessors. */
const longAgo = 3_600_000;
/** Pauses before a replacement, in milliseconds. A worker that ran for `steady` resets them to the first. */
const pauses = { first: 0, second: 100, longest: 30_000, steady: 60_000 };

/** A worker to be replaced, and why it and those before it in its place retired. */
interface Retired {
  readonly worker: WorkerProcess;
  readonly reasons: readonly string[];
  /** What it holds may be what its replacement waits for. */
  readonly mayBlock: boolean;
}

/**
 * The workers that run one configuration. The first reads the files. The others, and the replacements of crashed workers,
 * use its snapshot, so that a later edit does not affect them.
 *
 * configuring -> preparing -> active -> ending
 */
export class Generation {
  #state: 'configuring' | 'preparing' | 'active' | 'ending' = 'configuring';
  /** Every process, including those that are not ready. */
  readonly #all = new Set<WorkerProcess>();
  /** The ready workers. */
  readonly #workers = new Set<WorkerProcess>();
  readonly #retries = new Set<NodeJS.Timeout>();
  /** The workers that are to be replaced. */
  readonly #retiring = new Set<WorkerProcess>();
  /** When each was born, and why the processes retired in whose place it is. */
  readonly #retirements = new Map<
    WorkerProcess,
    { readonly born: number; readonly reasons: readonly string[] }
  >();
  #first: WorkerProcess | undefined;
  #snapshot: Snapshot | undefined;
  #settings: ProcessSettings | undefined;
  #report: WorkerReport | undefined;
  #relayPath: string | undefined;
  #failures = 0;
  /** Why a worker has ended that was ready before the others. */
  #lost: StartFailure | undefined;
  /** When it began to read its files, in milliseconds since the Unix epoch. Later edits may be missing. */
  readonly begun = Date.now();
  #resolveEnded = () => {};
  /** Resolves when it has been told to end and its last process has exited. */
  readonly ended = new Promise<void>((resolve) => {
    this.#resolveEnded = resolve;
  });

  constructor(
    readonly number: number,
    private readonly options: WorkerOptions,
    private readonly events: GenerationEvents,
  ) {}

  /** The workers that are ready and have not ended, and the process that serves the admin address. */
  get processes(): readonly WorkerProcess[] {
    return [...this.#workers];
  }

  /** The workers that are ready and have not ended. */
  get workers(): readonly WorkerProcess[] {
    return this.processes.filter(({ isFront }) => !isFront);
  }

  /** Available once the generation is configured. */
  get settings(): ProcessSettings {
    if (this.#settings === undefined) throw new Error('The generation is not configured yet.');
    return this.#settings;
  }

  /** Available once the generation is prepared. */
  get report(): WorkerReport {
    if (this.#report === undefined) throw new Error('The generation is not prepared yet.');
    return this.#report;
  }

  get comingUp(): boolean {
    return this.#state === 'configuring' || this.#state === 'preparing';
  }

  /** Whether fewer workers serve than the configuration asks for. */
  get degraded(): boolean {
    return this.#state === 'active' && this.workers.length < this.settings.workers;
  }

  /** Whether a worker is on its way in or out. */
  get isReplacing(): boolean {
    return this.#retiring.size > 0 || this.workers.length !== this.settings.workers;
  }

  /** Starts the first worker, which reads the configuration. Rejects with a StartFailure. */
  async configure(): Promise<ProcessSettings> {
    this.#first = this.#fork();
    const { settings, snapshot } = await this.#first.until('configured', startTimeout);
    this.#snapshot = snapshot;
    this.#settings = settings;
    return settings;
  }

  /** Has the first worker claim a bound socket. Rejects with a StartFailure when another program has the address. */
  async claim(socket: ListeningSocket): Promise<void> {
    const first = this.#first as WorkerProcess;
    const claimed = first.until('claimed', startTimeout);
    first.send({ type: 'claim' }, socket.handle);
    const { error } = await claimed;
    if (error !== undefined) throw socket.refusal(error);
  }

  /**
   * Starts all workers; none accepts connections yet. Rejects with a StartFailure as soon as one fails. `relayPath` is the
   * path of the Unix socket between the workers and the process that serves the admin address, if there is to be one.
   */
  async prepare(relayPath?: string): Promise<void> {
    this.#state = 'preparing';
    this.#relayPath = relayPath;
    const first = this.#first as WorkerProcess;
    const others = Array.from({ length: this.settings.workers - 1 }, () => this.#fork());
    await Promise.all([this.#proceed(first), ...others.map((worker) => this.#bringUp(worker))]);
    if (relayPath !== undefined) await this.#bringUp(this.#fork(true));
    // A ready worker may have ended while another was still starting.
    if (this.workers.length < this.settings.workers || this.#lacksFront) {
      throw this.#lost ?? new StartFailure('A worker process ended before all were ready.');
    }
  }

  /** From now on a worker that ends is replaced. */
  activate(): void {
    this.#state = 'active';
    this.#replaceMissing();
  }

  /** From now on /readyz responds 503. */
  announceStop(): void {
    for (const worker of this.processes) worker.send({ type: 'stopping' });
  }

  /**
   * Lets every worker finish its requests. Resolves when all have ended. They are killed at the stop timeout, or some time
   * after the grace where that is later.
   */
  drain(times: DrainTimes): Promise<void> {
    const ready = this.processes;
    this.#end();
    const { stopTimeout } = this.settings;
    const timeout = times.grace === undefined ? stopTimeout : Math.max(stopTimeout, times.grace + endTimeout);
    for (const worker of ready) {
      worker.drain({ ...times, timeout }).then((finished) => {
        if (!finished) this.events.onOverdue(worker);
      });
    }
    return this.ended;
  }

  /** Resolves when its workers, which drain, have closed the connections that ask nothing. */
  async idleEnded(): Promise<void> {
    const ended = (worker: WorkerProcess) => worker.until('idle_ended', endTimeout).catch(() => {});
    await Promise.all(this.processes.map(ended));
  }

  /** Starts another worker, and then has this one finish its requests. */
  retire(worker: WorkerProcess, why: Retirement): void {
    if (this.#state !== 'active' || !this.#workers.has(worker) || this.#retiring.has(worker)) return;
    this.#retiring.add(worker);
    const { born, reasons } = this.#retirements.get(worker)!;
    const before = Date.now() - born < longAgo ? reasons : [];
    // Those for memory have pauses of their own.
    const pause = why.by === 'memory' ? 0 : this.#nextPause();
    this.events.onRetiring(worker, why, pause);
    const after = why.by === 'worker' ? [...before, why.reason] : before;
    this.#replaceIn(pause, worker.isFront, { worker, reasons: after, mayBlock: why.by === 'worker' });
  }

  /** Kills every process. */
  kill(): Promise<void> {
    this.#end();
    for (const worker of this.#all) worker.kill();
    return this.ended;
  }

  /** @param retirements why the processes retired in whose place the new one is */
  #fork(isFront = false, retirements: readonly string[] = []): WorkerProcess {
    const snapshot = this.#snapshot === undefined ? {} : { snapshot: this.#snapshot };
    const front = isFront && {
      front: { socketPath: this.#relayPath!, plugins: this.report.plugins.map(({ name }) => name) },
    };
    const worker = new WorkerProcess({ ...this.options, ...snapshot, ...front, retirements });
    this.#all.add(worker);
    this.events.onForked(worker);
    const born = Date.now();
    this.#retirements.set(worker, { born, reasons: retirements });
    worker.once('exit', (cause) => {
      this.#all.delete(worker);
      this.#retirements.delete(worker);
      const wasReady = this.#workers.delete(worker);
      this.#lost ??= worker.failure;
      this.events.onGone(worker);
      if (this.#state === 'ending' && this.#all.size === 0) this.#resolveEnded();
      // Its replacement is on its way.
      if (this.#retiring.delete(worker)) return;
      if (!wasReady || this.#state !== 'active') return;
      if (Date.now() - born >= pauses.steady) this.#failures = 0;
      const pause = this.#nextPause();
      this.events.onCrash(worker, cause, pause);
      this.#replaceIn(pause, isFront);
    });
    return worker;
  }

  async #bringUp(worker: WorkerProcess): Promise<void> {
    await worker.until('configured', startTimeout);
    await this.#proceed(worker);
  }

  async #proceed(worker: WorkerProcess): Promise<void> {
    const ready = worker.until('ready', startTimeout);
    worker.send({ type: 'proceed' });
    const { report } = await ready;
    if (!worker.isFront) this.#report = report;
    this.#workers.add(worker);
    if (this.settings.workerTimeout > 0) watchHeartbeat(worker, this.settings.workerTimeout);
    this.events.onReady(worker);
  }

  #replaceMissing(): void {
    for (let missing = this.settings.workers - this.workers.length; missing > 0; missing -= 1) {
      this.#replaceIn(this.#nextPause());
    }
    if (this.#lacksFront) this.#replaceIn(this.#nextPause(), true);
  }

  get #lacksFront(): boolean {
    return this.#relayPath !== undefined && !this.processes.some(({ isFront }) => isFront);
  }

  #nextPause(): number {
    const pause =
      this.#failures === 0
        ? pauses.first
        : Math.min(pauses.second * 2 ** (this.#failures - 1), pauses.longest);
    this.#failures += 1;
    return pause;
  }

  /** @param retired serves until then, if it has not ended */
  #replaceIn(pause: number, isFront = false, retired?: Retired): void {
    const timer = setTimeout(async () => {
      this.#retries.delete(timer);
      const worker = this.#fork(isFront, retired?.reasons);
      const old = retired?.worker;
      const retire = () => {
        if (old !== undefined && this.#retiring.has(old)) this.events.onRetired(old);
      };
      const patience = retired?.mayBlock ? setTimeout(retire, retirePatience) : undefined;
      try {
        await this.#bringUp(worker);
        retire();
      } catch (failure) {
        worker.kill();
        if (this.#state !== 'active') return;
        const next = this.#nextPause();
        this.events.onRetryFailed(failure as StartFailure, next);
        this.#replaceIn(next, isFront, retired);
      } finally {
        clearTimeout(patience);
      }
    }, pause);
    this.#retries.add(timer);
  }

  #end(): void {
    this.#state = 'ending';
    for (const timer of this.#retries) clearTimeout(timer);
    // A worker that is still starting serves nobody.
    for (const worker of this.#all) if (!this.#workers.has(worker)) worker.kill();
    if (this.#all.size === 0) this.#resolveEnded();
  }
}
