import { timingSafeEqual } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import type { Database, RangeOptions, RootDatabase } from 'lmdb';
import { StoreFileError } from '../../../../databases/lmdb/check-file.js';
import type { Claim } from '../../../../databases/lmdb/claim.js';
import { Commits, openDurable } from '../../../../databases/lmdb/commits.js';
import { contestedPages } from '../../../../databases/lmdb/contested-pages.js';
import { checkSpaceForCopy, copyRecords } from '../../../../databases/lmdb/copy.js';
import { FreshReads } from '../../../../databases/lmdb/fresh-reads.js';
import { type Pages, pagesOf } from '../../../../databases/lmdb/pages.js';
import { Readers, type ReadersOptions } from '../../../../databases/lmdb/readers.js';
import type { Purpose } from '../../../../databases/lmdb/room.js';
import { type ClockMark, WallClock } from '../../../../databases/lmdb/wall-clock.js';
import { StoreDamagedError, StoreError, StoreFailedError, StoreFullError } from '../../errors.js';
import {
  type Awaitable,
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
  type Scrubbed,
  type ScrubPlace,
  type Sealed,
  type SealedFields,
  type SessionHead,
  type SessionRecord,
  type SessionSummary,
  type Store,
  type StoreFile,
  type Swept,
  type WalkedSession,
} from '../../store.js';
import { changePause, Leased } from '../leased.js';
import { ColdReads } from './cold-reads.js';
import {
  isMarked,
  isRaised,
  markStoreFolder,
  openClaimedStore,
  prepareStoreFolder,
  raiseFormat,
  storeFile,
} from './folder.js';
import { expiryKey, timeIn, userKey, userPrefix } from './keys.js';
import { type Fact, Meta } from './meta.js';
import { dueOf, Notes } from './notes.js';
import { indexedFor, type StoredHead, type StoredRecord } from './record.js';
import { type Found, handleBytes, handleOf, partOf, Records } from './records.js';
import { type Fix, lookFrom, lookInOrder, type ScrubSource } from './scrub.js';
import { pageByHandle, pageByUser, type Walked } from './walk.js';

export interface StoreEvents extends ReadersOptions {
  /** Called once when the disk has failed, and this process can no longer write; one that opens the store again can. */
  readonly onFailed?: (error: StoreError) => void;
  /** Called once, with words for the log, when a write that the disk refused has left LMDB unusable in this process. */
  readonly onUnusable?: (reason: string) => void;
  /** Refuses every write as after a failure. */
  readonly isReadOnly?: boolean;
  /** Whether most of the file will be read, as commands do. */
  readonly readsAll?: boolean;
  /** Called once for each part of the file whose bytes are not what was written: `session HANDLE`, `the epoch`. */
  readonly onDamaged?: (part: string) => void;
  /** The machine's clock has jumped by so many milliseconds, or is believed again: undefined. */
  readonly onJump?: (skew: number | undefined) => void;
}

/**
 * The store on local disk: LMDB, which any number of processes of one machine may open at a time. A write is
 * acknowledged once its transaction is flushed; writes that arrive meanwhile share the next transaction.
 *
 * Databases that change together in one transaction: records by handle, what few of them have besides (records.ts), and
 * two indexes, by user and by expiry. The expiry index holds a record under a time at or before its expiry, so most updates
 * leave the index alone: the sweeper moves a record that it finds alive. (After a timeout was shortened, a record may expire
 * before that time. It is then removed late, which only costs space.)
 *
 * Checksums keep altered bytes from being answered. A damaged record can be ended, by its id or by its user, and is removed
 * when the time comes under which the expiry index holds it; every other call for it is refused.
 */
export class EmbeddedStore implements Store {
  readonly system = 'lmdb';
  readonly needsSweeping = true;
  readonly isRemote = false;
  readonly #root: RootDatabase;
  readonly #snapshot: FreshReads;
  readonly #records: Records;
  readonly #coldReads = new ColdReads((key) => {
    // It may have waited for others.
    if (this.#closed) throw new StoreError();
    return this.#records.prefetch([key]);
  });
  readonly #byUser: Database<Buffer, Buffer>;
  readonly #byExpiry: Database<Buffer, Buffer>;
  readonly #meta: Meta;
  readonly #notes: Notes;
  readonly #folder: string;
  /** Whether this process knows that version 0.1.0 is kept off. */
  #isRaised: boolean;
  readonly #epochs = new Leased(() => this.#readEpoch()?.value ?? firstEpoch);
  /** Up to where the records before that epoch are removed. */
  #purged: { epoch: number; to: Buffer } | undefined;
  readonly #commits: Commits<StoreError>;
  readonly #readers: Readers;
  readonly clock: WallClock;
  readonly #onDamaged: StoreEvents['onDamaged'];
  /** The parts that were reported. */
  readonly #damaged = new Set<string>();
  #claim: Claim | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Opens the store in that folder, and creates it first if it does not exist.
   * @throws StoreFileError when the folder cannot be used, is in use by another container, or its file is damaged; the folder
   *   is then left as it is
   */
  static openClaimed(folder: string, events: StoreEvents = {}): Promise<EmbeddedStore> {
    return openClaimedStore(folder, (claim) => {
      const store = EmbeddedStore.open(folder, events);
      store.#claim = claim;
      return store;
    });
  }

  /** The same, but other containers are not kept off. */
  static open(folder: string, events: StoreEvents = {}): EmbeddedStore {
    const file = prepareStoreFolder(folder);
    try {
      const store = new EmbeddedStore(file, events);
      if (!events.isReadOnly) markStoreFolder(folder);
      return store;
    } catch (cause) {
      if (cause instanceof StoreFileError) throw cause;
      throw new StoreFileError(`the session store ${file} cannot be opened: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  private constructor(file: string, events: StoreEvents) {
    this.#folder = dirname(file);
    this.#isRaised = isRaised(this.#folder);
    const pages = () => this.#readers.usable(this.#fresh(() => this.#size()));
    this.#commits = new Commits(file, refusals, { ...events, pages });
    this.#root = openDurable(file, events.readsAll);
    this.#snapshot = new FreshReads(this.#root);
    const names = isMarked(this.#folder) ? [...this.#root.getKeys()] : basic;
    if (!basic.every((name) => names.includes(name))) {
      void this.#root.close();
      throw new StoreFileError(
        `the session store ${file} is damaged (it holds ${names.join(', ')}) and was left as it is. Put a backup in its place, or move it away to start without sessions.`,
      );
    }
    const index = { encoding: 'binary', keyEncoding: 'binary' } as const;
    this.#records = new Records(this.#root);
    this.#byUser = this.#root.openDB('by-user', index);
    this.#byExpiry = this.#root.openDB('by-expiry', index);
    this.#notes = new Notes(this.#root);
    this.#meta = new Meta(this.#root);
    this.#readers = new Readers(this.#root, events);
    this.#onDamaged = events.onDamaged;
    this.clock = new WallClock({
      read: () => this.fact<ClockMark>(clockKey),
      keep: (mark) => this.changeFact<ClockMark>(clockKey, () => mark),
      onJump: events.onJump,
    });
  }

  async insert(record: SessionRecord): Promise<boolean> {
    const key = handleBytes(record.handle);
    const hasExtras = extrasOf(record) !== undefined;
    const indexed = indexedFor(endOf(record), hasExtras);
    const stored = { ...record, indexed, epoch: this.epoch() };
    const begin = () =>
      this.#records.ifNew(key, () => {
        this.#records.put(key, stored, this.#isSecond(stored.epoch), 0);
        if (hasExtras) this.#records.putExtras(key, record);
        this.#byUser.put(userKey(record.userid, key), present);
        this.#byExpiry.put(expiryKey(indexed, key), present);
      });
    return this.#commit('adding', begin, record.data.length);
  }

  read(handle: string, now: number): Awaitable<SessionRecord | undefined> {
    const key = handleBytes(handle);
    return this.#coldReads.read(key, () => {
      const record = this.#load(key)?.record;
      return record && this.#isLive(record, now) ? record : undefined;
    });
  }

  peek(handle: string, now: number): Awaitable<SessionHead | undefined> {
    const key = handleBytes(handle);
    return this.#coldReads.read(key, () => {
      const head = this.#fresh(() => this.#records.head(key));
      return head && this.#isLive(head, now) ? head : undefined;
    });
  }

  write(match: Match, change: Change): Promise<SessionRecord | undefined> {
    return this.#change(match, change, () => change.data);
  }

  rewrite(match: Match, change: Omit<Change, 'data'>, rewrite: (data: string) => string) {
    return this.#change(match, change, rewrite);
  }

  async #change(
    match: Match,
    change: Omit<Change, 'data'>,
    newData: (data: string) => string | undefined,
  ): Promise<SessionRecord | undefined> {
    const key = handleBytes(match.handle);
    for (;;) {
      const found = await this.#coldReads.read(key, () => this.#load(key));
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
      const begin = () => this.#replace(key, found, next, extras !== before);
      if (await this.#commit('adding', begin, next.data.length)) return next;
    }
  }

  /** Puts `next` in the place of what was found, unless somebody else was faster. */
  #replace(key: Buffer, { record, revision }: Found, next: StoredRecord, newExtras: boolean) {
    const isSecond = this.#isSecond(next.epoch);
    if (!newExtras) {
      // One conditional put is enough here; a conditional block of writes costs three times as many instructions.
      return this.#records.put(key, next, isSecond, revision, revision);
    }
    const indexed = indexedFor(Math.floor(record.indexed + 0.75), true);
    return this.#records.ifStill(key, revision, () => {
      this.#records.put(key, { ...next, indexed }, isSecond, revision);
      this.#records.putExtras(key, next);
      if (indexed === record.indexed) return;
      this.#byExpiry.remove(expiryKey(record.indexed, key));
      this.#byExpiry.put(expiryKey(indexed, key), present);
    });
  }

  async remove(match: Match, reason: EndReason): Promise<boolean> {
    for (;;) {
      // Nothing else is awaited before it is dropped: else writers that never rest would always be faster.
      const removal = this.#removal(match, await this.#find(match), reason);
      if (!removal) return false;
      if (await this.#drop(removal)) return true;
    }
  }

  async removeEach(matches: readonly Match[], reason: EndReason): Promise<number> {
    const found = await Promise.all(matches.map((match) => this.#find(match)));
    const removals = matches.map((match, i) => this.#removal(match, found[i], reason));
    const dropped = await Promise.all(
      // Async, since lmdb would lose what became of the rest if one threw.
      this.#records.together(() => removals.map(async (removal) => removal && this.#drop(removal))),
    );
    // Where another writer was faster, once more.
    const left = matches.filter((_, i) => dropped[i] === false);
    const removed = await Promise.all(left.map((match) => this.remove(match, reason)));
    return [...dropped, ...removed].filter(Boolean).length;
  }

  #find({ handle }: Match): Awaitable<MaybeDamaged | undefined> {
    const key = handleBytes(handle);
    return this.#coldReads.read(key, () => this.#loadAnyhow(key));
  }

  #removal(match: Match, found: MaybeDamaged | undefined, reason: EndReason): Removal | undefined {
    const key = handleBytes(match.handle);
    if (!found || !this.#mayRemove(key, found, match)) return undefined;
    const sure = found.isDamaged ? this.#certain(key, found, match) : found.record;
    return { key, found, note: sure && { ...sure, reason, at: match.now } };
  }

  #mayRemove(key: Buffer, { record, isDamaged }: MaybeDamaged, match: Match): boolean {
    if (!isDamaged) return this.#matches(record, match);
    // What a damaged record says proves nothing, except that it holds the hash of a secret which somebody knows.
    const { secretHash, userid } = match;
    if (secretHash && !timingSafeEqual(secretHash, record.secretHash)) {
      throw new StoreDamagedError(partOf(key));
    }
    return userid === undefined || this.#isIndexed(userid, key);
  }

  /** What a note may say of a damaged record: the index knows its user. */
  #certain(key: Buffer, { record }: Found, match: Match) {
    const userid = match.userid ?? record.userid;
    if (!this.#isIndexed(userid, key)) return undefined;
    return { handle: match.handle, userid, secretHash: match.secretHash ?? record.secretHash };
  }

  #isIndexed(userid: string, key: Buffer): boolean {
    return this.#fresh(() => this.#byUser.doesExist(userKey(userid, key)));
  }

  async list(userid: string, now: number, limit = Number.POSITIVE_INFINITY): Promise<SessionSummary[]> {
    const live: SessionSummary[] = [];
    const bytes = Buffer.from(userid);
    // What the index names must be there: a record that is hidden by a damaged key must not be missing without a word.
    const load = (key: Buffer) => {
      const summary = this.#records.summary(key, bytes);
      if (!summary) throw new StoreDamagedError(partOf(key));
      return summary;
    };
    for await (const summaries of this.#ofUser(userid, load)) {
      for (const summary of summaries) {
        if (this.#isLive(summary, now)) live.push(plainSummary(summary));
        if (live.length === limit) return live;
      }
    }
    return live;
  }

  walk(now: number, page: Page): Promise<WalkedSession[]> {
    const walked: Walked = {
      keys: (start, limit) => this.#fresh(() => this.#records.keys({ start, limit })),
      load: (key, prefix) => this.#loadWalked(key, prefix, now),
    };
    return page.useridPrefix === undefined ? pageByHandle(walked, page) : pageByUser(walked, page);
  }

  #loadWalked(key: Buffer, prefix: Buffer | undefined, now: number): WalkedSession | undefined {
    // Of the snapshot of this turn. A damaged record must not keep the operator from seeing the others.
    const head = this.#unlessDamaged(() => this.#records.head(key, prefix));
    return head && this.#isLive(head, now) ? { ...plainSummary(head), userid: head.userid } : undefined;
  }

  async removeOfUser(userid: string, now: number, except?: string): Promise<number> {
    let count = 0;
    for await (const all of this.#ofUser(userid, handleOf)) {
      const handles = all.filter((handle) => handle !== except);
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
      const found = this.#readEpoch();
      const { epoch, purged } = found?.value ?? firstEpoch;
      const next: EpochState = { epoch: epoch + 1, purged, at: this.clock.now() };
      if (await this.#writeMeta(epochKey, next, found?.revision)) break;
    }
    this.#epochs.forget();
    await pause(changePause);
  }

  epoch(): number {
    return (this.#epochs.current() as EpochState).epoch;
  }

  everyoneAt(): number {
    return (this.#epochs.current() as EpochState).at ?? 0;
  }

  notes(since?: NotePlace): NewNotes {
    return this.#fresh(() => this.#notes.since(since));
  }

  noteOf(handle: string, now: number): EndNote | undefined {
    return this.#fresh(() => this.#notes.of(handleBytes(handle), now));
  }

  peekEach(handles: readonly string[], now: number): ReadonlyMap<string, SessionHead | null> {
    const found = new Map<string, SessionHead | null>();
    this.#fresh(() => {
      for (const handle of handles) {
        const head = this.#unlessDamaged(() => this.#records.head(handleBytes(handle)), null);
        if (head === null || (head && this.#isLive(head, now))) found.set(handle, head);
      }
    });
    return found;
  }

  async countLive(now: number): Promise<LiveCount> {
    const count = this.count();
    if (count > mostCounted) return { count, exact: false };
    let live = 0;
    for (let start = zero; ; await nextTurn()) {
      const keys = this.#fresh(() => this.#records.keys({ start, limit: sliceSize }));
      for (const key of keys) {
        const summary = this.#unlessDamaged(() => this.#records.summary(key));
        if (summary && this.#isLive(summary, now)) live++;
      }
      if (keys.length < sliceSize) return { count: live, exact: true };
      start = Buffer.concat([keys.at(-1)!, zero]);
    }
  }

  async sweep(now: number, limit: number): Promise<Swept> {
    const { epoch, purged, at = now } = this.#epochs.current() as EpochState;
    if (purged < epoch) return { ...(await this.#purge(epoch, limit)), late: now - at };
    const old = this.#fresh(() => this.#notes.old(now, limit));
    if (old.length > 0) {
      await this.#commit('upkeep', () => Promise.all(old.map((key) => this.#notes.drop(key))));
      return { removed: 0, more: true, late: now - dueOf(old.at(-1)!) };
    }
    const due = this.#keys(this.#byExpiry, { end: expiryKey(now, highest), limit });
    if (due.length === 0) return { removed: 0, more: false };
    await this.#records.prefetch(due.map((dueKey) => dueKey.subarray(8)));
    const swept = await Promise.all(due.map((dueKey) => this.#sweepDue(dueKey, now)));
    const removed = swept.filter(Boolean).length;
    // A damaged key may hold no time.
    return { removed, more: due.length === limit, late: now - (timeIn(due.at(-1)!) || now) };
  }

  /** @returns whether a record was removed */
  async #sweepDue(dueKey: Buffer, now: number): Promise<boolean> {
    const key = dueKey.subarray(8);
    const found = key.length === 0 ? undefined : this.#loadAnyhow(key);
    if (!found) {
      // Only where a damaged key hides the record, or this key is damaged.
      await this.#fix({ index: 'byExpiry', entry: dueKey, put: false, key, revision: undefined });
      return false;
    }
    const { record, revision, isDamaged } = found;
    if (isDamaged || !this.#isLive(record, now)) return this.#drop({ key, found, dueKey });
    const indexed = indexedFor(endOf(record), extrasOf(record) !== undefined);
    await this.#commit('upkeep', () =>
      this.#records.ifStill(key, revision, () => {
        this.#records.put(key, { ...record, indexed }, this.#isSecond(record.epoch), revision);
        this.#byExpiry.remove(dueKey);
        this.#byExpiry.put(expiryKey(indexed, key), present);
      }),
    );
    return false;
  }

  /** Removes records of earlier epochs in one step of a walk over all. */
  async #purge(epoch: number, limit: number): Promise<Swept> {
    const start = this.#purged?.epoch === epoch ? this.#purged.to : zero;
    const keys = this.#fresh(() => this.#records.keys({ start, limit }));
    await Promise.all(
      keys.map(async (key) => {
        const found = this.#unlessDamaged(() => this.#load(key));
        if (found && found.record.epoch < epoch) await this.#drop({ key, found });
      }),
    );
    const isDone = keys.length < limit;
    this.#purged = { epoch, to: isDone ? zero : Buffer.concat([keys.at(-1)!, zero]) };
    if (isDone) {
      const { value, revision } = this.#readEpoch()!;
      const purged = Math.max(value!.purged, epoch);
      await this.#writeMeta(epochKey, { ...value, purged }, revision);
      this.#epochs.forget();
    }
    return { removed: 0, more: true };
  }

  isSweepDue(now: number): boolean {
    const { epoch, purged } = this.#epochs.current() as EpochState;
    if (purged < epoch || this.#fresh(() => this.#notes.old(now, 1)).length > 0) return true;
    return this.#keys(this.#byExpiry, { end: expiryKey(now, highest), limit: 1 }).length > 0;
  }

  async lease(duty: string, owner: string, now: number, until: number): Promise<number | undefined> {
    const found = this.#readMeta<{ owner: string; until: number }>(duty);
    if (found?.value && found.value.owner !== owner && found.value.until > now) return undefined;
    const isHeld = await this.#writeMeta(duty, { owner, until }, found?.revision);
    return isHeld ? (found?.revision ?? 0) + 1 : undefined;
  }

  async raise(): Promise<void> {
    this.#commits.check('upkeep');
    raiseFormat(this.#folder);
    this.#isRaised = true;
  }

  /** Whether a record of that epoch is of format 2. */
  #isSecond(epoch: number): boolean {
    return epoch > 0 || this.#isRaised;
  }

  async sealed(limit: number, after?: string): Promise<Sealed[]> {
    const sealed: Sealed[] = [];
    let start = after === undefined ? zero : Buffer.concat([handleBytes(after), zero]);
    // All of one snapshot: a page that is not full is the last one.
    this.#fresh(() => {
      for (;;) {
        const keys = this.#records.keys({ start, limit: limit - sealed.length });
        for (const key of keys) {
          const found = this.#unlessDamaged(() => this.#records.find(key));
          if (found) sealed.push(sealedOf(found.record));
        }
        if (keys.length === 0 || sealed.length === limit) return;
        start = Buffer.concat([keys.at(-1)!, zero]);
      }
    });
    return sealed;
  }

  async replaceSealed(before: SealedFields, after: SealedFields): Promise<boolean> {
    const key = handleBytes(before.handle);
    const found = this.#unlessDamaged(() => this.#load(key));
    if (!found) return false;
    const now: SealedFields = sealedOf(found.record);
    if (Object.entries(before).some(([name, text]) => now[name as keyof Sealed] !== text)) return false;
    const next = { ...found.record, ...after };
    const begin = () => this.#replace(key, found, next, extrasOf(next) !== undefined);
    return this.#commit('adding', begin, next.data.length);
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

  #readMeta<T extends object>(key: string): Fact<T> | undefined {
    return this.#fresh(() => this.#meta.read<T>(key));
  }

  /** Unlike a lease or a count, it cannot be made out again once it is damaged. */
  #readEpoch(): Fact<EpochState> | undefined {
    return this.#fresh(() => {
      const found = this.#meta.read<EpochState>(epochKey);
      if (found && !found.value) throw new StoreDamagedError(epochPart);
      return found;
    });
  }

  /** False, with nothing written, when it has another revision by now; undefined is that of what is not there. */
  #writeMeta(key: string, value: object, revision: number | undefined): Promise<boolean> {
    return this.#commit('upkeep', () => this.#meta.write(key, value, revision));
  }

  async check(): Promise<void> {
    if (this.#closed) throw new StoreError();
    this.#commits.check('adding', largeSession);
  }

  count(): number {
    return this.#fresh(() => this.#records.count);
  }

  get file(): StoreFile {
    return {
      oldestReader: () => this.#readers.oldest,
      size: () => this.#size(),
      scrub: (place, time) => this.#scrub(place, time),
      contestedPages: (rest) => contestedPages(this.#root, join(this.#folder, storeFile), rest),
      removeDamaged: (handle) => this.#removeDamaged(handleBytes(handle)),
    };
  }

  #size(): Pages {
    if (this.#closed) throw new StoreError();
    return pagesOf(this.#root, this.#databases());
  }

  #databases(): readonly { getStats(): object }[] {
    const { databases } = this.#records;
    return [this.#byUser, this.#byExpiry, ...databases, ...this.#notes.databases, ...this.#meta.databases];
  }

  async #scrub(place: ScrubPlace | undefined, time: number): Promise<Scrubbed> {
    this.epoch();
    const seen = this.#fresh(() => lookFrom(this.#scrubSource(), place, time));
    const { next, records, unchecked, fixes } = seen;
    for (const key of seen.damaged) this.#tell(partOf(key));
    const fixed = await Promise.all(fixes.map((fix) => this.#fix(fix)));
    const repaired = fixed.filter(Boolean).length;
    return { next, records, unchecked, damaged: seen.damaged.map(handleOf), repaired };
  }

  #scrubSource(): ScrubSource {
    const find = (key: Buffer) => this.#unlessDamaged(() => this.#records.find(key), null);
    return { records: this.#records, byUser: this.#byUser, byExpiry: this.#byExpiry, find };
  }

  /** {@link lookInOrder}, while nobody else needs the event loop. */
  lookInOrder() {
    this.epoch();
    return this.#fresh(() => lookInOrder(this.#scrubSource()));
  }

  #fix({ index, entry, put, key, revision }: Fix): Promise<boolean> {
    const db = index === 'byUser' ? this.#byUser : this.#byExpiry;
    const write = () => {
      if (put) db.put(entry, present);
      else db.remove(entry);
    };
    return this.#commit('upkeep', () => {
      if (revision !== undefined) return this.#records.ifStill(key, revision, write);
      return key.length === 0 ? db.remove(entry) : this.#records.ifNew(key, write);
    });
  }

  async #removeDamaged(key: Buffer): Promise<boolean> {
    const found = this.#loadAnyhow(key);
    return found?.isDamaged === true && this.#drop({ key, found });
  }

  /**
   * Writes a compact copy into a folder that must not exist yet, while work goes on.
   * @throws StoreFileError when its disk has too little space left
   */
  async backup(folder: string): Promise<void> {
    checkSpaceForCopy(this.#size(), folder);
    mkdirSync(folder, { mode: 0o700 });
    // The mark first: without it, a copy of a raised store would be taken for one of version 0.1.0.
    markStoreFolder(folder, this.isRaised());
    await copyRecords(this.#root, join(folder, storeFile));
  }

  /**
   * Of a copy that is to be used again: without its sessions, unless they are kept, and without what its processes had told
   * each other.
   */
  async beginGeneration(keepsSessions: boolean): Promise<void> {
    const isKept = (name: string) => name === epochKey || name === clockKey;
    await this.#commit('upkeep', () => this.#meta.keepOnly(isKept));
    await this.#notes.clear();
    if (keepsSessions) return;
    await Promise.all([this.#records.clear(), this.#byUser.clearAsync(), this.#byExpiry.clearAsync()]);
  }

  isRaised(): boolean {
    return isRaised(this.#folder);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.clock.close();
    this.#readers.close();
    this.#commits.close();
    // A failed LMDB waits forever for its last transaction. The end of the process frees what it holds.
    if (!this.#commits.hasFailed) await this.#root.close();
    await this.#claim?.release();
  }

  /** The record as of now, not as of the start of this turn. */
  #load(key: Buffer): Found | undefined {
    return this.#fresh(() => this.#records.find(key));
  }

  /** The same, or what can be made out of it where it is damaged. */
  #loadAnyhow(key: Buffer): MaybeDamaged | undefined {
    return this.#fresh(() => {
      const sound = this.#unlessDamaged(() => this.#records.find(key), null);
      if (sound !== null) return sound && { ...sound, isDamaged: false };
      return { ...this.#records.remains(key), isDamaged: true };
    });
  }

  /** The user's records as `load` reads them, one slice a turn, so that a user with very many delays nobody else. */
  async *#ofUser<T>(userid: string, load: (key: Buffer) => T): AsyncGenerator<T[]> {
    const prefix = userPrefix(userid);
    let start = prefix;
    const end = Buffer.concat([prefix, highest]);
    for (;;) {
      const range = { start, end, limit: sliceSize };
      const soon = this.#keys(this.#byUser, range);
      if (soon.length > fewKeys) await this.#records.prefetch(soon.map((key) => key.subarray(prefix.length)));
      const { keys, slice } = this.#fresh(() => {
        const keys = Array.from(this.#byUser.getKeys(range), (key) => Buffer.from(key));
        return { keys, slice: keys.map((key) => load(key.subarray(prefix.length))) };
      });
      yield slice;
      if (keys.length < sliceSize) return;
      start = Buffer.concat([keys.at(-1)!, zero]);
      await nextTurn();
    }
  }

  #keys(index: Database<Buffer, Buffer>, range: RangeOptions): Buffer[] {
    return this.#fresh(() => Array.from(index.getKeys(range), (key) => Buffer.from(key)));
  }

  #isLive(record: SessionSummary & Pick<StoredHead, 'epoch'>, now: number): boolean {
    return isLive(record, now) && this.#isCurrent(record);
  }

  #matches(record: StoredHead, match: Match): boolean {
    return matches(record, match) && this.#isCurrent(record);
  }

  /** Whether everybody was not ended since. */
  #isCurrent({ epoch }: Pick<StoredHead, 'epoch'>): boolean {
    if (epoch > this.epoch()) {
      this.#epochs.forget();
      if (epoch > this.epoch()) {
        this.#tell(epochPart);
        throw new StoreDamagedError(epochPart);
      }
    }
    return epoch === this.epoch();
  }

  /** Reads what is stored now: another process may have acknowledged a write since this one took its snapshot. */
  #fresh<T>(work: () => T): T {
    if (this.#closed) throw new StoreError();
    return this.#commits.reading(() => {
      this.#snapshot.renew();
      try {
        return work();
      } catch (error) {
        if (error instanceof StoreDamagedError) this.#tell(error.part!);
        throw error;
      }
    });
  }

  #unlessDamaged<T>(work: () => T): T | undefined;
  #unlessDamaged<T>(work: () => T, otherwise: null): T | null;
  #unlessDamaged<T>(work: () => T, otherwise?: null): T | null | undefined {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof StoreDamagedError)) throw error;
      this.#tell(error.part!);
      return otherwise;
    }
  }

  #tell(part: string): void {
    if (this.#damaged.has(part) || this.#damaged.size === mostTold) return;
    this.#damaged.add(part);
    this.#onDamaged?.(part);
  }

  /** Resolves to false, with nothing removed, where the record is no longer as it was found. */
  #drop({ key, found: { record, revision }, note, dueKey }: Removal): Promise<boolean> {
    return this.#commit(note ? 'removing' : 'upkeep', () =>
      this.#records.ifStill(key, revision, () => {
        this.#records.remove(key, record);
        this.#byUser.remove(userKey(note?.userid ?? record.userid, key));
        this.#byExpiry.remove(dueKey ?? expiryKey(record.indexed, key));
        if (note) this.#notes.put(key, note);
      }),
    );
  }

  /**
   * Resolves once what `begin` writes is on disk; to false, with nothing written, when its condition no longer holds.
   * A condition is the revision that an entry must still have.
   */
  #commit<T>(purpose: Purpose, begin: () => Promise<T>, size?: number): Promise<T> {
    if (this.#closed) throw new StoreError();
    return this.#commits.run(purpose, begin, size);
  }
}

const refusals = {
  isRefusal: (error: unknown): error is StoreError => error instanceof StoreError,
  unavailable: (cause?: unknown) => new StoreError(cause),
  full: (cause?: unknown) => new StoreFullError(cause),
  failed: (cause: unknown) => new StoreFailedError(cause),
};

/** A record of which nothing is certain where it is damaged. */
type MaybeDamaged = Found & { readonly isDamaged: boolean };

/** A record to remove, with all that is stored of it. */
interface Removal {
  readonly key: Buffer;
  readonly found: Found;
  /** To leave in its place. */
  readonly note?: EndNote | undefined;
  /** The key in the index by expiry, where it may be another than the record says. */
  readonly dueKey?: Buffer | undefined;
}

/** The epoch, and the last one whose earlier records were all removed. */
interface EpochState {
  readonly epoch: number;
  readonly purged: number;
  /** When the epoch was advanced last. */
  readonly at?: number;
}

/** Bytes: it is ready while it takes sessions of this size. */
const largeSession = 256 * 1024;
const firstEpoch: EpochState = { epoch: 0, purged: 0 };
/** Databases that every store has. Of one whose name is damaged, LMDB would create an empty one in its place. */
const basic: readonly unknown[] = ['records', 'by-user', 'by-expiry', 'meta'];
const epochKey = 'epoch';
const clockKey = 'clock';
/** For the log. */
const epochPart = 'the epoch';
/** Damaged parts that are reported one by one. */
const mostTold = 1000;
/** Records that are counted one by one. */
const mostCounted = 20_000;
/** Keys read in one turn of the event loop: well under a millisecond. */
const sliceSize = 100;
/** Keys whose records are read without a look ahead, which costs more than it saves where they are in memory. */
const fewKeys = 10;
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

function endOf(record: SessionRecord): number {
  return Math.min(record.expires, record.ends);
}
