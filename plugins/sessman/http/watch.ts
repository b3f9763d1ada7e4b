import { type Channel, type Context, HttpError, type Operation, openapi, type Router } from 'plugin-server';
import { sessmanError } from '../errors.js';
import { parseSessionId } from '../session-id.js';
import type { Sessions } from '../sessions.js';
import type { Feed, WatchedState } from '../stores/feed.js';
import { example, timestamp } from './answer.js';
import type { SessionCookie } from './cookie.js';
import { EventStream } from './event-stream.js';
import { liveId } from './live.js';
import type { OriginRule } from './origin.js';
import { readParameters } from './read-parameters.js';
import { type StreamNews, Streams } from './streams.js';

/** What a plugin's setup offers to mount the route with. */
export interface WatchMount {
  readonly path: string;
  /** Aborts when the server begins to drain. */
  readonly draining: AbortSignal;
  mountOpen(path: string): Router;
  channel<T>(name: string): Channel<T>;
}

export interface WatchOptions {
  readonly sessions: Sessions;
  readonly feed: Feed;
  /** In cookie mode. */
  readonly cookie?: SessionCookie | undefined;
  readonly origins?: OriginRule | undefined;
}

/**
 * `GET /sessman/watch`: server-sent events (html.spec.whatwg.org, section 9.2) of one session, for whoever has its id or
 * its cookie.
 */
export function addWatch({ path, draining, mountOpen, channel }: WatchMount, options: WatchOptions): void {
  const { sessions, feed } = options;
  const streams = new Streams(channel<StreamNews>('watch'));
  draining.addEventListener('abort', () => streams.sendAway());
  mountOpen(`${path}/watch`).get('/', openapi(operation), async (ctx) => {
    options.origins?.(ctx);
    readParameters(ctx, {});
    const id = await named(ctx, options);
    const state = await liveState(sessions, id);
    const note = state === undefined ? await sessions.noteOf(id) : undefined;
    if (state === undefined && note === undefined) {
      throw new HttpError(401, 'session_not_found', notFoundText());
    }
    // Not before it is certain that the stream is the response: one that nobody reads is never closed.
    const stream = new EventStream();
    if (state === undefined) stream.end(note!.reason);
    else {
      const { handle, secretHash } = parseSessionId(id)!;
      stream.send('session', view(state));
      const stop = feed.watch(handle, state, {
        secretHash,
        changed: (next) => stream.send('session', view(next)),
        renewed: () => stream.sendAway(),
        ended: (reason) => stream.end(reason),
      });
      streams.add(handle, stream, stop);
      if (draining.aborted) stream.sendAway();
    }
    ctx.type = 'text/event-stream';
    ctx.set('Cache-Control', 'no-store');
    ctx.set('X-Accel-Buffering', 'no');
    // The next stream is to go to the generation that serves then.
    ctx.set('Connection', 'close');
    ctx.body = stream.body;
  });
}

/** The id that the request brings, in its cookie or in X-Session-Id. */
async function named(ctx: Context, { sessions, cookie }: WatchOptions): Promise<string> {
  const inHeader = ctx.req.headers['x-session-id'] as string | undefined;
  if (inHeader !== undefined) return inHeader;
  const held = cookie?.read(ctx) ?? [];
  if (held.length === 0) throw sessmanError('session_required');
  try {
    const id = held.length === 1 ? held[0]! : await liveId(sessions, held);
    const meant = ctx.req.headers['x-session-handle'];
    // The page was about another session than the one that the cookie has by now.
    if (meant !== undefined && meant !== id.slice(0, 16)) throw sessmanError('session_not_found');
    return id;
  } catch (error) {
    if (codeOf(error) !== 'session_not_found') throw error;
    if (ctx.req.headers['x-session-handle'] !== undefined) throw error;
    throw new HttpError(401, 'session_not_found', (error as Error).message);
  }
}

async function liveState(sessions: Sessions, id: string) {
  try {
    return await sessions.peek(id);
  } catch (error) {
    if (codeOf(error) !== 'session_not_found') throw error;
    return undefined;
  }
}

function notFoundText(): string {
  return sessmanError('session_not_found').message;
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

function view({ version, touched, expires }: WatchedState): object {
  return { version, updated_at: timestamp(touched), expires_at: timestamp(expires) };
}

const operation: Operation = {
  operationId: 'sessman_watch',
  summary: 'Watch a session',
  description:
    'Server-sent events about the session in the cookie or in X-Session-Id: `session` at the start and after each update, patch, touch and renew; `end`, with its reason, when the session ends. For a session that ended in the last ten minutes, the stream has only `end`.',
  parameters: [
    {
      name: 'X-Session-Id',
      in: 'header',
      description: 'The session id, if no cookie has it.',
      schema: { type: 'string' },
    },
  ],
  responses: {
    200: {
      description: 'The stream.',
      content: {
        'text/event-stream': {
          schema: { type: 'string' },
          example: `event: session\ndata: {"version":1,"updated_at":"${example.updated_at}","expires_at":"${example.expires_at}"}\n\nevent: end\ndata: {"reason":"end_all"}\n\n`,
        },
      },
    },
    401: { description: 'No session has this id, or had it in the last ten minutes.' },
  },
};
