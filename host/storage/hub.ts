import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { jumpMessage } from '../../databases/clock.js';
import type { MongoLink } from '../../databases/mongodb/link.js';
import { databaseSpans } from '../../databases/spans.js';
import type { Storage } from '../kit/storage.js';
import type { StorageSettings } from '../prepare/storage-settings.js';
import { Clock } from './clock.js';
import { dataNamesIn } from './data-names.js';
import type { MongoStore } from './mongodb.js';
import { OperationCounts } from './operation-counts.js';
import { PluginStorage, type StorageBase } from './plugin-storage.js';
import type { Store } from './store.js';
import { traceStore } from './traced-store.js';
import { Updates } from './updates.js';

export interface HubOptions {
  /** Where the storage of this host is, unless it is on MongoDB. */
  readonly folder: string;
  /** MongoDB, for several hosts. */
  readonly mongodb: StorageSettings | undefined;
  readonly log: Logger;
  readonly registry: Registry;
  /** Asks for a replacement of this process, if there is a supervisor. */
  readonly retire: (reason: string) => void;
  /** Why the processes retired in whose place this one is. */
  readonly retirements: readonly string[];
}

/** The storage of all plugins of a server. It is opened when the first plugin asks for one. */
export class StorageHub {
  readonly clock = new Clock();
  readonly #options: HubOptions;
  readonly #operations: OperationCounts;
  #opening: Promise<StorageBase> | undefined;
  #store: Promise<Store> | undefined;
  #base: StorageBase | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#operations = new OperationCounts(options.registry);
  }

  /** The storage that a plugin has under this name. It stays with the plugin's data when the plugin is renamed. */
  storage<T>(plugin: { readonly name: string; readonly dataName: string }, name: string): Storage<T> {
    if (!/^[a-z0-9_-]{1,64}$/.test(name)) {
      throw new TypeError(
        `storage(${JSON.stringify(name)}): a name has 1 to 64 characters of a-z, 0-9, _ and -`,
      );
    }
    this.base();
    return new PluginStorage<T>({
      name,
      space: `${plugin.dataName.toLowerCase()}/${name}/`,
      base: () => this.#base ?? this.base(),
      now: () => this.clock.now(),
      counts: this.#operations.of(plugin.name, name),
    });
  }

  /** Resolves when the storage is open. Opens it at the first call. */
  base(): Promise<StorageBase> {
    if (this.#opening === undefined) {
      this.#opening = this.#open();
      // Callers of the storage receive the error.
      this.#opening.catch(() => {});
    }
    return this.#opening;
  }

  /** The connection to MongoDB that the storage has, where it is there: for values of channels, which other hosts read there. */
  async link(): Promise<MongoLink<Error>> {
    return ((await this.#openStore()) as MongoStore).link;
  }

  /** The names under which plugins keep values here, whether they run or not. None where no plugin asks for a storage. */
  async dataNames(): Promise<readonly string[]> {
    return this.#opening === undefined ? [] : dataNamesIn((await this.#opening).store);
  }

  /** Resolves when the storage is open, if any plugin has asked for it. Rejects when it cannot be opened. */
  async ready(): Promise<void> {
    await this.#opening;
  }

  /** Lets ongoing work finish. May be called twice. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearTimeout(this.#sweep);
    const store = await this.#store?.catch(() => undefined);
    await store?.close();
  }

  async #open(): Promise<StorageBase> {
    const opened = await this.#openStore();
    const span = databaseSpans(this.#options.mongodb === undefined ? 'lmdb' : 'mongodb');
    const store = span === undefined ? opened : traceStore(opened, span);
    this.clock.base = () => store.now();
    this.#base = { store, updates: new Updates(store, () => this.clock.now()) };
    this.#sweepLater(store);
    return this.#base;
  }

  #openStore(): Promise<Store> {
    this.#store ??= this.#newStore();
    return this.#store;
  }

  async #newStore(): Promise<Store> {
    const { folder, mongodb, log, retire, retirements } = this.#options;
    if (mongodb !== undefined) {
      const { MongoStore } = await import('./mongodb.js');
      return MongoStore.open(mongodb, log);
    }
    const { EmbeddedStore } = await import('./embedded.js');
    const isReadOnly = retirements.filter((each) => each === cannotWrite).length > 1;
    if (isReadOnly) {
      log.error(
        { folder },
        "the plugins' storage is read-only: its disk failed twice. Check the disk, then reload or restart the server",
      );
    }
    return EmbeddedStore.openClaimed(folder, {
      isReadOnly,
      onJump: (skew) => log.warn({ ms: skew, folder }, jumpMessage("this machine's clock", skew)),
      onFailed: (error) => {
        log.error({ err: error.cause ?? error }, cannotWrite);
        // This process cannot open the file again; another takes its place.
        retire(cannotWrite);
      },
      onUnusable: (reason) => {
        log.error({ folder }, reason);
        retire(reason);
      },
    });
  }

  /** Removes expired entries. Each process does so, at random times; the others no longer find what one has removed. */
  #sweepLater(store: Store): void {
    this.#sweep = setTimeout(
      async () => {
        try {
          const mayRemove = () => !this.#closed && !store.clock.isDoubtful;
          while (mayRemove() && (await store.removeExpired(this.clock.now() - removalDelay, sweepStep)))
            await nextTurn();
        } catch (error) {
          this.#options.log.debug({ err: error }, 'expired values could not be removed');
        }
        if (!this.#closed) this.#sweepLater(store);
      },
      sweepPause * (0.5 + Math.random()),
    ).unref();
  }
}

/** Why a process retires. */
const cannotWrite = "this process can no longer write to the plugins' storage";
/** Milliseconds between two looks for expired entries, on average. */
const sweepPause = 10_000;
/** Milliseconds for which expired entries stay: a clock that jumps by less removes none that live. */
const removalDelay = 600_000;
/** Entries removed in one step: a few milliseconds. */
const sweepStep = 200;
