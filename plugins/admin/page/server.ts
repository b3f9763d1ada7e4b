import type {
  EndAnswer,
  Hello,
  Plugin,
  Problem,
  ReloadAnswer,
  Sample,
  SessionList,
  StreamEvents,
  Traffic,
  Workers,
} from '../wire.js';
import { readEvents } from './events.js';

/** How the page stands with the server. */
export type Connection = 'connecting' | 'live' | 'lost';

/** Why the page is not let in. */
export type Refusal = 'key_required' | 'wrong_key' | 'no_global_key';

export interface ServerState extends Workers {
  readonly connection: Connection;
  /** Undefined until the first stream has begun. */
  readonly hello: Hello | undefined;
  readonly samples: readonly Sample[];
  /** Of the last second; undefined before the first. */
  readonly traffic: Readonly<Record<string, Traffic>> | undefined;
  readonly plugins: readonly Plugin[];
  /** The one seen last comes first. */
  readonly problems: readonly Problem[];
}

/** An answer that is an error, in the server's own words. */
export class ServerError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly body: unknown,
  ) {
    super(message);
  }
}

/** Milliseconds. */
const PAUSES = { first: 250, longest: 15_000 };
const SILENCE = 10_000;
const MOST_SAMPLES = 600;
const MOST_PROBLEMS = 200;

const nothing: ServerState = {
  connection: 'connecting',
  hello: undefined,
  samples: [],
  traffic: undefined,
  workers: [],
  lastReload: null,
  plugins: [],
  problems: [],
};

/**
 * The page's one line to the server: a stream of events that is opened anew whenever it ends, with growing pauses while
 * that fails, and the calls. `changed` is called after each change of `state`.
 */
export class Server {
  state: ServerState = nothing;
  readonly #key: string;
  readonly #changed: () => void;
  readonly #refused: (why: Refusal) => void;
  readonly #closing = new AbortController();

  constructor(key: string, changed: () => void, refused: (why: Refusal) => void) {
    this.#key = key;
    this.#changed = changed;
    this.#refused = refused;
  }

  /** Follows the server until `close`, or until the server refuses the key. */
  async follow(): Promise<void> {
    let pause = PAUSES.first;
    while (!this.#closing.signal.aborted) {
      try {
        for await (const { name, data } of await this.#open()) {
          this.#take(name as keyof StreamEvents, JSON.parse(data));
          pause = PAUSES.first;
        }
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        if (error instanceof ServerError && this.#isRefusal(error)) return;
        // A stream that was ended in order is a reload's: the next one is about to begin.
        this.#set({ connection: this.state.hello === undefined ? 'connecting' : 'lost' });
      }
      // Many pages that lost the same server are not to come back at once.
      await sleep(pause * (0.75 + Math.random() / 2));
      pause = Math.min(pause * 2, PAUSES.longest);
    }
  }

  close(): void {
    this.#closing.abort();
  }

  async reload(): Promise<ReloadAnswer> {
    try {
      return await this.#call<ReloadAnswer>('reload');
    } catch (error) {
      if (error instanceof ServerError && error.status === 422 && error.code === '')
        return error.body as ReloadAnswer;
      throw error;
    }
  }

  listSessions(userid: string): Promise<SessionList> {
    return this.#call('sessions/list', { userid });
  }

  endSession(userid: string, handle: string): Promise<EndAnswer> {
    return this.#call('sessions/end', { userid, handle });
  }

  endAllSessions(userid: string): Promise<EndAnswer> {
    return this.#call('sessions/end_all', { userid });
  }

  async #open() {
    const response = await this.#fetch('stream', {});
    if (!response.ok || response.body === null) throw await errorOf(response);
    return readEvents(response.body, SILENCE);
  }

  async #call<Answer>(path: string, body: object = {}): Promise<Answer> {
    const response = await this.#fetch(path, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json' },
    }).catch(() => {
      throw new ServerError(0, 'unreachable', 'The server cannot be reached.', undefined);
    });
    if (response.ok) return (await response.json()) as Answer;
    const error = await errorOf(response);
    this.#isRefusal(error);
    throw error;
  }

  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    try {
      if (this.#key !== '') headers.set('Authorization', `Bearer ${this.#key}`);
    } catch {
      // It has characters that no header may have: no server can be given it.
      throw new ServerError(401, 'wrong_api_key', '', undefined);
    }
    return fetch(`api/${path}`, { ...init, headers, signal: this.#closing.signal, cache: 'no-store' });
  }

  /** A refused key ends the following; the page then asks for another. */
  #isRefusal({ status, code }: ServerError): boolean {
    const why = refusals.get(code);
    if (why === undefined || (status !== 401 && status !== 403)) return false;
    this.close();
    this.#refused(why);
    return true;
  }

  #take<Name extends keyof StreamEvents>(name: Name, data: StreamEvents[Name]): void {
    const events: { [Each in keyof StreamEvents]: (data: StreamEvents[Each]) => Partial<ServerState> } = {
      hello: (hello) => ({
        connection: 'live',
        hello,
        samples: hello.samples,
        problems: hello.problems.toReversed(),
        plugins: hello.plugins,
        workers: hello.workers,
        lastReload: hello.lastReload,
      }),
      sample: ({ sample, ...latest }) => ({
        samples: [...this.state.samples.slice(1 - MOST_SAMPLES), sample],
        ...latest,
      }),
      problem: (problem) => ({
        problems: [problem, ...this.state.problems.filter(({ id }) => id !== problem.id)].slice(
          0,
          MOST_PROBLEMS,
        ),
      }),
      plugins: (plugins) => ({ plugins }),
    };
    this.#set(events[name](data));
  }

  #set(change: Partial<ServerState>): void {
    this.state = { ...this.state, ...change };
    this.#changed();
  }
}

const refusals = new Map<string, Refusal>([
  ['api_key_required', 'key_required'],
  ['wrong_api_key', 'wrong_key'],
  ['no_global_key', 'no_global_key'],
]);

async function errorOf(response: Response): Promise<ServerError> {
  const body: unknown = await response.json().catch(() => ({}));
  const { error = `The server answered with ${response.status}.`, code = '' } = body as {
    error?: string;
    code?: string;
  };
  return new ServerError(response.status, code, error, body);
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
