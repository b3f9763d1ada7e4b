/** Runs the tasks of one key one after another, in the order in which they arrive. */
export class TaskQueues {
  /** By key with a task under way: what lets each of those behind it begin. */
  readonly #waiting = new Map<string, (() => void)[]>();

  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) this.#waiting.set(key, []);
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.get(key)!.shift();
      if (next === undefined) this.#waiting.delete(key);
      else next();
    }
  }
}
