import { AsyncLocalStorage } from 'node:async_hooks';
import { storageError } from './errors.js';
import type { Fence } from './store.js';

/** The run of a job, as the storage calls that it makes see it. */
export interface RunContext {
  /** The lease under which it runs. */
  readonly fence: Fence;
  /** `ended` runs have finished under their lease: what they left behind calls as anybody does. */
  readonly state: 'running' | 'lost' | 'ended';
}

const runs = new AsyncLocalStorage<RunContext>();

/** Calls `work`. What it calls, whenever and through whatever functions, belongs to that run. */
export function withinRun<T>(run: RunContext, work: () => T): T {
  return runs.run(run, work);
}

/** The fence under which a call of the storage writes, if a run makes it. Throws `lease_lost` when the run's lease is lost. */
export function currentFence(): Fence | undefined {
  const run = runs.getStore();
  if (run === undefined || run.state === 'ended') return undefined;
  if (run.state === 'lost') throw storageError('lease_lost');
  return run.fence;
}
