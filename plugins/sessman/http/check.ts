import { type Context, HttpError, type Operation, openapi, type Router } from 'plugin-server';
import { sessmanError } from '../errors.js';
import type { SessionState, Sessions } from '../sessions.js';
import { type Awaitable, whenSettled } from '../store.js';
import { example, timestamp } from './answer.js';
import type { SessionCookie } from './cookie.js';
import { liveId } from './live.js';
import { type Parameters, parameters } from './parameters.js';
import { readParameters } from './read-parameters.js';

/** What a plugin's setup offers to mount the route with. */
export interface CheckMount {
  readonly path: string;
  readonly config: { readonly session_ttl: number };
  mountOpen(path: string, options: { subrequests: boolean }): Router;
}

const takes = { touch: 'optional', max_auth_age: 'optional' } as const;

/**
 * `GET /sessman/check`: a proxy asks who its visitor is. It copies the visitor's headers into its request, so nothing is
 * judged but the session: no key, origin, condition or host name, and a wrong one of them is not the visitor's fault.
 */
export function addCheck(
  { path, config, mountOpen }: CheckMount,
  sessions: Sessions,
  cookie?: SessionCookie,
): void {
  /** Milliseconds between two moves of the idle end: each is a write. */
  const pause = Math.min(60_000, config.session_ttl * 100);
  const send = (ctx: Context, { userid, handle, expires }: SessionState): void => {
    ctx.status = 204;
    ctx.set('X-Session-User', encodeUser(userid));
    ctx.set('X-Session-Handle', handle);
    ctx.set('X-Session-Expires', timestamp(expires));
  };
  const judge = (ctx: Context, { touch, max_auth_age }: Asked, id: string, session: SessionState) => {
    const now = sessions.now();
    if (max_auth_age !== undefined && now - session.authenticated > max_auth_age * 1000)
      throw sessmanError('reauthentication_required', { max_auth_age });
    if (touch !== true || now - session.touched < pause) return send(ctx, session);
    return touched(sessions, id, session).then((moved) => send(ctx, moved));
  };
  /** At once where the store answers at once, without a promise. */
  const check = (ctx: Context): void | Promise<void> => {
    const asked = readParameters(ctx, takes);
    return whenSettled(named(ctx, sessions, cookie), (id) =>
      whenSettled(sessions.peek(id), (session) => judge(ctx, asked, id, session)),
    );
  };
  mountOpen(`${path}/check`, { subrequests: true }).get('/', openapi(operation), (ctx) => {
    try {
      return check(ctx)?.catch((error) => {
        throw unauthorized(error);
      });
    } catch (error) {
      throw unauthorized(error);
    }
  });
}

type Asked = Partial<Pick<Parameters, 'touch' | 'max_auth_age'>>;

/** The id that the request brings, in its cookie or in X-Session-Id: of one session only. */
function named(ctx: Context, sessions: Sessions, cookie: SessionCookie | undefined): Awaitable<string> {
  const held = cookie?.read(ctx) ?? [];
  const inHeader = ctx.req.headers['x-session-id'] as string | undefined;
  if (held.length === 0) {
    if (inHeader === undefined) throw sessmanError('session_required');
    return inHeader;
  }
  const id = held.length === 1 ? held[0]! : liveId(sessions, held);
  return whenSettled(id, (one) => {
    if ((inHeader ?? one) !== one) throw sessmanError('session_required');
    return one;
  });
}

/** Moves the idle end. The visitor is known already: where the store cannot write, the old end stays. */
async function touched(sessions: Sessions, id: string, session: SessionState): Promise<SessionState> {
  try {
    return await sessions.touch(id);
  } catch (error) {
    if (codeOf(error) === 'session_not_found') throw error;
    return session;
  }
}

/** A 401 with its problem, without the challenge for a key that other 401s have: proxies pass it on to the visitor. */
function unauthorized(error: unknown): unknown {
  const code = codeOf(error);
  if (code !== 'session_required' && code !== 'session_not_found' && code !== 'reauthentication_required')
    return error;
  const { message } = error as Error;
  return new HttpError(401, code, message, { headers: { 'X-Session-Problem': code } });
}

function codeOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

/** Headers hold no Unicode, and a `%` of the name must not be taken for part of a code. */
function encodeUser(userid: string): string {
  if (/^[\w.~@-]+$/.test(userid)) return userid;
  let text = '';
  for (const byte of Buffer.from(userid)) text += encoded[byte];
  return text;
}

const encoded = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  return /[A-Za-z0-9\-._~@]/.test(character)
    ? character
    : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
});

const text = { type: 'string' };

const operation: Operation = {
  operationId: 'sessman_check',
  summary: 'Check a session for a proxy',
  description:
    'For auth_request of nginx and forward_auth of Caddy and Traefik: tells the proxy who the visitor is, from the cookie or X-Session-Id that it passes on.',
  parameters: (['touch', 'max_auth_age'] as const).map((name) => ({
    name,
    in: 'query',
    description: parameters[name].description,
    schema: parameters[name].schema,
  })),
  responses: {
    204: {
      description: 'A live session.',
      headers: {
        'X-Session-User': {
          description: 'The userid. Every byte of its UTF-8 but `A-Z a-z 0-9 - . _ ~ @` is `%XX`.',
          schema: text,
          example: example.userid,
        },
        'X-Session-Handle': { description: 'The handle.', schema: text, example: example.handle },
        'X-Session-Expires': {
          description: 'When the session expires, in RFC 3339.',
          schema: text,
          example: example.expires_at,
        },
      },
    },
    401: {
      description: 'No live session, or its user authenticated too long ago.',
      headers: {
        'X-Session-Problem': {
          description: 'Why.',
          schema: { enum: ['session_required', 'session_not_found', 'reauthentication_required'] },
        },
      },
    },
  },
};
