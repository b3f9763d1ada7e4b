import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { expect } from 'chai';
import { ServerProcess } from '../../support/process.js';
import { requestRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

const from = (name: string) => import.meta.resolve(name);

const plugins = {
  statics: `
import { definePlugin } from 'plugin-server';
import serve from '${from('koa-static')}';
export default definePlugin({
  setup({ use, router, resolvePath }) {
    router.get('/api', (ctx) => { ctx.body = { path: ctx.path }; });
    use(serve(resolvePath('public')));
  },
});`,
  deferred: `
import { definePlugin, HttpError } from 'plugin-server';
import serve from '${from('koa-static')}';
export default definePlugin({
  setup({ use, router, resolvePath }) {
    use(async (ctx, next) => {
      await next();
      ctx.set('X-After', [ctx.status, ctx.path, ctx.body === undefined].join(' '));
      if (ctx.path === '/lost') ctx.body = { lost: ctx.status };
    });
    use(serve(resolvePath('public'), { defer: true }));
    router.get('/app.js', (ctx) => { ctx.body = 'of the route'; });
    router.get('/hidden/app.js', () => { throw new HttpError(404, 'not_here', 'Not here.'); });
    router.post('/only', (ctx) => { ctx.body = 'posted'; });
  },
});`,
  mounted: `
import { definePlugin } from 'plugin-server';
import mount from '${from('koa-mount')}';
import serve from '${from('koa-static')}';
export default definePlugin({
  setup({ use, router, resolvePath }) {
    use(mount('/assets', serve(resolvePath('public'))));
    use(mount('/seen', (ctx) => { ctx.body = { path: ctx.path, url: ctx.url, original: ctx.originalUrl, mount: ctx.mountPath }; }));
    router.get('/api', (ctx) => { ctx.body = { path: ctx.path, mount: ctx.mountPath ?? null }; });
  },
});`,
  session: `
import { definePlugin, route, z } from 'plugin-server';
import session from '${from('koa-session')}';
export default definePlugin({
  setup({ use, router }) {
    let sessions;
    use((ctx, next) => {
      // It extends the contexts of the application that it is given.
      ctx.app.keys ??= ['a key that signs cookies'];
      sessions ??= session({ key: 'visits' }, ctx.app);
      return sessions(ctx, next);
    });
    router.get('/count', (ctx) => {
      ctx.session.count = (ctx.session.count ?? 0) + 1;
      ctx.body = { count: ctx.session.count };
    });
    router.post('/set', route({ body: z.object({ count: z.int() }) }, ({ ctx, body }) => {
      ctx.session.count = body.count;
      return { count: body.count };
    }));
  },
});`,
  helmet: `
import { definePlugin, HttpError, route } from 'plugin-server';
import helmet from '${from('koa-helmet')}';
export default definePlugin({
  setup({ use, router }) {
    use(helmet.default?.() ?? helmet());
    router.get('/', route({}, () => ({ a: 1 })));
    router.get('/broken', () => { throw new HttpError(409, 'taken', 'It is taken.'); });
  },
});`,
  compress: `
import { Readable } from 'node:stream';
import { definePlugin, route, z } from 'plugin-server';
import compress from '${from('koa-compress')}';
export default definePlugin({
  setup({ use, router, sendFile }) {
    use(compress({ threshold: 100, br: false, zstd: false }));
    router.get('/json', route({ response: z.any() }, () => ({ text: 'x'.repeat(5000) })));
    router.get('/plain', (ctx) => { ctx.body = { text: 'x'.repeat(5000) }; });
    router.get('/stream', (ctx) => { ctx.type = 'text/plain'; ctx.body = Readable.from(['x'.repeat(2500), 'x'.repeat(2500)]); });
    router.get('/file', (ctx) => sendFile(ctx, 'public', 'long.txt'));
    router.get('/small', route({}, () => 'small'));
  },
});`,
  crossed: `
import cors from '${from('@koa/cors')}';
import { definePlugin, route, z } from 'plugin-server';
export default definePlugin({
  setup({ use, router }) {
    use(cors({ origin: 'https://www.example.org', credentials: true }));
    router.post('/', route({ body: z.object({ a: z.int() }) }, ({ body }) => body));
  },
});`,
};

describe('middleware from npm under use()', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      files: {
        ...Object.fromEntries(Object.entries(plugins).map(([name, text]) => [`plugins/${name}.mjs`, text])),
        'public/index.html': '<h1>Start</h1>',
        'public/app.js': 'start();',
        'public/sub/page.txt': 'page',
        'public/long.txt': 'x'.repeat(5000),
        'secret.txt': 'secret',
      },
      ini: '[plugin_parms]\nstatics=route_path=v1/site\ncrossed=auth_type=none\n',
    });
  });
  after(() => server.close());

  const json = { 'content-type': 'application/json' };

  it('koa-static serves files, under a path of several segments too, and leaves the rest to the routes', async () => {
    for (const [path, text] of [
      ['/v1/site/', '<h1>Start</h1>'],
      ['/v1/site', '<h1>Start</h1>'],
      ['/v1/site/app.js?v=1', 'start();'],
      ['/v1/site/sub/page.txt', 'page'],
    ] as const) {
      const response = await server.fetch(path);
      expect([response.status, await response.text()], path).to.deep.equal([200, text]);
    }
    expect(await (await server.fetch('/v1/site/api')).json()).to.deep.equal({ path: '/v1/site/api' });
    const missing = await server.fetch('/v1/site/nothing.txt');
    expect([missing.status, ((await missing.json()) as { code: string }).code]).to.deep.equal([
      404,
      'not_found',
    ]);
    expect((await requestRaw(server.url, '/v1/site/..%2fsecret.txt')).status).to.equal(404);
    const head = await server.fetch('/v1/site/app.js', { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).to.deep.equal([200, '8']);
  });

  it('koa-static serves after the routes, too, and other middleware what they left', async () => {
    const ask = async (path: string, method = 'GET') => {
      const answer = await server.fetch(`/deferred${path}`, { method });
      return [answer.status, await answer.text(), answer.headers.get('x-after')];
    };
    expect(await ask('/app.js')).to.deep.equal([200, 'of the route', '200 /app.js false']);
    expect(await ask('/sub/page.txt')).to.deep.equal([200, 'page', '200 /sub/page.txt false']);
    const [status, text, after] = await ask('/lost');
    expect([status, text, after]).to.deep.equal([200, '{"lost":404}', '404 /lost true']);
    const codeOf = async (path: string) =>
      ((await (await server.fetch(`/deferred${path}`)).json()) as { code: string }).code;
    expect(await codeOf('/nothing')).to.equal('not_found');
    expect(await codeOf('/hidden/app.js')).to.equal('not_here');
    const wrong = await server.fetch('/deferred/only');
    expect([wrong.status, wrong.headers.get('allow')]).to.deep.equal([405, 'POST, OPTIONS']);
    expect(wrong.headers.get('x-after')).to.equal('405 /only true');
    expect(await codeOf('/only')).to.equal('method_not_allowed');
  });

  it('koa-mount sees the paths as it expects them', async () => {
    expect(await (await server.fetch('/mounted/assets/app.js')).text()).to.equal('start();');
    expect(await (await server.fetch('/mounted/seen/a/b?c=d')).json()).to.deep.equal({
      path: '/a/b',
      url: '/a/b?c=d',
      original: '/mounted/seen/a/b?c=d',
      mount: '/seen',
    });
    expect(await (await server.fetch('/mounted/api')).json()).to.deep.equal({
      path: '/mounted/api',
      mount: null,
    });
    expect((await server.fetch('/mounted/assets/nothing.js')).status).to.equal(404);
  });

  it('koa-session keeps a session over plain routes and those of route()', async () => {
    let cookie = '';
    const call = async (path: string, init: RequestInit = {}) => {
      const response = await server.fetch(`/session${path}`, {
        ...init,
        headers: { ...init.headers, cookie },
      });
      const set = response.headers.getSetCookie().map((each) => each.split(';')[0]);
      if (set.length > 0) cookie = set.join('; ');
      return (await response.json()) as { count: number };
    };
    expect(await call('/count')).to.deep.equal({ count: 1 });
    expect(await call('/count')).to.deep.equal({ count: 2 });
    expect(await call('/set', { method: 'POST', body: '{"count":40}', headers: json })).to.deep.equal({
      count: 40,
    });
    expect(await call('/count')).to.deep.equal({ count: 41 });
  });

  it('koa-helmet sets its headers on answers and errors', async () => {
    for (const [path, status] of [
      ['/helmet', 200],
      ['/helmet/broken', 409],
      ['/helmet/nothing', 404],
    ] as const) {
      const response = await server.fetch(path);
      expect(response.status).to.equal(status);
      expect(response.headers.get('cross-origin-opener-policy'), path).to.equal('same-origin');
      expect(response.headers.get('content-security-policy'), path).to.include("default-src 'self'");
      expect(response.headers.get('x-frame-options'), path).to.equal('SAMEORIGIN');
    }
  });

  it('koa-compress compresses what is long enough, whoever makes the answer', async () => {
    for (const path of ['/json', '/plain', '/stream', '/file']) {
      const { body, head } = await getRaw(`${server.url}/compress${path}`, { 'Accept-Encoding': 'gzip' });
      expect(head['content-encoding'], path).to.equal('gzip');
      expect(gunzipSync(body).toString(), path).to.include('x'.repeat(5000));
    }
    const { head } = await getRaw(`${server.url}/compress/small`, { 'Accept-Encoding': 'gzip' });
    expect(head['content-encoding']).to.equal(undefined);
    const plain = await getRaw(`${server.url}/compress/json`, { 'Accept-Encoding': 'identity' });
    expect(JSON.parse(plain.body.toString())).to.deep.equal({ text: 'x'.repeat(5000) });
  });

  it('@koa/cors answers preflights and allows its origin', async () => {
    const preflight = await server.fetch('/crossed', {
      method: 'OPTIONS',
      headers: { origin: 'https://www.example.org', 'access-control-request-method': 'POST' },
    });
    expect(preflight.status).to.equal(204);
    expect(preflight.headers.get('access-control-allow-origin')).to.equal('https://www.example.org');
    const { head, body } = await getRaw(
      `${server.url}/crossed`,
      { ...json, Origin: 'https://www.example.org' },
      'POST',
      '{"a":1}',
    );
    expect(body.toString()).to.equal('{"a":1}');
    expect(head['access-control-allow-credentials']).to.equal('true');
  });
});

const proxy = (port: number) => `
import { definePlugin, route, stream } from 'plugin-server';
import httpProxy from '${from('http-proxy')}';
export default definePlugin({
  setup({ router, use, onClose }) {
    const proxy = httpProxy.createProxyServer({ target: 'http://127.0.0.1:${port}', xfwd: true });
    onClose(() => proxy.close());
    const forward = (ctx) => new Promise((resolve, reject) => {
      ctx.respond = false;
      ctx.res.once('close', resolve);
      proxy.web(ctx.req, ctx.res, {}, reject);
    });
    router.all('/routed/{*path}', route({ body: stream() }, ({ ctx }) => forward(ctx)));
    router.get('/pid', (ctx) => { ctx.body = { pid: process.pid }; });
    use((ctx, next) => (ctx.path.startsWith('/used/') ? forward(ctx) : next()));
  },
});`;

describe('http-proxy under a route with stream(), and under use()', () => {
  let behind: Server;
  let server: ServerProcess;
  /** Told when a request has come to the server behind, with its first bytes. */
  let onBegin: () => void = () => {};

  before(async () => {
    behind = createServer((req, res) => {
      if (req.url!.endsWith('/broken')) {
        req.socket.destroy();
        return;
      }
      const sum = createHash('sha256');
      let size = 0;
      req.on('data', (chunk: Buffer) => {
        onBegin();
        size += chunk.length;
        sum.update(chunk);
      });
      req.on('end', () => {
        res.writeHead(req.method === 'PUT' ? 201 : 200, { 'X-Behind': 'yes' });
        res.end(JSON.stringify({ method: req.method, url: req.url, size, sum: sum.digest('hex') }));
      });
    });
    behind.listen(0, '127.0.0.1');
    await once(behind, 'listening');
    server = await ServerProcess.start({
      ini: '[main]\nsafe=list:proxied\n[network]\nworkers=2\n[limits]\nbody=int:1000\n[plugin_parms]\nproxied=auth_type=none\n',
      args: ['--safe'],
      files: { 'plugins/proxied.mjs': proxy((behind.address() as AddressInfo).port) },
    });
  });
  after(async () => {
    await server.close();
    behind.close();
  });

  for (const [where, path] of [
    ['stream()', '/proxied/routed/a/b?c=%ff'],
    ['use()', '/proxied/used/a/b?c=%ff'],
  ] as const) {
    for (const [method, type, body] of [
      ['GET', undefined, undefined],
      ['GET', 'application/json', Buffer.from('{"query":{}}')],
      ['DELETE', undefined, undefined],
      ['POST', 'application/json', Buffer.from('{"a":1}')],
      ['POST', 'application/json', Buffer.from('{"a"')],
      ['POST', 'application/x-www-form-urlencoded', Buffer.from('a=%ff')],
      ['POST', 'text/plain', Buffer.from('text')],
      ['PUT', 'application/octet-stream', Buffer.alloc(5_000_000, 7)],
    ] as const) {
      it(`${where} passes on ${method} ${type ?? 'without a body'} of ${body?.length ?? 0} bytes`, async () => {
        const headers: Record<string, string> = type === undefined ? {} : { 'Content-Type': type };
        const answer = await getRaw(server.url + path, headers, method, body);
        expect(answer.status).to.equal(method === 'PUT' ? 201 : 200);
        expect(answer.head['x-behind']).to.equal('yes');
        expect(JSON.parse(answer.body.toString())).to.deep.equal({
          method,
          url: where === 'use()' ? '/used/a/b?c=%ff' : path,
          size: body?.length ?? 0,
          sum: createHash('sha256')
            .update(body ?? '')
            .digest('hex'),
        });
      });
    }

    it(`${where} answers 500 where the server behind breaks off, and goes on`, async () => {
      const answer = await getRaw(server.url + path.replace(/a\/b.*/, 'broken'), {});
      expect(answer.status).to.equal(500);
      expect((await getRaw(server.url + path, {})).status).to.equal(200);
    });

    it(`${where} carries an upload over a reload, and a lost worker costs that upload alone`, async () => {
      const upload = async () => {
        const begun = new Promise<void>((resolve) => {
          onBegin = resolve;
        });
        const call = request(server.url + path, { method: 'PUT', agent: false });
        const answered = once(call, 'response') as Promise<[IncomingMessage]>;
        answered.catch(() => {});
        call.write(Buffer.alloc(100_000, 1));
        await begun;
        return { call, answered };
      };
      const first = await upload();
      const reloaded = server.next('reloaded');
      server.signal('SIGHUP');
      await reloaded;
      first.call.end(Buffer.alloc(2_000_000, 2));
      const [answer] = await first.answered;
      expect(answer.statusCode).to.equal(201);
      expect(JSON.parse(String(await readAll(answer)))).to.include({ size: 2_100_000 });

      const pids = new Set<number>();
      while (pids.size < 2) pids.add((await server.json<{ pid: number }>('/proxied/pid')).pid);
      const second = await upload();
      for (const pid of pids) process.kill(pid, 'SIGKILL');
      const lost = await second.answered.then(
        () => undefined,
        (error: NodeJS.ErrnoException) => error.code,
      );
      expect(lost).to.equal('ECONNRESET');
      expect((await getRaw(server.url + path, {})).status).to.equal(200);
    }).timeout(30_000);
  }
});

/** As a client that undoes no Content-Encoding. */
async function getRaw(
  url: string,
  headers: Record<string, string>,
  method = 'GET',
  body?: string | Uint8Array,
) {
  const call = request(url, {
    method,
    agent: false,
    headers: { ...headers, ...(body !== undefined && { 'Content-Length': Buffer.byteLength(body) }) },
  });
  call.end(body);
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  return { status: answer.statusCode, head: answer.headers, body: await readAll(answer) };
}

async function readAll(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
