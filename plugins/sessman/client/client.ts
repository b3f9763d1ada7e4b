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
 * Every method rejects with a SessionError. Calls on one Session run one after another, in the order they were made.
 */
export class Session<Data extends object = Record<string, unknown>> {
  readonly options: SessionOptions<Data>;
  base_url: string;
  user: string;
  /** Yours to change; `updateSession()` stores it. */
  data: Data;
  session_id?: string;
  /** Counts the changes of the data, whoever made them. */
  version?: number;
  /** RFC 3339. */
  created_at?: string;
  updated_at?: string;
  expires_at?: string;

  #stored = '{}';
  #last: Promise<unknown> = Promise.resolve();

  constructor(user: string, options?: SessionOptions<Data>) {
    this.options = { ...options };
    this.base_url = (this.options.base_url ?? home).replace(/\/+$/, '');
    this.user = user;
    this.data = this.options.data ?? ({} as Data);
  }

  /** Makes a session for the user. */
  static async create<Data extends object = Record<string, unknown>>(
    user: string,
    options?: SessionOptions<Data>,
  ): Promise<Session<Data>> {
    const session = new Session(user, options);
    await session.createSession();
    return session;
  }

  /** Reads a session that exists: code `session_not_found` where it has ended, or is another user's. */
  static async open<Data extends object = Record<string, unknown>>(
    user: string,
    session_id: string,
    options?: SessionOptions<Data>,
  ): Promise<Session<Data>> {
    const session = new Session(user, options);
    session.session_id = session_id;
    return session.get();
  }

  /** Makes the session that the constructor described; `create` does both. */
  createSession(): Promise<this> {
    return this.#inTurn(async () => {
      const answer = await this.get_data('new', { userid: this.user }, this.data);
      return this.#accept(answer, this.data);
    });
  }

  /** Reads the data anew. Changes of `data` that were not stored are gone. Does not postpone the expiry. */
  get(): Promise<this> {
    return this.#inTurn(() => this.#read());
  }

  /**
   * Stores `data` and postpones the expiry. When someone else has stored since it was read, it rejects with code
   * `version_mismatch` and stores nothing: read with `get()` and change again, or use `change()`, which does so for
   * you. `{ force: true }` overwrites what the other one stored.
   */
  updateSession(options: { force?: boolean } = {}): Promise<this> {
    return this.#inTurn(async () => {
      const version = options.force ? undefined : this.version;
      return this.#accept(await this.#ask('update', { version }, this.data), this.data);
    });
  }

  /**
   * Applies a change to the stored data, and again to newer data when someone else was faster, up to
   * `options.retries` times. `apply` changes the data it is given, at once or asynchronously, or returns other data. It
   * may run several times, so it should do nothing else, and it must not wait for other calls on this Session.
   */
  change(apply: (data: Data) => unknown): Promise<this> {
    return this.#inTurn(async () => {
      for (let retries = this.options.retries ?? 20, pause = 5; ; retries--, pause *= 2) {
        const draft = JSON.parse(this.#stored) as Data;
        const data = ((await apply(draft)) as Data | undefined) ?? draft;
        try {
          return this.#accept(await this.#ask('update', { version: this.version }, data), data);
        } catch (error) {
          if ((error as SessionError).code !== 'version_mismatch' || retries <= 0) throw error;
        }
        await new Promise((wake) => setTimeout(wake, Math.random() * Math.min(pause, 500)));
        await this.#read();
      }
    });
  }

  /** Changes only the keys named, at once and whatever others store: a JSON merge patch, in which null removes. */
  patch(changes: object): Promise<this> {
    return this.#inTurn(async () => this.#accept(await this.#ask('patch', {}, changes)));
  }

  /** Postpones the expiry. */
  touch(): Promise<this> {
    return this.#inTurn(async () => this.#accept(await this.#ask('touch'), this.data, this.#stored));
  }

  /** Moves the session to a new `session_id`; the old one is dead. Do it when a user logs in. */
  renew(): Promise<this> {
    return this.#inTurn(async () => this.#accept(await this.#ask('renew'), this.data, this.#stored));
  }

  /** Ends the session at once and for everyone. */
  end(): Promise<void> {
    return this.#inTurn(async () => void (await this.#ask('end')));
  }

  /** The URL of a call. */
  get_command_url(command: string, parameters: Parameters = {}): string {
    const query = new URLSearchParams(JSON.parse(JSON.stringify(parameters))).toString();
    return `${this.base_url}/${command}${query && `?${query}`}`;
  }

  /**
   * Sends a call and gives its answer. The session id goes in a header and the other parameters in the body: URLs end
   * up in histories and logs.
   */
  async get_data(command: string, parameters: Parameters = {}, data?: object): Promise<Answer<Data>> {
    const { auth, log, timeout = 30_000 } = this.options;
    const { session_id, ...others } = parameters;
    const headers: Record<string, string> = { 'Content-Type': 'application/json' };
    if (auth) headers.Authorization = `Bearer ${auth}`;
    if (session_id) headers['X-Session-Id'] = `${session_id}`;
    const url = this.get_command_url(command);
    let response: Response;
    let text: string;
    try {
      response = await (this.options.fetch ?? fetch)(url, {
        method: 'POST',
        headers,
        body: JSON.stringify({ ...others, data }),
        redirect: 'error',
        signal: AbortSignal.timeout(timeout),
      });
      text = await response.text();
    } catch (cause) {
      log?.log(`sessman ${command}: no answer`);
      throw new SessionError(
        (cause as Error).name === 'TimeoutError' ? 'timeout' : 'network_error',
        `no answer from ${url}: ${(cause as Error).message}`,
        { cause },
      );
    }
    const { status } = response;
    log?.log(`sessman ${command}: ${status}`);
    const answer = parse(text);
    if (!answer || !(response.ok || answer.code)) throw notSessman(url, status);
    if (response.ok) return answer as Answer<Data>;
    throw new SessionError(answer.code, answer.error, { ...answer, status });
  }

  #ask(command: string, parameters?: Parameters, data?: object): Promise<Answer<Data>> {
    return this.get_data(command, { session_id: this.session_id, userid: this.user, ...parameters }, data);
  }

  async #read(): Promise<this> {
    return this.#accept(await this.#ask('get'));
  }

  /**
   * Takes over an answer. `data` is what is kept as the session's: what was sent may have been changed further since.
   * An answer to a call that stores no data may tell of another's newer version, which then is not the one held here.
   */
  #accept(answer: Answer<Data>, data = answer.data, held?: string): this {
    const { session_id, version, created_at, updated_at, expires_at } = answer;
    if (!session_id || !answer.data) throw notSessman(this.base_url);
    const stored = JSON.stringify(answer.data);
    Object.assign(this, { session_id, created_at, updated_at, expires_at, data });
    if (held === undefined || held === stored) {
      this.version = version;
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
  /** Where sessman is, such as `https://example.org/sessman`; by default where this module was loaded from. */
  base_url?: string;
  /** The API key, sent as a bearer token. */
  auth?: string | null;
  /** The data that a new session begins with. */
  data?: Data;
  /** How often `change()` begins anew when others store at the same time; 20 by default. */
  retries?: number;
  /** Milliseconds that a call may take; 30,000 by default. */
  timeout?: number;
  /** Told of each call and its status, never of ids, keys or data: `{ log: console }`. */
  log?: { log(message: string): void } | null;
  /** Used in place of the global fetch. */
  fetch?: typeof fetch;
}

/** Why a call failed. */
export class SessionError extends Error {
  override readonly name = 'SessionError';
  /** The HTTP status; 0 where there was no answer. */
  readonly status: number;
  /** What to look for in the server's log. */
  readonly request_id?: string;
  /** With code `version_mismatch`: the version that is stored. */
  readonly version?: number;

  constructor(
    /** The server's code, such as `session_not_found`; else `network_error`, `timeout` or `invalid_answer`. */
    readonly code: string,
    message: string,
    options: { status?: number; request_id?: string; version?: number; cause?: unknown } = {},
  ) {
    super(message, options);
    this.status = options.status ?? 0;
    this.request_id = options.request_id;
    this.version = options.version;
  }
}

type Parameters = Record<string, string | number | undefined>;

interface Answer<Data> {
  session_id: string;
  userid: string;
  data: Data;
  version: number;
  created_at: string;
  updated_at: string;
  expires_at: string;
}

const home = /^https?:/.test(import.meta.url)
  ? new URL('.', import.meta.url).href
  : 'http://127.0.0.1:6123/sessman';

function notSessman(url: string, status?: number): SessionError {
  const message = `${url} answered, but not as sessman does; is base_url right?`;
  return new SessionError('invalid_answer', message, { status });
}

// biome-ignore lint/suspicious/noExplicitAny: whatever the server sent
function parse(text: string): any {
  try {
    const value = JSON.parse(text);
    return value && typeof value === 'object' ? value : undefined;
  } catch {
    return undefined;
  }
}
