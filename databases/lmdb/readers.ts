import type { RootDatabase } from 'lmdb';
import type { Pages } from './pages.js';

/** A process that has been reading in a file for long. LMDB keeps every page of its time, so the file grows meanwhile. */
export interface LongReader {
  readonly pid: number;
  readonly seconds: number;
}

export interface ReadersOptions {
  /** Told once of each process that reads for longer than `longAfter`. */
  readonly onLong?: ((reader: LongReader) => void) | undefined;
  /** Milliseconds; by default a minute. */
  readonly longAfter?: number;
}

/** Watches the readers of an LMDB file, in all processes: clears those that were killed, and times the others. */
export class Readers {
  readonly #timer: NodeJS.Timeout;
  /** When each that reads was first seen with its snapshot, by pid, thread and snapshot. */
  #since = new Map<string, number>();
  readonly #told = new Set<string>();

  constructor(
    private readonly root: RootDatabase,
    private readonly options: ReadersOptions = {},
  ) {
    this.#timer = setInterval(() => this.#look(), interval).unref();
  }

  /** For how many seconds the oldest snapshot has been in use, to the precision of a second. */
  get oldest(): number {
    return Math.max(0, ...[...this.#since.values()].map((since) => (performance.now() - since) / 1000));
  }

  /** As if none were free where somebody has been reading in an old snapshot: LMDB keeps what has become free since. */
  usable(pages: Pages): Pages {
    const { lastTxnId } = this.root.getStats() as { lastTxnId: number };
    const longSince = performance.now() - 2000;
    const isOld = ([reader, since]: [string, number]) =>
      since < longSince && Number(reader.split(/\s+/).at(-1)) < lastTxnId;
    return [...this.#since].some(isOld) ? { ...pages, free: 0 } : pages;
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    // A reader that was killed, such as a backup, would keep every page of its time in use.
    this.root.readerCheck();
    const now = performance.now();
    const since = new Map<string, number>();
    for (const reader of readersIn(this.root.readerList())) {
      const first = this.#since.get(reader) ?? now;
      since.set(reader, first);
      if (now - first >= (this.options.longAfter ?? longAfter)) this.#tell(reader, now - first);
    }
    this.#since = since;
    for (const reader of this.#told) if (!since.has(reader)) this.#told.delete(reader);
  }

  #tell(reader: string, milliseconds: number): void {
    if (this.#told.has(reader)) return;
    this.#told.add(reader);
    this.options.onLong?.({ pid: Number.parseInt(reader, 10), seconds: Math.round(milliseconds / 1000) });
  }
}

/** Milliseconds. */
const interval = 1000;
const longAfter = 60_000;

/** LMDB's list has a line `pid thread snapshot` for each reader, with `-` for the snapshot of one that reads nothing. */
function readersIn(list: string): string[] {
  return list
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /^\d+\s+\S+\s+\d+$/.test(line));
}
