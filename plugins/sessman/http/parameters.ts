import { sessmanError } from '../errors.js';
import { isJsonObject, type JsonObject } from '../merge-patch.js';
import { handlePattern, sessionIdPattern } from '../session-id.js';

/** What a call may be given, by name. */
export interface Parameters {
  session_id: string;
  userid: string;
  handle: string;
  except: string;
  /** Several where If-Match lists several ETags. */
  version: number | readonly number[];
  data: JsonObject;
  authenticated: boolean;
  remember: boolean;
  about: JsonObject;
  ip: string;
  user_agent: string;
  everyone: boolean;
  limit: number;
  after: string;
  userid_prefix: string;
  touch: boolean;
  max_auth_age: number;
}

export type ParameterName = keyof Parameters;

/**
 * `with_visible_id`: required where the session id is in the URL or the body, which logs and histories keep, and beside a
 * handle. `or_handle`: required unless a handle says which session is meant.
 */
export type Need = 'required' | 'optional' | 'with_visible_id' | 'or_handle';

/** The parameters of a call. Without a required one, and with any other, the call is a 400. */
export type Takes = { readonly [Name in ParameterName]?: Need };

/** What a call with those parameters is given. */
export type Given<T extends Takes> = {
  [Name in keyof T & ParameterName as T[Name] extends 'required' ? Name : never]: Parameters[Name];
} & { [Name in keyof T & ParameterName as T[Name] extends 'required' ? never : Name]?: Parameters[Name] };

export type Place = 'query' | 'body';

/** Everything that is known of one parameter. */
interface Parameter {
  /** Every name by which it may be sent. */
  readonly names: readonly string[];
  readonly description: string;
  /** For OpenAPI. */
  readonly schema: object;
  /** Of `data`, in the query string: there it would be text. */
  readonly onlyInBody?: true;
  /** The value in its type; undefined for empty text, which counts as missing. Throws a 400. */
  read(raw: unknown, place: Place, takes: Takes): unknown;
}

const maxPage = 1000;

/** All parameters. A new one is an entry here, and its type above. */
export const parameters: Readonly<Record<ParameterName, Parameter>> = {
  session_id: {
    names: ['session_id', 'sessionid'],
    description: 'The session id, also as `sessionid`.',
    schema: { type: 'string', pattern: sessionIdPattern.source },
    read: (raw) => textOf('session_id', raw) || undefined,
  },
  userid: {
    names: ['userid', 'user'],
    description: 'The user, also as `user`: at most 1024 bytes of UTF-8.',
    schema: { type: 'string', minLength: 1, maxLength: 1024 },
    // Empty text is an error of its own: a user of that name would be everybody whose name got lost.
    read: (raw) => textOf('userid', raw),
  },
  handle: {
    names: ['handle'],
    description: 'The handle of a session, as `list` shows it.',
    schema: { type: 'string', pattern: handlePattern.source },
    // Empty text is the handle of no session. As none, it would mean that of the cookie.
    read: (raw) => textOf('handle', raw),
  },
  except: {
    names: ['except'],
    description:
      'The session to keep: its id, its handle, or `current` for the one whose id the request carries.',
    schema: { type: 'string' },
    // Empty text is the name of no session. As none, it would end the session that the caller means to keep.
    read: (raw) => textOf('except', raw),
  },
  version: {
    names: ['version'],
    description: 'The version that the session must have.',
    schema: { type: 'integer', minimum: 0 },
    read(raw, place) {
      const version = wholeOf(raw, place);
      if (version !== undefined) return version;
      throw invalid('version', 'is not a whole number; send it as in the response, such as 7');
    },
  },
  data: {
    names: ['data'],
    description: 'Any JSON object.',
    schema: { type: 'object', additionalProperties: true },
    onlyInBody: true,
    read(raw, _place, takes) {
      if (isJsonObject(raw)) return raw;
      throw sessmanError('invalid_data', { usage: bodyForm(takes) });
    },
  },
  authenticated: {
    names: ['authenticated'],
    description: 'Whether the user has just authenticated again: both timeouts restart.',
    schema: { type: 'boolean' },
    read: (raw, place) => truthOf('authenticated', raw, place),
  },
  remember: {
    names: ['remember'],
    description: 'Whether the cookie outlives the browser.',
    schema: { type: 'boolean', default: true },
    read: (raw, place) => truthOf('remember', raw, place),
  },
  about: {
    names: ['about'],
    description: 'A description of the device, for `list`: a JSON object of up to 1,024 bytes.',
    schema: { type: 'object', additionalProperties: true },
    onlyInBody: true,
    read(raw) {
      if (isJsonObject(raw)) return raw;
      throw invalid('about', 'is not a JSON object; write it as {"device": "phone"}');
    },
  },
  ip: {
    names: ['ip'],
    description: "The visitor's address. Stored only if `record` lists `ip`.",
    schema: { type: 'string' },
    read: (raw) => textOf('ip', raw) || undefined,
  },
  user_agent: {
    names: ['user_agent'],
    description: "The visitor's User-Agent. Stored only if `record` lists `user_agent`.",
    schema: { type: 'string' },
    read: (raw) => textOf('user_agent', raw) || undefined,
  },
  everyone: {
    names: ['everyone'],
    description: 'Ends the sessions of all users; not together with `userid`.',
    schema: { type: 'boolean' },
    read: (raw, place) => truthOf('everyone', raw, place),
  },
  limit: {
    names: ['limit'],
    description: 'The number of sessions on the page.',
    schema: { type: 'integer', minimum: 1, maximum: maxPage, default: 100 },
    read(raw, place) {
      const limit = wholeOf(raw, place) ?? 0;
      if (limit >= 1 && limit <= maxPage) return limit;
      throw invalid('limit', `is not a whole number from 1 to ${maxPage}`);
    },
  },
  after: {
    names: ['after'],
    description: '`next` of the previous page; omit it for the first page.',
    schema: { type: 'string' },
    read: (raw) => textOf('after', raw) || undefined,
  },
  userid_prefix: {
    names: ['userid_prefix'],
    description: 'Only users whose userid begins with this text. Pages are then ordered by userid.',
    schema: { type: 'string', maxLength: 1024 },
    read: (raw) => textOf('userid_prefix', raw) || undefined,
  },
  touch: {
    names: ['touch'],
    description: 'Whether to restart the idle timeout, about once a minute at most.',
    schema: { type: 'boolean' },
    read: (raw, place) => truthOf('touch', raw, place),
  },
  max_auth_age: {
    names: ['max_auth_age'],
    description: 'The maximum number of seconds since the user authenticated.',
    schema: { type: 'integer', minimum: 0 },
    read(raw, place) {
      const seconds = wholeOf(raw, place);
      if (seconds !== undefined) return seconds;
      throw invalid('max_auth_age', 'is not a whole number of seconds, such as 300');
    },
  },
};

const names = new Map(
  (Object.keys(parameters) as ParameterName[]).flatMap((name) =>
    parameters[name].names.map((written) => [written, name] as const),
  ),
);

/** The parameter that a caller names so. */
export function parameterNamed(written: string): ParameterName | undefined {
  return names.get(written);
}

/** The parameters of a call, in the order in which they are best shown. */
export function parametersOf(takes: Takes): [ParameterName, Need][] {
  return Object.entries(takes) as [ParameterName, Need][];
}

export function missing(name: ParameterName, takes: Takes) {
  return sessmanError('missing_parameter', {
    name,
    usage: name === 'data' ? bodyForm(takes) : accepted(takes),
  });
}

export function conflicting(name: ParameterName) {
  return sessmanError('conflicting_parameter', { name });
}

export function invalid(name: string, problem: string) {
  return sessmanError('invalid_parameter', { name, problem });
}

/** The sentence that lists the call's parameters. */
export function accepted(takes: Takes): string {
  const parts = parametersOf(takes).map(([name, need]) =>
    need === 'optional' ? `${name} (optional)` : name,
  );
  return `This call accepts ${parts.join(', ')}.`;
}

/** The sentence that shows the right form of a body. */
export function bodyForm(takes: Takes): string {
  return takes.data
    ? 'Write it as {"data": {"name": "value"}}.'
    : 'Send parameters as its members, or in the query string.';
}

const wholeNumber = /^\d{1,15}$/;

/** A whole number, which the query string has as text. */
function wholeOf(raw: unknown, place: Place): number | undefined {
  const number = place === 'query' && wholeNumber.test(raw as string) ? Number(raw) : raw;
  return Number.isSafeInteger(number) && (number as number) >= 0 ? (number as number) : undefined;
}

function truthOf(name: ParameterName, raw: unknown, place: Place): boolean {
  if (typeof raw === 'boolean') return raw;
  if (place === 'query' && (raw === 'true' || raw === 'false')) return raw === 'true';
  throw invalid(name, 'is neither true nor false');
}

/** Nothing is made text of: an object may hold a toString that is not a function. */
function textOf(name: ParameterName, raw: unknown): string {
  if (typeof raw === 'string') return raw;
  if (typeof raw === 'number' || typeof raw === 'boolean')
    throw invalid(name, `is not text; write ${JSON.stringify(String(raw))}`);
  const kind = raw === null ? 'null' : Array.isArray(raw) ? 'an array' : 'an object';
  throw invalid(name, `is ${kind}, not text`);
}
