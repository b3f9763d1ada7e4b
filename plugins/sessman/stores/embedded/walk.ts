import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Page, WalkedSession } from '../../store.js';

/** What a walk reads of the store. */
export interface Walked {
  /** The next keys of records from `start` on, in order. */
  keys(start: Buffer, limit: number): Buffer[];
  /** The live session of that key, where its userid begins with the bytes of `prefix`. */
  load(key: Buffer, prefix: Buffer | undefined): WalkedSession | undefined;
}

/** One page by handle: as many records are read as it takes to fill it. */
export async function pageByHandle(store: Walked, { limit, after }: Page): Promise<WalkedSession[]> {
  const found: WalkedSession[] = [];
  for await (const session of sessionsFrom(store, after?.handle)) {
    found.push(session);
    if (found.length === limit) break;
  }
  return found;
}

/**
 * One page of users with a prefix, by userid and handle. No index has that order, since one would cost every `new` a
 * write: all records are read, in short steps, and the first of them kept.
 */
export async function pageByUser(
  store: Walked,
  { limit, after, useridPrefix }: Page,
): Promise<WalkedSession[]> {
  const prefix = Buffer.from(useridPrefix!);
  const start = after && placeOf(after.userid!, after.handle);
  const first: { place: Buffer; session: WalkedSession }[] = [];
  for await (const session of sessionsFrom(store, undefined, prefix)) {
    const place = placeOf(session.userid, session.handle);
    if (start && Buffer.compare(place, start) <= 0) continue;
    if (first.length === limit && Buffer.compare(place, first.at(-1)!.place) >= 0) continue;
    first.splice(indexFor(first, place), 0, { place, session });
    if (first.length > limit) first.pop();
  }
  return first.map(({ session }) => session);
}

async function* sessionsFrom(store: Walked, after: string | undefined, prefix?: Buffer) {
  let start = after === undefined ? Buffer.alloc(1) : behind(Buffer.from(after, 'base64url'));
  for (;;) {
    const keys = store.keys(start, stepSize);
    for (const key of keys) {
      const session = store.load(key, prefix);
      if (session) yield session;
    }
    if (keys.length < stepSize) return;
    start = behind(keys.at(-1)!);
    await nextTurn();
  }
}

/** Records read in one turn of the event loop: well under a millisecond. */
const stepSize = 200;

/** The first key after this one. */
function behind(key: Buffer): Buffer {
  return Buffer.concat([key, Buffer.alloc(1)]);
}

/** Sorts by userid, then by handle: a userid and a longer one that begins with it are told apart by a lower byte. */
function placeOf(userid: string, handle: string): Buffer {
  // UTF-8 has no 0xff, and 0x00 may be part of a userid: each byte moves up by one, so that the end sorts first.
  const bytes = Buffer.from(userid);
  for (let i = 0; i < bytes.length; i++) bytes[i]! += 1;
  return Buffer.concat([bytes, Buffer.alloc(1), Buffer.from(handle, 'base64url')]);
}

function indexFor(sorted: readonly { place: Buffer }[], place: Buffer): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (Buffer.compare(sorted[middle]!.place, place) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
