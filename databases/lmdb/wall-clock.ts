import { readFileSync } from 'node:fs';
import { believedAfter, bootTime, type StoreClock, tolerance } from '../clock.js';

/** A time of the store that is kept in it: no process that opens it later goes back behind it. */
export interface ClockMark {
  /** The start of the machine, and when after it that was, in milliseconds. */
  readonly boot: string;
  readonly at: number;
  /** Milliseconds since the Unix epoch. */
  readonly time: number;
  /** Since when, by the same clock as `at`, the machine's clock says something else. */
  readonly since?: number | undefined;
}

export interface WallClockOptions {
  /** The mark that any process has kept last. */
  readonly read: () => ClockMark | undefined;
  readonly keep: (mark: ClockMark) => Promise<unknown>;
  /** The machine's clock has jumped by so many milliseconds, or is believed again: undefined. */
  readonly onJump?: ((skew: number | undefined) => void) | undefined;
}

/**
 * The machine's clock, as long as it moves with the time since the machine was started. Where it jumps by more than
 * `tolerance`, time goes on by the latter: until the clock is right again, or has been where it is now for `believedAfter`.
 * A clock that goes forward while the machine is off cannot be told from time that has passed.
 */
export class WallClock implements StoreClock {
  readonly error = 0;
  readonly #options: WallClockOptions;
  readonly #timer: NodeJS.Timeout;
  #mark: ClockMark | undefined;
  /** What has to be added to the time since the machine was started. */
  #offset = 0;
  #isDoubtful = false;
  /** What the machine's clock said last. */
  #last = Date.now();

  constructor(options: WallClockOptions) {
    this.#options = options;
    this.#look();
    this.#timer = setInterval(() => this.keep(), keepInterval).unref();
  }

  now(): number {
    const wall = Date.now();
    // As cheap as it can be: the time since the machine was started is looked at every few seconds, and where this moves.
    const step = wall - this.#last;
    this.#last = wall;
    if (!this.#isDoubtful && step <= tolerance && step >= -tolerance) return wall;
    this.#look();
    return this.#isDoubtful ? Math.round(bootTime() + this.#offset) : wall;
  }

  get skew(): number {
    this.now();
    return this.#isDoubtful ? Math.round(Date.now() - bootTime() - this.#offset) : 0;
  }

  get isDoubtful(): boolean {
    this.now();
    return this.#isDoubtful;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Compares the machine's clock with the mark. */
  #look(): void {
    const [wall, at] = [Date.now(), bootTime()];
    this.#last = wall;
    this.#mark = this.#latest();
    const expected = expectedAt(this.#mark, at, wall);
    const isDoubtful = Math.abs(wall - expected) > tolerance;
    this.#offset = (isDoubtful ? expected : wall) - at;
    if (isDoubtful === this.#isDoubtful) return;
    this.#isDoubtful = isDoubtful;
    this.#options.onJump?.(isDoubtful ? wall - expected : undefined);
  }

  /** The store may not be readable any more. */
  #latest(): ClockMark | undefined {
    try {
      return this.#options.read() ?? this.#mark;
    } catch {
      return this.#mark;
    }
  }

  /** Puts down the time, and since when it is doubtful. Happens by itself every few seconds. */
  keep(): void {
    this.#look();
    const [wall, at] = [Date.now(), bootTime()];
    const mark = this.#mark;
    const since = this.#isDoubtful ? (ofThisBoot(mark)?.since ?? at) : undefined;
    const isBelieved = since !== undefined && at - since >= believedAfter;
    const isFresh = ofThisBoot(mark) && mark?.since === since && at - mark!.at < keepInterval - 1000;
    if (isFresh && !isBelieved) return;
    const time = isBelieved ? wall : Math.round(at + this.#offset);
    // A store that cannot be written now says so to those who write.
    this.#options.keep({ boot, at, time, ...(!isBelieved && { since }) }).catch(() => {});
  }
}

function expectedAt(mark: ClockMark | undefined, at: number, wall: number): number {
  if (!mark) return wall;
  if (ofThisBoot(mark)) return mark.time + at - mark.at;
  // It was off in between, for nobody knows how long.
  return Math.max(wall, mark.time + at);
}

function ofThisBoot(mark: ClockMark | undefined): ClockMark | undefined {
  return mark?.boot === boot ? mark : undefined;
}

const boot = bootId();

/** Outside Linux, each process has a time of its own. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return `process ${process.pid} ${Date.now()}`;
  }
}

/** Milliseconds. */
const keepInterval = 15_000;
