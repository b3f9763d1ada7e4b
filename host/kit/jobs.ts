/**
 * When a job runs: an interval (`10 min`), or five fields of cron (`30 2 * * mon-fri`).
 *
 * An interval is due at its multiples since the Unix epoch. Cron is Vixie's: if both day of month and weekday are restricted,
 * either is enough. At a change to or from daylight saving time, a fixed time in the skipped hour runs at the first instant after
 * it, and a fixed time in the repeated hour runs the first time. `*` and steps of it as hours run at each real instant.
 */
export type Schedule =
  | `${number} ${'s' | 'min' | 'h' | 'd'}`
  | `${string} ${string} ${string} ${string} ${string}`;

/** The argument of `run`. */
export interface Job {
  /** The time that this run is for. It is finished at most once, and may be started more than once. */
  readonly scheduledAt: Date;
  /**
   * Aborts when the run has to end: its lease is lost, or its time after a reload or at a stop is over. A run that throws after
   * that is taken over by another worker; one that returns has finished.
   */
  readonly signal: AbortSignal;
  /** Whether the time came while there was no worker. Of several such times, only the latest runs. */
  readonly catchUp: boolean;
  /** 1 at first, and one more each time that another worker takes over the run. */
  readonly attempt: number;
  /** Grows with each run of the job: a fencing token for what `run` does outside `storage`. */
  readonly fence: number;
}
