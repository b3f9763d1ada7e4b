import { setTimeout as sleep } from 'node:timers/promises';
import { type Db, MongoClient, MongoError, MongoServerSelectionError } from 'mongodb';
import type { MongoConnection } from './connection.js';
import { hasCode, isOutOfSpace } from './errors.js';
import { type MongoRefusal, refusalOf } from './refusal.js';

export interface LinkOptions<Failure extends Error> {
  readonly connection: MongoConnection;
  readonly log: {
    info(fields: object, message: string): void;
    error(fields: object, message: string): void;
    debug(fields: object, message: string): void;
  };
  /** What is kept there and by what, for messages: `sessions`, `the session store`. */
  readonly content: string;
  readonly store: string;
  /** Creates the indexes, over a connection that waits for them. */
  readonly prepare: (db: Db) => Promise<void>;
  /** The error of an operation that could not be done. */
  readonly unavailable: (cause?: unknown) => Failure;
  /** The same where the database has no space. */
  readonly full: (cause: unknown) => Failure;
}

/** A connection to MongoDB that comes back by itself. Each outage is logged once, with what the operator can do about it. */
export class MongoLink<Failure extends Error> {
  readonly #options: LinkOptions<Failure>;
  readonly #stop = new AbortController();
  #client: MongoClient | undefined;
  #db: Db | undefined;
  #healthy = true;
  /** Why MongoDB refuses to work, while it does. */
  #refusal: MongoRefusal | undefined;
  /** The refusal that the log named last in this outage. */
  #told: string | undefined;
  #connecting: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Connects and prepares. It does not fail when the server cannot be reached: every operation rejects until then, and the
   * link keeps trying.
   * @throws MongoRefusal where waiting cannot help
   */
  static async open<Failure extends Error>(options: LinkOptions<Failure>): Promise<MongoLink<Failure>> {
    const link = new MongoLink(options);
    const { connection, log, content } = options;
    const first = link.#connect();
    link.#connecting = first.catch((error: unknown) => link.#keepConnecting(error));
    try {
      // Creating an index over very many documents takes long, and the server need not wait for it.
      const late = sleep(startPatience, false, { ref: false });
      if (await Promise.race([first.then(() => true), late])) {
        log.info({ store: 'mongodb' }, `${content} are kept in MongoDB: ${connection.description}`);
      }
    } catch (error) {
      const refusal = refusalOf(error, connection);
      if (!refusal?.isFinal) return link;
      await link.close();
      throw refusal;
    }
    return link;
  }

  private constructor(options: LinkOptions<Failure>) {
    this.#options = options;
  }

  /** Runs one operation, and turns its failure into one of the owner's. */
  async run<T>(operation: (db: Db, client: MongoClient) => Promise<T>): Promise<T> {
    const { unavailable, full } = this.#options;
    const [db, client] = [this.#db, this.#client];
    if (!db || !client || this.#stop.signal.aborted) throw unavailable(this.#refusal);
    try {
      const result = await withinDeadline(operation(db, client));
      if (!this.#healthy) this.#recovered();
      return result;
    } catch (error) {
      if (!isUnreachable(error)) throw error;
      // What was interrupted by the close is not an outage.
      if (this.#stop.signal.aborted) throw unavailable(error);
      if (hasCode(error, duplicateKey)) throw unavailable(error);
      this.#fell(error);
      throw isOutOfSpace(error) ? full(error) : unavailable(this.#refusal ?? error);
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#stop.abort();
    await this.#connecting;
    await this.#client?.close();
  }

  /** Connects with a new client: a client whose first attempt failed stays closed for good. */
  async #connect(): Promise<void> {
    const { url, options, database } = this.#options.connection;
    await this.#prepare();
    const client = new MongoClient(url, options);
    try {
      await client.connect();
    } catch (error) {
      await client.close();
      throw error;
    }
    this.#client = client;
    this.#db = client.db(database);
  }

  /** By a connection of its own, since an index over many documents takes longer than any request may. */
  async #prepare(): Promise<void> {
    const { url, options, database } = this.#options.connection;
    const client = new MongoClient(url, { ...options, socketTimeoutMS: 600_000, minPoolSize: 0 });
    try {
      await this.#options.prepare(client.db(database));
    } finally {
      await client.close();
    }
  }

  async #keepConnecting(firstError: unknown): Promise<void> {
    this.#fell(firstError);
    const { signal } = this.#stop;
    while (!this.#db) {
      await sleep(reconnectPause, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        await this.#connect();
        this.#recovered();
      } catch (error) {
        this.#fell(error);
        this.#options.log.debug({ err: error }, 'MongoDB still cannot be used');
      }
    }
  }

  /** Logs each outage once, and again when the reason turns out to be a different one. */
  #fell(error: unknown): void {
    const { connection, store, log } = this.#options;
    const refusal = refusalOf(error, connection);
    // What a server refused before says nothing once none can be reached.
    if (refusal !== undefined || error instanceof MongoServerSelectionError) this.#refusal = refusal;
    const isNews = refusal !== undefined && refusal.message !== this.#told;
    if (!this.#healthy && !isNews) return;
    this.#healthy = false;
    this.#told = refusal?.message ?? this.#told;
    log.error({ err: error }, refusal?.message ?? `${store} cannot be used: ${connection.description}`);
  }

  #recovered(): void {
    const { connection, store, log } = this.#options;
    this.#healthy = true;
    this.#refusal = undefined;
    this.#told = undefined;
    log.info({}, `${store} works: ${connection.description}`);
  }
}

/** No result in time. The operation goes on, and may still be done. */
class LateError extends Error {
  override readonly name = 'LateError';
}

/** Milliseconds. */
const reconnectPause = 250;
/**
 * Milliseconds. The driver's own timeouts mostly come sooner and say more, but on a half-closed connection it was seen to
 * wait forever.
 */
const operationDeadline = 2900;
/** Milliseconds that `open` waits for the first connection. */
const startPatience = 5000;

// https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml
const duplicateKey = 11000;

async function withinDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new LateError(`no result within ${operationDeadline / 1000} s`)),
      operationDeadline,
    );
  });
  try {
    return await Promise.race([work, overdue]);
  } finally {
    clearTimeout(timer);
  }
}

/** The driver passes on the socket's error when the connection breaks while a command is being written. */
function isUnreachable(error: unknown): boolean {
  return (
    error instanceof MongoError ||
    error instanceof LateError ||
    typeof (error as NodeJS.ErrnoException).syscall === 'string'
  );
}
