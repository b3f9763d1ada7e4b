import { encode } from './encode.js';
import type { Held, KeeperOptions } from './keeper.js';
import { keeper, sessmanStore } from './sessman-store.js';

/** What koa-session stores: the session's own keys, and when it expires. */
interface SessionData {
  [key: string]: unknown;
  /** Milliseconds since the Unix epoch. */
  _expire?: number;
  /** Milliseconds from a save until it expires. */
  _maxAge?: number;
}

interface Call {
  readonly ctx?: object;
}

export type SessmanStoreOptions = KeeperOptions<SessionData>;

/**
 * A store for koa-session that keeps sessions in sessman.
 *
 * ```js
 * app.use(session({ store: new SessmanStore({ auth: KEY }) }, app));
 * ```
 *
 * When several requests load one session at once, each request saves only what it changed. Saving to a session that has
 * ended in the meantime is an error, and the session stays ended.
 */
export class SessmanStore extends sessmanStore<SessionData, object>('koa-session', Object) {
  /** By request and session id: the session when that request read or last saved it. */
  readonly #held = new WeakMap<object, Map<string, Held>>();

  async get(sid: string, _maxAge?: unknown, { ctx }: Call = {}): Promise<SessionData | undefined> {
    const found = await this[keeper].read(sid);
    if (!found) return undefined;
    this.#hold(ctx, sid, found.held);
    const { data } = found;
    const _expire = typeof data._maxAge === 'number' ? found.held.touched + data._maxAge : data._expire;
    if (_expire === undefined) return data;
    // koa-session still receives it, so that it can tell the application.
    if (_expire <= Date.now()) await this[keeper].end(sid);
    return { ...data, _expire };
  }

  async set(sid: string, session: SessionData, _maxAge?: unknown, { ctx }: Call = {}): Promise<void> {
    const { _expire, ...data } = session;
    const lasting = typeof data._maxAge === 'number';
    // Where a session has a maximum age, its expiry follows from the last touch and is not stored.
    const stored = lasting || _expire === undefined ? data : { ...data, _expire };
    const held = ctx && this.#held.get(ctx)?.get(sid);
    this.#hold(
      ctx,
      sid,
      await this[keeper].write(sid, encode(stored), held, lasting ? data._maxAge : undefined),
    );
  }

  async destroy(sid: string): Promise<void> {
    await this[keeper].end(sid);
  }

  #hold(ctx: object | undefined, sid: string, held: Held): void {
    if (!ctx) return;
    const all = this.#held.get(ctx) ?? new Map<string, Held>();
    this.#held.set(ctx, all.set(sid, held));
  }
}
