import {
  type Audit,
  alsoForOperators,
  asksKey,
  type Context,
  callerOf,
  forOperators,
  openapi,
  type Router,
  type ServerView,
} from 'plugin-server';
import { sessmanError } from '../errors.js';
import type { Sessions, StoredSession } from '../sessions.js';
import { whenSettled } from '../store.js';
import type { Access, Admitted } from './access.js';
import { type Call, calls } from './calls.js';
import type { SessionCookie } from './cookie.js';
import { operationOf } from './operations.js';
import type { OriginRule } from './origin.js';
import type { Given, Takes } from './parameters.js';
import { completeParameters, readParameters, requireParameters } from './read-parameters.js';

type Middleware = typeof forOperators;

/** What cookie mode adds to the calls. */
export interface CookieMode {
  readonly cookie: SessionCookie;
  readonly access: Access;
  readonly origins: OriginRule;
  /** The key that calls require: `global`. */
  readonly key: string;
}

interface Surroundings {
  readonly audit: Audit;
  readonly server: ServerView;
  /** Whether anyone may make the calls without a key. */
  readonly isOpen: boolean;
}

/** Adds a route for each method of each call. */
export function addRoutes(router: Router, sessions: Sessions, around: Surroundings, mode?: CookieMode): void {
  const { audit, server } = around;
  for (const call of calls) {
    const handler =
      mode === undefined ? withoutCookie(call, sessions, around) : withCookie(call, sessions, audit, mode);
    const ofOperators: Middleware[] = [
      ...(call.forOperators ? [forOperators] : []),
      ...('everyone' in call.takes ? [alsoForOperators, keepsEveryone(server)] : []),
    ];
    const key = call.byCookie === 'nothing' ? mode?.key : `${mode?.key} or cookie`;
    for (const method of call.methods) {
      const description = openapi(operationOf(call, method, mode !== undefined));
      const steps = mode === undefined ? [description] : [description, asksKey(key!, (_ctx, next) => next())];
      router[method](`/${call.path}`, ...ofOperators, ...steps, handler);
    }
  }
}

/** Ending the sessions of all users is for operators alone: with [admin], at that address. */
function keepsEveryone(server: ServerView): Middleware {
  return (ctx, next) => {
    if (!server.isForOperators(ctx) && givesEveryone(ctx)) throw sessmanError('operators_only');
    return next();
  };
}

function givesEveryone(ctx: Context): boolean {
  const body: unknown = ctx.request.body;
  const places = [ctx.query, typeof body === 'object' && body !== null ? body : {}] as Record<
    string,
    unknown
  >[];
  return places.some(({ everyone = false }) => everyone !== false && everyone !== 'false');
}

/** Answers at once where the store does, without a promise. */
function withoutCookie(call: Call, sessions: Sessions, { audit, isOpen }: Surroundings) {
  return (ctx: Context): void | Promise<void> => {
    const given = parametersFor(ctx, call);
    if (isOpen) refuseWithoutKey(call, given);
    const result = call.run(sessions, given);
    return whenSettled(result, (settled) => {
      tellEnd(ctx, call, given, settled, audit);
      call.answer.send(ctx, settled as never);
    });
  };
}

/** A list shows handles to everybody where no key is required: they must not open what only its id opened. */
function refuseWithoutKey(call: Call, given: Given<Takes>): void {
  const what = call.withKeyOnly?.(given);
  if (what !== undefined) throw sessmanError('key_required', { what, isOpen: true });
}

function withCookie(call: Call, sessions: Sessions, audit: Audit, { cookie, access }: CookieMode) {
  return async (ctx: Context): Promise<void> => {
    const admitted = await access.admit(ctx, call);
    const clears = call.endsSession !== undefined && (await endsCookie(call, sessions, admitted));
    const result = await call.run(sessions, admitted.given);
    if (admitted.byKey) tellEnd(ctx, call, admitted.given, result, audit);
    if (clears) cookie.clear(ctx);
    if (call.setsCookie) cookie.write(ctx, result as StoredSession);
    call.answer.send(ctx, result as never, admitted.hidden);
  };
}

/** Logs that somebody's sessions were ended by a caller with a key. */
function tellEnd(ctx: Context, call: Call, given: Given<Takes>, result: unknown, audit: Audit): void {
  const about = call.audited?.(given, result);
  if (about !== undefined) audit('session_ended', { ...about, ...callerOf(ctx) }, 'session ended');
}

/** Whether the call ends a session that a cookie of the request names. */
async function endsCookie(call: Call, sessions: Sessions, { given, held }: Admitted): Promise<boolean> {
  if ((given.session_id ?? given.handle ?? given.userid) === undefined) return false;
  for (const id of held) if (await call.endsSession!(sessions, given, id)) return true;
  return false;
}

function parametersFor(ctx: Context, call: Call): Given<Takes> {
  const values = readParameters(ctx, call.takes);
  return call.namesSession
    ? completeParameters(ctx, call.takes, values)
    : requireParameters(call.takes, values);
}
