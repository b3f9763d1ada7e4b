import { Router } from '@koa/router';
import type { DefaultState, Middleware } from 'koa';
import { nearest } from '../../config/index.js';
import type { Context } from '../kit/index.js';
import { routeOf } from '../kit/route.js';
import { membersOf } from '../kit/route-faults.js';

type PluginRouter = Router<DefaultState, Context>;

export interface PluginRoute {
  readonly path: string;
  readonly router: PluginRouter;
  /** Needs no key. */
  readonly open: boolean;
  /** For the subrequests of a proxy: under any host name, and without a rate limit. */
  readonly subrequests: boolean;
  readonly middleware: readonly Middleware[];
}

/** What a plugin's setup has added: routers by path, and the middleware before its own routes. */
export class PluginRoutes {
  readonly router: PluginRouter = newRouter();
  readonly middleware: Middleware[] = [];
  /** Whether the plugin checks the keys itself. */
  checksKeys = false;
  /** The origins whose pages may call with the visitor's cookies; undefined if only `[cors]` decides. */
  origins: readonly string[] | undefined;
  readonly #routers: Map<string, Pick<PluginRoute, 'router' | 'open' | 'subrequests'>>;

  constructor(path: string) {
    this.#routers = new Map([[path, { router: this.router, open: false, subrequests: false }]]);
  }

  /** The router of a path; the first call decides whether it is open. */
  at(path: string, open: boolean, subrequests = false): PluginRouter {
    const mounted = this.#routers.get(path) ?? { router: newRouter(), open, subrequests };
    this.#routers.set(path, mounted);
    return mounted.router;
  }

  /** Throws if a route can never be reached: routes of nested routers are known only when setup has ended. */
  *[Symbol.iterator](): Generator<PluginRoute> {
    for (const [path, { router, open, subrequests }] of this.#routers) {
      for (const layer of router.stack) {
        requireSlash(layer.path);
        requireParameters(layer);
      }
      yield { path, router, open, subrequests, middleware: router === this.router ? this.middleware : [] };
    }
  }
}

/** A router that throws for a route without a leading slash, where it is added: no request would ever reach it. */
function newRouter(): PluginRouter {
  const router = new Router<DefaultState, Context>();
  const register = router.register.bind(router) as (path: unknown, ...rest: unknown[]) => unknown;
  Object.assign(router, {
    register(path: unknown, ...rest: unknown[]) {
      for (const each of Array.isArray(path) ? path : [path]) requireSlash(each);
      return register(path, ...rest);
    },
  });
  return router;
}

/** A schema of a parameter that the path lacks would refuse each request. */
function requireParameters({ path, paramNames, stack }: PluginRouter['stack'][number]): void {
  if (typeof path !== 'string') return;
  const names = new Set(paramNames.map(({ name }) => name));
  for (const { params, origin } of stack.map(routeOf).filter((spec) => spec !== undefined)) {
    const missing = Object.keys(params === undefined ? {} : membersOf(params)).find(
      (name) => !names.has(name),
    );
    if (missing === undefined) continue;
    const near = nearest(missing, names);
    const hint =
      near === undefined ? `add /:${missing} to the path, or remove it` : `did you mean "${near}"?`;
    // It has the place of the route.
    throw Object.assign(origin, {
      message: `"${missing}" in params of route() is not in the path "${path}"; ${hint}`,
    });
  }
}

/** A path may begin with an optional part, as in `{/:name}`. */
function requireSlash(path: unknown): void {
  if (typeof path !== 'string' || path === '' || /^[/{]/.test(path)) return;
  if (/^\(.*\)$/.test(path)) return;
  throw new Error(`the route "${path}" does not begin with a slash; write "/${path}"`);
}
