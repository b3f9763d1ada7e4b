import type { Router } from '@koa/router';
import type Koa from 'koa';
import { askedKeyOf } from '../kit/operation.js';

/** Runs the middleware that checks keys at a path, then `next`. */
export type KeyGates = (ctx: Koa.Context, path: string, next: () => unknown) => unknown;

/**
 * For a plugin that checks keys itself: the middleware in `router.use` that does so (`asksKey`). It runs before the body is
 * read, and before a 404 or 405, unless other middleware comes before it, which it may depend on.
 */
export function keyGates(router: Router): KeyGates | undefined {
  const inFront = router.stack.filter(({ methods }) => methods.length === 0);
  const gates = inFront.filter((layer) => asks(layer.stack));
  if (gates.length === 0) return undefined;
  return (ctx, path, next) => {
    const passed = inFront.filter((layer) => layer.match(path));
    const others = passed.findIndex((layer) => !asks(layer.stack));
    const steps = (others < 0 ? passed : passed.slice(0, others)).flatMap(
      ({ stack }) => stack as Koa.Middleware[],
    );
    const run = (i: number): unknown => {
      const step = steps[i];
      return step === undefined ? next() : step(ctx as never, async () => run(i + 1));
    };
    return run(0);
  };
}

function asks(stack: readonly unknown[]): boolean {
  return stack.length > 0 && stack.every((middleware) => askedKeyOf(middleware) !== undefined);
}
