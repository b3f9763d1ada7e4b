import type { Awaitable } from '../../store.js';

/**
 * Keeps the event loop from waiting for the disk. Nobody can ask whether a page is in memory. But where a read took as long as
 * one from a disk, and the process did wait for one, others may have to wait, too: the next ones first read their pages in
 * other threads.
 */
export class ColdReads {
  /** Reads that are still to look ahead. */
  #left = 0;
  #faultsBefore: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /**
   * @param prefetch reads the pages of a key in another thread
   * @param faults how often the process has waited for a page from disk
   */
  constructor(
    private readonly prefetch: (key: Buffer) => Promise<void>,
    private readonly faults = () => process.resourceUsage().majorPageFault,
  ) {
    this.#faultsBefore = faults();
  }

  /** What `read` gives: at once, unless reads were slow lately. */
  read<T>(key: Buffer, read: () => T): Awaitable<T> {
    if (this.#left === 0) return this.#timed(read);
    this.#left -= 1;
    return this.#ahead(key).then(() => this.#timed(read));
  }

  #timed<T>(read: () => T): T {
    const began = performance.now();
    try {
      return read();
    } finally {
      if (performance.now() - began > slow) this.#suspect();
    }
  }

  /** Not only the disk makes a read slow: the garbage collector or another process may have come between. */
  #suspect(): void {
    const faults = this.faults();
    if (faults > this.#faultsBefore) this.#left = remembered;
    this.#faultsBefore = faults;
  }

  async #ahead(key: Buffer): Promise<void> {
    if (this.#running === lanes) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running += 1;
    try {
      await this.prefetch(key);
    } finally {
      // The lane is handed on.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }
}

/** Milliseconds: a record in memory takes a tenth of that. */
const slow = 0.05;
/** Reads that look ahead. Where only few are slow, one of so many keeps the event loop waiting. */
const remembered = 100;
/** One less than Node has threads, so that a commit need not wait for reads. */
const lanes = 3;
