import { STATUS_CODES } from 'node:http';
import { HttpError } from '../kit/http-error.js';
import { type HostErrorCode, hostErrors } from './errors.js';

/** The response to an error. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: string; readonly code: string; readonly [detail: string]: unknown };
}

/** The code of a response whose error has none, by status. */
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

/** The response to a thrown error: its own message if that is meant for the client, else the status's. */
export function errorAnswer(error: unknown): ErrorAnswer {
  if (error instanceof HttpError) {
    const { status, code, message, headers = {}, details = {} } = error;
    return { status, headers, body: { error: message, code, ...details } };
  }
  if (!isHttpErrors(error)) return statusAnswer(500);
  const { status, expose, message, headers, code } = error;
  return {
    status,
    headers: headers ?? {},
    body: {
      error: expose ? message : statusSentence(status),
      code:
        expose && typeof code === 'string' && /^[a-z][a-z0-9_]*$/.test(code) ? code : statusCodeName(status),
    },
  };
}

interface HttpErrorsError extends Error {
  readonly status: number;
  readonly expose: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly code?: unknown;
}

/**
 * An error from npm's http-errors, as ctx.throw creates it. Errors of an HTTP client have a status too, but that is the status
 * of another server's response.
 */
function isHttpErrors(error: unknown): error is HttpErrorsError {
  if (!(error instanceof Error)) return false;
  const { status, statusCode, expose } = error as unknown as Record<string, unknown>;
  return (
    typeof status === 'number' &&
    status === statusCode &&
    status >= 400 &&
    STATUS_CODES[status] !== undefined &&
    typeof expose === 'boolean' &&
    (expose || status >= 500)
  );
}

/** The response for a status that a plugin set without a body. */
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
