import { nearest } from '../../config/names.js';
import { definitionOf, type Schema } from '../../config/shape.js';

const KNOWN = [
  'summary',
  'description',
  'tags',
  'params',
  'query',
  'body',
  'response',
  'bodyLimit',
  'requestTimeout',
];

/** Throws a TypeError for options of `route` that cannot be meant. */
export function requireSoundRoute(options: object, handler: unknown): void {
  if (typeof options !== 'object' || options === null)
    throw new TypeError('route() is not given options; write route({ … }, handler)');
  for (const key of Object.keys(options)) {
    if (KNOWN.includes(key)) continue;
    const near = nearest(key, KNOWN);
    const hint = near === undefined ? `the options are ${KNOWN.join(', ')}` : `did you mean "${near}"?`;
    throw new TypeError(`unknown option "${key}" of route(); ${hint}`);
  }
  if (typeof handler !== 'function')
    throw new TypeError('route() is not given a handler; write route({ … }, handler)');
  const { params, query, body, response, bodyLimit, requestTimeout } = options as Record<string, unknown>;
  requireTexts('params', params);
  requireTexts('query', query);
  if (body !== undefined && !isBody(body)) throw notASchema('body', ', raw() or stream()');
  if (response !== undefined) {
    if (!isSchema(response)) throw notASchema('response', '');
    requireUnchanging(response, []);
  }
  for (const [name, value] of Object.entries({ bodyLimit, requestTimeout })) {
    if (value !== undefined && !(typeof value === 'number' && value > 0 && Number.isFinite(value)))
      throw new TypeError(`${name} of route() is not a number above 0`);
  }
}

/** The members of a schema of an object. */
export function membersOf(schema: Schema): Readonly<Record<string, Schema>> {
  return definitionOf(schema).shape ?? {};
}

/**
 * How a member of a query takes its values: `list` in an array, one alone too; `text` one alone, so that several are wrong;
 * `either` one alone as a text and several in an array.
 */
export function queryKindOf(member: Schema): 'text' | 'list' | 'either' {
  if (!takesArray(member, new Set())) return 'text';
  return takesText(member, new Set()) ? 'either' : 'list';
}

function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && '_zod' in value;
}

function isBody(value: unknown): boolean {
  if (isSchema(value)) return true;
  const { kind } = (value ?? {}) as { kind?: unknown };
  return kind === 'raw' || kind === 'stream';
}

function notASchema(name: string, others: string): TypeError {
  return new TypeError(
    `${name} of route() is not a schema of zod 4${others}; create it with the z of plugin-server`,
  );
}

/** In the path and the query everything is text: a member that takes none would refuse each request. */
function requireTexts(part: 'params' | 'query', schema: unknown): void {
  if (schema === undefined) return;
  if (!isSchema(schema)) throw notASchema(part, '');
  if (definitionOf(schema).type !== 'object')
    throw new TypeError(`${part} of route() is not z.object({ … })`);
  for (const [name, member] of Object.entries(membersOf(schema))) {
    if (takesText(member, new Set()) || (part === 'query' && takesArray(member, new Set()))) continue;
    throw new TypeError(
      `"${name}" in ${part} of route() takes no text, and ${PLACES[part]} has nothing else; ${TEXT_SCHEMAS}`,
    );
  }
}

const PLACES = { params: 'a path', query: 'a query' };
const TEXT_SCHEMAS = 'use integer(), decimal() or boolean() of plugin-server';

/** The types of zod that never take a text. */
const NO_TEXT = new Set(
  'number int boolean bigint date symbol undefined null void never nan array tuple object record map set file'.split(
    ' ',
  ),
);

function takesText(schema: Schema, seen: Set<Schema>): boolean {
  if (seen.has(schema)) return false;
  seen.add(schema);
  const { type, coerce, entries, values, options, left, right, ...inner } = parts(schema);
  if (coerce === true) return true;
  if (entries !== undefined) return Object.values(entries).some((value) => typeof value === 'string');
  if (values !== undefined) return values.some((value) => typeof value === 'string');
  if (options !== undefined) return options.some((option) => takesText(option, seen));
  if (left !== undefined && right !== undefined) return takesText(left, seen) && takesText(right, seen);
  const wrapped = inner.in ?? inner.innerType ?? inner.getter?.();
  return wrapped === undefined ? !NO_TEXT.has(type) : takesText(wrapped, seen);
}

function takesArray(schema: Schema, seen: Set<Schema>): boolean {
  if (seen.has(schema)) return false;
  seen.add(schema);
  const { type, options, ...inner } = parts(schema);
  if (type === 'array' || type === 'tuple') return true;
  if (options !== undefined) return options.some((option) => takesArray(option, seen));
  // What is preprocessed is taken by the schema behind.
  const first = inner.in && definitionOf(inner.in).type === 'transform' ? inner.out : inner.in;
  const wrapped = first ?? inner.innerType ?? inner.getter?.();
  return wrapped !== undefined && takesArray(wrapped, seen);
}

function parts(schema: Schema) {
  return definitionOf(schema) as ReturnType<typeof definitionOf> & { readonly coerce?: boolean };
}

/** What would change the answer, where `response` only describes it. */
const CHANGES = new Set(['default', 'prefault', 'transform', 'catch', 'codec']);

function requireUnchanging(schema: Schema, path: readonly string[], seen = new Set<Schema>()): void {
  if (seen.has(schema)) return;
  seen.add(schema);
  const { type, shape, catchall, element, items, rest, keyType, valueType, options, left, right, ...inner } =
    definitionOf(schema);
  // A codec is a pipe that transforms by itself.
  const change = type === 'pipe' && 'transform' in definitionOf(schema) ? 'codec' : type;
  if (CHANGES.has(change)) {
    const place = path.length === 0 ? 'response' : `"${path.join('.')}" in response`;
    throw new TypeError(
      `${place} of route() has a ${change}, but response changes nothing; let the handler do it, and describe the result`,
    );
  }
  for (const [name, member] of Object.entries(shape ?? {})) requireUnchanging(member, [...path, name], seen);
  const others = [
    catchall,
    element,
    ...(items ?? []),
    rest,
    keyType,
    valueType,
    ...(options ?? []),
    left,
    right,
  ];
  for (const other of [...others, inner.in, inner.out, inner.innerType, inner.getter?.()]) {
    if (other != null) requireUnchanging(other, path, seen);
  }
}
