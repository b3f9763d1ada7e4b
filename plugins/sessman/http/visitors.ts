import type { Context, SessionService } from 'plugin-server';
import type { Sessions } from '../sessions.js';
import type { SessionCookie } from './cookie.js';
import { liveId } from './live.js';
import type { OriginRule } from './origin.js';
import { visitorOf } from './visitor.js';

/** The calls for plugins that read and set a visitor's cookie. */
export type VisitorCalls = Pick<SessionService, 'current' | 'login' | 'logout'>;

export interface VisitorOptions {
  readonly sessions: Sessions;
  /** The calls for plugins that need no cookie. */
  readonly calls: Pick<SessionService, 'create' | 'get'>;
  readonly cookie: SessionCookie;
  readonly origins: OriginRule;
}

export function visitorCalls({ sessions, calls, cookie, origins }: VisitorOptions): VisitorCalls {
  /** Ends the live sessions that the request's cookies name; true when one has ended. */
  const endHeld = async (ctx: Context, reason: 'end' | 'login'): Promise<boolean> => {
    let ended = false;
    for (const id of cookie.read(ctx)) {
      if ((await unlessGone(sessions.end(id, {}, reason).then(() => true))) === true) ended = true;
    }
    return ended;
  };
  return {
    async current(ctx, { foreign = false } = {}) {
      if (!foreign && mayAct(ctx)) origins(ctx);
      const held = cookie.read(ctx);
      if (held.length === 0) return undefined;
      return unlessGone(
        (async () => calls.get(held.length === 1 ? held[0]! : await liveId(sessions, held)))(),
      ) as never;
    },
    async login(ctx, userid, { data, remember, about, foreign = false } = {}) {
      if (!foreign) origins(ctx);
      // Before the new one, which a limit of sessions per user would otherwise count it against.
      await endHeld(ctx, 'login');
      const session = await calls.create(userid, data, undefined, { remember, about, ...visitorOf(ctx) });
      cookie.write(ctx, session);
      return session;
    },
    async logout(ctx, { foreign = false } = {}) {
      if (!foreign) origins(ctx);
      if (await endHeld(ctx, 'end')) cookie.clear(ctx);
    },
  };
}

/** These calls outside cookie mode. */
export const noVisitorCalls: VisitorCalls = {
  current: () => Promise.reject(new NeedsCookieMode('current')),
  login: () => Promise.reject(new NeedsCookieMode('login')),
  logout: () => Promise.reject(new NeedsCookieMode('logout')),
};

class NeedsCookieMode extends Error {
  constructor(call: string) {
    super(`sessions.${call}() requires cookie mode; write "cookie": true in sessman.json`);
  }
}

const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/** Whether a page that makes a browser send this request could act for the visitor. CORS does not hold for WebSockets. */
function mayAct(ctx: Context): boolean {
  return !safeMethods.has(ctx.method) || /\bwebsocket\b/i.test(ctx.get('Upgrade'));
}

/** Undefined where the cookie names no session: it is dead, or there are cookies of two live sessions. */
async function unlessGone<Result>(found: Promise<Result>): Promise<Result | undefined> {
  try {
    return await found;
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === 'session_not_found' || code === 'session_required') return undefined;
    throw error;
  }
}
