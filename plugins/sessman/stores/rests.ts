import { setTimeout as sleep } from 'node:timers/promises';

/**
 * The pauses of work in the background, for requests to come first: as long as the work took while the event loop is needed
 * for a quarter of the time or more, and less while it is not.
 */
export class Rests {
  /** The share of the event loop that others needed in the last pauses. Until something is known, they need it. */
  #busy = 1;

  /**
   * @param work milliseconds that it took
   * @param most a pause is at most so many times as long
   * @param signal ends the pause early
   * @returns how long it was meant to be, in milliseconds
   */
  async after(work: number, signal: AbortSignal, most = 1): Promise<number> {
    const longest = work * most;
    const time = Math.max(Math.min(shortest, longest), longest * Math.min(1, this.#busy / enough));
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
/** Of the last pause, in the average. */
const weight = 0.1;
