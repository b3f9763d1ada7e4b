import cors from '@koa/cors';
import type Koa from 'koa';
import type { MountTable } from './mounts.js';

/** Seconds for which a browser may cache the response to a preflight. */
const PREFLIGHT_MAX_AGE = 600;

/** CORS for the origins of an allow list; `*` allows any, without credentials (fetch.spec.whatwg.org, CORS protocol). */
export function corsMiddleware(origins: readonly string[], headers: readonly string[] = []): Koa.Middleware {
  const allowed = new Set(origins.map((origin) => origin.replace(/\/$/, '')));
  const any = allowed.has('*');
  return middleware(
    (origin) => (any ? '*' : allowed.has(origin) ? origin : ''),
    () => !any,
    headers,
  );
}

/** CORS of a plugin that lets pages of `credentialed` use the visitor's cookies, and those of `origins` call without. */
export function credentialedCors(
  credentialed: readonly string[],
  origins: readonly string[],
  headers: readonly string[] = [],
): Koa.Middleware {
  const trusted = new Set(credentialed.map((origin) => new URL(origin).origin));
  const allowed = new Set(origins.map((origin) => origin.replace(/\/$/, '')));
  return middleware(
    (origin) => (trusted.has(origin) || allowed.has(origin) ? origin : allowed.has('*') ? '*' : ''),
    (origin) => trusted.has(origin),
    headers,
  );
}

/** The server's CORS, but for the paths of plugins that have their own. */
export function unlessOwn(mounts: MountTable, serversCors: Koa.Middleware): Koa.Middleware {
  return (ctx, next) => {
    const { url = '' } = ctx.req;
    const query = url.indexOf('?');
    const mount = mounts.find(url, query < 0 ? url.length : query);
    return mount?.cors === undefined ? serversCors(ctx, next) : next();
  };
}

function middleware(
  allow: (origin: string) => string,
  credentials: (origin: string) => boolean,
  headers: readonly string[],
): Koa.Middleware {
  return cors({
    origin: (ctx) => allow(ctx.get('Origin')),
    credentials: (ctx) => credentials(ctx.get('Origin')),
    maxAge: PREFLIGHT_MAX_AGE,
    allowHeaders: [
      'Authorization',
      'Content-Type',
      'If-Match',
      'X-Custom-Auth',
      'X-Request-Id',
      'X-Requested-With',
      'X-Session-Handle',
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
