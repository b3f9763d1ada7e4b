import type { StoreClock } from '../../databases/clock.js';

/**
 * The contract between the storage of plugins and a database. A store keeps texts under places, and checks only the
 * conditions of a write. test/contracts/storage.ts tests every store, through the layers above.
 *
 * - A write resolves when a crash of the process or the machine can no longer undo it.
 * - A write is one atomic step with its conditions.
 * - Reads see each write that any process has acknowledged before.
 * - A store that cannot do its work rejects with `storage_unavailable`; the write may then have been applied, or be applied
 *   later.
 */
export interface Store {
  /** Why writes under a fence are impossible here, for the operator; undefined where they are possible. */
  readonly fenceProblem: string | undefined;

  /** The time of leases and expiries. */
  readonly clock: StoreClock;

  /** The same, in milliseconds since the Unix epoch. */
  now(): number;

  /** Returns the entry, even if it has expired; without a promise where no waiting is needed. */
  read(place: string): Awaitable<Entry | undefined>;

  /**
   * Puts an entry at a place, or removes what is there. False, with nothing written, when `condition.revision` does not hold.
   * Rejects with `lease_lost`, with nothing written, when `condition.fence` does not hold.
   */
  write(place: string, content: Content | undefined, condition?: Condition): Promise<boolean>;

  /** The first entries of a range, as of one moment, including expired ones. */
  page(range: Range): Awaitable<readonly (readonly [place: string, entry: Entry])[]>;

  /** Removes up to `limit` of the entries that expired before `time`. Resolves to whether there may be more. */
  removeExpired(time: number, limit: number): Promise<boolean>;

  /** Lets ongoing work finish, then frees everything. May be called twice. */
  close(): Promise<void>;
}

export type Awaitable<T> = T | Promise<T>;

export interface Content {
  /** JSON. */
  readonly text: string;
  /** Milliseconds since the Unix epoch; Infinity for never. */
  readonly expires: number;
  /** The server itself needs it, and it is written where there is no room for more of the plugins'. */
  readonly isUpkeep?: boolean;
}

export interface Entry extends Content {
  /** Changes with each write. */
  readonly revision: number;
}

export interface Condition {
  /** The revision that the entry must still have; null: no entry may exist. Without it, any entry is replaced. */
  readonly revision?: number | null | undefined;
  /** The revision that the new entry gets; a new one without it. */
  readonly becomes?: number | undefined;
  readonly fence?: Fence | undefined;
}

/** Another entry, which must still have this revision. */
export interface Fence {
  readonly place: string;
  readonly revision: number;
}

/** Places from `from` on and before `to`, in the order of their UTF-8 bytes, or from the other end. */
export interface Range {
  readonly from: string;
  readonly to: string;
  readonly limit: number;
  readonly reverse: boolean;
}

/** Revisions never repeat, so that an entry that was removed and created again is a different one. */
export function newRevision(): number {
  return Math.floor(Math.random() * Number.MAX_SAFE_INTEGER);
}
