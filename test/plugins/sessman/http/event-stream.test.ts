import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import sinon from 'sinon';
import { EventStream } from '../../../../plugins/sessman/http/event-stream.js';
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

  it('has its events, and nothing after its end', async () => {
    const stream = new EventStream();
    const sent = text(stream.body);
    stream.send('session', { version: 1 });
    stream.end('limit');
    stream.send('session', { version: 2 });
    stream.sendAway();
    expect(await sent).to.equal(
      'event: session\ndata: {"version":1}\n\nevent: end\ndata: {"reason":"limit"}\n\n',
    );
  });

  it('is silent once its client has left', async () => {
    const stream = new EventStream();
    stream.body.destroy();
    stream.send('session', {});
    stream.sendAway();
    stream.end('end');
    await once(stream.body, 'close');
    expect(stream.body.errored).to.equal(null);
  });

  it('sends clients away for 1 to 5 seconds, each for another time', async () => {
    const waits = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const stream = new EventStream();
        stream.sendAway();
        return Number(/^retry: (\d+)\n\n$/.exec(await text(stream.body))?.[1]);
      }),
    );
    expect(Math.min(...waits)).to.be.within(1000, 1500);
    expect(Math.max(...waits)).to.be.within(4500, 5000);
  });

  it('keeps a few kilobytes for a client that does not read, and is then cut off', () => {
    const stream = new EventStream();
    const filling = 'x'.repeat(1000);
    for (let n = 0; n < 4; n++) stream.send('session', { filling });
    expect(stream.body.destroyed).to.equal(false);
    for (let n = 0; n < 8; n++) stream.send('session', { filling });
    expect(stream.body.destroyed).to.equal(true);
    expect(stream.body.errored).to.equal(null);
  });

  it('has a comment every 15 seconds, so that no proxy takes it for idle', async () => {
    const clock = sinon.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const stream = new EventStream();
      const sent = text(stream.body);
      clock.tick(14_999);
      stream.send('session', {});
      clock.tick(15_001);
      stream.body.end();
      await once(stream.body, 'close');
      expect(clock.countTimers()).to.equal(0);
      expect(await sent).to.equal('event: session\ndata: {}\n\n:\n\n:\n\n');
    } finally {
      clock.restore();
    }
  });
});
