import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientSession, Collection, Db, MongoClient } from 'mongodb';
import type { Logger } from 'pino';
import { jumpMessage } from '../../databases/clock.js';
import { type MongoSettings, mongoConnection } from '../../databases/mongodb/connection.js';
import { hasCode } from '../../databases/mongodb/errors.js';
import { MongoLink } from '../../databases/mongodb/link.js';
import { ServerClock } from '../../databases/mongodb/server-clock.js';
import type { HttpError } from '../kit/http-error.js';
import { connecting } from '../prepare/storage-settings.js';
import { storageError, unavailable } from './errors.js';
import {
  type Condition,
  type Content,
  type Entry,
  type Fence,
  newRevision,
  type Range,
  type Store,
} from './store.js';

/**
 * The storage of all hosts that share a MongoDB database: one document for each entry, in one collection. A write is one
 * conditional operation on its document. A write under a fence is a transaction, which also writes the document of the
 * fence: it conflicts with a worker that takes the lease at the same time, and one of the two sees the other.
 */
export class MongoStore implements Store {
  #link!: MongoLink<HttpError>;
  readonly clock: ServerClock;
  #canFence = true;
  readonly #queues = new Map<string, Promise<unknown>>();

  /**
   * Does not fail when the server cannot be reached: every call rejects until then, and the store keeps trying.
   * @param isReadOnly creates nothing in the database
   * @throws StoreRefusal where waiting cannot help
   */
  static async open(
    settings: MongoSettings,
    log: Pick<Logger, 'info' | 'warn' | 'error' | 'debug'>,
    { isReadOnly = false }: { readonly isReadOnly?: boolean } = {},
  ): Promise<MongoStore> {
    const store = new MongoStore(log);
    store.#link = await MongoLink.open({
      connection: mongoConnection(settings, connecting),
      log,
      content: "plugins' storages",
      store: "the plugins' storage",
      prepare: async (db) => {
        await store.#readServer(db);
        if (isReadOnly) return;
        // Not by the database's clock, which tests do not move.
        await entriesOf(db).createIndex({ e: 1 }, { name: 'expires', sparse: true });
      },
      unavailable,
      full: unavailable,
    });
    store.clock.follow(() => store.#link.run((db) => store.#readServer(db)));
    return store;
  }

  private constructor(log: Pick<Logger, 'warn'>) {
    this.clock = new ServerClock((skew) =>
      log.warn({ ms: skew }, jumpMessage("the clock of the MongoDB server of the plugins' storage", skew)),
    );
  }

  /** The connection, for what else of the plugins is in this database. It closes with the store. */
  get link(): MongoLink<HttpError> {
    return this.#link;
  }

  get fenceProblem(): string | undefined {
    return this.#canFence
      ? undefined
      : 'every() requires transactions, and this MongoDB server has none; use a replica set, of one member at least, or a sharded cluster in [storage]';
  }

  now(): number {
    return this.clock.now();
  }

  async read(place: string): Promise<Entry | undefined> {
    const document = await this.#run((entries) => entries.findOne({ _id: place }, reading));
    return document === null ? undefined : entryOf(document);
  }

  async write(place: string, content: Content | undefined, condition: Condition = {}): Promise<boolean> {
    const { fence } = condition;
    if (fence === undefined) return this.#run((entries) => put(entries, place, content, condition));
    return this.#inOrder(fence.place, () =>
      this.#link.run((db, client) => this.#putFenced(db, client, fence, place, content, condition)),
    );
  }

  async page({ from, to, limit, reverse }: Range): Promise<readonly (readonly [string, Entry])[]> {
    const documents = await this.#run((entries) =>
      entries
        .find({ _id: { $gte: from, $lt: to } }, { ...reading, limit, batchSize: limit + 1 })
        .sort({ _id: reverse ? -1 : 1 })
        .toArray(),
    );
    return documents.map((document) => [document._id, entryOf(document)]);
  }

  async removeExpired(time: number, limit: number): Promise<boolean> {
    const due = { e: { $lte: new Date(time) } };
    const found = await this.#run((entries) =>
      entries.find(due, { ...reading, projection: { _id: 1 }, limit }).toArray(),
    );
    if (found.length === 0) return false;
    const ids = found.map(({ _id }) => _id);
    await this.#run((entries) => entries.deleteMany({ _id: { $in: ids }, ...due }));
    return found.length === limit;
  }

  close(): Promise<void> {
    this.clock.stop();
    return this.#link.close();
  }

  #run<T>(operation: (entries: Entries) => Promise<T>): Promise<T> {
    return this.#link.run((db) => operation(entriesOf(db)));
  }

  async #putFenced(
    db: Db,
    client: MongoClient,
    fence: Fence,
    place: string,
    content: Content | undefined,
    condition: Condition,
  ): Promise<boolean> {
    const entries = entriesOf(db);
    const giveUp = performance.now() + transactionTime;
    return client.withSession(async (session) => {
      for (;;) {
        session.startTransaction({ writeConcern: { w: 'majority', journal: true } });
        try {
          const held = await entries.updateOne(
            { _id: fence.place, r: fence.revision },
            { $inc: { w: 1 } },
            { session },
          );
          if (held.matchedCount === 0) throw storageError('lease_lost');
          if (await put(entries, place, content, condition, session)) {
            await session.commitTransaction();
            return true;
          }
          await session.abortTransaction();
          return false;
        } catch (error) {
          if (session.inTransaction()) await session.abortTransaction().catch(() => {});
          if (!isTransient(error) || performance.now() > giveUp) throw error;
          await sleep(Math.random() * conflictPause);
        }
      }
    });
  }

  /** Transactions of one lease conflict, so each waits for the one before. */
  async #inOrder<T>(name: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#queues.get(name) ?? Promise.resolve()).then(work, work);
    this.#queues.set(name, turn);
    try {
      return await turn;
    } finally {
      if (this.#queues.get(name) === turn) this.#queues.delete(name);
    }
  }

  async #readServer(db: Db): Promise<void> {
    const { setName, msg } = await this.clock.read(db);
    this.#canFence = setName !== undefined || msg === 'isdbgrid';
  }
}

type Entries = Collection<EntryDocument>;

interface EntryDocument {
  /** The place. */
  _id: string;
  /** JSON text: BSON has other rules for names, depth and numbers. */
  v: string;
  /** The revision. */
  r: number;
  /** When it expires, if ever. */
  e?: Date;
  /** In a lease: the number of writes under it. */
  w?: number;
}

/** Milliseconds. */
const transactionTime = 2500;
const conflictPause = 20;
const reading = { maxTimeMS: 1000 };

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const duplicateKey = 11000;

function entriesOf(db: Db): Entries {
  return db.collection<EntryDocument>('storage');
}

async function put(
  entries: Entries,
  place: string,
  content: Content | undefined,
  { revision, becomes = newRevision() }: Condition,
  session?: ClientSession,
): Promise<boolean> {
  const options = session && { session };
  const matching = { _id: place, ...(typeof revision === 'number' && { r: revision }) };
  if (content === undefined) {
    const { deletedCount } = await entries.deleteOne(matching, options);
    return deletedCount === 1 || revision === undefined;
  }
  const { text, expires } = content;
  const document = {
    v: text,
    r: becomes,
    ...(expires !== Number.POSITIVE_INFINITY && { e: new Date(expires) }),
  };
  if (typeof revision === 'number') {
    return (await entries.replaceOne(matching, document, options)).matchedCount === 1;
  }
  for (;;) {
    try {
      if (revision === null) await entries.insertOne({ _id: place, ...document }, options);
      else await entries.replaceOne(matching, document, { ...options, upsert: true });
      return true;
    } catch (error) {
      if (!hasCode(error, duplicateKey)) throw error;
      if (revision === null) return false;
      // Two processes created it at the same time: replace what is there now. A transaction has to begin again.
      if (session) throw Object.assign(error as object, { isTransient: true });
    }
  }
}

function isTransient(error: unknown): boolean {
  const { isTransient = false, hasErrorLabel } = error as {
    isTransient?: boolean;
    hasErrorLabel?: (label: string) => boolean;
  };
  return (
    isTransient ||
    ['TransientTransactionError', 'UnknownTransactionCommitResult'].some(
      (label) => hasErrorLabel?.call(error, label) ?? false,
    )
  );
}

function entryOf({ v, r, e }: EntryDocument): Entry {
  return { text: v, revision: r, expires: e?.getTime() ?? Number.POSITIVE_INFINITY };
}
