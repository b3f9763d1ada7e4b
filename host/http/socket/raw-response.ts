import { freshRequestId } from './request-id.js';

export interface RawError {
  readonly status: number;
  readonly code: string;
  readonly sentence: string;
  readonly headers?: readonly string[];
}

/** A whole error answer as text, in the form of every other, for a socket that has no request; and the id in it. */
export function rawError({ status, code, sentence, headers = [] }: RawError): { text: string; id: string } {
  const id = freshRequestId();
  const body = { error: sentence, code, request_id: id };
  return { text: rawAnswer(status, body, [`X-Request-Id: ${id}`, ...headers]), id };
}

/** A whole answer as text, after which the connection closes. */
export function rawAnswer(status: number, body: object, headers: readonly string[] = []): string {
  const text = JSON.stringify(body);
  return [
    `HTTP/1.1 ${status} ${reasons[status] ?? ''}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    ...headers,
    '',
    text,
  ].join('\r\n');
}

const reasons: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  408: 'Request Timeout',
  413: 'Payload Too Large',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  503: 'Service Unavailable',
};
