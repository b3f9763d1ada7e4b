import { expect } from 'chai';
import { startServer } from '../../support/server.js';

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
});
