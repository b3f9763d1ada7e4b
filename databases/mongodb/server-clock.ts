import type { Db, Document } from 'mongodb';
import { believedAfter, bootTime, type StoreClock, tolerance } from '../clock.js';

/**
 * The server's clock, as `hello` tells it, carried on by the steady clock of this machine, so that clocks of hosts do not
 * count. Where it jumps by more than `tolerance`, time goes on by the steady clock: until the server's is right again, or
 * has been where it is now for `believedAfter`.
 */
export class ServerClock implements StoreClock {
  readonly #onJump: ((skew: number | undefined) => void) | undefined;
  #sample: Sample | undefined;
  #doubtfulSince: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param onJump the server's clock has jumped by so many milliseconds, or is believed again: undefined */
  constructor(onJump?: (skew: number | undefined) => void) {
    this.#onJump = onJump;
  }

  /** Until the server was reached, this machine's. */
  now(): number {
    return this.#sample ? Math.round(bootTime() + this.#sample.offset) : Date.now();
  }

  get skew(): number | undefined {
    return this.#sample && Date.now() - this.now();
  }

  get error(): number {
    return this.#sample ? errorOf(this.#sample) : 0;
  }

  get isDoubtful(): boolean {
    return this.#doubtfulSince !== undefined;
  }

  /** Asks the server, and returns all that it says. */
  async read(db: Db): Promise<Document> {
    const asked = bootTime();
    const hello = await db.admin().command({ hello: 1 });
    const at = bootTime();
    const { localTime } = hello;
    // Not every server that speaks the protocol tells it: this machine's clock has to do then.
    if (localTime instanceof Date) {
      this.#take({ offset: localTime.getTime() - (asked + at) / 2, roundTrip: at - asked, at });
    }
    return hello;
  }

  /** Calls `ask`, which reads the clock, from time to time until `stop`. Once there is a connection to ask. */
  follow(ask: () => Promise<unknown>): void {
    // Outages are reported by the operations that somebody waits for.
    this.#timer = setInterval(() => ask().catch(() => {}), interval).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #take(sample: Sample): void {
    const known = this.#sample;
    const jump = known ? sample.offset - known.offset : 0;
    const mayBeSame = Math.abs(jump) <= tolerance + errorOf(sample);
    const since = this.#doubtfulSince ?? sample.at;
    if (known && !mayBeSame && sample.at - since < believedAfter) {
      if (this.#doubtfulSince === undefined) this.#onJump?.(jump);
      this.#doubtfulSince = since;
      return;
    }
    if (this.#doubtfulSince !== undefined) this.#onJump?.(undefined);
    this.#doubtfulSince = undefined;
    // An answer that took longer says less than one from before, for a while.
    if (!known || !mayBeSame || errorOf(sample) <= errorOf(known)) this.#sample = sample;
  }
}

/** Milliseconds between two looks at the server's clock. */
const interval = 10_000;

/** Times are in milliseconds. */
interface Sample {
  /** From the time since the machine was started to the server's. */
  readonly offset: number;
  readonly roundTrip: number;
  /** When it was taken. */
  readonly at: number;
}

/** By how many milliseconds it may be off: clocks of machines drift apart by some 50 ms in a thousand seconds. */
function errorOf({ roundTrip, at }: Sample): number {
  return roundTrip / 2 + (bootTime() - at) * 0.00005;
}
