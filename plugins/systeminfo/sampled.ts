import type { Logger } from 'plugin-server';

/** A measurement repeated in the background, so that the latest one is at hand. */
export class Sampled<Value> {
  #latest: (Value & { readonly sampled_at: string }) | undefined;
  #failing = false;
  #first: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly name: string,
    private readonly measure: () => Promise<Value>,
    /** Milliseconds between the end of one measurement and the start of the next. Slow measurements never pile up. */
    private readonly pause: number,
    private readonly log: Logger,
  ) {}

  /** The latest measurement with its time (RFC 3339). Undefined before the first, and when none succeeds. */
  get latest(): (Value & { readonly sampled_at: string }) | undefined {
    return this.#latest;
  }

  /** Measures until the signal aborts. Settles with the first measurement; never rejects. */
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
      // Logged once, not at every attempt.
      if (!this.#failing) this.log.warn({ err: error, source: this.name }, 'measurement failed');
      this.#failing = true;
    }
  }
}
