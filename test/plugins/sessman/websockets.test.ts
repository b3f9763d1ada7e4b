import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { WebSocket } from 'ws';
import { type StartedPlugin, startPlugin } from '../../../host/testing.js';
import { makeFolder, writeFiles } from '../../support/server.js';

const chat = `
import { definePlugin, HttpError } from 'plugin-server';
export default definePlugin({
  after: ['sessman'],
  setup({ router, websocket, plugin }) {
    const sessions = plugin('sessman');
    router.post('/login/:user', async (ctx) => {
      await sessions.login(ctx, ctx.params.user);
      ctx.status = 204;
    });
    websocket('/open', (socket) => socket.send('hello'));
    websocket('/known', {
      async upgrade(ctx) {
        const session = await sessions.current(ctx);
        if (session === undefined) throw new HttpError(401, 'login_required', 'Log in.');
        return session.userid;
      },
    }, async (socket, ctx, userid) => {
      // The request is still that of the visitor when the socket is open.
      const session = await sessions.current(ctx);
      socket.send(userid + ' ' + session.userid);
    });
  },
});`;

const app = 'https://app.example.org';
const friend = 'https://friend.example.org';
const evil = 'https://evil.example.org';

describe('WebSockets of a plugin that knows visitors by the cookie of sessman', () => {
  let folder: string;
  let server: StartedPlugin;
  let cookie: string;
  before(async () => {
    folder = await makeFolder();
    await writeFiles(folder, { 'chat.mjs': chat });
    server = await startPlugin(join(folder, 'chat.mjs'), {
      workers: 2,
      plugins: ['sessman'],
      ini: [
        `[cors]\nenabled=bool:on\norigin_url=list:${friend}`,
        `[plugin_parms]\nsessman=cookie=bool:on&cookie_origins=list:${app}`,
        '',
      ].join('\n'),
    });
    const answer = await fetch(`${server.url}/chat/login/ada`, { method: 'POST' });
    expect(answer.status).to.equal(204);
    cookie = answer.headers.getSetCookie()[0]!.split(';')[0]!;
    await server.reload();
  });
  after(async () => {
    await server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** The first message of the socket, or the status and code of its refusal. */
  const open = async (path: string, headers: Record<string, string>): Promise<string> => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/chat/${path}`, { headers });
    socket.on('error', () => {});
    const refused = once(socket, 'unexpected-response').then(async ([, answer]) => {
      let text = '';
      for await (const chunk of answer as IncomingMessage) text += chunk;
      return `${(answer as IncomingMessage).statusCode} ${JSON.parse(text).code}`;
    });
    const said = once(socket, 'message').then(([data]) => String(data));
    try {
      return await Promise.race([refused, said]);
    } finally {
      socket.terminate();
    }
  };

  it('know the visitor', async () => {
    expect(await open('known', { Cookie: cookie })).to.equal('ada ada');
    expect(await open('known', { Cookie: cookie, Origin: server.url })).to.equal('ada ada');
    expect(await open('known', { Origin: server.url })).to.equal('401 login_required');
    expect(await open('known', { Cookie: 'PS_SESSID=guessed' })).to.equal('401 login_required');
  });

  it('open for pages of cookie_origins that have the cookie, and only for these', async () => {
    expect(await open('known', { Cookie: cookie, Origin: app })).to.equal('ada ada');
    expect(await open('open', { Cookie: cookie, Origin: app })).to.equal('hello');
    expect(await open('open', { Origin: app })).to.equal('403 foreign_origin');
    expect(await open('open', { Cookie: 'other=1', Origin: app })).to.equal('403 foreign_origin');
  });

  it('refuse pages of other origins, whatever they send', async () => {
    for (const path of ['open', 'known']) {
      for (const headers of [{ Cookie: cookie }, {}] as Record<string, string>[])
        expect(await open(path, { ...headers, Origin: evil })).to.equal('403 foreign_origin');
      expect(await open(path, { Cookie: cookie, Origin: 'null' })).to.equal('403 foreign_origin');
    }
  });

  it('open for pages of [cors], which do not learn who the visitor is', async () => {
    expect(await open('open', { Cookie: cookie, Origin: friend })).to.equal('hello');
    expect(await open('known', { Cookie: cookie, Origin: friend })).to.equal('403 foreign_origin');
  });
});
