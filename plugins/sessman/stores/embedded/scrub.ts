import { crc32 } from 'node:zlib';
import type { Database, RangeOptions } from 'lmdb';
import type { ScrubPlace } from '../../store.js';
import { expiryKey, timeIn, userKey, userKeyPrefix } from './keys.js';
import type { Found, Records } from './records.js';
import { checksumIn } from './revision.js';

/** What a scrub reads, all in one snapshot. */
export interface ScrubSource {
  readonly records: Records;
  readonly byUser: Database<Buffer, Buffer>;
  readonly byExpiry: Database<Buffer, Buffer>;
  /** Null where it is damaged. */
  find(key: Buffer): Found | null | undefined;
}

/** What one step of a scrub has seen. */
export interface Seen {
  readonly next: ScrubPlace | undefined;
  records: number;
  unchecked: number;
  /** Keys of records that are damaged, or that the walk over all meets but a search does not find. */
  readonly damaged: Buffer[];
  readonly fixes: Fix[];
}

/** An index entry that is missing or surplus, to be changed if the record still has that revision, or still is not there. */
export interface Fix {
  readonly index: 'byUser' | 'byExpiry';
  readonly entry: Buffer;
  readonly put: boolean;
  readonly key: Buffer;
  readonly revision: number | undefined;
}

/**
 * Looks at records and index entries from that place on, for about that many milliseconds: first at each record and its
 * entries in both indexes, then at each entry of the indexes and its record.
 */
export function lookFrom(store: ScrubSource, place: ScrubPlace | undefined, time: number): Seen {
  const seen = { records: 0, unchecked: 0, damaged: [], fixes: [] };
  const until = performance.now() + time;
  const part = place?.part ?? 'records';
  const look = looks[part];
  let start = place?.after === undefined ? first : Buffer.concat([Buffer.from(place.after, 'base64'), first]);
  for (;;) {
    const range = { start, limit: stretch };
    const keys = keysIn(store, part, range);
    for (const key of keys) look(store, key, seen);
    const last = keys.at(-1);
    if (last === undefined || keys.length < stretch) return { ...seen, next: followers[part] };
    if (performance.now() >= until) return { ...seen, next: { part, after: last.toString('base64') } };
    start = Buffer.concat([last, first]);
  }
}

/**
 * Whether all records are intact, and the indexes have their entries and no others. It reads each database once, in its order,
 * where a scrub reads at random: from disk again and again, if the file is larger than memory. Entries are compared by how many
 * they are and the sum of their CRC-32s: of other entries in their place, it misses one in 2^32.
 *
 * @returns undefined where something is wrong: a scrub tells what
 */
export function lookInOrder(store: ScrubSource): Pick<Seen, 'records' | 'unchecked'> | undefined {
  const seen = { records: 0, unchecked: 0 };
  const due = { byUser: new EntrySum(), byExpiry: new EntrySum() };
  for (const key of allKeys(store, 'records')) {
    const found = store.find(key);
    if (!found) return undefined;
    const { record, revision } = found;
    seen.records += 1;
    if (checksumIn(revision) === undefined) seen.unchecked += 1;
    due.byUser.add(userKey(record.userid, key));
    due.byExpiry.add(expiryKey(record.indexed, key));
  }
  for (const index of ['byUser', 'byExpiry'] as const) {
    const there = new EntrySum();
    for (const entry of allKeys(store, index)) there.add(entry);
    if (!there.equals(due[index])) return undefined;
  }
  return seen;
}

class EntrySum {
  #count = 0;
  #sum = 0;

  add(entry: Buffer): void {
    this.#count += 1;
    this.#sum = (this.#sum + crc32(entry)) % 2 ** 48;
  }

  equals(other: EntrySum): boolean {
    return this.#count === other.#count && this.#sum === other.#sum;
  }
}

function* allKeys(store: ScrubSource, part: Part): Iterable<Buffer> {
  for (let start = first; ; ) {
    const keys = keysIn(store, part, { start, limit: longStretch });
    yield* keys;
    const last = keys.at(-1);
    if (last === undefined || keys.length < longStretch) return;
    start = Buffer.concat([last, first]);
  }
}

function keysIn(store: ScrubSource, part: Part, range: RangeOptions): Buffer[] {
  if (part === 'records') return store.records.keys(range);
  return Array.from(store[part].getKeys(range), (key) => Buffer.from(key));
}

type Part = ScrubPlace['part'];

const followers: Record<Part, ScrubPlace | undefined> = {
  records: { part: 'byUser' },
  byUser: { part: 'byExpiry' },
  byExpiry: undefined,
};

const looks: Record<Part, (store: ScrubSource, key: Buffer, seen: Omit<Seen, 'next'>) => void> = {
  records(store, key, seen) {
    seen.records += 1;
    const found = store.find(key);
    if (!found) {
      seen.damaged.push(key);
      return;
    }
    const { record, revision } = found;
    if (checksumIn(revision) === undefined) seen.unchecked += 1;
    const fix = { put: true, key, revision };
    const [user, expiry] = [userKey(record.userid, key), expiryKey(record.indexed, key)];
    if (!store.byUser.doesExist(user)) seen.fixes.push({ ...fix, index: 'byUser', entry: user });
    if (!store.byExpiry.doesExist(expiry)) seen.fixes.push({ ...fix, index: 'byExpiry', entry: expiry });
  },
  byUser(store, entry, seen) {
    const key = entry.subarray(userKeyPrefix);
    const isRight = ({ record }: Found) => userKey(record.userid, key).equals(entry);
    lookAtEntry(store, { index: 'byUser', entry, key, isRight }, seen);
  },
  byExpiry(store, entry, seen) {
    const key = entry.subarray(8);
    const isRight = ({ record }: Found) => record.indexed === timeIn(entry);
    lookAtEntry(store, { index: 'byExpiry', entry, key, isRight }, seen);
  },
};

interface IndexEntry extends Pick<Fix, 'index' | 'entry' | 'key'> {
  isRight(found: Found): boolean;
}

function lookAtEntry(
  store: ScrubSource,
  { index, entry, key, isRight }: IndexEntry,
  seen: Omit<Seen, 'next'>,
): void {
  const found = key.length === 0 ? undefined : store.find(key);
  // What a damaged record should have in the indexes, nobody knows.
  if (found === null || (found && isRight(found))) return;
  seen.fixes.push({ index, entry, key, put: false, revision: found?.revision });
}

const first = Buffer.from([0]);
/** Keys read at once: some tens of microseconds where they are in memory. */
const stretch = 8;
/** The same, where nobody waits. */
const longStretch = 1000;
