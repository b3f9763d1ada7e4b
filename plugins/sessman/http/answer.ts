import type { Context, SessionEntry, SessionPage } from 'plugin-server';
import type { ReadSession } from '../sessions.js';
import type { LiveCount } from '../store.js';
import { parameters } from './parameters.js';

/** What a call responds with: how it is sent, and how OpenAPI describes it. */
export interface Answer<Result = never> {
  send(ctx: Context, result: Result, hidden?: Hidden): void;
  readonly response: object;
}

/** What of a session its caller does not see. */
export interface Hidden {
  readonly id: boolean;
  readonly data: boolean;
}

/** A session as JSON text. The data go in as they are stored: nothing is parsed only to be written again. */
export function sessionJson(session: ReadSession, hidden: Hidden = nothingHidden): string {
  const { id, handle, userid, data, version, created, touched, expires, authenticated } = session;
  const idMember = hidden.id || id === undefined ? '' : `"session_id":"${id}",`;
  const dataMember = hidden.data ? '' : `"data":${data},`;
  return `{${idMember}"handle":"${handle}","userid":${JSON.stringify(userid)},${dataMember}"version":${version},"created_at":"${timestamp(created)}","updated_at":"${timestamp(touched)}","expires_at":"${timestamp(expires)}","authenticated_at":"${timestamp(authenticated)}"}`;
}

const nothingHidden: Hidden = { id: false, data: false };

/**
 * RFC 3339, in UTC, with milliseconds: the text of toISOString in a third of its time, which would be a tenth of a read.
 */
export function timestamp(milliseconds: number): string {
  const day = Math.floor(milliseconds / msPerDay);
  const time = milliseconds - day * msPerDay;
  const hour = Math.floor(time / 3_600_000);
  const minute = Math.floor(time / 60_000) % 60;
  const second = Math.floor(time / 1000) % 60;
  return `${dateText(day)}T${twoDigits[hour]}:${twoDigits[minute]}:${twoDigits[second]}.${threeDigits[time % 1000]}Z`;
}

const msPerDay = 86_400_000;
const twoDigits = Array.from({ length: 60 }, (_, i) => String(i).padStart(2, '0'));
const threeDigits = Array.from({ length: 1000 }, (_, i) => String(i).padStart(3, '0'));

/** The times of most sessions fall on few days. */
const dateTexts = new Map<number, string>();
const maxDateTexts = 1000;

function dateText(day: number): string {
  let text = dateTexts.get(day);
  if (text === undefined) {
    text = new Date(day * msPerDay).toISOString().slice(0, -'T00:00:00.000Z'.length);
    if (dateTexts.size === maxDateTexts) dateTexts.clear();
    dateTexts.set(day, text);
  }
  return text;
}

/** Example values of parameters and responses. */
export const example = {
  session_id: 'mJ8tV5cB2nQ0xYw7Lr3dKzGfH1pS9aEuTiNbVqWoXkc',
  handle: 'mJ8tV5cB2nQ0xYw7',
  userid: 'mary',
  data: { cart: ['apple'] },
  version: 1,
  created_at: '2030-01-31T12:00:00.000Z',
  updated_at: '2030-01-31T12:00:00.000Z',
  expires_at: '2030-02-01T12:00:00.000Z',
  authenticated_at: '2030-01-31T12:00:00.000Z',
};

const time = { type: 'string', format: 'date-time' };
const times = { created_at: time, updated_at: time, expires_at: time, authenticated_at: time };
const { handle, created_at, updated_at, expires_at, authenticated_at } = example;

export const sessionAnswer: Answer<ReadSession> = {
  send(ctx, session, hidden) {
    ctx.set('ETag', `"${session.version}"`);
    ctx.set('Content-Type', 'application/json; charset=utf-8');
    ctx.body = sessionJson(session, hidden);
  },
  response: {
    description: 'The session.',
    headers: { ETag: { description: 'The version.', schema: { type: 'string' }, example: '"1"' } },
    content: jsonContent(
      {
        session_id: parameters.session_id.schema,
        handle: parameters.handle.schema,
        userid: parameters.userid.schema,
        data: parameters.data.schema,
        version: { type: 'integer', minimum: 1 },
        ...times,
      },
      example,
    ),
  },
};

export const listAnswer: Answer<readonly SessionEntry[]> = {
  send(ctx, entries) {
    ctx.body = { sessions: entries.map(entryJson) };
  },
  response: {
    description: 'The sessions.',
    content: jsonContent(
      { sessions: { type: 'array', items: entrySchema() } },
      { sessions: [{ handle, created_at, updated_at, expires_at, authenticated_at, current: true }] },
    ),
  },
};

export const walkAnswer: Answer<SessionPage> = {
  send(ctx, { sessions, next }) {
    ctx.body = { sessions: sessions.map(({ userid, ...entry }) => ({ userid, ...entryJson(entry) })), next };
  },
  response: {
    description: 'A page of sessions. `next` is null on the last page.',
    content: jsonContent(
      {
        sessions: { type: 'array', items: entrySchema({ userid: parameters.userid.schema }) },
        next: { type: ['string', 'null'] },
      },
      {
        sessions: [{ userid: example.userid, handle, created_at, updated_at, expires_at, authenticated_at }],
        next: handle,
      },
    ),
  },
};

/** A session as lists show it. What is not recorded is undefined, which JSON omits. */
export function entryJson({ created, touched, expires, authenticated, userAgent, ...entry }: SessionEntry) {
  const { handle, about, ip, current } = entry;
  return {
    handle,
    created_at: timestamp(created),
    updated_at: timestamp(touched),
    expires_at: timestamp(expires),
    authenticated_at: timestamp(authenticated),
    about,
    ip,
    user_agent: userAgent,
    current,
  };
}

export function entrySchema(more: object = {}): object {
  const required = { handle: parameters.handle.schema, ...more, ...times };
  const optional = {
    about: { type: ['object', 'null'], additionalProperties: true },
    ip: { type: ['string', 'null'] },
    user_agent: { type: ['string', 'null'] },
    current: { const: true, description: 'Set on the session whose id the request carries.' },
  };
  return { type: 'object', required: Object.keys(required), properties: { ...required, ...optional } };
}

export const countAnswer: Answer<number | LiveCount> = {
  send(ctx, ended) {
    if (typeof ended === 'number') ctx.body = { ended };
    else ctx.body = { ended: ended.count, ...(!ended.exact && { approximate: true }) };
  },
  response: {
    description: 'How many sessions ended.',
    content: {
      'application/json': {
        schema: {
          type: 'object',
          required: ['ended'],
          properties: {
            ended: { type: 'integer', minimum: 0 },
            approximate: {
              const: true,
              description:
                'Set when `ended` is an estimate, because the sessions of all users were too many to count.',
            },
          },
        },
        example: { ended: 1 },
      },
    },
  },
};

function jsonContent(properties: object, value: object): object {
  return { 'application/json': { schema: objectOf(properties), example: value } };
}

function objectOf(properties: object): object {
  return { type: 'object', required: Object.keys(properties), properties };
}
