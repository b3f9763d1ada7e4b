import type { z } from 'zod';
import { kindsOf, rangeOf } from './kinds.js';
import { branches, defaultOf, type KeyMeta, keysOf, metaOf } from './shape.js';

/** One key of a section or of a plugin's parameters, as a reference page shows it. */
export interface KeyReference {
  readonly name: string;
  /** The kinds of values that it accepts: `an integer`, `text`, `"json"`. */
  readonly kinds: readonly string[];
  /** The bounds of a number, where its schema sets them. */
  readonly minimum?: number;
  readonly maximum?: number;
  /** Undefined where there is none. */
  readonly default: unknown;
  readonly meta: KeyMeta;
}

/** The keys of an object schema, in its order. A page generated from them cannot drift from the code. */
export function describeKeys(schema: z.ZodType): KeyReference[] {
  return [...keysOf(schema)].map(([name, child]) => ({
    name,
    kinds: kindsOf(child),
    ...Object.assign({}, ...branches(child).map(rangeOf)),
    default: defaultOf(child),
    meta: metaOf(child),
  }));
}
