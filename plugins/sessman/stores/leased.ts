import type { Awaitable } from '../store.js';

/**
 * A value of the store that changes hardly ever and counts in every call. Each process reads it again before it uses a
 * value older than `leaseTime`; who changes it waits that long, and then no process uses the old one any more. A change
 * of some hundred milliseconds spares every call a read.
 */
export class Leased<T> {
  readonly #read: () => Awaitable<T>;
  #value: T | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #reading: Promise<T> | undefined;

  constructor(read: () => Awaitable<T>) {
    this.#read = read;
  }

  /** Returns it without a promise while it is fresh, or where the store reads without one. */
  current(): Awaitable<T> {
    const began = performance.now();
    if (began - this.#readAt < leaseTime) return this.#value!;
    if (this.#reading) return this.#reading;
    const value = this.#read();
    if (!(value instanceof Promise)) return this.#keep(value, began);
    this.#reading = value
      .then((read) => this.#keep(read, began))
      .finally(() => {
        this.#reading = undefined;
      });
    return this.#reading;
  }

  /** The value that was read last, however old. */
  get known(): T | undefined {
    return this.#value;
  }

  forget(): void {
    this.#readAt = Number.NEGATIVE_INFINITY;
  }

  #keep(value: T, began: number): T {
    this.#value = value;
    this.#readAt = began;
    return value;
  }
}

/** Milliseconds. */
export const leaseTime = 250;
/** Milliseconds after a change until every process has it; clocks of processes run at slightly different speeds. */
export const changePause = leaseTime + 50;
