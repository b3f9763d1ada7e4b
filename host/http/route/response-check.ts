import type Koa from 'koa';
import { z } from 'zod';
import { definitionOf, type Schema } from '../../../config/shape.js';

/** Rejects when a response does not match its schema. */
export function responseCheck(response: z.ZodType): (ctx: Koa.Context, value: unknown) => Promise<void> {
  const schema = asSent(response, new Map()) as z.ZodType;
  return async (ctx, value) => {
    const sent = JSON.stringify(value);
    const { error } = await schema.safeParseAsync(sent === undefined ? undefined : JSON.parse(sent));
    if (error === undefined) return;
    const faults = error.issues.map(({ path, message }) =>
      path.length === 0 ? message : `${path.join('.')}: ${message}`,
    );
    const { routerPath } = ctx as { routerPath?: string };
    throw new Error(
      `the response of ${ctx.method} ${routerPath ?? ctx.path} is not what "response" of its route describes: ${faults.join('; ')}`,
    );
  };
}

/**
 * The schema of the JSON that a value of this schema is sent as: a date is a text, and an object has no member that it does
 * not name unless it is loose.
 */
function asSent(schema: Schema, made: Map<Schema, Schema>): Schema {
  const known = made.get(schema);
  if (known !== undefined) return known;
  const { type, shape, catchall, items, options, getter, ...parts } = definitionOf(schema);
  if (type === 'date') return z.preprocess(dateOf, schema as z.ZodType);
  const inner = (part: Schema) => asSent(part, made);
  const changed: Record<string, unknown> = { ...schema._zod.def };
  for (const name of ['innerType', 'in', 'out', 'element', 'rest', 'valueType', 'left', 'right'] as const) {
    const part = parts[name];
    if (part != null) changed[name] = inner(part);
  }
  if (items !== undefined) changed.items = items.map(inner);
  if (options !== undefined) changed.options = options.map(inner);
  if (getter !== undefined) changed.getter = () => inner(getter());
  if (shape !== undefined) {
    changed.catchall = catchall ?? z.never();
    // Where a schema contains itself, it does so below an object.
    let members: Record<string, Schema> | undefined;
    const sent = () => {
      members ??= Object.fromEntries(Object.entries(shape).map(([name, member]) => [name, inner(member)]));
      return members;
    };
    Object.defineProperty(changed, 'shape', { get: sent, enumerable: true });
  }
  const sent = z.core.clone(schema, changed as never);
  made.set(schema, sent);
  return sent;
}

/** RFC 3339, as Date.prototype.toJSON writes it. */
const DATE_TIME = /^[+-]?\d{4,6}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/;

function dateOf(value: unknown): unknown {
  return typeof value === 'string' && DATE_TIME.test(value) ? new Date(value) : value;
}
