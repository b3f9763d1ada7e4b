import type { z } from 'zod';

/** What a schema may declare with `.meta()`, for this reader and for reference pages. */
export interface KeyMeta {
  readonly description?: string;
  /** An example value, for messages about a missing one. */
  readonly example?: unknown;
  /** The value must never be shown. */
  readonly secret?: boolean;
  /** Other names of the key. */
  readonly aliases?: readonly string[];
  /** The unit: `seconds`, `bytes`. */
  readonly unit?: string;
}

export type Schema = z.core.$ZodType;

/** The parts of a schema's definition that are looked into here; zod has no type that all schemas share for them. */
interface Definition {
  readonly type: string;
  readonly innerType?: Schema;
  readonly in?: Schema;
  readonly out?: Schema;
  readonly getter?: () => Schema;
  readonly shape?: Readonly<Record<string, Schema>>;
  readonly catchall?: Schema;
  readonly element?: Schema;
  readonly items?: readonly Schema[];
  readonly rest?: Schema | null;
  readonly keyType?: Schema;
  readonly valueType?: Schema;
  readonly options?: readonly Schema[];
  readonly left?: Schema;
  readonly right?: Schema;
  readonly defaultValue?: unknown;
  readonly entries?: Readonly<Record<string, string | number>>;
  readonly values?: readonly unknown[];
  readonly format?: string;
  readonly checks?: readonly { readonly _zod: { readonly def: { readonly format?: string } } }[];
}

export function definitionOf(schema: Schema): Definition {
  return schema._zod.def as unknown as Definition;
}

/** The schemas that finally check a value: without defaults and preprocessing, and each branch of a union by itself. */
export function branches(schema: Schema): Schema[] {
  const found = new Set<Schema>();
  const seen = new Set<Schema>();
  const visit = (next: Schema) => {
    if (seen.has(next)) return;
    seen.add(next);
    const { options, left, right } = definitionOf(next);
    const inner = wrapped(next);
    const parts = inner ? [inner] : [...(options ?? []), left, right].filter((part) => part !== undefined);
    if (parts.length === 0) found.add(next);
    for (const part of parts) visit(part);
  };
  visit(schema);
  return [...found];
}

/** Everything from `.meta()`; an outer schema overrides an inner one. */
export function metaOf(schema: Schema): KeyMeta {
  return Object.assign(
    {},
    ...layers(schema)
      .reverse()
      .map((layer) => (layer as z.ZodType).meta?.()),
  );
}

/** The default of a key, if the schema has one. */
export function defaultOf(schema: Schema): unknown {
  return layers(schema)
    .map((layer) => definitionOf(layer).defaultValue)
    .find((value) => value !== undefined);
}

/** The keys that an object schema declares. */
export function keysOf(schema: Schema): ReadonlyMap<string, Schema> {
  const keys = new Map<string, Schema>();
  for (const branch of branches(schema)) {
    const { shape = {}, keyType, valueType } = definitionOf(branch);
    for (const [key, value] of Object.entries(shape)) if (!keys.has(key)) keys.set(key, value);
    const names = keyType && Object.values(definitionOf(keyType).entries ?? {});
    for (const name of names ?? [])
      if (valueType && !keys.has(String(name))) keys.set(String(name), valueType);
  }
  return keys;
}

/** Whether an object of this schema may have only the keys of `keysOf`. */
export function isClosed(schema: Schema): boolean {
  const definitions = branches(schema).map(definitionOf);
  const takesAny = definitions.some(({ type, shape, catchall }) =>
    shape
      ? catchall && definitionOf(catchall).type !== 'never'
      : ['record', 'any', 'unknown', 'custom', 'transform'].includes(type),
  );
  return !takesAny && definitions.some(({ shape }) => shape);
}

/** The schemas that may apply to the value at `key`. */
export function childSchemas(schema: Schema, key: PropertyKey): Schema[] {
  return branches(schema).flatMap((branch) => {
    const { shape, catchall, valueType, element, items, rest } = definitionOf(branch);
    if (typeof key === 'number') return [element ?? items?.[key] ?? rest].filter((item) => item != null);
    const name = String(key);
    const named = shape && Object.hasOwn(shape, name) ? shape[name] : (valueType ?? catchall);
    return named ? [named] : [];
  });
}

/** The schema and those that it wraps, from the outside in. */
function layers(schema: Schema): Schema[] {
  const all = new Set<Schema>();
  for (let next: Schema | undefined = schema; next && !all.has(next); next = wrapped(next)) all.add(next);
  return [...all];
}

/** What is behind a wrapper: of a preprocessed or transformed value, the schema that checks it. */
function wrapped(schema: Schema): Schema | undefined {
  const { type, in: input, out, getter, innerType } = definitionOf(schema);
  if (type === 'pipe') return input && definitionOf(input).type === 'transform' ? out : input;
  return type === 'lazy' ? getter?.() : innerType;
}
