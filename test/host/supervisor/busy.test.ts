import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { call } from '../../faults/support/http.js';
import { Server } from '../../faults/support/server.js';
import { sendRaw } from '../../support/raw.js';

const plugin = `
import { existsSync } from 'node:fs';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { hello: 'world' }; });
    router.get('/busy', (ctx) => {
      while (!existsSync('enough'));
      ctx.body = { busy: true };
    });
  },
});`;

describe('a connection for which no worker has time', () => {
  let server: Server;
  beforeEach(async () => {
    server = await Server.start({
      ini: '[network]\nworker_timeout=int:0\n[limits]\nmax_delay=int:200\n[plugin_parms]\nsessman=enabled=bool:off',
      files: { 'plugins/try.mjs': plugin },
    });
  });
  afterEach(() => server.close());

  /** A request that the worker is busy with until `release`. */
  const hold = () => call(server.url, '/try/busy', { headers: { Connection: 'close' }, timeout: 60_000 });
  const release = () => writeFile(join(server.folder, 'enough'), '');

  it('is answered 503, and a health check 200, until one has', async () => {
    const port = Number(new URL(server.url).port);
    const busy = hold();
    let answer = '';
    const waiting: Promise<unknown>[] = [];
    // The first ones wait in the row until they have waited too long.
    while (!answer.startsWith('HTTP/1.1 503')) {
      const asked = sendRaw(port, 'GET /try HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
      waiting.push(asked);
      answer = await Promise.race([asked, new Promise<string>((resolve) => setTimeout(resolve, 50, ''))]);
    }
    expect(answer).to.include('\r\nRetry-After: 1\r\n').and.include('"code":"overloaded"');
    const alive = await sendRaw(port, 'GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    expect(alive).to.match(/^HTTP\/1.1 200 .*\{"status":"ok"\}$/s);
    await release();
    expect((await busy).status).to.equal(200);
    await Promise.all(waiting);
    // The supervisor refuses until it has heard from the worker, which may have answered clients before.
    await server.until('/try', 200);
  });

  it('may be reset by its client, which harms nobody', async () => {
    const port = Number(new URL(server.url).port);
    const busy = hold();
    let isRefusing = false;
    for (let rounds = 0; rounds < 50 || !isRefusing; rounds += 1) {
      sendRaw(port, 'GET /try HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n').then((answer) => {
        isRefusing ||= answer.startsWith('HTTP/1.1 503');
      });
      const sockets = Array.from({ length: 20 }, () => connect(port, '127.0.0.1').on('error', () => {}));
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      for (const socket of sockets) socket.write('GET /try HTTP/1.1\r\n');
      await new Promise((resolve) => setTimeout(resolve, 20));
      for (const socket of sockets) socket.resetAndDestroy();
    }
    await release();
    expect((await busy).status).to.equal(200);
    await server.until('/try', 200);
  });
});
