import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'plugin-server';

/** A measurement repeated in the background, so that whoever asks gets the latest at once. */
export class Sampled<Value> {
  #latest: (Value & { readonly sampled_at: string }) | undefined;
  #failing = false;
  #first: Promise<void> | undefined;

  constructor(
    private readonly name: string,
    private readonly measure: () => Promise<Value>,
    /** Milliseconds between the end of one measurement and the start of the next, so that a slow one never piles up. */
    private readonly pause: number,
    private readonly log: Logger,
  ) {}

  /** The latest measurement with its time (RFC 3339). Undefined before the first, and for what cannot be measured. */
  get latest(): (Value & { readonly sampled_at: string }) | undefined {
    return this.#latest;
  }

  /** Measures from now on until the signal aborts. Settles with the first measurement; never rejects. */
  start(signal: AbortSignal): Promise<void> {
    this.#first ??= this.#begin(signal);
    return this.#first;
  }

  #begin(signal: AbortSignal): Promise<void> {
    const first = this.#once();
    void this.#repeat(first, signal);
    return first;
  }

  async #repeat(first: Promise<void>, signal: AbortSignal): Promise<void> {
    await first;
    while (!signal.aborted) {
      // An aborted pause rejects; the loop's condition then ends it.
      await sleep(this.pause, undefined, { ref: false, signal }).catch(() => {});
      if (!signal.aborted) await this.#once();
    }
  }

  async #once(): Promise<void> {
    try {
      const value = await this.measure();
      this.#latest = { sampled_at: new Date().toISOString(), ...value };
      this.#failing = false;
    } catch (error) {
      // Said once, not at every turn.
      if (!this.#failing) this.log.warn({ err: error, source: this.name }, 'cannot be measured');
      this.#failing = true;
    }
  }
}
