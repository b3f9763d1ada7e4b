import type Koa from 'koa';
import composeKoa from 'koa-compose';

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
    try {
      await chain(ctx as never, async () => {
        set(whole, mountPath);
        await routes();
        set(rest, prefix);
      });
    } finally {
      set(whole, mountPath);
    }
  };
}
