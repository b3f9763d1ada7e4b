import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

const plugin = `
import { definePlugin, z } from 'plugin-server';
let seen;
export default definePlugin({
  config: z.object({ cookie_path: z.string().default('/') }),
  check({ name, auth, https, hosts, warn }) {
    seen = { name, auth, https, hosts };
    if (auth === 'none') warn(['plugin_parms', name, 'auth_type'], 'auth_type=none opens nothing here', 'remove it');
  },
  setup({ router, path, mountOpen, takeKeys, allowOrigins, https }) {
    const keys = takeKeys();
    allowOrigins(['https://app.example']);
    router.all('/', (ctx) => { ctx.body = { opens: keys.opens(ctx), body: ctx.request.body }; });
    router.all('/bearer', (ctx) => { ctx.body = { opens: keys.opens(ctx, 'authorization') }; });
    router.get('/closed', (ctx) => { if (!keys.opens(ctx)) keys.require(); ctx.body = 'in'; });
    router.get('/seen', (ctx) => { ctx.body = { ...seen, areSet: keys.areSet, setup: https }; });
    mountOpen(path + '/ask', { subrequests: true }).get('/', (ctx) => { ctx.status = 204; });
  },
});`;

const start = (ini: string, line = '') =>
  startServer({
    ini: `${ini}\n[plugin_parms]\np=${line || 'required=on'}\n`,
    files: { 'plugins/p.mjs': plugin },
  });

const post = (key: string) => ({
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ apikey: key, a: 1 }),
});

describe('a plugin that checks keys itself', () => {
  let server: TestServer;
  afterEach(() => server?.close());
  const json = async (path: string, init?: RequestInit) => {
    const response = await server.fetch(path, init);
    // biome-ignore lint/suspicious/noExplicitAny: an answer's JSON, whose members the tests check
    const body: any = await response.json();
    return { status: response.status, headers: response.headers, body };
  };

  it('is told of a right key in every place, and a wrong one is the 401 that it is everywhere', async () => {
    server = await start('[auth]\napikey=the-global-key-of-this-test');
    const key = 'the-global-key-of-this-test';
    expect((await json('/p')).body.opens).to.equal(false);
    for (const init of <RequestInit[]>[
      { headers: { Authorization: `Bearer ${key}` } },
      { headers: { 'X-Custom-Auth': key } },
      post(key),
    ]) {
      expect((await json('/p', init)).body.opens).to.equal(true);
    }
    expect((await json(`/p?apikey=${key}`)).body.opens).to.equal(true);
    expect((await json('/p', post(key))).body.body).to.deep.equal({ a: 1 });
    for (const init of <RequestInit[]>[{ headers: { Authorization: 'Bearer no' } }, post('no')]) {
      const refused = await json('/p', init);
      expect([refused.status, refused.body.code]).to.deep.equal([401, 'wrong_api_key']);
    }
  });

  it('can count a key in Authorization alone', async () => {
    server = await start('[auth]\napikey=the-global-key-of-this-test');
    const key = 'the-global-key-of-this-test';
    expect((await json('/p/bearer', { headers: { Authorization: `Bearer ${key}` } })).body.opens).to.equal(
      true,
    );
    for (const init of <RequestInit[]>[{ headers: { 'X-Custom-Auth': 'wrong' } }, post(key)]) {
      expect((await json('/p/bearer', init)).body.opens).to.equal(false);
    }
    expect((await json(`/p/bearer?apikey=${key}`)).body.opens).to.equal(false);
  });

  it('refuses what requires a key with 401, and with 403 that names the line while none is set', async () => {
    server = await start('[auth]\napikey=the-global-key-of-this-test');
    const refused = await json('/p/closed');
    expect([refused.status, refused.body.code]).to.deep.equal([401, 'api_key_required']);
    expect(refused.headers.get('www-authenticate')).to.equal('Bearer realm="plugin-server"');
    await server.close();
    server = await start('', 'auth_type=none');
    const closed = await json('/p/closed', { headers: { Authorization: 'Bearer anything' } });
    expect([closed.status, closed.body.code]).to.deep.equal([403, 'no_global_key']);
    expect(closed.body.error).to.include('apikey=KEY in [auth]');
    expect(server.host.openPlugins).not.to.include('p');
  });

  it('has its own keys with auth_type=plugin', async () => {
    server = await start(
      '[auth]\napikey=the-global-key-of-this-test',
      'auth_type=plugin&apikey=the-key-of-this-plugin-alone',
    );
    const ask = (key: string) => json('/p/closed', { headers: { Authorization: `Bearer ${key}` } });
    expect((await server.fetch('/p/closed?apikey=the-key-of-this-plugin-alone')).status).to.equal(200);
    expect((await ask('the-global-key-of-this-test')).body.code).to.equal('wrong_api_key');
  });

  it('lets pages of its origins call with credentials, others of [cors] without, and the rest not', async () => {
    server = await start(
      '[cors]\nenabled=bool:on\norigin_url=list:https://c.example\n[auth]\napikey=the-global-key-of-this-test',
    );
    const ask = async (path: string, origin: string, init: RequestInit = {}) => {
      const { status, headers } = await server.fetch(path, {
        ...init,
        headers: { ...(init.headers as object), origin },
      });
      return [
        status,
        headers.get('access-control-allow-origin'),
        headers.get('access-control-allow-credentials'),
      ];
    };
    const preflight = { method: 'OPTIONS', headers: { 'access-control-request-method': 'POST' } };
    for (const path of ['/p', '/p/closed', '/p/ask']) {
      expect(await ask(path, 'https://app.example', preflight)).to.deep.equal([
        204,
        'https://app.example',
        'true',
      ]);
      expect(await ask(path, 'https://c.example', preflight)).to.deep.equal([204, 'https://c.example', null]);
      expect((await ask(path, 'https://x.example', preflight)).slice(1)).to.deep.equal([null, null]);
    }
    expect(await ask('/p/closed', 'https://app.example')).to.deep.equal([401, 'https://app.example', 'true']);
    const exposed = (await server.fetch('/p', { headers: { origin: 'https://app.example' } })).headers;
    expect(exposed.get('access-control-expose-headers')).to.include('ETag');
  });

  it('answers subrequests under any host name and however many there are', async () => {
    server = await start('[network]\nhosts=list:a.example\n[limits]\nrate=int:1\n');
    for (let i = 0; i < 5; i++) expect((await server.fetch('/p/ask')).status).to.equal(204);
    expect((await server.fetch('/p')).status).to.equal(421);
  });

  it('learns in its check what concerns it, and can warn', async () => {
    server = await start('[network]\nproxy=bool:on\nhosts=*\n', 'auth_type=none');
    expect((await json('/p/seen')).body).to.deep.equal({
      name: 'p',
      auth: 'none',
      https: true,
      hosts: ['*'],
      areSet: false,
      setup: true,
    });
    const [warning] = server.host.configuration.warnings;
    expect(warning).to.include({ message: 'auth_type=none opens nothing here', hint: 'remove it' });
    expect([warning!.position.line, warning!.position.column]).to.deep.equal([7, 13]);
  });
});
