import { randomBytes } from 'node:crypto';
import type { Database } from 'lmdb';
import { type EndNote, type EndReason, type NewNotes, type NotePlace, noteLifetime } from '../../store.js';

export type Bytes = Database<Buffer, Buffer>;

/**
 * Notes of ended sessions. A note's key is its writer's, a random one of each process, and a number that grows with each
 * note of that writer. Writes of one process are committed in their order, so whoever has read a writer's notes up to
 * a key has missed none before it; over all writers together, no order would say that.
 */
export class Notes {
  readonly #feed: Bytes;
  /** The key of the last note of each handle. */
  readonly #byHandle: Bytes;
  readonly #writer = randomBytes(writerLength);
  #last = 0;

  constructor(feed: Bytes, byHandle: Bytes) {
    this.#feed = feed;
    this.#byHandle = byHandle;
  }

  /** To be called within the commit that removes the session. */
  put(
    key: Buffer,
    { handle, userid, secretHash }: Pick<EndNote, 'handle' | 'userid' | 'secretHash'>,
    end: End,
  ): void {
    // Whole microseconds: below 2^53 until the year 2255.
    this.#last = Math.max(this.#last + 1, end.at * 1000);
    const noteKey = keyOf(this.#writer, this.#last);
    const text = JSON.stringify({ handle, userid, ...end, secretHash: secretHash.toString('base64') });
    this.#feed.put(noteKey, Buffer.from(text));
    this.#byHandle.put(key, noteKey);
  }

  since(place: NotePlace = new Map()): NewNotes {
    const read = new Map(place as Map<string, Buffer>);
    const notes: EndNote[] = [];
    for (const writer of this.#writers()) {
      const name = writer.toString('latin1');
      const last = read.get(name);
      const start = last ? Buffer.concat([last, Buffer.alloc(1)]) : writer;
      for (const { key, value } of this.#feed.getRange({ start, end: endOf(writer), limit: mostAtOnce })) {
        notes.push(decode(value));
        read.set(name, Buffer.from(key));
      }
    }
    return { notes, place: read as NotePlace };
  }

  of(key: Buffer, now: number): EndNote | undefined {
    const noteKey = this.#byHandle.get(key);
    const value = noteKey && this.#feed.get(Buffer.from(noteKey));
    const note = value && decode(value);
    return note && note.at > now - noteLifetime ? note : undefined;
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
      if (found.length >= limit) break;
    }
    return found;
  }

  /** To be called within a commit. */
  drop(noteKey: Buffer): Promise<boolean> {
    const value = this.#feed.get(noteKey);
    const key = value && Buffer.from(decode(value).handle, 'base64url');
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

interface End {
  readonly reason: EndReason;
  readonly at: number;
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

function decode(value: Buffer): EndNote {
  const note = JSON.parse(value.toString()) as Omit<EndNote, 'secretHash'> & { secretHash: string };
  return { ...note, secretHash: Buffer.from(note.secretHash, 'base64') };
}
