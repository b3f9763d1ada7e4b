import { parse as parseQuery } from 'node:querystring';
import { type Context, HttpError } from 'plugin-server';
import { isJsonObject, type JsonObject } from '../merge-patch.js';
import { repeatedName } from './repeated-name.js';

/** What a call may be given, by name. */
export interface Parameters {
  session_id: string;
  userid: string;
  handle: string;
  except: string;
  version: number;
  data: JsonObject;
}

export type ParameterName = keyof Parameters;

/** `with_visible_id`: required where the session id stands in the URL or the body, which logs and histories keep. */
export type Need = 'required' | 'optional' | 'with_visible_id';

/** The parameters that a call takes; it answers 400 without a required one, and with one that it does not take. */
export type Takes = { readonly [Name in ParameterName]?: Need };

/** What a call that takes those is given. */
export type Given<T extends Takes> = {
  [Name in keyof T & ParameterName as T[Name] extends 'required' ? Name : never]: Parameters[Name];
} & { [Name in keyof T & ParameterName as T[Name] extends 'required' ? never : Name]?: Parameters[Name] };

/**
 * Reads a call's parameters from the query string, the JSON body and the header If-Match. One that
 * is there twice, in two places differently, misspelt or not of its type is a 400: to pass over it could lose a write.
 */
export function readParameters(ctx: Context, takes: Takes): Partial<Parameters> {
  const reading = new Reading(takes);
  const { querystring } = ctx;
  if (querystring !== '') {
    const query = parseQuery(querystring);
    for (const name in query) {
      const value = query[name];
      if (Array.isArray(value)) for (const each of value) reading.take(name, each, 'query');
      else reading.take(name, value, 'query');
    }
  }
  if (ctx.req.method === 'POST') {
    if (isNoJson(ctx)) throw invalid('invalid_body', notJson(ctx, takes));
    const body: unknown = ctx.request.body ?? {};
    if (!isJsonObject(body)) throw invalid('invalid_body', `The body must be a JSON object. ${form(takes)}`);
    for (const name in body) reading.take(name, body[name], 'body');
    const repeated = repeatedName(ctx.request.rawBody as string | undefined, body);
    if (repeated !== undefined) throw duplicate(repeated);
  }
  if (takes.version) reading.take('version', ifMatch(ctx.req.headers['if-match']), 'header');
  return reading.values as Partial<Parameters>;
}

/**
 * Fills in the session id from where it is not seen: the header X-Session-Id, else the cookie that `readCookie` reads.
 * Then throws the 400 for required parameters that are not there.
 */
export function completeParameters<T extends Takes>(
  ctx: Context,
  takes: T,
  values: Partial<Parameters>,
  readCookie: (() => string | undefined) | undefined,
): Given<T> {
  const isVisible = values.session_id !== undefined;
  const inHeader = ctx.req.headers['x-session-id'] as string | undefined;
  if (inHeader) {
    if (isVisible && values.session_id !== inHeader) throw conflicting('session_id');
    values.session_id = inHeader;
  } else if (!isVisible && values.handle === undefined) {
    const inCookie = readCookie?.();
    if (inCookie !== undefined) values.session_id = inCookie;
  }
  return requireParameters(takes, values, isVisible && !inHeader);
}

/** Throws the 400 for required parameters that are not there. */
export function requireParameters<T extends Takes>(
  takes: T,
  values: Partial<Parameters>,
  idIsVisible = false,
): Given<T> {
  for (const name in takes) {
    const need = takes[name as ParameterName];
    const required = need === 'required' || (need === 'with_visible_id' && idIsVisible);
    if (required && values[name as ParameterName] === undefined) throw missing(name as ParameterName, takes);
  }
  return values as Given<T>;
}

export function missing(name: ParameterName, takes: Takes): HttpError {
  return invalid(
    'missing_parameter',
    name === 'data'
      ? `"data" is missing. ${form(takes)}`
      : `The parameter "${name}" is missing. ${takesOnly(takes)}`,
  );
}

type Place = 'query' | 'body' | 'header';

class Reading {
  readonly values: Partial<Record<ParameterName, unknown>> = {};
  readonly #takes: Takes;
  /** The place where each was found, to tell twice in one place from the same in two. */
  readonly #places: Partial<Record<ParameterName, Place>> = {};

  constructor(takes: Takes) {
    this.#takes = takes;
  }

  take(written: string, raw: unknown, place: Place): void {
    // The API key is the host's.
    if (written === 'apikey') return;
    const name = names.get(written);
    if (name === undefined || this.#takes[name] === undefined || (name === 'data' && place === 'query')) {
      throw this.#unknown(written, name, place);
    }
    if (this.#places[name] === place) {
      throw duplicate(name);
    }
    this.#places[name] = place;
    const value = typed(name, raw, place, this.#takes);
    if (value === undefined) return;
    if (this.values[name] !== undefined && this.values[name] !== value) throw conflicting(name);
    this.values[name] = value;
  }

  #unknown(written: string, name: ParameterName | undefined, place: Place): HttpError {
    const shown = JSON.stringify(written.length > 40 ? `${written.slice(0, 40)}…` : written);
    if (name === 'data' && this.#takes.data) {
      return invalid('unknown_parameter', `"data" goes into the body. ${form(this.#takes)}`);
    }
    const hint =
      place === 'body' && this.#takes.data
        ? `${takesOnly(this.#takes)} ${form(this.#takes)}`
        : takesOnly(this.#takes);
    return invalid('unknown_parameter', `There is no parameter ${shown} here. ${hint}`);
  }
}

/** Every name that a parameter may be written by. */
export const aliases: Readonly<Record<ParameterName, readonly string[]>> = {
  session_id: ['session_id', 'sessionid'],
  userid: ['userid', 'user'],
  handle: ['handle'],
  except: ['except'],
  version: ['version'],
  data: ['data'],
};

const names = new Map(
  Object.entries(aliases).flatMap(([name, all]) => all.map((alias) => [alias, name as ParameterName])),
);

/** The value as its type; undefined for empty text, which stands for nothing. */
function typed(name: ParameterName, raw: unknown, place: Place, takes: Takes): unknown {
  if (raw === undefined) return undefined;
  if (name === 'data') {
    if (!isJsonObject(raw)) throw invalid('invalid_data', `"data" must be a JSON object. ${form(takes)}`);
    return raw;
  }
  if (name === 'version') {
    const version = place === 'query' && wholeNumber.test(raw as string) ? Number(raw) : raw;
    if (Number.isSafeInteger(version) && (version as number) >= 0) return version;
    throw invalid('invalid_parameter', '"version" must be a whole number, as answers hold it: 7.');
  }
  if (typeof raw !== 'string')
    throw invalid('invalid_parameter', `"${name}" must be text: ${JSON.stringify(`${raw}`)}.`);
  return raw === '' && name !== 'userid' ? undefined : raw;
}

/** The version that If-Match (RFC 9110, section 13.1.1) asks for; `*` asks for any. */
function ifMatch(header: string | undefined): number | undefined {
  if (header === undefined || header === '' || header === '*') return undefined;
  const version = /^"(\d{1,15})"$/.exec(header)?.[1];
  if (version === undefined) {
    throw invalid(
      'invalid_parameter',
      'If-Match must be one ETag as an answer held it, such as "7" with its quotes, or *.',
    );
  }
  return Number(version);
}

const wholeNumber = /^\d{1,15}$/;

function takesOnly(takes: Takes): string {
  const parts = Object.entries(takes).map(([name, need]) =>
    need === 'optional' ? `${name} (optional)` : name,
  );
  return `This call takes ${parts.join(', ')}.`;
}

/** The right form of a body. */
function form(takes: Takes): string {
  return takes.data
    ? 'Write it as {"data": {"name": "value"}}.'
    : 'Parameters may stand in it by their names, or in the query string.';
}

/** Whether there is a body that its Content-Type kept from being read as JSON: curl -d, for one, says that it is a form. */
function isNoJson(ctx: Context): boolean {
  const rawBody = ctx.request.rawBody as string | undefined;
  if (rawBody === undefined)
    return Number(ctx.get('Content-Length')) > 0 || ctx.get('Transfer-Encoding') !== '';
  return /urlencoded/i.test(ctx.req.headers['content-type'] ?? '') && rawBody.trimStart().startsWith('{');
}

function notJson(ctx: Context, takes: Takes): string {
  const type = JSON.stringify(ctx.get('Content-Type').slice(0, 80));
  return `The body cannot be read as JSON, since its Content-Type is ${type}: send the header Content-Type: application/json. ${form(takes)}`;
}

function duplicate(name: string): HttpError {
  return invalid('duplicate_parameter', `The parameter "${name}" is given twice.`);
}

export function conflicting(name: ParameterName): HttpError {
  return invalid('conflicting_parameter', `The parameter "${name}" is given in two places, and differently.`);
}

function invalid(code: string, message: string): HttpError {
  return new HttpError(400, code, message);
}
