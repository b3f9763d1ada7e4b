import {
  type Binary,
  type ChangeStream,
  type ChangeStreamDocument,
  type Db,
  type Document,
  type MongoClient,
  MongoServerError,
} from 'mongodb';
import { hasCode } from '../../../../databases/mongodb/errors.js';
import type { Changes } from '../../store.js';

/** What is reported of which collections. */
export interface Watched {
  readonly sessions: string;
  /** The collection of the document that says when everyone was ended. */
  readonly state: string;
  readonly stateId: string;
}

type Tell = (handle: Binary | undefined, isEnd: boolean) => void;

/**
 * The change streams of a server: replica sets and sharded clusters have them. Where they are refused, they are not asked
 * for again. The driver resumes a stream by its token; where that is too late, or the server is away for longer, the
 * stream breaks, and whoever opens the next one has to read what is new.
 */
export class ChangeStreams {
  #areRefused = false;

  async open(
    db: Db,
    client: MongoClient,
    watched: Watched,
    signal: AbortSignal,
    tell: Tell,
  ): Promise<Changes | undefined> {
    if (this.#areRefused) return undefined;
    const { socketTimeoutMS = 0 } = client.options;
    // The server may keep a request waiting for less time than the socket does.
    const maxAwaitTimeMS = Math.min(longestWait, socketTimeoutMS > 0 ? socketTimeoutMS / 2 : longestWait);
    const stream = db.watch<Document, Change>(pipeline(watched), { maxAwaitTimeMS });
    try {
      const first = await stream.tryNext();
      if (first) report(first, tell);
    } catch (error) {
      await stream.close().catch(() => {});
      if (!isRefusal(error)) throw error;
      this.#areRefused = true;
      return undefined;
    }
    if (signal.aborted) await stream.close();
    else signal.addEventListener('abort', () => void stream.close().catch(() => {}));
    return { broken: reportAll(stream, tell) };
  }
}

/** An event as it is sent, with the token that resumes the stream after it. */
type Change = Pick<ChangeStreamDocument, '_id'> & {
  /** The `_id` of the document: a session's handle, or the name of the state. */
  readonly of: Binary | string;
  readonly ended?: string;
};

/** Only what tells which session has changed: the rest would be sent to every host for nothing. */
function pipeline({ sessions, state, stateId }: Watched): Document[] {
  return [
    {
      $match: {
        $or: [
          { 'ns.coll': sessions, operationType: { $in: ['update', 'replace', 'delete'] } },
          { 'ns.coll': state, 'documentKey._id': stateId },
        ],
      },
    },
    { $project: { of: '$documentKey._id', ended: '$updateDescription.updatedFields.ended' } },
  ];
}

async function reportAll(stream: ChangeStream<Document, Change>, tell: Tell): Promise<never> {
  try {
    for (;;) report(await stream.next(), tell);
  } finally {
    await stream.close().catch(() => {});
  }
}

function report({ of, ended }: Change, tell: Tell): void {
  if (typeof of === 'string') tell(undefined, false);
  else tell(of, ended !== undefined);
}

/**
 * A standalone server, one of another maker that has none, or a user who may not open them: the answers have many codes, and
 * those of a server that is about to be replaced are known.
 */
function isRefusal(error: unknown): boolean {
  return error instanceof MongoServerError && !hasCode(error, ...passing);
}

// The retryable errors of https://github.com/mongodb/specifications/blob/master/source/retryable-reads/retryable-reads.md,
// and MaxTimeMSExpired
const passing = [6, 7, 50, 89, 91, 134, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];
/** Milliseconds. */
const longestWait = 500;
