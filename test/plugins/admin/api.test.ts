import { expect } from 'chai';
import type { EndAnswer, SessionList } from '../../../plugins/admin/wire.js';
import { startServer, type TestServer } from '../../support/server.js';
import { buildPage } from './support/page.js';
import { StreamReader } from './support/stream.js';

const key = { Authorization: 'Bearer the-key' };
const auth = '[auth]\napikey=the-key\n';
const shaky = `
import { definePlugin, z } from 'plugin-server';
let able = true;
export default definePlugin({
  config: z.looseObject({}),
  setup({ router, onCheck }) {
    onCheck('mood', () => { if (!able) throw new Error('not in the mood'); });
    router.get('/', (ctx) => { ctx.body = {}; });
    router.get('/throw', () => { throw new Error('oh no'); });
    router.post('/sulk', (ctx) => { able = false; ctx.body = {}; });
  },
});`;

describe('the admin page, served', () => {
  let server: TestServer;
  before(async () => {
    buildPage();
    server = await startServer({ ini: auth });
  });
  after(() => server.close());

  it('is open, and sends whoever asks without the last slash to it by a relative address', async () => {
    const moved = await server.fetch('/admin', { redirect: 'manual' });
    expect([moved.status, moved.headers.get('location')]).to.deep.equal([308, 'admin/']);
    const page = await server.fetch('/admin');
    expect(page.status).to.equal(200);
    expect(page.headers.get('content-type')).to.equal('text/html; charset=utf-8');
  });

  it('allows no code, style, connection or frame but its own', async () => {
    const page = await server.fetch('/admin/');
    const policy = page.headers.get('content-security-policy')!;
    expect(policy).to.contain("default-src 'none'").and.to.contain("script-src 'self'");
    expect(policy).to.contain("frame-ancestors 'none'").and.to.contain("trusted-types 'none'");
    expect(policy).to.not.match(/unsafe|https?:|\*/);
    const html = await page.text();
    expect(html).to.not.match(/<style|style=|<script(?![^>]*src=)|https?:/);
  });

  it('is compressed where the client can, the same where it cannot, and not sent twice', async () => {
    for (const name of ['', 'page.js', 'page.css', 'icon.svg']) {
      const zipped = await server.fetch(`/admin/${name}`, { headers: { 'Accept-Encoding': 'gzip' } });
      expect(zipped.headers.get('content-encoding'), name).to.equal('gzip');
      const plain = await server.fetch(`/admin/${name}`, { headers: { 'Accept-Encoding': 'identity' } });
      expect(plain.headers.get('content-encoding')).to.equal(null);
      expect(await plain.text()).to.equal(await zipped.text());
      const etag = plain.headers.get('etag')!;
      const again = await server.fetch(`/admin/${name}`, {
        headers: { 'If-None-Match': etag, 'Cache-Control': 'max-age=0' },
      });
      expect(again.status).to.equal(304);
    }
  });

  it('has an API that takes the global key alone', async () => {
    for (const [path, method] of [
      ['stream', 'GET'],
      ['reload', 'POST'],
      ['sessions/list', 'POST'],
      ['sessions/end', 'POST'],
      ['sessions/end_all', 'POST'],
    ] as const) {
      const none = await server.fetch(`/admin/api/${path}`, { method });
      expect(none.status, path).to.equal(401);
      const wrong = await server.fetch(`/admin/api/${path}`, {
        method,
        headers: { Authorization: 'Bearer x' },
      });
      expect(((await wrong.json()) as { code: string }).code).to.equal('wrong_api_key');
    }
  });

  it('asks for the key before it judges path, method or body', async () => {
    const key = { Authorization: 'Bearer the-key' };
    const json = { 'Content-Type': 'application/json' };
    for (const path of [
      'stream',
      'reload',
      'sessions/list',
      'sessions/end',
      'sessions/end_all',
      'nothing',
      '',
    ]) {
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']) {
        const body = method === 'GET' ? {} : { body: '{"a":', headers: json };
        const none = await server.fetch(`/admin/api/${path}`, { method, ...body });
        expect(none.status, `${method} ${path}`).to.equal(401);
      }
      const wrong = await server.fetch(`/admin/api/${path}`, { method: 'DELETE', headers: key });
      expect(wrong.status, path).to.equal(['nothing', ''].includes(path) ? 404 : 405);
    }
  });

  it('is described in /openapi.json, with the key and the bodies that its API asks for', async () => {
    const { paths } = (await (await server.fetch('/openapi.json')).json()) as {
      paths: Record<
        string,
        Record<string, { security: object[]; requestBody?: { content: Record<string, { schema: object }> } }>
      >;
    };
    expect(paths['/admin']!.get!.security).to.deep.equal([]);
    for (const [path, method] of [
      ['stream', 'get'],
      ['reload', 'post'],
      ['sessions/list', 'post'],
      ['sessions/end', 'post'],
      ['sessions/end_all', 'post'],
    ] as const) {
      expect(paths[`/admin/api/${path}`]![method]!.security, path).to.deep.equal([
        { bearer: [] },
        { customHeader: [] },
      ]);
    }
    const body = paths['/admin/api/sessions/end']!.post!.requestBody!.content['application/json']!.schema;
    expect(body).to.deep.include({ required: ['userid', 'handle'], additionalProperties: false });
  });

  it('says that a reload needs a supervisor where there is none', async () => {
    const answer = await server.fetch('/admin/api/reload', { method: 'POST', headers: key });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).to.deep.equal([
      501,
      'reload_unavailable',
    ]);
  });

  it('may lie under another path', async () => {
    const moved = await startServer({ ini: `${auth}[plugin_parms]\nadmin=route_path=ops/watch` });
    const answer = await moved.fetch('/ops/watch', { redirect: 'manual' });
    const script = await moved.fetch('/ops/watch/page.js');
    await moved.close();
    expect([answer.headers.get('location'), script.status]).to.deep.equal(['watch/', 200]);
  });
});

describe('the admin page without a global key', () => {
  it('is served, and its API says what to write', async () => {
    buildPage();
    const server = await startServer();
    const page = await server.fetch('/admin/');
    const api = await server.fetch('/admin/api/stream', { headers: key });
    const { code, error } = (await api.json()) as { code: string; error: string };
    await server.close();
    expect([page.status, api.status, code]).to.deep.equal([200, 403, 'no_global_key']);
    expect(error).to.contain('apikey=KEY in [auth]');
  });
});

describe("the admin page's stream", () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: `${auth}[plugin_parms]\nshaky=greeting=hi&password=hush`,
      files: { 'plugins/shaky.mjs': shaky },
    });
  });
  after(() => server.close());

  const open = async () => new StreamReader(await server.fetch('/admin/api/stream', { headers: key }));

  it('begins with all there is: plugins with masked configuration, the last minutes, problems', async () => {
    const stream = await open();
    const hello = await stream.next('hello');
    await stream.close();
    expect(hello).to.include({ hasSessions: true, version: '0.1.0' });
    const plugin = hello!.plugins.find(({ name }) => name === 'shaky');
    expect(plugin).to.deep.include({
      path: '/shaky',
      state: 'ready',
      auth: 'global',
      parameters: { greeting: 'hi', password: '***' },
      checks: { mood: 'ok' },
    });
    expect(hello!.plugins.find(({ name }) => name === 'admin')).to.include({ auth: 'own', bundled: true });
  });

  it('goes on with each second and each problem', async () => {
    const stream = await open();
    await stream.next('hello');
    await server.fetch('/shaky', { headers: key });
    const second = await stream.next('sample', ({ traffic }) => traffic.shaky !== undefined);
    expect(second!.traffic.shaky!.requests).to.equal(1);
    expect(second!.sample.latency!.p99).to.be.greaterThan(0);
    const failed = await server.fetch('/shaky/throw', { headers: { ...key, 'X-Request-Id': 'bad-1' } });
    expect(failed.status).to.equal(500);
    const problem = await stream.next('problem');
    expect(problem).to.deep.include({ message: 'oh no', requestIds: ['bad-1'], route: '/shaky/throw' });
    await stream.close();
  });

  it('shows the past to who comes later', async () => {
    const stream = await open();
    const hello = await stream.next('hello');
    await stream.close();
    expect(hello!.samples.length).to.be.greaterThan(0);
    expect(hello!.problems.map(({ message }) => message)).to.include('oh no');
  });

  it('tells of a plugin that is no longer able', async () => {
    const stream = await open();
    await stream.next('hello');
    await server.fetch('/shaky/sulk', { method: 'POST', headers: key });
    const plugins = await stream.next('plugins');
    await stream.close();
    expect(plugins!.find(({ name }) => name === 'shaky')!.checks).to.deep.equal({ mood: 'not in the mood' });
  });

  it('ends when the server stops, and does not hold the stop up', async () => {
    const stopping = await startServer({ ini: auth });
    const stream = new StreamReader(await stopping.fetch('/admin/api/stream', { headers: key }));
    await stream.next('hello');
    const ended = stream.next('plugins');
    await stopping.close();
    expect(await ended).to.equal(undefined);
  });
});

describe('sessions on the admin page', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ ini: auth });
  });
  after(() => server.close());

  const call = async <Answer>(path: string, body: object) => {
    const answer = await server.fetch(path, {
      method: 'POST',
      headers: { ...key, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: answer.status, body: (await answer.json()) as Answer };
  };
  const make = async (userid: string) => {
    const { body } = await call<{ session_id: string }>('/sessman/new', { userid, data: { secret: 'data' } });
    return body.session_id;
  };
  const isLive = async (session_id: string, userid: string) =>
    (await call('/sessman/get', { session_id, userid })).status === 200;

  it('are listed by user, never with an id or data', async () => {
    const id = await make('ada');
    const { status, body } = await call<SessionList>('/admin/api/sessions/list', { userid: 'ada' });
    expect(status).to.equal(200);
    expect(body.sessions).to.have.length(1);
    const [session] = body.sessions;
    expect(session).to.have.all.keys('handle', 'created_at', 'used_at', 'expires_at');
    expect(id.startsWith(session!.handle)).to.equal(true);
    expect(JSON.stringify(body)).to.not.contain(id.slice(16)).and.not.contain('data');
  });

  it('are listed with what their application says of the device', async () => {
    const about = { device: "Emmy's phone" };
    await call('/sessman/new', { userid: 'emmy', about });
    const { body } = await call<SessionList>('/admin/api/sessions/list', { userid: 'emmy' });
    expect(body.sessions.map((session) => session.about)).to.deep.equal([about]);
  });

  it('end one by one, for their clients too', async () => {
    const [one, two] = [await make('grace'), await make('grace')];
    const ended = await call<EndAnswer>('/admin/api/sessions/end', {
      userid: 'grace',
      handle: one.slice(0, 16),
    });
    expect(ended).to.deep.equal({ status: 200, body: { ended: 1 } });
    expect(await isLive(one, 'grace')).to.equal(false);
    expect(await isLive(two, 'grace')).to.equal(true);
    const again = await call<{ code: string }>('/admin/api/sessions/end', {
      userid: 'grace',
      handle: one.slice(0, 16),
    });
    expect([again.status, again.body.code]).to.deep.equal([404, 'session_not_found']);
  });

  it('end all at once, those of that user alone', async () => {
    const [one, two, other] = [await make('bob'), await make('bob'), await make('carol')];
    const ended = await call<EndAnswer>('/admin/api/sessions/end_all', { userid: 'bob' });
    expect(ended.body).to.deep.equal({ ended: 2 });
    expect(await Promise.all([isLive(one, 'bob'), isLive(two, 'bob'), isLive(other, 'carol')])).to.deep.equal(
      [false, false, true],
    );
  });

  it('are asked for in the right form', async () => {
    for (const body of [{}, { userid: '' }, { userid: 7 }, { userid: 'ada', more: 1 }]) {
      const answer = await call<{ code: string }>('/admin/api/sessions/list', body);
      expect([answer.status, answer.body.code]).to.deep.equal([400, 'bad_request']);
    }
  });

  it('are not to be had without the session manager', async () => {
    const alone = await startServer({ ini: `${auth}[plugin_parms]\nsessman=enabled=bool:false` });
    const stream = new StreamReader(await alone.fetch('/admin/api/stream', { headers: key }));
    const hello = await stream.next('hello');
    await stream.close();
    const answer = await alone.fetch('/admin/api/sessions/list', {
      method: 'POST',
      headers: { ...key, 'Content-Type': 'application/json' },
      body: '{"userid":"ada"}',
    });
    await alone.close();
    expect(hello!.hasSessions).to.equal(false);
    expect(answer.status).to.equal(404);
  });
});
