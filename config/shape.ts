import type { z } from 'zod';

/** What a schema may say of itself by `.meta()`; each is optional. */
export interface KeyMeta {
  readonly description?: string;
  /** A value to show where one has to be written. */
  readonly example?: unknown;
  /** Its value is never shown. */
  readonly secret?: boolean;
  /** Other names that the key may be written by. */
  readonly aliases?: readonly string[];
  /** What is counted: `seconds`, `bytes`. */
  readonly unit?: string;
}

type Schema = z.core.$ZodType;

/** A schema's definition, as far as it is looked into here; zod has no common type for these fields. */
interface Definition {
  readonly type: string;
  readonly innerType?: Schema;
  readonly in?: Schema;
  readonly out?: Schema;
  readonly getter?: () => Schema;
  readonly shape?: Readonly<Record<string, Schema>>;
  readonly catchall?: Schema;
  readonly element?: Schema;
  readonly valueType?: Schema;
  readonly items?: readonly Schema[];
  readonly options?: readonly Schema[];
  readonly left?: Schema;
  readonly right?: Schema;
  readonly defaultValue?: unknown;
  readonly entries?: Readonly<Record<string, string | number>>;
  readonly values?: readonly unknown[];
}

export function definitionOf(schema: Schema): Definition {
  return schema._zod.def as unknown as Definition;
}

/** The schema and those that it wraps, from the outside in, down to the one that says what kind of value it takes. */
export function layers(schema: Schema): Schema[] {
  const all = [schema];
  for (let next = within(schema); next && all.length < 50; next = within(next)) all.push(next);
  return all;
}

/** What is left of a schema without optional, default, preprocessing and the like. */
export function core(schema: Schema): Schema {
  return layers(schema).at(-1)!;
}

function within(schema: Schema): Schema | undefined {
  const definition = definitionOf(schema);
  if (definition.type === 'pipe') {
    const { in: input, out } = definition;
    return input && definitionOf(input).type === 'transform' ? out : input;
  }
  if (definition.type === 'lazy') return definition.getter?.();
  return definition.innerType;
}

/** All that `.meta()` said, an outer schema's word before an inner one's. */
export function metaOf(schema: Schema): KeyMeta {
  return Object.assign(
    {},
    ...layers(schema)
      .reverse()
      .map((layer) => (layer as z.ZodType).meta?.()),
  );
}

/** What a key is when it is not written, where the schema says so. */
export function defaultOf(schema: Schema): unknown {
  const layer = layers(schema).find((candidate) => definitionOf(candidate).defaultValue !== undefined);
  return layer && definitionOf(layer).defaultValue;
}

/** The keys that a value of this schema may have, with their schemas; those of all branches of a union. */
export function shapeOf(schema: Schema): ReadonlyMap<string, Schema> {
  const { shape, options, left, right } = definitionOf(core(schema));
  const branches = options ?? [left, right].filter((side) => side !== undefined);
  return new Map([...branches.flatMap((branch) => [...shapeOf(branch)]), ...Object.entries(shape ?? {})]);
}

/** The schema of what lies under `key` in a value of this schema, where that can be told. */
export function childOf(schema: Schema, key: PropertyKey): Schema | undefined {
  const inner = core(schema);
  const { element, valueType, items, catchall, options, left, right } = definitionOf(inner);
  if (typeof key === 'number') {
    const direct = element ?? items?.[key];
    if (direct) return direct;
  }
  const named = shapeOf(inner).get(String(key)) ?? valueType ?? catchall;
  if (named) return named;
  for (const branch of [...(options ?? []), left, right]) {
    const found = branch && childOf(branch, key);
    if (found) return found;
  }
  return undefined;
}
