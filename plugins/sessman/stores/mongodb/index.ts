import { setTimeout } from 'node:timers/promises';
import {
  Binary,
  type Collection,
  type Filter,
  MongoClient,
  MongoError,
  MongoServerSelectionError,
} from 'mongodb';
import { DeadlineError, type Logger, withDeadline } from 'plugin-server';
import { StoreError, StoreFullError } from '../../errors.js';
import type {
  Change,
  Match,
  Page,
  Position,
  SessionExtras,
  SessionHead,
  SessionRecord,
  SessionSummary,
  Store,
  Swept,
  WalkedSession,
} from '../../store.js';
import { type MongoConnection, type MongoSettings, mongoConnection } from './connection.js';
import { hasCode, isOutOfSpace } from './errors.js';
import { ensureIndexes } from './indexes.js';
import { type MongoRefusal, refusalOf } from './refusal.js';
import { rewriteByVersion } from './rewrite.js';

export interface MongoStoreOptions extends MongoSettings {
  /** The collection's name. */
  readonly collection: string;
  readonly log: Logger;
}

/** The store on MongoDB, one document per session. Each write is one conditional operation on one document. */
export class MongoStore implements Store {
  readonly #connection: MongoConnection;
  readonly #name: string;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  #client: MongoClient | undefined;
  #sessions: Collection<SessionDocument> | undefined;
  #leases: Collection<LeaseDocument> | undefined;
  #serverExpires = true;
  #healthy = true;
  /** Why MongoDB refuses to work, while it does. */
  #refusal: MongoRefusal | undefined;
  /** The refusal that the log named last in this outage. */
  #told: string | undefined;
  #connecting: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Connects and creates the indexes. It does not fail when the server cannot be reached: every call rejects with a
   * StoreError until then, and the store keeps trying.
   * @throws MongoRefusal, ConnectionSettingError
   */
  static async open(options: MongoStoreOptions): Promise<MongoStore> {
    const store = new MongoStore(options);
    const first = store.#connect();
    store.#connecting = first.catch((error: unknown) => store.#keepConnecting(error));
    try {
      // Creating an index over very many sessions takes long, and the server need not wait for it.
      const late = setTimeout(startPatience, false, { ref: false });
      if (await Promise.race([first.then(() => true), late])) {
        store.#log.info(
          { store: 'mongodb' },
          `sessions are kept in MongoDB: ${store.#connection.description}`,
        );
      }
    } catch (error) {
      const refusal = refusalOf(error, store.#connection);
      if (!refusal?.isFinal) return store;
      await store.close();
      throw refusal;
    }
    return store;
  }

  private constructor(options: MongoStoreOptions) {
    this.#connection = mongoConnection(options);
    this.#name = options.collection;
    this.#log = options.log;
  }

  get needsSweeping(): boolean {
    return !this.#serverExpires;
  }

  async insert(record: SessionRecord): Promise<boolean> {
    try {
      await this.#run((sessions) => sessions.insertOne(toDocument(record)));
      return true;
    } catch (error) {
      if (hasCode((error as Error).cause, duplicateKey)) return false;
      throw error;
    }
  }

  async read(handle: string, now: number): Promise<SessionRecord | undefined> {
    const document = await this.#run((sessions) => sessions.findOne(filterOf({ handle, now }), reading));
    return document ? toRecord(document) : undefined;
  }

  async peek(handle: string, now: number): Promise<SessionHead | undefined> {
    const document = await this.#run((sessions) =>
      sessions.findOne(filterOf({ handle, now }), { ...reading, projection: { data: 0 } }),
    );
    return document ? toHead(document) : undefined;
  }

  async write(
    match: Match,
    { data, secretHash, touched, expires, ends, ...extras }: Change,
  ): Promise<SessionRecord | undefined> {
    const update = {
      $set: {
        touched: new Date(touched),
        expires: new Date(expires),
        ...(ends !== undefined && { ends: new Date(ends) }),
        ...extraFields(extras),
        ...(data !== undefined && { data }),
        ...(secretHash && { secret: new Binary(secretHash) }),
      },
      ...(data !== undefined && { $inc: { version: 1 } }),
    };
    const document = await this.#run((sessions) =>
      sessions.findOneAndUpdate(filterOf(match), update, {
        returnDocument: 'after',
        // What was sent need not come back.
        ...(data !== undefined && { projection: { data: 0 } }),
      }),
    );
    return document ? toRecord(data === undefined ? document : { ...document, data }) : undefined;
  }

  rewrite(match: Match, change: Omit<Change, 'data'>, rewrite: (data: string) => string) {
    return rewriteByVersion(this, match, change, rewrite);
  }

  async remove(match: Match): Promise<boolean> {
    const { deletedCount } = await this.#run((sessions) => sessions.deleteOne(filterOf(match)));
    return deletedCount === 1;
  }

  async removeEach(matches: readonly Match[]): Promise<number> {
    if (matches.length === 0) return 0;
    const operations = matches.map((match) => ({ deleteOne: { filter: filterOf(match) } }));
    const { deletedCount } = await this.#run((sessions) =>
      sessions.bulkWrite(operations, { ordered: false }),
    );
    return deletedCount;
  }

  async list(userid: string, now: number, limit = 0): Promise<SessionSummary[]> {
    const documents = await this.#run((sessions) =>
      sessions.find({ userid, ...liveAt(now) }, { ...reading, limit, projection: summaryFields }).toArray(),
    );
    return documents.map(toSummary);
  }

  async walk(now: number, { limit, after, useridPrefix }: Page): Promise<WalkedSession[]> {
    const filter = useridPrefix === undefined ? byHandle(after) : byUser(useridPrefix, after);
    const sort: Record<string, 1> = useridPrefix === undefined ? { _id: 1 } : { userid: 1, _id: 1 };
    const documents = await this.#run((sessions) =>
      sessions
        .find(
          { ...filter, ...liveAt(now) },
          { ...reading, sort, limit, projection: { ...summaryFields, userid: 1 } },
        )
        .toArray(),
    );
    return documents.map((document) => ({ ...toSummary(document), userid: document.userid }));
  }

  async removeOfUser(userid: string, now: number, except?: string): Promise<number> {
    const kept = except === undefined ? {} : { _id: { $ne: handleBinary(except) } };
    const { deletedCount } = await this.#run((sessions) =>
      sessions.deleteMany({ userid, ...liveAt(now), ...kept }),
    );
    return deletedCount;
  }

  async sweep(now: number, limit: number): Promise<Swept> {
    const due = { expires: { $lte: new Date(now) } };
    const found = await this.#run((sessions) =>
      sessions.find(due, { ...reading, projection: { _id: 1 }, limit }).toArray(),
    );
    if (found.length === 0) return { removed: 0, more: false };
    const ids = found.map(({ _id }) => _id);
    const { deletedCount } = await this.#run((sessions) =>
      sessions.deleteMany({ _id: { $in: ids }, ...due }),
    );
    return { removed: deletedCount, more: true };
  }

  async isSweepDue(now: number): Promise<boolean> {
    const due = { expires: { $lte: new Date(now) } };
    return (
      (await this.#run((sessions) => sessions.findOne(due, { ...reading, projection: { _id: 1 } }))) !== null
    );
  }

  async leaseSweep(owner: string, now: number, until: number): Promise<boolean> {
    const free = { _id: 'sweeper', $or: [{ owner }, { until: { $lte: new Date(now) } }] };
    try {
      await this.#run(() =>
        this.#leases!.updateOne(free, { $set: { owner, until: new Date(until) } }, { upsert: true }),
      );
      return true;
    } catch (error) {
      // Another owner's lease does not match, and its id is taken.
      if (hasCode((error as Error).cause, duplicateKey)) return false;
      throw error;
    }
  }

  async check(): Promise<void> {
    await this.#run((sessions) => sessions.findOne({ _id: handleBinary('') }, reading));
  }

  count(): Promise<number> {
    return this.#run((sessions) => sessions.estimatedDocumentCount(reading));
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#stop.abort();
    await this.#connecting;
    await this.#client?.close();
  }

  /** Runs one operation, and turns its failure into a StoreError. */
  async #run<T>(operation: (sessions: Collection<SessionDocument>) => Promise<T>): Promise<T> {
    if (!this.#sessions || this.#stop.signal.aborted) throw new StoreError(this.#refusal);
    try {
      const sessions = this.#sessions;
      const result = await withDeadline(operationDeadline, () => operation(sessions));
      if (!this.#healthy) this.#recovered();
      return result;
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      if (hasCode(error, duplicateKey)) throw new StoreError(error);
      this.#fell(error);
      throw isOutOfSpace(error) ? new StoreFullError(error) : new StoreError(this.#refusal ?? error);
    }
  }

  /** Connects with a new client: a client whose first attempt failed stays closed for good. */
  async #connect(): Promise<void> {
    const { url, options, database } = this.#connection;
    await this.#ensureIndexes();
    const client = new MongoClient(url, options);
    try {
      await client.connect();
    } catch (error) {
      await client.close();
      throw error;
    }
    this.#client = client;
    this.#sessions = client.db(database).collection<SessionDocument>(this.#name);
    this.#leases = client.db(database).collection<LeaseDocument>(`${this.#name}_leases`);
  }

  /** By a connection of its own, since an index over many sessions takes longer than any request may. */
  async #ensureIndexes(): Promise<void> {
    const { url, options, database } = this.#connection;
    const client = new MongoClient(url, { ...options, socketTimeoutMS: 600_000, minPoolSize: 0 });
    try {
      const { expires } = await ensureIndexes(client.db(database).collection(this.#name));
      this.#serverExpires = expires;
    } finally {
      await client.close();
    }
  }

  async #keepConnecting(firstError: unknown): Promise<void> {
    this.#fell(firstError);
    const { signal } = this.#stop;
    while (!this.#sessions) {
      await setTimeout(reconnectPause, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        await this.#connect();
        this.#recovered();
      } catch (error) {
        this.#fell(error);
        this.#log.debug({ err: error }, 'MongoDB still cannot be used');
      }
    }
  }

  /** Logs each outage once, and again when the reason turns out to be a different one. */
  #fell(error: unknown): void {
    const refusal = refusalOf(error, this.#connection);
    // What a server refused before says nothing once none can be reached.
    if (refusal !== undefined || error instanceof MongoServerSelectionError) this.#refusal = refusal;
    const isNews = refusal !== undefined && refusal.message !== this.#told;
    if (!this.#healthy && !isNews) return;
    this.#healthy = false;
    this.#told = refusal?.message ?? this.#told;
    const message = refusal?.message ?? `the session store cannot be used: ${this.#connection.description}`;
    this.#log.error({ err: error }, message);
  }

  #recovered(): void {
    this.#healthy = true;
    this.#refusal = undefined;
    this.#told = undefined;
    this.#log.info(`the session store works: ${this.#connection.description}`);
  }
}

interface SessionDocument {
  /** The handle's 12 bytes. */
  _id: Binary;
  /** SHA-256 of the id's secret part. */
  secret: Binary;
  userid: string;
  /** JSON text: BSON has other rules for names, depth and numbers. */
  data: string;
  version: number;
  created: Date;
  touched: Date;
  expires: Date;
  ends: Date;
  authenticated?: Date;
  remember?: boolean;
  /** JSON text. */
  about?: string;
  ip?: string;
  user_agent?: string;
}

interface LeaseDocument {
  _id: string;
  owner: string;
  until: Date;
}

/** Milliseconds. */
const reconnectPause = 250;
/**
 * Milliseconds. The driver's own timeouts mostly come sooner and say more, but on a half-closed connection it was seen to
 * wait forever.
 */
const operationDeadline = 2900;
/** Milliseconds that `open` waits for the first connection. */
const startPatience = 5000;
const reading = { maxTimeMS: 1000 };
const summaryFields = {
  created: 1,
  touched: 1,
  expires: 1,
  ends: 1,
  authenticated: 1,
  remember: 1,
  about: 1,
  ip: 1,
  user_agent: 1,
} as const;

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const duplicateKey = 11000;

/** The driver passes on the socket's error when the connection breaks while a command is being written. */
function isUnreachable(error: unknown): boolean {
  return (
    error instanceof MongoError ||
    error instanceof DeadlineError ||
    typeof (error as NodeJS.ErrnoException).syscall === 'string'
  );
}

function liveAt(now: number) {
  const at = new Date(now);
  return { expires: { $gt: at }, ends: { $gt: at } };
}

/** The part of a walk by handle that lies behind that place. */
function byHandle(after: Position | undefined): Filter<SessionDocument> {
  return after ? { _id: { $gt: handleBinary(after.handle) } } : {};
}

/** The same of a walk by userid and handle. */
function byUser(prefix: string, after: Position | undefined): Filter<SessionDocument> {
  const end = endOfPrefix(prefix);
  const isIn = { $gte: after?.userid ?? prefix, ...(end !== undefined && { $lt: end }) };
  if (!after) return { userid: isIn };
  const { userid = '', handle } = after;
  return {
    userid: isIn,
    $or: [{ userid: { $gt: userid } }, { userid, _id: { $gt: handleBinary(handle) } }],
  };
}

/** The first text after all that begin with the prefix, in the order of UTF-8, which is that of code points. */
function endOfPrefix(prefix: string): string | undefined {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  // No text has a code point of 0xd800 to 0xdfff.
  return last === undefined
    ? undefined
    : String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}

function filterOf({ handle, now, secretHash, userid, version, touched }: Match): Filter<SessionDocument> {
  return {
    _id: handleBinary(handle),
    ...liveAt(now),
    ...(secretHash && { secret: new Binary(secretHash) }),
    ...(userid !== undefined && { userid }),
    ...(version !== undefined && { version }),
    ...(touched !== undefined && { touched: new Date(touched) }),
  };
}

function toDocument(record: SessionRecord): SessionDocument {
  const { handle, secretHash, userid, data, version, created, touched, expires, ends, ...extras } = record;
  return {
    _id: handleBinary(handle),
    secret: new Binary(secretHash),
    userid,
    data,
    version,
    created: new Date(created),
    touched: new Date(touched),
    expires: new Date(expires),
    ends: new Date(ends),
    ...extraFields(extras),
  };
}

function extraFields({ authenticated, remember, about, ip, userAgent }: SessionExtras) {
  return {
    ...(authenticated !== undefined && { authenticated: new Date(authenticated) }),
    ...(remember !== undefined && { remember }),
    ...(about !== undefined && { about }),
    ...(ip !== undefined && { ip }),
    ...(userAgent !== undefined && { user_agent: userAgent }),
  };
}

function toRecord(document: SessionDocument): SessionRecord {
  return Object.assign(toHead(document), { data: document.data });
}

function toHead(document: Omit<SessionDocument, 'data'>): SessionHead {
  const { secret, userid, version } = document;
  return { ...toSummary(document), secretHash: Buffer.from(secret.buffer), userid, version };
}

function toSummary(document: Omit<SessionDocument, 'secret' | 'data'>): SessionSummary {
  const { _id, created, touched, expires, ends, authenticated, remember, about, ip, user_agent } = document;
  return {
    handle: Buffer.from(_id.buffer).toString('base64url'),
    created: created.getTime(),
    touched: touched.getTime(),
    expires: expires.getTime(),
    ends: ends.getTime(),
    ...(authenticated && { authenticated: authenticated.getTime() }),
    ...(remember !== undefined && { remember }),
    ...(about !== undefined && { about }),
    ...(ip !== undefined && { ip }),
    ...(user_agent !== undefined && { userAgent: user_agent }),
  };
}

function handleBinary(handle: string): Binary {
  return new Binary(Buffer.from(handle, 'base64url'));
}
