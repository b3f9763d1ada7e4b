import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { SessionError } from '../client/client.js';
import { TaskQueues } from '../client/task-queues.js';
import { Connection, type ConnectionOptions } from './connection.js';
import { CreatedSessions, type FoundSession, markOf, type StoreMark } from './created-sessions.js';
import { type Json, rebase } from './rebase.js';

export interface KeeperOptions<Data> extends ConnectionOptions {
  /** Separates applications that share one sessman: none sees the sessions of another prefix. */
  readonly prefix?: string;
  /**
   * Returns the user of a session's data, so that a user's sessions can be listed and ended; undefined while nobody has
   * logged in. A session keeps the user that it has at the end of the request that created it: regenerate it at login.
   */
  readonly userid?: (data: Data) => Userid | null | undefined;
  /** Milliseconds between two touches of a session in use; 60,000 by default. Less if it expires soon. */
  readonly touch_after?: number;
}

/** A user, as text or as a whole number, which stands for its decimal text. */
export type Userid = string | number | bigint;

/** What the holder of a session has, and what was stored at that time. */
export interface Held {
  /** The holder's data as JSON text, without its changes that are not written yet. */
  readonly data: string;
  /** The data stored as `version`: the holder's, or the holder's with the changes of others. */
  readonly stored: string;
  readonly version: number;
  readonly userid: string;
  /** Whether its holder created it, so that nobody else holds it. */
  readonly isOwn: boolean;
  /** By this process's clock, in milliseconds since the Unix epoch. */
  readonly touched: number;
  readonly expires: number;
}

/** One of a user's sessions. */
export interface Listed {
  readonly handle: string;
  readonly created_at: string;
  readonly updated_at: string;
  readonly expires_at: string;
}

/**
 * Keeps sessions whose ids a middleware creates. sessman receives the SHA-256 of such an id as its own, so both name the
 * same session, and nobody can derive a cookie from what is stored.
 *
 * It remembers for each holder what the session was when it was read, which a middleware cannot express. A write then
 * applies only the holder's changes to what is stored by now, and a session that was ended in the meantime stays ended.
 */
export class SessionKeeper<Data extends object> {
  readonly #connection: Connection;
  readonly #prefix: string;
  readonly #userid: ((data: Data) => Userid | null | undefined) | undefined;
  readonly #touchAfter: number;
  readonly #mark: StoreMark;
  /** The sessions that stores of this middleware and prefix created. */
  readonly created: CreatedSessions;
  #warned = false;
  /** Keeps the writes of one session in order. */
  readonly #writing = new TaskQueues();

  /** @param middleware its name, which marks the sessions that the keeper creates */
  constructor(middleware: string, options: KeeperOptions<Data>) {
    this.#connection = new Connection(options);
    this.#prefix = options.prefix ?? '';
    this.#userid = options.userid;
    this.#touchAfter = options.touch_after ?? 60_000;
    this.#mark = markOf(middleware, this.#prefix);
    this.created = new CreatedSessions(this.#connection, this.#mark);
  }

  async read(sid: string): Promise<{ data: Data; held: Held } | undefined> {
    try {
      const answer = await this.#connection.call('get', {}, this.#idOf(sid));
      return { data: answer.data as Data, held: this.#hold(answer) };
    } catch (error) {
      if (hasEnded(error)) return undefined;
      throw error;
    }
  }

  /** Reads the sessions that stores of this middleware and prefix created. */
  async *readCreated(): AsyncGenerator<{ data: Data; held: Held }> {
    for await (const found of this.created.read())
      yield { data: found.data as Data, held: this.#hold(found) };
  }

  /**
   * Stores data for its holder, in a new session where nothing is held. Unchanged data is not written; the session is
   * touched instead. Rejects with code `session_not_found` when the session held was ended or has expired.
   *
   * @param text the data as JSON text
   * @param lifetime milliseconds after which the session expires when it is not touched, if sooner than sessman's own
   */
  write(sid: string, text: string, held?: Held, lifetime?: number): Promise<Held> {
    const id = this.#idOf(sid);
    return this.#writing.run(id, async () => {
      const userid = this.#userOf(text);
      if (held === undefined) return this.#make(id, text, userid, lifetime);
      if (userid !== undefined && userid !== held.userid) return this.#move(id, text, userid, held);
      return text === held.data ? this.#touch(id, held, lifetime) : this.#update(id, text, held);
    });
  }

  /** Postpones the expiry of a live session, unless it was touched a moment ago. Writes no data. */
  touch(sid: string, held?: Held, lifetime?: number): Promise<Held | undefined> {
    const id = this.#idOf(sid);
    return this.#writing.run(id, () => this.#touch(id, held, lifetime));
  }

  /** Ends a session. Resolves even if it was ended before. */
  end(sid: string): Promise<void> {
    const id = this.#idOf(sid);
    return this.#writing.run(id, async () => {
      try {
        await this.#connection.call('end', {}, id);
      } catch (error) {
        if (!hasEnded(error)) throw error;
      }
    });
  }

  /** The user's live sessions, newest first. */
  async list(userid: Userid): Promise<Listed[]> {
    const { sessions } = await this.#connection.call<{ sessions: Listed[] }>('list', {
      userid: textOf(userid),
    });
    return sessions;
  }

  /** Ends the user's sessions, except one if given. Resolves to how many it ended. */
  async endAll(userid: Userid, exceptSid?: string): Promise<number> {
    const except = exceptSid === undefined ? undefined : this.#idOf(exceptSid);
    const { ended } = await this.#connection.call<{ ended: number }>('end_all', {
      userid: textOf(userid),
      except,
    });
    return ended;
  }

  close(): void {
    this.#connection.close();
  }

  async #make(id: string, text: string, user: string | undefined, lifetime?: number): Promise<Held> {
    // Each session without a user gets a user of its own: no list of them grows, and no limit per user applies.
    const userid = user ?? `anonymous:${id.slice(0, handleLength)}`;
    const data = JSON.parse(text) as Json;
    try {
      const about = this.#mark;
      const answer = await this.#connection.call('new', { session_id: id, userid, data, about });
      const held = this.#hold(answer, text);
      this.#checkLifetime(held, lifetime);
      return { ...held, isOwn: true };
    } catch (error) {
      if (!hasCode(error, 'session_exists')) throw error;
      // Someone else who held nothing stored it before. As in any plain store, the last writer wins.
      return this.#hold(await this.#connection.call('update', { data }, id), text);
    }
  }

  async #update(id: string, text: string, held: Held): Promise<Held> {
    const { userid } = held;
    const base = JSON.parse(held.data) as Json;
    const mine = JSON.parse(text) as Json;
    let current = held;
    for (let attempt = 0; ; attempt++) {
      const data = rebase(base, mine, JSON.parse(current.stored) as Json);
      // An earlier attempt was applied, and its response was lost.
      if (attempt > 0 && JSON.stringify(data) === current.stored)
        return { ...current, data: text, isOwn: held.isOwn };
      try {
        const { version } = current;
        const answer = await this.#connection.call('update', { data, version, userid }, id);
        return { ...this.#hold(answer, text), isOwn: held.isOwn };
      } catch (error) {
        if (!hasCode(error, 'version_mismatch') || attempt === maxAttempts) throw error;
      }
      await pause(Math.random() * Math.min(2 ** attempt, maxPause));
      current = this.#hold(await this.#connection.call('get', { userid }, id));
    }
  }

  /**
   * Gives a session another user. In sessman a session keeps its user, so this ends it and creates another with its id.
   * Requests in between would find nothing, so only a holder who has just created it, whose id nobody else has, may do so.
   */
  async #move(id: string, text: string, userid: string, held: Held): Promise<Held> {
    if (!held.isOwn) {
      throw new SessionError(
        'user_changed',
        `the user of the session has changed since it was created; regenerate the session at login, so that nobody who knew its id is logged in too`,
      );
    }
    await this.#connection.call('end', {}, id);
    return this.#make(id, text, userid);
  }

  async #touch<H extends Held | undefined>(
    id: string,
    held: H,
    lifetime = Number.POSITIVE_INFINITY,
  ): Promise<H> {
    if (held) {
      const life = Math.min(held.expires - held.touched, lifetime);
      if (Date.now() - held.touched < Math.min(this.#touchAfter, life / 10)) return held;
    }
    try {
      const { touched, expires } = this.#hold(
        await this.#connection.call('touch', { userid: held?.userid }, id),
      );
      return held && { ...held, touched, expires };
    } catch (error) {
      // It has ended, and no change is lost.
      if (hasEnded(error)) return held;
      throw error;
    }
  }

  #hold({ version, data, userid, updated_at, expires_at }: FoundSession, inHand?: string): Held {
    const stored = JSON.stringify(data);
    const lead = this.#connection.clockLead;
    const [touched, expires] = [Date.parse(updated_at) - lead, Date.parse(expires_at) - lead];
    return { data: inHand ?? stored, stored, version, userid, isOwn: false, touched, expires };
  }

  #checkLifetime({ touched, expires }: Held, lifetime = 0): void {
    if (this.#warned || expires - touched + 1000 >= lifetime) return;
    this.#warned = true;
    process.emitWarning(
      `sessions expire in sessman ${Math.round((expires - touched) / 1000)} s after their last use, before their cookies, ` +
        `which last ${Math.round(lifetime / 1000)} s; raise session_ttl or session_max_age, or shorten maxAge`,
      { code: 'SESSMAN_TTL' },
    );
  }

  /** The user that this data names. It is read as it will be stored, so every request names the same user. */
  #userOf(text: string): string | undefined {
    const userid = this.#userid?.(JSON.parse(text) as Data);
    return userid === undefined || userid === null || userid === '' ? undefined : textOf(userid);
  }

  #idOf(sid: string): string {
    return createHash('sha256').update(`${this.#prefix}\0${sid}`).digest('base64url');
  }
}

const handleLength = 16;
const maxAttempts = 50;
/** Milliseconds. */
const maxPause = 100;

/** The text that stands for a user. Users of other types would share one text. */
function textOf(userid: Userid): string {
  if (typeof userid === 'string' || typeof userid === 'bigint' || Number.isSafeInteger(userid))
    return `${userid}`;
  const what = typeof userid === 'number' ? `the number ${userid}` : `of type ${typeof userid}`;
  throw new SessionError(
    'invalid_userid',
    `a user must be text or a whole number of at most ${Number.MAX_SAFE_INTEGER}, but is ${what}; name the member that identifies the user, such as user.id`,
  );
}

function hasEnded(error: unknown): boolean {
  return hasCode(error, 'session_not_found');
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof SessionError && error.code === code;
}
