import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { sendRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

const echo = `
import { definePlugin, route } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { hello: 'world' }; });
    router.post('/body', (ctx) => { ctx.body = { body: ctx.request.body ?? null }; });
    router.get('/named/:id', (ctx) => { ctx.body = ctx.params; });
    router.get('/text', (ctx) => { ctx.body = 'some text'; });
    router.get('/array', (ctx) => { ctx.body = [1, 2]; });
    router.get('/cookie', (ctx) => { ctx.cookies.set('a', 'b'); ctx.body = { a: 1 }; });
    router.get('/nothing', () => {});
    router.get('/gone', (ctx) => { ctx.status = 410; });
    router.get('/teapot', (ctx) => ctx.throw(418, 'short and stout'));
    router.get('/coded', (ctx) => ctx.throw(409, 'already there', { code: 'already_there' }));
    router.get('/crash', () => { throw new Error('the secret inside'); });
    router.get('/crash-text', () => { throw 'a text'; });
    router.get('/bigint', (ctx) => { ctx.body = 10n; });
    router.get('/function', route({}, () => () => 1));
    router.get('/circle', (ctx) => { const circle = {}; circle.circle = circle; ctx.body = circle; });
    router.get('/id', (ctx) => { ctx.body = { id: ctx.requestId }; });
    router.put('/put', (ctx) => { ctx.body = {}; });
  },
});`;

describe('requests', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: '[limits]\nbody=int:2000\ndepth=int:5\n',
      files: { 'plugins/echo.mjs': echo },
    });
  });
  after(() => server.close());

  const post = (body: string | Uint8Array, headers: Record<string, string> = {}) =>
    server.fetch('/echo/body', { method: 'POST', body, headers });

  async function expectError(response: Response, status: number, code: string, sentence: RegExp) {
    const body = (await response.json()) as Record<string, unknown>;
    expect(body, JSON.stringify(body)).to.include({ code });
    expect(response.status).to.equal(status);
    expect(body.error).to.match(sentence);
    expect(body.request_id).to.equal(response.headers.get('x-request-id'));
    expect(response.headers.get('content-type')).to.equal('application/json; charset=utf-8');
    return body;
  }

  describe('answers', () => {
    it('are JSON with the headers of a JSON API', async () => {
      const response = await server.fetch('/echo');
      expect(response.status).to.equal(200);
      expect(await response.json()).to.deep.equal({ hello: 'world' });
      expect(Object.fromEntries(response.headers)).to.include({
        'content-type': 'application/json; charset=utf-8',
        'content-length': '17',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-frame-options': 'DENY',
        'content-security-policy': "frame-ancestors 'none'",
      });
    });

    it('have the same headers when a plugin sets some of its own, and when it answers text', async () => {
      const withCookie = await server.fetch('/echo/cookie');
      expect(withCookie.headers.get('set-cookie')).to.match(/^a=b/);
      expect(withCookie.headers.get('cache-control')).to.equal('no-store');
      expect(withCookie.headers.get('content-type')).to.equal('application/json; charset=utf-8');
      const text = await server.fetch('/echo/text');
      expect(await text.text()).to.equal('some text');
      expect(text.headers.get('x-content-type-options')).to.equal('nosniff');
    });

    it('to HEAD are those to GET without the body', async () => {
      const response = await server.fetch('/echo', { method: 'HEAD' });
      expect(response.status).to.equal(200);
      expect(response.headers.get('content-length')).to.equal('17');
      expect(await response.text()).to.equal('');
    });

    it('carry parameters of the path, decoded', async () => {
      expect(await (await server.fetch('/echo/named/a%20b')).json()).to.deep.equal({ id: 'a b' });
    });
  });

  describe('bodies', () => {
    for (const type of [
      'application/json',
      'application/json; charset=utf-8',
      'Application/JSON;charset="UTF-8"',
      'application/vnd.api+json',
      'text/javascript',
      'text/plain;charset=UTF-8',
      'text/json',
    ]) {
      it(`are read as JSON when they come as ${type}`, async () => {
        const response = await post('{"a":"é€😀"}', { 'content-type': type });
        expect(await response.json()).to.deep.equal({ body: { a: 'é€😀' } });
      });
    }

    it('are read as JSON when no type is named', async () => {
      const response = await post(new TextEncoder().encode('{"a":1}'));
      expect(await response.json()).to.deep.equal({ body: { a: 1 } });
    });

    it('of forms are read as forms', async () => {
      const response = await post('a=1&b=2', { 'content-type': 'application/x-www-form-urlencoded' });
      expect(await response.json()).to.deep.equal({ body: { a: '1', b: '2' } });
    });

    it('may be chunked, compressed, empty, or begin with a byte order mark', async () => {
      const json = { 'content-type': 'application/json' };
      const chunked = await sendRaw(
        server.host.address.port,
        'POST /echo/body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
        '7\r\n{"a":1}\r\n0\r\n\r\n',
      );
      expect(chunked).to.match(/^HTTP\/1.1 200 .*\r\n\r\n\{"body":\{"a":1\}\}$/s);
      const zipped = await post(gzipSync('{"a":2}'), { ...json, 'content-encoding': 'gzip' });
      expect(await zipped.json()).to.deep.equal({ body: { a: 2 } });
      expect(await (await post('', json)).json()).to.deep.equal({ body: {} });
      expect(await (await post('\ufeff{"a":3}', json)).json()).to.deep.equal({ body: { a: 3 } });
    });

    it('that are not JSON are refused with the place', async () => {
      const response = await post('{"a": 1,\n "b" 2}', { 'content-type': 'application/json' });
      await expectError(response, 400, 'invalid_json', /line 2, column 6/);
    });

    it('that are a scalar, or nothing but a word, are refused', async () => {
      await expectError(
        await post('5', { 'content-type': 'application/json' }),
        400,
        'invalid_json',
        /object or array/,
      );
      await expectError(
        await post('abc', { 'content-type': 'text/plain' }),
        400,
        'invalid_json',
        /line 1, column 1/,
      );
    });

    it('with a __proto__ key are refused', async () => {
      const response = await post('{"a":{"__proto__":{"x":1}}}', { 'content-type': 'application/json' });
      await expectError(response, 400, 'forbidden_key', /__proto__/);
    });

    it('that nest too deep are refused, those at the limit taken', async () => {
      const nested = (depth: number) => `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
      const json = { 'content-type': 'application/json' };
      expect((await post(nested(5), json)).status).to.equal(200);
      await expectError(await post(nested(6), json), 400, 'body_too_deep', /5 levels/);
    });

    it('that are too large are refused, plain, chunked and after decompression', async () => {
      const large = JSON.stringify({ a: 'x'.repeat(3000) });
      const json = { 'content-type': 'application/json' };
      await expectError(await post(large, json), 413, 'body_too_large', /2000 bytes/);
      await expectError(
        await post(gzipSync(large), { ...json, 'content-encoding': 'gzip' }),
        413,
        'body_too_large',
        /2000/,
      );
    });

    it('in another charset or an unknown encoding are refused', async () => {
      const latin1 = await post('{"a":1}', { 'content-type': 'application/json; charset=iso-8859-1' });
      await expectError(latin1, 415, 'unsupported_charset', /iso-8859-1/);
      const unknown = await post('{"a":1}', {
        'content-type': 'application/json',
        'content-encoding': 'zip',
      });
      await expectError(unknown, 415, 'unsupported_encoding', /gzip/);
    });

    it('that are not compressed as they claim are refused', async () => {
      const response = await post('{"a":1}', {
        'content-type': 'application/json',
        'content-encoding': 'gzip',
      });
      await expectError(response, 400, 'invalid_encoding', /decompressed/);
    });
  });

  describe('paths', () => {
    for (const path of [
      '/',
      '/nope',
      '/echo/nope',
      '/constructor',
      '/__proto__',
      '/echo/constructor',
      '/echox',
      '//echo',
      '/%2e%2e/echo',
    ]) {
      it(`${path} is not found`, async () => {
        const raw = await sendRaw(
          server.host.address.port,
          `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
        );
        expect(raw).to.match(/^HTTP\/1.1 404 /);
        expect(JSON.parse(raw.split('\r\n\r\n')[1]!)).to.include({ code: 'not_found' });
      });
    }

    it('say which methods they take', async () => {
      const response = await server.fetch('/echo/put', { method: 'DELETE' });
      await expectError(response, 405, 'method_not_allowed', /PUT/);
      expect(response.headers.get('allow')).to.equal('PUT, OPTIONS');
      const options = await server.fetch('/echo', { method: 'OPTIONS' });
      expect(options.status).to.equal(204);
      expect(options.headers.get('allow')).to.include('GET').and.include('HEAD');
    });
  });

  describe('errors', () => {
    it('of a plugin tell the client nothing and the log everything', async () => {
      const response = await server.fetch('/echo/crash?token=abc', {
        headers: { 'x-request-id': 'crash-1' },
      });
      const body = await expectError(response, 500, 'internal_error', /request id/);
      expect(JSON.stringify(body)).not.to.include('secret');
      const line = server.logs.find((entry) => entry.request_id === 'crash-1' && entry.level === 'error');
      expect(line).to.include({ plugin: 'echo' });
      expect(line!.err).to.include({ message: 'the secret inside' });
      expect(server.logText()).not.to.include('token=abc');
    });

    it('thrown as something else than an Error are a 500 too', async () => {
      await expectError(await server.fetch('/echo/crash-text'), 500, 'internal_error', /request id/);
    });

    it('are a 500 too where the response is no JSON', async () => {
      for (const path of ['/echo/bigint', '/echo/function', '/echo/circle']) {
        await expectError(await server.fetch(path), 500, 'internal_error', /^The request failed/);
        expect((await server.fetch(path, { method: 'HEAD' })).status, path).to.equal(500);
      }
    });

    it('thrown with ctx.throw keep their words and their code', async () => {
      await expectError(await server.fetch('/echo/teapot'), 418, 'bad_request', /short and stout/);
      await expectError(await server.fetch('/echo/coded'), 409, 'already_there', /already there/);
    });

    it('set as a status alone get a body', async () => {
      await expectError(await server.fetch('/echo/gone'), 410, 'gone', /Gone/);
      await expectError(
        await server.fetch('/echo/nothing'),
        404,
        'not_found',
        /Nothing is served at this path/,
      );
    });

    it('of the protocol have the same form', async () => {
      const { port } = server.host.address;
      const cases: [string, number, string][] = [
        ['nonsense\r\n\r\n', 400, 'malformed_request'],
        ['GET / HTTP/1.1\r\n\r\n', 400, 'host_required'],
        ['GET http://[::1/x HTTP/1.1\r\nHost: localhost\r\n\r\n', 400, 'malformed_request'],
        [`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`, 431, 'headers_too_large'],
        [
          'POST /echo/body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n',
          400,
          'malformed_request',
        ],
        [
          'POST /echo/body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nExpect: a-miracle\r\n\r\n{}',
          417,
          'expectation_failed',
        ],
      ];
      for (const [text, status, code] of cases) {
        const request = text.startsWith('GET')
          ? text.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')
          : text;
        const raw = await sendRaw(port, request);
        expect(raw).to.match(new RegExp(`^HTTP/1.1 ${status} `));
        const body = JSON.parse(raw.split('\r\n\r\n')[1]!) as Record<string, unknown>;
        expect(body.code).to.equal(code);
        expect(raw).to.include(`X-Request-Id: ${body.request_id}`);
      }
    });
  });

  describe('ids', () => {
    it('come back when they are given and valid', async () => {
      const response = await server.fetch('/echo/id', { headers: { 'x-request-id': 'abc-123' } });
      expect(response.headers.get('x-request-id')).to.equal('abc-123');
      expect(await response.json()).to.deep.equal({ id: 'abc-123' });
    });

    it('are made where none or an invalid one is given', async () => {
      const ids = await Promise.all(
        [undefined, 'has spaces', 'x'.repeat(200), 'quote"'].map(async (id) => {
          const response = await server.fetch(
            '/echo',
            id === undefined ? {} : { headers: { 'x-request-id': id } },
          );
          return response.headers.get('x-request-id')!;
        }),
      );
      for (const id of ids) expect(id).to.match(/^[\w-]{10,40}$/);
      expect(new Set(ids).size).to.equal(4);
    });
  });

  describe('the access log', () => {
    it('has a line a request, with plugin, route, status, duration and ids, and no query string', async () => {
      await server.fetch('/echo/named/7?apikey=hush', {
        headers: {
          'x-request-id': 'logged-1',
          traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        },
      });
      const line = server.logs.find((entry) => entry.request_id === 'logged-1');
      expect(line).to.include({
        msg: 'request',
        level: 'info',
        method: 'GET',
        plugin: 'echo',
        route: '/echo/named/:id',
        status: 200,
        trace_id: '0af7651916cd43dd8448eb211c80319c',
        parent_id: 'b7ad6b7169203331',
      });
      expect(line!.ms).to.be.a('number');
      expect(server.logText()).not.to.include('hush');
    });

    it('masks what may be a token in a path that has no route', async () => {
      await server.fetch(`/nope/${'a'.repeat(43)}`, { headers: { 'x-request-id': 'logged-2' } });
      const line = server.logs.find((entry) => entry.request_id === 'logged-2');
      expect(line!.path).to.equal('/nope/[masked]');
    });
  });
});
