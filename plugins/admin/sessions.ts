import { type Context, HttpError, type Plugins, type Router, z } from 'plugin-server';
import type { EndAnswer, SessionList } from './wire.js';

type Sessions = Plugins['sessman'];

const user = z.strictObject({ userid: z.string().min(1) });
const session = user.extend({ handle: z.string().min(1) });

/**
 * A user's sessions, to look at and to end. They are named by their handles: this server knows no session's id, and
 * data is the application's own business.
 */
export function addSessions(router: Router, sessions: Sessions | undefined): void {
  const manager = () => sessions ?? noSessions();

  router.post('/api/sessions/list', async (ctx) => {
    const { userid } = read(ctx, user);
    const found = await ask(() => manager().list(userid));
    ctx.body = {
      sessions: found.map(({ handle, created, touched, expires }) => ({
        handle,
        created_at: timestamp(created),
        used_at: timestamp(touched),
        expires_at: timestamp(expires),
      })),
    } satisfies SessionList;
  });

  router.post('/api/sessions/end', async (ctx) => {
    const { userid, handle } = read(ctx, session);
    await ask(() => manager().endByHandle(userid, handle));
    ctx.body = { ended: 1 } satisfies EndAnswer;
  });

  router.post('/api/sessions/end_all', async (ctx) => {
    const { userid } = read(ctx, user);
    ctx.body = { ended: await ask(() => manager().endAll(userid)) } satisfies EndAnswer;
  });
}

function read<Output>(ctx: Context, schema: z.ZodType<Output>): Output {
  const { data, error } = schema.safeParse(ctx.request.body);
  if (error === undefined) return data;
  const [issue] = error.issues;
  throw new HttpError(400, 'bad_request', `The body is wrong: ${issue!.path.join('.')}: ${issue!.message}.`);
}

/** The session manager's errors carry a status, a code and a sentence for the caller. */
async function ask<Result>(question: () => Result | Promise<Result>): Promise<Result> {
  try {
    return await question();
  } catch (error) {
    const { status, code, message } = error as Partial<HttpError>;
    if (error instanceof HttpError || typeof status !== 'number' || typeof code !== 'string') throw error;
    throw new HttpError(status, code, message ?? '', { cause: error });
  }
}

function noSessions(): never {
  throw new HttpError(404, 'no_session_manager', 'This server runs without sessman, the session manager.');
}

function timestamp(milliseconds: number): string {
  return new Date(milliseconds).toISOString();
}
