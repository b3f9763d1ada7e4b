import type { RawError } from './raw-response.js';

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
export function malformed(error: ParserError): RawError {
  switch (error.code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return {
        status: 408,
        code: 'request_timeout',
        sentence: 'The request did not arrive in time. Send it again.',
      };
    case 'HPE_HEADER_OVERFLOW':
      return isWithinTarget(error) ? TARGET_TOO_LONG : HEADERS_TOO_LARGE;
    case 'HPE_INVALID_METHOD':
      if (REQUEST_LINE.test(lineOf(error))) {
        return {
          status: 501,
          code: 'unknown_method',
          sentence: 'The method of the request is not one that this server knows.',
        };
      }
      break;
    case 'HPE_INVALID_VERSION':
      if (REQUEST_LINE.test(lineOf(error))) {
        return {
          status: 505,
          code: 'http_version_not_supported',
          sentence: 'The HTTP version is not supported. Use HTTP/1.1.',
        };
      }
      break;
    default:
  }
  return { status: 400, code: 'malformed_request', sentence: 'The request is not valid HTTP.' };
}

const HEADERS_TOO_LARGE: RawError = {
  status: 431,
  code: 'headers_too_large',
  sentence: 'The request line and headers are larger than 16 KiB. Send fewer or shorter headers.',
};

const TARGET_TOO_LONG: RawError = {
  status: 414,
  code: 'target_too_long',
  sentence: 'The request line and headers are larger than 16 KiB. Send a shorter URL.',
};

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
