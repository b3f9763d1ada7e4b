import { type Database, getLastVersion, type RangeOptions, type RootDatabase } from 'lmdb';
import { checksum, withChecksum, withoutChecksum } from '../../../../databases/lmdb/checksum.js';
import { StoreDamagedError } from '../../errors.js';
import { extrasOf, type SessionExtras, type SessionRecord } from '../../store.js';
import {
  decodeExtras,
  decodeHead,
  decodeRecord,
  decodeSummary,
  encodeExtras,
  encodeRecord,
  hasExtras,
  hasUserid,
  hasUseridPrefix,
  isPlausible,
  mayHaveExtras,
  type StoredHead,
  type StoredRecord,
} from './record.js';
import { checksumIn, revisionAfter } from './revision.js';

/** A record and its revision, which every write changes. */
export interface Found {
  readonly record: StoredRecord;
  readonly revision: number;
}

/** What of a record is read. */
type Decode<T> = (handle: string, buffer: Buffer) => T | undefined;
type Extended = Pick<StoredHead, 'indexed' | 'created'> & SessionExtras;

/**
 * The records of a store by handle, and what few of them have besides (record.ts). Every read compares the checksum over all
 * fields of a record, in the snapshot in use, and throws a StoreDamagedError that names it where bytes have changed since it
 * was written. Records that version 0.1.0 wrote have no checksum; only their form is checked.
 */
export class Records {
  readonly #records: Database<Buffer, Buffer>;
  readonly #extras: Database<Buffer, Buffer>;

  constructor(root: RootDatabase) {
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
    this.#records = root.openDB('records', { ...binary, useVersions: true });
    this.#extras = root.openDB('extras', binary);
  }

  get databases() {
    return [this.#records, this.#extras];
  }

  async clear(): Promise<void> {
    await Promise.all([this.#records.clearAsync(), this.#extras.clearAsync()]);
  }

  get count(): number {
    return (this.#records.getStats() as { entryCount: number }).entryCount;
  }

  keys(range: RangeOptions): Buffer[] {
    return Array.from(this.#records.getKeys(range), (key) => Buffer.from(key));
  }

  /**
   * Reads these records from disk in other threads: where they are not in memory, whoever reads them next does not keep the
   * event loop waiting.
   */
  async prefetch(keys: readonly Buffer[]): Promise<void> {
    const share = Math.ceil(keys.length / readers);
    const parts = Array.from({ length: readers }, (_, n) => keys.slice(n * share, (n + 1) * share));
    await Promise.all(parts.map((part) => this.#records.prefetch(part)));
  }

  find(key: Buffer): Found | undefined {
    let revision = 0;
    const record = this.#read(key, (handle, buffer) => {
      revision = getLastVersion();
      return decodeRecord(handle, buffer, buffer.length);
    });
    return record && { record, revision };
  }

  /** @param prefix the bytes with which its userid begins, else it is undefined */
  head(key: Buffer, prefix?: Buffer): StoredHead | undefined {
    return this.#read(key, (handle, buffer) =>
      prefix && !hasUseridPrefix(buffer, prefix) ? undefined : decodeHead(handle, buffer),
    );
  }

  /** @param userid of which it must be, in UTF-8: that of the index entry which led here */
  summary(key: Buffer, userid?: Buffer) {
    return this.#read(key, (handle, buffer) => {
      if (userid && !hasUserid(buffer, userid)) throw new StoreDamagedError(partOf(key));
      return decodeSummary(handle, buffer);
    });
  }

  /** What of a damaged record can be made out. None of it is certain. */
  remains(key: Buffer): Found {
    const buffer = this.#records.getBinaryFast(key)!;
    const revision = getLastVersion();
    const whole = Buffer.alloc(Math.max(buffer.length, shortest));
    whole.set(bytesOf(buffer));
    return { record: decodeRecord(handleOf(key), whole, whole.length), revision };
  }

  /** To be called within a commit, or as one; resolves to false where the record does not have that revision any more. */
  put(key: Buffer, record: StoredRecord, isSecond: boolean, before: number, condition?: number) {
    const value = encodeRecord(record, record.indexed, record.epoch, isSecond);
    return this.#records.put(key, value, revisionAfter(before, checksum(key, value)), condition as number);
  }

  putExtras(key: Buffer, record: SessionRecord): void {
    this.#extras.put(key, withChecksum(key, encodeExtras(extrasOf(record)!, record.created)));
  }

  ifNew(key: Buffer, write: () => void): Promise<boolean> {
    return this.#records.ifNoExists(key, write);
  }

  /** Makes the writes if the record still has that revision; none where it does not. */
  ifStill(key: Buffer, revision: number, write: () => void): Promise<boolean> {
    return this.#records.ifVersion(key, revision, write);
  }

  /** All that `write` writes is in one transaction. What is conditional in it stays so by itself. */
  together<Result>(write: () => Result): Result {
    let result!: Result;
    // Each write says itself what came of it.
    this.#records
      .batch(() => {
        result = write();
      })
      .catch(() => {});
    return result;
  }

  /** To be called within a commit. */
  remove(key: Buffer, { indexed }: Pick<StoredHead, 'indexed'>): void {
    this.#records.remove(key);
    if (mayHaveExtras(indexed)) this.#extras.remove(key);
  }

  #read<T extends Extended>(key: Buffer, decode: Decode<T>): T | undefined {
    const buffer = this.#records.getBinaryFast(key);
    if (!buffer) return undefined;
    const handle = handleOf(key);
    const sum = checksumIn(getLastVersion());
    const value = bytesOf(buffer);
    const isSound = sum === undefined ? isPlausible(buffer, value.length) : sum === checksum(key, value);
    if (!isSound) throw new StoreDamagedError(partOf(key));
    const record = decode(handle, buffer);
    if (record && mayHaveExtras(record.indexed)) Object.assign(record, this.#readExtras(key, record));
    return record;
  }

  #readExtras(key: Buffer, record: Extended): SessionExtras | undefined {
    const stored = this.#extras.getBinaryFast(key);
    const bytes = stored && withoutChecksum(key, bytesOf(stored));
    const extras = bytes && decodeExtras(bytes, record.created);
    // What is left over from an earlier record of the handle does not count.
    if (extras === undefined && (hasExtras(record.indexed) || (stored && !bytes))) {
      throw new StoreDamagedError(partOf(key));
    }
    return extras;
  }
}

export function handleBytes(handle: string): Buffer {
  return Buffer.from(handle, 'base64url');
}

export function handleOf(key: Buffer): string {
  return key.toString('base64url');
}

/** Names a record in the log. */
export function partOf(key: Buffer): string {
  return `session ${handleOf(key)}`;
}

/** lmdb reuses one long buffer, and says by `length` how much of it counts. */
function bytesOf(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

/** Threads that read records: one less than Node has for files and others. */
const readers = 3;
/** Bytes of the fixed fields. */
const shortest = 90;
