import type { IncomingMessage } from 'node:http';
import { HttpError } from '../kit/http-error.js';

/** Throws for a head that Node's parser lets pass and RFC 9110 and 9112 do not. It runs for each request. */
export function judgeHead(request: IncomingMessage): void {
  const { headers } = request;
  if (request.httpVersionMajor !== 1) {
    throw new HttpError(
      505,
      'http_version_not_supported',
      'The HTTP version is not supported. Use HTTP/1.1.',
      CLOSE,
    );
  }
  judgeHost(request);
  if (headers['transfer-encoding'] !== undefined) judgeCoding(request);
  if (headers.expect !== undefined && request.httpVersionMinor > 0) judgeExpect(headers.expect);
}

const CLOSE = { headers: { Connection: 'close' } };

/** RFC 9110 section 7.2 with RFC 3986 section 3.2: a name or an address, and a port. */
const HOST =
  /^(?:\[[\da-f:.]+\]|\[v[\da-f]+\.[\w.~!$&'()*+,;=:-]+\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})*)(?::\d*)?$/i;
/** Most requests come with the Host of the one before. */
let validHost = '';

/** RFC 9112 section 3.2: exactly one Host of the right form, which only HTTP/1.0 may leave out. */
function judgeHost(request: IncomingMessage): void {
  const { host } = request.headers;
  if (host === undefined) {
    if (request.httpVersionMinor === 0) return;
    throw new HttpError(400, 'host_required', 'An HTTP/1.1 request requires a Host header.', CLOSE);
  }
  if (host !== validHost) {
    if (!HOST.test(host)) {
      throw new HttpError(400, 'invalid_host', 'The Host header is not a valid host name or address.', CLOSE);
    }
    validHost = host;
  }
  // Node keeps the first of several.
  const { rawHeaders } = request;
  let count = 0;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length === 4 && (name === 'Host' || name.toLowerCase() === 'host')) count += 1;
  }
  if (count > 1)
    throw new HttpError(400, 'invalid_host', 'The request has more than one Host header.', CLOSE);
}

/** RFC 9112 section 6.1: what is coded in another way than chunked cannot be read. */
function judgeCoding({ headers, httpVersionMinor }: IncomingMessage): void {
  if (httpVersionMinor === 0) {
    throw new HttpError(400, 'malformed_request', 'Transfer-Encoding requires HTTP/1.1.', CLOSE);
  }
  if (headers['transfer-encoding']!.trim().toLowerCase() === 'chunked') return;
  throw new HttpError(
    501,
    'unsupported_transfer_coding',
    'The Transfer-Encoding is not supported. Use chunked, or send a Content-Length.',
    CLOSE,
  );
}

/** RFC 9110 section 10.1.1. Of HTTP/1.0 an Expect is ignored. */
function judgeExpect(expect: string): void {
  if (expect.toLowerCase() === '100-continue') return;
  throw new HttpError(
    417,
    'expectation_failed',
    'The Expect header is not supported; the only value accepted is 100-continue.',
    CLOSE,
  );
}
