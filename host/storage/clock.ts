/** The time of `every`, ttl and `now`: the storage's clock once that is open, plus the time by which a test has moved it. */
export class Clock {
  /** Milliseconds. */
  shift = 0;
  /** Milliseconds since the Unix epoch. */
  base: () => number = Date.now;

  now(): number {
    return this.base() + this.shift;
  }
}
