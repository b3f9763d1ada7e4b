import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

describe('the log', () => {
  it('masks what is a secret by its name, however deep, and nothing else', async () => {
    const plugin = `
      import { definePlugin } from 'plugin-server';
      export default definePlugin({
        setup({ log }) {
          const request = { method: 'GET', headers: { authorization: 'Bearer hush-1', 'x-session-id': 'hush-2', accept: '*/*' } };
          log.info({ request, password: 'hush-3', deep: { a: { b: { token: 'hush-4' } } }, tokens: 7, token_ttl: 60,
            access_token: 'hush-5', refreshToken: 'hush-6', client_secret: 'hush-7', passphrase: 'hush-8', 'private-key': 'hush-9',
            API_KEY: 'hush-10', credentials: { user: 'hush-11' }, sessionId: 'hush-12', 'Set-Cookie': ['hush-13'], pwd: 'hush-14' }, 'about a request');
          log.error(new Error('a fault'));
        },
      });`;
    const server = await startServer({ files: { 'plugins/talker.mjs': plugin } });
    try {
      const about = server.logs.find(({ msg }) => msg === 'about a request');
      expect(about).to.deep.include({
        level: 'info',
        plugin: 'talker',
        request: {
          method: 'GET',
          headers: { authorization: '[masked]', 'x-session-id': '[masked]', accept: '*/*' },
        },
        password: '[masked]',
        deep: { a: { b: { token: '[masked]' } } },
        tokens: 7,
        token_ttl: 60,
        access_token: '[masked]',
        client_secret: '[masked]',
        passphrase: '[masked]',
      });
      expect(about!.time).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      expect(server.logs.find(({ msg }) => msg === 'a fault')!.err).to.have.property('stack');
      expect(server.logText()).not.to.include('hush');
    } finally {
      await server.close();
    }
  });

  it('writes nothing below its level', async () => {
    const server = await startServer({ ini: '[log]\nlevel=error\n' });
    await server.fetch('/livez');
    await server.close();
    expect(server.logText()).to.equal('');
  });

  describe('of a request', () => {
    const plugin = `
      import { callerOf, definePlugin } from 'plugin-server';
      export default definePlugin({
        setup({ audit, router }) {
          router.get('/', async (ctx) => {
            await null;
            ctx.log.info({ seven: 7 }, 'from the handler');
            audit('thing_done', { thing: 3, ...callerOf(ctx) }, 'done');
            throw new Error('a fault');
          });
        },
      });`;
    let server: TestServer;
    before(async () => {
      server = await startServer({ files: { 'plugins/talker.mjs': plugin } });
    });
    after(() => server.close());

    const trace = '0af7651916cd43dd8448eb211c80319c';
    const parent = 'b7ad6b7169203331';
    const linesWith = async (traceparent: string) => {
      const from = server.logs.length;
      await server.fetch('/talker', { headers: { traceparent, 'X-Request-Id': 'logged-1' } });
      while (!server.logs.slice(from).some(({ msg }) => msg === 'request'))
        await new Promise((resolve) => setImmediate(resolve));
      return server.logs.slice(from);
    };

    it('has the request id and the ids of its trace in each line, those of the plugin included', async () => {
      // A version of the future may append more.
      for (const traceparent of [`00-${trace}-${parent}-01`, `cc-${trace}-${parent}-00-more`]) {
        const lines = await linesWith(traceparent);
        expect(lines.map(({ msg }) => msg)).to.deep.equal([
          'from the handler',
          'done',
          'request failed',
          'request',
        ]);
        for (const line of lines) {
          expect(line).to.include({
            request_id: 'logged-1',
            plugin: 'talker',
            trace_id: trace,
            parent_id: parent,
          });
        }
        expect(lines[1]).to.include({ audit: true, event: 'thing_done', thing: 3, client: '127.0.0.1' });
      }
    });

    it('has none where the header is not valid (W3C Trace Context section 3.2)', async () => {
      for (const traceparent of [
        `00-${trace}-${parent}`,
        `00-${trace}-${parent}-01-more`,
        `00-${trace.toUpperCase()}-${parent}-01`,
        `00-${'0'.repeat(32)}-${parent}-01`,
        `00-${trace}-${'0'.repeat(16)}-01`,
        `ff-${trace}-${parent}-01`,
        `${trace}`,
      ]) {
        for (const line of await linesWith(traceparent)) {
          expect(line).not.to.have.property('trace_id');
          expect(line).not.to.have.property('parent_id');
        }
      }
    });
  });
});
