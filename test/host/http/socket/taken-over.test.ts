import { once } from 'node:events';
import { connect } from 'node:net';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { hello: 'world' }; });
    router.get('/socket', (ctx) => {
      ctx.respond = false;
      const { socket } = ctx.req;
      socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: echo\\r\\nConnection: Upgrade\\r\\n\\r\\n');
      socket.on('data', (chunk) => socket.write(chunk));
    });
    router.post('/upload', async (ctx) => {
      let bytes = 0;
      for await (const chunk of ctx.req) bytes += chunk.length;
      ctx.body = { bytes };
    });
  },
});`;

describe('a request that its handler has taken over', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({
      ini: '[limits]\nheader_timeout=int:1\nrequest_timeout=int:1\n',
      files: { 'plugins/try.mjs': plugin },
    });
  });
  afterEach(() => server.close());
  const open = async () => {
    const socket = connect(server.host.address.port, '127.0.0.1');
    await once(socket, 'connect');
    socket.on('error', () => {});
    return socket;
  };
  /** The timers look once a second. */
  const outlast = async (seconds: number) => {
    const end = Date.now() + seconds * 1000;
    while (Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 100));
  };

  it('as an upgrade is neither cut nor written into by the timer of requests, and is logged as 101', async () => {
    const socket = await open();
    socket.write(
      'GET /try/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n',
    );
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(head.toString()).to.match(/^HTTP\/1.1 101 /);
    // What is no HTTP, what looks like its beginning, and silence.
    for (const frame of [Buffer.from([0x81, 0x85, 1, 2, 3, 4, 5]), Buffer.from('GET /'), Buffer.from('x')]) {
      socket.write(frame);
      const [echo] = (await once(socket, 'data')) as [Buffer];
      expect(echo).to.deep.equal(frame);
      await outlast(2.5);
    }
    socket.destroy();
    const line = server.logs.find(({ msg, route }) => msg === 'request' && route === '/try/socket');
    expect(line).to.include({ status: 101 });
    expect(server.logs.filter(({ level }) => level !== 'info')).to.deep.equal([]);
  });

  it('as an upgrade is left alone whatever its first bytes look like', async () => {
    const beginnings = [
      ...[
        'G',
        'GET',
        'GET / HTTP/1.1',
        'GET / HTTP/1.1\r\nHost: a\r\n',
        'POST / HTTP/1.1\r\n',
        'PRI * HTTP/2.0\r\n\r\nSM',
      ],
      ...['\r\n', '\r\n\r\n', 'nonsense\r\n\r\n', 'HTTP/1.1 408 Request Timeout\r\n\r\n', '0\r\n\r\n', ' '],
      ...['\x16\x03\x01', '\x00', '\x88\x80\x00\x00\x00\x00', 'x'.repeat(60_000)],
    ].map((text) => Buffer.from(text, 'latin1'));
    const sockets = await Promise.all(
      beginnings.map(async (bytes) => {
        const socket = await open();
        socket.write(
          'GET /try/socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n',
        );
        await once(socket, 'data');
        const received: Buffer[] = [];
        socket.on('data', (chunk: Buffer) => received.push(chunk));
        socket.write(bytes);
        return { socket, bytes, received };
      }),
    );
    await outlast(2.5);
    for (const { socket, bytes, received } of sockets) {
      socket.write('end');
      while (!received.at(-1)?.toString().endsWith('end')) await once(socket, 'data');
      expect(Buffer.concat(received).equals(Buffer.concat([bytes, Buffer.from('end')])), `${bytes}`).to.equal(
        true,
      );
      socket.destroy();
    }
    const lines = server.logs.filter(({ msg }) => msg === 'request');
    expect(lines.map(({ status }) => status)).to.deep.equal(beginnings.map(() => 101));
  });

  it('as an upload takes as long as bytes come in, whatever its type and form', async () => {
    const types = [
      'image/png',
      'text/csv',
      'video/mp4',
      'multipart/form-data; boundary=x',
      'application/x-tar',
    ];
    const forms = types.flatMap((type) => [
      { type, length: 'Content-Length: 30', chunk: 'x' },
      { type, length: 'Transfer-Encoding: chunked', chunk: '1\r\nx\r\n' },
    ]);
    await Promise.all(
      forms.map(async ({ type, length, chunk }) => {
        const socket = await open();
        const answered = once(socket, 'data');
        socket.write(
          `POST /try/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\n${length}\r\nConnection: close\r\n\r\n`,
        );
        for (let i = 0; i < 30; i += 1) {
          socket.write(chunk);
          await outlast(0.1);
        }
        if (chunk !== 'x') socket.write('0\r\n\r\n');
        const [answer] = (await answered) as [Buffer];
        expect(answer.toString(), `${type} ${length}`)
          .to.match(/^HTTP\/1.1 200 /)
          .and.include('{"bytes":30}');
      }),
    );
  });

  it('as an upload takes as long as bytes come in', async () => {
    const socket = await open();
    socket.write(
      'POST /try/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 40\r\nConnection: close\r\n\r\n',
    );
    for (let i = 0; i < 40; i += 1) {
      socket.write('x');
      await outlast(0.1);
    }
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString())
      .to.match(/^HTTP\/1.1 200 /)
      .and.include('{"bytes":40}');
  });

  it('as an upload is answered 408, and logged so, when no more bytes come', async () => {
    const socket = await open();
    socket.write(
      'POST /try/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: 40\r\n\r\nxx',
    );
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).to.match(/^HTTP\/1.1 408 /);
    await once(socket, 'close');
    const isLine = ({ msg }: { msg: string }) => msg === 'request';
    while (!server.logs.some(isLine)) await new Promise(setImmediate);
    const line = server.logs.find(isLine)!;
    expect(line).to.include({ status: 408, route: '/try/upload' });
    expect(answer.toString()).to.include(`X-Request-Id: ${line.request_id}`);
    expect(server.logs.filter(({ level }) => level !== 'info')).to.deep.equal([]);
  });
});
