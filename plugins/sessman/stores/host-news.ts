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
  readonly heads?: readonly (readonly [
    string,
    (Omit<WatchedHead, 'secretHash'> & { secretHash: string })?,
  ])[];
};

/** What the reader knows of a process for which it reads. */
interface Follower {
  readonly handles: Set<string>;
  heardAt: number;
}

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
  readonly #followers = new Map<string, Follower>();
  /** The process that reads for this one. */
  #leader: Leader | undefined;
  /** While this process reads. */
  #reading: { readonly since: number; count: number; readonly stop: AbortController } | undefined;
  #isRunning = false;
  /** Rings when a reader is heard of, or leaves. */
  readonly #alarm = new Alarm();
  #heardAt = 0;
  /** Whether news were lost, and are to be read by this process itself. */
  #isBehind = false;

  constructor(
    channel: Channel<NewsMessage>,
    makeReader: (options: NewsReaderOptions) => NewsReader,
    own: NewsReaderOptions,
  ) {
    this.#channel = channel;
    this.#own = own;
    this.reader = makeReader({
      ...own,
      watched: () => this.#allWatched(),
      isWatched: (handle) =>
        own.isWatched(handle) || [...this.#followers.values()].some(({ handles }) => handles.has(handle)),
      deliver: (news) => {
        own.deliver(news);
        if (this.#reading && this.#followers.size > 0) this.#send(news);
      },
    });
    channel.subscribe((message) => this.#receive(message));
  }

  /** Takes part until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const ring = () => this.#alarm.ring();
    signal.addEventListener('abort', ring);
    this.#isRunning = true;
    await this.#join();
    const watches = setInterval(() => this.#tellWatched(), followerBeat).unref();
    while (!signal.aborted) {
      if (this.#leader) await this.#follow();
      else await this.#read(signal);
    }
    clearInterval(watches);
    signal.removeEventListener('abort', ring);
    this.#leader = undefined;
    this.#isRunning = false;
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

  /** Asks who reads. What is sent comes back to the sender, too: from then on, everything arrives here. */
  async #join(): Promise<void> {
    this.#publish({ kind: 'hello' });
    await this.#alarm.wait(joinPatience);
    if (!this.#leader) await this.#alarm.wait(answerPatience);
  }

  /** Reads until the signal aborts, or somebody else has read for longer. */
  async #read(signal: AbortSignal): Promise<void> {
    const stop = linkedTo(signal);
    this.#reading = { since: Date.now(), count: 0, stop };
    this.#tellReads();
    const beat = setInterval(() => {
      this.#forgetSilent();
      this.#tellReads();
    }, leaderBeat).unref();
    await this.reader.run(stop.signal);
    clearInterval(beat);
    if (this.#reading?.stop === stop) this.#reading = undefined;
    this.#followers.clear();
  }

  /** Waits for the next word of the process that reads. */
  async #follow(): Promise<void> {
    const heardAt = this.#heardAt;
    await this.#alarm.wait(leaderPatience);
    if (this.#heardAt === heardAt) this.#leader = undefined;
    // Not all that have lost it begin at once.
    if (!this.#leader) await this.#alarm.wait(Math.random() * answerPatience);
  }

  #receive(message: NewsMessage): void {
    const { from, kind } = message;
    if (from === this.#id) {
      if (kind === 'hello') this.#alarm.ring();
      return;
    }
    if (!this.#isRunning) return;
    switch (kind) {
      case 'hello':
        this.#tellReads();
        return;
      case 'reads':
      case 'news':
        this.#hearReader(message);
        return;
      case 'leaves':
        this.#followers.delete(from);
        if (this.#leader?.id !== from) return;
        this.#leader = undefined;
        this.#alarm.ring();
        return;
      case 'which':
        if (message.of === this.#id) this.#sendWatched();
        return;
      default:
        if (this.#reading) this.#hearFollower(message);
    }
  }

  #tellReads(): void {
    if (this.#reading) {
      const { since, count } = this.#reading;
      this.#publish({ kind: 'reads', since, count });
    }
  }

  #hearReader(message: NewsMessage & { readonly kind: 'reads' | 'news' }): void {
    const { from, since, count } = message;
    if (this.#reading) {
      const isOlder = since < this.#reading.since || (since === this.#reading.since && from < this.#id);
      if (!isOlder) {
        this.#tellReads();
        return;
      }
      this.#reading.stop.abort();
      this.#reading = undefined;
    }
    const known = this.#leader?.id === from && this.#leader.since === since ? this.#leader : undefined;
    const leader = known ?? { id: from, since, count };
    this.#leader = leader;
    this.#heardAt = performance.now();
    this.#alarm.ring();
    if (message.kind === 'news') this.#take(message);
    if (!known) this.#sendWatched();
    const hasMissed = message.kind === 'news' ? count !== leader.count + 1 : count !== leader.count;
    leader.count = count;
    // A new reader has not told what it heard before.
    this.#isBehind ||= !known || hasMissed;
    if (this.#isBehind) void this.#catchUp();
  }

  async #catchUp(): Promise<void> {
    this.#isBehind = false;
    if (!(await this.reader.readAll())) this.#isBehind = true;
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

  #send({ everyone, notes = [], place, heads = new Map() }: News): void {
    const reading = this.#reading!;
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
    const told = [...heads].map(([handle, head]) => (head ? [handle, sentHead(head)] : [handle]));
    for (const part of inParts(told)) send({ heads: part as unknown as SentNews['heads'] & object });
  }

  #hearFollower(message: NewsMessage & { readonly kind: 'watch' | 'unwatch' | 'watches' }): void {
    const { from, kind } = message;
    const follower = this.#followers.get(from) ?? { handles: new Set(), heardAt: 0 };
    this.#followers.set(from, follower);
    follower.heardAt = performance.now();
    if (kind === 'watches') {
      if (message.count === follower.handles.size) return;
      follower.handles.clear();
      this.#publish({ kind: 'which', of: from });
      return;
    }
    for (const handle of message.handles) {
      if (kind === 'unwatch') follower.handles.delete(handle);
      else {
        follower.handles.add(handle);
        this.reader.look(handle);
      }
    }
  }

  #tellWatched(): void {
    if (this.#leader) this.#publish({ kind: 'watches', count: [...this.#own.watched()].length });
  }

  #sendWatched(): void {
    const handles = [...this.#own.watched()];
    // Also where it watches none: then it listens.
    for (let from = 0; from === 0 || from < handles.length; from += handlesAtOnce)
      this.#publish({ kind: 'watch', handles: handles.slice(from, from + handlesAtOnce) });
  }

  /** Those that were killed do not say so. */
  #forgetSilent(): void {
    for (const [id, { heardAt }] of this.#followers) {
      if (performance.now() - heardAt > 3 * followerBeat) this.#followers.delete(id);
    }
  }

  #allWatched(): Set<string> {
    const all = new Set(this.#own.watched());
    for (const { handles } of this.#followers.values()) for (const handle of handles) all.add(handle);
    return all;
  }

  #publish(message: DistributiveOmit<NewsMessage, 'from'>): void {
    this.#channel.publish({ from: this.#id, ...message } as NewsMessage);
  }
}

interface Leader {
  readonly id: string;
  readonly since: number;
  /** Of the news that have arrived. */
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
const handlesAtOnce = 2000;
/** Milliseconds between two signs of life of the reader, and without one until another process takes its place. */
const leaderBeat = 200;
const leaderPatience = 600;
/** The same of those for whom it reads. */
const followerBeat = 3000;
/** Milliseconds until a new process reads by itself. */
const joinPatience = 2000;
const answerPatience = 150;
