import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import { Binary, type Collection, type Db, type Filter, type UpdateFilter } from 'mongodb';
import type { Logger } from 'plugin-server';
import { jumpMessage } from '../../../../databases/clock.js';
import { type MongoSettings, mongoConnection } from '../../../../databases/mongodb/connection.js';
import { hasCode } from '../../../../databases/mongodb/errors.js';
import { MongoLink } from '../../../../databases/mongodb/link.js';
import { ServerClock } from '../../../../databases/mongodb/server-clock.js';
import { StoreError, StoreFullError } from '../../errors.js';
import type {
  Change,
  Changes,
  EndNote,
  EndReason,
  LiveCount,
  Match,
  NewNotes,
  NotePlace,
  Page,
  Position,
  Sealed,
  SealedFields,
  SessionExtras,
  SessionHead,
  SessionRecord,
  SessionSummary,
  Store,
  Swept,
  TellChange,
  WalkedSession,
} from '../../store.js';
import { changePause, Leased } from '../leased.js';
import { raisedStore } from '../store-kind.js';
import { ChangeStreams } from './change-streams.js';
import { connecting } from './connecting.js';
import { ensureIndexes } from './indexes.js';
import { endUpdate, moveNote, type NoteDocument, noteOf, notesSince } from './notes.js';
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
  readonly #states = new Leased(() => this.#readState());
  /** Up to where the records before that epoch are removed. */
  #purged: { readonly epoch: number; readonly to: Binary | undefined } = { epoch: 0, to: undefined };
  #serverExpires = true;
  readonly clock: ServerClock;
  readonly #changeStreams = new ChangeStreams();

  /**
   * Connects and creates the indexes. It does not fail when the server cannot be reached: every call rejects with a
   * StoreError until then, and the store keeps trying.
   * @throws MongoRefusal, ConnectionSettingError
   */
  static async open(options: MongoStoreOptions): Promise<MongoStore> {
    const store = new MongoStore(options);
    store.#link = await MongoLink.open({
      connection: mongoConnection(options, connecting),
      log: options.log,
      content: 'sessions',
      store: 'the session store',
      prepare: async (db) => {
        // The first answer takes longer than the others, and so tells less.
        for (let n = 0; n < 3; n += 1) await store.clock.read(db);
        const { expires } = await ensureIndexes(db.collection(options.collection));
        store.#serverExpires = expires;
        const state = await store.#stateIn(db).findOne({ _id: stateId });
        if (state?.raised) options.log.info({ store: 'mongodb' }, raisedStore);
      },
      unavailable: (cause) => new StoreError(cause),
      full: (cause) => new StoreFullError(cause),
    });
    store.clock.follow(() => store.#link.run((db) => store.clock.read(db)));
    return store;
  }

  private constructor({ collection, log }: MongoStoreOptions) {
    this.#name = collection;
    this.clock = new ServerClock((skew) =>
      log.warn({ ms: skew }, jumpMessage("the MongoDB server's clock", skew)),
    );
  }

  readonly system = 'mongodb';
  readonly isRemote = true;

  get needsSweeping(): boolean {
    const { epoch, purged } = this.#states.known ?? firstState;
    return !this.#serverExpires || purged < epoch;
  }

  async insert(record: SessionRecord): Promise<boolean> {
    const document = toDocument(record, await this.#states.current());
    try {
      await this.#run((sessions) => sessions.insertOne(document));
      return true;
    } catch (error) {
      if (!hasCode((error as Error).cause, duplicateKey)) throw error;
      return this.#replaceNote(document);
    }
  }

  /** Stores a session in the place of the note of an earlier one with its handle, which is kept under another id. */
  async #replaceNote(document: SessionDocument): Promise<boolean> {
    const freeId = new Binary(randomBytes(12));
    const note = await this.#run((sessions) => moveNote(notesIn(sessions), document._id, freeId));
    if (!note) return false;
    const { modifiedCount } = await this.#run((sessions) => sessions.replaceOne(note, document));
    return modifiedCount === 1;
  }

  async read(handle: string, now: number): Promise<SessionRecord | undefined> {
    const filter = filterOf({ handle, now }, await this.#states.current());
    const document = await this.#run((sessions) => sessions.findOne(filter, reading));
    return document ? toRecord(document) : undefined;
  }

  async peek(handle: string, now: number): Promise<SessionHead | undefined> {
    const filter = filterOf({ handle, now }, await this.#states.current());
    const document = await this.#run((sessions) =>
      sessions.findOne(filter, { ...reading, projection: { data: 0 } }),
    );
    return document ? toHead(document) : undefined;
  }

  async write(
    match: Match,
    { data, secretHash, touched, expires, ends, ...extras }: Change,
  ): Promise<SessionRecord | undefined> {
    const verifier = secretHash ?? match.secretHash;
    const updateFor = (state: State) => ({
      $set: {
        touched: new Date(touched),
        expires: new Date(expires),
        ...(ends !== undefined && { ends: new Date(ends) }),
        ...extraFields(extras),
        ...(data !== undefined && { data }),
        ...(verifier && (secretHash || state.raised) && secretFields(verifier, state)),
      },
      ...(verifier && state.raised && { $unset: { secret: '' as const } }),
      ...(data !== undefined && { $inc: { version: 1 } }),
    });
    const document = await this.#matching((sessions, state) =>
      sessions.findOneAndUpdate(filterOf(match, state), updateFor(state), {
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

  async remove(match: Match, reason: EndReason): Promise<boolean> {
    const update = endUpdate(reason, match.now) as UpdateFilter<SessionDocument>;
    const ended = await this.#matching(async (sessions, state) => {
      const { modifiedCount } = await sessions.updateOne(filterOf(match, state), update);
      return modifiedCount === 1 || null;
    });
    return ended === true;
  }

  async removeEach(matches: readonly Match[], reason: EndReason): Promise<number> {
    if (matches.length === 0) return 0;
    const state = await this.#states.current();
    const operations = matches.map((match) => ({
      updateOne: {
        filter: filterOf(match, state),
        update: endUpdate(reason, match.now) as UpdateFilter<SessionDocument>,
      },
    }));
    const { modifiedCount } = await this.#run((sessions) =>
      sessions.bulkWrite(operations, { ordered: false }),
    );
    return modifiedCount;
  }

  async list(userid: string, now: number, limit = 0): Promise<SessionSummary[]> {
    const live = liveAt(now, await this.#states.current());
    const documents = await this.#run((sessions) =>
      sessions.find({ userid, ...live }, { ...reading, limit, projection: summaryFields }).toArray(),
    );
    return documents.map(toSummary);
  }

  async walk(now: number, { limit, after, useridPrefix }: Page): Promise<WalkedSession[]> {
    const filter = useridPrefix === undefined ? byHandle(after) : byUser(useridPrefix, after);
    const sort: Record<string, 1> = useridPrefix === undefined ? { _id: 1 } : { userid: 1, _id: 1 };
    const live = liveAt(now, await this.#states.current());
    const documents = await this.#run((sessions) =>
      sessions
        .find(
          { ...filter, ...live },
          { ...reading, sort, limit, projection: { ...summaryFields, userid: 1 } },
        )
        .toArray(),
    );
    return documents.map((document) => ({ ...toSummary(document), userid: document.userid }));
  }

  async removeOfUser(userid: string, now: number, except?: string): Promise<number> {
    const kept = except === undefined ? {} : { _id: { $ne: handleBinary(except) } };
    const live = liveAt(now, await this.#states.current());
    const { modifiedCount } = await this.#run((sessions) =>
      sessions.updateMany(
        { userid, ...live, ...kept },
        endUpdate('end_all', now) as UpdateFilter<SessionDocument>,
      ),
    );
    return modifiedCount;
  }

  async endEveryone(): Promise<void> {
    await this.raise();
    await this.#changeState({ $inc: { epoch: 1 }, $currentDate: { everyone_at: true } });
    await setTimeout(changePause);
  }

  async raise(): Promise<void> {
    if ((await this.#states.current()).raised) return;
    await this.#changeState({ $set: { raised: true } });
    // Every host must look for the secret's hash in its other field before the first one puts it there.
    await setTimeout(changePause);
  }

  async isRaised(): Promise<boolean> {
    return (await this.#states.current()).raised;
  }

  async sealed(limit: number, after?: string): Promise<Sealed[]> {
    const filter = { ...byHandle(after === undefined ? undefined : { handle: after }), ended: notEnded };
    const documents = await this.#run((sessions) =>
      sessions
        .find(filter as Filter<SessionDocument>, {
          ...reading,
          sort: { _id: 1 },
          limit,
          projection: { data: 1, about: 1, ip: 1, user_agent: 1 },
        })
        .toArray(),
    );
    return documents.map(({ _id, data, about, ip, user_agent }) => ({
      handle: handleOf(_id),
      data,
      ...(about !== undefined && { about }),
      ...(ip !== undefined && { ip }),
      ...(user_agent !== undefined && { userAgent: user_agent }),
    }));
  }

  async replaceSealed(before: SealedFields, after: SealedFields): Promise<boolean> {
    const _id = handleBinary(before.handle);
    const document = await this.#run((sessions) =>
      sessions.findOne({ _id }, { ...reading, projection: { secret: 1, verifier: 1 } }),
    );
    if (!document) return false;
    const { secret, verifier = secret } = document;
    const fields = ({ data, about, ip, userAgent }: SealedFields) => ({
      ...(data !== undefined && { data }),
      ...extraFields({ about, ip, userAgent }),
    });
    // Where version 0.1.0 finds the hash of a secret, it would take sealed text for data.
    const { modifiedCount } = await this.#run((sessions) =>
      sessions.updateOne(
        { _id, ...fields(before), ...(secret && { secret }) },
        { $set: { ...fields(after), ...(verifier && { verifier }) }, $unset: { secret: '' } },
      ),
    );
    return modifiedCount === 1;
  }

  async fact<T extends object>(name: string): Promise<T | undefined> {
    return (await this.#link.run((db) => this.#factsIn(db).findOne({ _id: name }, reading)))?.value as
      | T
      | undefined;
  }

  async changeFact<T extends object>(name: string, change: (before: T | undefined) => T): Promise<void> {
    for (;;) {
      const found = await this.#link.run((db) => this.#factsIn(db).findOne({ _id: name }, reading));
      const next = {
        _id: name,
        value: change(found?.value as T | undefined),
        revision: (found?.revision ?? 0) + 1,
      };
      try {
        const filter = { _id: name, revision: found?.revision ?? { $exists: false } };
        const { matchedCount, upsertedCount } = await this.#link.run((db) =>
          this.#factsIn(db).replaceOne(filter as Filter<FactDocument>, next, { upsert: found === null }),
        );
        if (matchedCount + upsertedCount === 1) return;
      } catch (error) {
        // Another host was the first.
        if (!hasCode((error as Error).cause, duplicateKey)) throw error;
      }
    }
  }

  #factsIn(db: Db): Collection<FactDocument> {
    return db.collection<FactDocument>(`${this.#name}_leases`);
  }

  async epoch(): Promise<number> {
    return (await this.#states.current()).epoch;
  }

  async everyoneAt(): Promise<number> {
    return (await this.#states.current()).everyone_at?.getTime() ?? 0;
  }

  async changes(tell: TellChange, signal: AbortSignal): Promise<Changes | undefined> {
    const told = { sessions: this.#name, state: `${this.#name}_leases`, stateId };
    return this.#link.run((db, client) =>
      this.#changeStreams.open(db, client, told, signal, (handle, isEnd) => {
        if (handle === undefined) this.#states.forget();
        tell(handle && handleOf(handle), isEnd);
      }),
    );
  }

  async notes(since?: NotePlace): Promise<NewNotes> {
    return this.#run((sessions) => notesSince(notesIn(sessions), since, reading));
  }

  async noteOf(handle: string, now: number): Promise<EndNote | undefined> {
    return this.#run((sessions) => noteOf(notesIn(sessions), handleBinary(handle), now, reading));
  }

  async peekEach(handles: readonly string[], now: number): Promise<ReadonlyMap<string, SessionHead>> {
    const filter = { _id: { $in: handles.map(handleBinary) }, ...liveAt(now, await this.#states.current()) };
    const documents = await this.#run((sessions) =>
      sessions.find(filter, { ...reading, projection: { data: 0 } }).toArray(),
    );
    return new Map(documents.map(toHead).map((head) => [head.handle, head]));
  }

  async countLive(now: number): Promise<LiveCount> {
    const count = await this.count();
    if (count > mostCounted) return { count, exact: false };
    const live = liveAt(now, await this.#states.current());
    return { count: await this.#run((sessions) => sessions.countDocuments(live, reading)), exact: true };
  }

  #stateIn(db: Db): Collection<StateDocument> {
    return db.collection<StateDocument>(`${this.#name}_leases`);
  }

  async #readState(): Promise<State> {
    const document = await this.#link.run((db) => this.#stateIn(db).findOne({ _id: stateId }, reading));
    return { ...firstState, ...document };
  }

  async #changeState(update: UpdateFilter<StateDocument>): Promise<void> {
    await this.#link.run((db) => this.#stateIn(db).updateOne({ _id: stateId }, update, { upsert: true }));
    this.#states.forget();
  }

  /** Removes records of earlier epochs in one step of a walk over all. */
  async #purge(epoch: number, limit: number): Promise<Swept> {
    const { to } = this.#purged;
    const from = to && this.#purged.epoch === epoch ? { _id: { $gt: to } } : {};
    const found = await this.#run((sessions) =>
      sessions.find(from, { ...reading, projection: { _id: 1 }, sort: { _id: 1 }, limit }).toArray(),
    );
    const isOld = {
      $or: [{ epoch: { $lt: epoch } }, { epoch: { $exists: false } }],
      ended: { $exists: false },
    };
    const ids = found.map(({ _id }) => _id);
    await this.#run((sessions) => sessions.deleteMany({ _id: { $in: ids }, ...isOld }));
    const isDone = found.length < limit;
    this.#purged = { epoch, to: isDone ? undefined : ids.at(-1) };
    if (isDone) await this.#changeState({ $max: { purged: epoch } });
    return { removed: 0, more: true };
  }

  async sweep(now: number, limit: number): Promise<Swept> {
    const { epoch, purged } = await this.#states.current();
    if (purged < epoch) return this.#purge(epoch, limit);
    const due = { expires: { $lte: new Date(now) } };
    const found = await this.#run((sessions) =>
      sessions.find(due, { ...reading, projection: { expires: 1 }, sort: { expires: 1 }, limit }).toArray(),
    );
    if (found.length === 0) return { removed: 0, more: false };
    const ids = found.map(({ _id }) => _id);
    const { deletedCount } = await this.#run((sessions) =>
      sessions.deleteMany({ _id: { $in: ids }, ...due }),
    );
    return { removed: deletedCount, more: true, late: now - Number(found.at(-1)!.expires) };
  }

  async isSweepDue(now: number): Promise<boolean> {
    const { epoch, purged } = await this.#states.current();
    if (purged < epoch) return true;
    const due = { expires: { $lte: new Date(now) } };
    return (
      (await this.#run((sessions) => sessions.findOne(due, { ...reading, projection: { _id: 1 } }))) !== null
    );
  }

  async lease(duty: string, owner: string, now: number, until: number): Promise<number | undefined> {
    const free = { _id: duty, $or: [{ owner }, { until: { $lte: new Date(now) } }] };
    const held = { $set: { owner, until: new Date(until) }, $inc: { fence: 1 } };
    try {
      const lease = await this.#link.run((db) =>
        db
          .collection<LeaseDocument>(`${this.#name}_leases`)
          .findOneAndUpdate(free, held, { upsert: true, returnDocument: 'after' }),
      );
      return lease!.fence;
    } catch (error) {
      // Another owner's lease does not match, and its id is taken.
      if (hasCode((error as Error).cause, duplicateKey)) return undefined;
      throw error;
    }
  }

  async check(): Promise<void> {
    await this.#run((sessions) => sessions.findOne({ _id: handleBinary('') }, reading));
    await this.#states.current();
  }

  count(): Promise<number> {
    return this.#run((sessions) => sessions.estimatedDocumentCount(reading));
  }

  close(): Promise<void> {
    this.clock.stop();
    return this.#link.close();
  }

  /**
   * Runs what results in null where nothing matches: again, if the store was raised meanwhile. In a process that was frozen
   * for longer than it may rely on the state, it looked for the secret's hash where that is no more.
   */
  async #matching<T>(
    operation: (sessions: Collection<SessionDocument>, state: State) => Promise<T | null>,
  ): Promise<T | null> {
    const state = await this.#states.current();
    const result = await this.#run((sessions) => operation(sessions, state));
    if (result !== null || state.raised) return result;
    const newer = await this.#states.current();
    return newer.raised ? this.#run((sessions) => operation(sessions, newer)) : null;
  }

  #run<T>(operation: (sessions: Collection<SessionDocument>) => Promise<T>): Promise<T> {
    return this.#link.run((db) => operation(db.collection<SessionDocument>(this.#name)));
  }
}

interface SessionDocument {
  /** The handle's 12 bytes. */
  _id: Binary;
  /** SHA-256 of the id's secret part. Version 0.1.0 knows `secret` alone; see `raised` of the state. */
  secret?: Binary;
  verifier?: Binary;
  /** Absent in the first one. */
  epoch?: number;
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
  fence: number;
}

/** What holds for the whole store. */
interface State {
  readonly epoch: number;
  /** The last epoch whose earlier records were all removed. */
  readonly purged: number;
  /** When the epoch was advanced last, by the server's clock. */
  readonly everyone_at?: Date;
  /** Whether secrets' hashes go where version 0.1.0 finds none: it must not read or write any more. */
  readonly raised: boolean;
}

interface StateDocument extends Partial<State> {
  _id: string;
}

interface FactDocument {
  _id: string;
  value: object;
  revision: number;
}

const notEnded = { $exists: false };
const stateId = 'store';
const firstState: State = { epoch: 0, purged: 0, raised: false };
/** Records that are counted one by one. */
const mostCounted = 20_000;

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

function liveAt(now: number, { epoch }: State) {
  const at = new Date(now);
  return { expires: { $gt: at }, ends: { $gt: at }, ...(epoch > 0 && { epoch: { $gte: epoch } }) };
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

function filterOf(
  { handle, now, secretHash, userid, version, touched }: Match,
  state: State,
): Filter<SessionDocument> {
  return {
    _id: handleBinary(handle),
    ...liveAt(now, state),
    ...(secretHash && hasSecret(new Binary(secretHash), state)),
    ...(userid !== undefined && { userid }),
    ...(version !== undefined && { version }),
    ...(touched !== undefined && { touched: new Date(touched) }),
  };
}

function hasSecret(secret: Binary, { raised }: State): Filter<SessionDocument> {
  return raised ? { $or: [{ verifier: secret }, { secret }] } : { secret };
}

function secretFields(secretHash: Buffer, { raised }: State) {
  const hash = new Binary(secretHash);
  return raised ? { verifier: hash } : { secret: hash };
}

function toDocument(record: SessionRecord, state: State): SessionDocument {
  const { handle, secretHash, userid, data, version, created, touched, expires, ends, ...extras } = record;
  return {
    _id: handleBinary(handle),
    ...secretFields(secretHash, state),
    ...(state.epoch > 0 && { epoch: state.epoch }),
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
    ...(ip && { ip }),
    ...(userAgent && { user_agent: userAgent }),
  };
}

function toRecord(document: SessionDocument): SessionRecord {
  return Object.assign(toHead(document), { data: document.data });
}

function toHead(document: Omit<SessionDocument, 'data'>): SessionHead {
  const { secret, verifier = secret!, userid, version } = document;
  return { ...toSummary(document), secretHash: Buffer.from(verifier.buffer), userid, version };
}

function notesIn(sessions: Collection<SessionDocument>): Collection<NoteDocument> {
  return sessions as unknown as Collection<NoteDocument>;
}

function toSummary(document: Omit<SessionDocument, 'data'>): SessionSummary {
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

function handleOf(_id: Binary): string {
  return Buffer.from(_id.buffer).toString('base64url');
}

function handleBinary(handle: string): Binary {
  return new Binary(Buffer.from(handle, 'base64url'));
}
