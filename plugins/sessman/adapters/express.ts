import session, { type Session, type SessionData } from 'express-session';
import type { Held, KeeperOptions } from './keeper.js';
import { encodeSession, hasHeldCookie, lifetimeOf, withExpiry } from './session-cookie.js';
import { keeper, sessmanStore } from './sessman-store.js';
import { settle } from './settle.js';

export type SessmanStoreOptions = KeeperOptions<SessionData>;

/**
 * A store for express-session that keeps sessions in sessman.
 *
 * ```js
 * app.use(session({ store: new SessmanStore({ auth: KEY }), secret, resave: false, saveUninitialized: false }));
 * ```
 *
 * When several requests load one session at once, each request saves only what it changed. Saving to a session that has
 * ended in the meantime is an error, and the session stays ended.
 */
export class SessmanStore extends sessmanStore<SessionData, session.Store>('express-session', session.Store) {
  /** By session object, or by what `get` returned for it: the session when it was read or last saved. */
  readonly #held = new WeakMap<object, Held>();

  override get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): void {
    settle(() => this.#read(sid), callback);
  }

  override set(sid: string, data: SessionData, callback?: (error?: unknown) => void): void {
    settle(() => this.#write(sid, data), callback);
  }

  /** express-session calls this in place of `set` when only the cookie has changed, if anything. */
  override touch(sid: string, data: SessionData, callback?: (error?: unknown) => void): void {
    settle(async () => {
      const held = this.#held.get(data);
      if (held && !hasHeldCookie(data, held)) return this.#write(sid, data);
      const touched = await this[keeper].touch(sid, held, lifetimeOf(data.cookie));
      if (touched) this.#held.set(data, touched);
    }, callback);
  }

  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    settle(() => this[keeper].end(sid), callback);
  }

  /**
   * Reads the live sessions that stores of this prefix created. sessman must have an API key. They have no ids: sessman
   * keeps only hashes of them.
   */
  override all(callback: (error: unknown, sessions?: SessionData[]) => void): void {
    settle(() => this.#readAll(), callback);
  }

  /** Counts the live sessions that stores of this prefix created, until sessman ends them. */
  override length(callback: (error: unknown, length?: number) => void): void {
    settle(() => this[keeper].created.count(), callback);
  }

  /** Ends those sessions. One that is created meanwhile may stay. */
  override clear(callback?: (error?: unknown) => void): void {
    settle(() => this[keeper].created.end(), callback);
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

  async #read(sid: string): Promise<SessionData | null> {
    const found = await this[keeper].read(sid);
    if (!found) return null;
    const data = withExpiry(found.data, found.held);
    if (data) this.#held.set(data, found.held);
    else await this[keeper].end(sid);
    return data ?? null;
  }

  async #readAll(): Promise<SessionData[]> {
    const sessions: SessionData[] = [];
    for await (const found of this[keeper].readCreated()) {
      const data = withExpiry(found.data, found.held);
      if (data) sessions.push(data);
    }
    return sessions;
  }

  async #write(sid: string, data: SessionData): Promise<void> {
    const text = encodeSession(data);
    this.#held.set(data, await this[keeper].write(sid, text, this.#held.get(data), lifetimeOf(data.cookie)));
  }
}
