import type { Context } from 'koa';

/**
 * The session manager for other plugins, without HTTP. Calls reject with an HttpError. If the plugin does not catch it, its
 * client gets the response of the session manager's own call: 404 `session_not_found`, 412 `version_mismatch`, and so on.
 *
 * ```ts
 * const session = await sessions.create('ann', { cart: [] });
 * ```
 */
export interface SessionService {
  /**
   * Creates a session.
   * @param data an object that JSON can represent; `{}` by default
   * @param sessionId the new session's id, for callers that create their own: 32 bytes in base64url
   * @param traits what lists show of the session, and how long its cookie lasts
   */
  create<Data extends object = Record<string, unknown>>(
    userid: string,
    data?: Data,
    sessionId?: string,
    traits?: SessionTraits,
  ): Promise<Session<Data>>;
  /** Reads a session without changing its expiry. */
  get<Data extends object = Record<string, unknown>>(
    sessionId: string,
    userid?: string,
  ): Promise<Session<Data>>;
  /** Replaces the data. With a version, only if the session is at that version; else the last writer wins. */
  update<Data extends object>(
    sessionId: string,
    data: Data,
    expected?: ExpectedSession,
  ): Promise<Session<Data>>;
  /** Applies a JSON merge patch (RFC 7396) atomically: only the named members change, and null removes one. */
  patch<Data extends object = Record<string, unknown>>(
    sessionId: string,
    patch: object,
    expected?: ExpectedSession,
  ): Promise<Session<Data>>;
  /** Restarts the idle timeout. */
  touch<Data extends object = Record<string, unknown>>(
    sessionId: string,
    expected?: Pick<ExpectedSession, 'userid'>,
  ): Promise<Session<Data>>;
  /** Gives the session a new id and invalidates the old one. Do this after each login. */
  renew<Data extends object = Record<string, unknown>>(
    sessionId: string,
    renewal?: SessionRenewal,
  ): Promise<Session<Data>>;
  end(sessionId: string, expected?: Pick<ExpectedSession, 'userid'>): Promise<void>;
  /**
   * The visitor's session, from the request's cookie; undefined if there is no live one. Only in cookie mode, like `login` and
   * `logout`. For a request that a page of another origin sent, it rejects with 403 `foreign_origin` if that is not a GET, HEAD or
   * OPTIONS, or opens a WebSocket.
   */
  current<Data extends object = Record<string, unknown>>(
    ctx: Context,
    options?: VisitorOptions,
  ): Promise<Session<Data> | undefined>;
  /**
   * Logs the visitor in: creates a session under a new id, and sets the cookie. The session that the cookie named before ends.
   * Check the password first. Rejects with 403 `foreign_origin` if a page of another origin sent the request.
   */
  login<Data extends object = Record<string, unknown>>(
    ctx: Context,
    userid: string,
    options?: LoginOptions<Data>,
  ): Promise<Session<Data>>;
  /** Logs the visitor out: ends the session of the cookie, and clears the cookie. Rejects like `login`. */
  logout(ctx: Context, options?: VisitorOptions): Promise<void>;
  /** Ends a session by the handle that `list` shows. */
  endByHandle(userid: string, handle: string): Promise<void>;
  /** The user's live sessions, newest first. */
  list(userid: string): Promise<SessionEntry[]>;
  /** One page of the live sessions of all users: ordered by handle, or with a prefix by userid and handle. */
  all(walk?: SessionWalk): Promise<SessionPage>;
  /** Ends the user's sessions except the one with the id or handle `except`. Returns how many ended. */
  endAll(userid: string, except?: string): Promise<number>;
  /**
   * Calls the listener for each session that ends in any worker or on any host, but not for sessions that expire. The listener
   * is called at least once for each, within 2 seconds if the store can be reached. After a start, it is also called for the
   * last ten minutes, so calling it twice must do no harm. Returns a function that stops it.
   */
  on(event: 'ended', listener: (ended: SessionEnded) => void): () => void;
  /** Ends the sessions of all users. Returns how many were live; if there are very many, an estimate. */
  endEveryone(): Promise<number>;
}

/** A session as its owner may see it. Times are milliseconds since the Unix epoch. */
export interface Session<Data extends object = Record<string, unknown>> {
  readonly id: string;
  /** Identifies the session without giving access to it. */
  readonly handle: string;
  readonly userid: string;
  /** A copy: change it and pass it to `update`. */
  readonly data: Data;
  /** 1, and one more with every change of the data. */
  readonly version: number;
  readonly created: number;
  /** When it was last updated, patched, touched or renewed. */
  readonly touched: number;
  readonly expires: number;
  /** When it expires even if it is in use; the end of the year 9999 for never. */
  readonly ends: number;
  /** When the user authenticated last. */
  readonly authenticated: number;
  /** Whether its cookie outlives the browser. */
  readonly remember: boolean;
}

/** A session as lists show it: without its id and its data. */
export interface SessionEntry {
  readonly handle: string;
  readonly created: number;
  readonly touched: number;
  readonly expires: number;
  /** When the user authenticated last. */
  readonly authenticated: number;
  /** As passed to `create` or `renew`; null if it cannot be read. */
  readonly about?: object | null;
  readonly ip?: string | null;
  readonly userAgent?: string | null;
  /** Set on the caller's own session. */
  readonly current?: true;
}

/** The end of a session; the end of all sessions has neither handle nor user. */
export interface SessionEnded {
  /** More may come. */
  readonly reason: 'end' | 'end_all' | 'everyone' | 'limit' | 'login';
  readonly handle?: string;
  readonly userid?: string;
}

/** A walk over all sessions, a page at a time. */
export interface SessionWalk {
  /** Sessions on the page: 1 to 1,000; 100 by default. */
  readonly limit?: number | undefined;
  /** `next` of the previous page, with the same prefix. */
  readonly after?: string | undefined;
  /** Only users whose userid begins with this text. */
  readonly userid_prefix?: string | undefined;
}

export interface SessionPage {
  readonly sessions: readonly (SessionEntry & { readonly userid: string })[];
  /** Null on the last page. Stays valid when the session ends. */
  readonly next: string | null;
}

/** Properties that are set when a session is created or renewed. What is omitted at a renewal stays as it is. */
export interface SessionTraits {
  /** Whether its cookie outlives the browser; true by default. */
  readonly remember?: boolean | undefined;
  /** What lists show of the device, such as its name: an object of up to 1,024 bytes of JSON. */
  readonly about?: object | undefined;
  /** The visitor's address and User-Agent, kept where sessman's setting `record` lists them. */
  readonly ip?: string | undefined;
  readonly user_agent?: string | undefined;
}

export interface VisitorOptions {
  /**
   * Accepts a request from another site's page that the plugin has checked itself: the callback of an OAuth provider, once its
   * `state` has been compared.
   */
  readonly foreign?: boolean | undefined;
}

export interface LoginOptions<Data extends object = Record<string, unknown>> extends VisitorOptions {
  /** An object that JSON can represent; `{}` by default. */
  readonly data?: Data | undefined;
  /** Whether the cookie outlives the browser; true by default. */
  readonly remember?: boolean | undefined;
  /** What lists show of the device, such as its name: an object of up to 1,024 bytes of JSON. */
  readonly about?: object | undefined;
}

export interface SessionRenewal extends SessionTraits {
  readonly userid?: string | undefined;
  /** The user has just authenticated again: both timeouts restart (NIST SP 800-63B-4, section 5.2). */
  readonly authenticated?: boolean | undefined;
}

/** What a call requires of the session besides its id. */
export interface ExpectedSession {
  readonly userid?: string;
  readonly version?: number;
}

/** What the bundled plugins provide to others. */
export interface BundledServices {
  /** The session manager, for plugins that name it in `after`. */
  readonly sessman: SessionService;
}
