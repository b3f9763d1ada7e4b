import type { Limits } from './message.js';

/** Waiting values as JSON texts, the oldest first. */
export class Backlog {
  #texts: string[] = [];
  /** Index of the oldest. Shifting the array at each step would take time in proportion to its length. */
  #first = 0;
  /** UTF-16 units, which are bytes for nearly every text. */
  #size = 0;

  get length(): number {
    return this.#texts.length - this.#first;
  }

  push(text: string): void {
    this.#texts.push(text);
    this.#size += text.length;
  }

  shift(): string | undefined {
    const text = this.#texts[this.#first];
    if (text === undefined) return undefined;
    // What was taken must not stay in memory until the array is replaced.
    this.#texts[this.#first] = '';
    this.#first += 1;
    this.#size -= text.length;
    if (this.#first === this.#texts.length) this.clear();
    else if (this.#first > 1000 && this.#first * 2 > this.#texts.length) {
      this.#texts = this.#texts.slice(this.#first);
      this.#first = 0;
    }
    return text;
  }

  /** Drops the oldest beyond the limits, and returns how many. */
  trim({ values, bytes }: Limits): number {
    let dropped = 0;
    for (; this.length > values || this.#size > bytes; dropped += 1) this.shift();
    return dropped;
  }

  clear(): void {
    this.#texts = [];
    this.#first = 0;
    this.#size = 0;
  }
}
