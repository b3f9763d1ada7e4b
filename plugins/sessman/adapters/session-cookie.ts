import type { Held } from './keeper.js';

/** What express-session and @fastify/session keep of a session's cookie beside the session's data. */
export interface SessionCookie {
  /** Milliseconds from the last use to the end; null for a cookie that ends with the browser. */
  readonly originalMaxAge?: number | null;
  readonly expires?: Date | string | null | undefined;
}

/** Milliseconds from the last use to the end, where the cookie sets them. */
export function lifetimeOf(cookie: SessionCookie | undefined): number | undefined {
  const lifetime = cookie?.originalMaxAge;
  return Number.isFinite(lifetime) ? (lifetime as number) : undefined;
}

/**
 * The session as it is to be stored. When its cookie lives for a time after each use, the end is not stored: it would
 * change with every request, and follows from when the session was last touched.
 */
export function withoutExpiry<Data extends { cookie?: SessionCookie }>(session: Data): Data {
  const data = JSON.parse(JSON.stringify(session));
  if (lifetimeOf(data.cookie) !== undefined) {
    delete data.cookie.expires;
    delete data.cookie.originalExpires;
  }
  return data;
}

/** The stored session with its end in place again; undefined when that has passed. */
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
