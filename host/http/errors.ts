import { STATUS_CODES } from 'node:http';
import type { Control } from '../control.js';
import { HttpError } from '../kit/http-error.js';

/** What a client is told of an error. */
export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: { readonly error: string; readonly code: string; readonly [detail: string]: unknown };
}

/** The `code` of an answer whose error names none, by status. */
const CODES = new Map<number, string>([
  [400, 'bad_request'],
  [401, 'unauthorized'],
  [403, 'forbidden'],
  [404, 'not_found'],
  [405, 'method_not_allowed'],
  [406, 'not_acceptable'],
  [408, 'request_timeout'],
  [409, 'conflict'],
  [410, 'gone'],
  [412, 'precondition_failed'],
  [413, 'body_too_large'],
  [415, 'unsupported_media_type'],
  [417, 'expectation_failed'],
  [422, 'unprocessable'],
  [429, 'too_many_requests'],
  [431, 'headers_too_large'],
  [500, 'internal_error'],
  [501, 'not_implemented'],
  [503, 'unavailable'],
]);

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
  if (status === 404) return 'There is nothing at this path.';
  if (status === 500) return 'The server failed to answer; its log says why, under this request id.';
  return `${STATUS_CODES[status] ?? 'Error'}.`;
}

function statusCodeName(status: number): string {
  return CODES.get(status) ?? (status < 500 ? 'bad_request' : 'internal_error');
}

/** The control routes, and whatever else is the operator's alone, are closed without a global key. */
export function noGlobalKey(): HttpError {
  return new HttpError(
    403,
    'no_global_key',
    'This is closed while no global key is set: write apikey=KEY in [auth] of the INI file.',
  );
}

export function requireControl(control: Control | undefined): Control {
  if (control !== undefined) return control;
  throw new HttpError(
    501,
    'reload_unavailable',
    'This server runs without a supervisor, which a reload needs.',
  );
}
