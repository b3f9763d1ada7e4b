import type { Context } from 'plugin-server';
import { parseSessionId } from '../session-id.js';

/** The settings that decide what the cookie is: decided once, at the start, never by a request. */
export interface CookieSettings {
  readonly cookie_name: string;
  readonly cookie_secure?: boolean | undefined;
  readonly cookie_domain?: string | undefined;
  readonly cookie_path: string;
  readonly cookie_same_site: 'lax' | 'strict' | 'none';
  readonly cookie_partitioned: boolean;
}

/** Whether browsers send the cookie by HTTPS alone. `https`: whether they reach the server so, as its settings tell. */
export function isSecure({ cookie_secure }: Pick<CookieSettings, 'cookie_secure'>, https: boolean): boolean {
  return cookie_secure ?? https;
}

/**
 * The name with the prefix that keeps other hosts of the site, and pages without TLS, from setting the cookie (RFC 6265bis,
 * section 4.1.3). `__Host-` allows neither a domain nor another path.
 */
export function cookieName(settings: CookieSettings, secure: boolean): string {
  const isForHost = settings.cookie_domain === undefined && settings.cookie_path === '/';
  return `${secure ? (isForHost ? '__Host-' : '__Secure-') : ''}${settings.cookie_name}`;
}

/** What of a session its cookie says. */
interface Remembered {
  readonly id: string;
  /** When it expires however busy it is. */
  readonly ends: number;
  /** Whether the cookie outlives the browser. */
  readonly remember: boolean;
}

/** The session id in a cookie. */
export class SessionCookie {
  readonly name: string;
  readonly #attributes: string;
  readonly #now: () => number;

  /** @param now the time by which sessions expire */
  constructor(settings: CookieSettings, https: boolean, now: () => number) {
    this.#now = now;
    const secure = isSecure(settings, https);
    const { cookie_domain, cookie_path, cookie_same_site, cookie_partitioned } = settings;
    this.name = cookieName(settings, secure);
    this.#attributes = [
      `Path=${cookie_path}`,
      ...(cookie_domain === undefined ? [] : [`Domain=${cookie_domain}`]),
      ...(secure ? ['Secure'] : []),
      'HttpOnly',
      `SameSite=${sameSite[cookie_same_site]}`,
      ...(cookie_partitioned ? ['Partitioned'] : []),
    ].join('; ');
  }

  /**
   * The ids that the request brings: several where the browser holds cookies of this name for several paths or domains.
   * Without those that have not the form of an id, unless there is no other.
   */
  read(ctx: Context): readonly string[] {
    const { cookie = '' } = ctx.req.headers;
    if (!cookie.includes(this.name)) return [];
    const values = new Set<string>();
    for (const pair of cookie.split(';')) {
      const equals = pair.indexOf('=');
      if (equals > 0 && strip(pair.slice(0, equals)) === this.name) values.add(strip(pair.slice(equals + 1)));
    }
    const ids = [...values].filter((value) => parseSessionId(value) !== undefined);
    return (ids.length > 0 ? ids : [...values]).slice(0, mostCookies);
  }

  write(ctx: Context, { id, ends, remember }: Remembered): void {
    const seconds = Math.min(Math.floor((ends - this.#now()) / 1000), longestAge);
    this.#set(ctx, id, remember ? `Max-Age=${Math.max(seconds, 0)}` : undefined);
  }

  clear(ctx: Context): void {
    this.#set(ctx, '', 'Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT');
  }

  /** The last call of a response counts. */
  #set(ctx: Context, value: string, age: string | undefined): void {
    const others = [ctx.response.get('Set-Cookie') ?? []]
      .flat()
      .filter((other) => other !== '' && !other.startsWith(`${this.name}=`));
    const own = `${this.name}=${value}; ${this.#attributes}${age === undefined ? '' : `; ${age}`}`;
    ctx.set('Set-Cookie', [...others, own]);
  }
}

/**
 * Without the blanks and tabs at its ends. A name with any other blank is another name: browsers let any host of the site
 * set it, as they do not see the prefix `__Host-` behind a no-break space.
 */
function strip(text: string): string {
  let start = 0;
  let end = text.length;
  while (isBlank(text[start])) start += 1;
  // Not by /[ \t]+$/, whose time grows with the square of the blanks before another character.
  while (end > start && isBlank(text[end - 1])) end -= 1;
  return text.slice(start, end);
}

function isBlank(character: string | undefined): boolean {
  return character === ' ' || character === '\t';
}

const sameSite = { lax: 'Lax', strict: 'Strict', none: 'None' } as const;
/** Seconds: browsers keep no cookie longer (RFC 6265bis, section 5.5). */
const longestAge = 400 * 86_400;
/** Cookies of the name that are looked up, each with a read of the store. */
const mostCookies = 8;
