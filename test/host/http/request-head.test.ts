import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { sendRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { hello: 'world' }; });
    router.post('/', (ctx) => { ctx.body = { got: ctx.request.body }; });
  },
});`;

/** Reads all that Koa takes apart of a head. */
const negotiating = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      const before = process.cpuUsage();
      ctx.cookies.get('sid');
      ctx.accepts('json', 'html');
      ctx.acceptsLanguages('de');
      ctx.acceptsEncodings('gzip');
      ctx.set('ETag', '"y"');
      const seen = [ctx.fresh, ctx.ip, ctx.ips, ctx.host, ctx.protocol, ctx.is('json'), ctx.charset];
      const { user, system } = process.cpuUsage(before);
      ctx.body = { cpu: user + system, seen: seen.length };
    });
  },
});`;

const CRLF = '\r\n';
const request = (line: string, ...headers: string[]) =>
  [line, ...headers, 'Connection: close', '', ''].join(CRLF);

/** What RFC 9110 and 9112 say of a head: its name, the bytes, the status, the code. */
const heads: readonly (readonly [name: string, bytes: string, status: number, code?: string])[] = [
  ['a Host', request('GET /try HTTP/1.1', 'Host: example.org:80'), 200],
  ['an IPv6 address as its Host', request('GET /try HTTP/1.1', 'Host: [::1]:6123'), 200],
  ['an empty Host', request('GET /try HTTP/1.1', 'Host:'), 200],
  ['no Host in HTTP/1.0', request('GET /try HTTP/1.0'), 200],
  ['no Host', request('GET /try HTTP/1.1'), 400, 'host_required'],
  ['two Host lines', request('GET /try HTTP/1.1', 'Host: a', 'Host: b'), 400, 'invalid_host'],
  ['the same Host twice', request('GET /try HTTP/1.1', 'Host: a', 'hOSt: a'), 400, 'invalid_host'],
  ['a Host with a blank', request('GET /try HTTP/1.1', 'Host: a b'), 400, 'invalid_host'],
  ['a Host with a path', request('GET /try HTTP/1.1', 'Host: a/b'), 400, 'invalid_host'],
  ['a Host with a user', request('GET /try HTTP/1.1', 'Host: u@a'), 400, 'invalid_host'],
  ['a Host with two ports', request('GET /try HTTP/1.1', 'Host: a:1:2'), 400, 'invalid_host'],
  ['a Host with a port of letters', request('GET /try HTTP/1.1', 'Host: a:b'), 400, 'invalid_host'],
  ['a Host of several', request('GET /try HTTP/1.1', 'Host: a, b'), 400, 'invalid_host'],
  ['an unclosed bracket in its Host', request('GET /try HTTP/1.1', 'Host: [::1'), 400, 'invalid_host'],
  ['a Host with a broken encoding', request('GET /try HTTP/1.1', 'Host: a%zz'), 400, 'invalid_host'],
  ['a Host with text behind its bracket', request('GET /try HTTP/1.1', 'Host: [::1]a'), 400, 'invalid_host'],
  ['a Host with a letter beyond ASCII', request('GET /try HTTP/1.1', 'Host: \u00e9'), 400, 'invalid_host'],
  ['a Host with a query', request('GET /try HTTP/1.1', 'Host: a?b'), 400, 'invalid_host'],
  ['an absolute target and no Host', request('GET http://localhost/try HTTP/1.1'), 400, 'host_required'],
  ['an absolute target and a Host', request('GET http://localhost/try HTTP/1.1', 'Host: localhost'), 200],
  ['an empty line before it', `\r\n${request('GET /try HTTP/1.1', 'Host: localhost')}`, 200],
  ...(
    [
      ['a target without a slash', 'GET try HTTP/1.1\r\nHost: localhost'],
      ['a protocol in lower case', 'GET /try http/1.1\r\nHost: localhost'],
      ['a version of two digits', 'GET /try HTTP/1.10\r\nHost: localhost'],
      ['a blank before the colon of a header', 'GET /try HTTP/1.1\r\nHost: localhost\r\nX : y'],
      ['a blank in the name of a header', 'GET /try HTTP/1.1\r\nHost: localhost\r\nX Y: z'],
      ['a folded header', 'GET /try HTTP/1.1\r\nHost: localhost\r\nX: y\r\n z'],
      ['a NUL in a header', 'GET /try HTTP/1.1\r\nHost: localhost\r\nX: \0'],
      ['a bare CR in a header', 'GET /try HTTP/1.1\r\nHost: localhost\r\nX: a\rb'],
      ['a negative length', 'POST /try HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1'],
      ['a length with a sign', 'POST /try HTTP/1.1\r\nHost: localhost\r\nContent-Length: +2'],
      ['two lengths in one', 'POST /try HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 2'],
      ['a length of letters', 'POST /try HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x2'],
      [
        'a length and a coding',
        'POST /try HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nTransfer-Encoding: chunked',
      ],
      [
        'two codings that are not in one list',
        'POST /try HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity',
      ],
    ] as const
  ).map(
    ([name, head]) => [name, `${head}\r\nConnection: close\r\n\r\n{}`, 400, 'malformed_request'] as const,
  ),
  ['an unknown method', request('FOO /try HTTP/1.1', 'Host: localhost'), 501, 'unknown_method'],
  ['a method in lower case', request('get /try HTTP/1.1', 'Host: localhost'), 501, 'unknown_method'],
  [
    'a long unknown method',
    request('GETTING-THINGS /try HTTP/1.1', 'Host: localhost'),
    501,
    'unknown_method',
  ],
  [
    'a method nobody here has',
    request('PROPFIND /nothing HTTP/1.1', 'Host: localhost'),
    501,
    'unknown_method',
  ],
  ['a method the path does not have', request('PROPFIND /try HTTP/1.1', 'Host: localhost'), 405],
  ['CONNECT', request('CONNECT example.org:443 HTTP/1.1', 'Host: example.org:443'), 501, 'not_implemented'],
  ['OPTIONS *', request('OPTIONS * HTTP/1.1', 'Host: localhost'), 204],
  ['GET *', request('GET * HTTP/1.1', 'Host: localhost'), 400, 'malformed_request'],
  ['HTTP/2.0', request('GET /try HTTP/2.0', 'Host: localhost'), 505, 'http_version_not_supported'],
  ['HTTP/3.0', request('GET /try HTTP/3.0', 'Host: localhost'), 505, 'http_version_not_supported'],
  ['HTTP/1.2', request('GET /try HTTP/1.2', 'Host: localhost'), 505, 'http_version_not_supported'],
  ['a version that is none', request('GET /try HTTP/x', 'Host: localhost'), 400, 'malformed_request'],
  ['no version at all', `nonsense${CRLF}${CRLF}`, 400, 'malformed_request'],
  [
    'a target too long',
    request(`GET /${'a'.repeat(20_000)} HTTP/1.1`, 'Host: localhost'),
    414,
    'target_too_long',
  ],
  [
    'a query too long',
    request(`GET /try?${'a'.repeat(20_000)} HTTP/1.1`, 'Host: localhost'),
    414,
    'target_too_long',
  ],
  [
    'headers too long',
    request('GET /try HTTP/1.1', 'Host: localhost', `X: ${'a'.repeat(20_000)}`),
    431,
    'headers_too_large',
  ],
  [
    'an unknown Expect',
    request('GET /try HTTP/1.1', 'Host: localhost', 'Expect: 200-ok'),
    417,
    'expectation_failed',
  ],
  ...['gzip, chunked', 'gzip,chunked', 'x-custom, chunked', 'deflate, gzip, chunked'].map(
    (coding) =>
      [
        `Transfer-Encoding ${coding}`,
        `POST /try HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: ${coding}\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
        501,
        'unsupported_transfer_coding',
      ] as const,
  ),
  [
    'Transfer-Encoding Chunked',
    'POST /try HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: Chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
    200,
  ],
  [
    'Transfer-Encoding in HTTP/1.0',
    'POST /try HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
    400,
    'malformed_request',
  ],
];

describe('the head of a request', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ ini: '[network]\nhosts=*\n', files: { 'plugins/try.mjs': plugin } });
  });
  after(() => server.close());
  const send = (...parts: (string | Buffer)[]) => sendRaw(server.host.address.port, ...parts);

  for (const [name, bytes, status, code] of heads) {
    it(`with ${name} is answered with ${status}, and with the headers of every other response`, async () => {
      const answer = await send(bytes);
      expect(answer).to.match(new RegExp(`^HTTP/1.1 ${status} `));
      const [head = '', body = ''] = answer.split('\r\n\r\n');
      if (code !== undefined) expect(JSON.parse(body)).to.include({ code });
      expect(head).to.match(/^Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r?$/m);
      for (const line of [
        'Cache-Control: no-store',
        'X-Content-Type-Options: nosniff',
        "Content-Security-Policy: frame-ancestors 'none'",
        'X-Frame-Options: DENY',
      ]) {
        expect(head.split('\r\n')).to.include(line);
      }
    });
  }

  it('says what OPTIONS * may be asked with', async () => {
    expect(await send(request('OPTIONS * HTTP/1.1', 'Host: localhost'))).to.match(
      /\r\nAllow: GET, HEAD, POST, .*OPTIONS\r\n/,
    );
  });

  for (const encoding of ['GZIP', 'x-gzip', 'X-GZip', 'gzip']) {
    it(`may name the Content-Encoding ${encoding}`, async () => {
      const response = await server.fetch('/try', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-encoding': encoding },
        body: gzipSync('{"a":1}'),
      });
      expect(await response.json()).to.deep.equal({ got: { a: 1 } });
    });
  }

  const blanks = ' '.repeat(14_000);
  const hostile = [
    `X-Forwarded-For: a${blanks}b`,
    `X-Forwarded-Host: a${blanks}b`,
    `X-Forwarded-Proto: a${blanks}b`,
    `Cookie: ${'; '.repeat(7000)}`,
    `Cookie: ;${blanks}x`,
    `Accept: ${'a/b;q="'.repeat(2000)}`,
    `Accept-Language: ${'-;'.repeat(7000)}`,
    `Accept-Encoding: ${'a;q=0,'.repeat(2000)}`,
    `If-None-Match: ${'W/"x",'.repeat(2000)}`,
    `Authorization: bearer${blanks}x`,
    `traceparent: ${'0'.repeat(14_000)}`,
    `Content-Type: text/plain;${blanks}charset`,
    `Range: bytes=${'0-1,'.repeat(3500)}`,
    `If-Match: ${',"'.repeat(7000)}`,
    `If-Modified-Since: ${'Mon, '.repeat(2800)}`,
    `Accept-Charset: ${';q'.repeat(7000)}`,
    `X-Real-IP: ${'a.'.repeat(7000)}`,
    `Forwarded: ${'for="'.repeat(2800)}`,
    `X-Request-Id: ${'a'.repeat(14_000)}!`,
    `Content-Encoding: ${'gzip,'.repeat(2800)}`,
    `Referer: http://a/${'../'.repeat(4600)}`,
    `X-Custom-Auth: ${' x'.repeat(7000)}`,
    `Sec-Fetch-Site: ${blanks}x`,
    `User-Agent: ${'(Mozilla '.repeat(1500)}`,
  ];
  it('is judged in a time that does not grow with the square of a header', async () => {
    await server.close();
    server = await startServer({
      ini: '[network]\nproxy=true\nhosts=*\n[limits]\nrate=int:1000\n',
      files: { 'plugins/try.mjs': negotiating },
    });
    for (const header of ['X: y', ...hostile]) {
      const begun = process.cpuUsage();
      const raw = await send(request('GET /try HTTP/1.1', 'Host: localhost', header));
      expect(raw, header.slice(0, 30)).to.match(/^HTTP\/1.1 200 /);
      const { user, system } = process.cpuUsage(begun);
      expect(user + system, header.slice(0, 30)).to.be.below(100_000);
      // Microseconds of CPU time that the handler took; the square of 14,000 takes a hundred thousand.
      const { cpu } = JSON.parse(raw.slice(raw.indexOf('\r\n\r\n'))) as { cpu: number };
      expect(cpu, header.slice(0, 30)).to.be.below(40_000);
    }
  });
});
