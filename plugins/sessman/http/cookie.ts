import type { Context } from 'plugin-server';
import { sessmanError } from '../errors.js';

export interface SessionCookieOptions {
  /** Seconds after which the browser forgets it; 0 for when it closes. */
  readonly maxAge: number;
  /** Origins besides the server's own whose pages may use it. */
  readonly origins: readonly string[];
}

/**
 * The session id in a cookie: HttpOnly, SameSite=Lax, and over TLS also Secure and with the `__Host-` prefix (RFC 6265bis,
 * section 4.1.3.2), which keeps other hosts of the site from setting it.
 */
export class SessionCookie {
  readonly #maxAge: number;
  readonly #origins: ReadonlySet<string>;

  constructor({ maxAge, origins }: SessionCookieOptions) {
    this.#maxAge = maxAge;
    this.#origins = new Set(origins.map((origin) => new URL(origin).origin));
  }

  read(ctx: Context): string | undefined {
    return ctx.cookies.get(nameFor(ctx));
  }

  write(ctx: Context, sessionId: string): void {
    ctx.cookies.set(nameFor(ctx), sessionId, {
      ...attributes(ctx),
      ...(this.#maxAge > 0 && { maxAge: this.#maxAge * 1000 }),
    });
  }

  clear(ctx: Context): void {
    ctx.cookies.set(nameFor(ctx), null, attributes(ctx));
  }

  /**
   * Refuses a call that a page of another origin makes a browser send. A browser says in Sec-Fetch-Site how the page and
   * the URL are related that it asked for, which a proxy between it and this server does not change; an older one, or one
   * without TLS, says where the page is from in Origin. What sends neither is not a browser, and holds nobody's cookie.
   */
  checkOrigin(ctx: Context): void {
    const origin = originOf(ctx.get('Origin'));
    if (origin !== undefined && this.#origins.has(origin)) return;
    const site = ctx.get('Sec-Fetch-Site');
    if (site === 'same-origin' || site === 'none') return;
    if (site === '') {
      if (ctx.get('Origin') === '') return;
      if (origin !== undefined && origin === originOf(`${ctx.protocol}://${ctx.host}`)) return;
    }
    throw sessmanError('foreign_origin');
  }
}

/** In the one form that each origin has: a lower-case host, no default port. */
function originOf(text: string): string | undefined {
  return /^https?:\/\/[^/?#@\\]+$/i.test(text) && URL.canParse(text) ? new URL(text).origin : undefined;
}

function nameFor(ctx: Context): string {
  return ctx.secure ? '__Host-PS_SESSID' : 'PS_SESSID';
}

function attributes(ctx: Context) {
  return { path: '/', httpOnly: true, sameSite: 'lax', secure: ctx.secure, overwrite: true } as const;
}
