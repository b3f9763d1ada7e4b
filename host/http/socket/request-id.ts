import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** What may come in as X-Request-Id: visible and harmless in a log line and a header. */
const VALID = /^[\w.:+/=@-]{1,128}$/;

const prefix = `${randomBytes(6).toString('base64url')}-`;
let counter = 0;

/** The request's own `X-Request-Id` where it is valid, else a new id, unique over processes and restarts. */
export function requestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id'];
  if (typeof given === 'string' && VALID.test(given)) return given;
  return freshRequestId();
}

export function freshRequestId(): string {
  counter += 1;
  return prefix + counter.toString(36);
}
