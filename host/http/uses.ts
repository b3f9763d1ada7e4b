import type Koa from 'koa';
import composeKoa from 'koa-compose';
import type { HttpError } from '../kit/http-error.js';
import { isRefusal } from './fast/compiled-routes.js';

/**
 * Runs a plugin's own middleware in front of its routes. In it the path lacks the prefix, as koa-mount has it; after its
 * next() the routes see the whole path.
 */
export function composeUses(middleware: readonly Koa.Middleware[], prefix: string) {
  const chain = composeKoa([...middleware]);
  return async (ctx: Koa.Context, rest: string, routes: () => unknown): Promise<void> => {
    const { req } = ctx;
    const whole = req.url!;
    const { mountPath } = ctx as { mountPath?: string };
    const set = (url: string, path: string | undefined) => {
      req.url = url;
      (ctx as { mountPath?: string | undefined }).mountPath = path;
    };
    set(rest, prefix);
    let refusal: HttpError | undefined;
    try {
      await chain(ctx as never, async () => {
        set(whole, mountPath);
        refusal = await refusalBy(routes);
        set(rest, prefix);
        if (refusal?.headers !== undefined) {
          ctx.status = refusal.status;
          ctx.set(refusal.headers);
        }
      });
      // As in Koa, middleware may answer after its next() what no route has.
      if (refusal !== undefined && ctx.respond !== false && ctx.body == null && ctx.status === refusal.status)
        throw refusal;
    } finally {
      set(whole, mountPath);
    }
  };
}

/** What the client is told where none of the routes took the request. */
async function refusalBy(routes: () => unknown): Promise<HttpError | undefined> {
  try {
    await routes();
    return undefined;
  } catch (error) {
    if (isRefusal(error)) return error;
    throw error;
  }
}
