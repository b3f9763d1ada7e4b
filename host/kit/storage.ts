/**
 * JSON values under text keys, from `storage(name)`: the same for every worker and generation of a host, and for every host
 * that shares `[storage]`. A promise resolves when the write is durable: on disk, or by majority and journal on MongoDB.
 *
 * Values are written as JSON.stringify would. What JSON cannot hold is a TypeError that names its place: undefined itself or in
 * an array, NaN, Infinity, a bigint, a Date, a Map, a Set, a function or any other instance of a class. Members that are
 * undefined are left out. A value has up to 1 MiB as JSON, else the error has the code `value_too_large`. Every read is a copy.
 *
 * Keys are 1 to 512 bytes of valid UTF-8 without NUL, in the order of their bytes. `ttl` is in seconds; nothing is seen after it.
 *
 * While the storage cannot be reached, calls reject with the code `storage_unavailable` (503). A write that was refused so may
 * have been applied.
 */
export interface Storage<T> {
  get(key: string): Promise<T | undefined>;

  /** Without `ttl` the value never expires, whatever ttl was there before. */
  set(key: string, value: T, options?: { ttl?: number }): Promise<void>;

  /** Resolves to whether there was a value. */
  delete(key: string): Promise<boolean>;

  /**
   * Replaces a value by what `change` makes of it, atomically against every other write. `change` is synchronous, and may be
   * called again when another write came between, so it does nothing but compute. What it throws rejects, and nothing is
   * written; undefined deletes. Without `ttl` the expiry that is there stays. Resolves to what is stored afterwards.
   */
  update(
    key: string,
    change: (value: T | undefined) => T | undefined,
    options?: { ttl?: number },
  ): Promise<T | undefined>;

  /**
   * The entries in the order of their keys; `after` is exclusive. Each key comes at most once, and none that stays throughout is
   * missing. A page of 100 is one moment, the whole is not. Nothing stays open while the caller thinks.
   */
  entries(options?: {
    prefix?: string;
    after?: string;
    limit?: number;
    reverse?: boolean;
  }): AsyncIterable<readonly [key: string, value: T]>;
}
