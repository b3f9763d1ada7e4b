import { Binary, type Collection, type Filter } from 'mongodb';
import type { Logger } from 'plugin-server';
import { type MongoSettings, mongoConnection } from '../../../../databases/mongodb/connection.js';
import { hasCode } from '../../../../databases/mongodb/errors.js';
import { MongoLink } from '../../../../databases/mongodb/link.js';
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
import { connecting } from './connecting.js';
import { ensureIndexes } from './indexes.js';
import { rewriteByVersion } from './rewrite.js';

export interface MongoStoreOptions extends MongoSettings {
  /** The collection's name. */
  readonly collection: string;
  readonly log: Logger;
}

/** The store on MongoDB, one document per session. Each write is one conditional operation on one document. */
export class MongoStore implements Store {
  readonly #name: string;
  #link!: MongoLink<StoreError>;
  #serverExpires = true;

  /**
   * Connects and creates the indexes. It does not fail when the server cannot be reached: every call rejects with a
   * StoreError until then, and the store keeps trying.
   * @throws MongoRefusal, ConnectionSettingError
   */
  static async open(options: MongoStoreOptions): Promise<MongoStore> {
    const store = new MongoStore(options.collection);
    store.#link = await MongoLink.open({
      connection: mongoConnection(options, connecting),
      log: options.log,
      content: 'sessions',
      store: 'the session store',
      prepare: async (db) => {
        const { expires } = await ensureIndexes(db.collection(options.collection));
        store.#serverExpires = expires;
      },
      unavailable: (cause) => new StoreError(cause),
      full: (cause) => new StoreFullError(cause),
    });
    return store;
  }

  private constructor(name: string) {
    this.#name = name;
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
      await this.#link.run((db) =>
        db
          .collection<LeaseDocument>(`${this.#name}_leases`)
          .updateOne(free, { $set: { owner, until: new Date(until) } }, { upsert: true }),
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
    return this.#link.close();
  }

  #run<T>(operation: (sessions: Collection<SessionDocument>) => Promise<T>): Promise<T> {
    return this.#link.run((db) => operation(db.collection<SessionDocument>(this.#name)));
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
