import type { Router } from '@koa/router';
import type Koa from 'koa';
import { HttpError } from '../../kit/http-error.js';
import type { RouteLabels } from '../../monitor/metrics.js';
import type { BodyWish } from '../body-wish.js';
import { hostError } from '../errors.js';
import type { HostResponse } from '../socket/response.js';
import { type Chain, compose } from './compose.js';
import { enterLayer, matchedRoute, type RoutedContext, routesOf, setMatchedRoute } from './koa-internals.js';

/** Where a method and a path below its mount lead to in a router. */
export interface FoundRoute {
  /** How the route takes its body; undefined where there is no route. */
  readonly wish: BodyWish | undefined;
  /** Runs it, once, and notes its labels on the response; without a route, a 404, a 405 or the answer to OPTIONS. */
  run(ctx: Koa.Context): unknown;
}

export interface CompiledRoutes {
  find(method: string, path: string): FoundRoute;
}

const STATIC_PATH = /^[\w\-./~]*$/;

/**
 * Composes each route without parameters once, from the layers that the router itself matches for it, into a Map entry.
 * Every other path is matched when it comes and goes through `router.routes()`; so a route added later works too, only not
 * the short way. `labels` gives those of a route template such as `/:name`, `wishOf` how the layers that a path leads to take
 * a body.
 */
export function compileRoutes(
  router: Router,
  labels: (template: string) => RouteLabels,
  wishOf: (layers: Router['stack']) => BodyWish,
): CompiledRoutes {
  const table = new Map<string, FoundRoute>();
  for (const layer of router.exclusive || router.host !== undefined ? [] : router.stack) {
    if (typeof layer.path !== 'string' || layer.opts.pathAsRegExp || !STATIC_PATH.test(layer.path)) continue;
    for (const method of layer.methods) {
      const key = method + layer.path;
      const compiled = table.has(key) ? undefined : compileRoute(router, layer.path, method, labels, wishOf);
      if (compiled !== undefined) table.set(key, compiled);
    }
  }
  const routes = routesOf(router);
  return {
    find(method, path) {
      const compiled = table.get(method + path);
      if (compiled !== undefined) return compiled;
      const match = router.match(path, method);
      return {
        get wish() {
          return match.route ? wishOf(match.pathAndMethod) : undefined;
        },
        async run(given) {
          const ctx = given as RoutedContext;
          try {
            await routes(ctx, { path, method, match }, () => refuse(ctx));
          } finally {
            if (ctx.routeMatched === true) (ctx.res as HostResponse).route = labels(matchedRoute(ctx));
          }
        },
      };
    },
  };
}

function compileRoute(
  router: Router,
  path: string,
  method: string,
  labels: (template: string) => RouteLabels,
  wishOf: (layers: Router['stack']) => BodyWish,
): FoundRoute | undefined {
  const { path: matched, pathAndMethod: layers } = router.match(path, method);
  const [first, ...rest] = layers;
  if (first === undefined || layers.some((layer) => layer.paramNames.length > 0)) return undefined;
  const steps = [...(first.stack as Koa.Middleware[])];
  for (const layer of rest) {
    steps.push(
      (ctx, next) => {
        enterLayer(ctx as RoutedContext, layer);
        return next();
      },
      ...(layer.stack as Koa.Middleware[]),
    );
  }
  const chain = compose(steps);
  const route = layers.findLast((layer) => layer.methods.length > 0)!.path;
  const routeLabels = labels(String(route));
  const run: Chain = (given) => {
    const ctx = given as RoutedContext;
    (ctx.res as HostResponse).route = routeLabels;
    ctx.matched = matched.slice();
    ctx.router = router;
    ctx.routeMatched = true;
    enterLayer(ctx, first);
    setMatchedRoute(ctx, route);
    return chain(ctx);
  };
  return { run, wish: wishOf(layers) };
}

const refusals = new WeakSet<HttpError>();

function refusalOf(error: HttpError): HttpError {
  refusals.add(error);
  return error;
}

/** Whether an error says that no route took the request. */
export function isRefusal(error: unknown): error is HttpError {
  return error instanceof HttpError && refusals.has(error);
}

/** No route took the request: 404, or 405 with Allow, or the answer to OPTIONS (RFC 9110 sections 9.3.7 and 15.5.6). */
async function refuse(ctx: RoutedContext): Promise<void> {
  // A matched route that called next(): what it left is the answer.
  if (ctx.routeMatched === true) return;
  const methods = new Set((ctx.matched ?? []).flatMap((layer) => layer.methods));
  if (methods.size === 0) throw refusalOf(hostError('not_found'));
  methods.add('OPTIONS');
  const allow = [...methods].join(', ');
  if (ctx.method === 'OPTIONS') {
    ctx.status = 204;
    ctx.set('Allow', allow);
    return;
  }
  throw refusalOf(
    hostError('method_not_allowed', { method: ctx.method, allow }, { headers: { Allow: allow } }),
  );
}
