import { randomUUID } from 'node:crypto';
import type { Channel } from 'plugin-server';
import type { EndNote, NotePlace } from '../store.js';
import { Alarm, linkedTo } from './alarm.js';
import type { News, NewsReader, NewsReaderOptions, WatchedHead } from './news.js';

/** What the processes of a host tell each other. `from` is the process. */
export type NewsMessage = { readonly from: string } & (
  | { readonly kind: 'hello' | 'leaves' }
  /** Sent by the reader: since when it reads, and how much news it has sent. */
  | { readonly kind: 'reads'; readonly since: number; readonly count: number }
  | ({ readonly kind: 'news'; readonly since: number; readonly count: number } & SentNews)
  | { readonly kind: 'watch' | 'unwatch'; readonly handles: readonly string[] }
  /** Sent every few seconds: how many handles it watches. */
  | { readonly kind: 'watches'; readonly count: number }
  /** Asks a process for all handles that it watches. */
  | { readonly kind: 'which'; readonly of: string }
);

type SentNews = Pick<News, 'everyone'> & {
  readonly notes?: readonly (Omit<EndNote, 'secretHash'> & { readonly secretHash: string })[];
  readonly place?: NotePlace;
  readonly heads?: readonly SentHead[];
};

type SentHead = readonly [string, (Omit<WatchedHead, 'secretHash'> & { readonly secretHash: string })?];

/**
 * Lets one process of a host read the store for all of them. Whichever hears of no reader becomes one; of two, the one that
 * has read for longer goes on. The others tell it what they watch, and read by themselves only when they have missed
 * something.
 */
export class HostNews {
  readonly reader: NewsReader;
  readonly #channel: Channel<NewsMessage>;
  readonly #own: NewsReaderOptions;
  readonly #id = randomUUID();
  #isRunning = false;
  /** While this process reads. */
  #reading: Reading | undefined;
  /** The process that reads for this one. */
  #leader: Leader | undefined;
  /** By the steady clock: when this process told how many handles it watches. */
  #toldAt = 0;
  /** Rings when a reader is heard of, or leaves, and at the end. */
  readonly #alarm = new Alarm();

  constructor(
    channel: Channel<NewsMessage>,
    makeReader: (options: NewsReaderOptions) => NewsReader,
    own: NewsReaderOptions,
  ) {
    this.#channel = channel;
    this.#own = own;
    this.reader = makeReader({
      ...own,
      watched: () => new Set([own.watched(), ...this.#followed()].flatMap((handles) => [...handles])),
      isWatched: (handle) => own.isWatched(handle) || this.#followed().some((handles) => handles.has(handle)),
      deliver: (news) => {
        own.deliver(news);
        if (this.#reading) this.#send(news, this.#reading);
      },
    });
    channel.subscribe((message) => this.#receive(message));
  }

  /** Takes part until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#alarm.ring());
    this.#isRunning = true;
    this.#publish({ kind: 'hello' });
    await this.#alarm.wait(answerPatience);
    while (!signal.aborted) {
      if (this.#leader) await this.#follow();
      else await this.#read(signal);
    }
    this.#isRunning = false;
    this.#reading = undefined;
    this.#leader = undefined;
    this.#publish({ kind: 'leaves' });
  }

  look(handle: string): void {
    if (this.#reading) this.reader.look(handle);
    else if (this.#leader) this.#publish({ kind: 'watch', handles: [handle] });
  }

  forget(handle: string): void {
    if (this.#reading) this.reader.forget(handle);
    else if (this.#leader) this.#publish({ kind: 'unwatch', handles: [handle] });
  }

  /** Reads until the signal aborts, or somebody else has read for longer. */
  async #read(signal: AbortSignal): Promise<void> {
    const stop = linkedTo(signal);
    const reading = { since: Date.now(), count: 0, followers: new Map<string, Follower>(), stop };
    this.#reading = reading;
    const running = this.reader.run(stop.signal);
    while (!stop.signal.aborted) {
      this.#forgetSilent(reading);
      this.#tellReads(reading);
      await this.#alarm.wait(leaderBeat);
    }
    await running;
  }

  /** Waits for the next word of the process that reads. */
  async #follow(): Promise<void> {
    if (performance.now() - this.#toldAt >= followerBeat) this.#tellWatched();
    if ((await this.#alarm.wait(leaderPatience)) && this.#leader) return;
    this.#leader = undefined;
    // Not all that have lost it begin at once.
    await this.#alarm.wait(Math.random() * answerPatience);
  }

  #receive(message: NewsMessage): void {
    const { from, kind } = message;
    // What is sent comes back to the sender, too.
    if (from === this.#id || !this.#isRunning) return;
    switch (kind) {
      case 'hello':
        if (this.#reading) this.#tellReads(this.#reading);
        return;
      case 'reads':
      case 'news':
        this.#hearReader(message);
        return;
      case 'leaves':
        this.#reading?.followers.delete(from);
        if (this.#leader?.id !== from) return;
        this.#leader = undefined;
        this.#alarm.ring();
        return;
      case 'which':
        if (message.of === this.#id) this.#sendWatched();
        return;
      default:
        if (this.#reading) this.#hearFollower(message, this.#reading);
    }
  }

  #tellReads({ since, count }: Reading): void {
    this.#publish({ kind: 'reads', since, count });
  }

  #hearReader(message: NewsMessage & { readonly kind: 'reads' | 'news' }): void {
    const { kind, from, since, count } = message;
    if (this.#reading) {
      const isOlder = since < this.#reading.since || (since === this.#reading.since && from < this.#id);
      if (!isOlder) {
        this.#tellReads(this.#reading);
        return;
      }
      this.#reading.stop.abort();
      this.#reading = undefined;
    }
    if (this.#leader?.id !== from || this.#leader.since !== since) {
      // It has not told what it heard before.
      this.#leader = { id: from, since, count: Number.NaN };
      this.#tellWatched();
    }
    this.#alarm.ring();
    if (kind === 'news') this.#take(message);
    const leader = this.#leader;
    const isNext = count === leader.count + (kind === 'news' ? 1 : 0);
    leader.count = count;
    if (!isNext) void this.#catchUp(leader);
  }

  async #catchUp(leader: Leader): Promise<void> {
    // Then its next word is another occasion.
    if (!(await this.reader.readAll())) leader.count = Number.NaN;
  }

  #take({ everyone, notes, place, heads }: SentNews): void {
    this.#own.deliver({
      ...(everyone && { everyone }),
      ...(notes && {
        notes: notes.map((note) => ({ ...note, secretHash: Buffer.from(note.secretHash, 'base64') })),
      }),
      ...(heads && {
        heads: new Map(
          heads.map(([handle, head]) => [
            handle,
            head && { ...head, secretHash: Buffer.from(head.secretHash, 'base64') },
          ]),
        ),
      }),
    });
    if (place) this.reader.place = place;
  }

  #send({ everyone, notes = [], place, heads = new Map() }: News, reading: Reading): void {
    // Whoever begins to follow meanwhile finds by the count that it has missed something.
    if (reading.followers.size === 0) {
      reading.count += 1;
      return;
    }
    const send = (part: SentNews) => {
      reading.count += 1;
      this.#publish({ kind: 'news', since: reading.since, count: reading.count, ...part });
    };
    if (everyone) send({ everyone });
    const sent = notes.map((note) => ({ ...note, secretHash: note.secretHash.toString('base64') }));
    const parts = inParts(sent);
    for (const [n, part] of parts.entries()) {
      send({ notes: part, ...(place && n === parts.length - 1 && { place: asJson(place) }) });
    }
    const told = [...heads].map(([handle, head]): SentHead => (head ? [handle, sentHead(head)] : [handle]));
    for (const part of inParts(told)) send({ heads: part });
  }

  #hearFollower(
    message: NewsMessage & { readonly kind: 'watch' | 'unwatch' | 'watches' },
    { followers }: Reading,
  ): void {
    const { from, kind } = message;
    const handles = followers.get(from)?.handles ?? new Set();
    followers.set(from, { handles, heardAt: performance.now() });
    if (kind === 'watches') {
      if (message.count === handles.size) return;
      handles.clear();
      this.#publish({ kind: 'which', of: from });
      return;
    }
    for (const handle of message.handles) {
      if (kind === 'unwatch') handles.delete(handle);
      else {
        handles.add(handle);
        this.reader.look(handle);
      }
    }
  }

  #tellWatched(): void {
    this.#toldAt = performance.now();
    this.#publish({ kind: 'watches', count: [...this.#own.watched()].length });
  }

  #sendWatched(): void {
    for (const handles of inParts([...this.#own.watched()])) this.#publish({ kind: 'watch', handles });
  }

  /** Those that were killed do not say so. */
  #forgetSilent({ followers }: Reading): void {
    for (const [id, { heardAt }] of followers) {
      if (performance.now() - heardAt > 3 * followerBeat) followers.delete(id);
    }
  }

  /** What the processes watch for which this one reads. */
  #followed(): Set<string>[] {
    return [...(this.#reading?.followers.values() ?? [])].map(({ handles }) => handles);
  }

  #publish(message: DistributiveOmit<NewsMessage, 'from'>): void {
    this.#channel.publish({ from: this.#id, ...message } as NewsMessage);
  }
}

interface Reading {
  readonly since: number;
  /** Of the news so far. */
  count: number;
  /** The processes for which it reads. */
  readonly followers: Map<string, Follower>;
  readonly stop: AbortController;
}

interface Follower {
  readonly handles: Set<string>;
  /** By the steady clock. */
  readonly heardAt: number;
}

interface Leader {
  readonly id: string;
  readonly since: number;
  /** Of the news that have arrived; not a number where some are missing. */
  count: number;
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

function sentHead({ version, touched, expires, ends, secretHash }: WatchedHead) {
  return { version, touched, expires, ends, secretHash: secretHash.toString('base64') };
}

function asJson(place: NotePlace): NotePlace {
  return JSON.parse(JSON.stringify(place)) as NotePlace;
}

/** Parts of which each fits into a message. */
function inParts<T>(all: readonly T[]): T[][] {
  const parts: T[][] = [];
  let size = mostInPart;
  for (const one of all) {
    const length = JSON.stringify(one).length * 3;
    if (size + length > mostInPart) {
      parts.push([]);
      size = 0;
    }
    parts.at(-1)!.push(one);
    size += length;
  }
  return parts;
}

/** Bytes. */
const mostInPart = 48_000;
/** Milliseconds between two signs of life of the reader, and without one until another process takes its place. */
const leaderBeat = 200;
const leaderPatience = 600;
/** The same of those for whom it reads. */
const followerBeat = 3000;
/** Milliseconds that a new process waits for an answer before it reads itself. */
const answerPatience = 150;
