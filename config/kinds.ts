import { parseBoolean, parseDecimal, parseInteger } from './conversions.js';
import type { Located } from './located.js';
import { quoteName } from './names.js';
import { branches, defaultOf, definitionOf, keysOf, metaOf, type Schema } from './shape.js';

/** A kind of value, as a phrase that follows "must be". */
export type Kind = string;

const phrases: Readonly<Record<string, Kind>> = {
  string: 'text',
  number: 'a number',
  int: 'an integer',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'an object',
  record: 'an object',
  null: 'null',
};

/** The kinds of values that a schema accepts. */
export function kindsOf(schema: Schema): Kind[] {
  const kinds = branches(schema).flatMap((branch) => {
    const { type, values, entries } = definitionOf(branch);
    const words = values ?? (entries && Object.values(entries));
    if (words) return words.map((word) => JSON.stringify(word));
    return [kindOf(type === 'number' && isInteger(branch) ? 'int' : type)];
  });
  return [...new Set(kinds)];
}

/** The kind that zod calls by this name. */
export function kindOf(type: string): Kind {
  return phrases[type] ?? `of type ${type}`;
}

function isInteger(schema: Schema): boolean {
  const { format, checks = [] } = definitionOf(schema);
  return [format, ...checks.map((check) => check._zod.def.format)].some((name) => name?.includes('int'));
}

/** The value as a message describes it, without its text if it is a secret. */
export function describe(value: unknown, secret: boolean): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value === 'string') return secret ? 'text' : `the text ${quoteName(value)}`;
  return secret ? `a ${typeof value}` : String(value);
}

/** The value rewritten as one of these kinds, `port=int:6123`, if there is no doubt what is meant. */
export function rewritten(key: PropertyKey, at: Located, kinds: readonly Kind[]): string | undefined {
  const { value, notation, written = '' } = at;
  for (const kind of kinds) {
    const found = convert(value, kind);
    if (found === undefined) continue;
    if (notation === 'json') return writeJson(key, found);
    if (kind === phrases.array) return writeIni(key, `${prefixes[kind]}${withBlanks(written)}`);
    if (kind !== phrases.string) return writeIni(key, `${prefixes[kind]}${written}`);
    if (!written.includes('$')) return writeIni(key, String(found));
  }
  return undefined;
}

/** Items as a list has them: nobody who writes commas where a list belongs means one item. */
export function withBlanks(written: string): string {
  return written
    .split(/[\s,]+/)
    .filter((item) => item !== '')
    .join(' ');
}

function convert(value: unknown, kind: Kind): unknown {
  if (kind === phrases.string)
    return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
  if (typeof value !== 'string') return undefined;
  if (kind === phrases.array) return value.trim() === '' ? undefined : [value];
  if (kind === phrases.int) return parseInteger(value);
  if (kind === phrases.number) return parseDecimal(value);
  return kind === phrases.boolean ? parseBoolean(value) : undefined;
}

/** An example of a value that the schema accepts: `port=int:6123`, `"port": 6123`. */
export function example(key: PropertyKey, schema: Schema | undefined, notation: Located['notation']): string {
  const value = schema ? exampleOf(schema) : 'VALUE';
  return notation === 'json' ? writeJson(key, value) : writeIni(key, iniText(value));
}

function exampleOf(schema: Schema, depth = 0): unknown {
  const fromAuthor = metaOf(schema).example ?? defaultOf(schema);
  if (fromAuthor !== undefined && !isEmptyList(fromAuthor)) return fromAuthor;
  const branch = branches(schema)[0] ?? schema;
  const { type, entries, values, element } = definitionOf(branch);
  if (entries) return Object.values(entries)[0];
  if (values) return values[0];
  if (type === 'number') return rangeOf(branch).minimum ?? 1;
  if (type === 'boolean') return true;
  if (type === 'array') return element && depth < 2 ? [exampleOf(element, depth + 1)] : [];
  if (type === 'object') {
    const needed = depth < 2 ? [...keysOf(branch)].filter(([, value]) => value._zod.optin === undefined) : [];
    return Object.fromEntries(needed.map(([key, value]) => [key, exampleOf(value, depth + 1)]));
  }
  if (type === 'record') return {};
  return 'TEXT';
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** The bounds that a schema's author set to a number. */
export function rangeOf(schema: Schema): { minimum?: number; maximum?: number } {
  const { minValue, maxValue } = schema as { minValue?: number | null; maxValue?: number | null };
  return {
    ...(typeof minValue === 'number' && minValue > Number.MIN_SAFE_INTEGER && { minimum: minValue }),
    ...(typeof maxValue === 'number' && maxValue < Number.MAX_SAFE_INTEGER && { maximum: maxValue }),
  };
}

function writeJson(key: PropertyKey, value: unknown): string {
  return typeof key === 'string' ? `${JSON.stringify(key)}: ${JSON.stringify(value)}` : JSON.stringify(value);
}

function writeIni(key: PropertyKey, text: string): string {
  return typeof key === 'string' ? `${key}=${text}` : text;
}

const prefixes: Readonly<Record<Kind, string>> = {
  'an integer': 'int:',
  'a number': 'float:',
  'true or false': 'bool:',
  'a list': 'list:',
};

/** A value as an INI file has it: `int:5`, `list:a b`. */
function iniText(value: unknown): string {
  if (typeof value === 'number') return `${Number.isInteger(value) ? 'int:' : 'float:'}${value}`;
  if (typeof value === 'boolean') return `bool:${value}`;
  if (typeof value !== 'object') return String(value);
  const isList = Array.isArray(value) && value.every((item) => typeof item !== 'object');
  return isList ? `list:${value.map((item) => iniText(item)).join(' ')}` : 'json=FILE';
}
