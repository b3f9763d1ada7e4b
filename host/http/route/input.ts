import { parse as parseQuery } from 'node:querystring';
import type Koa from 'koa';
import type { z } from 'zod';
import { bodyKindOf, type RouteProblem, type RouteSpec } from '../../kit/route.js';
import { membersOf, queryKindOf } from '../../kit/route-faults.js';
import { hostError } from '../errors.js';

/** The argument of a handler. */
export interface Input {
  readonly params: unknown;
  readonly query: unknown;
  readonly body: unknown;
  readonly ctx: Koa.Context;
}

type Part = RouteProblem['in'];
type Result = { readonly data?: unknown; readonly error?: z.ZodError };

/** Reads the input of a route; throws or rejects with a 400 that has everything that is wrong with it. */
export function inputReader(spec: RouteSpec): (ctx: Koa.Context) => Input | Promise<Input> {
  const { params, query } = spec;
  const readQuery = queryReader(spec);
  const readBody = bodyTaker(spec);
  const body = bodyKindOf(spec) === 'parsed' ? (spec.body as z.ZodType | undefined) : undefined;
  const schemas = { params, query, body };
  let isAsync = false;

  return (ctx) => {
    const problems: RouteProblem[] = [];
    const given = { params: ctx.params, query: readQuery(ctx, problems), body: readBody(ctx) };
    if (!isAsync) {
      try {
        return accept(ctx, problems, {
          params: params === undefined ? { data: given.params } : params.safeParse(given.params),
          query: query === undefined ? { data: given.query } : query.safeParse(given.query),
          body: body === undefined ? { data: given.body } : body.safeParse(given.body),
        });
      } catch (error) {
        if ((error as Error | undefined)?.constructor.name !== '$ZodAsyncError') throw error;
        // A schema with an asynchronous check reveals it at its first use.
        isAsync = true;
      }
    }
    return checkAsync(schemas, given).then((results) => accept(ctx, problems, results));
  };
}

type Results = Readonly<Record<Part, Result>>;

async function checkAsync(
  schemas: Readonly<Record<Part, z.ZodType | undefined>>,
  given: Readonly<Record<Part, unknown>>,
): Promise<Results> {
  const check = async (part: Part): Promise<Result> =>
    (await schemas[part]?.safeParseAsync(given[part])) ?? { data: given[part] };
  const [params, query, body] = await Promise.all([check('params'), check('query'), check('body')]);
  return { params, query, body };
}

function accept(ctx: Koa.Context, problems: RouteProblem[], { params, query, body }: Results): Input {
  if (params.error !== undefined) addIssues(problems, 'params', params.error);
  if (query.error !== undefined) addIssues(problems, 'query', query.error);
  if (body.error !== undefined) addIssues(problems, 'body', body.error);
  if (problems.length > 0) {
    const more = problems.length - MOST_PROBLEMS;
    const details = { problems: problems.slice(0, MOST_PROBLEMS), ...(more > 0 && { more_problems: more }) };
    throw hostError('invalid_request', { problems }, { details });
  }
  return { params: params.data, query: query.data, body: body.data, ctx };
}

/** A small request can have a fault in every byte; its response must stay small. */
const MOST_PROBLEMS = 100;

function addIssues(problems: RouteProblem[], part: Part, { issues }: z.ZodError): void {
  // A member of the query that is given twice has already been reported.
  const told = new Set(problems.flatMap((known) => (known.in === part ? [known.path[0]] : [])));
  for (const { path, message } of issues) {
    const place = path.map((step) => (typeof step === 'symbol' ? String(step) : step));
    if (place.length === 0 || !told.has(place[0])) problems.push({ in: part, path: place, message });
  }
}

type Texts = Record<string, string | string[] | undefined>;

/**
 * The query without `apikey`, each member in the form that its schema takes. What is to be passed on unread, as by a proxy,
 * is not refused for text that is not UTF-8.
 */
function queryReader(spec: RouteSpec) {
  const schema = spec.query;
  const isPassedOn = schema === undefined && bodyKindOf(spec) === 'stream';
  const kinds = new Map(
    Object.entries(schema === undefined ? {} : membersOf(schema)).map(([name, member]) => [
      name,
      queryKindOf(member),
    ]),
  );
  return ({ req, request }: Koa.Context, problems: RouteProblem[]): Texts => {
    const texts: Texts = {};
    if (!req.url!.includes('?')) return texts;
    const query = isPassedOn ? parseQuery(request.querystring) : request.query;
    for (const name in query) {
      if (name === 'apikey' || name === '__proto__') continue;
      const given = query[name]!;
      const kind = kinds.get(name);
      if (!Array.isArray(given)) {
        texts[name] = kind === 'list' ? [given] : given;
      } else if (kind === 'text') {
        problems.push({ in: 'query', path: [name], message: `Given ${given.length} times: send it once` });
        texts[name] = given[0];
      } else {
        texts[name] = given;
      }
    }
    return texts;
  };
}

/** The body in the form that the route declares, without `apikey`. */
function bodyTaker(spec: RouteSpec): (ctx: Koa.Context) => unknown {
  const kind = bodyKindOf(spec);
  if (kind === 'parsed') {
    const nothing = () => (spec.body === undefined ? undefined : {});
    return ({ request }) => {
      const body: unknown = request.body === undefined ? nothing() : request.body;
      if (typeof body !== 'object' || body === null || !('apikey' in body)) return body;
      // A plugin that checks keys itself still finds it in ctx.request.body.
      const { apikey: _key, ...rest } = body;
      return rest;
    };
  }
  return (ctx) => {
    const { body } = ctx.request;
    if (kind === 'raw' && Buffer.isBuffer(body)) return body;
    if (body === undefined) return kind === 'raw' ? EMPTY : ctx.req;
    throw new Error(
      `${kind}() gets no body: another route with this path has read it first, or route() is inside another middleware`,
    );
  };
}

const EMPTY = Buffer.alloc(0);
