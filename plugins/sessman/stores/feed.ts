import { setTimeout as pause } from 'node:timers/promises';
import type { Channel, SessionEnded } from 'plugin-server';
import { type EndNote, type EndReason, noteLifetime, type SessionHead, type Store } from '../store.js';
import { linkedTo } from './alarm.js';
import { HostNews, type NewsMessage } from './host-news.js';
import { type Everyone, type News, NewsReader, type WatchedHead } from './news.js';

/** An event for the watcher of a session. */
export interface Watcher {
  /** SHA-256 of the secret of the id by which it watches. */
  readonly secretHash: Buffer;
  changed(state: WatchedState): void;
  /** The session has another id now. */
  renewed(): void;
  ended(reason: EndReason | 'everyone' | 'expired'): void;
}

/** What a watcher sees of a session. It `expires` when the first of its two timeouts is over. */
export type WatchedState = Pick<SessionHead, 'version' | 'touched' | 'expires'>;

export interface FeedOptions {
  readonly signal: AbortSignal;
  /** The store could not be read, or a listener failed. */
  readonly onError: (error: unknown) => void;
  readonly now?: () => number;
  /** To the other processes of this host, where one of them is to read for all. */
  readonly channel?: Channel<NewsMessage> | undefined;
}

/**
 * Tells watchers and listeners what happens to sessions, whichever process or host does it. The store is read only while
 * somebody watches or listens; with a channel, by one process of the host for all of them.
 */
export class Feed {
  readonly #store: Store;
  readonly #options: FeedOptions;
  readonly #now: () => number;
  readonly #listeners = new Set<Listener>();
  readonly #watched = new Map<string, Watched>();
  readonly #host: HostNews | undefined;
  readonly #reader: NewsReader;
  #running: Promise<void> | undefined;
  #idle = new AbortController();

  constructor(store: Store, options: FeedOptions) {
    this.#store = store;
    this.#options = options;
    this.#now = options.now ?? (() => store.clock.now());
    const { channel, onError } = options;
    const own = {
      watched: () => this.#watched.keys(),
      isWatched: (handle: string) => this.#watched.has(handle),
      deliver: (news: News) => this.#take(news),
      onError,
      now: this.#now,
    };
    this.#host = channel && new HostNews(channel, (around) => new NewsReader(store, around), own);
    this.#reader = this.#host?.reader ?? new NewsReader(store, own);
  }

  /** The listener first receives the ends of the last ten minutes: a process that it replaces may have missed them. */
  onEnded(listener: (ended: SessionEnded) => void): () => void {
    const listening = new Listener(listener, this.#options.onError);
    this.#listeners.add(listening);
    this.#start();
    void this.#replay(listening);
    return () => {
      this.#listeners.delete(listening);
      this.#stopIfIdle();
    };
  }

  /** @param state what the watcher knows of the session */
  watch(handle: string, state: WatchedState, watcher: Watcher): () => void {
    const watched = this.#watched.get(handle) ?? { state, watchers: new Set() };
    const isFirst = watched.watchers.size === 0;
    this.#watched.set(handle, watched);
    watched.watchers.add(watcher);
    this.#start();
    if (isFirst) (this.#host ?? this.#reader).look(handle);
    return () => {
      watched.watchers.delete(watcher);
      if (watched.watchers.size > 0 || this.#watched.get(handle) !== watched) return;
      this.#watched.delete(handle);
      (this.#host ?? this.#reader).forget(handle);
      this.#stopIfIdle();
    };
  }

  /** Resolves when the feed has stopped, after its signal. */
  get stopped(): Promise<void> {
    return this.#running ?? Promise.resolve();
  }

  #start(): void {
    if (this.#running || this.#options.signal.aborted) return;
    this.#idle = linkedTo(this.#options.signal);
    this.#running = (this.#host ?? this.#reader).run(this.#idle.signal).finally(() => {
      this.#running = undefined;
      // Somebody may have come while it stopped.
      if (this.#listeners.size + this.#watched.size > 0) this.#start();
    });
  }

  #stopIfIdle(): void {
    if (this.#listeners.size + this.#watched.size === 0) this.#idle.abort();
  }

  /** Tells a new listener what it cannot have heard, before anything else. */
  async #replay(listener: Listener): Promise<void> {
    await this.#untilRead(async () => {
      const [epoch, at] = [await this.#store.epoch(), await this.#store.everyoneAt()];
      const notes: EndNote[] = [];
      for (let place: object | undefined; ; ) {
        const read = await this.#store.notes(place);
        for (const note of read.notes) notes.push(note);
        if (!read.more) break;
        place = read.place;
      }
      listener.begin({ epoch, at }, notes, this.#now());
    });
  }

  #take({ everyone, notes, heads }: News): void {
    if (everyone) for (const listener of this.#listeners) listener.everyone(everyone);
    for (const note of notes ?? []) {
      for (const listener of this.#listeners) listener.ended(note);
      this.#end(note.handle, note.reason, note.secretHash);
    }
    for (const [handle, head] of heads ?? []) {
      if (head) this.#compare(handle, head);
      else void this.#lost(handle);
    }
  }

  #compare(handle: string, head: WatchedHead): void {
    const watched = this.#watched.get(handle);
    if (!watched) return;
    const { state } = watched;
    for (const watcher of watched.watchers) {
      if (!watcher.secretHash.equals(head.secretHash)) watcher.renewed();
    }
    const { version, touched } = head;
    const expires = Math.min(head.expires, head.ends);
    const isSame = version === state.version && touched === state.touched && expires === state.expires;
    // What a watcher read itself may be newer than what was read for all.
    if (isSame || version < state.version) return;
    watched.state = { version, touched, expires };
    for (const watcher of watched.watchers) watcher.changed(watched.state);
  }

  /** Finds out why a session no longer exists. */
  async #lost(handle: string): Promise<void> {
    const watched = this.#watched.get(handle);
    if (!watched) return;
    await this.#untilRead(async () => {
      const now = this.#now();
      const { expires, touched } = watched.state;
      const note = await this.#store.noteOf(handle, now);
      const everyoneAt = await this.#store.everyoneAt();
      if (this.#watched.get(handle) !== watched) return;
      if (note) return this.#end(handle, note.reason, note.secretHash);
      const isOver = expires <= now;
      // It was not used since everyone was ended, by clocks that may differ.
      if (everyoneAt >= touched - (isOver ? 0 : clockTolerance)) return this.#end(handle, 'everyone');
      // Without a note, and in time, version 0.1.0 has ended it.
      this.#end(handle, isOver ? 'expired' : 'end');
    });
  }

  /** @param secretHash that of the session which ended, as another one may have its handle */
  #end(handle: string, reason: EndReason | 'everyone' | 'expired', secretHash?: Buffer): void {
    for (const watcher of this.#watched.get(handle)?.watchers ?? []) {
      if (secretHash === undefined || watcher.secretHash.equals(secretHash)) watcher.ended(reason);
      else watcher.renewed();
    }
  }

  /** Does it again until the store can be read. */
  async #untilRead(read: () => Promise<void>): Promise<void> {
    const { signal, onError } = this.#options;
    for (let isFirst = true; !signal.aborted; isFirst = false) {
      try {
        return await read();
      } catch (error) {
        if (isFirst) onError(error);
      }
      await pause(retryPause, undefined, { signal, ref: false }).catch(() => {});
    }
  }
}

/** A listener hears each end once, however often it is read. */
class Listener {
  readonly #listen: (ended: SessionEnded) => void;
  readonly #onError: (error: unknown) => void;
  /** The ends told in the last minutes, with their times. */
  #told = new Map<string, number>();
  #epoch = 0;
  /** What came before the listener had heard of the past. */
  #waiting: (() => void)[] | undefined = [];

  constructor(listen: (ended: SessionEnded) => void, onError: (error: unknown) => void) {
    this.#listen = listen;
    this.#onError = onError;
  }

  begin({ epoch, at }: Everyone, notes: readonly EndNote[], now: number): void {
    const waiting = this.#waiting!;
    this.#waiting = undefined;
    if (epoch > 0 && at > now - noteLifetime) this.#tell({ reason: 'everyone' });
    this.#epoch = epoch;
    for (const note of notes) this.ended(note);
    for (const tell of waiting) tell();
  }

  everyone(everyone: Everyone): void {
    if (this.#waiting) this.#waiting.push(() => this.everyone(everyone));
    else if (everyone.epoch > this.#epoch) {
      this.#epoch = everyone.epoch;
      this.#tell({ reason: 'everyone' });
    }
  }

  ended(note: EndNote): void {
    if (this.#waiting) {
      this.#waiting.push(() => this.ended(note));
      return;
    }
    const { handle, userid, reason, at } = note;
    const name = `${at} ${handle}`;
    if (this.#told.has(name)) return;
    this.#told.set(name, at);
    if (this.#told.size > mostRemembered) this.#told = new Map([...this.#told].slice(-mostRemembered / 2));
    this.#tell({ reason, handle, userid });
  }

  #tell(ended: SessionEnded): void {
    try {
      this.#listen(ended);
    } catch (error) {
      this.#onError(error);
    }
  }
}

interface Watched {
  state: WatchedState;
  readonly watchers: Set<Watcher>;
}

/** Milliseconds. */
const retryPause = 500;
const clockTolerance = 60_000;
/** Ends of which a listener knows that it has heard them. */
const mostRemembered = 10_000;
