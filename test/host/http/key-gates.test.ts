import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

const key = 'a-global-key-of-tests';

const own = `
import { asksKey, definePlugin, HttpError, route, z } from 'plugin-server';
export default definePlugin({
  auth: 'own',
  setup({ router, server }) {
    router.get('/page', (ctx) => { ctx.body = 'open'; });
    let asked = 0;
    router.use('/api', asksKey('session', (ctx, next) => {
      asked += 1;
      if (ctx.get('X-Session') !== 'mine') throw new HttpError(401, 'who_are_you', 'Log in.');
      ctx.state.user = 'me';
      return next();
    }));
    router.post('/api/things/:id', route({ body: z.object({ a: z.number() }) }, ({ ctx, body }) => ({ user: ctx.state.user, asked, ...body })));
    router.use('/closed', server.requireGlobalKey);
    router.post('/closed', (ctx) => { ctx.body = ctx.request.body; });
    router.use('/behind', (ctx, next) => {
      ctx.state.session = ctx.get('X-Session');
      ctx.state.runs = (ctx.state.runs ?? 0) + 1;
      return next();
    });
    router.use('/behind', asksKey('session', (ctx, next) => {
      if (ctx.state.session !== 'mine') throw new HttpError(401, 'who_are_you', 'Log in.');
      return next();
    }));
    router.post('/behind', (ctx) => { ctx.body = { runs: ctx.state.runs }; });
  },
});`;

describe('a plugin that checks keys itself', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: `[auth]\napikey=${key}\n`,
      files: { 'plugins/own.mjs': own },
    });
  });
  after(() => server.close());

  const refused = [
    ['/own/api/things/a', 'POST', '{"a"'],
    ['/own/api/things/a', 'POST', JSON.stringify({ a: 'x'.repeat(2_000_000) })],
    ['/own/api/things/a', 'PUT', '{}'],
    ['/own/api/nothing', 'POST', '{"a"'],
    ['/own/closed', 'POST', '{"a"'],
    ['/own/closed', 'DELETE', undefined],
    ['/admin/api/reload', 'POST', '{"a"'],
    ['/admin/api/reload', 'DELETE', undefined],
    ['/admin/api/nothing', 'GET', undefined],
  ] as const;
  for (const [path, method, body] of refused) {
    it(`answers 401 before anything else to ${method} ${path} with ${body?.slice(0, 8) ?? 'nothing'}`, async () => {
      const response = await server.fetch(path, {
        method,
        headers: { 'content-type': 'application/json' },
        ...(body !== undefined && { body }),
      });
      expect(response.status).to.equal(401);
    });
  }

  it('asks for no body before its key', async () => {
    const socket = connect(server.host.address.port, '127.0.0.1');
    socket.write(
      'POST /own/api/things/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n' +
        'Content-Type: application/json\r\nContent-Length: 8\r\n\r\n',
    );
    const [first] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    expect(String(first)).to.match(/^HTTP\/1.1 401 /);
  });

  it('asks once, and its routes see what the check has set', async () => {
    const ask = async () => {
      const response = await server.fetch('/own/api/things/a', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-session': 'mine' },
        body: '{"a":1}',
      });
      return (await response.json()) as { asked: number };
    };
    const first = await ask();
    expect(first).to.deep.include({ user: 'me', a: 1 });
    expect(await ask()).to.deep.equal({ ...first, asked: first.asked + 1 });
  });

  it('answers 404 and 405 to whoever has the key', async () => {
    const headers = { 'x-session': 'mine' };
    expect((await server.fetch('/own/api/nothing', { headers })).status).to.equal(404);
    expect((await server.fetch('/own/api/things/a', { method: 'PUT', headers })).status).to.equal(405);
    expect((await server.fetch('/own/page')).status).to.equal(200);
  });

  it('keeps the order of its middleware where the check depends on other middleware', async () => {
    const headers = { 'x-session': 'mine' };
    const response = await server.fetch('/own/behind', { method: 'POST', headers });
    expect(await response.json()).to.deep.equal({ runs: 1 });
    expect((await server.fetch('/own/behind', { method: 'POST' })).status).to.equal(401);
  });
});
