import { timingSafeEqual } from 'node:crypto';
import { TaskQueues } from './client/task-queues.js';
import {
  DataTooLarge,
  InvalidSessionId,
  InvalidUserid,
  SessionExists,
  SessionNotFound,
  VersionMismatch,
} from './errors.js';
import { applyMergePatch, type JsonObject } from './merge-patch.js';
import { isHandle, makeSessionId, parseSessionId, renewSessionId, type SessionId } from './session-id.js';
import { type Awaitable, type Change, type Match, NEVER, type SessionRecord, type Store } from './store.js';

export interface SessionLimits {
  /** Seconds from the last update, patch, touch or renew to the end. */
  readonly idleTimeout: number;
  /** Seconds from the making to the end in any case; 0 for no such end. */
  readonly absoluteTimeout: number;
  /** Bytes of one session's data as JSON text. */
  readonly maxData: number;
  /** Live sessions of one user; 0 for no limit. */
  readonly maxPerUser: number;
}

/** A session as its owner may see it. Times are milliseconds since the Unix epoch. */
export interface Session {
  readonly id: string;
  readonly userid: string;
  /** JSON text of an object. */
  readonly data: string;
  readonly version: number;
  readonly created: number;
  readonly touched: number;
  /** When it ends: the earlier of its idle and its absolute end. */
  readonly expires: number;
}

/** A session as lists show it: nothing that lets one read or change it, and no data. */
export interface SessionEntry {
  readonly handle: string;
  readonly created: number;
  readonly touched: number;
  readonly expires: number;
}

/** What a call asks of the session besides its id. */
export interface Expected {
  readonly userid?: string;
  readonly version?: number;
}

export type EndReason = 'end' | 'end_all' | 'limit';

/** Told of what happened, for metrics. */
export interface SessionObserver {
  made(): void;
  ended(reason: EndReason, count: number): void;
}

/**
 * Every rule of sessions, on any store: who may see one, when it ends, how versions guard changes.
 * Calls throw the errors of errors.ts, and StoreError when the store cannot work.
 */
export class Sessions {
  readonly #store: Store;
  readonly #limits: SessionLimits;
  readonly #now: () => number;
  readonly #observer: SessionObserver | undefined;
  readonly #patching = new TaskQueues();

  constructor(
    store: Store,
    limits: SessionLimits,
    options: { now?: () => number; observer?: SessionObserver } = {},
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#now = options.now ?? Date.now;
    this.#observer = options.observer;
  }

  /** @param chosenId the new session's id, of a caller that makes ids of its own */
  async create(userid: string, data: JsonObject = {}, chosenId?: string): Promise<Session> {
    checkUserid(userid);
    const text = this.#encode(data);
    const chosen = chosenId === undefined ? undefined : checkChosenId(chosenId);
    for (;;) {
      const now = this.#now();
      const id = chosen ?? makeSessionId();
      const record: SessionRecord = {
        handle: id.handle,
        secretHash: id.secretHash,
        userid,
        data: text,
        version: 1,
        created: now,
        touched: now,
        expires: this.#idleEnd(now),
        ends: this.#limits.absoluteTimeout === 0 ? NEVER : now + this.#limits.absoluteTimeout * 1000,
      };
      if (!(await this.#store.insert(record))) {
        if (chosen) throw new SessionExists();
        // A taken handle is a chance of one in 2^96 for each session there is.
        continue;
      }
      this.#observer?.made();
      if (this.#limits.maxPerUser > 0) await this.#endSurplus(userid);
      return view(id.id, record);
    }
  }

  /** Reads a session and changes nothing, its end included. Answers at once when the store does. */
  get(sessionId: string, userid?: string): Awaitable<Session> {
    if (userid !== undefined) checkUserid(userid);
    const id = parse(sessionId);
    const record = this.#store.read(id.handle, this.#now());
    const judge = (found: SessionRecord | undefined) => view(id.id, owned(found, id, userid));
    return record instanceof Promise ? record.then(judge) : judge(record);
  }

  /** Replaces the data. Without a version the last writer wins; with one, only that version is replaced. */
  async update(sessionId: string, data: JsonObject, expected: Expected = {}): Promise<Session> {
    const id = parse(sessionId);
    const text = this.#encode(data);
    const written = await this.#write(id, expected, { data: text });
    return view(id.id, written ?? (await this.#refuse(id, expected)));
  }

  /** Applies a JSON merge patch (RFC 7396): of patches made at the same time, none undoes another. */
  async patch(sessionId: string, patch: JsonObject, expected: Expected = {}): Promise<Session> {
    const id = parse(sessionId);
    const apply = (data: string) => this.#encode(applyMergePatch(JSON.parse(data) as JsonObject, patch));
    // One after the other within this process: those of one session would only be in each other's way.
    return this.#patching.run(id.handle, async () => {
      const written = await this.#store.rewrite(this.#match(id, expected), this.#used(), apply);
      return view(id.id, written ?? (await this.#refuse(id, expected)));
    });
  }

  /** Starts the idle time again. */
  async touch(sessionId: string, expected: Pick<Expected, 'userid'> = {}): Promise<Session> {
    const id = parse(sessionId);
    return view(id.id, (await this.#write(id, expected, {})) ?? notFound());
  }

  /** Gives the session a new id, which ends the old one. Handle, data and version stay. */
  async renew(sessionId: string, expected: Pick<Expected, 'userid'> = {}): Promise<Session> {
    const id = parse(sessionId);
    const next = renewSessionId(id.handle);
    return view(next.id, (await this.#write(id, expected, { secretHash: next.secretHash })) ?? notFound());
  }

  async end(sessionId: string, expected: Pick<Expected, 'userid'> = {}): Promise<void> {
    const { handle, secretHash } = parse(sessionId);
    await this.#end({ handle, secretHash, userid: expected.userid });
  }

  /** Ends a session by the handle that `list` shows. */
  async endByHandle(userid: string, handle: string): Promise<void> {
    checkUserid(userid);
    if (!isHandle(handle)) throw new SessionNotFound();
    await this.#end({ handle, userid });
  }

  /** The user's sessions, the newest first. */
  async list(userid: string): Promise<SessionEntry[]> {
    checkUserid(userid);
    const summaries = await this.#store.list(userid, this.#now());
    return summaries
      .sort((a, b) => b.created - a.created || compare(a.handle, b.handle))
      .map(({ handle, created, touched, expires, ends }) => ({
        handle,
        created,
        touched,
        expires: Math.min(expires, ends),
      }));
  }

  /** Ends the user's sessions, but for the one with the id `except`, which must be one of them. How many those were. */
  async endAll(userid: string, except?: string): Promise<number> {
    checkUserid(userid);
    let kept: string | undefined;
    if (except !== undefined) {
      const id = parse(except);
      owned(await this.#store.read(id.handle, this.#now()), id, userid);
      kept = id.handle;
    }
    const count = await this.#store.removeOfUser(userid, this.#now(), kept);
    if (count > 0) this.#observer?.ended('end_all', count);
    return count;
  }

  #write(id: SessionId, expected: Expected, change: { data?: string; secretHash?: Buffer }) {
    return this.#store.write(this.#match(id, expected), this.#used(change));
  }

  #match({ handle, secretHash }: SessionId, { userid, version }: Expected): Match {
    if (userid !== undefined) checkUserid(userid);
    return { handle, secretHash, now: this.#now(), userid, version };
  }

  /** The change with which the idle time begins anew. */
  #used({ data, secretHash }: { data?: string; secretHash?: Buffer } = {}): Change {
    const now = this.#now();
    return { touched: now, expires: this.#idleEnd(now), data, secretHash };
  }

  /** Says why a write matched nothing. */
  async #refuse(id: SessionId, expected: Expected): Promise<never> {
    if (expected.version === undefined) return notFound();
    const current = owned(await this.#store.read(id.handle, this.#now()), id, expected.userid);
    throw new VersionMismatch(current.version);
  }

  async #end(match: { handle: string; secretHash?: Buffer; userid?: string }): Promise<void> {
    if (match.userid !== undefined) checkUserid(match.userid);
    if (!(await this.#store.remove({ ...match, now: this.#now() }))) throw new SessionNotFound();
    this.#observer?.ended('end', 1);
  }

  /**
   * Ends the sessions used longest ago, until the user has no more than the limit. Each goes only if it was not used
   * since it was chosen. All makers choose in the same order, so that two at once never end more than the surplus,
   * and the last of them to look sees all the others' sessions.
   */
  async #endSurplus(userid: string): Promise<void> {
    for (;;) {
      const now = this.#now();
      const live = await this.#store.list(userid, now);
      const surplus = live.length - this.#limits.maxPerUser;
      if (surplus <= 0) return;
      live.sort((a, b) => a.touched - b.touched || a.created - b.created || compare(a.handle, b.handle));
      for (const { handle, touched } of live.slice(0, surplus)) {
        if (await this.#store.remove({ handle, userid, touched, now: this.#now() })) {
          this.#observer?.ended('limit', 1);
        }
      }
    }
  }

  #idleEnd(now: number): number {
    return now + this.#limits.idleTimeout * 1000;
  }

  #encode(data: JsonObject): string {
    const text = JSON.stringify(data);
    const size = Buffer.byteLength(text);
    if (size > this.#limits.maxData) throw new DataTooLarge(size, this.#limits.maxData);
    return text;
  }
}

/** Bytes of UTF-8 a userid may have. */
const maxUserid = 1024;

function parse(sessionId: string): SessionId {
  const id = parseSessionId(sessionId);
  return id ?? notFound();
}

function checkChosenId(sessionId: string): SessionId {
  const id = parseSessionId(sessionId);
  if (!id) throw new InvalidSessionId();
  return id;
}

function notFound(): never {
  throw new SessionNotFound();
}

/** The record, if that id and user are its own. */
function owned(record: SessionRecord | undefined, id: SessionId, userid: string | undefined): SessionRecord {
  if (
    record === undefined ||
    !timingSafeEqual(record.secretHash, id.secretHash) ||
    (userid !== undefined && record.userid !== userid)
  ) {
    throw new SessionNotFound();
  }
  return record;
}

function checkUserid(userid: string): void {
  if (userid === '')
    throw new InvalidUserid('userid is empty; it names the user that the session belongs to.');
  // Half a surrogate pair has no UTF-8 of its own, and bytes that are no UTF-8 were read as U+FFFD: two different userids
  // would become the same user.
  if (/[\p{Surrogate}\ufffd]/u.test(userid)) throw new InvalidUserid('userid is not well-formed Unicode.');
  if (Buffer.byteLength(userid) > maxUserid) {
    throw new InvalidUserid(`userid is longer than ${maxUserid} bytes of UTF-8.`);
  }
}

function view(id: string, record: SessionRecord): Session {
  const { userid, data, version, created, touched, expires, ends } = record;
  return { id, userid, data, version, created, touched, expires: Math.min(expires, ends) };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
