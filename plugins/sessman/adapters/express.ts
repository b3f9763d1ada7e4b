import session, { type Session, type SessionData } from 'express-session';
import { type Held, type KeeperOptions, type Listed, SessionKeeper } from './keeper.js';
import { lifetimeOf, withExpiry, withoutExpiry } from './session-cookie.js';
import { settle } from './settle.js';

export type SessmanStoreOptions = KeeperOptions<SessionData>;

/**
 * A store for express-session that keeps sessions in sessman.
 *
 * ```js
 * app.use(session({ store: new SessmanStore({ auth: KEY }), secret, resave: false, saveUninitialized: false }));
 * ```
 *
 * Of a session loaded by several requests at once, each request's save carries over only what that request changed.
 * A save to a session that has ended meanwhile is an error, and the session stays ended.
 */
export class SessmanStore extends session.Store {
  readonly #keeper: SessionKeeper<SessionData>;
  /** What each session object, or what `get` gave for one, was when read or last saved. */
  readonly #held = new WeakMap<object, Held>();

  constructor(options: SessmanStoreOptions = {}) {
    super();
    this.#keeper = new SessionKeeper(options);
  }

  override get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): void {
    settle(this.#read(sid), callback);
  }

  override set(sid: string, data: SessionData, callback?: (error?: unknown) => void): void {
    const write = this.#keeper.write(sid, withoutExpiry(data), this.#held.get(data), lifetimeOf(data.cookie));
    settle(
      write.then((held) => void this.#held.set(data, held)),
      callback,
    );
  }

  override touch(sid: string, data: SessionData, callback?: (error?: unknown) => void): void {
    const touch = this.#keeper.touch(sid, this.#held.get(data), lifetimeOf(data.cookie));
    settle(
      touch.then((held) => void (held && this.#held.set(data, held))),
      callback,
    );
  }

  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    settle(this.#keeper.end(sid), callback);
  }

  override createSession(
    request: Parameters<session.Store['createSession']>[0],
    data: SessionData,
  ): Session & SessionData {
    const created = super.createSession(request, data);
    const held = this.#held.get(data);
    if (held) this.#held.set(created, held);
    return created;
  }

  /** The live sessions of a user, as `options.userid` names users; the newest first. */
  list(userid: string): Promise<Listed[]> {
    return this.#keeper.list(userid);
  }

  /** Logs a user out everywhere, but for the session with the id `except`; how many sessions that ended. */
  endAll(userid: string, except?: string): Promise<number> {
    return this.#keeper.endAll(userid, except);
  }

  /** Closes the pooled connections. */
  close(): void {
    this.#keeper.close();
  }

  async #read(sid: string): Promise<SessionData | null> {
    const found = await this.#keeper.read(sid);
    if (!found) return null;
    const data = withExpiry(found.data, found.held);
    if (data) this.#held.set(data, found.held);
    else await this.#keeper.end(sid);
    return data ?? null;
  }
}
