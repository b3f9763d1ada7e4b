import { timingSafeEqual } from 'node:crypto';
import type { StoreClock } from '../../databases/clock.js';

export type { StoreClock };

/**
 * The store contract. A store keeps records and decides nothing: sessions.ts decides which session may be read or
 * written, and for how long. test/contracts/store.ts tests this contract; a new store runs all of it.
 *
 * - What is acknowledged is durable: a promise resolves only when a crash of the process or the machine can no longer
 *   undo the write.
 * - A record is live at `now` while `expires > now` and `ends > now`. A dead one is never returned, matched or counted,
 *   whether or not it has been removed.
 * - `write` and `remove` are one atomic step each, applied only to a live record that matches. They never upsert, so no
 *   write brings an ended session back.
 * - A session that `remove`, `removeEach` or `removeOfUser` ends leaves a note in the same step, for `noteLifetime`.
 * - A record of an earlier epoch than the store's is dead, too, from the moment that `endEveryone` resolves.
 * - A store that cannot do its work rejects (or throws) with a StoreError.
 */
export interface Store {
  /** The database, as `db.system.name` of traces names it. */
  readonly system: 'lmdb' | 'mongodb';

  /** The time by which its sessions expire. */
  readonly clock: StoreClock;

  /** Whether dead records stay until `sweep` removes them. False where the database removes them by itself. */
  readonly needsSweeping: boolean;

  /** Whether reading it costs a request to a server. Then one process of each host asks what is new, for all of them. */
  readonly isRemote: boolean;

  /** Stores a new record. False, with nothing written, when its handle is taken. */
  insert(record: SessionRecord): Promise<boolean>;

  /** The live record of that handle. Returns it without a promise where no waiting is needed. */
  read(handle: string, now: number): Awaitable<SessionRecord | undefined>;

  /** The live record of that handle without its data, which are not read. */
  peek(handle: string, now: number): Awaitable<SessionHead | undefined>;

  /** Changes the record that matches, and returns it as changed. */
  write(match: Match, change: Change): Promise<SessionRecord | undefined>;

  /**
   * Changes the record that matches as `write` does, with the data that `rewrite` returns for the current data. Reading and
   * writing are one atomic step: `rewrite` is called again when another writer was faster. Rejects with what it throws.
   */
  rewrite(
    match: Match,
    change: Omit<Change, 'data'>,
    rewrite: (data: string) => string,
  ): Promise<SessionRecord | undefined>;

  /** Removes the record that matches; false when none does. */
  remove(match: Match, reason: EndReason): Promise<boolean>;

  /** Removes each record that matches, all in one commit or statement. Returns how many there were. */
  removeEach(matches: readonly Match[], reason: EndReason): Promise<number>;

  /** The user's live sessions in any order; with a limit, at most that many of them. */
  list(userid: string, now: number, limit?: number): Promise<SessionSummary[]>;

  /** One page of all live sessions, in the order of `Position`; each is on one page only, however many begin and end. */
  walk(now: number, page: Page): Promise<readonly WalkedSession[]>;

  /** Removes the user's live sessions except one. Returns how many there were. */
  removeOfUser(userid: string, now: number, except?: string): Promise<number>;

  /**
   * Advances the epoch in one durable write, and resolves when no process takes a record of an earlier one for live. A
   * record has the epoch that its `insert` read.
   */
  endEveryone(): Promise<void>;

  /** How often `endEveryone` was called on this store; a moment old at most. */
  epoch(): Awaitable<number>;

  /** When `endEveryone` was called last, in milliseconds since 1970; 0 if it never was. */
  everyoneAt(): Awaitable<number>;

  /** The notes that were written since that place, at least once each and mostly in order. Without a place, all there are. */
  notes(since?: NotePlace): Awaitable<NewNotes>;

  /**
   * Where the database reports changes: calls `tell` for each record that is written or removed from the moment that it
   * resolves until the signal aborts, with whether that was an end by a note, and without a handle when everyone is ended.
   * Resolves to undefined where the database reports none.
   */
  changes?(tell: TellChange, signal: AbortSignal): Promise<Changes | undefined>;

  /** The note of the session of that handle, where it was ended within `noteLifetime` before `now`. */
  noteOf(handle: string, now: number): Awaitable<EndNote | undefined>;

  /** Those of the handles that are live, without their data; null for one that is damaged. */
  peekEach(handles: readonly string[], now: number): Awaitable<ReadonlyMap<string, SessionHead | null>>;

  /**
   * Removes dead records and old notes in one short step that reads at most `limit` of them. A record that only its absolute timeout
   * has ended may stay until its idle timeout is over, too. Each removal is conditional on what is there, in one step:
   * whoever was frozen within it, and has lost the lease, removes nothing that was used since.
   */
  sweep(now: number, limit: number): Promise<Swept>;

  /** Whether there is anything to remove. Cheap, and writes nothing. */
  isSweepDue(now: number): Awaitable<boolean>;

  /**
   * Acquires or extends the right to a duty, such as `sweeper`, until `until`. Resolves to its fence, which is greater than
   * that of every holder before; to undefined while another owner holds it.
   */
  lease(duty: string, owner: string, now: number, until: number): Promise<number | undefined>;

  /** From now on, keeps version 0.1.0 from using the store, because it would not honour something in it. */
  raise(): Promise<void>;
  isRaised(): Awaitable<boolean>;

  /** What is sealed of some records, live or not, in the order of handles. */
  sealed(limit: number, after?: string): Promise<readonly Sealed[]>;

  /**
   * Replaces some sealed fields of a record, and nothing else of it; false where they are not as they were `before`. No text
   * is sealed to the same twice, so these fields are as good as a version: no later write is undone. The store must be raised.
   */
  replaceSealed(before: SealedFields, after: SealedFields): Promise<boolean>;

  /** Something that holds for the whole store, as JSON. */
  fact<T extends object>(name: string): Awaitable<T | undefined>;

  /** Changes it in one atomic step: `change` is called again when another process was faster. */
  changeFact<T extends object>(name: string, change: (before: T | undefined) => T): Promise<void>;

  /** Resolves when the store can work, and rejects with a StoreError while it cannot. */
  check(): Promise<void>;

  /** How many records are live: `exact`, or about that many. */
  countLive(now: number): Promise<LiveCount>;

  /** About how many records there are, dead ones that are not removed yet included. */
  count(): Awaitable<number>;

  /** Of a store in a file of its own. */
  readonly file?: StoreFile | undefined;

  /** Lets ongoing work finish, then frees everything. May be called twice. */
  close(): Promise<void>;
}

/** What only a store in a file of its own can do. */
export interface StoreFile {
  /** For how many seconds the oldest reader, of any process, has been reading: meanwhile, the file grows. */
  oldestReader(): number;

  /** Bytes of the file, and how many of them are free to be used again. */
  size(): { readonly bytes: number; readonly free: number };

  /**
   * Looks for damage from that place on, from the beginning without one, for about that many milliseconds. What the indexes
   * have too much or too little is put right.
   */
  scrub(place: ScrubPlace | undefined, time: number): Promise<Scrubbed>;

  /**
   * How many pages of the file its list of free pages offers though they are in use, or offers twice: the next writes would
   * overwrite what is stored there. It reads for as long as it takes, see `oldestReader`.
   *
   * @param rest awaited after about every millisecond of work: who calls paces it there, and ends it by `false`
   * @returns undefined where it was ended
   */
  contestedPages(rest: () => Promise<boolean>): Promise<number | undefined>;

  /** Removes a record if it is damaged, whatever it says. */
  removeDamaged(handle: string): Promise<boolean>;
}

/** How far a scrub has come: records and their index entries first, then what is in the indexes. */
export interface ScrubPlace {
  readonly part: 'records' | 'byUser' | 'byExpiry';
  /** The last key, in base64. */
  readonly after?: string;
}

export interface Scrubbed {
  /** Where to continue; undefined at the end. */
  readonly next: ScrubPlace | undefined;
  readonly records: number;
  /** Of these, how many have no checksum, because version 0.1.0 wrote them. */
  readonly unchecked: number;
  /** The handles of damaged records. */
  readonly damaged: readonly string[];
  /** Index entries that were missing or surplus. */
  readonly repaired: number;
}

export type Awaitable<T> = T | Promise<T>;

/** Continues at once if there is nothing to await. */
export function whenSettled<T, R>(result: Awaitable<T>, then: (settled: T) => Awaitable<R>): Awaitable<R> {
  return result instanceof Promise ? result.then(then) : then(result);
}

/** Times are whole milliseconds since the Unix epoch. */
export interface SessionSummary extends SessionExtras {
  /** Names the record: 12 bytes as 16 characters of base64url. */
  readonly handle: string;
  readonly created: number;
  /** When it was last updated, patched, touched or renewed. */
  readonly touched: number;
  /** When its idle timeout is over. */
  readonly expires: number;
  /** When its absolute timeout is over, even if it is in use; `NEVER` if there is none. */
  readonly ends: number;
}

/**
 * Fields that version 0.1.0 of sessman does not know. It must be able to read and write the other fields without these.
 * Most records have none of them.
 */
export interface SessionExtras {
  /** When the user authenticated, where that was not when the session was created. */
  readonly authenticated?: number | undefined;
  /** False where its cookie ends with the browser; absent and true are the same. */
  readonly remember?: boolean | undefined;
  /** The application's description of the device: a JSON object as text; `null` if it cannot be decrypted. */
  readonly about?: string | undefined;
  /** The visitor's address; null where it cannot be decrypted. */
  readonly ip?: string | null | undefined;
  /** The visitor's browser, by its User-Agent; null likewise. */
  readonly userAgent?: string | null | undefined;
}

/** A record without its data. */
export interface SessionHead extends SessionSummary {
  /** SHA-256 of the id's secret part, 32 bytes. */
  readonly secretHash: Buffer;
  /** Any well-formed Unicode, NUL included. */
  readonly userid: string;
  /** 1, and one more with every change of `data`. */
  readonly version: number;
}

export interface SessionRecord extends SessionHead {
  /** A JSON object as text. */
  readonly data: string;
}

/** The live record of that handle at `now`, if it has every value that is given here. */
export interface Match {
  readonly handle: string;
  readonly now: number;
  readonly secretHash?: Buffer | undefined;
  readonly userid?: string | undefined;
  readonly version?: number | undefined;
  readonly touched?: number | undefined;
}

/** What is absent or undefined stays as it is. */
export interface Change extends SessionExtras {
  readonly touched: number;
  readonly expires: number;
  readonly ends?: number | undefined;
  /** New data; adds one to the version. */
  readonly data?: string | undefined;
  readonly secretHash?: Buffer | undefined;
}

/** A place in the walk over all sessions: by the handle's bytes, or of users with a prefix by those of (userid, handle). */
export interface Position {
  readonly handle: string;
  readonly userid?: string | undefined;
}

export interface Page {
  readonly limit: number;
  /** Only sessions behind this place. */
  readonly after?: Position | undefined;
  /** Only users whose userid begins so. */
  readonly useridPrefix?: string | undefined;
}

export interface WalkedSession extends SessionSummary {
  readonly userid: string;
}

/** The fields of a record that may be encrypted, as they are stored. */
export interface Sealed {
  readonly handle: string;
  readonly data: string;
  readonly about?: string | undefined;
  readonly ip?: string | undefined;
  readonly userAgent?: string | undefined;
}

/** Some of these fields. */
export type SealedFields = Pick<Sealed, 'handle'> & Partial<Sealed>;

/** Why a session was ended: by `end`, by `end_all`, over the limit of its user's sessions, or replaced by a login. */
export type EndReason = 'end' | 'end_all' | 'limit' | 'login';

/** What remains of an ended session. */
export interface EndNote {
  readonly handle: string;
  readonly userid: string;
  readonly reason: EndReason;
  /** When it was ended. */
  readonly at: number;
  readonly secretHash: Buffer;
}

/** How far notes have been read. Its content is private to the store; that of a remote store can be sent as JSON. */
export type NotePlace = object & { readonly [place]?: never };
declare const place: unique symbol;

export type TellChange = (handle: string | undefined, isEnd: boolean) => void;

export interface Changes {
  /** Rejects when changes are no longer reported. */
  readonly broken: Promise<never>;
}

export interface NewNotes {
  readonly notes: readonly EndNote[];
  readonly place: NotePlace;
  /** Whether there were too many to read at once. */
  readonly more: boolean;
}

/** Milliseconds that a note is kept, at least. */
export const noteLifetime = 600_000;

export interface LiveCount {
  readonly count: number;
  readonly exact: boolean;
}

export interface Swept {
  /** Expired records. */
  readonly removed: number;
  /** Whether there may be more to remove now. */
  readonly more: boolean;
  /** For how long the last thing that was removed, or looked at, should have been gone, in milliseconds; 0 where absent. */
  readonly late?: number;
}

/** The end of the year 9999: not every database can store a later date. */
export const NEVER = 253_402_300_799_999;

const extraNames = ['authenticated', 'remember', 'about', 'ip', 'userAgent'] as const;

/** The extras that `from` has; undefined where it has none. */
export function extrasOf(from: SessionExtras): SessionExtras | undefined {
  let extras: Record<string, unknown> | undefined;
  for (const name of extraNames) {
    if (from[name] === undefined) continue;
    extras ??= {};
    extras[name] = from[name];
  }
  return extras;
}

/** Whether a record is live: see the contract above. */
export function isLive(record: SessionSummary, now: number): boolean {
  return record.expires > now && record.ends > now;
}

/** Whether a record is live and has every value that is asked for. */
export function matches(record: SessionHead, match: Match): boolean {
  return (
    isLive(record, match.now) &&
    (match.secretHash === undefined || timingSafeEqual(record.secretHash, match.secretHash)) &&
    (match.userid === undefined || record.userid === match.userid) &&
    (match.version === undefined || record.version === match.version) &&
    (match.touched === undefined || record.touched === match.touched)
  );
}
