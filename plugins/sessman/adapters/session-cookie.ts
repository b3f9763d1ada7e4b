import { encode } from './encode.js';
import type { Held } from './keeper.js';

/** What express-session and @fastify/session store of a session's cookie beside its data. */
export interface SessionCookie {
  /** Milliseconds from the last use until it expires; null for a cookie that lasts until the browser closes. */
  readonly originalMaxAge?: number | null;
  readonly expires?: Date | string | null | undefined;
}

/** Milliseconds from the last use until it expires, where the cookie sets them. */
export function lifetimeOf(cookie: SessionCookie | undefined): number | undefined {
  const lifetime = cookie?.originalMaxAge;
  return Number.isFinite(lifetime) ? (lifetime as number) : undefined;
}

/**
 * The session as JSON text, as it is stored. Where its cookie has a maximum age, its expiry is not stored: it would change
 * with every request, and follows from the last touch.
 */
export function encodeSession(session: { cookie?: SessionCookie }): string {
  const { cookie } = session;
  // The middleware tells the application of an invalid expiry itself. It is stored as none, which `encode` would refuse.
  const asStored = cookie && { ...session, cookie: JSON.parse(JSON.stringify(cookie)) };
  const data = JSON.parse(encode(asStored ?? session));
  if (lifetimeOf(data.cookie) !== undefined) {
    delete data.cookie.expires;
    delete data.cookie.originalExpires;
  }
  return JSON.stringify(data);
}

/**
 * Whether the session's cookie is the one that is held. A middleware computes the lifetime again for every request, which
 * may shorten it by a few milliseconds.
 */
export function hasHeldCookie(session: { cookie?: SessionCookie }, held: Held): boolean {
  const now = JSON.parse(encodeSession({ cookie: session.cookie })).cookie as SessionCookie | undefined;
  const before = JSON.parse(held.data).cookie as SessionCookie | undefined;
  const difference = (lifetimeOf(now) ?? 0) - (lifetimeOf(before) ?? 0);
  const rest = (cookie: SessionCookie | undefined) =>
    JSON.stringify({ ...cookie, originalMaxAge: lifetimeOf(cookie) !== undefined });
  return Math.abs(difference) < lifetimeTolerance && rest(now) === rest(before);
}

/** Milliseconds. */
const lifetimeTolerance = 50;

/** The stored session with its expiry restored; undefined when it has expired. */
export function withExpiry<Data extends { cookie?: SessionCookie }>(
  data: Data,
  { touched }: Held,
): Data | undefined {
  const lifetime = lifetimeOf(data.cookie);
  const expires = lifetime === undefined ? data.cookie?.expires : new Date(touched + lifetime).toISOString();
  if (!expires) return data;
  if (Date.parse(`${expires}`) <= Date.now()) return undefined;
  return { ...data, cookie: { ...data.cookie, expires } };
}
