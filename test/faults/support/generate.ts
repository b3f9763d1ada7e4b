import { gzipSync } from 'node:zlib';
import fc from 'fast-check';

/** A route as /openapi.json tells of it. */
export interface Route {
  readonly method: string;
  /** With `{name}` for parameters. */
  readonly path: string;
  readonly query: readonly string[];
  readonly members: readonly string[];
}

export interface Known {
  readonly routes: readonly Route[];
  readonly key: string;
  /** Ids of sessions that live. */
  readonly sessions: readonly string[];
}

interface OpenApi {
  readonly paths: Readonly<
    Record<
      string,
      Readonly<
        Record<
          string,
          {
            readonly parameters?: readonly { readonly in: string; readonly name: string }[];
            readonly requestBody?: {
              readonly content: Readonly<
                Record<string, { readonly schema?: { readonly properties?: object } }>
              >;
            };
          }
        >
      >
    >
  >;
}

export function routesOf(document: string): Route[] {
  const { paths } = JSON.parse(document) as OpenApi;
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody }]) => ({
      method: method.toUpperCase(),
      path,
      query: parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name),
      members: Object.keys(requestBody?.content['application/json']?.schema?.properties ?? {}),
    })),
  );
}

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'get'];
const types = [
  'application/json',
  'application/json; charset=utf-8',
  'application/json; charset=utf-16',
  'text/javascript',
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/xml',
  '',
  ';;;',
];
/** A reload that is allowed takes a second of work, and a stream of events does not end. */
const unkeyed = /reload|stream/;
const encodings = ['gzip', 'deflate', 'br', 'identity', 'zstd', 'gzip, gzip'];
const headers = [
  'If-Match',
  'X-Session-Id',
  'X-Request-Id',
  'traceparent',
  'Cookie',
  'Origin',
  'Range',
  'Accept',
];
const odd = [
  '',
  '%',
  '%00',
  '%2e%2e%2f',
  '../../plugin-server.ini',
  '..%5c..%5c',
  '__proto__',
  'constructor',
  'null',
  '-1',
  '1e309',
  '"1"',
  '*',
  'x'.repeat(5000),
  '\ud800',
  '{"a":1}',
  '%F0%9F%98%80',
  '//',
  ';',
];

export interface Generated {
  readonly bytes: Buffer;
  /** It follows the grammar of HTTP, and so has to be answered. */
  readonly whole: boolean;
}

/** Requests that follow the grammar, with anything in its places, and others whose bytes have been tampered with. */
export function requests(known: Known): fc.Arbitrary<Generated> {
  const value = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...known.sessions, 'user', '1') },
    { weight: 2, arbitrary: fc.constantFrom(...odd) },
    { weight: 1, arbitrary: fc.string({ maxLength: 40 }) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  );
  const json = fc.oneof(
    { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
    { weight: 1, arbitrary: fc.constantFrom(...known.sessions) },
    { weight: 1, arbitrary: fc.constantFrom(...odd) },
  );
  const grammatical = fc.constantFrom(...known.routes).chain((route) =>
    fc
      .record({
        method: fc.oneof(
          { weight: 6, arbitrary: fc.constant(route.method) },
          { weight: 1, arbitrary: fc.constantFrom(...methods) },
        ),
        segments: fc.array(value, { minLength: 3, maxLength: 3 }),
        suffix: fc.oneof({ weight: 8, arbitrary: fc.constant('') }, { weight: 1, arbitrary: value }),
        query: fc.array(fc.tuple(usually(nameOf(route.query), value), value), { maxLength: 3 }),
        headers: fc.array(fc.tuple(fc.constantFrom(...headers), value), { maxLength: 2 }),
        keyed: unkeyed.test(route.path) ? fc.constant(0) : fc.constantFrom(1, 1, 1, 1, 2, 0),
        type: usually(fc.constant('application/json'), fc.option(fc.constantFrom(...types))),
        encoding: usually(fc.constant(null), fc.constantFrom(...encodings)),
        chunked: fc.nat(4).map((n) => n === 0),
        body: fc.oneof(
          {
            weight: 5,
            arbitrary: fc.dictionary(usually(nameOf(route.members), fc.string({ maxLength: 8 })), json, {
              maxKeys: 5,
            }),
          },
          { weight: 2, arbitrary: json },
          { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
          {
            weight: 1,
            arbitrary: fc.constantFrom(
              '[',
              '{"data":',
              '['.repeat(3000),
              '{"__proto__":{"a":1}}',
              '\ufeff{}',
            ),
          },
        ),
      })
      .map((parts) => serialize(route, parts, known.key)),
  );
  return fc.oneof(
    { weight: 7, arbitrary: grammatical.map((bytes) => ({ bytes, whole: true })) },
    {
      weight: 3,
      arbitrary: fc
        .tuple(grammatical, fc.array(mutation, { minLength: 1, maxLength: 4 }))
        .map((drawn) => ({ bytes: mutate(drawn), whole: false })),
    },
    {
      weight: 1,
      arbitrary: fc
        .uint8Array({ maxLength: 300 })
        .map((bytes) => ({ bytes: Buffer.from(bytes), whole: false })),
    },
  );
}

function usually<T, U>(often: fc.Arbitrary<T>, seldom: fc.Arbitrary<U>): fc.Arbitrary<T | U> {
  return fc.oneof({ weight: 8, arbitrary: often }, { weight: 1, arbitrary: seldom });
}

function nameOf(names: readonly string[]): fc.Arbitrary<string> {
  return fc.constantFrom(...(names.length === 0 ? ['data'] : names));
}

interface Parts {
  readonly method: string;
  readonly segments: readonly string[];
  readonly suffix: string;
  readonly query: readonly (readonly [string, string])[];
  readonly headers: readonly (readonly [string, string])[];
  readonly keyed: number;
  readonly type: string | null;
  readonly encoding: string | null;
  readonly chunked: boolean;
  readonly body: unknown;
}

function serialize(route: Route, parts: Parts, key: string): Buffer {
  let taken = 0;
  const path = route.path.replace(/\{[^}]*\}/g, () => targetText(parts.segments[taken++ % 3]!));
  const query = parts.query.map(([name, value]) => `${targetText(name)}=${targetText(value)}`).join('&');
  const lines = [
    `${parts.method} ${path}${targetText(parts.suffix)}${query && `?${query}`} HTTP/1.1`,
    'Host: localhost',
    'Connection: close',
    ...parts.headers.map(([name, value]) => `${name}: ${value.replaceAll(/[^\t -~]/g, '')}`),
  ];
  if (parts.keyed > 0) lines.push(`Authorization: Bearer ${parts.keyed === 1 ? key : 'wrong'}`);
  if (route.method === 'GET' && parts.body !== null && typeof parts.body !== 'string') {
    return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`);
  }
  if (parts.type !== null) lines.push(`Content-Type: ${parts.type}`);
  if (parts.encoding !== null) lines.push(`Content-Encoding: ${parts.encoding}`);
  const plain =
    parts.body instanceof Uint8Array || typeof parts.body === 'string'
      ? Buffer.from(parts.body)
      : Buffer.from(JSON.stringify(parts.body));
  const body = parts.encoding === 'gzip' && plain.length % 2 === 0 ? gzipSync(plain) : plain;
  if (!parts.chunked) {
    return Buffer.concat([
      Buffer.from(`${lines.join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n`),
      body,
    ]);
  }
  return Buffer.concat([
    Buffer.from(`${lines.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\n`),
    ...(body.length === 0 ? [] : [Buffer.from(`${body.length.toString(16)}\r\n`), body, Buffer.from('\r\n')]),
    Buffer.from('0\r\n\r\n'),
  ]);
}

/** With what may not stand in a request's target encoded; a `%` of its own stays as it is. */
function targetText(text: string): string {
  // Half a surrogate pair has no encoding.
  return text.replaceAll(/\p{Surrogate}/gu, '\ufffd').replaceAll(/[^!-~]/gu, encodeURIComponent);
}

/** Where, as a part of the whole, what is done, and with what. */
type Mutation = readonly [at: number, kind: number, with_: Uint8Array];

const mutation: fc.Arbitrary<Mutation> = fc.tuple(
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.nat(6),
  fc.uint8Array({ minLength: 1, maxLength: 6 }),
);

const insertions = [
  'Content-Length: 5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: gzip\r\n',
  'Expect: 100-continue\r\n',
  'Upgrade: websocket\r\nConnection: Upgrade\r\n',
  'Host: a\r\nHost: b\r\n',
  ' folded\r\n',
  '\r\n\r\n',
  '\n',
  '\0',
  'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
  'HTTP/9.9',
];

function mutate([request, mutations]: readonly [Buffer, readonly Mutation[]]): Buffer {
  let bytes = request;
  for (const [at, kind, with_] of mutations) {
    const i = Math.floor(at * bytes.length);
    const [before, after] = [bytes.subarray(0, i), bytes.subarray(i)];
    if (kind === 0) bytes = Buffer.concat([before, with_, after]);
    else if (kind === 1) bytes = Buffer.concat([before, after.subarray(with_.length)]);
    else if (kind === 2) bytes = Buffer.concat([before, with_, after.subarray(with_.length)]);
    else if (kind === 3) bytes = before;
    else if (kind === 4) bytes = Buffer.concat([before, before.subarray(-64), after]);
    else {
      // At the end of a line, where a header could be.
      const end = bytes.indexOf('\r\n', i);
      const place = end < 0 ? i : end + 2;
      const text = insertions[with_[0]! % insertions.length]!;
      bytes = Buffer.concat([bytes.subarray(0, place), Buffer.from(text), bytes.subarray(place)]);
    }
  }
  return bytes;
}
