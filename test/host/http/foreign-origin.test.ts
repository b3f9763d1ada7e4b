import { expect } from 'chai';
import { requestRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, mountOpen }) {
    router.all('/', (ctx) => { ctx.body = { ok: true }; });
    mountOpen('/' + import.meta.url.split('/').at(-1).replace('.mjs', '') + '/script.js').get('/', (ctx) => { ctx.body = 'script'; });
  },
});`;
const files = { 'plugins/shared.mjs': plugin, 'plugins/own.mjs': plugin, 'plugins/open.mjs': plugin };
const lines = '[plugin_parms]\nown=auth_type=plugin&apikey=a-key-of-this-plugin\nopen=auth=none\n';
const cors = '[cors]\nenabled=yes\norigin_url=https://a.example http://b.example:8080\n';

type Headers = Readonly<Record<string, string>>;
/** Where a request comes from, and whether a plugin answers that is open only because no global key is set. */
const senders: readonly (readonly [what: string, headers: Headers, open: boolean])[] = [
  ['a program', {}, true],
  ['the address bar', { 'Sec-Fetch-Site': 'none' }, true],
  ['its own page', { 'Sec-Fetch-Site': 'same-origin', Origin: 'http://HOST' }, true],
  ['its own page that hides its origin', { 'Sec-Fetch-Site': 'same-origin', Origin: 'null' }, true],
  ['its own page in an old browser', { Origin: 'http://HOST' }, true],
  ['its own page, the host in capitals', { Host: 'LocalHost', Origin: 'http://localhost' }, true],
  ['its own page, with the default port', { Host: 'localhost:80', Origin: 'http://localhost' }, true],
  ['a page in [cors]', { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://a.example' }, true],
  ['a page in [cors], in an old browser', { Origin: 'http://b.example:8080' }, true],
  ['a link on another page of this machine', { 'Sec-Fetch-Site': 'same-site' }, true],
  ['a page of another site', { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' }, false],
  ['a page of another site in an old browser', { Origin: 'https://evil.example' }, false],
  ['an image or a link on another site', { 'Sec-Fetch-Site': 'cross-site' }, false],
  ['a file or a sandboxed frame', { 'Sec-Fetch-Site': 'cross-site', Origin: 'null' }, false],
  ['a file in an old browser', { Origin: 'null' }, false],
  ['a page on another port', { 'Sec-Fetch-Site': 'same-site', Origin: 'http://127.0.0.1:3000' }, false],
  ['a page with another scheme', { Origin: 'https://HOST' }, false],
  ['a page whose origin begins like its own', { Origin: 'http://HOST.evil.example' }, false],
  ['a page whose origin begins like one in [cors]', { Origin: 'https://a.example.evil.example' }, false],
  ['an extension', { Origin: 'chrome-extension://abcdef' }, false],
  ['an origin that is none', { Origin: 'evil' }, false],
  ['an empty origin', { Origin: '' }, false],
  ['a site that claims the own origin', { 'Sec-Fetch-Site': 'cross-site', Origin: 'http://HOST' }, false],
];
const types = ['application/json', 'text/plain', 'text/javascript', 'application/x-www-form-urlencoded', ''];

describe('a server without a global key', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ ini: cors + lines, files });
  });
  after(() => server.close());

  const ask = async (path: string, given: Headers, method = 'POST') => {
    const { host } = new URL(server.url);
    const headers = Object.fromEntries(
      Object.entries(given).map(([name, value]) => [name, value.replace('HOST', host)]),
    );
    const { status, body } = await requestRaw(server.url, path, {
      method,
      headers: { 'Content-Length': '0', ...headers },
    });
    return status === 200 ? '200' : `${status} ${(JSON.parse(body) as { code: string }).code}`;
  };

  for (const [what, headers, open] of senders) {
    it(`${open ? 'answers' : 'refuses'} ${what}`, async () => {
      const expected = open ? '200' : '403 foreign_origin';
      for (const type of types) {
        const typed = type === '' ? headers : { ...headers, 'Content-Type': type };
        expect(await ask('/shared', typed), `POST ${type}`).to.equal(expected);
      }
      for (const method of ['GET', 'PUT', 'DELETE']) {
        expect(await ask('/shared', headers, method), method).to.equal(expected);
      }
      expect(await ask('/shared/nothing', headers, 'GET')).to.equal(open ? '404 not_found' : expected);
    });
  }

  const foreign = { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://evil.example' };

  it('asks a plugin with a key of its own for that key alone', async () => {
    expect(await ask('/own', foreign)).to.equal('401 api_key_required');
    expect(await ask('/own', { ...foreign, Authorization: 'Bearer a-key-of-this-plugin' })).to.equal('200');
  });

  it('leaves a plugin alone that is open on purpose, and scripts that anyone may have', async () => {
    expect(await ask('/open', foreign)).to.equal('200');
    expect(await ask('/shared/script.js', foreign, 'GET').catch(String)).to.equal('200');
  });

  it('closes no plugin to pages where [cors] allows any', async () => {
    const any = await startServer({ ini: '[cors]\nenabled=yes\norigin_url=*\n', files });
    try {
      const { status } = await requestRaw(any.url, '/shared', { headers: foreign });
      expect(status).to.equal(200);
    } finally {
      await any.close();
    }
  });

  it('knows its own origin from a proxy that it trusts', async () => {
    const behind = await startServer({ ini: '[network]\nproxy=on\nhosts=example.org\n', files });
    try {
      const forwarded = { 'X-Forwarded-Host': 'example.org', 'X-Forwarded-Proto': 'https' };
      const statusOf = async (headers: Headers) =>
        (await requestRaw(behind.url, '/shared', { headers: { ...forwarded, ...headers } })).status;
      expect(await statusOf({ Origin: 'https://example.org' })).to.equal(200);
      expect(await statusOf({ Origin: 'http://example.org' })).to.equal(403);
      expect(await statusOf({ Origin: behind.url })).to.equal(403);
    } finally {
      await behind.close();
    }
  });
});

describe('a server with a global key', () => {
  it('judges a request by its key, wherever it comes from', async () => {
    const server = await startServer({ ini: '[auth]\napikey=a-global-key-of-some-length\n', files });
    try {
      const headers = { Origin: 'https://evil.example', Authorization: 'Bearer a-global-key-of-some-length' };
      expect((await requestRaw(server.url, '/shared', { headers })).status).to.equal(200);
    } finally {
      await server.close();
    }
  });
});
