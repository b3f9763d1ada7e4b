import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../../support/server.js';

/** Sends more than the sockets of both ends hold, as fast as the client reads or faster. */
const flood = `
  import { once } from 'node:events';
  import { setImmediate as nextTurn } from 'node:timers/promises';
  import { definePlugin } from 'plugin-server';
  import { EventStream } from '${new URL('../../../../plugins/sessman/http/event-stream.js', import.meta.url)}';
  export default definePlugin({
    setup({ router }) {
      let stream;
      let closed;
      router.get('/', (ctx) => {
        stream = new EventStream();
        closed = once(stream.body, 'close');
        ctx.type = 'text/event-stream';
        ctx.body = stream.body;
        void run();
      });
      router.get('/closed', async (ctx) => {
        await closed;
        ctx.body = 'closed';
      });
      async function run() {
        const text = 'x'.repeat(1024);
        while (!stream.body.destroyed) {
          stream.send('session', { text });
          await nextTurn();
        }
      }
    },
  });`;

describe('an event stream', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: '[paths]\nplugins=plugins\n',
      files: { 'plugins/flood.mjs': flood },
    });
  });
  after(() => server?.close());

  it('breaks off for a client that does not read, which learns that it has missed something', async () => {
    const request = get(`${server.url}/flood`, { agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const broken = once(response, 'error');
    expect(await (await server.fetch('/flood/closed')).text()).to.equal('closed');
    response.resume();
    expect((await broken)[0]).to.include({ code: 'ECONNRESET' });
    expect(response.complete).to.equal(false);
  });
});
