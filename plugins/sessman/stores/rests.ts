import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The pauses of work in the background, for requests to come first: as long as the work took while the event loop is needed
 * for a quarter of the time or more, less while it is not, and longer while others need all of it: then they are waiting.
 */
export class Rests {
  /** The share of the event loop that others needed in the last pauses. Until something is known, they need it. */
  #busy = all;

  /**
   * @param work milliseconds that it took
   * @param times a pause is so many times as long where others need the event loop, and up to four times that where they wait
   * @param signal ends the pause early
   * @returns how long it was meant to be, in milliseconds
   */
  async after(work: number, signal: AbortSignal, times = 1): Promise<number> {
    const full = work * times;
    const waiting = Math.max(0, (this.#busy - all) / (1 - all));
    const time = Math.max(
      Math.min(shortest, full),
      full * (Math.min(1, this.#busy / enough) + waiting * (longest - 1)),
    );
    const before = performance.eventLoopUtilization();
    await sleep(time, undefined, { signal, ref: false }).catch(() => {});
    const { utilization } = performance.eventLoopUtilization(before);
    this.#busy += (utilization - this.#busy) * weight;
    return time;
  }
}

/** Milliseconds: less shows nothing of what others need. */
const shortest = 2;
/** The share of the event loop from which on others have as much of it as the work. */
const enough = 0.25;
/** The share from which on they are taken to wait for it. */
const all = 0.95;
/** Times as long as usual, while others need the event loop all the time. */
const longest = 4;
/** Of the last pause, in the average. */
const weight = 0.1;
