import { storageError } from './errors.js';
import type { RunContext } from './run-context.js';
import type { Store } from './store.js';

/** The stored state of a job, as JSON. Times are in milliseconds since the Unix epoch. */
export interface LeaseRecord {
  /** The number of the latest run; it only grows. */
  readonly fence: number;
  /** Times up to this one have been finished or skipped. */
  readonly last: number;
  /** The current run. */
  readonly run?: {
    readonly at: number;
    readonly attempt: number;
    readonly catchUp: boolean;
    /** By the store's clock, which tests do not move. */
    readonly until: number;
  };
}

/** How long a lease lasts without renewal, in milliseconds. */
export const leaseTime = 15_000;
const renewPause = 5000;
const retryPause = 500;

/**
 * The right to run a job at one time, held by one worker. The entry of the lease has the fence as its revision while it is
 * held. Taking or ending the lease changes the revision, so a write that checks it can only come from the holder.
 */
export class Lease implements RunContext {
  readonly fence: { readonly place: string; readonly revision: number };
  readonly #store: Store;
  readonly #lost = new AbortController();
  #record: LeaseRecord;
  #ended = false;
  #timer: NodeJS.Timeout | undefined;
  #expiry: NodeJS.Timeout | undefined;

  /** Takes a lease that is free or has expired. Undefined when another worker was faster. */
  static async take(
    store: Store,
    place: string,
    found: { readonly record: LeaseRecord; readonly revision: number | null },
    run: { readonly at: number; readonly attempt: number; readonly catchUp: boolean },
  ): Promise<Lease | undefined> {
    const { fence, last } = found.record;
    const record = { fence: fence + 1, last, run: { ...run, until: store.now() + leaseTime } };
    const condition = { revision: found.revision, becomes: record.fence };
    return (await store.write(place, contentOf(record), condition))
      ? new Lease(store, place, record)
      : undefined;
  }

  private constructor(store: Store, place: string, record: LeaseRecord) {
    this.#store = store;
    this.#record = record;
    this.fence = { place, revision: record.fence };
    this.#renewIn(renewPause);
    this.#watch();
  }

  /** Aborts when another worker may take over the run. */
  get lost(): AbortSignal {
    this.#look();
    return this.#lost.signal;
  }

  get state(): 'running' | 'lost' | 'ended' {
    if (this.#ended) return 'ended';
    return this.lost.aborted ? 'lost' : 'running';
  }

  /** Ends the lease, and marks its time and all others up to `last` as done. False when the lease was lost before. */
  async finish(last: number): Promise<boolean> {
    const { fence } = this.#record;
    let isDoubtful = false;
    while (!this.lost.aborted) {
      try {
        const isWritten = await this.#write({ fence, last }, fence + 0.5);
        if (isWritten || (isDoubtful && (await this.#isFinished()))) this.#ended = true;
        else this.#lose();
        this.#stop();
        return this.#ended;
      } catch {
        // The storage cannot be used, and may have been written. Until the lease expires, nobody else takes it.
        isDoubtful = true;
        await new Promise((resolve) => setTimeout(resolve, retryPause));
      }
    }
    return false;
  }

  async #isFinished(): Promise<boolean> {
    const entry = await this.#store.read(this.fence.place);
    return entry?.revision === this.#record.fence + 0.5;
  }

  /** Lets another worker take over the run at once. */
  async giveUp(): Promise<void> {
    if (this.state !== 'running') return;
    this.#lose();
    const { run } = this.#record;
    const record = { ...this.#record, run: { ...run!, until: 0 } };
    // Without this, another worker takes over when the lease expires.
    await this.#write(record, record.fence + 0.5).catch(() => {});
  }

  #renewIn(pause: number): void {
    this.#timer = setTimeout(() => this.#renew(), pause).unref();
  }

  async #renew(): Promise<void> {
    if (this.state !== 'running') return;
    const { run } = this.#record;
    const record = { ...this.#record, run: { ...run!, until: this.#store.now() + leaseTime } };
    try {
      const isHeld = await this.#write(record, record.fence);
      if (this.#ended) return;
      if (!isHeld) {
        this.#lose();
        return;
      }
      this.#record = record;
      this.#renewIn(renewPause);
      this.#watch();
    } catch {
      if (this.state === 'running') this.#renewIn(retryPause);
    }
  }

  /** A process that was frozen notices here, before it uses the lease. */
  #look(): void {
    if (!this.#ended && this.#store.now() >= this.#record.run!.until) this.#lose();
  }

  /** A renewal may hang for longer than the lease lasts. */
  #watch(): void {
    clearTimeout(this.#expiry);
    this.#expiry = setTimeout(
      () => {
        this.#look();
        if (this.state === 'running') this.#watch();
      },
      Math.max(this.#record.run!.until - this.#store.now(), 1),
    ).unref();
  }

  #stop(): void {
    clearTimeout(this.#timer);
    clearTimeout(this.#expiry);
  }

  #lose(): void {
    this.#stop();
    if (!this.#lost.signal.aborted) this.#lost.abort(storageError('lease_lost'));
  }

  #write(record: LeaseRecord, becomes: number): Promise<boolean> {
    const { place, revision } = this.fence;
    return this.#store.write(place, contentOf(record), { revision, becomes });
  }
}

function contentOf(record: LeaseRecord) {
  return { text: JSON.stringify(record), expires: Number.POSITIVE_INFINITY, isUpkeep: true };
}
