import { readFileSync } from 'node:fs';

/** Between two looks, in milliseconds. */
const usualInterval = 5000;
/** How many looks in a row a worker must be over the limit. */
const strikes = 3;
/** In looks: how long a replacement may take to be over the limit without a request, and the pauses between replacements. */
const early = 120;
const pauses = { first: 2, longest: 120 };

/** What the watch needs of a worker. */
export interface WatchedWorker {
  readonly pid: number | undefined;
  /** Requests to plugins that it has finished. */
  readonly requests: number;
}

export interface MemoryWatchOptions<Worker> {
  /** Bytes; 0 for no limit. */
  readonly limit: number;
  /** Milliseconds between two looks; every five seconds by default. */
  readonly interval?: number | undefined;
  /** A worker is on its way in or out. */
  readonly isReplacing: () => boolean;
  readonly replace: (worker: Worker, memory: number) => void;
  /** The workers need more than the limit at rest. Called once. */
  readonly onTooLow: (memory: number) => void;
}

interface Seen {
  looks: number;
  /** How often in a row it was over the limit. */
  over: number;
  wasUnder: boolean;
  /** In place of a worker that was over the limit. */
  readonly isReplacement: boolean;
  isLeft: boolean;
}

/**
 * Replaces workers that hold more memory than the limit, one at a time and with growing pauses. A worker that has been over it
 * ever since it was ready, or a replacement that is over it again without requests, would not get better by a replacement: it
 * is left.
 */
export class MemoryWatch<Worker extends WatchedWorker> {
  readonly #options: MemoryWatchOptions<Worker>;
  readonly #interval: number;
  readonly #workers = new Map<Worker, Seen>();
  #timer: NodeJS.Timeout | undefined;
  /** Of the clock of looks. */
  #now = 0;
  #lastReplaced: number | undefined;
  #pause = 0;
  #hasTold = false;

  constructor(options: MemoryWatchOptions<Worker>) {
    this.#options = options;
    this.#interval = options.interval ?? usualInterval;
  }

  /** The worker is ready, and has no connections yet. */
  add(worker: Worker): void {
    if (this.#options.limit === 0) return;
    const isReplacement = this.#lastReplaced !== undefined;
    const seen = { looks: 0, over: 0, wasUnder: false, isReplacement, isLeft: false };
    this.#workers.set(worker, seen);
    this.#look(worker, seen);
    this.#timer ??= setInterval(() => this.#lookAtAll(), this.#interval).unref();
  }

  remove(worker: Worker): void {
    this.#workers.delete(worker);
    if (this.#workers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #lookAtAll(): void {
    this.#now += 1;
    for (const [worker, seen] of this.#workers) this.#look(worker, seen);
  }

  #look(worker: Worker, seen: Seen): void {
    const memory = anonymousMemory(worker.pid);
    if (memory === undefined) return;
    seen.looks += 1;
    if (memory <= this.#options.limit) {
      seen.over = 0;
      seen.wasUnder = true;
      seen.isLeft = false;
      return;
    }
    seen.over += 1;
    if (seen.over < strikes || seen.isLeft) return;
    const isIdle = seen.isReplacement && worker.requests === 0 && seen.looks <= early;
    if (!seen.wasUnder || isIdle) {
      seen.isLeft = true;
      if (!this.#hasTold) this.#options.onTooLow(memory);
      this.#hasTold = true;
      return;
    }
    if (this.#options.isReplacing() || !this.#isDue()) return;
    this.#lastReplaced = this.#now;
    this.#options.replace(worker, memory);
  }

  /** Whether the pause since the last replacement is over. The next one is twice as long, unless a long time has passed. */
  #isDue(): boolean {
    if (this.#lastReplaced === undefined) return true;
    const passed = this.#now - this.#lastReplaced;
    if (passed < Math.max(this.#pause, pauses.first)) return false;
    const grown = Math.min(Math.max(this.#pause * 2, pauses.first * 2), pauses.longest);
    this.#pause = passed > 2 * pauses.longest ? pauses.first : grown;
    return true;
  }
}

/**
 * The memory that a process alone holds, in bytes: RssAnon and RssShmem of proc_pid_status(5). Resident memory would include
 * the pages of the embedded store's file, which the system takes back when it needs them. Undefined on systems other than
 * Linux, and for a process that has ended.
 */
export function anonymousMemory(pid: number | undefined): number | undefined {
  if (pid === undefined || process.platform !== 'linux') return undefined;
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    const kilobytes = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN);
    const memory = (kilobytes('RssAnon') + kilobytes('RssShmem')) * 1024;
    return Number.isNaN(memory) ? undefined : memory;
  } catch {
    return undefined;
  }
}
