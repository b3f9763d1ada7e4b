import { z } from 'zod';
import type { Operation } from '../../kit/operation.js';
import { bodyKindOf, type RouteSpec } from '../../kit/route.js';

type JsonSchema = Record<string, unknown>;

/** Schemas of the document's `components`, by name. */
export type Components = Map<string, JsonSchema>;

/**
 * The operation of a route of the kit's `route()`. What its schemas define under a name of their own goes to `components`,
 * with `prefix` in front.
 */
export function describeRoute(spec: RouteSpec, prefix: string, components: Components): Operation {
  const { summary, description, tags, params, query, response } = spec;
  const schemaOf = (part: string, schema: z.ZodType) =>
    hoist(jsonSchema(schema), `${prefix}_${part}`, components);
  const parameters = [
    ...describeMembers('path', params && schemaOf('params', params)),
    ...describeMembers('query', query && schemaOf('query', query)),
  ];
  const requestBody = describeBody(spec, schemaOf);
  const content = response && { 'application/json': { schema: schemaOf('response', response) } };
  return {
    ...(summary !== undefined && { summary }),
    ...(description !== undefined && { description }),
    ...(tags !== undefined && { tags }),
    ...(parameters.length > 0 && { parameters }),
    ...(requestBody !== undefined && { requestBody }),
    responses: {
      200: {
        description: response?.description ?? 'The response of the plugin.',
        ...(content && { content }),
      },
    },
  };
}

function describeMembers(place: 'path' | 'query', schema: JsonSchema | undefined): object[] {
  const { properties = {}, required = [] } = (schema ?? {}) as {
    properties?: Record<string, JsonSchema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, { description, ...member }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(description !== undefined && { description }),
    schema: member,
  }));
}

function describeBody(
  spec: RouteSpec,
  schemaOf: (part: string, schema: z.ZodType) => JsonSchema,
): object | undefined {
  if (spec.body === undefined) return undefined;
  if (bodyKindOf(spec) !== 'parsed') return { content: { '*/*': {} } };
  const body = spec.body as z.ZodType;
  return {
    required: !takesNothing(body),
    content: { 'application/json': { schema: schemaOf('body', body) } },
  };
}

/** Whether the body is optional: a missing one counts as an empty object. */
function takesNothing(body: z.ZodType): boolean {
  try {
    return body.safeParse({}).success;
  } catch {
    // Its checks are asynchronous.
    return false;
  }
}

/** The JSON Schema of what a client sends and receives, with dates as text. For a schema that zod cannot describe, anything. */
function jsonSchema(schema: z.ZodType): JsonSchema {
  try {
    const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, {
      io: 'input',
      unrepresentable: 'any',
      override({ zodSchema, jsonSchema: made }) {
        if (zodSchema._zod.def.type === 'date') Object.assign(made, { type: 'string', format: 'date-time' });
      },
    });
    return rest as JsonSchema;
  } catch {
    // Two schemas have the same id, for instance. The document is that of all plugins.
    return {};
  }
}

/**
 * Moves what a schema defines for its own references to the document, where alone they lead somewhere; and the schema itself
 * where it refers to itself.
 */
function hoist(schema: JsonSchema, name: string, components: Components): JsonSchema {
  const { $defs = {}, ...root } = schema as { $defs?: Record<string, JsonSchema> };
  const place = (reference: string) =>
    reference === '#' ? name : `${name}_${reference.slice('#/$defs/'.length)}`.replaceAll(/[^\w.-]/g, '_');
  let refersToItself = false;
  const visit = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(visit);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, member]) => {
        if (key !== '$ref' || typeof member !== 'string') return [key, visit(member)];
        refersToItself ||= member === '#';
        return [key, `#/components/schemas/${place(member)}`];
      }),
    );
  };
  for (const [key, definition] of Object.entries($defs)) {
    components.set(place(`#/$defs/${key}`), visit(definition) as JsonSchema);
  }
  const made = visit(root) as JsonSchema;
  if (!refersToItself) return made;
  components.set(name, made);
  return { $ref: `#/components/schemas/${name}` };
}
