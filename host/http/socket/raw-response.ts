import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { HttpError } from '../../kit/http-error.js';
import { freshRequestId } from './request-id.js';
import { securityHeaders } from './security-headers.js';

/** Milliseconds that a client may take to read the response after which its connection closes. */
const FAREWELL = 1000;

/** A whole error response as text, in the form of every other, for a socket that has no request; and its id. */
export function rawError(
  { status, code, message, headers = {} }: HttpError,
  tls = false,
  id = freshRequestId(),
): { text: string; id: string } {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const body = { error: message, code, request_id: id };
  return { text: rawAnswer(status, body, [`X-Request-Id: ${id}`, ...lines], tls), id };
}

/** A whole response as text, after which the connection closes. */
export function rawAnswer(
  status: number,
  body: object,
  headers: readonly string[] = [],
  tls = false,
): string {
  const text = JSON.stringify(body);
  const security = securityHeaders(tls);
  const lines = security.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${security[i + 1]}`] : []));
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    'Connection: close',
    `Date: ${new Date().toUTCString()}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(text)}`,
    ...lines,
    ...headers,
    '',
    text,
  ].join('\r\n');
}

/** Sends the last bytes of a connection and closes it, also where the client keeps its own side open. */
export function sayGoodbye(socket: Socket, text: string): void {
  socket.on('error', () => {});
  // Whatever the client still sends is read: the kernel answers unread bytes with a reset, which may overtake the response.
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), FAREWELL);
  socket.once('close', () => clearTimeout(timer));
  socket.end(text);
}
