import { timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import type { SessionEntry, SessionPage, SessionWalk } from 'plugin-server';
import { TaskQueues } from './client/task-queues.js';
import { sessmanError } from './errors.js';
import { applyMergePatch, type JsonObject } from './merge-patch.js';
import {
  handleLength,
  isHandle,
  makeSessionId,
  parseSessionId,
  renewSessionId,
  type SessionId,
} from './session-id.js';
import {
  type Awaitable,
  type Change,
  type EndNote,
  type EndReason,
  type LiveCount,
  type Match,
  NEVER,
  type Position,
  type SessionExtras,
  type SessionHead,
  type SessionRecord,
  type SessionSummary,
  type Store,
  whenSettled,
} from './store.js';

export interface SessionLimits {
  /** Seconds after the last update, patch, touch or renew. */
  readonly idleTimeout: number;
  /** Seconds after creation, however busy the session is; 0 for no such limit. */
  readonly absoluteTimeout: number;
  /** Bytes of one session's data as JSON text. */
  readonly maxData: number;
  /** Live sessions of one user; 0 for no limit. */
  readonly maxPerUser: number;
  /** What is recorded of a visitor; nothing by default. */
  readonly record?: readonly Recorded[];
}

export type Recorded = 'ip' | 'user_agent';

/** Properties that are set when a session is created or renewed. What is omitted at a renewal stays as it is. */
export interface SessionTraits {
  /** Whether its cookie outlives the browser; true by default. */
  readonly remember?: boolean | undefined;
  /** The application's description of the device, for lists: an object of up to 1,024 bytes of JSON. */
  readonly about?: JsonObject | undefined;
  /** The visitor's address and User-Agent, kept where `record` says so. */
  readonly ip?: string | undefined;
  readonly user_agent?: string | undefined;
}

/** How a session is renewed. */
export interface Renewal extends SessionTraits {
  readonly userid?: string | undefined;
  /** The user has just authenticated again: both timeouts begin again (NIST SP 800-63B-4, section 5.2). */
  readonly authenticated?: boolean | undefined;
}

/** A session as its owner may see it, its data as they are stored. Times are milliseconds since the Unix epoch. */
export interface StoredSession extends SessionState {
  readonly id: string;
  /** JSON text of an object. */
  readonly data: string;
}

/** A session as it was read: one that was named by its handle has no id, which the store does not know. */
export interface ReadSession extends Omit<StoredSession, 'id'> {
  readonly id?: string | undefined;
}

/** A session without its id and its data. */
export interface SessionState {
  readonly handle: string;
  readonly userid: string;
  readonly version: number;
  readonly created: number;
  readonly touched: number;
  /** When it expires: the earlier of its idle and its absolute end. */
  readonly expires: number;
  /** Its absolute end; `NEVER` of store.ts where it has none. */
  readonly ends: number;
  /** When the user authenticated last. */
  readonly authenticated: number;
  readonly remember: boolean;
}

/** What a call requires of the session besides its id. */
export interface Expected {
  readonly userid?: string | undefined;
  /** The version that the session must have, or those of which it must have one. */
  readonly version?: number | readonly number[] | undefined;
}

/** Receives events, for metrics and the log. */
export interface SessionObserver {
  made(): void;
  ended(reason: EndReason | 'everyone', count: number): void;
  /** Sessions over the limit of a user could not be ended; the user's next login tries again. */
  surplusRemains(error: unknown): void;
}

/**
 * Every rule of sessions, on any store: who may see one, when it expires, how versions guard changes.
 * Calls throw the errors of errors.ts.
 */
export class Sessions {
  readonly #store: Store;
  readonly #limits: SessionLimits;
  readonly #now: () => number;
  readonly #observer: SessionObserver | undefined;
  readonly #patching = new TaskQueues();
  /** Users whose sessions over the limit are being ended in the background. */
  readonly #trimming = new Set<string>();

  constructor(
    store: Store,
    limits: SessionLimits,
    options: { now?: () => number; observer?: SessionObserver } = {},
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#now = options.now ?? (() => store.clock.now());
    this.#observer = options.observer;
  }

  /** The time by which sessions expire, in milliseconds since the Unix epoch. */
  now(): number {
    return this.#now();
  }

  /** @param chosenId the new session's id, from a caller that makes its own ids */
  async create(
    userid: string,
    data: JsonObject = {},
    chosenId?: string,
    traits: SessionTraits = {},
  ): Promise<StoredSession> {
    checkUserid(userid);
    const text = this.#encode(data);
    const extras = this.#extras(traits);
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
        ends: this.#absoluteEnd(now),
        ...extras,
      };
      if (!(await this.#store.insert(record))) {
        if (chosen) throw sessmanError('session_exists');
        // A random handle is taken with a chance of one in 2^96 for each session.
        continue;
      }
      this.#observer?.made();
      if (this.#limits.maxPerUser > 0) await this.#endSurplus(userid);
      return view(id.id, record);
    }
  }

  /** Reads a session and changes nothing, not even its expiry. Returns at once when the store does. */
  get(sessionId: string, userid?: string): Awaitable<StoredSession> {
    if (userid !== undefined) checkUserid(userid);
    const id = parse(sessionId);
    const record = this.#store.read(id.handle, this.#now());
    const judge = (found: SessionRecord | undefined) => view(id.id, owned(found, id, userid));
    return record instanceof Promise ? record.then(judge) : judge(record);
  }

  /** Reads a session by the handle that `list` shows, for callers that may read every session. */
  getByHandle(userid: string, handle: string): Awaitable<ReadSession> {
    checkUserid(userid);
    if (!isHandle(handle)) return notFound();
    return whenSettled(this.#store.read(handle, this.#now()), (record) =>
      record?.userid === userid ? view(undefined, record) : notFound(),
    );
  }

  /** The session of that id, without its data, which are not read. Returns at once when the store does. */
  peek(sessionId: string, userid?: string): Awaitable<SessionState> {
    if (userid !== undefined) checkUserid(userid);
    const id = parse(sessionId);
    const head = this.#store.peek(id.handle, this.#now());
    const judge = (found: SessionHead | undefined) => stateOf(owned(found, id, userid));
    return head instanceof Promise ? head.then(judge) : judge(head);
  }

  /** The note of the session of that id, where it was ended in the last ten minutes. */
  async noteOf(sessionId: string): Promise<EndNote | undefined> {
    const id = parseSessionId(sessionId);
    const note = id && (await this.#store.noteOf(id.handle, this.#now()));
    return note && timingSafeEqual(note.secretHash, id.secretHash) ? note : undefined;
  }

  /** Whether the id is that of a live session of the user. */
  async has(sessionId: string, userid: string): Promise<boolean> {
    const id = parseSessionId(sessionId);
    const head = id && (await this.#store.peek(id.handle, this.#now()));
    return head !== undefined && isOwned(head, id!, userid);
  }

  /** Replaces the data. Without a version the last writer wins; with one, only that version is replaced. */
  async update(sessionId: string, data: JsonObject, expected: Expected = {}): Promise<StoredSession> {
    const id = parse(sessionId);
    const text = this.#encode(data);
    const change = (match: Match) => this.#store.write(match, this.#used({ data: text }));
    return view(id.id, await this.#changeVersion(id, expected, change));
  }

  /** Applies a JSON merge patch (RFC 7396). Concurrent patches do not undo each other. */
  async patch(sessionId: string, patch: JsonObject, expected: Expected = {}): Promise<StoredSession> {
    const id = parse(sessionId);
    const apply = (data: string) => this.#encode(applyMergePatch(JSON.parse(data) as JsonObject, patch));
    // One after the other within this process: patches of one session would only race each other.
    return this.#patching.run(id.handle, async () => {
      const change = (match: Match) => this.#store.rewrite(match, this.#used(), apply);
      return view(id.id, await this.#changeVersion(id, expected, change));
    });
  }

  /** Restarts the idle timeout. */
  async touch(sessionId: string, expected: Pick<Expected, 'userid'> = {}): Promise<StoredSession> {
    const id = parse(sessionId);
    return view(id.id, (await this.#write(id, expected, {})) ?? notFound());
  }

  /** Gives the session a new id; the old one is invalid from then on. Handle, data and version stay. */
  async renew(sessionId: string, { userid, authenticated, ...traits }: Renewal = {}): Promise<StoredSession> {
    const id = parse(sessionId);
    const next = renewSessionId(id.handle);
    const now = this.#now();
    const change = {
      ...this.#extras(traits),
      secretHash: next.secretHash,
      ...(authenticated && { authenticated: now, ends: this.#absoluteEnd(now) }),
    };
    return view(next.id, (await this.#write(id, { userid }, change, now)) ?? notFound());
  }

  async end(
    sessionId: string,
    expected: Pick<Expected, 'userid'> = {},
    reason: EndReason = 'end',
  ): Promise<void> {
    const { handle, secretHash } = parse(sessionId);
    await this.#end({ handle, secretHash, userid: expected.userid }, reason);
  }

  /** Ends a session by the handle that `list` shows. */
  async endByHandle(userid: string, handle: string): Promise<void> {
    checkUserid(userid);
    if (!isHandle(handle)) throw sessmanError('session_not_found');
    await this.#end({ handle, userid }, 'end');
  }

  /**
   * The user's sessions, newest first.
   * @param asking the id of the session that asks, if one does
   */
  async list(userid: string, asking?: string): Promise<SessionEntry[]> {
    checkUserid(userid);
    const summaries = await this.#store.list(userid, this.#now());
    const current = asking === undefined ? undefined : parseSessionId(asking)?.handle;
    return summaries
      .sort((a, b) => b.created - a.created || compare(a.handle, b.handle))
      .map((summary) => entryOf(summary, summary.handle === current));
  }

  /** One page of all live sessions: by handle, or of users whose userid begins with a prefix, by userid and handle. */
  async all({ limit = 100, after, userid_prefix }: SessionWalk = {}): Promise<SessionPage> {
    if (userid_prefix !== undefined) checkUserid(userid_prefix);
    const place = after === undefined ? undefined : readPlace(after, userid_prefix !== undefined);
    // One more shows whether there is another page.
    const page = { limit: limit + 1, after: place, useridPrefix: userid_prefix };
    const found = await this.#store.walk(this.#now(), page);
    const shown = found.slice(0, limit);
    const last = shown.at(-1);
    return {
      sessions: shown.map((session) => ({ userid: session.userid, ...entryOf(session) })),
      next: found.length > limit ? placeText(last!, userid_prefix !== undefined) : null,
    };
  }

  /**
   * Ends the user's sessions except one, which must be one of them. Returns how many ended.
   * @param except its id, its handle, or `current` for the session that asks
   * @param asking the id of the session that asks, if one does
   */
  async endAll(userid: string, except?: string, asking?: string): Promise<number> {
    checkUserid(userid);
    const kept = except === undefined ? undefined : await this.#handleOf(userid, except, asking);
    const count = await this.#store.removeOfUser(userid, this.#now(), kept);
    if (count > 0) this.#observer?.ended('end_all', count);
    return count;
  }

  /**
   * Ends all sessions of all users: from the moment that it resolves, no host takes one for live. Returns how many were
   * live, and whether that is exact.
   */
  async endEveryone(): Promise<LiveCount> {
    const live = await this.#store.countLive(this.#now());
    await this.#store.endEveryone();
    if (live.count > 0) this.#observer?.ended('everyone', live.count);
    return live;
  }

  async #handleOf(userid: string, named: string, asking: string | undefined): Promise<string> {
    if (isHandle(named)) {
      const head = await this.#store.peek(named, this.#now());
      return head?.userid === userid ? named : notFound();
    }
    const id = parse(named === 'current' ? (asking ?? notFound()) : named);
    return owned(await this.#store.peek(id.handle, this.#now()), id, userid).handle;
  }

  #write(id: SessionId, { userid }: Pick<Expected, 'userid'>, change: Partial<Change>, now?: number) {
    return this.#store.write(this.#match(id, userid), this.#used(change, now));
  }

  #match({ handle, secretHash }: SessionId, userid: string | undefined, version?: number): Match {
    if (userid !== undefined) checkUserid(userid);
    return { handle, secretHash, now: this.#now(), userid, version };
  }

  /** Makes a change if the session has the expected version, and throws the reason why it was not made. */
  async #changeVersion(
    id: SessionId,
    { userid, version }: Expected,
    change: (match: Match) => Promise<SessionRecord | undefined>,
  ): Promise<SessionRecord> {
    if (typeof version === 'object') return this.#changeOneOf(id, userid, version, change);
    const written = await change(this.#match(id, userid, version));
    if (written !== undefined) return written;
    if (version === undefined) return notFound();
    throw versionMismatch((await this.#readOwned(id, userid)).version);
  }

  /** Versions only grow, so that this ends once the session's has passed those expected. */
  async #changeOneOf(
    id: SessionId,
    userid: string | undefined,
    versions: readonly number[],
    change: (match: Match) => Promise<SessionRecord | undefined>,
  ): Promise<SessionRecord> {
    if (userid !== undefined) checkUserid(userid);
    for (;;) {
      const current = (await this.#readOwned(id, userid)).version;
      if (!versions.includes(current)) throw versionMismatch(current);
      const written = await change(this.#match(id, userid, current));
      if (written !== undefined) return written;
    }
  }

  async #readOwned(id: SessionId, userid: string | undefined): Promise<SessionRecord> {
    return owned(await this.#store.read(id.handle, this.#now()), id, userid);
  }

  /** The change that restarts the idle timeout. */
  #used(change?: Partial<Change>, now = this.#now()): Change {
    return { touched: now, expires: this.#idleEnd(now), ...change };
  }

  async #end(match: Omit<Match, 'now'>, reason: EndReason): Promise<void> {
    if (match.userid !== undefined) checkUserid(match.userid);
    if (!(await this.#store.remove({ ...match, now: this.#now() }, reason))) return notFound();
    this.#observer?.ended(reason, 1);
  }

  /**
   * Ends the sessions used longest ago until the user has no more than the limit. Each ends only if it was not used since
   * it was chosen. All logins choose in the same order, so that concurrent ones never end more than the surplus, and the
   * last of them to look sees all the others' sessions.
   *
   * A login does this in one step of the store. Where the user is far over the limit, as after the limit was lowered, all
   * of it happens afterwards, so that nobody waits for it.
   */
  async #endSurplus(userid: string): Promise<void> {
    const { maxPerUser } = this.#limits;
    for (;;) {
      const live = await this.#store.list(userid, this.#now(), maxPerUser + loginBatch + 1);
      if (live.length > maxPerUser + loginBatch) return this.#endLater(userid);
      const surplus = longestUnused(live, live.length - maxPerUser);
      if (surplus.length === 0 || (await this.#endUnused(userid, surplus)) === surplus.length) return;
    }
  }

  async #endUnused(userid: string, chosen: readonly SessionSummary[]): Promise<number> {
    const now = this.#now();
    const removed = await this.#store.removeEach(
      chosen.map(({ handle, touched }) => ({ handle, userid, touched, now })),
      'limit',
    );
    if (removed > 0) this.#observer?.ended('limit', removed);
    return removed;
  }

  #endLater(userid: string): void {
    if (this.#trimming.has(userid)) return;
    this.#trimming.add(userid);
    const run = async () => {
      // After the response of the login that found it.
      await pause(laterPause);
      for (;;) {
        const live = await this.#store.list(userid, this.#now());
        const surplus = longestUnused(live, live.length - this.#limits.maxPerUser);
        if (surplus.length === 0) return;
        for (let from = 0; from < surplus.length; from += laterBatch) {
          const started = performance.now();
          await this.#endUnused(userid, surplus.slice(from, from + laterBatch));
          // At most half of the time: logins and reads come first.
          await pause(performance.now() - started);
        }
      }
    };
    run()
      .catch((error: unknown) => this.#observer?.surplusRemains(error))
      .finally(() => this.#trimming.delete(userid));
  }

  #idleEnd(now: number): number {
    return now + this.#limits.idleTimeout * 1000;
  }

  #absoluteEnd(now: number): number {
    const { absoluteTimeout } = this.#limits;
    return absoluteTimeout === 0 ? NEVER : now + absoluteTimeout * 1000;
  }

  #extras({ remember, about, ip, user_agent }: SessionTraits): SessionExtras {
    const { record = [] } = this.#limits;
    return {
      ...(remember !== undefined && { remember }),
      ...(about !== undefined && { about: encodeAbout(about) }),
      ...(ip !== undefined && record.includes('ip') && { ip: checkAddress(ip) }),
      ...(user_agent !== undefined &&
        record.includes('user_agent') && {
          userAgent: user_agent.slice(0, maxUserAgent).replace(/\p{Surrogate}/gu, '\ufffd'),
        }),
    };
  }

  #encode(data: JsonObject): string {
    const text = JSON.stringify(data);
    const size = Buffer.byteLength(text);
    const limit = this.#limits.maxData;
    if (size > limit) {
      throw sessmanError('data_too_large', { size, limit }, { details: { size, max_data: limit } });
    }
    return text;
  }
}

/** Bytes of UTF-8 that a userid may have. */
const maxUserid = 1024;
/** Bytes of JSON. */
const maxAbout = 1024;
/** Characters that are kept of a User-Agent. */
const maxUserAgent = 512;
/** Sessions over the limit that one step of the store ends: while a login waits, and afterwards. */
const loginBatch = 32;
const laterBatch = 50;
/** Milliseconds. */
const laterPause = 200;

/** Does not keep the process running: the user's next login ends what is left. */
function pause(milliseconds: number): Promise<void> {
  return setTimeout(milliseconds, undefined, { ref: false });
}

function parse(sessionId: string): SessionId {
  const id = parseSessionId(sessionId);
  return id ?? notFound();
}

function checkChosenId(sessionId: string): SessionId {
  const id = parseSessionId(sessionId);
  if (!id) throw sessmanError('invalid_session_id');
  return id;
}

function notFound(): never {
  throw sessmanError('session_not_found');
}

function versionMismatch(version: number) {
  return sessmanError('version_mismatch', { version }, { details: { version } });
}

/** The record, if the id and the user are its own. */
function owned<Head extends SessionHead>(
  record: Head | undefined,
  id: SessionId,
  userid: string | undefined,
): Head {
  return record !== undefined && isOwned(record, id, userid) ? record : notFound();
}

function isOwned(record: SessionHead, id: SessionId, userid: string | undefined): boolean {
  return (
    timingSafeEqual(record.secretHash, id.secretHash) && (userid === undefined || record.userid === userid)
  );
}

/** A place in a walk, as callers hand it back. */
function placeText({ handle, userid }: Required<Position>, withUser: boolean): string {
  return withUser ? handle + Buffer.from(userid).toString('base64url') : handle;
}

function readPlace(text: string, withUser: boolean): Position {
  const handle = text.slice(0, handleLength);
  const rest = text.slice(handleLength);
  const userid = Buffer.from(rest, 'base64url').toString();
  const isWhole = isHandle(handle) && Buffer.from(userid).toString('base64url') === rest;
  if (isWhole && (rest !== '') === withUser) return withUser ? { handle, userid } : { handle };
  throw sessmanError('invalid_parameter', {
    name: 'after',
    problem: 'is not the "next" of a page with the same userid_prefix',
  });
}

function checkUserid(userid: string): void {
  const problem = useridProblem(userid);
  if (problem !== undefined) throw sessmanError('invalid_userid', { problem });
}

function useridProblem(userid: string): string | undefined {
  if (typeof userid !== 'string') return 'is not text';
  if (userid === '') return 'is empty; it names the user that the session belongs to';
  // Half a surrogate pair has no UTF-8, and bytes that are not UTF-8 are read as U+FFFD: two different userids would
  // become the same user.
  if (/[\p{Surrogate}\ufffd]/u.test(userid)) return 'is not well-formed Unicode';
  if (Buffer.byteLength(userid) > maxUserid) return `is longer than ${maxUserid} bytes of UTF-8`;
  return undefined;
}

/** The `count` sessions that were used longest ago, first the one unused the longest. */
function longestUnused(live: SessionSummary[], count: number): SessionSummary[] {
  if (count <= 0) return [];
  live.sort((a, b) => a.touched - b.touched || a.created - b.created || compare(a.handle, b.handle));
  return live.slice(0, count);
}

function view<Id extends string | undefined>(
  id: Id,
  record: SessionRecord,
): ReadSession & { readonly id: Id } {
  const { handle, userid, data, version, created, touched, expires, ends } = record;
  return {
    id,
    handle,
    userid,
    data,
    version,
    created,
    touched,
    expires: Math.min(expires, ends),
    ends,
    authenticated: record.authenticated ?? created,
    remember: record.remember ?? true,
  };
}

function stateOf(head: SessionHead): SessionState {
  const { handle, userid, version, created, touched, expires, ends } = head;
  return {
    handle,
    userid,
    version,
    created,
    touched,
    expires: Math.min(expires, ends),
    ends,
    authenticated: head.authenticated ?? created,
    remember: head.remember ?? true,
  };
}

function entryOf(summary: SessionSummary, isCurrent = false): SessionEntry {
  const { handle, created, touched, expires, ends, authenticated = created, about, ip, userAgent } = summary;
  return {
    handle,
    created,
    touched,
    expires: Math.min(expires, ends),
    authenticated,
    ...(about !== undefined && { about: JSON.parse(about) as JsonObject | null }),
    ...(ip !== undefined && { ip }),
    ...(userAgent !== undefined && { userAgent }),
    ...(isCurrent && { current: true }),
  };
}

function encodeAbout(about: JsonObject): string {
  const text = JSON.stringify(about);
  if (Buffer.byteLength(text) > maxAbout) {
    throw sessmanError('invalid_parameter', {
      name: 'about',
      problem: `takes more than ${maxAbout} bytes of JSON; keep a name for the device and little else`,
    });
  }
  return text;
}

function checkAddress(ip: string): string {
  if (isIP(ip) > 0) return ip;
  throw sessmanError('invalid_parameter', { name: 'ip', problem: 'is not an IP address' });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
