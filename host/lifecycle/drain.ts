import { setMaxListeners } from 'node:events';
import { withDeadline } from '../kit/deadline.js';

/** A reload: another generation serves already. A stop: somebody waits for the end. */
export type DrainCause = 'reload' | 'stop';

/** How long work under a `deadline` may take to end once that has aborted, in milliseconds. */
const ENDING = 5000;

/** Within how much of the time at its end clients leave: milliseconds at most, and a share of it at most. */
const LEAVING = 5000;
const LEAVING_SHARE = 0.1;

/**
 * The end of a server's work, in three signals: no new work starts; clients that stay connected have to leave; remaining work
 * has to end.
 */
export class Drain {
  readonly #begun = new AbortController();
  readonly #leave = new AbortController();
  readonly #deadline = new AbortController();
  readonly #held = new Set<Promise<unknown>>();
  #timers: NodeJS.Timeout[] = [];
  #ends = Number.POSITIVE_INFINITY;

  constructor() {
    // Each long response may listen to them.
    for (const signal of [this.begun, this.leave, this.deadline]) setMaxListeners(0, signal);
  }

  get begun(): AbortSignal {
    return this.#begun.signal;
  }

  /**
   * For clients that would stay for as long as they like. Its reason is the DrainCause. At a stop it aborts at once, at a
   * reload so long before the deadline that not all of them have to leave at the same moment.
   */
  get leave(): AbortSignal {
    return this.#leave.signal;
  }

  /** For responses and work that do not end by themselves. */
  get deadline(): AbortSignal {
    return this.#deadline.signal;
  }

  /** `timeout` is how many milliseconds are left until the deadline. A later call can only bring it forward. */
  begin(cause: DrainCause, timeout: number): void {
    this.#begun.abort();
    if (cause === 'stop') this.#leave.abort(cause);
    const ends = performance.now() + timeout;
    if (ends >= this.#ends) return;
    this.#ends = ends;
    for (const timer of this.#timers) clearTimeout(timer);
    if (timeout <= 0) {
      this.#end(cause);
      return;
    }
    const leaving = Math.max(timeout - LEAVING, timeout * (1 - LEAVING_SHARE));
    this.#timers = [
      setTimeout(() => this.#leave.abort(cause), leaving).unref(),
      setTimeout(() => this.#end(cause), timeout).unref(),
    ];
  }

  /** Milliseconds until the deadline; 0 when it is over. */
  get left(): number {
    return Math.max(0, this.#ends - performance.now());
  }

  /** The server does not close before this has settled, or the deadline is over by some seconds. */
  hold(work: Promise<unknown>): void {
    const held = work.catch(() => {}).finally(() => this.#held.delete(held));
    this.#held.add(held);
  }

  /** Resolves when all that is held has settled, or has had its time. */
  async finished(): Promise<void> {
    while (this.#held.size > 0) {
      const all = Promise.all(this.#held);
      await Promise.race([all, aborted(this.deadline)]);
      if (!this.deadline.aborted) continue;
      await withDeadline(ENDING, () => all).catch(() => {});
      break;
    }
  }

  #end(cause: DrainCause): void {
    this.#leave.abort(cause);
    this.#deadline.abort(cause);
  }
}

/** Resolves when the signal aborts. */
function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
