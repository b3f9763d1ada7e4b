import { createHash } from 'node:crypto';
import { SessionError } from '../client/client.js';
import type { Answer, Connection } from './connection.js';

/** What sessman keeps as `about` of the sessions that a store creates. */
export interface StoreMark {
  /** The middleware. */
  readonly store: string;
  readonly prefix?: string;
}

export function markOf(store: string, prefix: string): StoreMark {
  if (prefix === '') return { store };
  // `about` may have 1,024 bytes.
  const isShort = /^[\x20-\x7e]{1,100}$/.test(prefix);
  return {
    store,
    prefix: isShort ? prefix : `sha256:${createHash('sha256').update(prefix).digest('base64url')}`,
  };
}

/**
 * The live sessions that stores with one mark created, among all that sessman has. Reads 1,000 at a time, and holds no more.
 * Every method rejects with a SessionError.
 */
export class CreatedSessions {
  readonly #connection: Connection;
  readonly #mark: StoreMark;

  constructor(connection: Connection, mark: StoreMark) {
    this.#connection = connection;
    this.#mark = mark;
  }

  async count(): Promise<number> {
    let count = 0;
    for await (const page of this.#pages()) count += page.length;
    return count;
  }

  /** Reads each of them, by its handle: nobody else knows its id. */
  async *read(): AsyncGenerator<FoundSession> {
    for await (const found of this.#each((each) => this.#call<FoundSession>('get', each))) {
      if (found) yield found;
    }
  }

  /** Ends each of them. A session that is created meanwhile may stay. */
  async end(): Promise<void> {
    for await (const _ of this.#each((each) => this.#call('end', each)));
  }

  async *#each<Result>(call: (entry: Entry) => Promise<Result>): AsyncGenerator<Result> {
    for await (const page of this.#pages()) {
      for (let from = 0; from < page.length; from += callsAtOnce) {
        yield* await Promise.all(page.slice(from, from + callsAtOnce).map(call));
      }
    }
  }

  async *#pages(): AsyncGenerator<readonly Entry[]> {
    let place = '';
    for (;;) {
      const { sessions, next } = await this.#connection.read<Page>(`sessions?limit=${pageSize}${place}`);
      yield sessions.filter(({ about }) => this.#isMarked(about));
      if (next === null) return;
      place = `&after=${encodeURIComponent(next)}`;
    }
  }

  #isMarked(about: Partial<StoreMark> | null | undefined): boolean {
    return about?.store === this.#mark.store && about.prefix === this.#mark.prefix;
  }

  /** Undefined where the session has ended in the meantime. */
  async #call<Result>(name: 'get' | 'end', { userid, handle }: Entry): Promise<Result | undefined> {
    try {
      return await this.#connection.call<Result>(name, { userid, handle });
    } catch (error) {
      if (error instanceof SessionError && error.code === 'session_not_found') return undefined;
      throw error;
    }
  }
}

/** A session that was named by its handle: without its id. */
export type FoundSession = Omit<Answer, 'session_id'>;

interface Entry {
  readonly userid: string;
  readonly handle: string;
  readonly about?: Partial<StoreMark> | null;
}

interface Page {
  readonly sessions: readonly Entry[];
  readonly next: string | null;
}

const pageSize = 1000;
const callsAtOnce = 16;
