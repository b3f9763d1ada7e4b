import type { Logger } from 'pino';
import type { Job } from '../kit/jobs.js';
import { Lease, type LeaseRecord } from './lease.js';
import type { StorageBase } from './plugin-storage.js';
import { withinRun } from './run-context.js';
import type { Timetable } from './timetable.js';

export type Outcome = 'ok' | 'error' | 'lost';

/** The arguments of `every`. */
export interface JobDefinition {
  readonly plugin: string;
  /** The name of the plugin's data. */
  readonly dataName: string;
  readonly name: string;
  readonly timetable: Timetable;
  readonly run: (job: Job) => void | Promise<void>;
  readonly log: Logger;
  /** Aborts when no further run may start. */
  readonly ended: AbortSignal;
}

/** Shared by all jobs of a server. */
export interface JobSurroundings {
  readonly base: () => StorageBase | Promise<StorageBase>;
  /** The clock of schedules. */
  readonly now: () => number;
  /** Aborts when runs have to end. */
  readonly deadline: AbortSignal;
  /** The server does not close before this has settled, or its time is over. */
  readonly hold: (run: Promise<unknown>) => void;
  readonly count: (job: JobDefinition, outcome: Outcome, seconds: number) => void;
}

/** The state of a job, as a check found it. */
interface Look {
  /** Whether nothing is due and nothing runs. */
  readonly isIdle: boolean;
  /** When to check again, by the clock of schedules; undefined for never. */
  readonly next: number | undefined;
}

/** One job in this worker: checks when its time comes, and runs it if no other worker was faster. */
export class ScheduledJob {
  readonly definition: JobDefinition;
  readonly #around: JobSurroundings;
  readonly #leasePlace: string;
  readonly #schedulePlace: string;
  /** Times before this one were missed while there was no worker. */
  #upSince = 0;
  /** From when the schedule counts: times up to this one have not been missed. Undefined until it is known. */
  #since: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<unknown> = Promise.resolve();
  #lease: Lease | undefined;
  /** By the clock of schedules. */
  #inForceSince: number | undefined;

  constructor(definition: JobDefinition, around: JobSurroundings) {
    this.definition = definition;
    this.#around = around;
    // No storage has a name that begins with a dot.
    const space = definition.dataName.toLowerCase();
    this.#leasePlace = `${space}/.jobs/${definition.name}`;
    this.#schedulePlace = `${space}/.schedules/${definition.name}`;
    definition.ended.addEventListener('abort', () => clearTimeout(this.#timer), { once: true });
  }

  /** From now on, it starts runs. */
  start(upSince: number): void {
    this.#upSince = upSince;
    this.#inForceSince = this.#around.now();
    this.#lookAgain(0);
  }

  /** Checks now, until nothing is due and nothing runs, here or elsewhere. Resolves to the next time. */
  async settle(): Promise<number | undefined> {
    for (;;) {
      const { isIdle, next } = await this.#look();
      if (isIdle) return next;
      await new Promise((resolve) => setTimeout(resolve, settlePause));
    }
  }

  /** The time of a run that has not ended is over. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#lease?.giveUp();
  }

  get #mayStart(): boolean {
    return this.#inForceSince !== undefined && !this.definition.ended.aborted;
  }

  #lookAgain(pause: number): void {
    clearTimeout(this.#timer);
    if (!this.#mayStart) return;
    this.#timer = setTimeout(
      () => this.#look().catch(() => {}),
      Math.min(Math.max(pause, 0), longestPause),
    ).unref();
  }

  /** One check at a time. */
  #look(): Promise<Look> {
    const look = this.#looking.then(() => this.#lookOnce());
    this.#looking = look.catch(() => {});
    return look;
  }

  async #lookOnce(): Promise<Look> {
    if (!this.#mayStart) return { isIdle: true, next: undefined };
    try {
      const look = await this.#runIfDue();
      this.#lookAgain(look.next === undefined ? longestPause : look.next - this.#around.now());
      return look;
    } catch (error) {
      // The storage reports its own outages.
      this.definition.log.debug(
        { err: error, job: this.definition.name },
        'the state of the job could not be read',
      );
      this.#lookAgain(retryPause);
      return { isIdle: false, next: undefined };
    }
  }

  async #runIfDue(): Promise<Look> {
    const { timetable } = this.definition;
    const { store } = await this.#around.base();
    const since = await this.#scheduleSince();
    const entry = await store.read(this.#leasePlace);
    const record: LeaseRecord = entry === undefined ? { fence: 0, last: 0 } : JSON.parse(entry.text);
    const now = this.#around.now();
    const next = timetable.next(now);
    let run: { at: number; attempt: number; catchUp: boolean };
    if (record.run !== undefined) {
      const left = record.run.until - store.now();
      // It may end sooner, or not at all.
      if (left > 0) return { isIdle: false, next: Math.min(now + left, next ?? Number.POSITIVE_INFINITY) };
      run = { ...record.run, attempt: record.run.attempt + 1 };
    } else {
      const at = timetable.latest(now);
      if (at === undefined || at <= Math.max(record.last, since)) return { isIdle: true, next };
      run = { at, attempt: 1, catchUp: at < this.#upSince };
    }
    const { at, attempt, catchUp } = run;
    const found = { record, revision: entry?.revision ?? null };
    if (!this.#mayStart) return { isIdle: true, next: undefined };
    const lease = await Lease.take(store, this.#leasePlace, found, { at, attempt, catchUp });
    if (lease !== undefined) {
      const running = this.#run(lease, { at, attempt, catchUp });
      this.#around.hold(running);
      await running;
    }
    return { isIdle: false, next: this.#around.now() };
  }

  /** A new job, or one whose schedule has changed, has missed nothing. */
  async #scheduleSince(): Promise<number> {
    if (this.#since !== undefined) return this.#since;
    const { store } = await this.#around.base();
    const { text } = this.definition.timetable;
    for (;;) {
      const entry = await store.read(this.#schedulePlace);
      const stored = entry && (JSON.parse(entry.text) as { schedule: string; since: number });
      if (stored?.schedule === text) {
        this.#since = stored.since;
        return stored.since;
      }
      const content = {
        text: JSON.stringify({ schedule: text, since: this.#inForceSince }),
        expires: Number.POSITIVE_INFINITY,
        isUpkeep: true,
      };
      await store.write(this.#schedulePlace, content, { revision: entry?.revision ?? null });
    }
  }

  async #run(lease: Lease, { at, attempt, catchUp }: { at: number; attempt: number; catchUp: boolean }) {
    const { name, run, log } = this.definition;
    const { deadline, now, count } = this.#around;
    this.#lease = lease;
    const ended = new AbortController();
    const signal = AbortSignal.any([lease.lost, deadline]);
    let overdue: NodeJS.Timeout | undefined;
    const onDeadline = () => {
      overdue = setTimeout(() => lease.giveUp(), endingTime).unref();
    };
    if (deadline.aborted) onDeadline();
    else deadline.addEventListener('abort', onDeadline, { once: true, signal: ended.signal });
    const job: Job = { scheduledAt: new Date(at), signal, catchUp, attempt, fence: lease.fence.revision };
    const began = performance.now();
    const lost = new Promise<void>((resolve) => {
      const onLost = () => resolve();
      if (lease.lost.aborted) onLost();
      else lease.lost.addEventListener('abort', onLost, { once: true });
    });
    let failure: { error: unknown } | undefined;
    await Promise.race([
      withinRun(lease, async () => run(job)).catch((error: unknown) => {
        failure = { error };
      }),
      lost,
    ]);
    const seconds = (performance.now() - began) / 1000;
    // A run that throws because it had to end has work left.
    if (failure !== undefined && deadline.aborted) await lease.giveUp();
    // Times that came meanwhile are skipped.
    const finished = await lease.finish(Math.max(at, now()));
    ended.abort();
    clearTimeout(overdue);
    this.#lease = undefined;
    if (!finished) {
      log.warn({ job: name, attempt }, `job "${name}" was lost: another worker takes it over`);
      count(this.definition, 'lost', seconds);
    } else if (failure !== undefined) {
      log.error({ err: failure.error, job: name }, `job "${name}" failed`);
      count(this.definition, 'error', seconds);
    } else count(this.definition, 'ok', seconds);
  }
}

/** Milliseconds. */
const longestPause = 3_600_000;
const retryPause = 1000;
const settlePause = 10;
/** How long a run may take to end once its signal has aborted. */
const endingTime = 5000;
