import { type Context, HttpError, openapi, type Router } from 'plugin-server';
import { SessionError, StoreError } from '../errors.js';
import type { Session, Sessions } from '../sessions.js';
import { sessionJson } from './answer.js';
import { type Call, calls } from './calls.js';
import type { SessionCookie } from './cookie.js';
import { operationOf } from './operations.js';
import { completeParameters, readParameters, requireParameters } from './parameters.js';

/** Adds a route for each method of each call. */
export function addRoutes(router: Router, sessions: Sessions, cookie?: SessionCookie): void {
  for (const call of calls) {
    const handler = handlerOf(call, sessions, cookie);
    for (const method of call.methods)
      router[method](`/${call.path}`, openapi(operationOf(call, method)), handler);
  }
}

/** Answers at once where the store does, without a promise. */
function handlerOf(call: Call, sessions: Sessions, cookie: SessionCookie | undefined) {
  const { takes, namesSession, changes } = call;
  return (ctx: Context): void | Promise<void> => {
    try {
      if (cookie && changes) cookie.checkOrigin(ctx);
      const values = readParameters(ctx, takes);
      const given = namesSession
        ? completeParameters(ctx, takes, values, cookie && (() => cookie.read(ctx)))
        : requireParameters(takes, values);
      const result = call.run(sessions, given);
      if (!(result instanceof Promise)) return answer(ctx, call, result, cookie);
      return result.then(
        (settled) => answer(ctx, call, settled, cookie),
        (error: unknown) => {
          throw toHttp(error);
        },
      );
    } catch (error) {
      throw toHttp(error);
    }
  };
}

function answer(ctx: Context, call: Call, result: Session | object, cookie: SessionCookie | undefined): void {
  if (call.answers !== 'session') {
    if (call.cookie === 'clear') cookie?.clear(ctx);
    ctx.body = result;
    return;
  }
  const session = result as Session;
  if (call.cookie === 'set') cookie?.write(ctx, session.id);
  ctx.set('ETag', `"${session.version}"`);
  ctx.set('Content-Type', 'application/json; charset=utf-8');
  ctx.body = sessionJson(session);
}

/** The one place where the session manager's errors become HTTP's. */
function toHttp(error: unknown): unknown {
  if (error instanceof SessionError) {
    const { status, code, message, details } = error;
    return new HttpError(status, code, message, {
      ...(details && { details }),
      ...(status === 503 && { headers: { 'Retry-After': '1' } }),
    });
  }
  if (error instanceof StoreError) {
    const { status, code, message, retryAfter, cause } = error;
    return new HttpError(status, code, message, { headers: { 'Retry-After': String(retryAfter) }, cause });
  }
  return error;
}
