import { HttpError } from '../kit/http-error.js';
import type { Storage } from '../kit/storage.js';
import { afterAll, keyFault, textFault } from './key.js';
import type { Operation, StorageCounts } from './operation-counts.js';
import { currentFence, lossOfLease } from './run-context.js';
import type { Content, Fence, Store } from './store.js';
import type { Updates } from './updates.js';
import { encodeValue } from './value.js';

/** What a storage is built on. */
export interface StorageBase {
  readonly store: Store;
  readonly updates: Updates;
}

export interface PluginStorageOptions {
  /** The name that the plugin chose. */
  readonly name: string;
  /** The prefix of the places of its entries. */
  readonly space: string;
  /** Resolves once the store is open. */
  readonly base: () => StorageBase | Promise<StorageBase>;
  /** The time for ttl, in milliseconds since the Unix epoch. */
  readonly now: () => number;
  readonly counts: StorageCounts;
}

/** One storage of a plugin: checks arguments, and converts values to text and back. */
export class PluginStorage<T> implements Storage<T> {
  readonly #options: PluginStorageOptions;
  readonly #isSet = () => {
    this.#options.counts.ok.set += 1;
  };
  readonly #isNotSet = (error: unknown) => {
    throw this.#failed('set', error);
  };

  constructor(options: PluginStorageOptions) {
    this.#options = options;
  }

  async get(key: string): Promise<T | undefined> {
    try {
      this.#checkKey('get', key);
      currentFence();
      let base = this.#options.base();
      if (base instanceof Promise) base = await base;
      let entry = base.store.read(this.#options.space + key);
      if (entry instanceof Promise) {
        entry = await entry;
        currentFence();
      }
      const isLive =
        entry !== undefined &&
        (entry.expires === Number.POSITIVE_INFINITY || entry.expires > this.#options.now());
      const value = isLive ? (JSON.parse(entry!.text) as T) : undefined;
      this.#options.counts.ok.get += 1;
      return value;
    } catch (error) {
      throw this.#failed('get', error);
    }
  }

  /** Not async: that would cost each of many at a time another promise, and two turns of the microtask queue. */
  set(key: string, value: T, options: { ttl?: number } = {}): Promise<void> {
    try {
      this.#checkKey('set', key);
      const where = () => this.#where('set', key);
      const text = encodeValue(value, where);
      const expires = this.#expiry(options.ttl, where) ?? Number.POSITIVE_INFINITY;
      const fence = currentFence();
      const base = this.#options.base();
      if (base instanceof Promise || fence !== undefined) {
        return this.#setAlone(base, key, { text, expires }, fence);
      }
      // Calls whose writes share a commit share the store's promise, but each has one of its own, which fails by itself.
      return base.store.write(this.#options.space + key, { text, expires }).then(this.#isSet, this.#isNotSet);
    } catch (error) {
      return Promise.reject(this.#failed('set', error));
    }
  }

  async #setAlone(
    base: StorageBase | Promise<StorageBase>,
    key: string,
    content: Content,
    fence: Fence | undefined,
  ): Promise<void> {
    try {
      const { store } = await base;
      await store.write(this.#options.space + key, content, { fence });
      currentFence();
      this.#options.counts.ok.set += 1;
    } catch (error) {
      throw this.#failed('set', error);
    }
  }

  async delete(key: string): Promise<boolean> {
    try {
      this.#checkKey('delete', key);
      let wasThere = false;
      await this.#change(key, (content) => {
        wasThere = content !== undefined;
        return undefined;
      });
      this.#options.counts.ok.delete += 1;
      return wasThere;
    } catch (error) {
      throw this.#failed('delete', error);
    }
  }

  async update(
    key: string,
    change: (value: T | undefined) => T | undefined,
    options: { ttl?: number } = {},
  ): Promise<T | undefined> {
    try {
      this.#checkKey('update', key);
      const where = () => this.#where('update', key);
      if (typeof change !== 'function') throw new TypeError(`${where()}: change is not a function`);
      let text: string | undefined;
      await this.#change(key, (content) => {
        const next = change(content && (JSON.parse(content.text) as T));
        text = undefined;
        if (isThenable(next)) {
          throw new TypeError(`${where()}: change returned a promise; it must be synchronous`);
        }
        if (next === undefined) return undefined;
        text = encodeValue(next, where);
        const expires = this.#expiry(options.ttl, where) ?? content?.expires ?? Number.POSITIVE_INFINITY;
        return { text, expires };
      });
      this.#options.counts.ok.update += 1;
      return text === undefined ? undefined : (JSON.parse(text) as T);
    } catch (error) {
      throw this.#failed('update', error);
    }
  }

  async *entries({
    prefix = '',
    after,
    limit = Number.POSITIVE_INFINITY,
    reverse = false,
  }: {
    prefix?: string;
    after?: string;
    limit?: number;
    reverse?: boolean;
  } = {}): AsyncGenerator<readonly [key: string, value: T]> {
    const { space } = this.#options;
    const where = this.#where('entries');
    for (const [name, text] of [
      ['prefix', prefix],
      ['after', after ?? ''],
    ]) {
      const fault = textFault(text);
      if (fault !== undefined) throw new TypeError(`${where}: ${name} ${fault}`);
    }
    if (!(limit === Number.POSITIVE_INFINITY || (Number.isInteger(limit) && limit >= 0))) {
      throw new TypeError(`${where}: the limit is not an integer from 0 on`);
    }
    let from = space + prefix;
    let to = afterAll(from);
    let left = limit;
    let last = after;
    while (left > 0) {
      if (last !== undefined && reverse) to = lower(to, space + last);
      // No key has a NUL, so this is the first place after that of `last`.
      else if (last !== undefined) from = higher(from, `${space}${last}\0`);
      const page = await this.#page(from, to, reverse);
      const now = this.#options.now();
      for (const [place, entry] of page) {
        if (entry.expires <= now) continue;
        yield [place.slice(space.length), JSON.parse(entry.text) as T];
        left -= 1;
        if (left <= 0) return;
      }
      if (page.length < pageSize) return;
      last = page.at(-1)![0].slice(space.length);
    }
  }

  async #page(from: string, to: string, reverse: boolean) {
    try {
      currentFence();
      const { store } = await this.#options.base();
      const page = isBefore(from, to) ? await store.page({ from, to, reverse, limit: pageSize }) : [];
      currentFence();
      this.#options.counts.ok.entries += 1;
      return page;
    } catch (error) {
      throw this.#failed('entries', error);
    }
  }

  async #change(key: string, change: (content: Content | undefined) => Content | undefined): Promise<void> {
    const fence = currentFence();
    const { updates } = await this.#options.base();
    await updates.update(this.#options.space + key, change, fence);
    currentFence();
  }

  #expiry(ttl: number | undefined, where: () => string): number | undefined {
    if (ttl === undefined) return undefined;
    if (typeof ttl !== 'number' || !(ttl > 0 && ttl < Number.POSITIVE_INFINITY)) {
      throw new TypeError(`${where()}: ttl is not a number of seconds above 0`);
    }
    const expires = this.#options.now() + ttl * 1000;
    return expires > latestExpiry ? Number.POSITIVE_INFINITY : expires;
  }

  #checkKey(operation: Operation, key: unknown): void {
    const fault = keyFault(key);
    if (fault !== undefined) throw new TypeError(`${this.#where(operation)}: ${fault}`);
  }

  #failed(operation: Operation, cause: unknown): unknown {
    // What a frozen process waited for has failed in its own way meanwhile.
    const error = lossOfLease() ?? cause;
    this.#options.counts.fail(operation, error instanceof HttpError ? error.code : 'error');
    return error;
  }

  /** For messages: `storage("jobs").set("backup")`. */
  #where(operation: Operation, key?: string): string {
    return `storage("${this.#options.name}").${operation}(${key === undefined ? '' : JSON.stringify(key)})`;
  }
}

/** Entries per read: well under a millisecond. */
const pageSize = 100;

/** The end of the year 9999. Dates end some time later, and MongoDB would keep one beyond that as one in the past. */
const latestExpiry = Date.UTC(10_000, 0) - 1;

function isThenable(value: unknown): boolean {
  if (typeof (value as { then?: unknown } | undefined)?.then !== 'function') return false;
  // Nobody else would handle its rejection.
  Promise.resolve(value).catch(() => {});
  return true;
}

/** In the order of UTF-8 bytes, which differs from that of JavaScript beyond U+FFFF. */
function isBefore(a: string, b: string): boolean {
  return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
}

function lower(a: string, b: string): string {
  return isBefore(a, b) ? a : b;
}

function higher(a: string, b: string): string {
  return isBefore(a, b) ? b : a;
}
