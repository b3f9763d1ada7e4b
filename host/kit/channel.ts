/**
 * Values from every worker to every worker, the publisher's own included, each as a copy: `channel(name)`. A value arrives at
 * most once, and those of one publisher in their order. Workers of the generation before receive values until they exit, so a
 * value has to be readable by the code before it.
 */
export interface Channel<T> {
  /** Throws a TypeError for what JSON cannot hold, and for more than 64 KiB of it. */
  publish(value: T): void;
  /**
   * Calls `handler` with each value, and awaits it before the next. While it is busy 1,000 values or 4 MiB wait; then the oldest
   * are dropped, counted and logged once. What it throws is logged, and the next value follows. A subscription that is made in
   * setup is in force when `onReady` runs. Returns the function that ends it.
   */
  subscribe(handler: (value: T) => void | Promise<void>): () => void;
}
