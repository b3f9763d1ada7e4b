import type { Logger } from 'pino';
import { Counter, Histogram, type Registry } from 'prom-client';
import type { Job, Schedule } from '../kit/jobs.js';
import type { StorageHub } from './hub.js';
import { keyFault } from './key.js';
import { timetable } from './schedule.js';
import { type JobDefinition, ScheduledJob } from './scheduled-job.js';

export interface JobsOptions {
  readonly storage: StorageHub;
  readonly registry: Registry;
  /** Aborts when no further run may start. */
  readonly begun: AbortSignal;
  /** Aborts when runs have to end. */
  readonly deadline: AbortSignal;
  /** The server does not close before this has settled, or its time is over. */
  readonly hold: (run: Promise<unknown>) => void;
}

/** The plugin that a job belongs to. */
export interface JobOwner {
  readonly name: string;
  /** `dataName`: the name that its data lies under. */
  readonly plugin: { readonly dataName: string };
  readonly log: Logger;
  /** Aborts when the plugin closes. */
  readonly abort: AbortController;
}

/** In milliseconds since the Unix epoch, by the clock of `every`. */
export interface JobTimes {
  readonly now: number;
  /** When the next run is due, if one is. */
  readonly next?: number | undefined;
}

/** The jobs of all plugins in this process. They run once the generation is in force. */
export class Jobs {
  readonly #options: JobsOptions;
  readonly #stopped = new AbortController();
  readonly #runs: Counter<'plugin' | 'job' | 'outcome'>;
  readonly #durations: Histogram<'plugin' | 'job'>;
  #jobs: readonly ScheduledJob[] = [];
  /** Since when, where they do. */
  #upSince: number | undefined;

  constructor(options: JobsOptions) {
    this.#options = options;
    const registers = [options.registry];
    this.#runs = new Counter({
      name: 'plugin_server_job_runs_total',
      help: "Runs of plugins' jobs, by outcome: ok, error, or lost to another worker.",
      labelNames: ['plugin', 'job', 'outcome'],
      registers,
    });
    this.#durations = new Histogram({
      name: 'plugin_server_job_duration_seconds',
      help: "Duration of runs of plugins' jobs, in seconds.",
      labelNames: ['plugin', 'job'],
      buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600],
      registers,
    });
  }

  /** @throws TypeError when an argument is not valid, Error when the plugin already has a job of that name */
  every(
    owner: JobOwner,
    name: string,
    schedule: Schedule,
    run: (job: Job) => void | Promise<void>,
    { timeZone }: { timeZone?: string } = {},
  ): void {
    const where = `every(${JSON.stringify(name)})`;
    const fault = keyFault(name);
    if (fault !== undefined) throw new TypeError(`${where}: ${fault.replace('the key', 'the name')}`);
    if (typeof run !== 'function') throw new TypeError(`${where}: run is not a function`);
    if (this.#jobs.some(({ definition }) => definition.plugin === owner.name && definition.name === name)) {
      throw new Error(`${where}: the plugin already has a job of this name; give each job a different name`);
    }
    const { storage, begun, deadline, hold } = this.#options;
    const job = new ScheduledJob(
      {
        plugin: owner.name,
        dataName: owner.plugin.dataName,
        name,
        run,
        log: owner.log,
        timetable: read(where, schedule, timeZone),
        ended: AbortSignal.any([begun, owner.abort.signal, this.#stopped.signal]),
      },
      {
        base: () => storage.base(),
        now: () => storage.clock.now(),
        deadline,
        hold,
        count: (definition, outcome, seconds) => this.#count(definition, outcome, seconds),
      },
    );
    storage.base();
    this.#jobs = [...this.#jobs, job];
  }

  /** Rejects when there are jobs and the storage cannot hold their leases. */
  async check(): Promise<void> {
    if (this.#jobs.length === 0) return;
    const { store } = await this.#options.storage.base();
    if (store.fenceProblem !== undefined) throw new Error(store.fenceProblem);
  }

  /** This generation is in force. `upFor`: the milliseconds for which the server has had workers. */
  start(upFor: number): void {
    if (this.#upSince !== undefined) return;
    this.#upSince = this.#options.storage.clock.now() - upFor;
    for (const job of this.#jobs) job.start(this.#upSince);
  }

  /** Starts no further run. */
  stop(): void {
    this.#stopped.abort();
  }

  /** Runs everything that is due. Then resolves to the current time, and the time of the next run. */
  async settle(): Promise<JobTimes> {
    const next = await Promise.all(this.#jobs.map((job) => job.settle()));
    const times = next.filter((time) => time !== undefined);
    return {
      now: this.#options.storage.clock.now(),
      next: times.length === 0 ? undefined : Math.min(...times),
    };
  }

  /** Abandons the runs that have not ended. */
  async close(): Promise<void> {
    this.stop();
    await Promise.all(this.#jobs.map((job) => job.close()));
  }

  #count({ plugin, name: job }: JobDefinition, outcome: string, seconds: number): void {
    this.#runs.inc({ plugin, job, outcome });
    this.#durations.observe({ plugin, job }, seconds);
  }
}

function read(where: string, schedule: Schedule, timeZone: string | undefined) {
  try {
    return timetable(schedule, timeZone);
  } catch (error) {
    throw new TypeError(`${where}: ${(error as Error).message}`);
  }
}
