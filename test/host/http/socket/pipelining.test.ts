import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { sendRaw } from '../../../support/raw.js';
import { type LogLine, startServer, type TestServer } from '../../../support/server.js';

const plugin = `
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { definePlugin } from 'plugin-server';
let release;
let opened = 0;
let closed = 0;
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { hello: 'world' }; });
    router.get('/large', (ctx) => { ctx.body = 'x'.repeat(32 * 1024 * 1024); });
    router.get('/halves', async (ctx) => {
      ctx.type = 'text/plain';
      const body = new Readable({ read() {} });
      ctx.body = body;
      body.push('first half, ');
      new Promise((resolve) => { release = resolve; }).then(() => {
        body.push('second half');
        body.push(null);
      });
    });
    router.post('/release', (ctx) => {
      release?.();
      ctx.body = { released: release !== undefined };
    });
    router.get('/file', (ctx) => {
      ctx.type = 'text/plain';
      const file = createReadStream(process.execPath);
      opened += 1;
      file.on('close', () => { closed += 1; });
      ctx.body = file;
    });
    router.get('/files', (ctx) => { ctx.body = { opened, closed }; });
  },
});`;

const get = (path: string, ...headers: string[]) =>
  [`GET ${path} HTTP/1.1`, 'Host: localhost', ...headers, '', ''].join('\r\n');

describe('requests that a client sends before it has the response before', () => {
  let server: TestServer;
  const start = async (limits = '') => {
    server = await startServer({ ini: `[limits]\n${limits}\n`, files: { 'plugins/try.mjs': plugin } });
  };
  afterEach(() => server.close());

  const open = async () => {
    const socket = connect({ port: server.host.address.port, host: '127.0.0.1', allowHalfOpen: true });
    await once(socket, 'connect');
    socket.on('error', () => {});
    return socket;
  };
  const textOf = (socket: Socket) => {
    let text = '';
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
    });
    return {
      get text() {
        return text;
      },
      async until(part: string) {
        while (!text.includes(part)) await once(socket, 'data');
      },
    };
  };
  const json = async (path: string, method = 'GET') =>
    (await (await server.fetch(path, { method })).json()) as Record<string, unknown>;

  const hostile: readonly (readonly [name: string, bytes: string, status: number])[] = [
    ['a malformed request', 'nonsense\r\n\r\n', 400],
    ['an unknown method', 'FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n', 501],
    ['an unknown version', 'GET / HTTP/4.0\r\nHost: localhost\r\n\r\n', 505],
    ['a header without a colon', 'GET / HTTP/1.1\r\nHost\r\n\r\n', 400],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      400,
    ],
    ['a head too large', get('/', `X: ${'a'.repeat(20_000)}`), 431],
    ['a target too long', get(`/${'a'.repeat(20_000)}`), 414],
    ['an unknown Expect', get('/', 'Expect: a miracle'), 417],
    ['two Hosts', get('/', 'Host: b'), 400],
    ['an unknown transfer coding', `${get('/', 'Transfer-Encoding: gzip, chunked')}0\r\n\r\n`, 501],
  ];
  for (const [name, bytes, status] of hostile) {
    it(`leave the response before them whole when one is ${name}`, async () => {
      await start();
      const socket = await open();
      const answer = textOf(socket);
      socket.write(get('/try/halves') + bytes);
      await answer.until('first half, ');
      const ended = once(socket, 'end');
      let released: unknown = false;
      while (released === false) ({ released } = await json('/try/release', 'POST'));
      await ended;
      const [first = '', second = ''] = answer.text.split(/(?=HTTP\/1.1 \d)/);
      expect(first).to.match(/^HTTP\/1.1 200 OK\r\n/);
      expect(first)
        .to.include('first half, ')
        .and.include('second half')
        .and.match(/\r\n0\r\n\r\n$/);
      expect(second).to.match(new RegExp(`^HTTP/1.1 ${status} `));
      socket.destroy();
    });
  }

  it('end the connection when one is CONNECT', async () => {
    await start();
    const answer = await sendRaw(
      server.host.address.port,
      `${get('/try/halves')}CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n`,
    );
    expect(answer.match(/HTTP\/1.1 /g) ?? []).to.have.length.at.most(1);
  });

  it('are answered one at a time, so that a connection holds one file open however many it asks for', async () => {
    await start();
    const socket = await open();
    socket.pause();
    socket.write(get('/try/file').repeat(1500));
    let files = await json('/try/files');
    while (files.opened === 0) files = await json('/try/files');
    for (let i = 0; i < 20; i += 1) files = await json('/try/files');
    expect(files).to.deep.equal({ opened: 1, closed: 0 });
    socket.destroy();
    while (files.closed === 0) files = await json('/try/files');
    expect(files).to.deep.equal({ opened: 1, closed: 1 });
  });

  it('leave nothing behind when their connection closes', async () => {
    await start();
    const descriptors = () => readdirSync('/proc/self/fd').length;
    await json('/try');
    const before = descriptors();
    for (let i = 0; i < 13; i += 1) {
      const socket = await open();
      socket.write(get('/try/file').repeat(100));
      await once(socket, 'data');
      socket.destroy();
    }
    while (server.host.metrics.active > 0) await json('/livez');
    let files = await json('/try/files');
    while (files.closed !== files.opened) files = await json('/try/files');
    // fetch keeps some connections of its own.
    expect(descriptors() - before).to.be.below(13);
    expect(server.logs.filter(({ level }) => level !== 'info')).to.deep.equal([]);
  });

  it('are all answered, a thousand of them with bodies', async () => {
    await start('max_delay=int:0');
    const post = 'POST /try/release HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}';
    const raw = await sendRaw(server.host.address.port, post.repeat(1000), get('/try', 'Connection: close'));
    expect(raw.match(/HTTP\/1.1 200/g)).to.have.length(1001);
  });

  it('wait no longer than send_timeout for a client that takes nothing', async () => {
    await start('send_timeout=int:3');
    const socket = await open();
    socket.write(get('/try') + get('/try/large'));
    await once(socket, 'readable');
    const closed = (line: LogLine) => line.route === '/try/large' && line.aborted === true;
    while (!server.logs.some(closed)) await json('/livez');
    const { ms, status } = server.logs.find(closed)!;
    expect(status).to.equal(200);
    // Twice the timeout, had the socket's own timer been asked.
    expect(ms).to.be.within(3000, 5900);
    socket.destroy();
  });
});
