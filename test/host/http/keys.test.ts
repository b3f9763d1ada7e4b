import { expect } from 'chai';
import { ConfigError } from '../../../config/index.js';
import { startServer, type TestServer } from '../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { ok: true }; });
    router.post('/', (ctx) => { ctx.body = { body: ctx.request.body ?? null, query: ctx.query }; });
  },
});`;

const files = { 'plugins/shared.mjs': plugin, 'plugins/own.mjs': plugin, 'plugins/open.mjs': plugin };
const ini = `
[auth]
apikey=list:first-key second-key
[plugin_parms]
own=auth_type=plugin&apikey=own-key
open=auth=none
`;

describe('API keys', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ ini, files });
  });
  after(() => server.close());

  const bearer = (key: string) => ({ headers: { authorization: `Bearer ${key}` } });
  const statusOf = async (path: string, init?: RequestInit) => (await server.fetch(path, init)).status;

  it('are taken from each of the four places', async () => {
    expect(await statusOf('/shared', bearer('first-key'))).to.equal(200);
    expect(await statusOf('/shared', { headers: { 'x-custom-auth': 'first-key' } })).to.equal(200);
    expect(await statusOf('/shared?apikey=first-key')).to.equal(200);
    const inBody = {
      method: 'POST',
      body: '{"apikey":"first-key","a":1}',
      headers: { 'content-type': 'application/json' },
    };
    const response = await server.fetch('/shared', inBody);
    expect(response.status).to.equal(200);
    expect(await response.json()).to.deep.equal({ body: { a: 1 }, query: {} });
  });

  it('can be several, so that they can be changed one after the other', async () => {
    expect(await statusOf('/shared', bearer('second-key'))).to.equal(200);
  });

  it('are answered with 401 and WWW-Authenticate when they are missing or wrong', async () => {
    const missing = await server.fetch('/shared');
    expect(missing.status).to.equal(401);
    expect(missing.headers.get('www-authenticate')).to.equal('Bearer realm="plugin-server"');
    expect(await missing.json()).to.include({ code: 'api_key_required' });
    const wrong = await server.fetch('/shared', bearer('wrong'));
    expect(wrong.status).to.equal(401);
    expect(wrong.headers.get('www-authenticate')).to.equal(
      'Bearer realm="plugin-server", error="invalid_token"',
    );
    expect(await wrong.json()).to.include({ code: 'wrong_api_key' });
    for (const [path, init] of [
      ['/shared?apikey=', undefined],
      ['/shared?apikey=first-ke', undefined],
      ['/shared/nothing/here', undefined],
      ['/shared', { method: 'POST', body: '{"apikey":["first-key"]}' }],
      ['/shared', { method: 'POST', body: '{"a":1}' }],
      ['/shared', bearer('')],
      ['/shared', { headers: { authorization: 'Basic Zmlyc3Qta2V5' } }],
    ] as [string, RequestInit | undefined][]) {
      expect(await statusOf(path, init), `${path} ${JSON.stringify(init)}`).to.equal(401);
    }
  });

  it('of one plugin open that plugin alone, and the global key does not open it', async () => {
    expect(await statusOf('/own', bearer('own-key'))).to.equal(200);
    expect(await statusOf('/own', bearer('first-key'))).to.equal(401);
    expect(await statusOf('/shared', bearer('own-key'))).to.equal(401);
  });

  it('stop the start when one of a list is empty', async () => {
    const started = startServer({
      ini: '[auth]\napikey=json=keys.json\n',
      files: { ...files, 'keys.json': '["first-key", ""]' },
    });
    const error: unknown = await started.then(
      (running) => running.close(),
      (reason) => reason,
    );
    expect(error).to.be.instanceOf(ConfigError);
  });

  for (const [title, lines, name] of [
    ['written empty', '[auth]\napikey=\n', 'in [auth]'],
    ['an empty list', '[auth]\napikey=list:\n', 'in [auth]'],
    ['from an empty variable', '[auth]\napikey=${ENV:KEY}\n', 'in [auth]'],
    ["a plugin's, written empty", '[plugin_parms]\nown=apikey=\n', 'in the parameters of own'],
  ] as const) {
    it(`stop the start when there is none where one is meant: ${title}`, async () => {
      const started = startServer({ ini: lines, files, env: { KEY: '' } });
      const error: unknown = await started.then(
        (running) => running.close(),
        (reason) => reason,
      );
      expect(error).to.be.instanceOf(ConfigError);
      const { problems } = error as ConfigError;
      expect(problems.map(({ message }) => message)).to.deep.equal([
        `"apikey" ${name}: it is empty; write a key, or remove it`,
      ]);
    });
  }

  it('are not asked for where a plugin is open, nor for health', async () => {
    for (const path of ['/open', '/livez', '/healthz', '/readyz', '/openapi.json']) {
      expect(await statusOf(path), path).to.equal(200);
    }
  });

  it('guard metrics and the control routes', async () => {
    for (const path of ['/metrics', '/plugins', '/reload/all'])
      expect(await statusOf(path), path).to.equal(401);
    expect(await statusOf('/metrics', bearer('first-key'))).to.equal(200);
    expect(await statusOf('/plugins', bearer('first-key'))).to.equal(200);
  });

  it('never reach the log', () => {
    for (const key of ['first-key', 'second-key', 'own-key']) expect(server.logText()).not.to.include(key);
  });
});

describe('a server beyond loopback', () => {
  const warningsOf = async (text: string) => {
    const server = await startServer({ ini: `[network]\nbindto=0.0.0.0\n${text}`, files });
    const warnings = server.logs.filter(({ level }) => level === 'warn');
    await server.close();
    return warnings;
  };

  it('says which plugins need no key', async () => {
    const warning = (await warningsOf(ini)).find(({ plugins }) => plugins !== undefined);
    expect(warning!.plugins).to.deep.equal(['open']);
    expect(warning!.msg).to.match(/without a key: open$/);
  });

  it('says nothing when each needs one', async () => {
    expect(await warningsOf(`[auth]\napikey=${'k'.repeat(16)}\n`)).to.deep.equal([]);
  });
});

describe('what deserves a second look in a configuration', () => {
  it('is logged at the start, and never shows a key', async () => {
    const server = await startServer({
      ini: '[network]\nproxy=yes\nbindto=0.0.0.0\n[auth]\napikey=list:hush-1 hush-2-hush-2-hush-2\n[plugin_parms]\nopen=auth=plugin&apikey=hush-3',
      files,
    });
    const warnings = server.logs.filter(({ level, plugins }) => level === 'warn' && plugins === undefined);
    await server.close();
    expect(warnings).to.have.length(3);
    expect(warnings.map(({ msg }) => msg).join('\n')).to.match(
      /:\d:7: anyone .*:\d:13: this API key has 6 characters .*:\d:\d+: this API key has 6 characters /s,
    );
    expect(server.logText()).not.to.include('hush');
  });

  it('is not a proxy that only this machine reaches, nor a long key', async () => {
    for (const bindto of ['127.0.0.1', 'localhost']) {
      const server = await startServer({
        ini: `[network]\nproxy=yes\nbindto=${bindto}\n[auth]\napikey=${'k'.repeat(16)}`,
      });
      const warnings = server.logs.filter(({ level }) => level === 'warn');
      await server.close();
      expect(warnings).to.deep.equal([]);
    }
  });
});

describe('without a global key', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ files });
  });
  after(() => server.close());

  it('plugins and metrics are open and the control routes closed', async () => {
    expect((await server.fetch('/shared')).status).to.equal(200);
    expect((await server.fetch('/metrics')).status).to.equal(200);
    for (const path of ['/plugins', '/reload/all']) {
      const response = await server.fetch(path);
      expect(response.status).to.equal(403);
      expect(((await response.json()) as { error: string }).error).to.match(/\[auth\]/);
    }
  });
});
