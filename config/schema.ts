import { z } from 'zod';
import { type Explanation, explain, noMessage, unknownKey } from './explain.js';
import { type Located, plainValue } from './located.js';
import { NameMap, quoteName } from './names.js';
import { core, definitionOf, metaOf, shapeOf } from './shape.js';

/** Who is told what a check finds. */
export interface Reporter {
  report(explanation: Explanation): void;
  /** The value turns out to be a secret, though its key does not sound like one. */
  hide(located: Located): void;
}

export interface CheckOptions {
  /** Keys that are taken elsewhere: not to be complained of, and worth suggesting for a misspelt one. */
  readonly alsoKnown?: readonly string[];
}

/**
 * Checks a value against a schema and gives the schema's output, or undefined after having reported everything that is
 * wrong. Keys that an object schema does not have are wrong too, unless it is a loose one: in a configuration a
 * misspelt key must not pass in silence. `where` names the place in messages: `[network]`.
 */
export function checkValue<Output>(
  given: Located,
  schema: z.ZodType<Output>,
  where: string,
  reporter: Reporter,
  { alsoKnown = [] }: CheckOptions = {},
): Output | undefined {
  if (given.broken) return undefined;
  let sound = true;
  const report = (explanation: Explanation) => {
    sound = false;
    if (!explanation.at.broken) reporter.report(explanation);
  };
  const located = canonical(given, schema, report);
  const walk: Walk = { where, alsoKnown, report, hide: (secret) => reporter.hide(secret) };
  inspect(located, schema, [], true, walk);
  const result = z.safeParse(schema, located.value, { error: () => noMessage });
  if (result.success) return sound ? result.data : undefined;
  for (const issue of result.error.issues) {
    for (const explanation of explain(issue, { located, schema, where, alsoKnown })) report(explanation);
  }
  return undefined;
}

/** The value with its keys named as the schema names them: INI text is matched without case, and may use aliases. */
function canonical(
  located: Located,
  schema: z.core.$ZodType,
  report: (explanation: Explanation) => void,
): Located {
  const shape = shapeOf(schema);
  if (!(located.children instanceof NameMap) || shape.size === 0) return located;
  const names = new NameMap<string>();
  for (const [name, child] of shape) for (const alias of metaOf(child).aliases ?? []) names.set(alias, name);
  for (const name of shape.keys()) names.set(name, name);
  const children = new NameMap<Located>();
  for (const [written, child] of located.children as NameMap<Located>) {
    const name = names.get(written) ?? written;
    if (!children.has(name)) children.set(name, child);
    else
      report({
        at: child,
        atKey: true,
        message: `${quoteName(written)} is another name of ${quoteName(name)}, which is given too`,
        hint: 'remove one of the two',
      });
  }
  return { ...located, children, value: plainValue(children) };
}

interface Walk {
  readonly where: string;
  readonly alsoKnown: readonly string[];
  report(explanation: Explanation): void;
  hide(located: Located): void;
}

/** Finds unknown keys and marks secrets. Of a union or an intersection one branch alone cannot tell what is unknown. */
function inspect(
  located: Located,
  schema: z.core.$ZodType,
  path: PropertyKey[],
  strict: boolean,
  walk: Walk,
): void {
  if (metaOf(schema).secret && !located.secret) walk.hide(located);
  const { children } = located;
  if (!children) return;
  const definition = definitionOf(core(schema));
  if (Array.isArray(children)) {
    const { element, items } = definition;
    for (const [index, child] of children.entries()) {
      const item = element ?? items?.[index];
      if (item) inspect(child, item, [...path, index], strict, walk);
    }
    return;
  }
  for (const branch of definition.options ?? []) inspect(located, branch, path, false, walk);
  for (const side of [definition.left, definition.right]) if (side) inspect(located, side, path, false, walk);
  const { shape, catchall, valueType } = definition;
  if (!shape && !valueType) return;
  for (const [key, child] of children as ReadonlyMap<string, Located>) {
    const known = shape && Object.hasOwn(shape, key) ? shape[key] : (catchall ?? valueType);
    if (known && definitionOf(known).type !== 'never') inspect(child, known, [...path, key], strict, walk);
    else if (strict && !(path.length === 0 && walk.alsoKnown.includes(key))) {
      walk.report(unknownKey(child, key, path, schema, walk));
    }
  }
}

/** The value without some of its keys, and those keys' values: for a line of which two readers each take a part. */
export function splitKeys(located: Located, keys: readonly string[]): { taken: Located; rest: Located } {
  const taken = new NameMap<Located>();
  const rest = new NameMap<Located>();
  const wanted = new Set(keys.map((key) => key.toLowerCase()));
  for (const [key, child] of (located.children ?? []) as ReadonlyMap<string, Located>) {
    (wanted.has(key.toLowerCase()) ? taken : rest).set(key, child);
  }
  const part = (children: NameMap<Located>) => ({ ...located, children, value: plainValue(children) });
  return { taken: part(taken), rest: part(rest) };
}
