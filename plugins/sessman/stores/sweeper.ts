import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Store } from '../store.js';
import { Pace } from './pace.js';
import { Rests } from './rests.js';

export interface SweeperOptions {
  /** Ends the sweeping. */
  readonly signal: AbortSignal;
  readonly now?: () => number;
  /** Milliseconds for which dead sessions are kept. */
  readonly delay?: number;
  /** Milliseconds between two looks. */
  readonly every?: number;
  readonly onSwept?: (count: number) => void;
  readonly onError?: (error: unknown) => void;
}

/**
 * Removes expired sessions while the store needs that: one sweeper at a time over all processes and hosts, in short steps
 * with rests between them (pace.ts). Resolves when it has stopped.
 */
export async function runSweeper(store: Store, options: SweeperOptions): Promise<void> {
  const { signal, now = () => store.clock.now(), delay = 0, every = 1000, onSwept, onError } = options;
  const owner = randomUUID();
  let isHealthy = true;
  const rests = new Rests();
  const pace = new Pace(store.isRemote);
  while (!signal.aborted) {
    try {
      if (store.needsSweeping && !store.clock.isDoubtful && (await store.isSweepDue(now() - delay)))
        await sweepAll();
      isHealthy = true;
    } catch (error) {
      // Each outage is reported once.
      if (isHealthy) onError?.(error);
      isHealthy = false;
    }
    await pause(every, undefined, { signal, ref: false }).catch(() => {});
  }

  async function sweepAll(): Promise<void> {
    let leasedUntil = 0;
    for (let more = true; more && !signal.aborted && !store.clock.isDoubtful; ) {
      const at = now();
      // A lease lasts much longer than a step, and expires soon after its sweeper has died.
      if (leasedUntil - at < 5 * every) {
        leasedUntil = at + 10 * every;
        // No fence: what `sweep` removes is dead, whoever does it.
        if ((await store.lease('sweeper', owner, at, leasedUntil)) === undefined) return;
      }
      const began = performance.now();
      const { removed, more: isMore, late = 0 } = await store.sweep(at - delay, pace.size);
      if (removed > 0) onSwept?.(removed);
      more = isMore;
      const took = performance.now() - began;
      await rests.after(took, signal, pace.restAfter(took, late));
    }
  }
}
