import type { Context, PluginKeys } from 'plugin-server';
import { sessmanError } from '../errors.js';
import { handleLength } from '../session-id.js';
import type { Sessions } from '../sessions.js';
import type { Hidden } from './answer.js';
import type { Call } from './calls.js';
import type { SessionCookie } from './cookie.js';
import { liveId } from './live.js';
import { isFromPage, type OriginRule } from './origin.js';
import type { Given, Parameters, Takes } from './parameters.js';
import { completeParameters, readParameters, requireParameters } from './read-parameters.js';
import { visitorOf } from './visitor.js';

export interface AccessOptions {
  readonly sessions: Sessions;
  readonly cookie: SessionCookie;
  readonly keys: PluginKeys;
  readonly origins: OriginRule;
  /** What the cookie alone may do with data. */
  readonly data: 'none' | 'read' | 'write';
}

/** A request that may make its call. */
export interface Admitted {
  readonly given: Given<Takes>;
  readonly hidden: Hidden;
  /** Whether the caller has a key. */
  readonly byKey: boolean;
  /** The ids in the request's cookies. */
  readonly held: readonly string[];
}

/**
 * Who may do what in cookie mode: a caller with an API key everything; one with the cookie what concerns its own session
 * and its own user's sessions. Whatever belongs to somebody else is a 404, as if it did not exist.
 */
export class Access {
  readonly #options: AccessOptions;

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  /** Reads the call's parameters as its caller may send them. Throws for one that may not make the call. */
  async admit(ctx: Context, call: Call): Promise<Admitted> {
    const { cookie, keys, origins } = this.#options;
    if (ctx.req.method === 'POST') origins(ctx);
    const held = cookie.read(ctx);
    // A key that a proxy or a page puts beside the cookie says nothing of the page, unless it is meant for this request.
    const isPage = held.length > 0 && isFromPage(ctx);
    if (keys.opens(ctx, isPage ? 'authorization' : undefined)) {
      return {
        given: await this.#withKey(ctx, call, held),
        hidden: { id: isPage, data: false },
        byKey: true,
        held,
      };
    }
    if (call.byCookie === 'nothing') keys.require();
    if (held.length === 0) {
      if (namesId(ctx)) keys.require();
      throw sessmanError('session_required');
    }
    const hidden = { id: true, data: this.#options.data === 'none' };
    return { given: await this.#withCookie(ctx, call, held), hidden, byKey: false, held };
  }

  async #withKey(ctx: Context, call: Call, held: readonly string[]): Promise<Given<Takes>> {
    const values = readParameters(ctx, call.takes);
    if (!call.namesSession) return requireParameters(call.takes, values);
    const isNamed = (values.session_id ?? values.handle ?? ctx.req.headers['x-session-id']) !== undefined;
    const id = isNamed || held.length === 0 ? undefined : await this.#idWithKey(ctx, call, held);
    return completeParameters(ctx, call.takes, values, () => id);
  }

  /** Where the session is only the one that asks, a dead cookie is as good as none. */
  async #idWithKey(ctx: Context, call: Call, held: readonly string[]): Promise<string | undefined> {
    try {
      return await this.#idOf(ctx, held);
    } catch (error) {
      if (call.byCookie === 'user') return undefined;
      throw error;
    }
  }

  async #withCookie(ctx: Context, call: Call, held: readonly string[]): Promise<Given<Takes>> {
    const { sessions } = this.#options;
    const values = readParameters(ctx, call.takes);
    this.#requireKeyFor(call, values);
    const id = await this.#idOf(ctx, held);
    const inHeader = ctx.req.headers['x-session-id'];
    if ((values.session_id ?? id) !== id || (inHeader ?? id) !== id) throw sessmanError('session_not_found');
    if (call.withKeyOnly?.(values) !== undefined) {
      // It is its own session that the cookie opens.
      if (values.handle !== id.slice(0, handleLength)) throw sessmanError('session_not_found');
      delete values.handle;
    }
    const isOfUser = call.byCookie === 'user' || values.handle !== undefined;
    if (isOfUser || values.remember === true) {
      const own = await sessions.peek(id);
      if ((values.userid ?? own.userid) !== own.userid) throw sessmanError('session_not_found');
      if (isOfUser) values.userid = own.userid;
      if (values.remember === true && !own.remember)
        throw sessmanError('key_required', { what: 'Turning "remember" on' });
    }
    if (values.handle === undefined) values.session_id = id;
    else delete values.session_id;
    if (call.path === 'renew') Object.assign(values, visitorOf(ctx));
    return requireParameters(call.takes, values);
  }

  /** What only a server may say, and data where the cookie may not write them. */
  #requireKeyFor(call: Call, values: Partial<Parameters>): void {
    if (call.writesData === true && this.#options.data !== 'write')
      throw sessmanError('key_required', { what: 'Writing data' });
    for (const name of keyParameters) {
      if (values[name] !== undefined) throw sessmanError('key_required', { what: `The parameter "${name}"` });
    }
  }

  /** The id that the cookie holds: of several cookies, that of the one live session. */
  async #idOf(ctx: Context, held: readonly string[]): Promise<string> {
    const id = held.length === 1 ? held[0]! : await liveId(this.#options.sessions, held);
    const meant = ctx.req.headers['x-session-handle'];
    // The page was about another session than the one that the cookie has by now.
    if (meant !== undefined && meant !== id.slice(0, 16)) throw sessmanError('session_not_found');
    return id;
  }
}

const keyParameters = ['authenticated', 'about', 'ip', 'user_agent', 'everyone'] as const;

/** Whether the request names a session by its id, as callers with a key do. */
function namesId(ctx: Context): boolean {
  if (ctx.req.headers['x-session-id'] !== undefined) return true;
  const body: unknown = ctx.request.body;
  const places = [ctx.query, typeof body === 'object' && body !== null ? body : {}];
  return places.some((place) => 'session_id' in place || 'sessionid' in place);
}
