import { STATUS_CODES } from 'node:http';
import { HttpError } from '../kit/http-error.js';
import { type HostErrorCode, hostErrors } from './errors.js';

/** What a client is told of an error. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: string; readonly code: string; readonly [detail: string]: unknown };
}

/** The code of an answer whose error names none, by status. */
const CODES = new Map<number, HostErrorCode>(
  (
    [
      'bad_request',
      'unauthorized',
      'forbidden',
      'not_found',
      'method_not_allowed',
      'not_acceptable',
      'request_timeout',
      'conflict',
      'gone',
      'precondition_failed',
      'body_too_large',
      'unsupported_media_type',
      'range_not_satisfiable',
      'expectation_failed',
      'unprocessable',
      'too_many_requests',
      'headers_too_large',
      'internal_error',
      'not_implemented',
      'unavailable',
    ] as const
  ).map((code) => [hostErrors[code].status, code]),
);

/** The answer to an error thrown on the way: its own words where they are meant for the client, else the status's. */
export function errorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof HttpError) {
    const { status, code, message, headers = {}, details = {} } = error;
    return { status, headers, body: { error: message, code, ...details } };
  }
  // ctx.throw and other http-errors: http-errors' README says what `expose` means.
  const { status, statusCode, expose, message, code, headers } = (error ?? {}) as Record<string, unknown>;
  const claimed = status ?? statusCode;
  const known =
    typeof claimed === 'number' && claimed >= 400 && STATUS_CODES[claimed] !== undefined ? claimed : 500;
  const own = expose === true && typeof message === 'string';
  return {
    status: known,
    headers: typeof headers === 'object' && headers !== null ? (headers as Record<string, string>) : {},
    body: {
      error: own ? message : statusSentence(known),
      code: own && typeof code === 'string' && /^[a-z][a-z0-9_]*$/.test(code) ? code : statusCodeName(known),
    },
  };
}

/** The answer for a status that a plugin set without a body. */
export function statusAnswer(status: number): ErrorAnswer {
  return { status, headers: {}, body: { error: statusSentence(status), code: statusCodeName(status) } };
}

function statusSentence(status: number): string {
  const code = CODES.get(status);
  const message = code && hostErrors[code].message;
  return typeof message === 'string' ? message : `${STATUS_CODES[status] ?? 'Error'}.`;
}

function statusCodeName(status: number): HostErrorCode {
  return CODES.get(status) ?? (status < 500 ? 'bad_request' : 'internal_error');
}
