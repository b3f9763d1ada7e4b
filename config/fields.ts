import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { z } from 'zod';
import { parseBoolean, parseDecimal, parseInteger } from './conversions.js';
import { nearest } from './names.js';

interface Range {
  readonly min?: number;
  readonly max?: number;
}

/** An integer, written `int:6123` or just `6123`. */
export function integer({ min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER }: Range = {}) {
  return z.preprocess(fromText(parseInteger), z.int().min(min).max(max));
}

/** A number, written `float:0.5` or just `0.5`. */
export function decimal({ min = -Number.MAX_VALUE, max = Number.MAX_VALUE }: Range = {}) {
  return z.preprocess(fromText(parseDecimal), z.number().min(min).max(max));
}

/** True or false, written `bool:on` or just `on`, in any of the words that `bool:` accepts. */
export function boolean() {
  return z.preprocess(fromText(parseBoolean), z.boolean());
}

/** Text that is not empty. A value with a prefix (`int:5`) is not text. */
export function text() {
  return z.string().min(1);
}

/** One of these words. */
export function choice<const Words extends readonly [string, ...string[]]>(words: Words) {
  return z.enum(words);
}

/** A list, written `list:a b` or just `a b`, with blanks between its items. */
export function list<Item extends z.ZodType = z.ZodString>(item?: Item) {
  return z.preprocess(fromText(splitWords), z.array(item ?? (z.string() as unknown as Item)));
}

/** Text without commas: readers would take a comma for a separator, but blanks separate the items of a list. */
function item() {
  return text().refine((given) => !given.includes(','), {
    error: ({ input }) => `a comma does not separate items; write ${withBlanks(String(input))}`,
  });
}

function withBlanks(given: string): string {
  const items = given.split(/[\s,]+/).filter((part) => part !== '');
  return items.length < 2 ? 'blanks in its place' : `list:${items.join(' ')}`;
}

/** Origins, `scheme://host` with or without a port, as a browser sends them; or `*` alone, for any. */
export function origins() {
  return list(
    z.string().transform((given, context) => {
      const origin = given === '*' ? given : originOf(given);
      if (origin !== undefined) return origin;
      const message = given.includes(',')
        ? `a comma does not separate items; write ${withBlanks(given)}`
        : 'is not an origin; write scheme://host or scheme://host:port, such as https://www.example.org';
      context.addIssue({ code: 'custom', message, input: given });
      return z.NEVER;
    }),
  ).refine(
    (given) => given.length < 2 || !given.includes('*'),
    'contains "*", which already allows every origin; write "*" alone',
  );
}

/**
 * Names of hosts without their port, `*.example.org` for all below one, addresses, or `*` alone for any; in lower case, as
 * a browser sends them.
 */
export function hostNames() {
  return list(
    z.string().transform((given, context) => {
      const name = given === '*' ? given : hostNameOf(given);
      if (name !== undefined) return name;
      const message = given.includes(',')
        ? `a comma does not separate items; write ${withBlanks(given)}`
        : 'is not a host name; write example.org, *.example.org or an address';
      context.addIssue({ code: 'custom', message, input: given });
      return z.NEVER;
    }),
  )
    .refine((given) => given.length > 0, 'it is empty; write a host name, or remove it')
    .refine(
      (given) => given.length < 2 || !given.includes('*'),
      'contains "*", which already allows every host; write "*" alone',
    );
}

function hostNameOf(given: string): string | undefined {
  const address = given.replace(/^\[(.*)\]$/, '$1').toLowerCase();
  if (isIP(address) !== 0) return address;
  const [, star = '', name = ''] = /^(\*\.)?([^\s/\\@?#,*:[\]%]+?)\.?(?::\d+)?$/.exec(given) ?? [];
  const ascii = domainToASCII(name);
  return ascii === '' ? undefined : star + ascii;
}

/** The origin in the form that a browser sends, or undefined if it is not an origin. */
function originOf(given: string): string | undefined {
  const [, scheme = '', host = ''] = /^([a-z][a-z0-9+.-]*):\/\/([^/\\?#@,\s*]+)\/?$/i.exec(given) ?? [];
  if (host === '' || host.startsWith(':')) return undefined;
  const isWeb = /^https?$/i.test(scheme);
  if (!isWeb && nearest(scheme, ['http', 'https']) !== undefined) return undefined;
  try {
    return isWeb ? new URL(given).origin : `${scheme}://${host}`.toLowerCase();
  } catch {
    return undefined;
  }
}

/** An address, a host name or `unix:PATH` to listen on, or a `list:` of them. */
export function addresses() {
  return z
    .union([address(), list(address())])
    .refine((given) => given.length > 0, 'it is empty; write an address, such as 127.0.0.1');
}

/** The path of a Unix socket may have blanks and commas where it is not an item of a list. */
function address() {
  return text()
    .refine((given) => given !== 'unix:', 'has no path; write unix:PATH')
    .refine((given) => given.startsWith('unix:') || !/[\s,]/.test(given), {
      error: ({ input }) => `blanks separate the items of a list; write ${withBlanks(String(input))}`,
    })
    .refine((given) => !/^(?:[\d.]+|\[.*\]):\d+$/.test(given), 'contains a port; write that in "port"');
}

/** A secret key, or a `list:` of keys that are all valid. Never empty: an empty key would open what it should protect. */
export function keys() {
  return z
    .union([item(), list(item())])
    .refine((given) => given.length > 0, 'it is empty; write a key, or remove it');
}

function splitWords(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

/** The parsed text, or the text itself if it does not parse: the schema that follows then refuses it. */
function fromText(parse: (text: string) => unknown) {
  return (value: unknown) => (typeof value === 'string' ? (parse(value) ?? value) : value);
}
