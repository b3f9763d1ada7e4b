import type { Share, ShareRequest, UnusedShare } from '../control.js';
import { monotonic } from '../monitor/monotonic.js';

/**
 * How many clients of a window are counted separately. All others share one count, so that a client with many addresses
 * cannot fill the memory. Exported for tests.
 */
export const MAX_CLIENTS = 10_000;
const ALL_OTHERS = 'others';

/** Milliseconds between two searches of a full table for entries that are over. */
const SWEEP_INTERVAL = 1000;

/** An entry for each client, and one for all that are too many. */
export class ClientTable<Entry> {
  readonly #entries = new Map<string, Entry>();
  #swept = Number.NEGATIVE_INFINITY;

  /** @param create is given the name under which the client is counted */
  of(
    client: string,
    now: number,
    isOver: (entry: Entry, now: number) => boolean,
    create: (name: string) => Entry,
  ): Entry {
    let name = client;
    let entry = this.#entries.get(name);
    if (entry === undefined && !this.#hasSpace(now, isOver)) {
      name = ALL_OTHERS;
      entry = this.#entries.get(name);
    }
    if (entry === undefined || isOver(entry, now)) {
      entry = create(name);
      this.#entries.set(name, entry);
    }
    return entry;
  }

  get(client: string): Entry | undefined {
    return this.#entries.get(client);
  }

  values(): Iterable<Entry> {
    return this.#entries.values();
  }

  #hasSpace(now: number, isOver: (entry: Entry, now: number) => boolean): boolean {
    if (this.#entries.size >= MAX_CLIENTS && now - this.#swept >= SWEEP_INTERVAL) {
      this.#swept = now;
      for (const [client, entry] of this.#entries) if (isOver(entry, now)) this.#entries.delete(client);
    }
    return this.#entries.size < MAX_CLIENTS;
  }
}

/** Of what is left, a share taken in advance is at most one in so many: the last ones are small, and few are left unused. */
const SHARES_LEFT = 2;

/** The requests of a client that processes have taken in a window, used or not. */
interface Count {
  taken: number;
  readonly begun: number;
}

/**
 * How many requests of each client's limit are taken. There is one for all processes of a server, over reloads: what it
 * gives away in a window is never more than the limit. A window begins with the client's first request.
 */
export class RateCounts {
  readonly #counts = new ClientTable<Count>();

  take({ client, rate, window, need, most }: ShareRequest): Share {
    const now = monotonic();
    const count = this.#counts.of(
      client,
      now,
      ({ begun }) => now - begun >= window * 1000,
      () => ({ taken: 0, begun: now }),
    );
    // A reload may have lowered the limit.
    const left = Math.max(0, rate - count.taken);
    const tokens = Math.min(left, Math.max(need, Math.min(most, Math.floor(left / SHARES_LEFT))));
    count.taken += tokens;
    return { tokens, left: left - tokens, begun: count.begun };
  }

  giveBack(unused: readonly UnusedShare[]): void {
    for (const { client, tokens, begun } of unused) {
      const count = this.#counts.get(client);
      if (count?.begun === begun) count.taken -= tokens;
    }
  }
}
