import type { Router } from '@koa/router';
import { askedKeyOf } from '../kit/operation.js';

/** The key that a route requires in a plugin that checks keys itself: declared by a middleware of the route, or before it. */
export function askedKey(router: Router, route: Router['stack'][number]): string | undefined {
  for (const layer of router.stack) {
    const isInFront = layer.methods.length === 0 && layer.match(String(route.path));
    if (isInFront || layer === route) {
      const key = layer.stack.map(askedKeyOf).find((asked) => asked !== undefined);
      if (key !== undefined) return key;
    }
    // Middleware that is added after a route does not run before it.
    if (layer === route) return undefined;
  }
  return undefined;
}
