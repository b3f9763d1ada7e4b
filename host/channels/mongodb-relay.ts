import { randomUUID } from 'node:crypto';
import type { Collection, Db } from 'mongodb';
import type { Logger } from 'pino';
import type { MongoLink } from '../../databases/mongodb/link.js';
import { type Message, RECEIVER_LIMITS } from './message.js';
import { PacedSender } from './paced-sender.js';

export interface RelayOptions {
  /** The plugins' connection to MongoDB. It stays open. */
  readonly link: MongoLink<Error>;
  readonly log: Logger;
  /** The same for all processes of this host, and for no other host's. */
  readonly host: string;
  /** Told of what was published at other hosts. */
  readonly onMessages: (messages: readonly Message[]) => void;
  readonly onDropped: (topic: string, count: number) => void;
}

/** What one process published in one turn. */
interface Batch {
  _id: string;
  h: string;
  /** The process, and the number of the batch there. */
  p: string;
  n: number;
  m: Message[];
  at: Date;
}

/** Milliseconds between two looks for what other hosts have published. */
const interval = 200;
/** Seconds after which a batch is removed. Every host has seen it by then, or has lost it. */
const lifetime = 60;
/** How many batches are read at once. */
const most = 1000;

/** Carries messages to other hosts, over a collection that each process reads a few times a second. */
export class MongoRelay {
  readonly #options: RelayOptions;
  readonly #process = randomUUID();
  readonly #outbox: PacedSender;
  #sent = 0;
  /** The latest batch that was seen of each process, and when. */
  readonly #seen = new Map<string, { n: number; at: number }>();
  /** By the server's clock. Batches from before are not for this process. Undefined while the server could not be asked. */
  #since: Date | undefined;
  #timer: NodeJS.Timeout | undefined;
  #reading: Promise<void> = Promise.resolve();
  #closed = false;

  /** Does not fail when the server cannot be reached: values go to the other hosts once it can be. */
  static async open(options: RelayOptions): Promise<MongoRelay> {
    const relay = new MongoRelay(options);
    await relay
      .#prepare()
      .catch((error) => options.log.debug({ err: error }, 'values of other hosts cannot be read yet'));
    relay.#readLater();
    return relay;
  }

  private constructor(options: RelayOptions) {
    this.#options = options;
    this.#outbox = new PacedSender((messages, losses, done) => {
      for (const [topic, count] of losses) options.onDropped(topic, count);
      this.#send(messages).finally(done);
    }, RECEIVER_LIMITS);
  }

  publish(message: Message): void {
    this.#outbox.push(message);
  }

  async close(): Promise<void> {
    await this.#outbox.emptied();
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#reading;
  }

  /** One after the other, so that a batch is never seen before an earlier one. */
  #last: Promise<void> = Promise.resolve();
  #send(messages: readonly Message[]): Promise<void> {
    this.#sent += 1;
    const n = this.#sent;
    const batch = {
      _id: `${this.#process} ${n}`,
      h: this.#options.host,
      p: this.#process,
      n,
      m: [...messages],
    };
    this.#last = this.#last.then(() => this.#insert(batch));
    return this.#last;
  }

  async #insert(batch: Omit<Batch, 'at'>): Promise<void> {
    const { _id, ...content } = batch;
    try {
      await this.#options.link.run((db) =>
        batchesOf(db).updateOne({ _id }, { $set: content, $currentDate: { at: true } }, { upsert: true }),
      );
    } catch (error) {
      // At most once: what cannot be sent now is lost.
      for (const [topic] of batch.m) this.#options.onDropped(topic, 1);
      this.#options.log.debug({ err: error }, 'values of channels did not reach the other hosts');
    }
  }

  #readLater(): void {
    this.#timer = setTimeout(() => {
      this.#reading = this.#read().finally(() => {
        if (!this.#closed) this.#readLater();
      });
    }, interval).unref();
  }

  async #prepare(): Promise<Date> {
    return this.#options.link.run(async (db) => {
      const { localTime } = await db.admin().command({ hello: 1 });
      const batches = batchesOf(db);
      await batches.createIndex({ at: 1 }, { name: 'old', expireAfterSeconds: lifetime });
      await batches.createIndex({ p: 1, n: 1 }, { name: 'order' });
      this.#since = localTime as Date;
      return this.#since;
    });
  }

  async #read(): Promise<void> {
    try {
      await this.#readSince(this.#since ?? (await this.#prepare()));
    } catch (error) {
      this.#options.log.debug({ err: error }, 'values of other hosts could not be read');
    }
  }

  async #readSince(since: Date): Promise<void> {
    const known = [...this.#seen];
    const filter = {
      $or: [
        ...known.map(([p, { n }]) => ({ p, n: { $gt: n } })),
        { p: { $nin: known.map(([p]) => p) }, h: { $ne: this.#options.host }, at: { $gte: since } },
      ],
    };
    const batches = await this.#options.link.run((db) =>
      batchesOf(db).find(filter, { maxTimeMS: 1000 }).sort({ p: 1, n: 1 }).limit(most).toArray(),
    );
    for (const { p, n, m, at } of batches) {
      this.#seen.set(p, { n, at: at.getTime() });
      this.#options.onMessages(m);
    }
    this.#forget();
  }

  /** Processes whose last batch is gone. */
  #forget(): void {
    const latest = Math.max(...[...this.#seen.values()].map(({ at }) => at));
    for (const [process, { at }] of this.#seen) {
      if (latest - at < 3 * lifetime * 1000) continue;
      this.#seen.delete(process);
      // None of its batches may count as new.
      this.#since = new Date(Math.max(this.#since!.getTime(), at + 1));
    }
  }
}

function batchesOf(db: Db): Collection<Batch> {
  return db.collection<Batch>('messages');
}
