import { isUtf8 } from 'node:buffer';
import { parse as parseQuery } from 'node:querystring';
import type { Context } from 'plugin-server';
import { sessmanError } from '../errors.js';
import { isJsonObject } from '../merge-patch.js';
import { readIfMatch } from './if-match.js';
import {
  accepted,
  bodyForm,
  conflicting,
  type Given,
  invalid,
  missing,
  type Need,
  type ParameterName,
  type Parameters,
  type Place,
  parameterNamed,
  parameters,
  type Takes,
} from './parameters.js';

/**
 * Reads a call's parameters from the query string, the JSON body and the header If-Match. A parameter that is given twice,
 * differently in two places, misspelt or of the wrong type is a 400: ignoring it could lose a write.
 */
export function readParameters(ctx: Context, takes: Takes): Partial<Parameters> {
  const reading = new Reading(takes);
  const { querystring } = ctx;
  if (querystring !== '') readQuery(querystring, reading);
  if (ctx.req.method === 'POST') {
    if (isNotJson(ctx)) throw notJson(ctx, takes);
    const body: unknown = ctx.request.body ?? {};
    if (!isJsonObject(body))
      throw sessmanError('invalid_body', {
        problem: 'The body is not a JSON object.',
        usage: bodyForm(takes),
      });
    for (const name in body) reading.take(name, body[name], 'body');
  }
  const ifMatch = takes.version && ctx.req.headers['if-match'];
  // An empty one, too: as none, it would let a write through that its caller meant to be conditional.
  if (ifMatch !== undefined) readIfMatch(ifMatch, reading.values);
  return reading.values;
}

/**
 * Fills in the session id from where nobody sees it: the header X-Session-Id, else the cookie that `readCookie` reads.
 * Then throws the 400 for required parameters that are missing.
 */
export function completeParameters<T extends Takes>(
  ctx: Context,
  takes: T,
  values: Partial<Parameters>,
  readCookie?: () => string | undefined,
): Given<T> {
  const isVisible = values.session_id !== undefined;
  const inHeader = ctx.req.headers['x-session-id'] as string | undefined;
  if (inHeader) {
    // Node joins what is sent twice; no id has a comma.
    if (inHeader.includes(',')) throw sessmanError('duplicate_parameter', { name: 'session_id' });
    if (isVisible && values.session_id !== inHeader) throw conflicting('session_id');
    values.session_id = inHeader;
  } else if (!isVisible && values.handle === undefined) {
    const inCookie = readCookie?.();
    if (inCookie !== undefined) values.session_id = inCookie;
  }
  return requireParameters(takes, values, isVisible && !inHeader);
}

/** Throws the 400 for required parameters that are missing. */
export function requireParameters<T extends Takes>(
  takes: T,
  values: Partial<Parameters>,
  idIsVisible = false,
): Given<T> {
  for (const name in takes) {
    const need = takes[name as ParameterName];
    if (!isRequired(need, values, idIsVisible)) continue;
    if (values[name as ParameterName] === undefined) throw missing(name as ParameterName, takes);
  }
  return values as Given<T>;
}

function isRequired(need: Need | undefined, { handle }: Partial<Parameters>, idIsVisible: boolean): boolean {
  if (need === 'with_visible_id') return idIsVisible || handle !== undefined;
  return need === 'required' || (need === 'or_handle' && handle === undefined);
}

class Reading {
  readonly values: Partial<Parameters> = {};
  readonly #takes: Takes;
  /** Where each was found, to tell twice in one place from the same in two. */
  readonly #places: Partial<Record<ParameterName, Place>> = {};

  constructor(takes: Takes) {
    this.#takes = takes;
  }

  take(written: string, raw: unknown, place: Place): void {
    // The API key is the host's.
    if (written === 'apikey') return;
    const name = parameterNamed(written);
    const parameter = name && parameters[name];
    if (
      name === undefined ||
      this.#takes[name] === undefined ||
      (parameter!.onlyInBody && place === 'query')
    ) {
      throw this.#unknown(written, name, place);
    }
    if (this.#places[name] === place) throw sessmanError('duplicate_parameter', { name });
    this.#places[name] = place;
    const value = parameter!.read(raw, place, this.#takes);
    if (value === undefined) return;
    if (this.values[name] !== undefined && this.values[name] !== value) throw conflicting(name);
    (this.values as Record<string, unknown>)[name] = value;
  }

  #unknown(written: string, known: ParameterName | undefined, place: Place) {
    const takes = this.#takes;
    const belongsInBody = known !== undefined && takes[known] !== undefined;
    const shown = written.length > 40 ? `${written.slice(0, 40)}…` : written;
    const form = takes.data ? bodyForm(takes) : '';
    const usage = belongsInBody ? form : place === 'body' ? `${accepted(takes)} ${form}` : accepted(takes);
    return sessmanError('unknown_parameter', { name: shown, usage: usage.trimEnd(), belongsInBody });
  }
}

function readQuery(querystring: string, reading: Reading): void {
  if (querystring.length < longQuery && !encoded.test(querystring)) {
    readPlainQuery(querystring, reading);
    return;
  }
  if (querystring.includes('%')) checkUtf8(querystring);
  const query = parseQuery(querystring);
  for (const name in query) {
    const value = query[name];
    if (Array.isArray(value)) for (const each of value) reading.take(name, each, 'query');
    else reading.take(name, value, 'query');
  }
}

/** What most callers send: nothing in it is encoded. Node's parser takes five times as long. */
function readPlainQuery(querystring: string, reading: Reading): void {
  for (let start = 0; start < querystring.length; ) {
    const next = querystring.indexOf('&', start);
    const end = next < 0 ? querystring.length : next;
    if (end > start) {
      const mark = querystring.indexOf('=', start);
      const isNamed = mark >= 0 && mark < end;
      const name = querystring.slice(start, isNamed ? mark : end);
      reading.take(name, isNamed ? querystring.slice(mark + 1, end) : '', 'query');
    }
    start = end + 1;
  }
}

/** Characters. Beyond these, only `querystring` limits how many parameters there may be. */
const longQuery = 1000;
const encoded = /[%+]/;

/** Bytes that are not UTF-8 are a 400: decoded, they would become other text. */
function checkUtf8(querystring: string): void {
  for (const part of querystring.split('&')) {
    if (isUtf8(bytesOf(part))) continue;
    const name = parameterNamed(part.slice(0, Math.max(part.indexOf('='), 0)));
    const problem = 'is not valid UTF-8';
    throw name === 'userid'
      ? sessmanError('invalid_userid', { problem })
      : invalid(name ?? 'query string', problem);
  }
}

function bytesOf(encoded: string): Buffer {
  const decoded = encoded.replaceAll(/%([\da-f]{2})/gi, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(decoded, 'latin1');
}

/** Whether there is a body that its Content-Type kept from being read as JSON: `curl -d`, for one, calls it a form. */
function isNotJson(ctx: Context): boolean {
  const rawBody = ctx.request.rawBody as string | undefined;
  if (rawBody === undefined)
    return Number(ctx.get('Content-Length')) > 0 || ctx.get('Transfer-Encoding') !== '';
  return /urlencoded/i.test(ctx.req.headers['content-type'] ?? '') && rawBody.trimStart().startsWith('{');
}

function notJson(ctx: Context, takes: Takes) {
  const type = JSON.stringify(ctx.get('Content-Type').slice(0, 80));
  return sessmanError('invalid_body', {
    problem: `The body is not read as JSON, because its Content-Type is ${type}. Send the header Content-Type: application/json.`,
    usage: bodyForm(takes),
  });
}
