import type { z } from 'zod';
import { describe, example, kindOf, kindsOf, rewritten, withBlanks } from './kinds.js';
import { childAt, everything, type Located } from './located.js';
import { nearest, quoteName } from './names.js';
import { childSchemas, keysOf, metaOf, type Schema } from './shape.js';
import { mask } from './source.js';

/** Marks an issue for which the schema's author wrote no message. */
export const noMessage = '\u0000';

/** What is wrong with a value, for people. */
export interface Explanation {
  readonly at: Located;
  /** The message points at the key instead of the value. */
  readonly atKey?: boolean;
  /** Report it even if the value at the key is broken. */
  readonly evenIfBroken?: boolean;
  /** `missing`: the path of a missing key. `meant`: the path of the key that an unknown key probably stands for. */
  readonly missing?: string;
  readonly meant?: string;
  /** The value must not be shown, because the key that was meant is a secret. */
  readonly isSecret?: boolean;
  readonly message: string;
  readonly hint?: string | undefined;
}

export interface Subject {
  readonly located: Located;
  readonly schema: Schema;
  /** How messages name it: `[network]`. */
  readonly where: string;
  /** Keys that it may have in addition to those of the schema. */
  readonly alsoKnown: readonly string[];
}

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** Explains an issue of zod to somebody who looks at the file. */
export function explain(issue: Issue, subject: Subject): Explanation[] {
  if (issue.code === 'unrecognized_keys') {
    const { at } = find(subject, issue.path);
    return issue.keys
      .filter((key) => issue.path.length > 0 || !subject.alsoKnown.includes(key))
      .map((key) => unknownKey([...issue.path, key], childAt(at, key) ?? at, subject));
  }
  const closest =
    issue.code === 'invalid_union' && issue.message === noMessage ? closestBranch(issue.errors) : undefined;
  if (!closest) return [explainValue(issue, subject)];
  return closest.flatMap((inner) => explain({ ...inner, path: [...issue.path, ...inner.path] }, subject));
}

export function unknownKey(path: Path, at: Located, subject: Subject): Explanation {
  const around = path.slice(0, -1);
  const name = String(path.at(-1));
  const known = schemasAt(subject.schema, around).flatMap((schema) => [...keysOf(schema).keys()]);
  const near = nearest(name, around.length === 0 ? [...known, ...subject.alsoKnown] : known);
  const place = around.length === 0 ? subject.where : `${quoteName(pathName(around))} of ${subject.where}`;
  const hint = near === undefined ? listKeys(known) : `did you mean ${quoteName(near)}?`;
  const evenIfBroken = at.keyPosition !== undefined;
  const message = `unknown key ${quoteName(name)} in ${place}`;
  if (near === undefined) return { at, atKey: true, evenIfBroken, message, hint };
  const meant = [...around, near];
  const isSecret = schemasAt(subject.schema, meant).some((schema) => metaOf(schema).secret === true);
  return { at, atKey: true, evenIfBroken, message, hint, meant: pathName(meant), isSecret };
}

function listKeys(keys: readonly string[]): string {
  if (keys.length === 0) return 'remove it';
  const more = keys.length > 12 ? ', …' : '';
  return `known ${keys.length === 1 ? 'key' : 'keys'}: ${keys.slice(0, 12).join(', ')}${more}`;
}

/** The issues of the branch that was probably meant: one where the type matches, and of several, the one with the fewest. */
function closestBranch(errors: readonly Issue[][]): Issue[] | undefined {
  return errors
    .filter(
      (issues) =>
        !issues.some(({ code, path }) => path.length === 0 && /^invalid_(?:type|value)$/.test(code)),
    )
    .toSorted((a, b) => a.length - b.length)[0];
}

function explainValue(issue: Issue, subject: Subject): Explanation {
  const { at, schemas, secret, isAbsent } = find(subject, issue.path);
  const key = issue.path.at(-1);
  const name = key === undefined ? subject.where : `${quoteName(pathName(issue.path))} in ${subject.where}`;
  if (issue.message !== noMessage) {
    return {
      at,
      atKey: isAbsent && at.notation !== 'json',
      message: `${name}: ${withoutSecrets(issue.message, at, secret)}`,
      hint: commaHint(issue.message, key, at, secret),
    };
  }
  if (isAbsent && key !== undefined) {
    const form = example(key, schemas[0], at.notation);
    const needsSection = at.notation === 'absent' && subject.where.startsWith('[');
    const hint = `write ${needsSection ? `${subject.where} and below it ` : ''}${form}`;
    return {
      at,
      atKey: at.notation !== 'json',
      message: `${name} is missing`,
      hint,
      missing: pathName(issue.path),
    };
  }
  const hint = hintFor(issue, key, at, schemas, secret);
  return { at, message: `${name} ${demand(issue, schemas, at.value, secret)}`, hint };
}

/** Follows a path of zod: the value there, or the nearest one around it, and the schemas that apply. */
function find({ located, schema }: Subject, path: Path) {
  let at = located;
  let schemas = [schema];
  let secret = metaOf(schema).secret === true;
  let isAbsent = false;
  for (const key of path) {
    schemas = schemas.flatMap((around) => childSchemas(around, key));
    secret ||= schemas.some((candidate) => metaOf(candidate).secret === true);
    if (isAbsent || !(at.fields ?? at.items)) continue;
    const child = childAt(at, key);
    if (child) at = child;
    else isAbsent = true;
  }
  return { at, schemas, secret: secret || at.secret, isAbsent };
}

function schemasAt(schema: Schema, path: Path): Schema[] {
  return path.reduce<Schema[]>(
    (schemas, key) => schemas.flatMap((around) => childSchemas(around, key)),
    [schema],
  );
}

/** What the value must be, and where it helps, what it is. */
function demand(issue: Issue, schemas: readonly Schema[], value: unknown, secret: boolean): string {
  const found = describe(value, secret);
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${typeOf(issue, schemas)}, but is ${found}`;
    case 'invalid_union':
      return `must be ${either('options' in issue ? (issue.options ?? []).map(literal) : schemas.flatMap(kindsOf))}, but is ${found}`;
    case 'invalid_value':
      return `must be ${either(issue.values.map(literal))}, but is ${found}`;
    case 'too_small':
    case 'too_big':
      return limit(issue, secret ? '' : `, but is ${value}`);
    case 'not_multiple_of':
      return `must be a multiple of ${issue.divisor}${secret ? '' : `, but is ${value}`}`;
    case 'invalid_format':
      return `must ${format(issue)}`;
    case 'invalid_key':
      return 'is not allowed as a key';
    default:
      return 'is not valid';
  }
}

/** A wrong item with a comma is mostly several items. */
function commaHint(
  message: string,
  key: PropertyKey | undefined,
  { notation, written = '' }: Located,
  secret: boolean,
): string | undefined {
  if (typeof key !== 'number' || notation !== 'ini' || !written.includes(',')) return undefined;
  if (message.includes('separate')) return undefined;
  return secret
    ? 'separate the items with blanks'
    : `or separate the items with blanks: list:${withBlanks(written)}`;
}

function hintFor(
  issue: Issue,
  key: PropertyKey | undefined,
  at: Located,
  schemas: readonly Schema[],
  secret: boolean,
): string | undefined {
  const words =
    issue.code === 'invalid_value' ? issue.values : 'options' in issue ? issue.options : undefined;
  if (words) {
    const comma = commaHint(issue.message, key, at, secret);
    if (comma !== undefined) return comma;
    const near = secret || typeof at.value !== 'string' ? undefined : nearest(at.value, words.map(String));
    return near === undefined ? undefined : `did you mean ${quoteName(near)}?`;
  }
  if (key === undefined || (issue.code !== 'invalid_type' && issue.code !== 'invalid_union'))
    return undefined;
  if (secret && typeof key === 'number') return undefined;
  if (typeof key === 'number' && at.notation === 'ini' && String(at.written ?? '').includes(',')) {
    return 'separate the items of a list with blanks, such as list:int:1 int:2';
  }
  const kinds = issue.code === 'invalid_type' ? [typeOf(issue, schemas)] : schemas.flatMap(kindsOf);
  const mended = secret ? undefined : rewritten(key, at, kinds);
  return `write ${mended ?? example(key, schemas[0], at.notation)}`;
}

function typeOf(issue: z.core.$ZodIssueInvalidType, schemas: readonly Schema[]): string {
  const isInteger = issue.expected === 'number' && schemas.flatMap(kindsOf).includes(kindOf('int'));
  return kindOf(isInteger ? 'int' : issue.expected);
}

function limit(issue: z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig, butIs: string): string {
  const { origin, inclusive = true, exact = false } = issue;
  const isLow = issue.code === 'too_small';
  const bound = isLow ? issue.minimum : issue.maximum;
  if (origin === 'string' && isLow && bound === 1) return 'must not be empty';
  const [loose, strict] = isLow ? ['at least', 'more than'] : ['at most', 'less than'];
  const relation = exact ? 'exactly' : inclusive ? loose : strict;
  const unit = { string: 'character', array: 'item', set: 'item' }[origin as string];
  if (unit) return `must have ${relation} ${bound} ${unit}${bound === 1 ? '' : 's'}`;
  return `must be ${relation} ${bound}${butIs}`;
}

const formats: Readonly<Record<string, string>> = {
  url: 'a URL',
  email: 'an e-mail address',
  uuid: 'a UUID',
  ipv4: 'an IPv4 address',
  ipv6: 'an IPv6 address',
  hostname: 'a host name',
  datetime: 'a date and time such as 2025-01-31T12:00:00Z',
  date: 'a date such as 2025-01-31',
  time: 'a time such as 12:00:00',
  duration: 'a duration such as PT5M',
};

function format(issue: z.core.$ZodIssueInvalidStringFormat): string {
  const { prefix, suffix, includes } = issue as { prefix?: string; suffix?: string; includes?: string };
  if (prefix !== undefined) return `start with ${quoteName(prefix)}`;
  if (suffix !== undefined) return `end with ${quoteName(suffix)}`;
  if (includes !== undefined) return `contain ${quoteName(includes)}`;
  if (issue.format === 'regex') return `match ${issue.pattern}`;
  return `be ${formats[issue.format] ?? `valid ${issue.format}`}`;
}

function literal(value: unknown): string {
  return typeof value === 'string' ? quoteName(value) : String(value);
}

/** `a, b or c` */
function either(phrases: readonly string[]): string {
  const last = phrases.at(-1) ?? 'another value';
  return phrases.length < 2 ? last : `${phrases.slice(0, -1).join(', ')} or ${last}`;
}

/** `servers[0].host` */
function pathName(path: Path): string {
  return path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');
}

/** A message by the schema's author may repeat the value. */
export function withoutSecrets(message: string, at: Located, secret = false): string {
  const texts = [...everything(at)]
    .filter((located) => !located.fields && !located.items && (secret || located.secret))
    .map((located) => String(located.value))
    .filter((text) => text !== '')
    .toSorted((a, b) => b.length - a.length);
  return texts.reduce((shown, text) => shown.replaceAll(text, mask), message);
}
