import { z } from 'zod';
import { type Explanation, explain, noMessage, type Subject, unknownKey, withoutSecrets } from './explain.js';
import { childAt, childrenOf, everything, type Located, plainObject } from './located.js';
import { NameMap, quoteName } from './names.js';
import { childSchemas, isClosed, keysOf, metaOf, type Schema } from './shape.js';

/** Receives what a check finds. */
export interface Reporter {
  report(explanation: Explanation): void;
  /** The value turns out to be a secret, though its key does not sound like one. */
  hide(located: Located): void;
}

export interface CheckOptions {
  /** Keys that are read elsewhere: they are not unknown, and a misspelt key is compared with them, too. */
  readonly alsoKnown?: readonly string[];
}

/**
 * Checks a value against a schema and returns the schema's output, or undefined once everything that is wrong has been
 * reported. Keys that an object schema does not have are wrong too, unless the schema is loose: a misspelt key must not go
 * unnoticed. `where` names the place in messages: `[network]`.
 */
export function checkValue<Output>(
  given: Located,
  schema: z.ZodType<Output>,
  where: string,
  reporter: Reporter,
  { alsoKnown = [] }: CheckOptions = {},
): Output | undefined {
  let isSound = !given.broken;
  const misspelt = new Set<string>();
  const report = (explanation: Explanation) => {
    isSound = false;
    if (explanation.meant !== undefined) misspelt.add(explanation.meant);
    if (explanation.isSecret) reporter.hide(explanation.at);
    if (explanation.missing !== undefined && misspelt.has(explanation.missing)) return;
    if (!explanation.at.broken || explanation.evenIfBroken) reporter.report(explanation);
  };
  if (!('_zod' in schema)) {
    report({
      at: given,
      atKey: true,
      message: `the schema for ${where} is not a schema of zod 4`,
      hint: foreignSchema,
    });
    return undefined;
  }
  const located = canonical(given, schema, report);
  const subject: Subject = { located, schema, where, alsoKnown };
  inspect(located, [schema], [], { subject, report, hide: (secret) => reporter.hide(secret) });
  try {
    const result = z.safeParse(schema, located.value, { error: () => noMessage });
    for (const issue of result.error?.issues ?? [])
      for (const found of explain(issue, subject)) report(found);
    return isSound ? result.data : undefined;
  } catch (error) {
    // The schema's own code threw, or returned a promise.
    const reason = withoutSecrets(String((error as Error)?.message ?? error).split('\n', 1)[0]!, located);
    report({
      at: located,
      atKey: true,
      message: `the schema for ${where} failed: ${reason}`,
      hint: brokenSchema,
    });
    return undefined;
  }
}

const foreignSchema = 'create it with the z of this package';
const brokenSchema = 'a schema checks at once, and reports what is wrong without throwing';

/** The value with its keys as the schema spells them: keys in INI text are not case-sensitive, and may be aliases. */
function canonical(located: Located, schema: Schema, report: (explanation: Explanation) => void): Located {
  if (!(located.fields instanceof NameMap)) return located;
  const names = new NameMap<string>();
  for (const [name, child] of keysOf(schema)) {
    names.set(name, name);
    for (const alias of metaOf(child).aliases ?? []) names.set(alias, name);
  }
  const fields = new NameMap<Located>();
  const first = new Map<string, string>();
  for (const [written, child] of located.fields) {
    const name = names.get(written) ?? written;
    if (fields.has(name)) {
      const message = `${quoteName(first.get(name)!)} and ${quoteName(written)} are names of one key, and both are given`;
      report({ at: child, atKey: true, evenIfBroken: true, message, hint: 'remove one of the two' });
    } else {
      fields.set(name, child);
      first.set(name, written);
    }
  }
  return { ...located, fields, value: plainObject(fields) };
}

interface Inspection {
  readonly subject: Subject;
  report(explanation: Explanation): void;
  hide(located: Located): void;
}

/** Finds unknown keys and marks secrets, all the way down. */
function inspect(
  located: Located,
  schemas: readonly Schema[],
  path: PropertyKey[],
  inspection: Inspection,
): void {
  if (!located.secret && schemas.some((schema) => metaOf(schema).secret)) inspection.hide(located);
  const isObject = located.fields !== undefined;
  const closed = isObject && schemas.length > 0 && schemas.every(isClosed);
  const known = new Set(schemas.flatMap((schema) => [...keysOf(schema).keys()]));
  for (const [key, child] of childrenOf(located)) {
    const inner = [...path, key];
    const isKnown =
      known.has(String(key)) || (path.length === 0 && inspection.subject.alsoKnown.includes(String(key)));
    if (closed && !isKnown) inspection.report(unknownKey(inner, child, inspection.subject));
    else
      inspect(
        child,
        schemas.flatMap((schema) => childSchemas(schema, key)),
        inner,
        inspection,
      );
  }
}

/**
 * What can be used of a section with mistakes: each valid key, and the default of every other. `wrong` names the keys
 * whose value is not the one that was meant.
 */
export function soundPart<Output>(
  given: Located,
  schema: z.ZodType<Output>,
): { value: Output; wrong: ReadonlySet<string> } {
  const located = canonical(given, schema, () => {});
  const wrong = new Set<string>();
  const value: Record<string, unknown> = {};
  for (const [key, child] of keysOf(schema)) {
    const written = childAt(located, key);
    const isSound = written === undefined || ![...everything(written)].some(({ broken }) => broken);
    const result = isSound ? z.safeParse(child, written?.value) : undefined;
    if (!result?.success) wrong.add(key);
    value[key] = result?.success ? result.data : z.safeParse(child, undefined).data;
  }
  return { value: value as Output, wrong };
}

/** Splits the value in two, of which the first part has these keys: for a line that two readers share. */
export function splitKeys(located: Located, keys: readonly string[]): { taken: Located; rest: Located } {
  const taken = new NameMap<Located>();
  const rest = new NameMap<Located>();
  const wanted = new NameMap<true>();
  for (const key of keys) wanted.set(key, true);
  for (const [key, child] of located.fields ?? []) {
    (wanted.has(key) ? taken : rest).set(key, child);
  }
  const part = (fields: NameMap<Located>) => ({ ...located, fields, value: plainObject(fields) });
  return { taken: part(taken), rest: part(rest) };
}
