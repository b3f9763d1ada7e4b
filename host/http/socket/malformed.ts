import type { HttpError } from '../../kit/http-error.js';
import { hostError } from '../errors.js';

/** What Node says of a request that its parser or its timer refused. */
export interface ParserError {
  readonly code?: string | undefined;
  /** The bytes that arrived last, and how many of them were read before the fault. */
  readonly rawPacket?: Buffer;
  readonly bytesParsed?: number;
}

/** A request line that is well-formed, whatever its method and version. RFC 9112 section 3. */
const REQUEST_LINE = /^[!#$%&'*+\-.^_`|~\w]+ [^\s]+ HTTP\/\d\.\d\r?$/;

/** The response to what Node's parser or its timer refused. */
export function malformed(error: ParserError): HttpError {
  switch (error.code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return hostError('request_timeout');
    case 'HPE_HEADER_OVERFLOW':
      return hostError(isWithinTarget(error) ? 'target_too_long' : 'headers_too_large');
    case 'HPE_INVALID_METHOD':
      if (REQUEST_LINE.test(lineOf(error))) return hostError('unknown_method');
      break;
    case 'HPE_INVALID_VERSION':
      if (REQUEST_LINE.test(lineOf(error))) return hostError('http_version_not_supported');
      break;
    default:
  }
  return hostError('malformed_request', { part: 'request' });
}

/** The line in which the fault was found. */
function lineOf({ rawPacket, bytesParsed = 0 }: ParserError): string {
  if (rawPacket === undefined) return '';
  const start = bytesParsed === 0 ? 0 : rawPacket.lastIndexOf(LF, bytesParsed - 1) + 1;
  const end = rawPacket.indexOf(LF, start);
  return rawPacket.toString('latin1', start, end < 0 ? rawPacket.length : end);
}

/** Whether the request line had not ended yet: no target holds a blank, no header does without a colon or a blank. */
function isWithinTarget(error: ParserError): boolean {
  const { rawPacket, bytesParsed = rawPacket?.length ?? 0 } = error;
  if (rawPacket === undefined) return false;
  const start = rawPacket.lastIndexOf(LF, bytesParsed - 1) + 1;
  const text = rawPacket.toString('latin1', start, bytesParsed);
  return start === 0 ? /^(?:[A-Z-]+ )?[^\s]*$/.test(text) : /^[A-Z-]+ [^\s]*$/.test(text);
}

const LF = 10;
