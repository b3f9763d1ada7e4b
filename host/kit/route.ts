import type { IncomingMessage } from 'node:http';
import type { Context, Middleware } from 'koa';
import type { z } from 'zod';
import { requireSoundRoute } from './route-faults.js';

/** The body of a route that takes its bytes; `raw()` makes it. */
export interface RawBody {
  readonly kind: 'raw';
}

/** The body of a route that reads the request itself; `stream()` makes it. */
export interface StreamBody {
  readonly kind: 'stream';
}

/**
 * The exact bytes of the body, in a Buffer: of any Content-Type, still encoded as Content-Encoding says. For signatures over a
 * body. The API key is accepted only in the head.
 */
export function raw(): RawBody {
  return { kind: 'raw' };
}

/**
 * The unread request: `body` is `ctx.req`. For uploads and proxies. The size is limited only by an explicit limit, and the
 * request timeout counts from the last byte. The API key is accepted only in the head.
 */
export function stream(): StreamBody {
  return { kind: 'stream' };
}

type Input<Schema, Without> = Schema extends z.ZodType ? z.output<Schema> : Without;

type BodyOf<Body> = Body extends RawBody
  ? Buffer
  : Body extends StreamBody
    ? IncomingMessage
    : Body extends z.ZodType
      ? z.output<Body>
      : unknown;

export interface RouteOptions<Params, Query, Body, Response> {
  /** These three appear in /openapi.json. */
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  /** The parameters in the path. All are text: use `integer()`, `decimal()` and `boolean()` of the kit for other types. */
  readonly params?: Params;
  /** The query, whose values are text, too. A member that is an array receives an array, even for a single value. */
  readonly query?: Query;
  /** A schema of the JSON or the form, or `raw()`, or `stream()`. */
  readonly body?: Body;
  /** Describes what the handler returns. Checked under `start --watch` and by `startPlugin`; it changes nothing. */
  readonly response?: Response;
  /** Maximum size of the body in bytes; cannot exceed `body_limit` in the plugin's line. */
  readonly bodyLimit?: number;
  /** Seconds within which the request must arrive; cannot exceed `request_timeout` in the plugin's line. */
  readonly requestTimeout?: number;
}

/** The argument of a handler. Its members have the types of the schemas. */
export interface RouteInput<Params, Query, Body> {
  readonly params: Input<Params, Record<string, string>>;
  readonly query: Input<Query, Record<string, string | string[] | undefined>>;
  readonly body: BodyOf<Body>;
  readonly ctx: Context;
}

/** A fault in a request, in `problems` of the 400 `invalid_request`. */
export interface RouteProblem {
  readonly in: 'params' | 'query' | 'body';
  readonly path: readonly (string | number)[];
  readonly message: string;
}

type Answer<Response> = Response extends z.ZodType ? z.input<Response> | Promise<z.input<Response>> : unknown;

/**
 * A handler whose input is checked and typed by zod schemas, and described in /openapi.json:
 *
 * ```ts
 * router.post('/:name', route({
 *   params: z.object({ name: z.string().max(50) }),
 *   body: z.object({ note: z.string().max(200).default('') }),
 *   response: z.object({ note: z.string() }),
 * }, ({ params, body }) => ({ note: `${params.name}: ${body.note}` })));
 * ```
 *
 * Everything that is wrong with a request is one 400 `invalid_request`, with `problems`: see RouteProblem. Beyond a hundred,
 * `more_problems` counts the others. `apikey` is taken out of query and body before a schema sees them.
 *
 * The handler's return value is the body, with the status that it has set. With undefined, the response is what was set on
 * `ctx`, or else a 204. With `response`, every value is sent as JSON, including strings and null; without it, a string is
 * text/plain unless `ctx.type` is set.
 *
 * @throws TypeError for schemas that cannot work: a query member that does not accept text, or a transform in `response`.
 */
export function route<
  Params extends z.ZodObject | undefined = undefined,
  Query extends z.ZodObject | undefined = undefined,
  Body extends z.ZodType | RawBody | StreamBody | undefined = undefined,
  Response extends z.ZodType | undefined = undefined,
>(
  options: RouteOptions<Params, Query, Body, Response>,
  handler: (input: RouteInput<Params, Query, Body>) => Answer<Response>,
): Middleware {
  requireSoundRoute(options, handler);
  const origin = new TypeError();
  Error.captureStackTrace(origin, route);
  const spec: RouteSpec = { ...(options as AnyOptions), handler: handler as AnyHandler, origin };
  let application: unknown;
  let run: RouteRunner;
  const middleware: Middleware = (ctx) => {
    if (ctx.app !== application) {
      application = ctx.app;
      run = runnerFor(ctx, spec);
    }
    return run(ctx) as Promise<void>;
  };
  return Object.assign(middleware, { [specKey]: spec });
}

type AnyOptions = RouteOptions<
  z.ZodObject | undefined,
  z.ZodObject | undefined,
  z.ZodType | RawBody | StreamBody | undefined,
  z.ZodType | undefined
>;
type AnyHandler = (input: RouteInput<undefined, undefined, undefined>) => unknown;

/** What `route` was given. */
export interface RouteSpec extends AnyOptions {
  readonly handler: AnyHandler;
  /** Its stack says where `route` was called. */
  readonly origin: Error;
}

/** Serves a request to the route. */
export type RouteRunner = (ctx: Context) => unknown;

const specKey = Symbol.for('plugin-server.route');

/** What `route` was given, where a middleware comes from it. */
export function routeOf(middleware: unknown): RouteSpec | undefined {
  return typeof middleware === 'function'
    ? ((middleware as unknown as Record<symbol, unknown>)[specKey] as RouteSpec | undefined)
    : undefined;
}

/** How the body of a route is to be read. */
export function bodyKindOf({ body }: Pick<RouteSpec, 'body'>): 'parsed' | 'raw' | 'stream' {
  return body !== undefined && 'kind' in body && !('_zod' in body) ? body.kind : 'parsed';
}

/** Under this name the application's context has the function that makes runners. */
export const makeRunner: unique symbol = Symbol.for('plugin-server.route-runner') as never;

function runnerFor(ctx: Context, spec: RouteSpec): RouteRunner {
  const make = (ctx as unknown as { [makeRunner]?: (spec: RouteSpec) => RouteRunner })[makeRunner];
  if (make === undefined) throw new Error('route() works on the routers of plugin-server');
  return make(spec);
}
