import type { Operation } from 'plugin-server';
import { errors, type SessmanErrorCode } from '../errors.js';
import { example } from './answer.js';
import type { Call } from './calls.js';
import { type ParameterName, parameters, parametersOf } from './parameters.js';

/** The OpenAPI operation of a call, made from its entry in the table, those of its parameters and those of its errors. */
export function operationOf(call: Call, method: 'get' | 'post', cookieMode = false): Operation {
  const { takes } = call;
  const named = parametersOf(takes);
  const needsBody = method === 'post' && takes.data === 'required';
  return {
    operationId: `sessman_${call.path}`,
    summary: call.summary,
    description: call.description,
    parameters: [
      ...named
        .filter(([name]) => !parameters[name].onlyInBody)
        .map(([name, need]) => ({
          name,
          in: 'query',
          description: `${parameters[name].description}${method === 'post' ? ' May be in the body instead.' : ''}`,
          schema: parameters[name].schema,
          // A POST may have it in the body, and the session's id may be in a header.
          ...(method === 'get' &&
            need === 'required' &&
            !(name === 'session_id' && call.namesSession) && { required: true }),
        })),
      ...(call.namesSession ? [sessionIdHeader] : []),
      ...(takes.version ? [ifMatchHeader] : []),
      ...(cookieMode && call.byCookie !== 'nothing' ? [sessionHandleHeader] : []),
    ],
    ...(method === 'post' && {
      requestBody: {
        required: needsBody,
        content: {
          'application/json': {
            schema: {
              type: 'object',
              properties: Object.fromEntries(
                named.map(([name]) => [
                  name,
                  { ...parameters[name].schema, description: parameters[name].description },
                ]),
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
      200: call.answer.response,
      ...errorResponses([...call.errors, ...commonErrors, ...(cookieMode ? cookieErrors : [])]),
    },
  };
}

/** The responses that any call may have. */
const commonErrors: readonly SessmanErrorCode[] = [
  'missing_parameter',
  'invalid_parameter',
  'unknown_parameter',
  'duplicate_parameter',
  'conflicting_parameter',
  'store_unavailable',
  'store_full',
];

/** The responses that any call may have in cookie mode. */
const cookieErrors: readonly SessmanErrorCode[] = ['session_required', 'key_required', 'foreign_origin'];

const sessionIdHeader = {
  name: 'X-Session-Id',
  in: 'header',
  description: 'The session id in place of `session_id`, which keeps it out of URLs.',
  schema: parameters.session_id.schema,
};

const sessionHandleHeader = {
  name: 'X-Session-Handle',
  in: 'header',
  description:
    'The handle of the session that the cookie must belong to: with the cookie of another session, the call gets 404.',
  schema: parameters.handle.schema,
};

const ifMatchHeader = {
  name: 'If-Match',
  in: 'header',
  description: 'The ETag of a response in place of `version`, or a list of them; `*` matches any version.',
  schema: { type: 'string' },
};

/** By status, each with the codes that it may have. */
function errorResponses(codes: readonly SessmanErrorCode[]): Record<string, object> {
  const byStatus = new Map<number, string[]>();
  for (const code of codes) {
    const { status, when } = errors[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), `\`${code}\`: ${when}`]);
  }
  const content = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } };
  return Object.fromEntries(
    [...byStatus].map(([status, lines]) => [status, { description: lines.join('\n\n'), content }]),
  );
}

function exampleBody(call: Call): object {
  const values: Record<ParameterName, unknown> = {
    ...example,
    except: 'current',
    authenticated: true,
    remember: false,
    about: { device: 'phone' },
    ip: '203.0.113.7',
    user_agent: 'Mozilla/5.0',
    everyone: false,
    limit: 100,
    after: example.handle,
    userid_prefix: 'ma',
    touch: true,
    max_auth_age: 300,
  };
  return Object.fromEntries(
    parametersOf(call.takes)
      .filter(
        ([name, need]) =>
          need !== 'optional' ||
          name === 'data' ||
          call.shows?.includes(name) ||
          (name === 'session_id' && call.namesSession),
      )
      .map(([name]) => [name, values[name]]),
  );
}
