import { type Context, HttpError } from 'plugin-server';

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
   * Refuses a call that a page of another origin makes a browser send. Browsers say so in Origin, and older ones than
   * 2020 in nothing; what is no browser sends neither header and holds no cookie of somebody else's.
   */
  checkOrigin(ctx: Context): void {
    const origin = ctx.get('Origin');
    if (origin === '') {
      const site = ctx.get('Sec-Fetch-Site');
      if (site === '' || site === 'same-origin' || site === 'none') return;
    } else if (this.#origins.has(origin) || isOwn(origin, ctx.host)) return;
    throw new HttpError(
      403,
      'foreign_origin',
      'In cookie mode, pages of other origins may not change sessions. List the origin under cookie_origins to allow it.',
    );
  }
}

/** Schemes are not compared: behind a proxy that ends TLS this server does not know its own. */
function isOwn(origin: string, host: string): boolean {
  return URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
}

function nameFor(ctx: Context): string {
  return ctx.secure ? '__Host-PS_SESSID' : 'PS_SESSID';
}

function attributes(ctx: Context) {
  return { path: '/', httpOnly: true, sameSite: 'lax', secure: ctx.secure, overwrite: true } as const;
}
