import { once } from 'node:events';
import { connect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { startServer } from '../../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
const seen = [];
export default definePlugin({
  setup({ router }) {
    router.post('/', (ctx) => {
      seen.push(new WeakRef(ctx.req), new WeakRef(ctx.res));
      ctx.body = { ok: true };
    });
    router.get('/alive', (ctx) => { ctx.body = { alive: seen.filter((ref) => ref.deref() !== undefined).length }; });
  },
});`;

describe('a connection that is kept open', () => {
  it('keeps nothing of a request once it has been answered', async () => {
    const server = await startServer({ files: { 'plugins/try.mjs': plugin } });
    try {
      const sockets = await Promise.all(
        Array.from({ length: 3 }, async () => {
          const socket = connect(server.host.address.port, '127.0.0.1');
          socket.write('POST /try HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}');
          await once(socket, 'data');
          return socket;
        }),
      );
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      // What was seen by a WeakRef lives until the end of its turn.
      await turn();
      collect();
      const response = await fetch(`${server.url}/try/alive`);
      expect(await response.json()).to.deep.equal({ alive: 0 });
      for (const socket of sockets) socket.destroy();
    } finally {
      await server.close();
    }
  });
});
