import { type Binary, Binary as BinaryValue, type Collection, type Filter } from 'mongodb';
import { type EndNote, type EndReason, type NewNotes, type NotePlace, noteLifetime } from '../../store.js';

/**
 * What is left of a document whose session was ended. One update turns a session into its note: MongoDB changes one
 * document in one step, and has transactions only on replica sets. `ends` lies in the past of every clock, so no version of
 * sessman, on no host, takes it for a session; the TTL index removes it by `expires`.
 */
export interface NoteDocument {
  _id: Binary;
  userid: string;
  secret?: Binary;
  verifier?: Binary;
  ended: EndReason;
  /** By the server's clock, which puts the notes of all hosts in one order. */
  ended_at: Date;
  /** The session's handle, where the note had to make way for a new session with that handle. */
  of?: Binary;
}

/** The update that ends a session. */
export function endUpdate(reason: EndReason, now: number) {
  return {
    $set: { ended: reason, ends: new Date(0), expires: new Date(now + noteLifetime) },
    $currentDate: { ended_at: true },
    $unset: { data: '', about: '', ip: '', user_agent: '' },
  } as const;
}

/** A place, as JSON without `seen`: who goes on from there hears of some notes again. */
class Place {
  /** @param seen the notes read since `overlap` before that time, by their names */
  constructor(
    readonly at: number,
    readonly seen: ReadonlyMap<string, number>,
  ) {}

  toJSON(): object {
    return { at: this.at };
  }
}

/**
 * The notes since that place. Writes become visible a little out of the order of their times, so what was written
 * shortly before the place is read again, and passed over where it was seen.
 */
export async function notesSince(
  collection: Collection<NoteDocument>,
  given: NotePlace | undefined,
  options: object,
): Promise<NewNotes> {
  const { at = overlap, seen = new Map<string, number>() } = (given ?? {}) as Partial<Place>;
  const notes: EndNote[] = [];
  const nowSeen = new Map(seen);
  let newest = at;
  for (let after: Filter<NoteDocument> = { ended_at: { $gte: new Date(at - overlap) } }; ; ) {
    const page = await collection
      .find(after, { ...options, sort: { ended_at: 1, _id: 1 }, limit: pageSize, projection })
      .toArray();
    for (const document of page) {
      const time = document.ended_at.getTime();
      const name = `${time} ${document._id.toString('base64')}`;
      if (!nowSeen.has(name)) notes.push(toNote(document));
      nowSeen.set(name, time);
      newest = Math.max(newest, time);
    }
    if (page.length < pageSize) break;
    const { ended_at, _id } = page.at(-1)!;
    after = { $or: [{ ended_at: { $gt: ended_at } }, { ended_at, _id: { $gt: _id } }] };
  }
  for (const [name, time] of nowSeen) if (time < newest - overlap) nowSeen.delete(name);
  return { notes, place: new Place(newest, nowSeen) as NotePlace, more: false };
}

export async function noteOf(
  collection: Collection<NoteDocument>,
  _id: Binary,
  now: number,
  options: object,
): Promise<EndNote | undefined> {
  const document = await collection.findOne({ _id, ended: { $exists: true } }, { ...options, projection });
  const isKept = document && document.ended_at.getTime() > now - noteLifetime;
  return isKept ? toNote(document) : undefined;
}

/** Puts a note under another id, where a new session is to have its own. False where there is none. */
export async function moveNote(collection: Collection<NoteDocument>, _id: Binary, freeId: Binary) {
  const document = await collection.findOne({ _id, ended: { $exists: true } });
  if (!document) return undefined;
  await collection.insertOne({ ...document, _id: freeId, of: document.of ?? _id });
  return { _id, ended_at: document.ended_at };
}

function toNote(document: NoteDocument): EndNote {
  const { _id, of = _id, userid, ended, ended_at, secret, verifier } = document;
  return {
    handle: Buffer.from(of.buffer).toString('base64url'),
    userid,
    reason: ended,
    at: ended_at.getTime(),
    secretHash: Buffer.from((verifier ?? secret ?? new BinaryValue()).buffer),
  };
}

const projection = { userid: 1, secret: 1, verifier: 1, ended: 1, ended_at: 1, of: 1 } as const;
/** Milliseconds by which a write may become visible later than its time says. */
const overlap = 5000;
const pageSize = 1000;
