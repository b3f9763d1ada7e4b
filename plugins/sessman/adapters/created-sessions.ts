import { createHash } from 'node:crypto';
import { SessionError } from '../client/client.js';
import type { Connection } from './connection.js';

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

  /** Ends each of them. A session that is created meanwhile may stay. */
  async end(): Promise<void> {
    for await (const page of this.#pages()) {
      for (let from = 0; from < page.length; from += endedAtOnce) {
        await Promise.all(page.slice(from, from + endedAtOnce).map((each) => this.#endOne(each)));
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

  async #endOne({ userid, handle }: Entry): Promise<void> {
    try {
      await this.#connection.call('end', { userid, handle });
    } catch (error) {
      // It has ended in the meantime.
      if (!(error instanceof SessionError && error.code === 'session_not_found')) throw error;
    }
  }
}

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
const endedAtOnce = 16;
