import type { Middleware } from 'koa';

/** An OpenAPI 3.1 Operation Object (spec.openapis.org/oas/v3.1.1#operation-object), as plain data. */
export interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly operationId?: string;
  readonly tags?: readonly string[];
  readonly deprecated?: boolean;
  readonly parameters?: readonly object[];
  readonly requestBody?: object;
  readonly responses?: Readonly<Record<string, object>>;
  readonly [extension: `x-${string}`]: unknown;
}

const operationKey = Symbol.for('plugin-server.operation');

/** Describes a route in /openapi.json: `router.get('/x', openapi({ summary: '…' }), handler)`. It does nothing to requests. */
export function openapi(operation: Operation): Middleware {
  const passThrough: Middleware = (_ctx, next) => next();
  return Object.assign(passThrough, { [operationKey]: operation });
}

/** The operation that `openapi` attached to a middleware, if it is one. */
export function operationOf(middleware: unknown): Operation | undefined {
  return typeof middleware === 'function'
    ? ((middleware as unknown as Record<symbol, unknown>)[operationKey] as Operation | undefined)
    : undefined;
}

const operatorsMark = Symbol.for('plugin-server.operators');

/** Who may use a route where operators have their own address. */
type Audience = 'operators' | 'both';

function mark(audience: Audience): Middleware {
  const passThrough: Middleware = (_ctx, next) => next();
  return Object.assign(passThrough, { [operatorsMark]: audience });
}

/**
 * Marks a route as one for operators: `router.get('/all', forOperators, handler)`. With `[admin]`, it is served at that address
 * and nowhere else; without, it changes nothing. For a whole plugin, set `operators` of definePlugin.
 */
export const forOperators: Middleware = mark('operators');

/** Marks a route that is served at the address in `[admin]` as well as at the others. */
export const alsoForOperators: Middleware = mark('both');

/** Who the middleware says that its route is for, whichever copy of the kit made it. */
export function audienceOf(middleware: unknown): Audience | undefined {
  return typeof middleware === 'function'
    ? ((middleware as unknown as Record<symbol, unknown>)[operatorsMark] as Audience | undefined)
    : undefined;
}

const keyMark = Symbol.for('plugin-server.key');

/**
 * Declares which key a middleware requires, so that `plugin-server routes` and /openapi.json show it for every route behind the
 * middleware. For plugins that check keys themselves (`auth: 'own'`): `router.use('/api', asksKey('session', checkSession))`.
 * Such a middleware runs before the body is read and before a 404 or 405, unless other middleware of the router comes
 * before it. `server.requireGlobalKey` declares this already.
 */
export function asksKey(key: string, middleware: Middleware): Middleware {
  // It runs once a request: before the body is read, where it stands in front of everything else.
  const passed = new WeakSet<object>();
  const once: Middleware = (ctx, next) => {
    if (passed.has(ctx)) return next();
    passed.add(ctx);
    return middleware(ctx, next);
  };
  return Object.assign(once, { [keyMark]: key });
}

/** The key that a middleware declares. */
export function askedKeyOf(middleware: unknown): string | undefined {
  return typeof middleware === 'function'
    ? ((middleware as unknown as Record<symbol, unknown>)[keyMark] as string | undefined)
    : undefined;
}
