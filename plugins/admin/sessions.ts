import {
  type Audit,
  type Context,
  callerOf,
  type Operation,
  openapi,
  type Router,
  type SessionService,
  z,
} from 'plugin-server';
import { adminError } from './errors.js';
import type { EndAnswer, SessionList } from './wire.js';

const user = z.strictObject({ userid: z.string().min(1) });
const session = user.extend({ handle: z.string().min(1) });

/**
 * A user's sessions, to list and to end. They are named by their handles: the server does not know a session's id, and
 * the data are the application's business.
 */
export function addSessions(router: Router, sessions: SessionService | undefined, audit: Audit): void {
  const manager = () => sessions ?? noSessions();

  router.post('/api/sessions/list', described("List a user's sessions", user), async (ctx) => {
    const { userid } = read(ctx, user);
    const found = await manager().list(userid);
    ctx.body = {
      sessions: found.map(({ handle, created, touched, expires, about, ip, userAgent }) => ({
        handle,
        created_at: timestamp(created),
        used_at: timestamp(touched),
        expires_at: timestamp(expires),
        ...(about !== undefined && { about }),
        ...(ip !== undefined && { ip }),
        ...(userAgent !== undefined && { user_agent: userAgent }),
      })),
    } satisfies SessionList;
  });

  router.post('/api/sessions/end', described("End one of a user's sessions", session), async (ctx) => {
    const { userid, handle } = read(ctx, session);
    await manager().endByHandle(userid, handle);
    audit('session_ended', { handle, ...callerOf(ctx) }, 'session ended');
    ctx.body = { ended: 1 } satisfies EndAnswer;
  });

  router.post('/api/sessions/end_all', described("End all of a user's sessions", user), async (ctx) => {
    const { userid } = read(ctx, user);
    const ended = await manager().endAll(userid);
    if (ended > 0) audit('session_ended', { count: ended, ...callerOf(ctx) }, 'sessions of a user ended');
    ctx.body = { ended } satisfies EndAnswer;
  });
}

function read<Output>(ctx: Context, schema: z.ZodType<Output>): Output {
  const { data, error } = schema.safeParse(ctx.request.body);
  if (error === undefined) return data;
  const [issue] = error.issues;
  throw adminError('bad_request', {
    problem: [issue!.path.join('.'), issue!.message].filter(Boolean).join(': '),
  });
}

function described(summary: string, body: z.ZodType) {
  const operation: Operation = {
    summary,
    requestBody: { required: true, content: { 'application/json': { schema: jsonSchema(body) } } },
  };
  return openapi(operation);
}

function jsonSchema(schema: z.ZodType): object {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema);
  return rest;
}

function noSessions(): never {
  throw adminError('no_session_manager');
}

function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
