import type { RootDatabase } from 'lmdb';

/**
 * Lets reads see what is stored now: another process may have acknowledged a write since this one took its snapshot. A new
 * snapshot costs more than the read itself, so reads share one that nothing can have come in since: no event reaches this
 * process while it runs one stretch of code, with all that this resolves. A stretch that lasts gets a new one all the same.
 */
export class FreshReads {
  /** Until when the snapshot may be used; 0 between stretches. `performance.now()`. */
  #until = 0;
  readonly #end = (): void => {
    this.#until = 0;
  };

  constructor(private readonly root: RootDatabase) {}

  /** Call before a read. */
  renew(): void {
    const now = performance.now();
    if (now < this.#until) return;
    if (this.#until === 0) process.nextTick(this.#end);
    this.#until = now + longest;
    this.root.resetReadTxn();
  }
}

/** Milliseconds. */
const longest = 1;
