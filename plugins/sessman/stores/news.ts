import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import type { Changes, EndNote, NotePlace, SessionHead, Store } from '../store.js';
import { Alarm, linkedTo } from './alarm.js';

/** What has happened in a store, or a part of it. */
export interface News {
  /** How often everyone was ended, and when last. */
  readonly everyone?: Everyone;
  readonly notes?: readonly EndNote[];
  /** Up to where notes are told with these. */
  readonly place?: NotePlace;
  /** Watched sessions that have changed; undefined for one that is dead. */
  readonly heads?: ReadonlyMap<string, WatchedHead | undefined>;
}

export interface Everyone {
  readonly epoch: number;
  readonly at: number;
}

/** What watchers are told of a session, and what shows that its id is another one. */
export type WatchedHead = Pick<SessionHead, 'version' | 'touched' | 'expires' | 'ends' | 'secretHash'>;

export interface NewsReaderOptions {
  /** The handles whose sessions are watched. */
  readonly watched: () => Iterable<string>;
  readonly isWatched: (handle: string) => boolean;
  readonly deliver: (news: News) => void;
  /** The store could not be read. */
  readonly onError: (error: unknown) => void;
  readonly now: () => number;
}

/**
 * Reads what happens in a store: where the database reports changes, only what they concern, else all of it several times
 * a second. What happened while the store could not be reached is read once it can.
 */
export class NewsReader {
  readonly #store: Store;
  readonly #options: NewsReaderOptions;
  /** Up to where notes were delivered. */
  place: NotePlace | undefined;
  #epoch: number | undefined;
  /** The sessions as they were delivered last; undefined for one that was dead. */
  readonly #delivered = new Map<string, WatchedHead | undefined>();
  #due: Due = everything();
  #isHealthy = true;
  readonly #alarm = new Alarm();

  constructor(store: Store, options: NewsReaderOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Reads until the signal aborts. All watched sessions are delivered first. */
  async run(signal: AbortSignal): Promise<void> {
    this.#delivered.clear();
    while (!signal.aborted) {
      const attempt = linkedTo(signal);
      attempt.signal.addEventListener('abort', () => this.#alarm.ring());
      await this.#reported(async () => {
        const tell = (handle: string | undefined, isEnd: boolean) => this.#changed(handle, isEnd);
        const changes = await this.#store.changes?.(tell, attempt.signal);
        // Whatever was written before they began.
        this.#due = everything();
        await (changes ? this.#follow(changes, attempt.signal) : this.#poll(attempt.signal));
      });
      attempt.abort();
      if (!signal.aborted) await pause(tickLength, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  /** Delivers the session soon, whether it has changed or not. */
  look(handle: string): void {
    this.#delivered.delete(handle);
    this.#due.handles.add(handle);
    this.#alarm.ring();
  }

  forget(handle: string): void {
    this.#delivered.delete(handle);
  }

  /** Reads everything once. False if the store cannot be read. */
  readAll(): Promise<boolean> {
    this.#due = everything();
    return this.#reported(() => this.#read());
  }

  /** Reports each outage once. */
  async #reported(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (this.#isHealthy) this.#options.onError(error);
      this.#isHealthy = false;
      return false;
    }
  }

  async #poll(signal: AbortSignal): Promise<void> {
    for (let tick = 0; !signal.aborted; tick++) {
      this.#due.everyone = true;
      this.#due.notes = true;
      this.#due.all ||= tick % ticksPerLook === 0;
      await this.#read();
      await pause(tickLength, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  async #follow({ broken }: Changes, signal: AbortSignal): Promise<void> {
    let isBroken = false;
    broken.catch(() => {
      isBroken = true;
      this.#alarm.ring();
    });
    while (!signal.aborted) {
      if (isBroken) await broken;
      this.#findExpired();
      await this.#read();
      // So that many changes at once are read together.
      await pause(shortestPause, undefined, { signal, ref: false }).catch(() => {});
      await this.#alarm.wait(expiryPause);
    }
  }

  #changed(handle: string | undefined, isEnd: boolean): void {
    if (handle === undefined) this.#due.everyone = true;
    else if (this.#options.isWatched(handle)) this.#due.handles.add(handle);
    else if (!isEnd) return;
    this.#due.notes ||= isEnd;
    this.#alarm.ring();
  }

  /** No change tells of an end by time when it happens. */
  #findExpired(): void {
    const now = this.#options.now();
    for (const [handle, head] of this.#delivered) {
      if (head && Math.min(head.expires, head.ends) <= now) this.#due.handles.add(handle);
    }
  }

  async #read(): Promise<void> {
    const due = this.#due;
    this.#due = nothing();
    if (due.everyone && (await this.#readEpoch())) due.all = true;
    if (due.notes) await this.#readNotes();
    await this.#lookAt(due.all ? [...this.#options.watched()] : [...due.handles]);
    this.#isHealthy = true;
  }

  /** Whether everyone was ended, or may have been. */
  async #readEpoch(): Promise<boolean> {
    const epoch = await this.#store.epoch();
    const isNew = epoch !== this.#epoch;
    if (isNew) this.#options.deliver({ everyone: { epoch, at: await this.#store.everyoneAt() } });
    this.#epoch = epoch;
    return isNew;
  }

  async #readNotes(): Promise<void> {
    for (;;) {
      const { notes, place, more } = await this.#store.notes(this.place);
      this.place = place;
      if (notes.length > 0) this.#options.deliver({ notes, place });
      // Those written meanwhile wait for the next round, so that sessions that changed do not wait for them.
      if (!more) return;
      await nextTurn();
    }
  }

  async #lookAt(handles: readonly string[]): Promise<void> {
    for (let from = 0; from < handles.length; from += lookSize) {
      const part = handles.slice(from, from + lookSize);
      const found = await this.#store.peekEach(part, this.#options.now());
      const heads = new Map<string, WatchedHead | undefined>();
      for (const handle of part) {
        const head = found.get(handle);
        // Of a damaged one, nothing is known until it is ended.
        if (head === null) continue;
        const isDelivered = this.#delivered.has(handle);
        if (!this.#options.isWatched(handle)) continue;
        if (isDelivered && isSame(this.#delivered.get(handle), head)) continue;
        this.#delivered.set(handle, head);
        heads.set(handle, head);
      }
      if (heads.size > 0) this.#options.deliver({ heads });
      await nextTurn();
    }
  }
}

/** What is to be read next. */
interface Due {
  everyone: boolean;
  notes: boolean;
  /** Every watched session, or only some. */
  all: boolean;
  readonly handles: Set<string>;
}

const everything = (): Due => ({ everyone: true, notes: true, all: true, handles: new Set() });
const nothing = (): Due => ({ everyone: false, notes: false, all: false, handles: new Set() });

function isSame(one: WatchedHead | undefined, other: WatchedHead | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return (
    one.version === other.version &&
    one.touched === other.touched &&
    one.expires === other.expires &&
    one.ends === other.ends &&
    one.secretHash.equals(other.secretHash)
  );
}

/** Milliseconds between two reads of the notes. */
const tickLength = 250;
/** Reads of the notes to one look at the watched sessions. */
const ticksPerLook = 3;
/** Sessions read at once: about a millisecond on the embedded store. */
const lookSize = 250;
/** Milliseconds between two reads where changes are reported, and between two looks for sessions that have expired. */
const shortestPause = 50;
const expiryPause = 500;
