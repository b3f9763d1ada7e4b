/** When a job is due. Times are in milliseconds since the Unix epoch. */
export interface Timetable {
  /** Equal for equal schedules. */
  readonly text: string;
  /** The first time after this one; undefined where none is left. */
  next(after: number): number | undefined;
  /** The last time up to and including this one; undefined where there was none. */
  latest(upTo: number): number | undefined;
}
