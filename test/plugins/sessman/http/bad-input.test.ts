import { expect } from 'chai';
import { type Api, aUser, backends, startApi } from '../support/api.js';

interface Case {
  readonly what: string;
  readonly method?: string;
  /** Below /sessman; `ID` and `USER` stand for the session's. */
  readonly path: string;
  readonly headers?: Record<string, string>;
  readonly body?: string | Buffer;
  readonly status: number;
  readonly code: string;
  /** What the sentence has to hold. */
  readonly says?: string;
  /** The whole sentence. */
  readonly sentence?: string;
}

const cases: readonly Case[] = [
  {
    what: 'new without userid',
    path: 'new',
    body: '{"data":{}}',
    status: 400,
    code: 'missing_parameter',
    says: '"userid"',
  },
  { what: 'new with an empty userid', path: 'new?userid=', status: 400, code: 'invalid_userid' },
  {
    what: 'new with a userid of 1025 bytes',
    path: `new?userid=${'a'.repeat(1025)}`,
    status: 400,
    code: 'invalid_userid',
    says: '1024',
  },
  {
    what: 'new with half a surrogate pair',
    path: 'new',
    body: '{"userid":"\\ud800"}',
    status: 400,
    code: 'invalid_userid',
  },
  {
    what: 'new with a userid whose bytes in the query string are no UTF-8',
    path: 'new?userid=ann%ff',
    status: 400,
    code: 'invalid_userid',
  },
  {
    what: 'new with a userid whose bytes in the body are no UTF-8',
    path: 'new',
    body: Buffer.from('{"userid":"ann\xff"}', 'latin1'),
    status: 400,
    code: 'invalid_utf8',
  },
  {
    what: 'new with a number for userid',
    path: 'new',
    body: '{"userid":42}',
    status: 400,
    code: 'invalid_parameter',
    says: '"42"',
  },
  ...[
    '{"toString":"x"}',
    '{"valueOf":1}',
    '{"toString":null,"valueOf":null}',
    '{"toJSON":"x"}',
    '{"constructor":{}}',
    '{"length":1}',
    '{}',
    '[]',
    '[{"toString":1}]',
    'null',
    'true',
    '-0',
  ].flatMap((value) => [
    {
      what: `new with ${value} for userid`,
      path: 'new',
      body: `{"userid":${value}}`,
      status: 400,
      code: 'invalid_parameter',
      says: '"userid"',
    },
    {
      what: `get with ${value} for session_id`,
      path: 'get?userid=USER',
      body: `{"sessionid":${value}}`,
      status: 400,
      code: 'invalid_parameter',
      says: '"session_id"',
    },
    {
      what: `end with ${value} for handle`,
      path: 'end?userid=USER',
      body: `{"handle":${value}}`,
      status: 400,
      code: 'invalid_parameter',
      says: '"handle"',
    },
    {
      what: `end_all with ${value} for except`,
      path: 'end_all?userid=USER',
      body: `{"except":${value}}`,
      status: 400,
      code: 'invalid_parameter',
      says: '"except"',
    },
    {
      what: `update with ${value} in a list for version`,
      path: 'update?session_id=ID',
      body: `{"data":{},"version":[${value}]}`,
      status: 400,
      code: 'invalid_parameter',
      says: '"version"',
    },
  ]),
  ...['toString', 'valueOf', 'hasOwnProperty', 'constructor'].map((name) => ({
    what: `new with a parameter ${name}`,
    path: 'new?userid=other',
    body: `{"${name}":{"toString":"x"}}`,
    status: 400,
    code: 'unknown_parameter',
    says: name,
  })),
  ...[
    '%ff',
    '%c3',
    '%c3%28',
    '%e2%82',
    '%c0%af',
    '%ed%a0%80',
    '%f4%90%80%80',
    'a%80',
    '%f8%88%80%80%80',
  ].flatMap((bytes) => [
    {
      what: `list of a user of the bytes ${bytes}`,
      method: 'GET',
      path: `list?user=${bytes}`,
      status: 400,
      code: 'invalid_userid',
      says: 'UTF-8',
    },
    {
      what: `get of a session id of the bytes ${bytes}`,
      method: 'GET',
      path: `get?userid=USER&session_id=${bytes}`,
      status: 400,
      code: 'invalid_parameter',
      says: '"session_id" is not valid UTF-8',
    },
  ]),
  {
    what: 'new with data that is not in "data"',
    path: 'new?userid=USER',
    body: '{"cart":[]}',
    status: 400,
    code: 'unknown_parameter',
    says: '{"data": {',
  },
  {
    what: 'new with data in the query',
    path: 'new?userid=USER&data={}',
    status: 400,
    code: 'unknown_parameter',
    says: 'body',
  },
  {
    what: 'new with a userid twice',
    path: 'new?userid=USER&userid=USER',
    status: 400,
    code: 'duplicate_parameter',
  },
  {
    what: 'new with a userid under both its names',
    path: 'new?userid=USER&user=USER',
    status: 400,
    code: 'duplicate_parameter',
  },
  {
    what: 'new with two userids',
    path: 'new?userid=USER',
    body: '{"userid":"other"}',
    status: 400,
    code: 'conflicting_parameter',
    says: '"userid"',
  },
  {
    what: 'new with a chosen id that is none',
    path: 'new?userid=USER&session_id=short',
    status: 400,
    code: 'invalid_session_id',
  },
  {
    what: 'new with the id of a session there is',
    path: 'new?userid=USER&session_id=ID',
    status: 409,
    code: 'session_exists',
  },
  {
    what: 'get without session_id',
    method: 'GET',
    path: 'get?userid=USER',
    status: 400,
    code: 'missing_parameter',
    says: '"session_id"',
  },
  {
    what: 'get without userid',
    method: 'GET',
    path: 'get?session_id=ID',
    status: 400,
    code: 'missing_parameter',
    says: '"userid"',
  },
  {
    what: 'get with an unknown parameter',
    method: 'GET',
    path: 'get?session_id=ID&userid=USER&versoin=1',
    status: 400,
    code: 'unknown_parameter',
    says: '"versoin"',
  },
  {
    what: 'get with another id in the header',
    method: 'GET',
    path: 'get?session_id=ID&userid=USER',
    headers: { 'X-Session-Id': 'x' },
    status: 400,
    code: 'conflicting_parameter',
  },
  {
    what: 'get of an id that is none',
    method: 'GET',
    path: 'get?session_id=nonsense&userid=USER',
    status: 404,
    code: 'session_not_found',
  },
  {
    what: 'get of an id that nobody has',
    method: 'GET',
    path: `get?session_id=${'A'.repeat(43)}&userid=USER`,
    status: 404,
    code: 'session_not_found',
  },
  {
    what: 'get of the handle alone',
    method: 'GET',
    path: 'get?session_id=HANDLE&userid=USER',
    status: 404,
    code: 'session_not_found',
  },
  {
    what: "get of another user's session",
    method: 'GET',
    path: 'get?session_id=ID&userid=other',
    status: 404,
    code: 'session_not_found',
  },
  {
    what: 'update without data',
    path: 'update?session_id=ID',
    status: 400,
    code: 'missing_parameter',
    says: '{"data": {',
  },
  {
    what: 'update with an empty body',
    path: 'update?session_id=ID',
    body: '{}',
    status: 400,
    code: 'missing_parameter',
    says: '{"data": {',
  },
  {
    what: 'update with bare data',
    path: 'update?session_id=ID',
    body: '{"a":1}',
    status: 400,
    code: 'unknown_parameter',
    says: '{"data": {',
  },
  {
    what: 'update with an array',
    path: 'update?session_id=ID',
    body: '[1]',
    status: 400,
    code: 'invalid_body',
    says: '{"data": {',
  },
  ...['null', '1', '"text"', '[]', 'true'].map((data) => ({
    what: `update with ${data} for data`,
    path: 'update?session_id=ID',
    body: `{"data":${data}}`,
    status: 400,
    code: 'invalid_data',
    says: '{"data": {',
  })),
  ...['-1', '1.5', '1e3', 'x', '0x1', ' 1', '9'.repeat(16)].map((version) => ({
    what: `update with version ${version}`,
    path: `update?session_id=ID&version=${encodeURIComponent(version)}`,
    body: '{"data":{}}',
    status: 400,
    code: 'invalid_parameter',
    says: 'version',
  })),
  ...['null', '"1"', '1.5', '-1', '1e300', '{}', 'true'].map((version) => ({
    what: `update with version ${version} in the body`,
    path: 'update?session_id=ID',
    body: `{"data":{},"version":${version}}`,
    status: 400,
    code: 'invalid_parameter',
    says: 'version',
  })),
  ...['', '1', '"x"', '"01"', '""', '"1', "'1'", ',', '"1" "2"', '"1", x', '"1", *', 'w/"1"', '"1",W/2'].map(
    (etag) => ({
      what: `update with If-Match ${etag}`,
      path: 'update?session_id=ID',
      headers: { 'If-Match': etag },
      body: '{"data":{}}',
      status: 400,
      code: 'invalid_parameter',
      says: 'If-Match',
    }),
  ),
  ...['W/"1"', 'W/"1", W/"2"', '"2", "3"', 'W/"1", "7"', '"2",, "99"', 'W/"a,b"'].map((etag) => ({
    what: `update of version 1 with If-Match ${etag}`,
    path: 'update?session_id=ID',
    headers: { 'If-Match': etag },
    body: '{"data":{}}',
    status: 412,
    code: 'version_mismatch',
    says: 'version 1',
  })),
  ...['W/"1"', '"2", "3"'].map((etag) => ({
    what: `patch of another user's session with If-Match ${etag}`,
    path: 'patch?session_id=ID&userid=other',
    headers: { 'If-Match': etag },
    body: '{"data":{}}',
    status: 404,
    code: 'session_not_found',
  })),
  {
    what: 'update with a version and a list of others',
    path: 'update?session_id=ID&version=1',
    headers: { 'If-Match': '"2", "3"' },
    body: '{"data":{}}',
    status: 400,
    code: 'conflicting_parameter',
  },
  {
    what: 'update with its version and a weak ETag',
    path: 'update?session_id=ID&version=1',
    headers: { 'If-Match': 'W/"1"' },
    body: '{"data":{}}',
    status: 412,
    code: 'version_mismatch',
  },
  {
    what: 'update with two versions',
    path: 'update?session_id=ID&version=1',
    headers: { 'If-Match': '"2"' },
    body: '{"data":{}}',
    status: 400,
    code: 'conflicting_parameter',
  },
  {
    what: 'update with a stale version',
    path: 'update?session_id=ID&version=7',
    body: '{"data":{}}',
    status: 412,
    code: 'version_mismatch',
  },
  {
    what: "update of another user's session",
    path: 'update?session_id=ID&userid=other&version=7',
    body: '{"data":{}}',
    status: 404,
    code: 'session_not_found',
  },
  {
    what: 'update with too much data',
    path: 'update?session_id=ID',
    body: `{"data":{"a":"${'x'.repeat(2000)}"}}`,
    status: 413,
    code: 'data_too_large',
    says: 'max_data',
  },
  {
    what: 'update with too large a body',
    path: 'update?session_id=ID',
    body: `{"data":{"a":"${'x'.repeat(9000)}"}}`,
    status: 413,
    code: 'body_too_large',
  },
  {
    what: 'update with broken JSON',
    path: 'update?session_id=ID',
    body: '{"data":{"a":1}',
    status: 400,
    code: 'invalid_json',
  },
  {
    what: 'update with a __proto__ key',
    path: 'update?session_id=ID',
    body: '{"data":{"__proto__":{"a":1}}}',
    status: 400,
    code: 'forbidden_key',
  },
  {
    what: 'update with deep data',
    path: 'update?session_id=ID',
    body: `{"data":${'{"a":'.repeat(70)}1${'}'.repeat(70)}}`,
    status: 400,
    code: 'body_too_deep',
  },
  {
    what: 'update in another charset',
    path: 'update?session_id=ID',
    headers: { 'Content-Type': 'application/json; charset=utf-16' },
    body: '{"data":{}}',
    status: 415,
    code: 'unsupported_charset',
  },
  {
    what: 'update in an unknown encoding',
    path: 'update?session_id=ID',
    headers: { 'Content-Encoding': 'rot13' },
    body: '{"data":{}}',
    status: 415,
    code: 'unsupported_encoding',
  },
  {
    what: 'patch without data',
    path: 'patch?session_id=ID',
    status: 400,
    code: 'missing_parameter',
    says: '{"data": {',
  },
  {
    what: 'patch with null',
    path: 'patch?session_id=ID',
    body: '{"data":null}',
    status: 400,
    code: 'invalid_data',
  },
  {
    what: 'patch that makes too much data',
    path: 'patch?session_id=ID',
    body: `{"data":{"b":"${'x'.repeat(1020)}"}}`,
    status: 413,
    code: 'data_too_large',
  },
  { what: 'touch without session_id', path: 'touch', status: 400, code: 'missing_parameter' },
  {
    what: 'touch with a version',
    path: 'touch?session_id=ID&version=1',
    status: 400,
    code: 'unknown_parameter',
  },
  { what: 'renew without session_id', path: 'renew?userid=USER', status: 400, code: 'missing_parameter' },
  {
    what: "renew of another user's session",
    path: 'renew?session_id=ID&userid=other',
    status: 404,
    code: 'session_not_found',
  },
  {
    what: 'get with a handle and no userid',
    method: 'GET',
    path: 'get?handle=HANDLE',
    status: 400,
    code: 'missing_parameter',
    says: 'userid',
  },
  {
    what: 'get with a handle while the server requires no key',
    method: 'GET',
    path: 'get?handle=HANDLE&userid=USER',
    status: 403,
    code: 'key_required',
    says: 'apikey=KEY in [auth]',
  },
  {
    what: 'get with the handle of another session than X-Session-Id names, while the server requires no key',
    method: 'GET',
    path: `get?handle=${'A'.repeat(16)}&userid=USER`,
    headers: { 'X-Session-Id': 'ID' },
    status: 403,
    code: 'key_required',
  },
  { what: 'end without anything', path: 'end', status: 400, code: 'missing_parameter', says: 'session_id' },
  {
    what: 'end with a handle and no userid',
    path: 'end?handle=HANDLE',
    status: 400,
    code: 'missing_parameter',
    says: 'userid',
  },
  {
    what: "end with a handle of another user's",
    path: 'end?handle=HANDLE&userid=other',
    status: 404,
    code: 'session_not_found',
  },
  { what: 'end of an id that is none', path: 'end?session_id=x', status: 404, code: 'session_not_found' },
  { what: 'list without userid', method: 'GET', path: 'list', status: 400, code: 'missing_parameter' },
  { what: 'end_all without userid', path: 'end_all', status: 400, code: 'missing_parameter' },
  {
    what: 'end_all but for an id that is none',
    path: 'end_all?userid=USER&except=x',
    status: 404,
    code: 'session_not_found',
  },
  {
    what: 'touch with two ids in X-Session-Id',
    path: 'touch',
    headers: { 'X-Session-Id': `${'A'.repeat(43)}, ${'B'.repeat(43)}` },
    status: 400,
    code: 'duplicate_parameter',
    says: 'session_id',
  },
  {
    what: 'end_all but for an id that is empty',
    path: 'end_all?userid=USER&except=',
    status: 404,
    code: 'session_not_found',
  },
  { what: 'new by GET', method: 'GET', path: 'new?userid=USER', status: 405, code: 'method_not_allowed' },
  {
    what: 'update by PUT',
    method: 'PUT',
    path: 'update?session_id=ID',
    body: '{"data":{}}',
    status: 405,
    code: 'method_not_allowed',
  },
  {
    what: 'get by DELETE',
    method: 'DELETE',
    path: 'get?session_id=ID&userid=USER',
    status: 405,
    code: 'method_not_allowed',
  },
  ...['application/xml', 'multipart/form-data; boundary=b', 'application/octet-stream'].map((type) => ({
    what: `new with data sent as ${type}`,
    path: 'new?userid=other',
    headers: { 'Content-Type': type },
    body: '{"data":{"a":1}}',
    status: 400,
    code: 'invalid_body',
    says: `its Content-Type is "${type}". Send the header Content-Type: application/json.`,
  })),
  ...['new?userid=other', 'update?session_id=ID', 'patch?session_id=ID', 'list?userid=other'].map((path) => ({
    what: `JSON sent as a form, as curl -d does, to ${path.split('?')[0]}`,
    path,
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: ' {"data": {"a": "b=c&d"}}',
    status: 400,
    code: 'invalid_body',
    says: 'Content-Type: application/json',
  })),
  ...[
    '{"userid":"other","userid":"another"}',
    '{"userid":"other","data":{"a":1},"data":{}}',
    '{"userid":"other","d\\u0061ta":{"data":["}"]},"data":{}}',
  ].map((body) => ({
    what: `new with ${body}`,
    path: 'new',
    body,
    status: 400,
    code: 'duplicate_parameter',
    says: 'twice',
  })),
  {
    what: 'end with a session id and the handle of another session',
    path: `end?userid=USER&handle=${'A'.repeat(16)}&session_id=ID`,
    status: 400,
    code: 'conflicting_parameter',
    says: 'handle',
  },
  {
    what: 'end with the handle of another session than X-Session-Id names',
    path: `end?userid=USER&handle=${'A'.repeat(16)}`,
    headers: { 'X-Session-Id': 'ID' },
    status: 400,
    code: 'conflicting_parameter',
    says: 'handle',
  },
  ...[
    ['new', 'session_id'],
    ['new', 'userid'],
    ['get', 'handle'],
    ['end_all', 'except'],
    ['new', 'ip'],
    ['new', 'user_agent'],
  ].map(([call, name]) => ({
    what: `${call} with true for ${name}`,
    path: `${call}`,
    body: `{"${name}":true}`,
    status: 400,
    code: 'invalid_parameter',
    says: `"${name}" is not text; write "true".`,
  })),
  ...[
    ['new', 'remember'],
    ['renew', 'authenticated'],
    ['end_all', 'everyone'],
  ].flatMap(([call, name]) =>
    ['"true"', '1', 'null'].map((value) => ({
      what: `${call} with ${value} for ${name}`,
      path: `${call}`,
      body: `{"${name}":${value}}`,
      status: 400,
      code: 'invalid_parameter',
      says: `"${name}" is neither true nor false.`,
    })),
  ),
  ...['x', '0', '1001', '1.5', '-1', ''].map((value) => ({
    what: `sessions with limit=${value}`,
    method: 'GET',
    path: `sessions?limit=${value}`,
    status: 400,
    code: 'invalid_parameter',
    says: '"limit" is not a whole number from 1 to 1000.',
  })),
  ...['null', '[]', '"x"'].map((value) => ({
    what: `new with ${value} for about`,
    path: 'new?userid=other',
    body: `{"about":${value}}`,
    status: 400,
    code: 'invalid_parameter',
    says: '"about" is not a JSON object; write it as {"device": "phone"}.',
  })),
  ...(<const>[
    [
      'list?userid',
      'GET',
      undefined,
      'invalid_userid',
      'userid is empty; it names the user that the session belongs to.',
    ],
    [
      'check?touch&max_auth_age=60',
      'GET',
      undefined,
      'invalid_parameter',
      '"touch" is neither true nor false.',
    ],
    [
      'check?max_auth_age=1.5',
      'GET',
      undefined,
      'invalid_parameter',
      '"max_auth_age" is not a whole number of seconds, such as 300.',
    ],
    [
      'list?x=1',
      'GET',
      undefined,
      'unknown_parameter',
      'Unknown parameter "x". This call accepts userid, session_id (optional).',
    ],
    [
      'list',
      'POST',
      '{"x":1}',
      'unknown_parameter',
      'Unknown parameter "x". This call accepts userid, session_id (optional).',
    ],
    [
      'update?x=1',
      'POST',
      undefined,
      'unknown_parameter',
      'Unknown parameter "x". This call accepts session_id, data, userid (optional), version (optional).',
    ],
    [
      'update',
      'POST',
      '{"x":1}',
      'unknown_parameter',
      'Unknown parameter "x". This call accepts session_id, data, userid (optional), version (optional). Write it as {"data": {"name": "value"}}.',
    ],
    [
      'update?data=1',
      'POST',
      undefined,
      'unknown_parameter',
      '"data" belongs in the body, not in the query string. Write it as {"data": {"name": "value"}}.',
    ],
    [
      'renew?about=1',
      'POST',
      undefined,
      'unknown_parameter',
      '"about" belongs in the body, not in the query string.',
    ],
    [
      `list?${'x'.repeat(40)}`,
      'GET',
      undefined,
      'unknown_parameter',
      `Unknown parameter "${'x'.repeat(40)}". This call accepts userid, session_id (optional).`,
    ],
    [
      `list?${'x'.repeat(41)}`,
      'GET',
      undefined,
      'unknown_parameter',
      `Unknown parameter "${'x'.repeat(40)}…". This call accepts userid, session_id (optional).`,
    ],
    [
      'list',
      'GET',
      undefined,
      'missing_parameter',
      'The parameter "userid" is missing. This call accepts userid, session_id (optional).',
    ],
    [
      'end',
      'POST',
      undefined,
      'missing_parameter',
      'The parameter "session_id" is missing. This call accepts session_id, userid (optional).',
    ],
    [
      'end?handle=x',
      'POST',
      undefined,
      'missing_parameter',
      'The parameter "userid" is missing. This call accepts userid, handle.',
    ],
    [
      'end_all',
      'POST',
      undefined,
      'missing_parameter',
      'The parameter "userid" is missing. This call accepts userid, except (optional).',
    ],
    [
      'end_all?everyone=true&userid=USER',
      'POST',
      undefined,
      'invalid_parameter',
      '"everyone" is for all users; leave out userid.',
    ],
    [
      'end_all?everyone=true&except=x',
      'POST',
      undefined,
      'invalid_parameter',
      '"everyone" is for all users; leave out except.',
    ],
    [
      'list',
      'POST',
      '[1]',
      'invalid_body',
      'The body is not a JSON object. Send parameters as its members, or in the query string.',
    ],
    [
      'new',
      'POST',
      '[1]',
      'invalid_body',
      'The body is not a JSON object. Write it as {"data": {"name": "value"}}.',
    ],
    ['new?userid=USER&x=%ff', 'POST', undefined, 'invalid_parameter', '"query string" is not valid UTF-8.'],
    ['new?%ff', 'POST', undefined, 'invalid_parameter', '"query string" is not valid UTF-8.'],
    ['new?userid=%ff', 'POST', undefined, 'invalid_userid', 'userid is not valid UTF-8.'],
    [
      'new?userid=USER&userid=USER',
      'POST',
      undefined,
      'duplicate_parameter',
      'The parameter "userid" is given twice.',
    ],
    [
      'new?userid=USER',
      'POST',
      '{"userid":"x"}',
      'conflicting_parameter',
      'The parameter "userid" is given in two places, with different values.',
    ],
  ]).map(([path, method, body, code, sentence]) => ({
    what: `${method} ${path} ${body ?? ''}`,
    path,
    method,
    ...(body && { body }),
    status: 400,
    code,
    sentence,
  })),
  { what: 'no call', path: '', status: 404, code: 'not_found' },
  { what: 'an unknown call', path: 'destroy', status: 404, code: 'not_found' },
  { what: 'constructor', method: 'GET', path: 'constructor', status: 404, code: 'not_found' },
  { what: '__proto__', method: 'GET', path: '__proto__', status: 404, code: 'not_found' },
];

for (const { name, settings } of backends) {
  describe(`bad input on the ${name} store: each is refused, and nothing is written`, () => {
    let api: Api;
    let userid: string;
    let sessionId: string;
    before(async () => {
      api = await startApi({ ...(await settings()), max_data: 1024 }, { ini: '[limits]\nbody=int:8192\n' });
      userid = aUser();
      sessionId = (await api.post('/sessman/new', { userid, data: { a: 1 } })).body.session_id;
    });
    after(() => api?.close());

    const state = async () => [
      (await api.post('/sessman/get', { session_id: sessionId, userid })).body,
      (await api.post('/sessman/list', { userid })).body,
      (await api.post('/sessman/list', { userid: 'other' })).body,
    ];

    for (const { what, method = 'POST', path, headers, body, status, code, says, sentence } of cases) {
      it(`${what}: ${status} ${code}`, async () => {
        const before = await state();
        const url = `/sessman/${path}`
          .replaceAll('HANDLE', sessionId.slice(0, 16))
          .replaceAll('ID', sessionId)
          .replaceAll('USER', encodeURIComponent(userid));
        const named = headers?.['X-Session-Id'] === 'ID' && { 'X-Session-Id': sessionId };
        const reply = await api.get(url, {
          method,
          ...(body !== undefined && { body }),
          headers: {
            ...(body !== undefined && { 'Content-Type': 'application/json' }),
            ...headers,
            ...named,
          },
        });
        expect(reply.status, reply.text).to.equal(status);
        expect(reply.body.code).to.equal(code);
        expect(reply.body.error).to.be.a('string');
        expect(reply.body.request_id).to.equal(reply.headers.get('x-request-id'));
        if (sentence) expect(reply.body.error).to.equal(sentence);
        if (says) expect(reply.body.error).to.include(says);
        if (status === 405) expect(reply.headers.get('allow')).to.match(/POST/);
        expect(await state()).to.deep.equal(before);
      });
    }

    it('tells nothing in its log or answers that is secret', () => {
      expect(api.server.logText()).not.to.include(sessionId);
      expect(api.server.logText()).not.to.include(sessionId.slice(16));
    });
  });
}
