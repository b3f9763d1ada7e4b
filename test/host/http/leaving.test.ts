import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

const plugin = `
import { createReadStream, createWriteStream } from 'node:fs';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { hello: 'world' }; });
    router.get('/events', (ctx) => {
      ctx.type = 'text/event-stream';
      const stream = new PassThrough();
      ctx.body = stream;
      const timer = setInterval(() => stream.write('data: x\\n\\n'), 1);
      ctx.res.on('close', () => setTimeout(() => clearInterval(timer), 20));
    });
    router.get('/silent', (ctx) => {
      ctx.type = 'text/event-stream';
      ctx.body = new PassThrough();
      ctx.body.write('data: x\\n\\n');
    });
    router.get('/written', async (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      for (let i = 0; i < 100; i += 1) {
        ctx.res.write('data: x\\n\\n');
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      ctx.res.end();
    });
    router.get('/generated', (ctx) => {
      ctx.type = 'text/event-stream';
      ctx.body = Readable.from((async function* () {
        for (let i = 0; i < 200; i += 1) {
          yield 'data: x\\n\\n';
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
      })());
    });
    router.get('/file', (ctx) => {
      ctx.type = 'application/octet-stream';
      ctx.body = createReadStream(process.execPath);
    });
    router.get('/piped', async (ctx) => {
      ctx.respond = false;
      await pipeline(createReadStream(process.execPath), ctx.res);
    });
    router.get('/text', (ctx) => { ctx.body = 'x'.repeat(64 * 1024 * 1024); });
    router.get('/json', (ctx) => { ctx.body = { x: 'x'.repeat(64 * 1024 * 1024) }; });
    router.post('/kept', async (ctx) => {
      await pipeline(ctx.req, createWriteStream('/dev/null'));
      ctx.status = 204;
    });
    router.post('/counted', async (ctx) => {
      let bytes = 0;
      for await (const chunk of ctx.req) bytes += chunk.length;
      ctx.body = { bytes };
    });
    router.post('/echoed', (ctx) => { ctx.body = ctx.req.pipe(new PassThrough()); });
    router.post('/collected', (ctx) => { ctx.body = { size: JSON.stringify(ctx.request.body).length }; });
  },
});`;

const upload = (path: string, type: string) =>
  `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: 1000000\r\n\r\n{"a":`;
const download = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

describe('a client that leaves', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: '[limits]\nsend_timeout=int:1\n',
      files: { 'plugins/try.mjs': plugin },
    });
  });
  after(() => server.close());

  const cases: readonly (readonly [what: string, route: string, bytes: string])[] = [
    ['an event stream', '/try/events', download('/try/events')],
    ['an event stream that its handler writes', '/try/written', download('/try/written')],
    ['an event stream that is generated', '/try/generated', download('/try/generated')],
    ['a download of a file', '/try/file', download('/try/file')],
    ['a download that its handler pipes', '/try/piped', download('/try/piped')],
    ['a download of text', '/try/text', download('/try/text')],
    ['a download of JSON', '/try/json', download('/try/json')],
    ['an upload that is written to disk', '/try/kept', upload('/try/kept', 'application/octet-stream')],
    ['an upload that is read', '/try/counted', upload('/try/counted', 'application/octet-stream')],
    ['an upload that is sent back', '/try/echoed', upload('/try/echoed', 'application/octet-stream')],
    ['an upload of JSON', '', upload('/try/collected', 'application/json')],
  ];
  for (const [what, route, bytes] of cases) {
    for (const way of ['closes', 'resets'] as const) {
      it(`in the middle of ${what} is not an error of the server, where it ${way} its connection`, async () => {
        const from = server.logs.length;
        const socket = connect(server.host.address.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(bytes);
        if (bytes.startsWith('GET')) await once(socket, 'data');
        else await new Promise<void>((resolve) => socket.write('x'.repeat(1000), () => resolve()));
        while (server.host.metrics.active === 0 && !server.logs.slice(from).some((l) => l.msg === 'request'))
          await new Promise(setImmediate);
        if (way === 'closes') socket.destroy();
        else socket.resetAndDestroy();
        const isLine = (line: Record<string, unknown>) => line.msg === 'request';
        while (!server.logs.slice(from).some(isLine) || server.host.metrics.active > 0)
          await new Promise(setImmediate);
        const line = server.logs.slice(from).find(isLine)!;
        // A client that closes its side within a body is told so. A stream of events is recorded when it begins.
        if (line.route === '/try/echoed') expect(line.status).to.equal(200);
        else if (bytes.startsWith('POST') && way === 'closes') expect(line.status).to.equal(400);
        else if (!['/try/events', '/try/generated'].includes(route))
          expect(line).to.include({ aborted: true });
        expect((await server.fetch('/try')).status).to.equal(200);
        expect(server.logs.slice(from).filter(({ level }) => level !== 'info')).to.deep.equal([]);
      });
    }
  }

  it('is missed behind a stream that sends nothing, though it has pipelined more than is read', async () => {
    const socket = connect(server.host.address.port, '127.0.0.1').resume();
    socket.on('error', () => {});
    socket.write(download('/try/silent') + download('/try').repeat(5000));
    await once(socket, 'data');
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.end();
    await closed;
    while (server.host.metrics.active > 0) await new Promise(setImmediate);
    expect((await server.fetch('/try')).status).to.equal(200);
  });
});
