import { type Held, type KeeperOptions, type Listed, SessionKeeper } from './keeper.js';
import { lifetimeOf, type SessionCookie, withExpiry, withoutExpiry } from './session-cookie.js';
import { settle } from './settle.js';

interface SessionData {
  cookie: SessionCookie;
  [key: string]: unknown;
}

export type SessmanStoreOptions = KeeperOptions<SessionData>;

/**
 * A store for @fastify/session that keeps sessions in sessman.
 *
 * ```js
 * fastify.register(session, { store: new SessmanStore({ auth: KEY }), secret });
 * ```
 *
 * Of a session loaded by several requests at once, each request's save carries over only what that request changed.
 * A save to a session that has ended meanwhile is an error, and the session stays ended.
 */
export class SessmanStore {
  readonly #keeper: SessionKeeper<SessionData>;
  readonly #held = new WeakMap<object, Held>();

  constructor(options: SessmanStoreOptions = {}) {
    this.#keeper = new SessionKeeper(options);
  }

  // biome-ignore lint/suspicious/noExplicitAny: @fastify/session leaves it to applications to declare what is in there
  get(sid: string, callback: (error: unknown, session?: any) => void): void {
    settle(this.#read(sid), callback);
  }

  set(sid: string, session: object, callback: (error?: unknown) => void): void {
    const data = withoutExpiry(session as SessionData);
    const tag = tagOf(session);
    const write = this.#keeper.write(sid, data, this.#held.get(tag), lifetimeOf(data.cookie));
    settle(
      write.then((held) => void this.#held.set(tag, held)),
      callback,
    );
  }

  destroy(sid: string, callback: (error?: unknown) => void): void {
    settle(this.#keeper.end(sid), callback);
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

  async #read(sid: string): Promise<SessionData | undefined> {
    const found = await this.#keeper.read(sid);
    if (!found) return undefined;
    const data = withExpiry(found.data, found.held);
    if (data) this.#held.set(tagged(data), found.held);
    else await this.#keeper.end(sid);
    return data;
  }
}

/**
 * @fastify/session copies what `get` gave, by its enumerable string keys, into an object of its own, which comes back
 * in `set`. So what tells the two belong together is one of those keys. A function, since those are left out of JSON,
 * by which @fastify/session sees what has changed.
 */
const tagKey = '~sessman';
type Tag = () => void;

function tagged(data: SessionData): Tag {
  const tag: Tag = () => {};
  data[tagKey] = tag;
  return tag;
}

function tagOf(session: object): object {
  const tag = (session as Record<string, unknown>)[tagKey];
  return typeof tag === 'function' ? tag : session;
}
