import { type Context, openapi, type Router } from 'plugin-server';
import type { Sessions, StoredSession } from '../sessions.js';
import type { Awaitable } from '../store.js';
import { type Call, calls } from './calls.js';
import type { SessionCookie } from './cookie.js';
import { operationOf } from './operations.js';
import type { Given, Takes } from './parameters.js';
import { completeParameters, readParameters, requireParameters } from './read-parameters.js';

/** Adds a route for each method of each call. */
export function addRoutes(router: Router, sessions: Sessions, cookie?: SessionCookie): void {
  for (const call of calls) {
    const handler = cookie ? withCookie(call, sessions, cookie) : withoutCookie(call, sessions);
    for (const method of call.methods)
      router[method](`/${call.path}`, openapi(operationOf(call, method)), handler);
  }
}

/** Answers at once where the store does, without a promise. */
function withoutCookie(call: Call, sessions: Sessions) {
  return (ctx: Context): void | Promise<void> => {
    const result = call.run(sessions, parametersFor(ctx, call));
    return whenSettled(result, (settled) => call.answer.send(ctx, settled as never));
  };
}

function withCookie(call: Call, sessions: Sessions, cookie: SessionCookie) {
  return async (ctx: Context): Promise<void> => {
    if (call.changes) cookie.checkOrigin(ctx);
    const given = parametersFor(ctx, call, cookie);
    const inCookie = call.endsSession && cookie.read(ctx);
    const clears = inCookie !== undefined && (await endsCookie(call, sessions, given, inCookie));
    const result = await call.run(sessions, given);
    if (clears) cookie.clear(ctx);
    if (call.setsCookie) cookie.write(ctx, (result as StoredSession).id);
    call.answer.send(ctx, result as never);
  };
}

async function endsCookie(call: Call, sessions: Sessions, given: Given<Takes>, id: string): Promise<boolean> {
  const named = (given.session_id ?? given.handle ?? given.userid) !== undefined;
  return named && (await call.endsSession!(sessions, given, id));
}

function parametersFor(ctx: Context, call: Call, cookie?: SessionCookie): Given<Takes> {
  const values = readParameters(ctx, call.takes);
  return call.namesSession
    ? completeParameters(ctx, call.takes, values, cookie && (() => cookie.read(ctx)))
    : requireParameters(call.takes, values);
}

function whenSettled<T>(result: Awaitable<T>, then: (settled: T) => void): void | Promise<void> {
  return result instanceof Promise ? result.then(then) : then(result);
}
