import { randomBytes } from 'node:crypto';
import type { Database, RootDatabase } from 'lmdb';
import { withChecksum, withoutChecksum } from '../../../../databases/lmdb/checksum.js';
import { type EndNote, type NewNotes, type NotePlace, noteLifetime } from '../../store.js';
import { handleBytes } from './records.js';

type Bytes = Database<Buffer, Buffer>;

/**
 * Notes of ended sessions. A note's key is its writer's, a random one of each process, and a number that grows with each
 * note of that writer. Writes of one process are committed in their order, so whoever has read a writer's notes up to
 * a key has missed none before it; over all writers together, no order would say that. A note whose bytes are not what was
 * written is left out.
 */
export class Notes {
  readonly #feed: Bytes;
  /** The key of the last note of each handle. */
  readonly #byHandle: Bytes;
  readonly #writer = randomBytes(writerLength);
  #last = 0;

  constructor(root: RootDatabase) {
    const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;
    this.#feed = root.openDB('notes', binary);
    this.#byHandle = root.openDB('note-by-handle', binary);
  }

  get databases() {
    return [this.#feed, this.#byHandle];
  }

  async clear(): Promise<void> {
    await Promise.all([this.#feed.clearAsync(), this.#byHandle.clearAsync()]);
  }

  /** To be called within the commit that removes the session. */
  put(key: Buffer, { handle, userid, reason, at, secretHash }: EndNote): void {
    // Whole microseconds: below 2^53 until the year 2255.
    this.#last = Math.max(this.#last + 1, at * 1000);
    const noteKey = keyOf(this.#writer, this.#last);
    const text = JSON.stringify({ handle, userid, reason, at, secretHash: secretHash.toString('base64') });
    this.#feed.put(noteKey, withChecksum(noteKey, Buffer.from(text)));
    this.#byHandle.put(key, noteKey);
  }

  since(place: NotePlace = new Map()): NewNotes {
    const read = new Map(place as Map<string, Buffer>);
    const notes: EndNote[] = [];
    let more = false;
    for (const writer of this.#writers()) {
      const name = writer.toString('latin1');
      const last = read.get(name);
      const start = last ? Buffer.concat([last, Buffer.alloc(1)]) : writer;
      let count = 0;
      for (const { key, value } of this.#feed.getRange({ start, end: endOf(writer), limit: mostAtOnce })) {
        count += 1;
        const note = decode(key, value);
        if (note) notes.push(note);
        read.set(name, Buffer.from(key));
      }
      more ||= count === mostAtOnce;
    }
    return { notes, place: read as NotePlace, more };
  }

  of(key: Buffer, now: number): EndNote | undefined {
    const noteKey = this.#byHandle.get(key);
    const value = noteKey && this.#feed.get(Buffer.from(noteKey));
    const note = value && decode(Buffer.from(noteKey), value);
    const isOfHandle = note && handleBytes(note.handle).equals(key);
    return isOfHandle && note.at > now - noteLifetime ? note : undefined;
  }

  /** The keys of some notes that have become old. */
  old(now: number, limit: number): Buffer[] {
    const found: Buffer[] = [];
    for (const writer of this.#writers()) {
      const range = {
        start: writer,
        end: keyOf(writer, (now - noteLifetime) * 1000),
        limit: limit - found.length,
      };
      for (const key of this.#feed.getKeys(range)) found.push(Buffer.from(key));
    }
    return found;
  }

  /** To be called within a commit. */
  drop(noteKey: Buffer): Promise<boolean> {
    const value = this.#feed.get(noteKey);
    const note = value && decode(noteKey, value);
    const key = note && handleBytes(note.handle);
    if (key && this.#byHandle.get(key)?.equals(noteKey)) this.#byHandle.remove(key);
    return this.#feed.remove(noteKey);
  }

  *#writers(): Generator<Buffer> {
    for (let start: Buffer = Buffer.alloc(1); ; ) {
      const [first] = this.#feed.getKeys({ start, limit: 1 });
      if (!first) return;
      const writer = Buffer.from(first.subarray(0, writerLength));
      yield writer;
      start = endOf(writer);
    }
  }
}

/** When a note becomes old. */
export function dueOf(noteKey: Buffer): number {
  return noteKey.readDoubleBE(writerLength) / 1000 + noteLifetime;
}

/** Bytes. */
const writerLength = 8;
/** Notes of one writer. */
const mostAtOnce = 1000;

function keyOf(writer: Buffer, number: number): Buffer {
  const key = Buffer.alloc(writerLength + 8);
  writer.copy(key);
  key.writeDoubleBE(number, writerLength);
  return key;
}

/** Behind every key of the writer. */
function endOf(writer: Buffer): Buffer {
  return Buffer.concat([writer, Buffer.alloc(9, 0xff)]);
}

function decode(key: Buffer, value: Buffer): EndNote | undefined {
  const text = withoutChecksum(key, value)?.toString();
  if (text === undefined) return undefined;
  const note = JSON.parse(text) as Omit<EndNote, 'secretHash'> & { secretHash: string };
  return { ...note, secretHash: Buffer.from(note.secretHash, 'base64') };
}
