import { type IncomingMessage, STATUS_CODES } from 'node:http';
import { requestId } from './request-id.js';

export interface RawError {
  readonly status: number;
  readonly code: string;
  readonly sentence: string;
  readonly headers?: readonly string[];
}

/** A whole error answer as text, in the form of every other, for a socket that has no request; and the id in it. */
export function rawError({ status, code, sentence, headers = [] }: RawError): { text: string; id: string } {
  const id = requestId({ headers: {} } as IncomingMessage);
  const body = JSON.stringify({ error: sentence, code, request_id: id });
  const text = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    `X-Request-Id: ${id}`,
    ...headers,
    '',
    body,
  ].join('\r\n');
  return { text, id };
}
