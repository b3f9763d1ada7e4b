import type { Held, KeeperOptions } from './keeper.js';
import { encodeSession, lifetimeOf, type SessionCookie, withExpiry } from './session-cookie.js';
import { keeper, sessmanStore } from './sessman-store.js';
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
 * When several requests load one session at once, each request saves only what it changed. Saving to a session that has
 * ended in the meantime is an error, and the session stays ended.
 */
export class SessmanStore extends sessmanStore<SessionData, object>('@fastify/session', Object) {
  readonly #held = new WeakMap<object, Held>();

  // biome-ignore lint/suspicious/noExplicitAny: @fastify/session lets applications declare the members
  get(sid: string, callback: (error: unknown, session?: any) => void): void {
    settle(() => this.#read(sid), callback);
  }

  set(sid: string, session: object, callback: (error?: unknown) => void): void {
    settle(() => this.#write(sid, session as SessionData), callback);
  }

  destroy(sid: string, callback: (error?: unknown) => void): void {
    settle(() => this[keeper].end(sid), callback);
  }

  async #read(sid: string): Promise<SessionData | undefined> {
    const found = await this[keeper].read(sid);
    if (!found) return undefined;
    const data = withExpiry(found.data, found.held);
    if (data) this.#held.set(tagged(data), found.held);
    else await this[keeper].end(sid);
    return data;
  }

  async #write(sid: string, session: SessionData): Promise<void> {
    const text = encodeSession(session);
    const tag = tagOf(session);
    this.#held.set(tag, await this[keeper].write(sid, text, this.#held.get(tag), lifetimeOf(session.cookie)));
  }
}

/**
 * @fastify/session copies the enumerable string keys of what `get` returned into its own object, and passes that to `set`.
 * This key shows that the two belong together. Its value is a function because JSON omits functions, and
 * @fastify/session compares JSON to find changes.
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
