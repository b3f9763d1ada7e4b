import type { Router } from '@koa/router';
import type Koa from 'koa';

/**
 * The members of Koa and @koa/router that are not theirs to rely on, named here and nowhere else. Each follows what those
 * two do themselves; test/host/http/fast/stock-koa.test.ts compares the answers byte for byte, so that a new version of
 * either that does otherwise fails there.
 */
interface Internals {
  /** Koa: the body as it was set. */
  _body?: unknown;
  /** Koa: whether a status was set, which a body does not replace then. */
  _explicitStatus?: boolean;
}

type Layer = Router['stack'][number];

/** What @koa/router keeps on a context. */
export type RoutedContext = Koa.Context & {
  matched?: Layer[];
  routeMatched?: boolean;
  newRouterPath?: string;
  _matchedRoute?: string | RegExp;
  [member: string]: unknown;
};

export function bodyOf(response: Koa.BaseResponse): unknown {
  return (response as Internals)._body;
}

/** Sets the body and nothing that follows from it. */
export function setBodyAlone(response: Koa.BaseResponse, body: unknown): void {
  (response as Internals)._body = body;
}

export function hasExplicitStatus(response: Koa.BaseResponse): boolean {
  return (response as Internals)._explicitStatus === true;
}

/** The template of the route that a request has come to. */
export function matchedRoute(ctx: RoutedContext): string {
  return String(ctx._matchedRoute);
}

export function setMatchedRoute(ctx: RoutedContext, route: string | RegExp): void {
  ctx._matchedRoute = route;
}

/** What `router.match` says of a path and a method. */
interface KnownMatch {
  readonly path: string;
  readonly method: string;
  readonly match: ReturnType<Router['match']>;
}

/** `router.routes()`, but for a path that has been matched already. The context keeps the match, so use each once. */
export function routesOf(
  router: Router,
): (ctx: RoutedContext, known: KnownMatch, next: () => Promise<unknown>) => unknown {
  const routes = router.routes() as unknown as Koa.Middleware;
  const ownMatch = router.match;
  let known: KnownMatch | undefined;
  router.match = function (this: Router, path, method) {
    if (known?.path !== path || known.method !== method) return ownMatch.call(this, path, method);
    const { match } = known;
    known = undefined;
    return match;
  };
  return (ctx, given, next) => {
    // @koa/router's own hook: match this path instead of ctx.path. It does so before anything else runs.
    ctx.newRouterPath = given.path;
    known = given;
    return routes(ctx as never, next);
  };
}

const NO_CAPTURES: string[] = [];

/** What @koa/router sets on the context before the middleware of a layer without parameters. */
export function enterLayer(ctx: RoutedContext, layer: Layer): void {
  ctx.captures = NO_CAPTURES;
  ctx.params = {};
  (ctx.request as unknown as { params: object }).params = ctx.params;
  ctx.routerPath = layer.path;
  ctx.routerName = layer.name;
  ctx._matchedRoute = layer.path;
  if (layer.name) ctx._matchedRouteName = layer.name;
}
