/**
 * `channel(name)`: carries values from any worker to all workers, including the publisher's, each as a copy. A value arrives at
 * most once, and the values of one publisher arrive in order. Workers of the previous generation receive values until they exit,
 * so their code must be able to read the values of yours.
 */
export interface Channel<T> {
  /** Throws a TypeError for a value that JSON cannot represent, or that exceeds 64 KiB as JSON. */
  publish(value: T): void;
  /**
   * Calls `handler` with each value, and awaits it before the next. While it is busy, up to 1,000 values or 4 MiB wait; beyond
   * that, the oldest are dropped, counted and logged once. Its errors are logged, and the next value follows. A subscription made
   * in setup is in force when `onReady` runs. Returns a function that ends it.
   */
  subscribe(handler: (value: T) => void | Promise<void>): () => void;
}

export interface ChannelOptions {
  /**
   * Whom `publish` reaches: `all` (the default) is every worker, with MongoDB in `[storage]` those of all hosts; `host` is the
   * workers of this host.
   */
  readonly reach?: 'all' | 'host';
}
