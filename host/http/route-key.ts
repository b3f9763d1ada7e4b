import type { Router } from '@koa/router';
import { askedKeyOf } from '../kit/operation.js';

/** The key that a route of a plugin with its own keys asks for: by a middleware of the route or one in front of it. */
export function askedKey(router: Router, route: Router['stack'][number]): string | undefined {
  for (const layer of router.stack) {
    const isInFront = layer.methods.length === 0 && layer.match(String(route.path));
    if (isInFront || layer === route) {
      const key = layer.stack.map(askedKeyOf).find((asked) => asked !== undefined);
      if (key !== undefined) return key;
    }
    // What is added after a route does not run before it.
    if (layer === route) return undefined;
  }
  return undefined;
}
