import { AsyncLocalStorage } from 'node:async_hooks';
import { storageError } from './errors.js';
import type { Fence } from './store.js';

/** The run of a job, as seen by the storage calls within it. */
export interface RunContext {
  /** The lease under which it runs. */
  readonly fence: Fence;
  /** `ended` runs have finished under their lease: code that they left running calls the storage like any other code. */
  readonly state: 'running' | 'lost' | 'ended';
}

const runs = new AsyncLocalStorage<RunContext>();

/** Calls `work`. Everything that it calls, now or later, belongs to that run. */
export function withinRun<T>(run: RunContext, work: () => T): T {
  return runs.run(run, work);
}

/** The fence for a storage call that belongs to a run. Throws `lease_lost` when the run's lease is lost. */
export function currentFence(): Fence | undefined {
  const run = runs.getStore();
  if (run === undefined || run.state === 'ended') return undefined;
  if (run.state === 'lost') throw storageError('lease_lost');
  return run.fence;
}

/** The error of a call that a run makes whose lease is lost; undefined for any other. */
export function lossOfLease(): Error | undefined {
  return runs.getStore()?.state === 'lost' ? storageError('lease_lost') : undefined;
}
