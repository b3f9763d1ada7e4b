import type { Operation } from 'plugin-server';
import { handlePattern, sessionIdPattern } from '../session-id.js';
import { type Call, parametersOf } from './calls.js';
import type { ParameterName } from './parameters.js';

/** The OpenAPI operation of a call, made from its entry in the table. */
export function operationOf(call: Call, method: 'get' | 'post'): Operation {
  const parameters = parametersOf(call);
  const inQuery = parameters.filter(([name]) => name !== 'data');
  const needsBody = method === 'post' && call.takes.data === 'required';
  return {
    operationId: `sessman_${call.path}`,
    summary: call.summary,
    description: call.description,
    tags: ['sessman'],
    parameters: [
      ...inQuery.map(([name]) => ({
        name,
        in: 'query',
        description: `${descriptions[name]}${method === 'post' ? ' May stand in the body instead.' : ''}`,
        schema: schemas[name],
      })),
      ...(call.namesSession ? [sessionIdHeader] : []),
      ...(call.takes.version ? [ifMatchHeader] : []),
    ],
    ...(method === 'post' && {
      requestBody: {
        required: needsBody,
        content: {
          'application/json': {
            schema: {
              type: 'object',
              properties: Object.fromEntries(
                parameters.map(([name]) => [name, { ...schemas[name], description: descriptions[name] }]),
              ),
              additionalProperties: false,
              ...(needsBody && { required: ['data'] }),
            },
            example: exampleBody(call),
          },
        },
      },
    }),
    responses: {
      200: answers[call.answers],
      400: error('A parameter is missing, malformed, given twice or unknown; the sentence says which.'),
      ...(call.answers === 'session' && call.namesSession && { 404: notFound }),
      ...(call.path.startsWith('end') && { 404: notFound }),
      ...(call.path === 'new' && { 409: error('There is a session with the chosen session_id.') }),
      ...(call.takes.version && {
        412: error('`version_mismatch`: the session has changed; `version` is the current one.'),
      }),
      ...(call.takes.data && { 413: error('`data_too_large`: the data would be larger than `max_data`.') }),
      503: error('`store_unavailable` or `store_full`: try again after the seconds in Retry-After.'),
    },
  };
}

const example = {
  session_id: 'mJ8tV5cB2nQ0xYw7Lr3dKzGfH1pS9aEuTiNbVqWoXkc',
  userid: 'mary',
  data: { cart: ['apple'] },
  version: 1,
  created_at: '2030-01-31T12:00:00.000Z',
  updated_at: '2030-01-31T12:00:00.000Z',
  expires_at: '2030-02-01T12:00:00.000Z',
};
const handle = example.session_id.slice(0, 16);

const time = { type: 'string', format: 'date-time' };

const schemas: Record<ParameterName, object> = {
  session_id: { type: 'string', pattern: sessionIdPattern.source },
  userid: { type: 'string', minLength: 1, maxLength: 1024 },
  handle: { type: 'string', pattern: handlePattern.source },
  except: { type: 'string', pattern: sessionIdPattern.source },
  version: { type: 'integer', minimum: 0 },
  data: { type: 'object', additionalProperties: true },
};

const descriptions: Record<ParameterName, string> = {
  session_id: 'The session id, also as `sessionid`.',
  userid: 'The user, also as `user`: at most 1024 bytes of UTF-8.',
  handle: 'The handle of a session, as list shows it.',
  except: 'The id of a session that is to stay.',
  version: 'The version that the session must have.',
  data: 'Any JSON object.',
};

const sessionIdHeader = {
  name: 'X-Session-Id',
  in: 'header',
  description: 'The session id, in place of `session_id`: it then stands in no URL.',
  schema: schemas.session_id,
};

const ifMatchHeader = {
  name: 'If-Match',
  in: 'header',
  description: 'The ETag of an answer, in place of `version`; `*` is any.',
  schema: { type: 'string' },
};

const answers = {
  session: {
    description: 'The session.',
    headers: { ETag: { description: 'The version.', schema: { type: 'string' }, example: '"1"' } },
    content: {
      'application/json': {
        schema: {
          type: 'object',
          required: Object.keys(example),
          properties: {
            session_id: schemas.session_id,
            userid: schemas.userid,
            data: schemas.data,
            version: { type: 'integer', minimum: 1 },
            created_at: time,
            updated_at: time,
            expires_at: time,
          },
        },
        example,
      },
    },
  },
  list: {
    description: 'The sessions.',
    content: {
      'application/json': {
        schema: {
          type: 'object',
          required: ['sessions'],
          properties: {
            sessions: {
              type: 'array',
              items: {
                type: 'object',
                required: ['handle', 'created_at', 'updated_at', 'expires_at'],
                properties: { handle: schemas.handle, created_at: time, updated_at: time, expires_at: time },
              },
            },
          },
        },
        example: {
          sessions: [
            {
              handle,
              created_at: example.created_at,
              updated_at: example.updated_at,
              expires_at: example.expires_at,
            },
          ],
        },
      },
    },
  },
  count: {
    description: 'How many sessions ended.',
    content: {
      'application/json': {
        schema: {
          type: 'object',
          required: ['ended'],
          properties: { ended: { type: 'integer', minimum: 0 } },
        },
        example: { ended: 1 },
      },
    },
  },
};

const notFound = error('`session_not_found`: unknown, expired, ended, or not of that user.');

function error(description: string): object {
  return { description, content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } };
}

function exampleBody(call: Call): object {
  const values: Record<ParameterName, unknown> = {
    ...example,
    handle,
    except: example.session_id,
  };
  return Object.fromEntries(
    parametersOf(call)
      .filter(
        ([name, need]) =>
          need !== 'optional' || name === 'data' || (name === 'session_id' && call.namesSession),
      )
      .map(([name]) => [name, values[name]]),
  );
}
