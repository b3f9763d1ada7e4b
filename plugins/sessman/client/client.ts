const { parse, stringify } = JSON;

/**
 * A session kept by sessman, for browsers, Node, Deno and Bun.
 *
 * ```js
 * import { Session } from 'http://127.0.0.1:6123/sessman/client.js';
 *
 * const session = await Session.create('mary', { auth: KEY, data: { cart: [] } });
 * session.data.cart.push('apple');
 * await session.updateSession();
 * ```
 *
 * Every method rejects with a SessionError, and the constructor throws one. Calls on one Session run one after another,
 * in the order they were made.
 */
export class Session<Data extends object = Record<string, unknown>> {
  // Declared, since each field that is not costs bytes in the page.
  declare readonly options: SessionOptions<Data>;
  declare base_url: string;
  declare user: string;
  /** Yours to change; `updateSession()` stores it. */
  declare data: Data;
  /** Undefined if the session comes from the page's cookie. */
  declare session_id?: string;
  /** Identifies the session; does not give access to it. */
  declare handle?: string;
  /** Counts the changes of the data, whoever made them. */
  declare version?: number;
  /** RFC 3339. */
  declare created_at?: string;
  declare updated_at?: string;
  declare expires_at?: string;
  declare authenticated_at?: string;

  #stored = '{}';
  #last: Promise<unknown> = Promise.resolve();
  /** Whether the session comes from the page's cookie. */
  #held = false;

  /** `user` may be an integer, which is converted to text. `options.data` is copied. */
  constructor(user: string | number, options?: SessionOptions<Data>) {
    this.options = { ...options };
    this.base_url = `${this.options.base_url ?? home}`.replace(/\/+$/, '');
    if (typeof user !== 'string' && !Number.isSafeInteger(user))
      throw new SessionError('invalid_userid', `user is ${tagOf(user)}, not text or a whole number`);
    this.user = `${user}`;
    this.data = copyOf(this.options.data ?? {}) as Data;
  }

  /** Creates a session for the user. */
  static async create<Data extends object = Record<string, unknown>>(
    user: string | number,
    options?: SessionOptions<Data>,
  ): Promise<Session<Data>> {
    return new Session(user, options).createSession();
  }

  /** Reads an existing session. Code `session_not_found`: it has expired, was ended, or belongs to another user. */
  static async open<Data extends object = Record<string, unknown>>(
    user: string | number,
    session_id: string,
    options?: SessionOptions<Data>,
  ): Promise<Session<Data>> {
    return Object.assign(new Session(user, options), { session_id }).get();
  }

  /**
   * The visitor's session, from sessman's cookie in cookie mode; undefined if nobody is logged in. Its `data` stays empty unless
   * sessman's setting `cookie_data` lets pages read it.
   */
  static async current<Data extends object = Record<string, unknown>>(
    options?: SessionOptions<Data>,
  ): Promise<Session<Data> | undefined> {
    const session = new Session('', options);
    session.#held = true;
    try {
      return await session.get();
    } catch (error) {
      if (!isGone(error)) throw error;
      return undefined;
    }
  }

  /** Creates the session that the constructor describes; `create` does both. */
  createSession(): Promise<this> {
    return this.#inTurn(async () => {
      return this.#accept(await this.get_data('new', { userid: this.user }, this.data), this.data);
    });
  }

  /** Reads the data again. Changes to `data` that were not stored are lost. Does not postpone the expiry. */
  get(): Promise<this> {
    return this.#inTurn(() => this.#read());
  }

  /**
   * Stores `data` and postpones the expiry. If someone else has stored since it was read, this rejects with code
   * `version_mismatch` and stores nothing: read with `get()` and change the data again, or use `change()`, which does that for
   * you. `{ force: true }` overwrites what someone else stored.
   */
  updateSession(options: { force?: boolean } = {}): Promise<this> {
    return this.#inTurn(async () => {
      return this.#store(this.data, options.force ? undefined : this.version);
    });
  }

  /**
   * Applies a change to the stored data, and again to newer data when someone else stored first, up to
   * `options.retries` times. `apply` changes the draft that it receives, synchronously or asynchronously, or leaves it
   * unchanged and returns other data. Its return value is ignored if it changed the draft or returns a part of it, as
   * `(data) => (data.address = {…})` does. It may run several times, so it must do nothing else, and it must not await other
   * calls on this Session.
   */
  change(apply: (data: Data) => unknown): Promise<this> {
    return this.#inTurn(async () => {
      for (let retries = this.options.retries ?? 20, pause = 5; ; retries--, pause *= 2) {
        const draft = parse(this.#stored) as Data;
        const other = await apply(draft);
        const isOther = textOf(draft) === this.#stored && isObject(other) && !holds(draft, other);
        const data = isOther ? (copyOf(other) as Data) : draft;
        try {
          return await this.#store(data, this.version);
        } catch (error) {
          if ((error as SessionError).code !== 'version_mismatch' || retries <= 0) throw error;
        }
        await new Promise((wake) => setTimeout(wake, Math.random() * Math.min(pause, 500)));
        await this.#read();
      }
    });
  }

  /**
   * Changes only the named members, atomically and whatever others store: a JSON merge patch, in which null removes a
   * member. Changes to `data` that were not stored yet are kept, with the patch applied to them.
   */
  patch(changes: object): Promise<this> {
    return this.#inTurn(async () => {
      const own = copyOf(changes);
      // Before anything is stored: what is here must be comparable afterwards.
      textOf(this.data);
      const answer = await this.#ask('patch', {}, own);
      if (textOf(this.data) === this.#stored) return this.#accept(answer);
      merge(this.data as Members, own);
      // What others stored meanwhile is not in this data: storing it must then fail as version_mismatch.
      const isSeen = answer.version === this.version! + 1;
      return this.#accept(answer, this.data, isSeen ? undefined : this.#stored);
    });
  }

  /** Postpones the expiry. */
  touch(): Promise<this> {
    return this.#keepData('touch');
  }

  /** Moves the session to a new `session_id`; the old one stops working. Call it when a user logs in. */
  renew(): Promise<this> {
    return this.#keepData('renew');
  }

  /** Ends the session at once and for everyone. */
  end(): Promise<void> {
    return this.#inTurn(async () => void (await this.#ask('end')));
  }

  /**
   * Calls the listener for changes and for the end of the session, wherever they happen, until the returned function is
   * called. Of the tabs of one origin, only one asks the server.
   */
  watch(listener: (event: SessionEvent) => void): () => void {
    let isWatched = true;
    let stop = () => {};
    // Loaded only to watch. Its URL is not a literal, so that this module can be bundled alone.
    import(new URL('./watch.js', import.meta.url).href).then(({ watch }) => {
      if (!isWatched) return;
      stop = watch({
        url: this.get_command_url('watch'),
        init: () => this.#init({ 'X-Session-Id': this.session_id }),
        fetch: this.options.fetch ?? fetch,
        name: `sessman ${this.base_url} ${this.handle}`,
        read: () => this.get(),
        tell: listener,
      });
    });
    return () => {
      isWatched = false;
      stop();
    };
  }

  /** The URL of a call. */
  get_command_url(command: string, parameters: Parameters = {}): string {
    const query = `${new URLSearchParams(parse(stringify(parameters)))}`;
    return `${this.base_url}/${command}${query && `?${query}`}`;
  }

  /**
   * Sends a call and returns its response. The session id is sent in a header and the other parameters in the body: URLs end
   * up in histories and logs.
   */
  async get_data(command: string, parameters: Parameters = {}, data?: object): Promise<Answer<Data>> {
    const { auth, log, timeout = 30_000 } = this.options;
    const { session_id, ...others } = parameters;
    const url = this.get_command_url(command);
    if (data !== undefined) textOf(data);
    let sent: boolean | undefined;
    let response: Response;
    let text: string;
    try {
      const body = stringify({ ...others, data });
      const signal = AbortSignal.timeout(timeout);
      const init = this.#init({
        'Content-Type': 'application/json',
        Authorization: auth && `Bearer ${auth}`,
        'X-Session-Id': session_id,
      });
      Object.assign(init, { method: 'POST', body, redirect: 'error', signal });
      // Distinguishes a mistake in the options from a network failure.
      new Request(url, init);
      sent = true;
      response = await (this.options.fetch ?? fetch)(url, init);
      text = await response.text();
    } catch (cause) {
      const { name, message } = cause as Error;
      // The message of such a mistake would quote the key or the session id.
      if (!sent) throw new SessionError('invalid_options', 'check base_url, timeout, auth, session_id');
      log?.log(`sessman ${command}: no reply`);
      throw new SessionError(
        name === 'TimeoutError' ? 'timeout' : 'network_error',
        `no reply from ${url}: ${message}`,
        { cause },
      );
    }
    const { status } = response;
    log?.log(`sessman ${command}: ${status}`);
    // biome-ignore lint/suspicious/noExplicitAny: whatever the server sent
    let answer: any;
    try {
      answer = parse(text);
    } catch {
      // Not JSON, and so not sessman's.
    }
    if (Object(answer) !== answer || !(response.ok || answer.code)) throw notSessman(url, status);
    if (response.ok) return answer as Answer<Data>;
    throw new SessionError(answer.code, answer.error, { ...answer, status });
  }

  /** With the handle of this session: the cookie may belong to another one by now. */
  #init(headers: Record<string, unknown>): RequestInit {
    const sent = Object.entries({ ...headers, 'X-Session-Handle': this.handle }).filter(([, value]) => value);
    return {
      headers: Object.fromEntries(sent) as Record<string, string>,
      ...(this.#held && { credentials: 'include' }),
    };
  }

  #ask(command: string, parameters?: Parameters, data?: object): Promise<Answer<Data>> {
    const named = this.#held ? {} : { session_id: this.session_id, userid: this.user };
    return this.get_data(command, { ...named, ...parameters }, data);
  }

  async #store(data: Data, version: number | undefined): Promise<this> {
    return this.#accept(await this.#ask('update', { version }, data), data);
  }

  #keepData(command: string): Promise<this> {
    return this.#inTurn(async () => this.#accept(await this.#ask(command), this.data, this.#stored));
  }

  async #read(): Promise<this> {
    return this.#accept(await this.#ask('get'));
  }

  /**
   * Adopts a response. `data` becomes the session's: what was sent may have been changed further since. If the response is
   * about data other than `held`, someone else stored it, and the version here stays the older one.
   */
  #accept(answer: Answer<Data>, data = answer.data, held?: string): this {
    // A page that has a cookie does not receive the id, whatever key it sends.
    this.#held ||= !answer.session_id && !!answer.handle;
    if (!this.#held && !(answer.session_id && answer.data)) throw notSessman(this.base_url, 200);
    const stored = stringify(answer.data ?? {});
    this.data = data ?? ({} as Data);
    if (this.#held) this.user = answer.userid;
    for (const name of names) this[name] = answer[name];
    if ((held ?? stored) === stored) {
      this.version = answer.version;
      this.#stored = stored;
    }
    return this;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}

export interface SessionOptions<Data extends object = Record<string, unknown>> {
  /** The URL of sessman, such as `https://example.org/sessman`; by default where this module was loaded from. */
  base_url?: string;
  /** The API key, sent as a bearer token. */
  auth?: string | null;
  /** The data that a new session starts with. */
  data?: Data;
  /** How often `change()` tries again when others store at the same time; 20 by default. */
  retries?: number;
  /** Milliseconds that a call may take; 30,000 by default. */
  timeout?: number;
  /** Receives each call and its status, never ids, keys or data: `{ log: console }`. */
  log?: { log(message: string): void } | null;
  /** Called in place of the global fetch. */
  fetch?: typeof fetch;
}

/** An event of `watch`: the current state of the session, or its end. Reasons may be added. */
export type SessionEvent =
  | {
      readonly type: 'session';
      readonly version: number;
      readonly updated_at: string;
      readonly expires_at: string;
    }
  | {
      readonly type: 'end';
      /** `end`, `end_all`, `everyone`, `limit`, `login`, `expired`; or `gone`, if the server no longer knows it. */
      readonly reason: string;
    };

/** Why a call failed. */
export class SessionError extends Error {
  override readonly name = 'SessionError';
  /**
   * The server's code, such as `session_not_found`, or one of the client's: `network_error`, `timeout`,
   * `invalid_answer`; and before anything is sent `invalid_data`, `invalid_userid`, `invalid_options`.
   */
  declare readonly code: string;
  /** The HTTP status; 0 without a response. */
  declare readonly status: number;
  /** Finds the call in the server's log. */
  declare readonly request_id?: string;
  /** With code `version_mismatch`: the version that is stored. */
  declare readonly version?: number;

  constructor(
    code: string,
    message: string,
    options: { status?: number; request_id?: string; version?: number; cause?: unknown } = {},
  ) {
    super(message, options);
    this.code = code;
    this.status = options.status ?? 0;
    this.request_id = options.request_id;
    this.version = options.version;
  }
}

type Parameters = Record<string, string | number | undefined>;

const names = ['session_id', 'handle', 'created_at', 'updated_at', 'expires_at', 'authenticated_at'] as const;

interface Answer<Data> {
  session_id: string;
  handle?: string;
  authenticated_at?: string;
  userid: string;
  data: Data;
  version: number;
  created_at: string;
  updated_at: string;
  expires_at: string;
}

const home = /^http/.test(import.meta.url)
  ? new URL('.', import.meta.url).href
  : 'http://127.0.0.1:6123/sessman';

function isGone(error: unknown): boolean {
  return /^session_(required|not_found)$/.test((error as SessionError).code);
}

function notSessman(url: string, status: number): SessionError {
  return new SessionError('invalid_answer', `${url} is not sessman: check base_url`, { status });
}

type Members = Record<string, unknown>;

function isObject(value: unknown): value is Members {
  return tagOf(value) === '[object Object]';
}

/** The JSON text of data, or an error that names what JSON would silently lose or change: `data.cart.2`. */
function textOf(data: unknown): string {
  const places = new Map<unknown, string>();
  let place = 'data';
  try {
    if (!isObject(data)) throw Error('not an object');
    return stringify(data, function (this: Members, name, value) {
      const isList = Array.isArray(this);
      if (places.size > 0) place = `${places.get(this)}.${name}`;
      places.set(value, place);
      // An invalid Date is null in JSON.
      const isHeld =
        value === null
          ? this[name] === null
          : value === undefined
            ? !isList
            : Number.isFinite(value) || /string|boolean|t (Obj|Array])/.test(typeof value + tagOf(value));
      if (!isHeld) throw Error(typeof value === 'number' ? `${value}` : tagOf(this[name]));
      return value;
    });
  } catch (cause) {
    throw new SessionError(
      'invalid_data',
      `JSON cannot represent ${place.slice(0, 99)}: ${(cause as Error).message}`,
    );
  }
}

/** A copy through JSON. */
function copyOf(data: unknown): Members {
  return parse(textOf(data));
}

/** `[object Map]` */
function tagOf(value: unknown): string {
  return {}.toString.call(value);
}

/** Whether one of the values in an object, however deep, is this one. */
function holds(object: object, part: object): boolean {
  return (
    object === part ||
    Object.values(object).some((member) => Object(member) === member && holds(member, part))
  );
}

/** Applies a JSON merge patch (RFC 7396). */
function merge(target: Members, changes: Members): void {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) delete target[name];
    else if (isObject(value)) {
      if (!isObject(target[name])) target[name] = {};
      merge(target[name] as Members, value);
    } else target[name] = value;
  }
}
