import type { Context } from 'plugin-server';
import { sessmanError } from '../errors.js';

/** Refuses what a page of another origin makes a browser send; throws 403 `foreign_origin`. */
export type OriginRule = (ctx: Context) => void;

/**
 * Browsers say in Sec-Fetch-Site how the page and the URL that it asks for are related, which holds behind a proxy that
 * rewrites Host as well. Older ones, and those without HTTPS, say in Origin where the page is from. What sends neither is
 * not a browser, and holds nobody's cookie.
 *
 * @param allowed origins besides the server's own whose pages may use the cookie
 */
export function originRule(allowed: readonly string[]): OriginRule {
  const origins = new Set(allowed.map((origin) => new URL(origin).origin));
  return (ctx) => {
    const { origin: sent = '', 'sec-fetch-site': site = '' } = ctx.req.headers;
    const origin = originOf(sent);
    if (origin !== undefined && origins.has(origin)) return;
    if (site === 'same-origin' || site === 'none') return;
    if (site === '') {
      if (sent === '') return;
      if (origin !== undefined && origin === originOf(`${ctx.protocol}://${ctx.host}`)) return;
    }
    throw sessmanError('foreign_origin');
  };
}

/** Whether a page made a browser send the request. */
export function isFromPage({ req: { headers } }: Context): boolean {
  return headers.origin !== undefined || headers['sec-fetch-site'] !== undefined;
}

/** In the one form that each origin has: a lower-case host, no default port. */
function originOf(text: string): string | undefined {
  return /^https?:\/\/[^/?#@\\]+$/i.test(text) && URL.canParse(text) ? new URL(text).origin : undefined;
}
