/**
 * `storage(name)`: JSON values under text keys, shared by all workers and generations of a host, and by all hosts with the same
 * `[storage]`. A promise resolves when the write is durable: on disk, or by majority and journal on MongoDB.
 *
 * Values are written as JSON.stringify would. A value that JSON cannot represent is a TypeError that names its place: undefined
 * itself or in an array, NaN, Infinity, a bigint, a Date, a Map, a Set, a function or any other instance of a class. Members
 * that are undefined are left out. A value has up to 1 MiB as JSON, else the error has the code `value_too_large`. Every read
 * is a copy.
 *
 * Keys are 1 to 512 bytes of valid UTF-8 without NUL, in the order of their bytes. `ttl` is in seconds; nothing is seen after
 * it.
 *
 * While the storage cannot be reached, calls reject with the code `storage_unavailable` (503). A write that was rejected in
 * this way may have been applied.
 */
export interface Storage<T> {
  get(key: string): Promise<T | undefined>;

  /** Without `ttl`, the value never expires, even if it had a ttl before. */
  set(key: string, value: T, options?: { ttl?: number }): Promise<void>;

  /** Resolves to whether there was a value. */
  delete(key: string): Promise<boolean>;

  /**
   * Replaces a value with what `change` returns for it, atomically with respect to every other write. `change` is synchronous,
   * and is called again if another write came in between, so it must only compute. If it throws, the call rejects and nothing is
   * written; if it returns undefined, the value is deleted. Without `ttl`, the expiry stays. Resolves to the new value.
   */
  update(
    key: string,
    change: (value: T | undefined) => T | undefined,
    options?: { ttl?: number },
  ): Promise<T | undefined>;

  /**
   * The entries in the order of their keys; `after` is exclusive. Each key comes at most once, and no key that exists throughout
   * is missing. Each page of 100 is a snapshot; the whole is not. Nothing stays open between pages.
   */
  entries(options?: {
    prefix?: string;
    after?: string;
    limit?: number;
    reverse?: boolean;
  }): AsyncIterable<readonly [key: string, value: T]>;
}
