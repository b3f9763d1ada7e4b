import type { IncomingMessage } from 'node:http';
import { hostError } from './errors.js';

/** Throws for a head that Node's parser lets pass and RFC 9110 and 9112 do not. It runs for each request. */
export function judgeHead(request: IncomingMessage): void {
  const { headers } = request;
  if (request.httpVersionMajor !== 1) {
    throw hostError('http_version_not_supported', CLOSE);
  }
  judgeHost(request);
  judgeNames(request);
  if (headers['x-forwarded-for'] ?? headers['x-forwarded-host'] ?? headers['x-forwarded-proto'])
    shorten(request);
  if (headers['transfer-encoding'] !== undefined) judgeCoding(request);
  if (headers.expect !== undefined && request.httpVersionMinor > 0) judgeExpect(headers.expect);
}

const CLOSE = { headers: { Connection: 'close' } };

/** RFC 9110 section 7.2 with RFC 3986 section 3.2: a name or an address, and a port. */
const HOST =
  /^(?:\[[\da-f:.]+\]|\[v[\da-f]+\.[\w.~!$&'()*+,;=:-]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})*)(?::\d*)?$/i;
/** Whether it has the form of a Host, the empty one included. */
export function isHost(text: string): boolean {
  return HOST.test(text);
}

/** Most requests come with the Host of the one before. */
let validHost = '';

/** RFC 9112 section 3.2: a Host of the right form, which only HTTP/1.0 may leave out. */
function judgeHost(request: IncomingMessage): void {
  const { host } = request.headers;
  if (host === undefined) {
    if (request.httpVersionMinor === 0) return;
    throw hostError('host_required', CLOSE);
  }
  if (host !== validHost) {
    if (!isHost(host)) {
      throw hostError('invalid_host', { several: false }, CLOSE);
    }
    validHost = host;
  }
}

/**
 * RFC 9112 section 5.1: no blank in a name or after it, which old releases of Node let pass. Section 3.2: one Host; of
 * several, Node keeps the first.
 */
function judgeNames({ rawHeaders }: IncomingMessage): void {
  let hosts = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.includes(' ')) throw hostError('malformed_request', { part: 'request' }, CLOSE);
    if (name.length === 4 && (name === 'Host' || name.toLowerCase() === 'host')) hosts += 1;
  }
  if (hosts > 1) throw hostError('invalid_host', { several: true }, CLOSE);
}

/** RFC 9112 section 6.1: only chunked can be decoded. */
function judgeCoding({ headers, httpVersionMinor }: IncomingMessage): void {
  if (httpVersionMinor === 0) {
    throw hostError('malformed_request', { part: 'coding' }, CLOSE);
  }
  if (headers['transfer-encoding']!.trim().toLowerCase() === 'chunked') return;
  throw hostError('unsupported_transfer_coding', CLOSE);
}

/** Koa splits these headers in a time that grows with the square of the blanks in them. */
const SPLIT = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto'];

function shorten({ headers }: IncomingMessage): void {
  for (const name of SPLIT) {
    const value = headers[name];
    if (typeof value === 'string') headers[name] = value.replaceAll(/[ \t]{2,}/g, ' ');
  }
}

/** RFC 9110 section 10.1.1. Of HTTP/1.0 an Expect is ignored. */
function judgeExpect(expect: string): void {
  if (expect.toLowerCase() === '100-continue') return;
  throw hostError('expectation_failed', CLOSE);
}
