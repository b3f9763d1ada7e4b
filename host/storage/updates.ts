import { setTimeout as sleep } from 'node:timers/promises';
import { unavailable } from './errors.js';
import type { Content, Entry, Fence, Store } from './store.js';

/** Returns the new entry, or throws. Called again when another process was faster. */
export type Change = (content: Content | undefined) => Content | undefined;

/**
 * Changes entries depending on their values: reads, computes, and writes if nothing was written in between. Changes of an
 * entry that arrive while it is being written share the next write, so that a busy counter needs one write for all of them.
 */
export class Updates {
  readonly #queues = new Map<string, Pending[]>();

  constructor(
    private readonly store: Store,
    /** Milliseconds since the Unix epoch. */
    private readonly now: () => number,
  ) {}

  /** Resolves when what `change` returned is stored. Rejects with what it throws. */
  update(place: string, change: Change, fence?: Fence): Promise<void> {
    return new Promise((resolve, reject) => {
      const key = fence === undefined ? place : `${place}\0${fence.place}\0${fence.revision}`;
      const pending = { change, resolve, reject };
      const queue = this.#queues.get(key);
      if (queue !== undefined) queue.push(pending);
      else {
        const first = [pending];
        this.#queues.set(key, first);
        this.#work(key, place, first, fence);
      }
    });
  }

  async #work(key: string, place: string, queue: Pending[], fence: Fence | undefined): Promise<void> {
    while (queue.length > 0) {
      const batch = queue.splice(0);
      try {
        const results = await this.#write(place, batch, fence);
        batch.forEach(({ resolve, reject }, i) => {
          const failure = results[i];
          if (failure === undefined) resolve();
          else reject(failure.error);
        });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#queues.delete(key);
  }

  /** For each change, what it threw, if anything. */
  async #write(place: string, batch: readonly Pending[], fence: Fence | undefined) {
    for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
      const entry = await this.store.read(place);
      const before = entry && entry.expires > this.now() ? entry : undefined;
      let content: Content | undefined = before;
      const failures = batch.map(({ change }): { error: unknown } | undefined => {
        try {
          content = change(content);
          return undefined;
        } catch (error) {
          return { error };
        }
      });
      if (failures.every((failure) => failure !== undefined)) return failures;
      if (await this.#replace(place, entry, content, fence)) return failures;
      if (attempt > 2) await sleep(Math.random() * Math.min(2 ** attempt, maxPause));
    }
    throw unavailable(new Error(`other writers were faster ${maxAttempts} times`));
  }

  #replace(
    place: string,
    entry: Entry | undefined,
    content: Content | undefined,
    fence: Fence | undefined,
  ): boolean | Promise<boolean> {
    if (content === undefined && entry === undefined) return true;
    return this.store.write(place, content, { revision: entry?.revision ?? null, fence });
  }
}

interface Pending {
  readonly change: Change;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

const maxAttempts = 100;
/** Milliseconds. */
const maxPause = 32;
