import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import type { SessionEnded } from 'plugin-server';
import type { EndReason, NotePlace, SessionHead, Store } from '../store.js';

/** An event for the watcher of a session. */
export interface Watcher {
  /** SHA-256 of the secret of the id by which it watches. */
  readonly secretHash: Buffer;
  changed(state: WatchedState): void;
  /** The session has another id now. */
  renewed(): void;
  ended(reason: EndReason | 'everyone' | 'expired'): void;
}

export type WatchedState = Pick<SessionHead, 'version' | 'touched' | 'expires' | 'ends'>;

export interface FeedOptions {
  readonly signal: AbortSignal;
  /** The store could not be read, or a listener failed. */
  readonly onError: (error: unknown) => void;
  readonly now?: () => number;
}

/**
 * Tells watchers and listeners what happens to sessions, whichever process or host does it: one poll of the store for all
 * that listen in this process, and none while nobody does. What happened while the store could not be reached is told
 * once it can.
 */
export class Feed {
  readonly #store: Store;
  readonly #options: FeedOptions;
  readonly #now: () => number;
  readonly #listeners = new Set<(ended: SessionEnded) => void>();
  readonly #watched = new Map<string, Watched>();
  #place: NotePlace | undefined;
  /** Whether all notes are to be read again, for a new listener. */
  #replays = false;
  #epoch: number | undefined;
  #running: Promise<void> | undefined;

  constructor(store: Store, options: FeedOptions) {
    this.#store = store;
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** The listener first receives the ends of the last ten minutes: a process that it replaces may have missed them. */
  onEnded(listener: (ended: SessionEnded) => void): () => void {
    this.#listeners.add(listener);
    this.#replays = true;
    this.#start();
    return () => this.#listeners.delete(listener);
  }

  /** @param state what the watcher knows of the session */
  watch(handle: string, state: WatchedState, watcher: Watcher): () => void {
    const watched = this.#watched.get(handle) ?? { state, watchers: new Set() };
    this.#watched.set(handle, watched);
    watched.watchers.add(watcher);
    this.#start();
    return () => {
      watched.watchers.delete(watcher);
      if (watched.watchers.size === 0 && this.#watched.get(handle) === watched) this.#watched.delete(handle);
    };
  }

  /** Resolves when the feed has stopped, after its signal. */
  get stopped(): Promise<void> {
    return this.#running ?? Promise.resolve();
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async #run(): Promise<void> {
    const { signal, onError } = this.#options;
    let isHealthy = true;
    for (let tick = 0; !signal.aborted && this.#listeners.size + this.#watched.size > 0; tick++) {
      try {
        await this.#readEpoch();
        await this.#readNotes();
        if (tick % ticksPerLook === 0) await this.#lookAtAll();
        isHealthy = true;
      } catch (error) {
        // Each outage is reported once.
        if (isHealthy) onError(error);
        isHealthy = false;
      }
      await pause(tickLength, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  async #readEpoch(): Promise<void> {
    const epoch = await this.#store.epoch();
    const isNew = this.#epoch !== undefined && epoch > this.#epoch;
    this.#epoch = epoch;
    if (!isNew) return;
    this.#tell({ reason: 'everyone' });
    // Sessions that were made since live on.
    await this.#lookAtAll('everyone');
  }

  async #readNotes(): Promise<void> {
    if (this.#replays) this.#place = undefined;
    this.#replays = false;
    for (;;) {
      const { notes, place } = await this.#store.notes(this.#place);
      this.#place = place;
      for (const { handle, userid, reason, secretHash } of notes) {
        this.#tell({ reason, handle, userid });
        this.#end(handle, reason, secretHash);
      }
      if (notes.length === 0) return;
      await nextTurn();
    }
  }

  /** Compares the watched sessions with what their watchers know. */
  async #lookAtAll(reason?: 'everyone'): Promise<void> {
    const handles = [...this.#watched.keys()];
    for (let from = 0; from < handles.length; from += lookSize) {
      const part = handles.slice(from, from + lookSize);
      const found = await this.#store.peekEach(part, this.#now());
      for (const handle of part) {
        const head = found.get(handle);
        if (head) this.#compare(handle, head);
        // Of a damaged one, nothing is known until it is ended.
        else if (head === undefined) await this.#lost(handle, reason);
      }
      await nextTurn();
    }
  }

  #compare(handle: string, head: SessionHead): void {
    const watched = this.#watched.get(handle);
    if (!watched) return;
    const { state } = watched;
    for (const watcher of watched.watchers) {
      if (!watcher.secretHash.equals(head.secretHash)) watcher.renewed();
    }
    const { version, touched, expires, ends } = head;
    const isSame =
      version === state.version &&
      touched === state.touched &&
      expires === state.expires &&
      ends === state.ends;
    if (isSame) return;
    watched.state = { version, touched, expires, ends };
    for (const watcher of watched.watchers) watcher.changed(watched.state);
  }

  /** Finds out why a session no longer exists. */
  async #lost(handle: string, reason: 'everyone' | undefined): Promise<void> {
    const watched = this.#watched.get(handle);
    if (!watched) return;
    const now = this.#now();
    const { expires, ends } = watched.state;
    const note = await this.#store.noteOf(handle, now);
    if (note) return this.#end(handle, note.reason, note.secretHash);
    if (reason === undefined && Math.min(expires, ends) <= now) return this.#end(handle, 'expired');
    // Without a note, version 0.1.0 has ended it, or everybody was ended.
    this.#end(handle, reason ?? ((await this.#store.epoch()) === this.#epoch ? 'end' : 'everyone'));
  }

  /** @param secretHash that of the session which ended, as another one may have its handle */
  #end(handle: string, reason: EndReason | 'everyone' | 'expired', secretHash?: Buffer): void {
    for (const watcher of this.#watched.get(handle)?.watchers ?? []) {
      if (secretHash === undefined || watcher.secretHash.equals(secretHash)) watcher.ended(reason);
      else watcher.renewed();
    }
  }

  #tell(ended: SessionEnded): void {
    for (const listener of this.#listeners) {
      try {
        listener(ended);
      } catch (error) {
        this.#options.onError(error);
      }
    }
  }
}

interface Watched {
  state: WatchedState;
  readonly watchers: Set<Watcher>;
}

/** Milliseconds between two reads of the notes. */
const tickLength = 250;
/** Reads of the notes to one look at the watched sessions. */
const ticksPerLook = 3;
/** Sessions read at once: about a millisecond on the embedded store. */
const lookSize = 250;
