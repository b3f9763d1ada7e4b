/** The time that `every`, ttl and `now` go by: the storage's own once that is open, and what a test has moved it by. */
export class Clock {
  /** Milliseconds. */
  shift = 0;
  /** Milliseconds since the Unix epoch. */
  base: () => number = Date.now;

  now(): number {
    return this.base() + this.shift;
  }
}
