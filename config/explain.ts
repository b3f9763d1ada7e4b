import type { z } from 'zod';
import { childAt, type Located } from './located.js';
import { nearest, quoteName } from './names.js';
import { parseBoolean, parseDecimal, parseInteger } from './numbers.js';
import { childOf, core, defaultOf, definitionOf, metaOf, shapeOf } from './shape.js';

/** Stands for the message of an issue to which the schema's author gave none. */
export const noMessage = '\u0000';

/** What is wrong with a value, for people. */
export interface Explanation {
  readonly at: Located;
  /** It is the key, rather than the value, that is pointed at. */
  readonly atKey?: boolean;
  readonly message: string;
  readonly hint?: string;
}

interface Context {
  readonly located: Located;
  readonly schema: z.core.$ZodType;
  readonly where: string;
  readonly alsoKnown: readonly string[];
}

type Issue = z.core.$ZodIssue;
type Schema = z.core.$ZodType;
type Path = readonly PropertyKey[];

/** Says what an issue of zod's means for somebody who looks at the file. */
export function explain(issue: Issue, context: Context): Explanation[] {
  if (issue.code === 'unrecognized_keys') {
    const found = find(context, issue.path);
    return issue.keys
      .filter((key) => issue.path.length > 0 || !context.alsoKnown.includes(key))
      .map((key) =>
        unknownKey(
          childAt(found.at, key) ?? found.at,
          key,
          issue.path,
          found.schema ?? context.schema,
          context,
        ),
      );
  }
  if (issue.code === 'invalid_union' && issue.message === noMessage) {
    const closest = closestBranch(issue);
    if (closest) {
      return closest.flatMap((inner) => explain({ ...inner, path: [...issue.path, ...inner.path] }, context));
    }
  }
  return [explainValue(issue, context)];
}

export function unknownKey(
  at: Located,
  key: string,
  path: Path,
  schema: Schema,
  { where, alsoKnown }: Pick<Context, 'where' | 'alsoKnown'>,
): Explanation {
  const known = [...shapeOf(schema).keys(), ...(path.length === 0 ? alsoKnown : [])];
  const near = nearest(key, known);
  const hint = near !== undefined ? `did you mean ${quoteName(near)}?` : knownKeys(known);
  const place = path.length === 0 ? where : `${quoteName(pathName(path))} of ${where}`;
  return { at, atKey: true, message: `unknown key ${quoteName(key)} in ${place}`, ...(hint && { hint }) };
}

function knownKeys(known: readonly string[]): string {
  if (known.length === 0) return 'it takes no keys';
  const shown = known.slice(0, 12).join(', ');
  return `known ${known.length === 1 ? 'is' : 'are'} ${shown}${known.length > 12 ? ', …' : ''}`;
}

/** The issues of the branch that the value was meant for: the one that got past its type; of several, the shortest. */
function closestBranch(issue: Issue & { code: 'invalid_union' }): Issue[] | undefined {
  const past = issue.errors.filter(
    (issues) => !issues.some((inner) => inner.path.length === 0 && isType(inner)),
  );
  if (past.length === 0) return undefined;
  return past.reduce((best, next) => (next.length < best.length ? next : best));
}

function isType(issue: Issue): boolean {
  return issue.code === 'invalid_type' || issue.code === 'invalid_value';
}

/** Where a path of zod's leads: the value there or the nearest one around it, and the schema of the place. */
function find({ located, schema }: Pick<Context, 'located' | 'schema'>, path: Path) {
  let at = located;
  let place: Schema | undefined = schema;
  let secret = metaOf(schema).secret === true;
  let reached = 0;
  for (const [index, key] of path.entries()) {
    place = place && childOf(place, key);
    const child = reached === index ? childAt(at, key) : undefined;
    if (child) {
      at = child;
      reached += 1;
    }
    secret ||= place !== undefined && metaOf(place).secret === true;
  }
  return { at, schema: place, secret: secret || at.secret, absent: reached < path.length };
}

function explainValue(issue: Issue, context: Context): Explanation {
  const { at, schema, secret, absent } = find(context, issue.path);
  const key = issue.path.at(-1);
  const subject =
    key === undefined ? context.where : `${quoteName(pathName(issue.path))} in ${context.where}`;
  const isMissing = absent && at.children !== undefined;
  if (issue.message !== noMessage) {
    return { at, atKey: isMissing, message: `${subject}: ${withoutSecrets(issue.message, at, secret)}` };
  }
  if (isMissing && key !== undefined) {
    const form = writtenAs(key, exampleOf(schema), notationWithin(at));
    return { at, atKey: true, message: `${subject} is missing`, hint: `write ${form}` };
  }
  const { must, hint } = demand(issue, at, schema, secret, key);
  const message = `${subject} ${must}${showsValue(issue) ? `, but is ${describe(at.value, secret)}` : ''}`;
  return { at, message, ...(hint && { hint }) };
}

function showsValue(issue: Issue): boolean {
  return (
    ['invalid_type', 'invalid_value', 'invalid_union', 'not_multiple_of', 'too_small', 'too_big'].includes(
      issue.code,
    ) &&
    !(issue.code === 'too_small' || issue.code === 'too_big'
      ? issue.origin !== 'number' && issue.origin !== 'int'
      : false)
  );
}

/** What the value must be, and how to write it. */
function demand(
  issue: Issue,
  at: Located,
  schema: Schema | undefined,
  secret: boolean,
  key: PropertyKey | undefined,
) {
  const form = (value: unknown) =>
    key === undefined ? undefined : `write ${writtenAs(key, value, at.notation)}`;
  switch (issue.code) {
    case 'invalid_type':
    case 'invalid_union': {
      const kinds = issue.code === 'invalid_type' ? [kindOf(issue.expected, schema)] : kindsOf(schema);
      const corrected = secret
        ? undefined
        : kinds.map((kind) => convert(at.value, kind)).find((value) => value !== undefined);
      const options = 'options' in issue ? issue.options : undefined;
      if (options) return oneOf(options, at.value, secret);
      return { must: `must be ${either(kinds)}`, hint: form(corrected ?? exampleOf(schema)) };
    }
    case 'invalid_value':
      return oneOf(issue.values, at.value, secret);
    case 'too_small':
    case 'too_big':
      return { must: limit(issue), hint: undefined };
    case 'invalid_format':
      return { must: formatDemand(issue), hint: undefined };
    case 'not_multiple_of':
      return { must: `must be a multiple of ${issue.divisor}`, hint: undefined };
    case 'invalid_key':
      return { must: 'is not allowed as a key', hint: undefined };
    default:
      return { must: 'is not valid', hint: undefined };
  }
}

function oneOf(values: readonly unknown[], found: unknown, secret: boolean) {
  const shown = values.map((value) => (typeof value === 'string' ? quoteName(value) : String(value)));
  const near = secret || typeof found !== 'string' ? undefined : nearest(found, values.map(String));
  return {
    must: `must be ${shown.length > 1 ? 'one of ' : ''}${shown.join(', ')}`,
    hint: near === undefined ? undefined : `did you mean ${quoteName(near)}?`,
  };
}

function limit(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig): string {
  const small = issue.code === 'too_small';
  const bound = small ? issue.minimum : issue.maximum;
  const [verb, unit] =
    issue.origin === 'string'
      ? ['have', bound === 1 ? ' character' : ' characters']
      : issue.origin === 'array' || issue.origin === 'set'
        ? ['have', bound === 1 ? ' item' : ' items']
        : ['be', ''];
  const relation = issue.exact
    ? 'exactly'
    : issue.inclusive === false
      ? small
        ? 'more than'
        : 'less than'
      : small
        ? 'at least'
        : 'at most';
  return `must ${verb} ${relation} ${bound}${unit}`;
}

const formats: Readonly<Record<string, string>> = {
  url: 'a URL',
  email: 'an e-mail address',
  uuid: 'a UUID',
  ipv4: 'an IPv4 address',
  ipv6: 'an IPv6 address',
  hostname: 'a host name',
  base64: 'base64 text',
  base64url: 'base64url text',
  datetime: 'a date and time such as 2025-01-31T12:00:00Z',
  date: 'a date such as 2025-01-31',
  duration: 'a duration such as PT5M',
};

function formatDemand(issue: z.core.$ZodIssueInvalidStringFormat): string {
  const { prefix, suffix, includes } = issue as { prefix?: string; suffix?: string; includes?: string };
  if (prefix !== undefined) return `must start with ${quoteName(prefix)}`;
  if (suffix !== undefined) return `must end with ${quoteName(suffix)}`;
  if (includes !== undefined) return `must contain ${quoteName(includes)}`;
  if (issue.format === 'regex') return `must match ${issue.pattern}`;
  return `must be ${formats[issue.format] ?? `a valid ${issue.format}`}`;
}

/** A kind of value, as a phrase that follows "must be". */
type Kind = string;

const kinds: Readonly<Record<string, Kind>> = {
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

function kindOf(expected: string, schema: Schema | undefined): Kind {
  if (expected === 'number' && schema && isInteger(schema)) return kinds.int!;
  return kinds[expected] ?? `of type ${expected}`;
}

function kindsOf(schema: Schema | undefined): Kind[] {
  if (!schema) return ['another value'];
  const inner = core(schema);
  const { options, type, values, entries } = definitionOf(inner);
  if (options) return [...new Set(options.flatMap((option) => kindsOf(option)))];
  const literals = values ?? (entries && Object.values(entries));
  if (literals) return literals.map((value) => JSON.stringify(value));
  return [kindOf(type, inner)];
}

function isInteger(schema: Schema): boolean {
  const { format, checks = [] } = core(schema)._zod.def as {
    format?: string;
    checks?: { _zod: { def: { format?: string } } }[];
  };
  return [format, ...checks.map((check) => check._zod.def.format)].some((name) => name?.includes('int'));
}

/** The value as it would have to be written to be of that kind, where the text leaves no doubt. */
function convert(value: unknown, kind: Kind): unknown {
  const isText = typeof value === 'string';
  if (kind === kinds.int) return isText ? parseInteger(value) : undefined;
  if (kind === kinds.number) return isText ? parseDecimal(value) : undefined;
  if (kind === kinds.boolean) return isText ? parseBoolean(value) : undefined;
  if (kind === kinds.string)
    return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
  if (kind === kinds.array) return isText || typeof value === 'number' ? [value] : undefined;
  return undefined;
}

/** A value that the schema takes, to show where one has to be written. */
function exampleOf(schema: Schema | undefined): unknown {
  if (!schema) return 'VALUE';
  const fromAuthor = metaOf(schema).example ?? defaultOf(schema);
  if (fromAuthor !== undefined) return fromAuthor;
  const inner = core(schema);
  const { type, entries, values, element, options } = definitionOf(inner);
  if (entries) return Object.values(entries)[0];
  if (values) return values[0];
  if (options?.[0]) return exampleOf(options[0]);
  if (type === 'number') {
    const { minimum } = inner._zod.bag as { minimum?: number };
    return minimum !== undefined && minimum > Number.MIN_SAFE_INTEGER ? minimum : 1;
  }
  if (type === 'boolean') return true;
  if (type === 'array') return [exampleOf(element)];
  if (type === 'object' || type === 'record') return {};
  return 'TEXT';
}

/** How a key of this object would be written: as JSON where all it has is JSON. */
function notationWithin(at: Located): Located['notation'] {
  if (at.notation !== 'parameter' || !(at.children instanceof Map) || at.children.size === 0)
    return at.notation;
  return [...at.children.values()].every((child) => child.notation === 'json') ? 'json' : 'parameter';
}

function writtenAs(key: PropertyKey, value: unknown, notation: Located['notation']): string {
  const name = typeof key === 'number' ? '' : String(key);
  if (notation === 'json') return `${name && `${JSON.stringify(name)}: `}${JSON.stringify(value)}`;
  return `${name && `${name}=`}${iniText(value)}`;
}

function iniText(value: unknown): string {
  if (typeof value === 'number') return `${Number.isInteger(value) ? 'int' : 'float'}:${value}`;
  if (typeof value === 'boolean') return `bool:${value}`;
  if (Array.isArray(value) && value.every((item) => typeof item !== 'object')) {
    return `list:${value.map(iniText).join(' ')}`;
  }
  return typeof value === 'object' ? 'json=FILE' : String(value);
}

function describe(value: unknown, secret: boolean): string {
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (secret) return typeof value === 'string' ? 'text' : `a ${typeof value}`;
  return typeof value === 'string' ? `the text ${quoteName(value)}` : String(value);
}

function either(phrases: readonly string[]): string {
  return phrases.length < 2
    ? (phrases[0] ?? 'another value')
    : `${phrases.slice(0, -1).join(', ')} or ${phrases.at(-1)}`;
}

/** `servers[0].host` */
function pathName(path: Path): string {
  return path.reduce<string>(
    (name, key) =>
      typeof key === 'number' ? `${name}[${key}]` : name === '' ? String(key) : `${name}.${String(key)}`,
    '',
  );
}

/** A message by the schema's author may repeat the value. */
function withoutSecrets(message: string, at: Located, secret: boolean): string {
  const texts = secretTexts(at, secret).sort((a, b) => b.length - a.length);
  return texts.reduce((shown, text) => shown.replaceAll(text, '***'), message);
}

function secretTexts(at: Located, secret: boolean): string[] {
  const children = at.children ? [...at.children.values()] : [];
  const own =
    (secret || at.secret) && children.length === 0 && at.value !== undefined ? [String(at.value)] : [];
  return [...own, ...children.flatMap((child) => secretTexts(child, secret))].filter((text) => text !== '');
}
