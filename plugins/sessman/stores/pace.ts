/**
 * How many sessions the sweeper removes in one step, and how long it rests afterwards. A commit writes about four pages for
 * each of them, all over the file, and whoever writes meanwhile waits for it: so a step is as large as the disk makes it in a
 * few milliseconds, and three quarters of the time are left to requests. Expired sessions do no harm but to take up space.
 * Where more expire than are removed at that pace, steps grow to the largest size and rests shrink to nothing.
 */
export class Pace {
  #size: number;

  /** @param isRemote whether another machine does the work: the time of a step is then the network's, and costs nobody else */
  constructor(private readonly isRemote: boolean) {
    this.#size = isRemote ? largest : smallest;
  }

  /** Records of the next step. */
  get size(): number {
    return Math.round(this.#size);
  }

  /**
   * @param took milliseconds of the last step
   * @param late for how long the last record that it looked at should have been removed by then, in milliseconds
   * @returns how many times as long as that the sweeper should rest
   */
  restAfter(took: number, late: number): number {
    const urgency = Math.min(1, Math.max(0, late / patience - 1));
    if (this.isRemote) return 1 - urgency;
    const change = Math.min(2, Math.max(0.5, enough / took));
    const least = smallest + urgency * (largest - smallest);
    this.#size = Math.min(largest, Math.max(least, this.#size * change));
    return longest * (1 - urgency);
  }
}

/** Records. Fewer would not make a commit much shorter, more not the whole removal. */
const [smallest, largest] = [16, 100];
/** Milliseconds of a step. */
const enough = 6;
/** Times the length of a step. */
const longest = 3;
/** Milliseconds by which a removal may be late before it gets more time; it gets all from twice that on. */
const patience = 30 * 60_000;
