import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { ScrubPlace, Store } from '../store.js';
import { changeFenced } from './fenced.js';

export interface ScrubberOptions {
  /** Ends it. */
  readonly signal: AbortSignal;
  readonly onError?: (error: unknown) => void;
  /** Told of each pass that has found contested pages. */
  readonly onContested?: (pages: number) => void;
  readonly now?: () => number;
}

/** What a pass over the whole store has found. */
export interface ScrubCounts {
  readonly records: number;
  /** Records without a checksum, which version 0.1.0 wrote. */
  readonly unchecked: number;
  readonly damaged: number;
  /** Index entries that were missing or surplus. */
  readonly repaired: number;
}

/** What is kept of the passes, in the store. */
export interface ScrubState {
  /** The last complete pass. Times are in milliseconds since the Unix epoch. */
  readonly last?: ScrubCounts & {
    readonly began: number;
    readonly finished: number;
    /** Missing where a version before wrote it. */
    readonly contested?: number;
  };
  /** The one under way, which another worker continues where this one has ended. */
  readonly current?: ScrubCounts & { readonly began: number; readonly place?: ScrubPlace | undefined };
}

export const scrubFact = 'scrub';

/**
 * Once a day, reads every record and index entry of a store in a file, and its list of free pages: by one worker at a time,
 * for a hundredth of its time, and a tenth for the list, in steps too short for a request to notice. Resolves when it has
 * stopped.
 */
export async function runScrubber(
  store: Store,
  { signal, onError, onContested, now = () => store.clock.now() }: ScrubberOptions,
): Promise<void> {
  const { file } = store;
  if (file === undefined) return;
  const owner = randomUUID();
  let fence = 0;
  let isHealthy = true;
  while (!signal.aborted) {
    try {
      const state = await store.fact<ScrubState>(scrubFact);
      if (isDue(state, now()) && (await lease())) await pass(state?.current ?? { ...none, began: now() });
      isHealthy = true;
    } catch (error) {
      if (isHealthy) onError?.(error);
      isHealthy = false;
    }
    await pause(tick, undefined, { signal, ref: false }).catch(() => {});
  }

  async function lease(until = now() + leaseTime): Promise<boolean> {
    const held = await store.lease('scrubber', owner, now(), until);
    fence = held ?? fence;
    return held !== undefined;
  }

  async function pass(from: NonNullable<ScrubState['current']>): Promise<void> {
    let current = from;
    let kept = performance.now();
    const keep = () =>
      changeFenced<ScrubState>(store, scrubFact, fence, (before) => ({ ...before, current }));
    /** Between two steps. False where the pass is no longer this worker's. */
    const rest = async (time: number): Promise<boolean> => {
      await pause(time, undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) {
        await keep();
        await lease(now());
        return false;
      }
      if (performance.now() - kept <= leaseTime / 3) return true;
      kept = performance.now();
      return (await keep()) && (await lease());
    };
    for (let isRead = false; !isRead; ) {
      const { next, ...counts } = await file!.scrub(current.place, stepTime);
      isRead = next === undefined;
      current = { ...added(current, counts), began: current.began, place: next ?? allRead };
      if (!isRead && !(await rest(stepPause))) return;
    }
    const contested = await file!.contestedPages(() => rest(countPause));
    if (contested === undefined) return;
    if (contested > 0) onContested?.(contested);
    const { place: _, ...counts } = current;
    const last = { ...counts, contested, finished: now() };
    await changeFenced<ScrubState>(store, scrubFact, fence, () => ({ last }));
  }
}

export function added(
  a: ScrubCounts,
  b: Omit<ScrubCounts, 'damaged'> & { readonly damaged: number | readonly string[] },
): ScrubCounts {
  return {
    records: a.records + b.records,
    unchecked: a.unchecked + b.unchecked,
    damaged: a.damaged + (typeof b.damaged === 'number' ? b.damaged : b.damaged.length),
    repaired: a.repaired + b.repaired,
  };
}

/** What is wrong, for a person; its subject is the store's file. */
export function contestedSentence(pages: number): string {
  const offered = pages === 1 ? 'a page that is' : `${pages} pages that are`;
  return `the session store's list of free pages offers ${offered} in use, and the next writes may overwrite what is there: stop the server and run sessman-compact, which makes the list anew`;
}

export const none: ScrubCounts = { records: 0, unchecked: 0, damaged: 0, repaired: 0 };

/** Behind all entries: who continues there has only the list of free pages left. */
const allRead: ScrubPlace = { part: 'byExpiry', after: Buffer.alloc(9, 0xff).toString('base64') };

function isDue(state: ScrubState | undefined, now: number): boolean {
  return state?.current !== undefined || state?.last === undefined || now - state.last.began >= every;
}

/** Milliseconds. */
const every = 24 * 3_600_000;
const tick = 1000;
const leaseTime = 15_000;
const stepTime = 1;
const stepPause = 100;
/** While pages are counted, no page that was in use at the beginning is used again, and the file grows. */
const countPause = 10;
