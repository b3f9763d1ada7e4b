import { defineErrors, type ErrorTable } from '../kit/error-table.js';
import { storageErrors } from '../storage/errors.js';

/** Every error response of the host itself. */
export const hostErrors = {
  // Before there is a request
  malformed_request: {
    status: 400,
    message: ({ part }: { part: 'request' | 'target' | 'coding' }) =>
      ({
        request: 'The request is not valid HTTP.',
        target: 'The request target is not a valid URL.',
        coding: 'Transfer-Encoding requires HTTP/1.1.',
      })[part],
    when: 'The request breaks the rules of HTTP, or its target is not a valid URL.',
    remedy: 'Send the request with an HTTP library, and percent-encode the URL.',
  },
  headers_too_large: {
    status: 431,
    message: 'The request line and headers are larger than 16 KiB. Send fewer or shorter headers.',
    when: 'The request line and the headers together exceed 16 KiB.',
    remedy: 'Send fewer or shorter headers, and move long values from the URL to the body.',
  },
  target_too_long: {
    status: 414,
    message: 'The request line and headers are larger than 16 KiB. Send a shorter URL.',
    when: 'The request line alone exceeds 16 KiB.',
    remedy: 'Move long values from the URL to the body.',
  },
  unknown_method: {
    status: 501,
    message: 'The server does not know the method of the request.',
    when: 'The method is not an HTTP method, and no plugin has this path.',
    remedy: 'Use a method of the path; "plugin-server routes" lists them.',
  },
  http_version_not_supported: {
    status: 505,
    message: 'The HTTP version is not supported. Use HTTP/1.1.',
    when: 'The request line names a version other than HTTP/1.0 or HTTP/1.1.',
    remedy: 'Send the request as HTTP/1.1.',
  },
  unsupported_transfer_coding: {
    status: 501,
    message: 'The Transfer-Encoding is not supported. Use chunked, or send a Content-Length.',
    when: 'The Transfer-Encoding is anything but chunked.',
    remedy: 'Send the body chunked or with a Content-Length; compress with Content-Encoding.',
  },
  request_timeout: {
    status: 408,
    message: 'The request did not arrive in time. Send it again.',
    when: 'The head or the body arrives more slowly than header_timeout or request_timeout in [limits] allows.',
    remedy: 'Send the request again; for slow uploads, raise request_timeout in [limits].',
  },
  expectation_failed: {
    status: 417,
    message: 'The Expect header is not supported; the only supported value is 100-continue.',
    when: 'The request has an Expect header other than 100-continue.',
    remedy: 'Omit the header.',
  },
  too_many_connections: {
    status: 503,
    message: 'The server has reached its connection limit. Try again shortly.',
    when: 'The number of open connections has reached connections in [limits].',
    remedy: 'Try again after the delay in Retry-After, and reuse connections.',
  },
  overloaded: {
    status: 503,
    message: 'The server has more requests than it can answer in time. Try again shortly.',
    when: 'The request waited, or would have to wait, longer than max_delay in [limits].',
    remedy: 'Try again after the delay in Retry-After; if this happens often, add workers or hosts.',
  },

  workers_silent: {
    status: 503,
    message: ({ pids }: { pids: readonly number[] }) =>
      pids.length === 0
        ? 'No worker is running. Try again shortly.'
        : `No worker responds (process ${pids.join(', ')}). Try again shortly.`,
    when: 'No worker is running, or all are busy or hang, and the request came to the address in [admin].',
    remedy:
      'Try again after the delay in Retry-After. A worker that does not respond is replaced after worker_timeout in [network].',
  },
  worker_lost: {
    status: 502,
    message: 'The worker that handled the request has ended. Send the request again.',
    when: 'A worker crashed before it responded, and the request came to the address in [admin].',
    remedy: 'Send the request again if that is safe. The log says why the worker ended.',
  },

  // The request's head
  host_required: {
    status: 400,
    message: 'An HTTP/1.1 request requires a Host header.',
    when: 'An HTTP/1.1 request has no Host header.',
    remedy: 'Send the Host header, as every HTTP library does.',
  },
  invalid_host: {
    status: 400,
    message: ({ several }: { several: boolean }) =>
      several
        ? 'The request has more than one Host header.'
        : 'The Host header is not a valid host name or address.',
    when: 'The Host header is not a host name or address, or is sent more than once.',
    remedy: 'Send one Host header with the name of the server.',
  },
  wrong_host: {
    status: 421,
    message: 'This server does not answer to the host name in this request.',
    when: 'The Host header names a host that is not in hosts in [network]; without a global key, only localhost and IP addresses are accepted by default.',
    remedy: 'Add the name to hosts in [network].',
  },
  foreign_origin: {
    status: 403,
    message: ({ to }: { to: 'plugin' | 'websocket' }) =>
      to === 'plugin'
        ? 'Pages from other sites cannot use this path while the server has no API key. Set apikey in [auth], or add the origin to [cors].'
        : 'Pages from other sites cannot open this WebSocket. Add the origin to [cors].',
    when: 'A page from another site calls a plugin that is open only because no global key is set, or opens a WebSocket.',
    remedy: 'Add the origin to origin_url in [cors]; for a plugin, setting apikey in [auth] also helps.',
  },
  api_key_required: {
    status: 401,
    message: 'This path requires an API key. Send it as "Authorization: Bearer KEY".',
    when: 'The request has no API key and the path requires one.',
    remedy: 'Send the key as "Authorization: Bearer KEY".',
  },
  wrong_api_key: {
    status: 401,
    message: 'The API key is not valid for this path.',
    when: 'The API key does not open this path.',
    remedy: 'Send the key that the operator set for this plugin, or the global key where the plugin uses it.',
  },
  rate_limited: {
    status: 429,
    message: ({ rate, window, seconds }: { rate: number; window: number; seconds: number }) =>
      `Rate limit exceeded (${rate} requests per ${window} s). Try again in ${seconds} s.`,
    when: 'The client has used up the requests that rate in [limits] allows.',
    remedy: 'Try again after the delay in Retry-After.',
  },
  not_found: {
    status: 404,
    message: 'Nothing is served at this path.',
    when: 'No plugin and no route has this path.',
    remedy: 'Compare the path with "plugin-server routes".',
  },
  no_response: {
    status: 404,
    message:
      'The handler of this route set no response. Set ctx.body, and await the code that sets it; a handler of route() may return it.',
    when: "A route's handler sets no response. Shown under start --watch and by startPlugin; elsewhere the code is not_found, and the log names the route.",
    remedy: 'Set ctx.body in the handler, and await the code that sets it.',
  },
  method_not_allowed: {
    status: 405,
    message: ({ method, allow }: { method: string; allow: string }) =>
      `${method} is not allowed here; allowed: ${allow}`,
    when: 'The path has routes, but none for this method.',
    remedy: 'Use one of the methods in the Allow header.',
  },
  websocket_required: {
    status: 426,
    message: 'This path accepts only WebSockets. Connect with a WebSocket client.',
    when: 'A request for a WebSocket does not ask for the upgrade.',
    remedy:
      'Connect with a WebSocket client; a proxy in front must pass on the Upgrade and Connection headers.',
  },
  unsupported_websocket_version: {
    status: 426,
    message: 'The WebSocket version is not supported. Use version 13.',
    when: 'Sec-WebSocket-Version is not 13.',
    remedy: 'Use a client that implements RFC 6455.',
  },
  invalid_websocket_handshake: {
    status: 400,
    message: 'The WebSocket handshake is not valid.',
    when: 'Sec-WebSocket-Key or Sec-WebSocket-Extensions is not valid.',
    remedy: 'Use a client that implements RFC 6455.',
  },
  unsupported_subprotocol: {
    status: 400,
    message: ({ listed }: { listed: readonly string[] }) =>
      listed.length === 0
        ? 'This WebSocket has no subprotocols. Offer none.'
        : `None of the offered subprotocols is supported; supported: ${listed.join(', ')}`,
    when: 'The client offers WebSocket subprotocols, and none of them is supported.',
    remedy: 'Offer one of the subprotocols in the message.',
  },
  invalid_parameter: {
    status: 400,
    message: 'A percent-encoding in the path, the query or the form is not valid UTF-8.',
    when: 'A percent-encoding in the path, the query or a form does not decode to UTF-8.',
    remedy: 'Encode the values with encodeURIComponent.',
  },

  invalid_request: {
    status: 400,
    message: ({ problems }: { problems: readonly RequestFault[] }) =>
      `The request is not valid: ${problems.slice(0, SHOWN).map(describeFault).join('; ')}${
        problems.length > SHOWN ? `; and ${problems.length - SHOWN} more` : ''
      }.`,
    when: 'The parameters, the query or the body do not match the schemas of the route.',
    remedy: 'Correct each of the `problems` in the response; /openapi.json describes the route.',
  },

  // The body
  body_incomplete: {
    status: 400,
    message: 'The connection closed before the whole body arrived.',
    when: 'The connection closes while the body is being read.',
    remedy: 'Send the request again.',
  },
  body_too_large: {
    status: 413,
    message: ({ limit }: { limit: number }) => `The body is larger than ${limit} bytes.`,
    when: "The body, once decompressed, is larger than body in [limits], body_limit in the plugin's line or the route allows.",
    remedy: "Send a smaller body, or raise body in [limits], or body_limit in the plugin's line.",
  },
  body_too_deep: {
    status: 400,
    message: ({ depth }: { depth: number }) => `The body is nested more than ${depth} levels deep.`,
    when: 'Objects and arrays in the body are nested deeper than depth in [limits].',
    remedy: 'Send a flatter body, or raise depth in [limits].',
  },
  invalid_json: {
    status: 400,
    message: ({ fault }: { fault: string }) => `The body is not valid JSON: ${fault}.`,
    when: 'The body is not JSON, or is neither an object nor an array.',
    remedy: 'Correct the body at the line and column in the message.',
  },
  invalid_utf8: {
    status: 400,
    message: ({ offset }: { offset: number }) =>
      `The body is not valid UTF-8: the byte at offset ${offset} is wrong.`,
    when: 'The body has bytes that are not UTF-8.',
    remedy: 'Encode the body as UTF-8; put binary data in base64.',
  },
  duplicate_parameter: {
    status: 400,
    message: ({ place }: { place: string }) => `The body contains ${place} twice. Send each member once.`,
    when: 'An object in the body has two members of the same name.',
    remedy: 'Send each member once.',
  },
  inexact_number: {
    status: 400,
    message: ({ place }: { place: string }) =>
      `The number in the body at ${place} cannot be represented exactly. Send it as a string.`,
    when: 'A number in the body would change its value as a double: an integer beyond 2^53, for example.',
    remedy: 'Send the number as a string.',
  },
  forbidden_key: {
    status: 400,
    message: 'The body has a member named "__proto__", which is not accepted.',
    when: 'An object in the body has a member named "__proto__".',
    remedy: 'Rename the member.',
  },
  unsupported_charset: {
    status: 415,
    message: ({ charset }: { charset: string }) =>
      `The charset ${charset} is not supported; send the body as UTF-8.`,
    when: 'The Content-Type names a charset other than UTF-8.',
    remedy: 'Send the body as UTF-8.',
  },
  unsupported_encoding: {
    status: 415,
    message: 'The Content-Encoding is not supported; use gzip, deflate or br, or send the body uncompressed.',
    when: 'The Content-Encoding is not gzip, deflate or br.',
    remedy: 'Send the body uncompressed or in one of these encodings.',
  },
  invalid_encoding: {
    status: 400,
    message: 'The body cannot be decompressed with the encoding in Content-Encoding.',
    when: 'The body is not in the format that its Content-Encoding names.',
    remedy: 'Set Content-Encoding to the actual encoding of the body.',
  },

  // The host's own routes
  not_ready: {
    status: 503,
    message: ({ failing }: { failing: string }) => `Not ready: ${failing}.`,
    when: 'A plugin is not ready, or one of its readiness checks fails.',
    remedy: 'Read `checks` in the response, then the log.',
  },
  no_global_key: {
    status: 403,
    message: 'This path is closed because no global key is set. Write apikey=KEY in [auth] of the INI file.',
    when: "An operator's route is called while no global key is set.",
    remedy: 'Set apikey in [auth] of the INI file, then send that key.',
  },
  unknown_plugin: {
    status: 404,
    message: ({ name, names }: { name: string; names: readonly string[] }) =>
      `Plugin "${name}" does not exist; reload one of ${names.join(', ')}, or all.`,
    when: 'The path of a reload names a plugin that does not exist.',
    remedy: 'Use one of the names in the message, or "all".',
  },
  reload_unavailable: {
    status: 501,
    message: 'This server runs without a supervisor and cannot reload. Restart it instead.',
    when: 'A reload is requested of a host that runs inside another program.',
    remedy: 'Restart the program.',
  },
  reload_failed: {
    status: 422,
    message: ({ reason }: { reason: string }) => reason,
    when: 'The new configuration or code has problems; the old generation continues to serve.',
    remedy: 'Correct each problem in `problems`, then reload again.',
  },
  plugin_failed: {
    status: 503,
    message: ({ name }: { name: string }) =>
      `Plugin "${name}" did not start. The server's log has the cause.`,
    when: 'The plugin at this path failed to start, and required=off lets the server run without it.',
    remedy: "Read the cause in the server's log, correct it, then reload.",
  },

  // The storage of plugins
  ...storageErrors,

  // Statuses that a plugin sets without a code
  internal_error: {
    status: 500,
    message: "The request failed. The server's log has the cause under this request id.",
    when: 'A plugin or the server throws an unexpected error.',
    remedy: 'Give the request id to the operator, who finds the cause in the log.',
  },
  bad_request: { status: 400, message: 'Bad request.', ...byPlugin('the request is wrong') },
  unauthorized: { status: 401, message: 'Unauthorized.', ...byPlugin('the request lacks credentials') },
  forbidden: { status: 403, message: 'Forbidden.', ...byPlugin('the client may not do this') },
  not_acceptable: {
    status: 406,
    message: 'Not acceptable.',
    ...byPlugin('no representation matches the Accept headers'),
  },
  conflict: {
    status: 409,
    message: 'Conflict.',
    ...byPlugin('the request conflicts with the current state'),
  },
  gone: { status: 410, message: 'Gone.', ...byPlugin('the resource no longer exists') },
  precondition_failed: {
    status: 412,
    message: 'Precondition failed.',
    ...byPlugin('a condition in the headers is not met'),
  },
  unsupported_media_type: {
    status: 415,
    message: 'Unsupported media type.',
    ...byPlugin('the Content-Type is not supported'),
  },
  range_not_satisfiable: {
    status: 416,
    message: 'Range not satisfiable.',
    ...byPlugin('the Range lies outside the resource'),
  },
  unprocessable: { status: 422, message: 'Unprocessable.', ...byPlugin('the content is not acceptable') },
  too_many_requests: {
    status: 429,
    message: 'Too many requests.',
    ...byPlugin('the client sends too many requests'),
  },
  not_implemented: {
    status: 501,
    message: ({ method }: { method: string }) => `This server is not a proxy: ${method} is not supported.`,
    when: 'The method is CONNECT, or a plugin responds with this status and no body.',
    remedy: "Send the request to a proxy, or see the plugin's documentation.",
  },
  unavailable: {
    status: 503,
    message: 'Service unavailable.',
    ...byPlugin('a service that the plugin depends on is unavailable'),
  },
} satisfies ErrorTable;

export type HostErrorCode = keyof typeof hostErrors;

export const hostError = defineErrors(hostErrors);

/** One object for all refusals: making an Error, with its stack, would cost more than the rest of the refusal. */
export const OVERLOADED = hostError('overloaded', { headers: { 'Retry-After': '1' } });

interface RequestFault {
  readonly in: string;
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** How many faults of a request its sentence names. */
const SHOWN = 3;
/** Characters of each. */
const LONGEST_FAULT = 200;

function describeFault({ in: part, path, message }: RequestFault): string {
  const text = `${[part, ...path].join('.')}: ${message}`;
  return text.length > LONGEST_FAULT ? `${text.slice(0, LONGEST_FAULT)}…` : text;
}

function byPlugin(meaning: string) {
  return {
    when: `A plugin responds with this status and no body: ${meaning}.`,
    remedy: "See the plugin's documentation.",
  };
}
