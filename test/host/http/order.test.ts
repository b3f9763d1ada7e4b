import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

const echo = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.post('/', (ctx) => { ctx.body = ctx.request.body; });
    router.post('/at/:name', (ctx) => { ctx.body = ctx.request.body; });
  },
});`;

const proxy = (port: number) => `
import { request } from 'node:http';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ use, router }) {
    use((ctx, next) => {
      if (ctx.path.startsWith('/own')) return next();
      return new Promise((resolve, reject) => {
        const { headers, method, url } = ctx.req;
        const onward = request({ port: ${port}, headers, method, path: url }, (answer) => {
          ctx.status = answer.statusCode;
          ctx.set('X-Mount', ctx.mountPath + ' ' + ctx.originalUrl);
          ctx.body = answer;
          resolve();
        });
        onward.on('error', reject);
        ctx.req.pipe(onward);
      });
    });
    router.post('/own', (ctx) => { ctx.body = { path: ctx.path, body: ctx.request.body }; });
  },
});`;

/** Sends bytes and gives all that comes back until the other side closes, or until what is awaited has come. */
function talk(url: string, bytes: string, until: RegExp): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      if (until.test(text)) socket.destroy();
    });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

describe('the order in which a request is judged', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: '[auth]\napikey=a-global-key-of-tests\n',
      files: { 'plugins/echo.mjs': echo },
    });
  });
  after(() => server.close());

  const json = { 'content-type': 'application/json' };
  const bearer = { authorization: 'Bearer a-global-key-of-tests' };

  it('answers 401 before a body without a key is judged', async () => {
    for (const [path, body, headers] of [
      ['/echo', '{"a":', json],
      ['/echo', '{"a":1,"a":2}', json],
      ['/echo', Buffer.from([0x7b, 0xff]), json],
      ['/echo', '{}', { ...json, 'content-encoding': 'gzip' }],
      ['/echo', '{}', { 'content-type': 'application/json; charset=latin1' }],
      ['/echo', JSON.stringify({ a: 'x'.repeat(2_000_000) }), json],
      ['/echo', '['.repeat(1000), json],
      ['/echo/at/a', '{"a"', json],
      ['/echo/nothing', '{"apikey":"a-global-key-of-tests"}', json],
      ['/echo', 'apikey=a-global-key-of-tests', { 'content-type': 'application/x-www-form-urlencoded' }],
    ] as [string, string | Buffer, Record<string, string>][]) {
      const response = await server.fetch(path, { method: 'POST', body: body as never, headers });
      expect(response.status, `${path} ${String(body).slice(0, 20)}`).to.equal(401);
    }
  });

  it('asks for a body with 100 Continue only where the body is wanted', async () => {
    const head = (path: string, more: string, length = 2) =>
      `POST ${path} HTTP/1.1\r\nHost: a.localhost\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n${more}\r\n`;
    const key = 'Authorization: Bearer a-global-key-of-tests\r\n';
    expect(await talk(server.url, head('/echo/nothing', ''), /401 /)).to.match(/^HTTP\/1.1 401 /);
    expect(await talk(server.url, head('/echo', '', 100_000), /401 /)).to.match(/^HTTP\/1.1 401 /);
    expect(await talk(server.url, head('/echo/nothing', key), /404 /)).to.match(/^HTTP\/1.1 404 /);
    expect(await talk(server.url, head('/echo', key, 2_000_000), /413 /)).to.match(/^HTTP\/1.1 413 /);
    expect(await talk(server.url, head('/echo', key), /100 /)).to.match(/^HTTP\/1.1 100 Continue/);
  });

  it('takes the key from a small JSON body of a route, with parameters too', async () => {
    for (const path of ['/echo', '/echo/at/a']) {
      const body = JSON.stringify({ apikey: 'a-global-key-of-tests', a: 1 });
      const response = await server.fetch(path, { method: 'POST', body, headers: json });
      expect(await response.json(), path).to.deep.equal({ a: 1 });
    }
  });

  it('judges a body only where a route takes it', async () => {
    for (const [path, method, status] of [
      ['/echo/nothing', 'POST', 404],
      ['/echo', 'PUT', 405],
      ['/nowhere', 'POST', 404],
    ] as const) {
      const response = await server.fetch(path, { method, body: '{"a"', headers: { ...json, ...bearer } });
      expect(response.status, path).to.equal(status);
    }
  });

  it('refuses bytes that are not UTF-8, wherever they stand', async () => {
    const bad = [
      '80',
      'bf',
      'c3',
      'c328',
      'c0af',
      'c1bf',
      'e08080',
      'eda080',
      'edbfbf',
      'f4908080',
      'f8888080',
      'ff',
      'fe',
      'f09f98',
    ];
    for (const hex of bad) {
      for (const [before, after] of [
        ['{"a":"', '"}'],
        ['{"', '":1}'],
        ['{"a":[{"b":"€\ufffd', '"}]}'],
      ] as const) {
        const body = Buffer.concat([Buffer.from(before), Buffer.from(hex, 'hex'), Buffer.from(after)]);
        for (const extra of [{}, { 'content-type': 'application/vnd.api+json' }]) {
          const response = await server.fetch('/echo', {
            method: 'POST',
            body,
            headers: { ...json, ...bearer, ...extra },
          });
          expect(response.status, hex).to.equal(400);
          const answer = (await response.json()) as { code: string; error: string };
          expect(answer.code).to.equal('invalid_utf8');
          expect(answer.error).to.include(`offset ${Buffer.byteLength(before)} `);
        }
      }
    }
  });

  it('keeps text of every plane, and U+FFFD itself', async () => {
    const value = { ключ: 'é€😀\ufffd\u0000\uffff𐀀' };
    const response = await server.fetch('/echo', {
      method: 'POST',
      body: JSON.stringify(value),
      headers: { ...json, ...bearer },
    });
    expect(await response.json()).to.deep.equal(value);
  });

  it('refuses what JSON.parse would change, and names the place', async () => {
    for (const [body, place] of [
      ['{"a":1,"a":2}', 'a'],
      ['{"data":{"a":1,"\\u0061":2}}', 'data.a'],
      ['{"n":[0,1234567890123456789]}', 'n[1]'],
      ['{"n":9007199254740993}', 'n'],
      ['[{"n":1e400}]', '[0].n'],
      ['{"n":-1e400}', 'n'],
      ['{"n":1e-400}', 'n'],
    ] as const) {
      const response = await server.fetch('/echo', { method: 'POST', body, headers: { ...json, ...bearer } });
      expect(response.status, body).to.equal(400);
      const answer = (await response.json()) as { code: string; error: string };
      expect(answer.code, body).to.be.oneOf(['inexact_number', 'duplicate_parameter']);
      expect(answer.error, body).to.include(` ${place} (line 1, column `);
    }
  });
});

describe('middleware in front of the routes', () => {
  let behind: Server;
  let server: TestServer;
  before(async () => {
    behind = createServer((request, response) => {
      const sum = createHash('sha256');
      let size = 0;
      request.on('data', (chunk: Buffer) => {
        size += chunk.length;
        sum.update(chunk);
      });
      request.on('end', () =>
        response.end(JSON.stringify({ url: request.url, size, sum: sum.digest('hex') })),
      );
    });
    await new Promise<void>((resolve) => behind.listen(0, '127.0.0.1', resolve));
    const { port } = behind.address() as AddressInfo;
    server = await startServer({
      ini: '[auth]\napikey=a-global-key-of-tests\n',
      files: { 'plugins/proxy.mjs': proxy(port) },
    });
  });
  after(async () => {
    await server.close();
    behind.close();
  });
  const bearer = { authorization: 'Bearer a-global-key-of-tests' };

  it('passes every body on unread: JSON, forms, text, invalid and large ones', async () => {
    for (const [type, body] of [
      ['application/json', '{"a":1}'],
      ['application/json', '{"a"'],
      ['application/x-www-form-urlencoded', 'a=1'],
      ['text/plain', 'not JSON'],
      ['application/octet-stream', Buffer.alloc(5_000_000, 1)],
      ['application/json', Buffer.from([0xef, 0xbb, 0xbf, 0xff])],
    ] as [string, string | Buffer][]) {
      const response = await server.fetch('/proxy/a/b?c=d', {
        method: 'POST',
        body: body as never,
        headers: { ...bearer, 'content-type': type },
      });
      expect(response.status, type).to.equal(200);
      expect(await response.json(), type).to.deep.equal({
        url: '/a/b?c=d',
        size: Buffer.byteLength(body),
        sum: createHash('sha256').update(body).digest('hex'),
      });
      expect(response.headers.get('x-mount')).to.equal('/proxy /proxy/a/b?c=d');
    }
  });

  it('sees no request without its key', async () => {
    const response = await server.fetch('/proxy/a', {
      method: 'POST',
      body: '{}',
      headers: { 'content-type': 'application/json' },
    });
    expect(response.status).to.equal(401);
  });

  it('lets the routes see the whole path and the body', async () => {
    const response = await server.fetch('/proxy/own', {
      method: 'POST',
      body: '{"a":1}',
      headers: { ...bearer, 'content-type': 'application/json' },
    });
    expect(await response.json()).to.deep.equal({ path: '/proxy/own', body: { a: 1 } });
  });
});

const sentHeaders = {
  'WWW-Authenticate': 'Basic realm="x"',
  'Proxy-Authenticate': 'Basic',
  'Retry-After': '9',
  Allow: 'GET, PUT',
  'Content-Range': 'bytes */10',
  'Accept-Ranges': 'bytes',
  'Accept-Patch': 'application/json',
  Link: '</help>; rel="help"',
  Location: '/elsewhere',
  'Set-Cookie': 'a=b',
  Vary: 'Accept',
  'X-Own': 'y',
};

const answers = `
import { definePlugin, HttpError } from 'plugin-server';
const sent = ${JSON.stringify(sentHeaders)};
const foreign = (more) => Object.assign(new Error('secret of another server'), more);
class NotFound extends Error { status = 404; expose = false; }
const errors = [
  foreign({ status: 400 }),
  foreign({ status: 401, headers: { 'WWW-Authenticate': 'Basic' } }),
  foreign({ statusCode: 404 }),
  foreign({ status: '404' }),
  foreign({ status: 200 }),
  foreign({ status: 302, headers: { Location: 'https://evil.example' } }),
  foreign({ status: 429, code: 'rate_limited' }),
  foreign({ status: 503, name: 'HttpError' }),
  foreign({ status: 404, expose: 0 }),
  foreign({ status: 404, statusCode: 404, message: 'secret', type: 'entity.too.large' }),
  foreign({ code: 'ENOENT' }),
  foreign({ status: 404, cause: new HttpError(404, 'not_found', 'secret of a cause') }),
  new NotFound('secret of a class'),
  { status: 404, message: 'secret of an object' },
  'secret text',
  404,
  null,
  undefined,
];
export default definePlugin({
  setup({ router }) {
    router.get('/range', (ctx) => { ctx.status = 416; ctx.set('Content-Range', 'bytes */10'); });
    router.get('/auth', (ctx) => { ctx.status = 401; ctx.set('WWW-Authenticate', 'Basic'); ctx.set('Retry-After', '9'); });
    router.get('/thrown', (ctx) => { ctx.set('WWW-Authenticate', 'Digest'); ctx.set('Cache-Control', 'max-age=9'); ctx.throw(401); });
    router.get('/silent', () => ({ a: 1 }));
    router.get('/meant', (ctx) => { ctx.status = 404; });
    router.get('/foreign/404', () => { throw foreign({ status: 404 }); });
    router.get('/foreign/both', () => { throw foreign({ status: 403, statusCode: 403 }); });
    router.get('/foreign/code', () => { throw foreign({ statusCode: 429, code: 'slow' }); });
    router.get('/foreign/response', () => { throw foreign({ status: 404, response: { status: 404 } }); });
    router.get('/status/:status', (ctx) => {
      ctx.set(sent);
      if (ctx.query.thrown !== undefined) ctx.throw(Number(ctx.params.status));
      ctx.status = Number(ctx.params.status);
    });
    router.get('/error/:n', (ctx) => { throw errors[ctx.params.n]; });
    router.get('/event', (ctx) => { ctx.body = 'ok'; ctx.app.emit('error', new Error('after the head'), ctx); });
    router.get('/own', (ctx) => ctx.throw(409, 'meant for you'));
  },
});`;

describe('what a plugin answers', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ files: { 'plugins/answers.mjs': answers } });
  });
  after(() => server.close());

  it('keeps the headers that it set with every status', async () => {
    const range = await server.fetch('/answers/range');
    expect([range.status, range.headers.get('content-range')]).to.deep.equal([416, 'bytes */10']);
    const auth = await server.fetch('/answers/auth');
    expect(auth.headers.get('www-authenticate')).to.equal('Basic');
    expect(auth.headers.get('retry-after')).to.equal('9');
    const thrown = await server.fetch('/answers/thrown');
    expect(thrown.headers.get('www-authenticate')).to.equal('Digest');
    expect(thrown.headers.get('cache-control')).to.equal('no-store');
  });

  it('keeps all of them with every status of an error that has no body', async () => {
    const statuses = [
      ...[400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421],
      ...[422, 423, 424, 425, 426, 428, 429, 431, 451, 500, 501, 502, 503, 504, 507, 511],
    ];
    for (const status of statuses) {
      for (const query of ['', '?thrown']) {
        const { status: answered, headers } = await server.fetch(`/answers/status/${status}${query}`);
        expect(answered, query).to.equal(status);
        for (const [name, value] of Object.entries(sentHeaders)) {
          if (query !== '' && status >= 500) continue;
          expect(headers.get(name), `${status}${query} ${name}`).to.equal(value);
        }
      }
    }
  });

  it('is told of in the log when the handler said nothing', async () => {
    expect((await server.fetch('/answers/silent')).status).to.equal(404);
    expect((await server.fetch('/answers/meant')).status).to.equal(404);
    const told = server.logs.filter(({ msg }) => msg.includes('set no response'));
    expect(told.map(({ route }) => route)).to.deep.equal(['/answers/silent']);
  });

  it('reaches the log when middleware emits an error on the application', async () => {
    const response = await server.fetch('/answers/event');
    expect(response.status).to.equal(200);
    const told = server.logs.filter(({ msg }) => msg === 'the application emitted an error');
    expect(told).to.have.length(1);
    expect(told[0]).to.include({ plugin: 'answers', request_id: response.headers.get('x-request-id') });
  });

  it('is a 500 for an error of somebody else, whatever status it has', async () => {
    const paths = [
      ...['404', 'both', 'code', 'response'].map((name) => `foreign/${name}`),
      ...Array.from({ length: 18 }, (_, n) => `error/${n}`),
    ];
    const from = server.logs.length;
    for (const path of paths) {
      const response = await server.fetch(`/answers/${path}`);
      expect(response.status, path).to.equal(500);
      expect(response.headers.has('location') || response.headers.has('www-authenticate')).to.equal(false);
      expect(await response.text()).not.to.include('secret');
    }
    const failed = server.logs.slice(from).filter(({ msg }) => msg === 'request failed');
    expect(failed).to.have.length(paths.length);
    const own = await server.fetch('/answers/own');
    expect([own.status, ((await own.json()) as { error: string }).error]).to.deep.equal([
      409,
      'meant for you',
    ]);
  });
});

describe("the host's own routes", () => {
  let server: TestServer;
  before(async () => {
    server = await startServer();
  });
  after(() => server.close());

  it('answer to their exact path alone', async () => {
    for (const name of ['livez', 'healthz', 'readyz', 'metrics', 'openapi.json', 'plugins']) {
      for (const path of [
        `/${name}/`,
        `//${name}`,
        `/${name}//`,
        `/${name}/x`,
        `/${name.toUpperCase()}`,
        `/%${name.charCodeAt(0).toString(16)}${name.slice(1)}`,
        `/${name};a`,
        `/${name}%2f`,
        `/./${name}/`,
      ]) {
        const text = await talk(
          server.url,
          `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
          /\r\n\r\n/,
        );
        expect(text, path).to.match(/^HTTP\/1.1 404 /);
      }
    }
    for (const path of ['/reload/all/', '/reload/', '/reload', '/RELOAD/all', '/reload/all/x']) {
      expect((await server.fetch(path, { method: 'POST' })).status, path).to.equal(404);
    }
  });
});
