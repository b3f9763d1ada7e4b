import { expect } from 'chai';
import { requestRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

/** Takes every request below its path, by its middleware where that is asked for, else by its route. */
const plugin = (name: string) => `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ use, router }) {
    const show = (ctx) => { ctx.body = { plugin: '${name}', url: ctx.url, path: ctx.path, rest: ctx.params?.rest, x: ctx.query.x }; };
    use((ctx, next) => (ctx.get('x-by') === 'use' ? show(ctx) : next()));
    router.get('/', show);
    router.get('/{*rest}', show);
  },
});`;

/** Below /open, which needs no key. */
const steps = [
  '/..',
  '/../',
  '/../closed/x',
  '/./x',
  '/.',
  '/a/..',
  '/a/./b',
  '/a/../../closed/x',
  '/%2e%2e/closed/x',
  '/%2E%2e/closed/x',
  '/.%2e/closed/x',
  '/%2e./closed/x',
  '/%2e/x',
  '/..%2fclosed/x',
  '/..%2Fclosed/x',
  '/a%2f..%2f..%2fclosed/x',
  '/a%2f%2e%2e%2f%2e%2e%2fclosed/x',
  '/..%5cclosed/x',
  '/a%5C..%5cx',
  '/a%2f.',
  '//..//closed/x',
  '/..//x',
  '/../metrics',
  '/../plugins',
];

/** Names that are not steps, and encoded text that is somebody's own. */
const names = [
  '/a.b',
  '/..a',
  '/a..',
  '/...',
  '/.a',
  '/a/...',
  '/.well-known/x',
  '/a%2fb',
  '/a%5cb',
  '/%252e%252e/x',
  '/..%252fx',
  '/..;/x',
  '/..;',
  '/%2e%2e%2e',
  '//x',
  '/a//b',
  '/a//',
  '/a.',
  '/%C3%A9.txt',
  '/x:y',
];

describe('the path of a request', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: '[auth]\napikey=a-global-key-of-tests\n[plugin_parms]\nopen=auth_type=none\n',
      files: { 'plugins/open.mjs': plugin('open'), 'plugins/closed.mjs': plugin('closed') },
    });
  });
  after(() => server.close());

  const answersTo = (target: string, headers = {}) =>
    Promise.all(
      ['use', 'route'].map((by) => requestRaw(server.url, target, { headers: { 'X-By': by, ...headers } })),
    );

  for (const path of steps) {
    it(`with steps in it belongs to no plugin: /open${path}`, async () => {
      const targets = [`/open${path}`, `/open${path}?x=1`, `${server.url}/open${path}`, path];
      for (const target of targets) {
        for (const headers of [{}, { Authorization: 'Bearer a-global-key-of-tests' }]) {
          for (const { status, body } of await answersTo(target, headers)) {
            expect(status, target).to.equal(404);
            expect(JSON.parse(body)).to.include({ code: 'not_found' });
          }
        }
      }
    });
  }

  for (const path of names) {
    it(`reaches the plugin as it was sent: /open${path}`, async () => {
      for (const query of ['', '?x=/../..%2f.\\']) {
        const [byUse, byRoute] = await answersTo(`/open${path}${query}`);
        expect(byUse!.status).to.equal(200);
        expect(JSON.parse(byUse!.body)).to.include({ plugin: 'open', url: path + query, path });
        expect(byRoute!.status).to.equal(200);
        const url = `/open${path}${query}`;
        expect(JSON.parse(byRoute!.body)).to.include({ plugin: 'open', url, path: `/open${path}` });
      }
    });
  }

  it('of an absolute target keeps its query', async () => {
    for (const { status, body } of await answersTo(`${server.url}/open/a?x=1`)) {
      expect(status).to.equal(200);
      expect(JSON.parse(body)).to.include({ plugin: 'open', x: '1' });
    }
  });

  for (const target of [
    '/open#',
    '/open/a#/../b',
    '/open?x=1#y',
    '/#',
    '/open\\a',
    '/open/a\\..\\b',
    '/\\open',
    '/open/\\',
  ]) {
    it(`has no character that a URL may not have there: ${target}`, async () => {
      for (const { status, body } of await answersTo(target)) {
        expect(status).to.equal(400);
        expect(JSON.parse(body)).to.include({ code: 'malformed_request' });
      }
    });
  }
});
