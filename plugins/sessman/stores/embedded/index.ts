import { hash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import { type Database, getLastVersion, type RangeOptions, type RootDatabase } from 'lmdb';
import { StoreFileError } from '../../../../databases/lmdb/check-file.js';
import { Commits, openDurable } from '../../../../databases/lmdb/commits.js';
import { Readers, type ReadersOptions } from '../../../../databases/lmdb/readers.js';
import { StoreDamagedError, StoreError, StoreFailedError, StoreFullError } from '../../errors.js';
import {
  type Change,
  type EndNote,
  type EndReason,
  extrasOf,
  isLive,
  type LiveCount,
  type Match,
  matches,
  type NewNotes,
  type NotePlace,
  type Page,
  type Sealed,
  type SessionExtras,
  type SessionHead,
  type SessionRecord,
  type SessionSummary,
  type Store,
  type Swept,
  type WalkedSession,
} from '../../store.js';
import { changePause, Leased } from '../leased.js';
import { isRaised, markStoreFolder, prepareStoreFolder, raiseFormat, storeFile } from './folder.js';
import { Notes } from './notes.js';
import {
  decodeExtras,
  decodeHead,
  decodeRecord,
  decodeSummary,
  encodeExtras,
  encodeRecord,
  hasUseridPrefix,
  indexedFor,
  mayHaveExtras,
  type StoredHead,
  type StoredRecord,
} from './record.js';
import { pageByHandle, pageByUser, type Walked } from './walk.js';

export interface StoreEvents extends ReadersOptions {
  /** Called once when this process can no longer write; a process that opens the store again can. */
  readonly onFailed?: (error: StoreError) => void;
}

/**
 * The store on local disk: LMDB, which any number of processes of one machine may open at a time. A write is
 * acknowledged once its transaction is flushed; writes that arrive meanwhile share the next transaction.
 *
 * Databases that change together in one transaction: records by handle, what few of them have besides (record.ts), and
 * two indexes, by user and by expiry. The
 * expiry index holds a record under a time at or before its expiry, so most updates leave the index alone: the sweeper
 * moves a record that it finds alive. (After a timeout was shortened, a record may expire before that time. It is then
 * removed late, which only costs space.)
 */
export class EmbeddedStore implements Store {
  readonly needsSweeping = true;
  readonly #root: RootDatabase;
  readonly #records: Database<Buffer, Buffer>;
  readonly #byUser: Database<Buffer, Buffer>;
  readonly #byExpiry: Database<Buffer, Buffer>;
  readonly #extras: Database<Buffer, Buffer>;
  readonly #meta: Database<Buffer, string>;
  readonly #notes: Notes;
  readonly #folder: string;
  /** Whether this process knows that version 0.1.0 is kept off. */
  #isRaised: boolean;
  readonly #epochs = new Leased(() => this.#readMeta<EpochState>(epochKey)?.value ?? firstEpoch);
  /** Up to where the records of earlier epochs are removed. */
  #purgedTo: Buffer = zero;
  readonly #commits: Commits<StoreError>;
  readonly #readers: Readers;
  #closed: Promise<void> | undefined;

  /**
   * Opens the store in that folder, and creates it first if it does not exist.
   * @throws StoreFileError when the folder cannot be used or its file is damaged; the folder is then left as it is
   */
  static open(folder: string, events: StoreEvents = {}): EmbeddedStore {
    const file = prepareStoreFolder(folder);
    try {
      const store = new EmbeddedStore(file, events);
      markStoreFolder(folder);
      return store;
    } catch (cause) {
      throw new StoreFileError(`the session store ${file} cannot be opened: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  private constructor(file: string, events: StoreEvents) {
    this.#folder = dirname(file);
    this.#isRaised = isRaised(this.#folder);
    this.#commits = new Commits(file, refusals, events.onFailed);
    this.#root = openDurable(file);
    const index = { encoding: 'binary', keyEncoding: 'binary' } as const;
    this.#records = this.#root.openDB('records', { ...index, useVersions: true });
    this.#byUser = this.#root.openDB('by-user', index);
    this.#byExpiry = this.#root.openDB('by-expiry', index);
    this.#extras = this.#root.openDB('extras', index);
    this.#notes = new Notes(this.#root.openDB('notes', index), this.#root.openDB('note-by-handle', index));
    this.#meta = this.#root.openDB('meta', { encoding: 'binary', useVersions: true });
    this.#readers = new Readers(this.#root, events);
  }

  async insert(record: SessionRecord): Promise<boolean> {
    const key = handleBytes(record.handle);
    const extras = extrasOf(record);
    const indexed = indexedFor(endOf(record), extras !== undefined);
    const epoch = this.epoch();
    return this.#commit(() =>
      this.#records.ifNoExists(key, () => {
        this.#records.put(key, encodeRecord(record, indexed, epoch, this.#isSecond(epoch)), 1);
        if (extras) this.#extras.put(key, encodeExtras(extras, record.created));
        this.#byUser.put(userKey(record, key), present);
        this.#byExpiry.put(expiryKey(indexed, key), present);
      }),
    );
  }

  read(handle: string, now: number): SessionRecord | undefined {
    const record = this.#load(handleBytes(handle), handle)?.record;
    if (!record || !this.#isLive(record, now)) return undefined;
    undamaged(record.data);
    return record;
  }

  peek(handle: string, now: number): SessionHead | undefined {
    const head = this.#loadWith(handleBytes(handle), (buffer) => decodeHead(handle, buffer));
    return head && this.#isLive(head, now) ? head : undefined;
  }

  write(match: Match, change: Change): Promise<SessionRecord | undefined> {
    return this.#change(match, change, () => change.data);
  }

  rewrite(match: Match, change: Omit<Change, 'data'>, rewrite: (data: string) => string) {
    return this.#change(match, change, (data) => rewrite(undamaged(data)));
  }

  async #change(
    match: Match,
    change: Omit<Change, 'data'>,
    newData: (data: string) => string | undefined,
  ): Promise<SessionRecord | undefined> {
    const key = handleBytes(match.handle);
    for (;;) {
      const found = this.#load(key, match.handle);
      if (!found || !this.#matches(found.record, match)) return undefined;
      const { record } = found;
      const data = newData(record.data);
      const before = extrasOf(record);
      const extras = extrasOf(change) ? { ...before, ...extrasOf(change) } : before;
      const next: StoredRecord = {
        handle: record.handle,
        secretHash: change.secretHash ?? record.secretHash,
        userid: record.userid,
        data: data ?? record.data,
        version: record.version + (data === undefined ? 0 : 1),
        created: record.created,
        touched: change.touched,
        expires: change.expires,
        ends: change.ends ?? record.ends,
        indexed: record.indexed,
        epoch: record.epoch,
        ...extras,
      };
      if (await this.#commit(() => this.#replace(key, found, next, extras !== before))) return next;
    }
  }

  /** Puts `next` in the place of what was found, unless somebody else was faster. */
  #replace(key: Buffer, { record, revision }: Found, next: StoredRecord, newExtras: boolean) {
    if (!newExtras) {
      // One conditional put is enough here; a conditional block of writes costs three times as many instructions.
      return this.#records.put(
        key,
        encodeRecord(next, next.indexed, next.epoch, this.#isSecond(next.epoch)),
        revision + 1,
        revision,
      );
    }
    const indexed = indexedFor(Math.floor(record.indexed + 0.75), true);
    return this.#records.ifVersion(key, revision, () => {
      this.#records.put(
        key,
        encodeRecord(next, indexed, next.epoch, this.#isSecond(next.epoch)),
        revision + 1,
      );
      this.#extras.put(key, encodeExtras(extrasOf(next)!, next.created));
      if (indexed === record.indexed) return;
      this.#byExpiry.remove(expiryKey(record.indexed, key));
      this.#byExpiry.put(expiryKey(indexed, key), present);
    });
  }

  async remove(match: Match, reason: EndReason): Promise<boolean> {
    const key = handleBytes(match.handle);
    for (;;) {
      const found = this.#load(key, match.handle);
      if (!found || !this.#matches(found.record, match)) return false;
      if (await this.#drop(key, found, { reason, at: match.now })) return true;
    }
  }

  async removeEach(matches: readonly Match[], reason: EndReason): Promise<number> {
    const removed = await Promise.all(matches.map((match) => this.remove(match, reason)));
    return removed.filter(Boolean).length;
  }

  async list(userid: string, now: number, limit = Number.POSITIVE_INFINITY): Promise<SessionSummary[]> {
    const live: SessionSummary[] = [];
    for await (const keys of this.#keysOfUser(userid)) {
      for (const key of keys) {
        const summary = this.#loadSummary(key);
        if (summary && this.#isLive(summary, now)) live.push(plainSummary(summary));
        if (live.length === limit) return live;
      }
    }
    return live;
  }

  walk(now: number, page: Page): Promise<WalkedSession[]> {
    const walked: Walked = {
      keys: (start, limit) => this.#keys(this.#records, { start, limit }).map((key) => Buffer.from(key)),
      load: (key, prefix) => this.#loadWalked(key, prefix, now),
    };
    return page.useridPrefix === undefined ? pageByHandle(walked, page) : pageByUser(walked, page);
  }

  #loadWalked(key: Buffer, prefix: Buffer | undefined, now: number): WalkedSession | undefined {
    const buffer = prefix && this.#records.getBinaryFast(key);
    if (prefix && !(buffer && hasUseridPrefix(buffer, prefix))) return undefined;
    const head = this.#decoded(key, (found) => decodeHead(key.toString('base64url'), found));
    return head && this.#isLive(head, now) ? { ...plainSummary(head), userid: head.userid } : undefined;
  }

  async removeOfUser(userid: string, now: number, except?: string): Promise<number> {
    let count = 0;
    for await (const keys of this.#keysOfUser(userid)) {
      const handles = keys.map((key) => key.toString('base64url')).filter((handle) => handle !== except);
      count += await this.removeEach(
        handles.map((handle) => ({ handle, userid, now })),
        'end_all',
      );
    }
    return count;
  }

  async endEveryone(): Promise<void> {
    await this.raise();
    for (;;) {
      const found = this.#readMeta<EpochState>(epochKey);
      const { epoch, purged } = found?.value ?? firstEpoch;
      if (await this.#writeMeta(epochKey, { epoch: epoch + 1, purged }, found?.revision)) break;
    }
    this.#epochs.forget();
    await pause(changePause);
  }

  epoch(): number {
    return (this.#epochs.current() as EpochState).epoch;
  }

  notes(since?: NotePlace): NewNotes {
    return this.#fresh(() => this.#notes.since(since));
  }

  noteOf(handle: string, now: number): EndNote | undefined {
    return this.#fresh(() => this.#notes.of(handleBytes(handle), now));
  }

  peekEach(handles: readonly string[], now: number): ReadonlyMap<string, SessionHead> {
    const found = new Map<string, SessionHead>();
    this.#fresh(() => {
      for (const handle of handles) {
        const head = this.#decoded(handleBytes(handle), (buffer) => decodeHead(handle, buffer));
        if (head && this.#isLive(head, now)) found.set(handle, head);
      }
    });
    return found;
  }

  async countLive(now: number): Promise<LiveCount> {
    const count = this.count();
    if (count > mostCounted) return { count, exact: false };
    let live = 0;
    for (let start = zero; ; await nextTurn()) {
      const keys = this.#keys(this.#records, { start, limit: sliceSize }).map((key) => Buffer.from(key));
      for (const key of keys) {
        const summary = this.#loadSummary(key);
        if (summary && this.#isLive(summary, now)) live++;
      }
      if (keys.length < sliceSize) return { count: live, exact: true };
      start = Buffer.concat([keys.at(-1)!, zero]);
    }
  }

  async sweep(now: number, limit: number): Promise<Swept> {
    const { epoch, purged } = this.#epochs.current() as EpochState;
    if (purged < epoch) return this.#purge(epoch, limit);
    const old = this.#fresh(() => this.#notes.old(now, limit));
    if (old.length > 0) {
      await this.#commit(async () =>
        (await Promise.all(old.map((key) => this.#notes.drop(key)))).every(Boolean),
      );
      return { removed: 0, more: true };
    }
    const due = this.#keys(this.#byExpiry, { end: expiryKey(now, highest), limit });
    const swept = await Promise.all(
      due.map(async (dueKey) => {
        const key = Buffer.from(dueKey.subarray(8));
        const found = this.#load(key, key.toString('base64url'));
        if (!found) return false;
        if (!this.#isLive(found.record, now)) return this.#drop(key, found);
        const extras = extrasOf(found.record);
        const indexed = indexedFor(endOf(found.record), extras !== undefined);
        await this.#commit(() =>
          this.#records.ifVersion(key, found.revision, () => {
            this.#records.put(
              key,
              encodeRecord(found.record, indexed, found.record.epoch, this.#isSecond(found.record.epoch)),
              found.revision + 1,
            );
            this.#byExpiry.remove(dueKey);
            this.#byExpiry.put(expiryKey(indexed, key), present);
          }),
        );
        return false;
      }),
    );
    return { removed: swept.filter(Boolean).length, more: due.length === limit };
  }

  /** Removes records of earlier epochs in one step of a walk over all. */
  async #purge(epoch: number, limit: number): Promise<Swept> {
    const keys = this.#keys(this.#records, { start: this.#purgedTo, limit }).map((key) => Buffer.from(key));
    await Promise.all(
      keys.map(async (key) => {
        const found = this.#load(key, key.toString('base64url'));
        if (found && found.record.epoch < epoch) await this.#drop(key, found);
      }),
    );
    const isDone = keys.length < limit;
    this.#purgedTo = isDone ? zero : Buffer.concat([keys.at(-1)!, zero]);
    if (isDone) {
      const found = this.#readMeta<EpochState>(epochKey)!;
      await this.#writeMeta(epochKey, { ...found.value, purged: epoch }, found.revision);
      this.#epochs.forget();
    }
    return { removed: 0, more: true };
  }

  isSweepDue(now: number): boolean {
    const { epoch, purged } = this.#epochs.current() as EpochState;
    if (purged < epoch || this.#fresh(() => this.#notes.old(now, 1)).length > 0) return true;
    return this.#keys(this.#byExpiry, { end: expiryKey(now, highest), limit: 1 }).length > 0;
  }

  async lease(duty: string, owner: string, now: number, until: number): Promise<boolean> {
    const found = this.#readMeta<{ owner: string; until: number }>(duty);
    if (found && found.value.owner !== owner && found.value.until > now) return false;
    return this.#writeMeta(duty, { owner, until }, found?.revision);
  }

  async raise(): Promise<void> {
    raiseFormat(this.#folder);
    this.#isRaised = true;
  }

  /** Whether a record of that epoch is of format 2. */
  #isSecond(epoch: number): boolean {
    return epoch > 0 || this.#isRaised;
  }

  async sealed(limit: number, after?: string): Promise<Sealed[]> {
    const start = after === undefined ? zero : Buffer.concat([handleBytes(after), zero]);
    // All of one snapshot: a page that is not full is the last one.
    return this.#fresh(() =>
      [...this.#records.getKeys({ start, limit })].map((each) => {
        const key = Buffer.from(each);
        return sealedOf(
          this.#decoded(key, (buffer) => decodeRecord(key.toString('base64url'), buffer, buffer.length))!,
        );
      }),
    );
  }

  async replaceSealed(before: Sealed, after: Sealed): Promise<boolean> {
    const key = handleBytes(before.handle);
    const found = this.#load(key, before.handle);
    if (!found || JSON.stringify(sealedOf(found.record)) !== JSON.stringify(before)) return false;
    const next = { ...found.record, ...after };
    return this.#commit(() => this.#replace(key, found, next, extrasOf(next) !== undefined));
  }

  fact<T extends object>(name: string): T | undefined {
    return this.#readMeta<T>(name)?.value;
  }

  async changeFact<T extends object>(name: string, change: (before: T | undefined) => T): Promise<void> {
    for (;;) {
      const found = this.#readMeta<T>(name);
      if (await this.#writeMeta(name, change(found?.value), found?.revision)) return;
    }
  }

  #readMeta<T>(key: string): { readonly value: T; readonly revision: number } | undefined {
    return this.#fresh(() => {
      const text = this.#meta.get(key)?.toString();
      return text === undefined ? undefined : { value: JSON.parse(text) as T, revision: getLastVersion() };
    });
  }

  /** False, with nothing written, when it has another revision by now; undefined is that of what is not there. */
  #writeMeta(key: string, value: object, revision: number | undefined): Promise<boolean> {
    const bytes = Buffer.from(JSON.stringify(value));
    return this.#commit(() => this.#meta.put(key, bytes, (revision ?? 0) + 1, (revision ?? null) as number));
  }

  async check(): Promise<void> {
    if (this.#closed) throw new StoreError();
    this.#commits.check();
  }

  count(): number {
    return (this.#records.getStats() as { entryCount: number }).entryCount;
  }

  get oldestReader(): number {
    return this.#readers.oldest;
  }

  /** Writes a compact copy into a folder that must not exist yet, while work goes on. */
  async backup(folder: string): Promise<void> {
    mkdirSync(folder, { mode: 0o700 });
    await this.#root.backup(join(folder, storeFile), true);
    markStoreFolder(folder, this.isRaised());
  }

  isRaised(): boolean {
    return isRaised(this.#folder);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#readers.close();
    this.#commits.close();
    // A failed LMDB waits forever for its last transaction. The end of the process frees what it holds.
    if (!this.#commits.hasFailed) await this.#root.close();
  }

  /** The record and its revision, which every write changes. As of now, not as of the start of this turn. */
  #load(key: Buffer, handle: string): Found | undefined {
    let revision = 0;
    const record = this.#loadWith(key, (buffer) => {
      revision = getLastVersion();
      return decodeRecord(handle, buffer, buffer.length);
    });
    return record && { record, revision };
  }

  #loadWith<T extends Indexed>(key: Buffer, decode: (buffer: Buffer) => T): T | undefined {
    return this.#fresh(() => this.#decoded(key, decode));
  }

  #decoded<T extends Indexed>(key: Buffer, decode: (buffer: Buffer) => T): T | undefined {
    const buffer = this.#records.getBinaryFast(key);
    const record = buffer && decode(buffer);
    if (record && mayHaveExtras(record.indexed)) {
      const extras = this.#extras.getBinaryFast(key);
      if (extras) Object.assign(record, decodeExtras(extras, record.created));
    }
    return record;
  }

  #loadSummary(key: Buffer): ReturnType<typeof decodeSummary> | undefined {
    return this.#decoded(key, (buffer) => decodeSummary(key.toString('base64url'), buffer));
  }

  /** The keys of the user's records, one slice a turn, so that a user with very many delays nobody else. */
  async *#keysOfUser(userid: string): AsyncGenerator<Buffer[]> {
    const prefix = userPrefix(userid);
    let start = prefix;
    const end = Buffer.concat([prefix, highest]);
    for (;;) {
      const slice = this.#keys(this.#byUser, { start, end, limit: sliceSize });
      yield slice.map((key) => Buffer.from(key.subarray(prefix.length)));
      if (slice.length < sliceSize) return;
      start = Buffer.concat([slice.at(-1)!, zero]);
      await nextTurn();
    }
  }

  #keys(index: Database<Buffer, Buffer>, range: RangeOptions): Buffer[] {
    return this.#fresh(() => [...index.getKeys(range)]);
  }

  #isLive(record: SessionSummary & Pick<StoredHead, 'epoch'>, now: number): boolean {
    return isLive(record, now) && record.epoch >= this.epoch();
  }

  #matches(record: StoredHead, match: Match): boolean {
    return matches(record, match) && record.epoch >= this.epoch();
  }

  /** Reads what is stored now: another process may have acknowledged a write since this one took its snapshot. */
  #fresh<T>(work: () => T): T {
    if (this.#closed) throw new StoreError();
    return this.#commits.reading(() => {
      this.#root.resetReadTxn();
      return work();
    });
  }

  #drop(key: Buffer, { record, revision }: Found, end?: { reason: EndReason; at: number }): Promise<boolean> {
    return this.#commit(() =>
      this.#records.ifVersion(key, revision, () => {
        this.#records.remove(key);
        this.#byUser.remove(userKey(record, key));
        this.#byExpiry.remove(expiryKey(record.indexed, key));
        if (mayHaveExtras(record.indexed)) this.#extras.remove(key);
        if (end) this.#notes.put(key, record, end);
      }),
    );
  }

  /**
   * Resolves once what `begin` writes is on disk; to false, with nothing written, when its condition no longer holds.
   * A condition is the revision that an entry must still have.
   */
  #commit(begin: () => Promise<boolean>): Promise<boolean> {
    if (this.#closed) throw new StoreError();
    return this.#commits.run(begin);
  }
}

const refusals = {
  isRefusal: (error: unknown): error is StoreError => error instanceof StoreError,
  unavailable: (cause?: unknown) => new StoreError(cause),
  full: (cause?: unknown) => new StoreFullError(cause),
  failed: (cause: unknown) => new StoreFailedError(cause),
};

type Indexed = Pick<StoredHead, 'indexed' | 'created'> & SessionExtras;

interface Found {
  readonly record: StoredRecord;
  readonly revision: number;
}

/** The epoch, and the last one whose earlier records were all removed. */
interface EpochState {
  readonly epoch: number;
  readonly purged: number;
}

const firstEpoch: EpochState = { epoch: 0, purged: 0 };
const epochKey = 'epoch';
/** Records that are counted one by one. */
const mostCounted = 20_000;
/** Bytes. */
const userPrefixLength = 16;
/** Keys read in one turn of the event loop: well under a millisecond. */
const sliceSize = 100;
/** Milliseconds. */
/** The value of index entries, whose keys hold everything. */
const present = Buffer.from([1]);
const zero = Buffer.from([0]);
/** Sorts after every handle. */
const highest = Buffer.alloc(13, 0xff);

function sealedOf({ handle, data, about, ip, userAgent }: SessionRecord): Sealed {
  return {
    handle,
    data,
    ...(about !== undefined && { about }),
    ...(ip && { ip }),
    ...(userAgent && { userAgent }),
  };
}

function plainSummary(stored: SessionSummary): SessionSummary {
  const { handle, created, touched, expires, ends } = stored;
  return { handle, created, touched, expires, ends, ...extrasOf(stored) };
}

function handleBytes(handle: string): Buffer {
  return Buffer.from(handle, 'base64url');
}

/** Userids have any length and may contain NUL; their hashes do not. */
function userPrefix(userid: string): Buffer {
  return hash('sha256', userid, 'buffer').subarray(0, userPrefixLength);
}

function userKey({ userid }: SessionRecord, handle: Buffer): Buffer {
  const key = Buffer.allocUnsafe(userPrefixLength + handle.length);
  userPrefix(userid).copy(key);
  handle.copy(key, userPrefixLength);
  return key;
}

/** Big-endian, so that keys sort by time. */
function expiryKey(time: number, handle: Buffer): Buffer {
  const key = Buffer.allocUnsafe(8 + handle.length);
  key.writeDoubleBE(time);
  handle.copy(key, 8);
  return key;
}

function endOf(record: SessionRecord): number {
  return Math.min(record.expires, record.ends);
}

/**
 * Whether a text cannot be what was stored. The structure of the store is checked elsewhere; this is for the bytes of one
 * session, which a broken disk may have turned into noise or zeros. JSON text has no NUL. U+FFFD stands for broken UTF-8,
 * but may also have been stored.
 */
function isDamaged(data: string): boolean {
  if (data.includes('\0')) return true;
  if (!data.includes('\ufffd')) return false;
  try {
    JSON.parse(data);
    return false;
  } catch {
    return true;
  }
}

function undamaged(data: string): string {
  if (isDamaged(data)) throw new StoreDamagedError();
  return data;
}
