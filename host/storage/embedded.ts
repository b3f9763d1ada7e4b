import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type Database, getLastVersion, type RootDatabase } from 'lmdb';
import { StoreFileError } from '../../databases/lmdb/check-file.js';
import { checksumLength, isIntact, writeChecksum } from '../../databases/lmdb/checksum.js';
import { type Claim, openClaimed } from '../../databases/lmdb/claim.js';
import { Commits, openDurable } from '../../databases/lmdb/commits.js';
import { checkSpaceForCopy, copyRecords } from '../../databases/lmdb/copy.js';
import { markStoreFolder, prepareStoreFolder } from '../../databases/lmdb/folder.js';
import { FreshReads } from '../../databases/lmdb/fresh-reads.js';
import { type Pages, pagesOf } from '../../databases/lmdb/pages.js';
import { Readers } from '../../databases/lmdb/readers.js';
import type { Purpose } from '../../databases/lmdb/room.js';
import { type ClockMark, WallClock } from '../../databases/lmdb/wall-clock.js';
import { HttpError } from '../kit/http-error.js';
import { damaged, storageError, unavailable } from './errors.js';
import {
  type Condition,
  type Content,
  type Entry,
  type Fence,
  newRevision,
  type Range,
  type Store,
} from './store.js';

export interface StoreEvents {
  /** Called once when the disk has failed, and this process can no longer write; one that opens the file again can. */
  readonly onFailed?: (error: Error) => void;
  /** Called once, with words for the log, when a write that the disk refused has left LMDB unusable in this process. */
  readonly onUnusable?: (reason: string) => void;
  /** Refuses every write as after a failure. */
  readonly isReadOnly?: boolean;
  /** The machine's clock has jumped by so many milliseconds, or is believed again: undefined. */
  readonly onJump?: (skew: number | undefined) => void;
}

/**
 * The storage of one host: an LMDB file for all plugins, which each of its processes opens. The entries are in one database,
 * since LMDB has to know beforehand how many there will be.
 *
 * An entry is a checksum, its expiry, a little-endian double, and its text. LMDB keeps the revision with it. Bytes that have
 * changed on disk are an error to whoever reads the entry; it can be replaced or removed. The second database has a key
 * for each expiry that was written, of the time and the place, so that expired entries are found; one that is out of date is
 * dropped when its time comes.
 */
export class EmbeddedStore implements Store {
  readonly fenceProblem = undefined;
  readonly #root: RootDatabase;
  readonly #snapshot: FreshReads;
  readonly #entries: Database<Buffer, string>;
  readonly #expiries: Database<Buffer, Buffer>;
  readonly #commits: Commits<HttpError>;
  readonly #readers: Readers;
  readonly clock: WallClock;
  #claim: Claim | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Opens the file in that folder, and creates both first where they do not exist.
   * @throws StoreFileError when the folder cannot be used, is in use by another container, or the file is damaged, which is
   *   then left as it is
   */
  static openClaimed(folder: string, events: StoreEvents = {}): Promise<EmbeddedStore> {
    return openClaimed(folder, layout, (claim) => {
      const store = EmbeddedStore.open(folder, events);
      store.#claim = claim;
      return store;
    });
  }

  /** The same, but other containers are not kept off. */
  static open(folder: string, events: StoreEvents = {}): EmbeddedStore {
    const file = prepareStoreFolder(folder, layout);
    try {
      const store = new EmbeddedStore(file, events);
      if (!events.isReadOnly) markStoreFolder(folder, layout);
      return store;
    } catch (cause) {
      throw new StoreFileError(`the storage ${file} cannot be opened: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  private constructor(file: string, events: StoreEvents) {
    const pages = () => this.#readers.usable(this.#pages());
    this.#commits = new Commits(file, refusals, { ...events, pages });
    this.#root = openDurable(file);
    this.#snapshot = new FreshReads(this.#root);
    const entries = { encoding: 'binary', keyEncoder: places, useVersions: true } as const;
    this.#entries = this.#root.openDB('entries', entries);
    this.#expiries = this.#root.openDB('expiries', { encoding: 'binary', keyEncoding: 'binary' });
    this.#readers = new Readers(this.#root);
    this.clock = new WallClock({
      read: () => {
        const entry = this.read(clockPlace);
        return entry && (JSON.parse(entry.text) as ClockMark);
      },
      keep: (mark) =>
        this.write(clockPlace, {
          text: JSON.stringify(mark),
          expires: Number.POSITIVE_INFINITY,
          isUpkeep: true,
        }),
      onJump: events.onJump,
    });
  }

  now(): number {
    return this.clock.now();
  }

  read(place: string): Entry | undefined {
    if (this.#closed) throw unavailable();
    // Not by #reading, whose closures would cost a tenth of it.
    try {
      this.#snapshot.renew();
      const buffer = this.#entries.getBinaryFast(place);
      return buffer && entryOf(place, buffer, getLastVersion());
    } catch (cause) {
      throw this.#commits.explain(cause);
    }
  }

  /** Not async: that would cost each write two more turns of the microtask queue. */
  write(place: string, content: Content | undefined, condition: Condition = {}): Promise<boolean> {
    try {
      if (this.#closed) throw unavailable();
      const { fence } = condition;
      return fence === undefined
        ? this.#commit(content, () => this.#put(place, content, condition))
        : this.#writeUnder(fence, place, content, condition);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #writeUnder(fence: Fence, place: string, content: Content | undefined, condition: Condition) {
    let put: Promise<boolean> | undefined;
    const isHeld = await this.#commit(content, () =>
      this.#entries.ifVersion(fence.place, fence.revision, () => {
        // Within a condition, lmdb puts a new entry whether or not the condition holds, unless it is in one of its own.
        put =
          condition.revision === null
            ? this.#entries.ifNoExists(place, () => {
                this.#put(place, content, { ...condition, revision: undefined });
              })
            : this.#put(place, content, condition);
      }),
    );
    if (!isHeld) throw storageError('lease_lost');
    return put as Promise<boolean>;
  }

  #commit(content: Content | undefined, begin: () => Promise<boolean>): Promise<boolean> {
    return this.#commits.run(purposeOf(content), begin, content?.text.length);
  }

  page({ from, to, limit, reverse }: Range): readonly (readonly [string, Entry])[] {
    const bounds = reverse
      ? { start: to, end: from, exclusiveStart: true, inclusiveEnd: true, reverse }
      : { start: from, end: to };
    return this.#reading(() =>
      Array.from(
        this.#entries.getRange({ ...bounds, limit, versions: true }),
        ({ key, value, version }) => [key, entryOf(key, value, version!)] as const,
      ),
    );
  }

  async removeExpired(time: number, limit: number): Promise<boolean> {
    const due = this.#reading(() => [...this.#expiries.getKeys({ end: expiryKey(time, ''), limit })]);
    await Promise.all(due.map((key) => this.#removeDue(Buffer.from(key), time)));
    return due.length === limit;
  }

  /**
   * Writes a compact copy, as of one moment, into a new folder, while other processes write. It is on disk then.
   * @throws StoreFileError when the folder's disk has too little space left
   */
  async backup(folder: string): Promise<void> {
    checkSpaceForCopy(this.#pages(), folder);
    mkdirSync(folder, { mode: 0o700 });
    try {
      markStoreFolder(folder, layout);
      await copyRecords(this.#root, join(folder, layout.file));
    } catch (error) {
      rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.clock.close();
    this.#readers.close();
    this.#commits.close();
    // A failed LMDB waits forever for its last transaction. The end of the process frees what it holds.
    if (!this.#commits.hasFailed) await this.#root.close();
    await this.#claim?.release();
  }

  #put(
    place: string,
    content: Content | undefined,
    { revision, becomes = newRevision() }: Condition,
  ): Promise<boolean> {
    if (content === undefined) {
      return revision === undefined
        ? this.#entries.remove(place)
        : this.#entries.remove(place, revision as number);
    }
    const { expires } = content;
    const stored = encode(place, content);
    if (expires === Number.POSITIVE_INFINITY) {
      return this.#entries.put(place, stored, becomes, revision as number);
    }
    const putBoth = () => {
      this.#entries.put(place, stored, becomes);
      this.#expiries.put(expiryKey(expires, place), present);
    };
    return revision === undefined
      ? this.#entries.batch(putBoth)
      : this.#entries.ifVersion(place, revision as number, putBoth);
  }

  /** An entry that has been prolonged or removed leaves a key that is out of date. */
  async #removeDue(key: Buffer, time: number): Promise<void> {
    const place = key.toString('utf8', 8);
    const found = this.#reading(() => {
      const buffer = this.#entries.getBinaryFast(place);
      const revision = getLastVersion();
      return buffer && { expires: isSound(place, buffer) ? expiryOf(buffer) : undefined, revision };
    });
    // A damaged entry goes when this key says so.
    if (found === undefined || (found.expires !== undefined && found.expires > time)) {
      await this.#commits.run('upkeep', () => this.#expiries.remove(key));
      return;
    }
    await this.#commits.run('upkeep', () =>
      this.#entries.ifVersion(place, found.revision, () => {
        this.#entries.remove(place);
        this.#expiries.remove(key);
      }),
    );
  }

  #pages(): Pages {
    return this.#reading(() => pagesOf(this.#root, [this.#entries, this.#expiries]));
  }

  #reading<T>(work: () => T): T {
    if (this.#closed) throw unavailable();
    return this.#commits.reading(() => {
      this.#snapshot.renew();
      return work();
    });
  }
}

function purposeOf(content: Content | undefined): Purpose {
  if (content === undefined) return 'removing';
  return content.isUpkeep ? 'upkeep' : 'adding';
}

/** The name of the file in the storage's folder. */
export const storageFile = 'storage.mdb';

const layout = {
  file: storageFile,
  owner: 'plugin-server',
  format: 2,
  store: "the plugins' storage",
  content: 'values',
  setting: '[paths] data',
  ownSetting: '[paths] data',
};

/** Places as keys: their UTF-8, without a buffer for each where they are short and of ASCII alone, as most are. */
const places = {
  writeKey(place: string, target: Buffer, start: number): number {
    const end = start + place.length;
    if (place.length <= 64 && end <= target.length) {
      let at = start;
      for (; at < end; at += 1) {
        const unit = place.charCodeAt(at - start);
        if (unit > 0x7f) break;
        target[at] = unit;
      }
      if (at === end) return end;
    }
    const bytes = Buffer.from(place);
    // Throws where there is no space, as lmdb expects.
    target.set(bytes, start);
    return start + bytes.length;
  },
  readKey: (target: Buffer, start: number, end: number): string => target.toString('utf8', start, end),
};

/** Not of any plugin: no data name begins with a dot. */
const clockPlace = '.clock/mark';
/** The value of entries whose key says everything. */
const present = Buffer.from([1]);

const refusals = {
  isRefusal: (error: unknown): error is HttpError => error instanceof HttpError,
  unavailable,
  full: unavailable,
  failed: unavailable,
};

function encode(place: string, { text, expires }: Content): Buffer {
  const buffer = withText(text);
  buffer.writeDoubleLE(expires, at.expires);
  writeChecksum(place, buffer);
  return buffer;
}

/** A buffer with a text where an entry has it. Most are cut from a block, so that none has to be measured before. */
function withText(text: string): Buffer {
  // No character has more than three bytes for each unit.
  const most = at.text + text.length * 3;
  if (most > blockSize / 8) {
    const buffer = Buffer.allocUnsafeSlow(at.text + Buffer.byteLength(text));
    buffer.write(text, at.text);
    return buffer;
  }
  if (most > block.length - used) {
    // lmdb keeps the one before for as long as it has to put an entry from it.
    block = Buffer.allocUnsafeSlow(blockSize);
    used = 0;
  }
  const length = at.text + block.write(text, used + at.text);
  const buffer = block.subarray(used, used + length);
  used += length;
  return buffer;
}

/** Bytes. */
const blockSize = 65_536;
let block = Buffer.alloc(0);
let used = 0;

function expiryOf(stored: Buffer): number {
  // The highest byte of Infinity; no time has it.
  return stored[at.text - 1] === 0x7f ? Number.POSITIVE_INFINITY : stored.readDoubleLE(at.expires);
}

/**
 * @param stored a buffer of lmdb's, which may be reused afterwards
 * @throws HttpError `storage_damaged`
 */
function entryOf(place: string, stored: Buffer, revision: number): Entry {
  if (!isSound(place, stored)) throw damaged(place);
  return { text: stored.toString('utf8', at.text, stored.length), expires: expiryOf(stored), revision };
}

/** Whether it is what was written. */
function isSound(place: string, stored: Buffer): boolean {
  return stored.length >= at.text && isIntact(place, stored);
}

/** Where the parts of an entry begin behind its checksum. Bytes. */
const at = { expires: checksumLength, text: checksumLength + 8 } as const;

/** Big-endian, so that keys sort by time. */
function expiryKey(time: number, place: string): Buffer {
  const key = Buffer.allocUnsafe(8 + Buffer.byteLength(place));
  key.writeDoubleBE(time);
  key.write(place, 8);
  return key;
}
