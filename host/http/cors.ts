import cors from '@koa/cors';
import type Koa from 'koa';

/** Seconds that a browser may keep the answer to a preflight. */
const PREFLIGHT_MAX_AGE = 600;

/** CORS for the origins of an allow list; `*` allows any, without credentials (fetch.spec.whatwg.org, CORS protocol). */
export function corsMiddleware(origins: readonly string[], headers: readonly string[] = []): Koa.Middleware {
  const allowed = new Set(origins.map((origin) => origin.replace(/\/$/, '')));
  const any = allowed.has('*');
  return cors({
    origin: (ctx) => {
      if (any) return '*';
      const origin = ctx.get('Origin');
      return allowed.has(origin) ? origin : '';
    },
    credentials: !any,
    maxAge: PREFLIGHT_MAX_AGE,
    allowHeaders: [
      'Authorization',
      'Content-Type',
      'If-Match',
      'X-Custom-Auth',
      'X-Request-Id',
      'X-Requested-With',
      'X-Session-Id',
      'traceparent',
      ...headers,
    ],
    exposeHeaders: [
      'ETag',
      'RateLimit',
      'RateLimit-Policy',
      'Retry-After',
      'WWW-Authenticate',
      'X-Request-Id',
    ],
    // The application keeps them itself.
    keepHeadersOnError: false,
  });
}
