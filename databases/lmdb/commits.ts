import {
  closeSync,
  existsSync,
  linkSync,
  constants as modes,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { constants } from 'node:os';
import { open, type RootDatabase, type RootDatabaseOptions } from 'lmdb';
import { isOutOfSpace } from './disk-space.js';
import type { Pages } from './pages.js';
import { type Purpose, Room } from './room.js';

/** How the owner of a file words that it cannot be used. */
export interface Refusals<Refusal extends Error> {
  isRefusal(error: unknown): error is Refusal;
  unavailable(cause?: unknown): Refusal;
  full(cause?: unknown): Refusal;
  /** This process cannot write any more; one that opens the file again can. */
  failed(cause: unknown): Refusal;
}

type MoreOptions = {
  readonly txnStartThreshold: number;
  readonly maxFreeSpaceToLoad: number;
  readonly maxFreeSpaceToRetain: number;
  readonly noReadAhead?: boolean;
};

const durable: RootDatabaseOptions & MoreOptions = {
  // A commit is flushed before it is visible: nobody reads what a crash could undo.
  overlappingSync: false,
  // lmdb's batching by event turn stays off: there, a failed commit rejects a promise that nobody can handle.
  eventTurnBatching: false,
  txnStartThreshold: 1000,
  // Entries of the list of free pages. Each page that a commit frees is put in its place there, past all that were used:
  // with lmdb's 50,000, a commit of 64 updates took half a second after large transactions had freed many pages.
  maxFreeSpaceToLoad: 5000,
  maxFreeSpaceToRetain: 5000,
  encoding: 'binary',
};

/**
 * Opens a file so that what is acknowledged, and what anybody reads, is on disk. Creates it if it does not exist.
 * @param readsAll whether most of it will be read. Otherwise the system is told to read no more than what is asked for: a
 *   record that is not in memory would be read with up to megabytes around it.
 */
export function openDurable(file: string, readsAll = false): RootDatabase {
  if (!existsSync(file)) createEmpty(file);
  // As lmdb opens it, and with the same mode: lmdb crashes the process where it cannot.
  closeSync(openSync(`${file}-lock`, modes.O_RDWR | modes.O_CREAT, 0o664));
  const options: typeof durable = { ...durable, noReadAhead: !readsAll };
  return open(file, options);
}

/**
 * LMDB flushes the meta pages of a new file with its first commit: a crash before it could leave half of them, which no
 * process would open again. So an empty file gets its name when all of it is on disk, unless another process is faster.
 */
function createEmpty(file: string): void {
  const draft = `${file}.${process.pid}-draft`;
  const copy = `${draft}-copy`;
  const remove = () => {
    for (const path of [draft, `${draft}-lock`]) rmSync(path, { force: true });
  };
  let root: RootDatabase | undefined;
  try {
    remove();
    root = open(draft, durable);
    writeFileSync(copy, readFileSync(draft), { mode: statSync(draft).mode, flush: true });
    linkSync(copy, file);
  } catch {
    // Whatever is wrong, LMDB says it when it creates the file itself. A disk without hard links must do with that.
  } finally {
    rmSync(copy, { force: true });
    void Promise.resolve(root?.close()).then(remove);
  }
}

export interface CommitsOptions<Refusal> {
  /** Those of the file; free are those that can be used again. */
  pages(): Pages;
  /** Called once when the disk has failed, and this process can write no more; one that opens the file again can. */
  readonly onFailed?: ((error: Refusal) => void) | undefined;
  /** Called once, with words for the log, when a write that the disk refused has left LMDB unusable in this process. */
  readonly onUnusable?: ((reason: string) => void) | undefined;
  /** Refuses every write: the disk has failed again after another process had opened the file. */
  readonly isReadOnly?: boolean | undefined;
}

/** The commits to one LMDB file, each of which ends in time, one way or the other. */
export class Commits<Refusal extends Error> {
  readonly #deadline: CommitDeadline;
  readonly #room: Room;
  /** Until when no write is tried after the system has refused one; 0 where it has not. */
  #refusedUntil = 0;
  /** When the system refused one last. */
  #refusedAt = Number.NEGATIVE_INFINITY;
  /** When a read found LMDB unusable, and no commit had told why. */
  #panicAt: number | undefined;
  #nextReason = 0;
  /** Set once, when LMDB must not write in this process any more. */
  #failure: Refusal | undefined;
  /** What `begin` gave last, what came of it, and which writes it stands for. */
  #latest: Latest | undefined;
  /** What lmdb has, of which it makes its transactions. */
  readonly #begun = { writes: 0, size: 0 };
  /** Writes that wait until it has fewer. */
  readonly #queue: Queued[] = [];

  constructor(
    private readonly file: string,
    private readonly refusals: Refusals<Refusal>,
    private readonly options: CommitsOptions<Refusal>,
  ) {
    this.#deadline = new CommitDeadline((cause) => refusals.unavailable(cause));
    this.#room = new Room(file, () => options.pages());
    if (options.isReadOnly) this.#failure = refusals.failed(new Error('the file is open for reading only'));
  }

  get hasFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** @throws Refusal while a write for that purpose would be refused */
  check(purpose: Purpose, size = 0): void {
    if (this.#failure) throw this.#failure;
    if (!this.#room.isEnoughFor(purpose, size + this.#begun.size))
      throw this.refusals.full(this.#reasonForLog());
    if (this.#refusedUntil === 0) return;
    if (performance.now() < this.#refusedUntil) throw this.refusals.full();
    // The system has refused a write though it showed space, as under a quota: another file tries it before LMDB's does.
    if (this.#room.isAmple && isOutOfSpace(this.file)) throw this.#refuse();
    this.#refusedUntil = 0;
  }

  /** Once a second: the log may be on the same disk. */
  #reasonForLog(): Error | undefined {
    const now = performance.now();
    if (now < this.#nextReason) return undefined;
    this.#nextReason = now + 1000;
    return new Error(this.#room.describe());
  }

  #refuse(cause?: unknown): Refusal {
    this.#refusedAt = performance.now();
    this.#refusedUntil = this.#refusedAt + 1000;
    return this.refusals.full(cause);
  }

  /**
   * Resolves once what `begin` writes is on disk, to what it resolves to. Rejects with a Refusal.
   * @param size bytes that it adds, about: 0 for a few
   */
  run<T>(purpose: Purpose, begin: () => Promise<T>, size = 0): Promise<T> {
    this.check(purpose, size);
    return this.#mayBegin(size) ? this.#begin(begin, size) : this.#beginLater(purpose, begin, size);
  }

  #beginLater<T>(purpose: Purpose, begin: () => Promise<T>, size: number): Promise<T> {
    const until = performance.now() + commitDeadline;
    const answer = new Promise<T>((resolve, reject) => {
      const start = () => {
        try {
          this.check(purpose, size);
          resolve(this.#begin(begin, size));
        } catch (error) {
          reject(error);
        }
      };
      this.#queue.push({ size, start, reject, until });
    });
    return this.#deadline.within(answer, async (error) => error as Refusal);
  }

  #mayBegin(size: number): boolean {
    const most = this.#room.isShort ? mostInLittleRoom : mostAtOnce;
    const { writes, size: begun } = this.#begun;
    return writes === 0 || (writes < most.writes && begun + size <= most.size);
  }

  #begin<T>(begin: () => Promise<T>, size: number): Promise<T> {
    const committed = begin();
    this.#begun.writes += 1;
    this.#begun.size += size;
    // lmdb gives all writes of a transaction that have no condition the same promise.
    if (this.#latest?.committed === committed) {
      this.#latest.writes += 1;
      this.#latest.size += size;
      return this.#latest.answer as Promise<T>;
    }
    const latest: Latest = { committed, writes: 1, size };
    latest.answer = this.#deadline.within(
      committed,
      async (error) => this.#explainCommit(await causeOf(error)),
      () => this.#ended(latest),
    );
    this.#latest = latest;
    return latest.answer as Promise<T>;
  }

  #ended({ writes, size }: Latest): void {
    this.#begun.writes -= writes;
    this.#begun.size -= size;
    while (this.#queue.length > 0 && this.#mayBegin(this.#queue[0]!.size)) {
      const { start, until } = this.#queue.shift()!;
      // Whoever waited so long is told that it was not written, and it must not be.
      if (until > performance.now()) start();
    }
  }

  /** @throws Refusal */
  reading<T>(work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw this.explain(cause);
    }
  }

  /** To be called before the file is closed. What has been begun may still end; what has not is refused. */
  close(): void {
    this.#deadline.close();
    for (const { reject } of this.#queue.splice(0)) reject(this.refusals.unavailable());
  }

  /** What a caller that reads is told of an error. */
  explain(cause: unknown): Refusal {
    if (isPanic(cause) && this.#failure === undefined && this.#begun.writes > 0) {
      // The commit that failed is about to tell why.
      this.#panicAt ??= performance.now();
      if (performance.now() - this.#panicAt < 1000) return this.refusals.unavailable(cause);
    }
    return this.#explainCommit(cause);
  }

  #explainCommit(cause: unknown): Refusal {
    if (this.#failure) return this.#failure;
    if (this.refusals.isRefusal(cause)) return cause;
    const lacksSpace =
      isFull(cause) ||
      (isWriteError(cause) && isOutOfSpace(this.file)) ||
      (isPanic(cause) && performance.now() - this.#refusedAt < longestDoubt);
    if (hasFailed(cause) && !lacksSpace) {
      const failed = this.#giveUp(this.refusals.failed(cause));
      this.options.onFailed?.(failed);
      return failed;
    }
    if (isPanic(cause) || isOverlong(cause)) {
      this.#giveUp(this.refusals.unavailable(cause));
      this.options.onUnusable?.(unusable);
    }
    return lacksSpace ? this.#refuse(cause) : this.refusals.unavailable(cause);
  }

  /**
   * After a disk error, LMDB may accept writes and never finish them, and what it believes to be on disk may be missing.
   * Nothing is certain until the file is opened again, which one process cannot do twice.
   */
  #giveUp(refusal: Refusal): Refusal {
    this.#failure = refusal;
    this.#deadline.rejectAll(refusal);
    return refusal;
  }
}

/**
 * No request may wait forever: not for a disk that hangs, nor for another process that hangs within a transaction, nor
 * for an LMDB that gave up after a disk error. One timer watches all commits.
 */
class CommitDeadline {
  readonly #waiting: Waiting[] = [];
  readonly #timer = setInterval(() => this.#look(), 1000).unref();

  constructor(private readonly late: (cause: Error) => Error) {}

  /** @param onEnd called when it has ended, be it too late */
  within<T>(
    committed: Promise<T>,
    explain: (error: unknown) => Promise<Error>,
    onEnd?: () => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const commit: Waiting = { since: performance.now(), reject, place: this.#waiting.length };
      this.#waiting.push(commit);
      committed.then(
        (result) => {
          this.#remove(commit);
          onEnd?.();
          resolve(result);
        },
        (error: unknown) => {
          this.#remove(commit);
          onEnd?.();
          explain(error).then(reject);
        },
      );
    });
  }

  rejectAll(error: Error): void {
    for (const commit of this.#waiting.splice(0)) this.#reject(commit, error);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const oldest = performance.now() - commitDeadline;
    for (const commit of this.#waiting.filter(({ since }) => since <= oldest)) {
      this.#remove(commit);
      this.#reject(commit, this.late(new Error(`no commit within ${commitDeadline} ms`)));
    }
  }

  #reject(commit: Waiting, error: Error): void {
    commit.place = -1;
    commit.reject(error);
  }

  #remove(commit: Waiting): void {
    const { place } = commit;
    // It has been rejected.
    if (place < 0) return;
    const last = this.#waiting.pop()!;
    if (last === commit) return;
    this.#waiting[place] = last;
    last.place = place;
  }
}

interface Latest {
  readonly committed: Promise<unknown>;
  answer?: Promise<unknown>;
  writes: number;
  size: number;
}

/** A write that has not begun. */
interface Queued {
  readonly size: number;
  readonly start: () => void;
  readonly reject: (error: Error) => void;
  /** Once that time has come, in milliseconds of the monotonic clock, it does not begin any more. */
  readonly until: number;
}

/** A commit under way, and its place in the list: the old tables of a Set would keep those alive that have ended. */
interface Waiting {
  readonly since: number;
  readonly reject: (error: Error) => void;
  /** Negative once it has been rejected. */
  place: number;
}

/** Milliseconds. */
const commitDeadline = 5000;
/**
 * Writes of one transaction, and their bytes. A thousand writes free so many pages that their list takes several pages itself, and lmdb 3.5.6
 * has crashed on such a list. With 512 writers at once, that bound costs the store alone a fifth of its writes a second.
 */
const mostAtOnce = { writes: 200, size: 8 * 1024 * 1024 };
/** The same where the disk may be full before they are on it. */
const mostInLittleRoom = { writes: 16, size: 1024 * 1024 };
/** Milliseconds after a refused write within which a panic is ascribed to it. */
const longestDoubt = 10_000;
/** Why a process had better end. */
const unusable = 'LMDB cannot be used any more in this process after the disk refused a write';
/** Bytes that lmdb has for its description of a refused write. */
const bufferOfDescription = 100;
/** LMDB's code for an environment that must be opened again. */
const lmdbPanic = -30_795;

/** Why a commit failed: lmdb rejects with a general error, which carries the cause as a promise. */
async function causeOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> };
  return commitError === undefined ? error : commitError.catch((cause: unknown) => cause);
}

function isFull(cause: unknown): boolean {
  const { ENOSPC, EDQUOT, EFBIG } = constants.errno;
  return [ENOSPC, EDQUOT, EFBIG].includes(codeOf(cause));
}

/** A disk error, or a write that the system cut short for lack of space: LMDB reports both as EIO. */
function isWriteError(cause: unknown): boolean {
  return codeOf(cause) === constants.errno.EIO;
}

function hasFailed(cause: unknown): boolean {
  return isWriteError(cause) || isPanic(cause);
}

/** Whether the environment must be opened again. A read is then an invalid argument, and only the text tells why. */
function isPanic(cause: unknown): boolean {
  const { message } = (cause ?? {}) as { message?: unknown };
  return (
    codeOf(cause) === lmdbPanic ||
    (codeOf(cause) === constants.errno.EINVAL && String(message).includes('MDB_PANIC'))
  );
}

/** Whether lmdb has written its description of a refused write past the end of its buffer, into the memory of others. */
function isOverlong(cause: unknown): boolean {
  const description =
    /Attempting to write page.*$/s.exec(String((cause as Error | undefined)?.message))?.[0] ?? '';
  return description.length >= bufferOfDescription;
}

function codeOf(cause: unknown): number {
  return Number((cause as { code?: unknown } | undefined)?.code);
}
