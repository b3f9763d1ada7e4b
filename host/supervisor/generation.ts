import type { ProcessSettings, Snapshot, WorkerOptions, WorkerReport } from '../ipc/messages.js';
import { watchHeartbeat } from './heartbeat.js';
import type { ListeningSocket } from './listening-socket.js';
import { StartFailure } from './start-failure.js';
import { WorkerProcess } from './worker-process.js';

/** What happens to a generation that its supervisor acts on. */
export interface GenerationEvents {
  /** A worker is ready; the generation may not be active yet. */
  onReady(worker: WorkerProcess): void;
  /** A worker ended that was not told to. `retryIn` is the pause before its replacement, in milliseconds. */
  onCrash(worker: WorkerProcess, cause: string, retryIn: number): void;
  /** A replacement did not come up. */
  onRetryFailed(failure: StartFailure, retryIn: number): void;
  /** A draining worker had to be ended by force. */
  onOverdue(worker: WorkerProcess): void;
  /** A worker ended, for whatever reason. */
  onGone(worker: WorkerProcess): void;
}

/** How long a worker may take to read the configuration, and then to set up every plugin. Milliseconds. */
const startTimeout = 120_000;
/** Pauses before a replacement. A worker that has lived for `steady` milliseconds starts the row anew. */
const pauses = { first: 0, second: 100, longest: 30_000, steady: 60_000 };

/**
 * The workers that run one configuration. The first reads the files; the others, and the replacements of those that
 * crash, are given its snapshot, so a file edited in the meantime cannot slip in.
 *
 * configuring -> preparing -> active -> ending
 */
export class Generation {
  #state: 'configuring' | 'preparing' | 'active' | 'ending' = 'configuring';
  /** Every process, those that are not ready included. */
  readonly #all = new Set<WorkerProcess>();
  /** Those that are ready. */
  readonly #workers = new Set<WorkerProcess>();
  readonly #retries = new Set<NodeJS.Timeout>();
  #first: WorkerProcess | undefined;
  #snapshot: Snapshot | undefined;
  #settings: ProcessSettings | undefined;
  #report: WorkerReport | undefined;
  #failures = 0;
  /** When it began to read its files: what changed since may not be in it. Milliseconds since the Unix epoch. */
  readonly begun = Date.now();
  #resolveEnded = () => {};
  /** Resolves when it has been told to end and its last process has. */
  readonly ended = new Promise<void>((resolve) => {
    this.#resolveEnded = resolve;
  });

  constructor(
    readonly number: number,
    private readonly options: WorkerOptions,
    private readonly events: GenerationEvents,
  ) {}

  /** Those that are ready and have not ended. */
  get workers(): readonly WorkerProcess[] {
    return [...this.#workers];
  }

  /** Known once it is configured. */
  get settings(): ProcessSettings {
    if (this.#settings === undefined) throw new Error('The generation is not configured yet.');
    return this.#settings;
  }

  /** Known once it is prepared. */
  get report(): WorkerReport {
    if (this.#report === undefined) throw new Error('The generation is not prepared yet.');
    return this.#report;
  }

  get comingUp(): boolean {
    return this.#state === 'configuring' || this.#state === 'preparing';
  }

  /** Whether fewer workers serve than are wanted. */
  get degraded(): boolean {
    return this.#state === 'active' && this.#workers.size < this.settings.workers;
  }

  /** Has the first worker read the configuration. Rejects with a StartFailure. */
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

  /** Brings up all workers; none accepts a connection yet. Rejects with a StartFailure as soon as one fails. */
  async prepare(): Promise<void> {
    this.#state = 'preparing';
    const first = this.#first as WorkerProcess;
    const others = Array.from({ length: this.settings.workers - 1 }, () => this.#fork());
    await Promise.all([this.#proceed(first), ...others.map((worker) => this.#bringUp(worker))]);
    // One that was ready may have ended while another was not yet.
    if (this.#workers.size < this.settings.workers) {
      throw new StartFailure('A worker process ended before all were ready.');
    }
  }

  /** From now on a worker that ends is replaced. */
  activate(): void {
    this.#state = 'active';
    this.#replaceMissing();
  }

  /** Readiness answers 503 from now on. */
  announceStop(): void {
    for (const worker of this.#workers) worker.send({ type: 'stopping' });
  }

  /**
   * Lets every worker finish what it has; resolves when all have ended, by force at the stop timeout.
   *
   * @param idle how many milliseconds a connection without a request is left open
   */
  drain(idle: number): Promise<void> {
    const ready = this.workers;
    this.#end();
    const timeout = this.settings.stopTimeout;
    for (const worker of ready) {
      worker.drain({ idle, timeout }).then((byItself) => {
        if (!byItself) this.events.onOverdue(worker);
      });
    }
    return this.ended;
  }

  /** Ends every process at once. */
  kill(): Promise<void> {
    this.#end();
    for (const worker of this.#all) worker.kill();
    return this.ended;
  }

  #fork(): WorkerProcess {
    const snapshot = this.#snapshot === undefined ? {} : { snapshot: this.#snapshot };
    const worker = new WorkerProcess({ ...this.options, ...snapshot });
    this.#all.add(worker);
    const born = Date.now();
    worker.once('exit', (cause) => {
      this.#all.delete(worker);
      const wasReady = this.#workers.delete(worker);
      this.events.onGone(worker);
      if (this.#state === 'ending' && this.#all.size === 0) this.#resolveEnded();
      if (!wasReady || this.#state !== 'active') return;
      if (Date.now() - born >= pauses.steady) this.#failures = 0;
      const pause = this.#nextPause();
      this.events.onCrash(worker, cause, pause);
      this.#replaceIn(pause);
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
    this.#report = (await ready).report;
    this.#workers.add(worker);
    if (this.settings.workerTimeout > 0) watchHeartbeat(worker, this.settings.workerTimeout);
    this.events.onReady(worker);
  }

  #replaceMissing(): void {
    for (let missing = this.settings.workers - this.#workers.size; missing > 0; missing -= 1) {
      this.#replaceIn(this.#nextPause());
    }
  }

  #nextPause(): number {
    const pause =
      this.#failures === 0
        ? pauses.first
        : Math.min(pauses.second * 2 ** (this.#failures - 1), pauses.longest);
    this.#failures += 1;
    return pause;
  }

  #replaceIn(pause: number): void {
    const timer = setTimeout(async () => {
      this.#retries.delete(timer);
      const worker = this.#fork();
      try {
        await this.#bringUp(worker);
      } catch (failure) {
        worker.kill();
        if (this.#state !== 'active') return;
        const next = this.#nextPause();
        this.events.onRetryFailed(failure as StartFailure, next);
        this.#replaceIn(next);
      }
    }, pause);
    this.#retries.add(timer);
  }

  #end(): void {
    this.#state = 'ending';
    for (const timer of this.#retries) clearTimeout(timer);
    // One that is still coming up serves nobody.
    for (const worker of this.#all) if (!this.#workers.has(worker)) worker.kill();
    if (this.#all.size === 0) this.#resolveEnded();
  }
}
