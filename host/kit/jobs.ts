/**
 * When a job runs: an interval (`10 min`), or five fields of cron (`30 2 * * mon-fri`).
 *
 * An interval is due at its multiples since the Unix epoch. Cron is Vixie's: where both day of month and weekday are
 * restricted, either is enough. A fixed time in a gap of daylight saving runs at the first instant after it; one that comes
 * twice runs the first time. `*` and a step of it as hours run at each real instant.
 */
export type Schedule =
  | `${number} ${'s' | 'min' | 'h' | 'd'}`
  | `${string} ${string} ${string} ${string} ${string}`;

/** What the run of a job is given. */
export interface Job {
  /** The time that this run is for. It is finished at most once, and may be started more than once. */
  readonly scheduledAt: Date;
  /** Aborts when the run has to end: its lease is lost, or the time for it after a reload or at a stop is over. */
  readonly signal: AbortSignal;
  /** Whether the time came while no worker was there. Of several such times, only the latest runs. */
  readonly catchUp: boolean;
  /** 1 at first, and one more each time that the run of a lost worker is taken up. */
  readonly attempt: number;
  /** Only grows, from run to run of one job: for what `run` does outside `storage`. */
  readonly fence: number;
}
