import type Koa from 'koa';
import { hostError } from './errors.js';

/**
 * Refuses pages of other sites, for a plugin that is open only because no global key is set: any page that somebody on
 * this machine visits could use it otherwise. Browsers say in Sec-Fetch-Site where a request comes from, and those
 * without it in Origin. A client that sends neither is not a browser.
 */
export function foreignJudge(corsOrigins: readonly string[]): (ctx: Koa.Context) => void {
  const allowed = new Set(corsOrigins);
  const any = allowed.has('*');
  return (ctx) => {
    const { 'sec-fetch-site': site, origin } = ctx.req.headers;
    if ((site === undefined && origin === undefined) || any) return;
    // A proxy may have changed Host, and a page may keep its Origin to itself: the browser knows that they are the same.
    if (site === 'same-origin' || site === 'none') return;
    if (origin === undefined ? site !== 'cross-site' : allowed.has(originOf(origin) ?? origin)) return;
    if (origin !== undefined && site !== 'cross-site') {
      const sender = originOf(origin);
      if (sender !== undefined && sender === originOf(`${ctx.protocol}://${ctx.host}`)) return;
    }
    throw hostError('foreign_origin', { to: 'plugin' });
  };
}

/** Throws for a page that may not open a WebSocket. `more` are origins beside those of the server and of `[cors]`. */
export type SocketJudge = (ctx: Koa.Context, more: () => readonly string[]) => void;

/**
 * Refuses pages of other sites that open a WebSocket, whatever key they have: browsers send the visitor's cookies with it, and
 * CORS does not hold for it (RFC 6455 section 10.2). A client that sends no Origin is not a browser.
 */
export function socketJudge(corsOrigins: readonly string[]): SocketJudge {
  const allowed = new Set(corsOrigins);
  return (ctx, more) => {
    const { 'sec-fetch-site': site, origin } = ctx.req.headers;
    if (origin === undefined || site === 'same-origin' || allowed.has('*')) return;
    const sender = originOf(origin);
    if (sender !== undefined) {
      if (sender === originOf(`${ctx.protocol}://${ctx.host}`) || allowed.has(sender)) return;
      if (more().some((other) => originOf(other) === sender)) return;
    }
    throw hostError('foreign_origin', { to: 'websocket' });
  };
}

/** In the one form that each origin has: a lower-case host, no default port. */
function originOf(text: string): string | undefined {
  return /^https?:\/\/[^/?#@\\]+$/i.test(text) && URL.canParse(text) ? new URL(text).origin : undefined;
}
