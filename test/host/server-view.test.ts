import { expect } from 'chai';
import type { MonitorEvent, ServerProblem, ServerView } from '../../host/kit/server-view.js';
import { startServer, type TestServer } from '../support/server.js';

/** A plugin that hands the server view to the test through a global, and fails on demand. */
const watcher = `
import { definePlugin, HttpError, z } from 'plugin-server';
export default definePlugin({
  after: ['clock?', 'absent?'],
  auth: 'own',
  config: z.looseObject({}),
  setup({ router, server, draining, plugin }) {
    globalThis.serverView = { server, draining, clock: plugin('clock'), absent: plugin('absent') };
    router.get('/open', (ctx) => { ctx.body = { open: true }; });
    router.get('/closed', server.requireGlobalKey, (ctx) => { ctx.body = { closed: false }; });
    router.get('/throw', () => { throw new Error('no luck with 0123456789abcdefghijklmnopqrstuvwxyzABCDEFG'); });
    router.get('/meant', () => { throw new HttpError(503, 'away', 'The thing is away.'); });
    router.get('/set', (ctx) => { ctx.status = 502; ctx.body = { bad: true }; });
    router.get('/stream', (ctx) => {
      ctx.type = 'text/event-stream';
      ctx.respond = false;
      ctx.res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      ctx.res.write('data: 1\\n\\n');
      draining.addEventListener('abort', () => ctx.res.end());
    });
  },
});`;
const clock = `
import { definePlugin } from 'plugin-server';
export default definePlugin({ setup: () => ({ now: () => 7 }) });`;

interface Given {
  readonly server: ServerView;
  readonly draining: AbortSignal;
  readonly clock: { now(): number } | undefined;
  readonly absent: unknown;
}
const given = () => (globalThis as unknown as { serverView: Given }).serverView;

describe("a plugin's view of the server", () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: `[auth]
apikey=the-key
[plugin_parms]
watcher=user=ada&password=hush&url=mongodb://ada:hush@db/x`,
      files: { 'plugins/watcher/index.mjs': watcher, 'plugins/clock.mjs': clock },
    });
  });
  after(() => server.close());

  it('has what an optional plugin offers, and undefined where it is not there', () => {
    expect(given().clock?.now()).to.equal(7);
    expect(given().absent).to.equal(undefined);
  });

  it('leaves a plugin that asks for keys itself open, but for what it closes', async () => {
    expect((await server.fetch('/watcher/open')).status).to.equal(200);
    const none = await server.fetch('/watcher/closed');
    expect(none.status).to.equal(401);
    expect(none.headers.get('www-authenticate')).to.match(/^Bearer/);
    const wrong = await server.fetch('/watcher/closed', { headers: { Authorization: 'Bearer nope' } });
    expect([wrong.status, ((await wrong.json()) as { code: string }).code]).to.deep.equal([
      401,
      'wrong_api_key',
    ]);
    const right = await server.fetch('/watcher/closed', { headers: { Authorization: 'Bearer the-key' } });
    expect(right.status).to.equal(200);
  });

  it('shows each plugin with its configuration, secrets masked', async () => {
    const plugins = await given().server.plugins();
    const found = plugins.find(({ name }) => name === 'watcher');
    expect(found).to.deep.include({
      path: '/watcher',
      state: 'ready',
      auth: 'own',
      bundled: false,
      problem: null,
      parameters: { user: 'ada', password: '***', url: '***' },
    });
    expect(found!.configuredAt).to.match(/^plugin-server\.ini:\d+:1$/);
  });

  it('is told the traffic and the latency of each second', async () => {
    const seen = nextEvent(
      (event) => event.type === 'sample' && event.traffic.watcher !== undefined && event.sample.requests > 0,
    );
    await server.fetch('/watcher/open');
    const event = await seen;
    if (event.type !== 'sample') throw new Error('not a sample');
    expect(event.sample.latency?.p50).to.be.greaterThan(0);
    expect(event.sample.memory).to.be.greaterThan(1e6);
  });

  it('is told of what failed, without tokens, with the request id and the place in the code', async () => {
    const thrown = nextProblem(({ route }) => route === '/watcher/throw');
    const answer = await server.fetch('/watcher/throw', { headers: { 'X-Request-Id': 'req-1' } });
    expect(answer.status).to.equal(500);
    expect(await thrown).to.deep.include({
      kind: 'request',
      method: 'GET',
      plugin: 'watcher',
      status: 500,
      code: 'internal_error',
      message: 'no luck with [masked]',
      requestIds: ['req-1'],
    });
    expect((await thrown).place).to.match(/^plugins\/watcher\/index\.mjs:11:\d+$/);
  });

  it('is told of failures that were meant, thrown or not', async () => {
    const meant = nextProblem(({ route }) => route === '/watcher/meant');
    await server.fetch('/watcher/meant');
    expect(await meant).to.deep.include({ status: 503, code: 'away', message: 'The thing is away.' });
    const set = nextProblem(({ route }) => route === '/watcher/set');
    await server.fetch('/watcher/set');
    expect(await set).to.deep.include({ status: 502, message: 'The response had status 502.' });
  });

  it('cannot reload a server that has no supervisor, and says so', async () => {
    const error = await given()
      .server.reload()
      .catch((reason: unknown) => reason);
    expect(error).to.include({ status: 501, code: 'reload_unavailable' });
  });

  it('refuses keys in the line of a plugin that asks for keys itself', async () => {
    const failure = await startServer({
      ini: '[plugin_parms]\nwatcher=auth_type=none',
      files: { 'plugins/watcher/index.mjs': watcher },
    }).catch((error: Error) => error);
    expect(failure).to.be.an('error');
    expect((failure as Error).message).to.match(
      /plugin-server\.ini:2:9: plugin "watcher" does not accept auth_type: it checks keys itself; remove it/,
    );
  });
});

describe('a stop', () => {
  it('ends event streams that heed the drain, and has logged them when they began', async () => {
    const server = await startServer({ files: { 'plugins/watcher/index.mjs': watcher } });
    const answer = await server.fetch('/watcher/stream');
    const reading = answer.text();
    expect(server.host.metrics.active).to.equal(0);
    await server.close();
    expect(await reading).to.equal('data: 1\n\n');
    expect(given().draining.aborted).to.equal(true);
    const line = server.logs.find(({ route }) => route === '/watcher/stream');
    expect(line).to.include({ status: 200, msg: 'request' }).and.not.have.property('aborted');
  });

  it("leaves the operator's part closed when there is no global key, and says what to write", async () => {
    const server = await startServer({ files: { 'plugins/watcher/index.mjs': watcher } });
    const answer = await server.fetch('/watcher/closed', { headers: { Authorization: 'Bearer any' } });
    const { code, error } = (await answer.json()) as { code: string; error: string };
    await server.close();
    expect([answer.status, code]).to.deep.equal([403, 'no_global_key']);
    expect(error).to.contain('apikey=KEY in [auth]');
  });
});

function nextEvent(wanted: (event: MonitorEvent) => boolean): Promise<MonitorEvent> {
  return new Promise((resolve) => {
    const stop = given().server.watch((event) => {
      if (!wanted(event)) return;
      queueMicrotask(() => stop());
      resolve(event);
    });
  });
}

async function nextProblem(wanted: (problem: ServerProblem) => boolean): Promise<ServerProblem> {
  const event = await nextEvent((each) => each.type === 'problem' && wanted(each.problem));
  return (event as Extract<MonitorEvent, { type: 'problem' }>).problem;
}
