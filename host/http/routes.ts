import type { Router } from '@koa/router';
import type Koa from 'koa';
import compose from 'koa-compose';
import { HttpError } from './http-error.js';

type Layer = Router['stack'][number];
type RoutedContext = Koa.Context & Record<string, unknown>;

/** Runs the route of a router that a path below its mount and a method lead to. */
export interface CompiledRoutes {
  /** A template such as `/:name` where it is known before running, else undefined: then `ctx._matchedRoute` tells. */
  run(ctx: Koa.Context, path: string): Promise<void>;
}

const STATIC_PATH = /^[\w\-./~]*$/;
const NO_CAPTURES: string[] = [];

/**
 * Composes each route without parameters once, from the layers that the router itself matches for it, into a Map entry.
 * Every other path goes through `router.routes()`; so a route added later works too, only not the short way.
 */
export function compileRoutes(router: Router): CompiledRoutes {
  const routes = router.routes() as unknown as Koa.Middleware;
  const table = new Map<string, (ctx: RoutedContext) => Promise<void>>();
  for (const layer of router.exclusive || router.host !== undefined ? [] : router.stack) {
    if (typeof layer.path !== 'string' || layer.opts.pathAsRegExp || !STATIC_PATH.test(layer.path)) continue;
    for (const method of layer.methods) {
      const key = method + layer.path;
      if (!table.has(key)) {
        const compiled = compileRoute(router, layer.path, method);
        if (compiled !== undefined) table.set(key, compiled);
      }
    }
  }
  return {
    run(ctx, path) {
      const compiled = table.get(ctx.req.method + path);
      if (compiled !== undefined) return compiled(ctx as RoutedContext);
      // @koa/router's own hook: match this path instead of ctx.path.
      (ctx as RoutedContext).newRouterPath = path;
      return routes(ctx, () => refuse(ctx)) as Promise<void>;
    },
  };
}

function compileRoute(
  router: Router,
  path: string,
  method: string,
): ((ctx: RoutedContext) => Promise<void>) | undefined {
  const { path: matched, pathAndMethod: layers } = router.match(path, method);
  if (layers.some((layer) => layer.paramNames.length > 0)) return undefined;
  const [first, ...rest] = layers;
  if (first === undefined) return undefined;
  const steps: Koa.Middleware[] = [...(first.stack as Koa.Middleware[])];
  for (const layer of rest) {
    steps.push(
      (ctx, next) => {
        enter(ctx as RoutedContext, layer);
        return next();
      },
      ...(layer.stack as Koa.Middleware[]),
    );
  }
  const chain = compose(steps);
  const route = layers.findLast((layer) => layer.methods.length > 0)!.path;
  const done = async () => {};
  return (ctx) => {
    ctx.matched = matched.slice();
    ctx.router = router;
    ctx.routeMatched = true;
    enter(ctx, first);
    ctx._matchedRoute = route;
    return chain(ctx, done);
  };
}

/** What @koa/router sets on the context before a layer's middleware. */
function enter(ctx: RoutedContext, layer: Layer): void {
  ctx.captures = NO_CAPTURES;
  ctx.params = {};
  (ctx.request as unknown as Record<string, unknown>).params = ctx.params;
  ctx.routerPath = layer.path;
  ctx.routerName = layer.name;
  ctx._matchedRoute = layer.path;
  if (layer.name) ctx._matchedRouteName = layer.name;
}

/** No route took the request: 404, or 405 with Allow, or the answer to OPTIONS (RFC 9110 sections 9.3.7 and 15.5.6). */
async function refuse(ctx: Koa.Context): Promise<void> {
  const { matched, routeMatched } = ctx as RoutedContext & { matched?: Layer[] };
  // A matched route that called next(): what it left is the answer.
  if (routeMatched) return;
  const methods = new Set((matched ?? []).flatMap((layer) => layer.methods));
  if (methods.size === 0) throw new HttpError(404, 'not_found', 'There is nothing at this path.');
  methods.add('OPTIONS');
  const allow = [...methods].join(', ');
  if (ctx.method === 'OPTIONS') {
    ctx.status = 204;
    ctx.set('Allow', allow);
    return;
  }
  throw new HttpError(405, 'method_not_allowed', `${ctx.method} is not for this path; use ${allow}.`, {
    headers: { Allow: allow },
  });
}
