import type { Logger } from 'plugin-server';

/** A measurement repeated in the background, so that whoever asks gets the latest at once. */
export class Sampled<Value> {
  #latest: (Value & { readonly sampled_at: string }) | undefined;
  #failing = false;
  #first: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

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
    if (this.#first === undefined) {
      signal.addEventListener('abort', () => clearTimeout(this.#timer), { once: true });
      this.#first = this.#repeat(signal);
    }
    return this.#first;
  }

  async #repeat(signal: AbortSignal): Promise<void> {
    await this.#once();
    if (!signal.aborted) this.#timer = setTimeout(() => this.#repeat(signal), this.pause).unref();
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
