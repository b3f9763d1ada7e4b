import { randomUUID } from 'node:crypto';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import type { Store } from './store.js';

export interface SweeperOptions {
  /** Ends the sweeping. */
  readonly signal: AbortSignal;
  readonly now?: () => number;
  /** Milliseconds between two looks. */
  readonly every?: number;
  readonly onSwept?: (count: number) => void;
  readonly onError?: (error: unknown) => void;
}

/**
 * Clears expired sessions away for as long as the store needs that: one sweeper at a time over all processes and hosts,
 * in steps so short that no request waits for one. Settles when it has stopped.
 */
export async function runSweeper(store: Store, options: SweeperOptions): Promise<void> {
  const { signal, now = Date.now, every = 1000, onSwept, onError } = options;
  const owner = randomUUID();
  while (!signal.aborted) {
    try {
      // The lease outlives a step by far, and a sweeper that died by little.
      while (store.needsSweeping && (await store.leaseSweep(owner, now(), now() + 10 * every))) {
        const { removed, more } = await store.sweep(now(), stepSize);
        if (removed > 0) onSwept?.(removed);
        if (!more || signal.aborted) break;
        await nextTurn();
      }
    } catch (error) {
      onError?.(error);
    }
    await pause(every, undefined, { signal, ref: false }).catch(() => {});
  }
}

/** Records looked at in one step: about half a millisecond's work. */
const stepSize = 50;
