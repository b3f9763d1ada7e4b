import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { type ClientOptions, WebSocket } from 'ws';
import { makeCertificate } from '../../../support/certificates.js';
import { requestRaw } from '../../../support/raw.js';
import { type LogLine, makeFolder, startServer, type TestServer } from '../../../support/server.js';

const plugin = `
import { definePlugin, HttpError } from 'plugin-server';
export default definePlugin({
  setup({ router, use, websocket, log }) {
    use((ctx, next) => {
      if (ctx.path === '/closed') {
        ctx.body = { closed: true };
        return;
      }
      ctx.set('X-Used', ctx.path);
      return next();
    });
    router.get('/', (ctx) => { ctx.body = { hello: 'world' }; });
    router.post('/body', (ctx) => { ctx.body = ctx.request.body; });
    websocket('/echo', { perMessageDeflate: true }, (socket) => {
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    websocket('/closed', () => {});
    websocket('/small', { maxPayload: 10, protocols: ['chat', 'soap'] }, (socket, ctx) => {
      socket.send(socket.protocol);
      socket.on('message', (data) => socket.send(data));
    });
    websocket('/rooms/:room', {
      upgrade(ctx) {
        if (ctx.params.room === 'locked') throw new HttpError(409, 'room_locked', 'The room is locked.');
        if (ctx.params.room === 'broken') throw new Error('no such table');
        return { room: ctx.params.room };
      },
    }, (socket, ctx, { room }) => {
      log.info({ room, url: ctx.url }, 'joined');
      socket.on('message', async (data) => {
        if (String(data) === 'throw') throw new Error('cannot throw');
        socket.send(room + ': ' + data);
      });
      socket.on('message', (data) => {
        if (String(data) === 'throw at once') throw new Error('cannot throw at once');
        if (String(data) === 'leave') socket.close(4001, 'bye');
        if (String(data) === 'flood') for (let i = 0; i < 10; i += 1) socket.send('x'.repeat(4 * 1024 * 1024));
      });
      if (room === 'failing') throw new Error('cannot join');
      if (room === 'rejecting') return Promise.resolve().then(() => { throw new Error('cannot join'); });
    });
  },
});`;

/** What a client is told: messages in their order, then the code and reason of the close. */
class Client {
  readonly #waiting: string[] = [];
  readonly closed: Promise<{ code: number; reason: string }>;

  private constructor(readonly socket: WebSocket) {
    socket.on('message', (data, isBinary) => {
      this.#waiting.push(isBinary ? `binary ${(data as Buffer).toString('hex')}` : String(data));
      socket.emit('arrived');
    });
    this.closed = new Promise((resolve) => {
      socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
    });
    socket.on('error', () => {});
  }

  static async open(
    server: TestServer,
    path: string,
    options: ClientOptions & { protocols?: string[] } = {},
  ) {
    const { protocols = [], ...rest } = options;
    const client = new Client(new WebSocket(server.url.replace('http', 'ws') + path, protocols, rest));
    await once(client.socket, 'open');
    return client;
  }

  async next(): Promise<string> {
    while (this.#waiting.length === 0) await once(this.socket, 'arrived');
    return this.#waiting.shift()!;
  }

  async ask(data: string | Buffer): Promise<string> {
    this.socket.send(data);
    return this.next();
  }
}

const handshake = {
  Connection: 'keep-alive, Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

describe('a WebSocket', () => {
  let server: TestServer;
  const start = async (ini = '', options: object = {}) => {
    server = await startServer({ ini, files: { 'plugins/try.mjs': plugin }, ...options });
  };
  afterEach(() => server.close());
  const until = async (fits: (line: LogLine) => boolean): Promise<LogLine> => {
    for (;;) {
      const line = server.logs.find(fits);
      if (line !== undefined) return line;
      await new Promise(setImmediate);
    }
  };
  const closing = () => until(({ msg }) => msg === 'WebSocket closed');
  const refused = async (path: string, headers: Record<string, string> = {}) => {
    const answer = await requestRaw(server.url, path, {
      headers: { ...handshake, Connection: 'close, Upgrade', ...headers },
    });
    return { ...answer, code: answer.body === '' ? '' : (JSON.parse(answer.body).code as string) };
  };

  it('carries text, binary data and long messages, whole and in fragments', async () => {
    await start();
    const client = await Client.open(server, '/try/echo');
    expect(await client.ask('hällo')).to.equal('hällo');
    expect(await client.ask(Buffer.from([0, 255, 1]))).to.equal('binary 00ff01');
    expect(await client.ask('')).to.equal('');
    const long = 'x'.repeat(1_000_000);
    expect(await client.ask(long)).to.equal(long);
    client.socket.send('one ', { fin: false });
    client.socket.ping('in between');
    const [pong] = await once(client.socket, 'pong');
    expect(String(pong)).to.equal('in between');
    client.socket.send('message', { fin: true });
    expect(await client.next()).to.equal('one message');
    client.socket.close(1000);
    expect(await client.closed).to.deep.equal({ code: 1000, reason: '' });
  });

  it('has the parameters of its path and the data of its upgrade, and is logged once, at its end', async () => {
    await start();
    const client = await Client.open(server, '/try/rooms/green?x=1', {
      headers: { 'X-Request-Id': 'green-1' },
    });
    expect(await client.ask('hello')).to.equal('green: hello');
    const gauge = async () =>
      /plugin_server_websockets\{plugin="try",route="\/try\/rooms\/:room"\} (\d)/.exec(
        await (await server.fetch('/metrics')).text(),
      )?.[1];
    expect(await gauge()).to.equal('1');
    client.socket.send('leave');
    expect(await client.closed).to.deep.equal({ code: 4001, reason: 'bye' });
    expect(await closing()).to.include({
      request_id: 'green-1',
      method: 'GET',
      plugin: 'try',
      route: '/try/rooms/:room',
      status: 101,
      code: 4001,
      level: 'info',
    });
    expect((await closing()).ms).to.be.a('number');
    expect(await gauge()).to.equal('0');
    expect(server.logs.find(({ msg }) => msg === 'joined')).to.include({ url: '/try/rooms/green?x=1' });
    expect(server.logs.filter(({ request_id }) => request_id === 'green-1')).to.have.lengthOf(1);
  });

  it('gets the headers of middleware and the request id with its 101', async () => {
    await start();
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/try/echo`);
    const [answer] = await once(socket, 'upgrade');
    expect(answer.headers).to.include({ 'x-used': '/echo' });
    expect(answer.headers['x-request-id']).to.be.a('string');
    socket.terminate();
    await closing();
  });

  it('compresses messages only where the route asks for it', async () => {
    await start();
    const on = await Client.open(server, '/try/echo');
    const off = await Client.open(server, '/try/rooms/green');
    expect(on.socket.extensions).to.equal('permessage-deflate');
    expect(await on.ask('x'.repeat(5000))).to.equal('x'.repeat(5000));
    expect(off.socket.extensions).to.equal('');
    on.socket.terminate();
    off.socket.terminate();
  });

  it('agrees on the first offered subprotocol that is listed', async () => {
    await start();
    const client = await Client.open(server, '/try/small', { protocols: ['soap', 'chat'] });
    expect(await client.next()).to.equal('soap');
    client.socket.terminate();
    const without = await Client.open(server, '/try/small');
    expect(await without.next()).to.equal('');
    without.socket.terminate();
    const { status, code } = await refused('/try/small', { 'Sec-WebSocket-Protocol': 'mqtt, stomp' });
    expect({ status, code }).to.deep.equal({ status: 400, code: 'unsupported_subprotocol' });
    expect((await refused('/try/echo', { 'Sec-WebSocket-Protocol': 'mqtt' })).status).to.equal(400);
  });

  it('closes with 1009 for a message that is too large', async () => {
    await start('[limits]\nbody=int:1000\n');
    const client = await Client.open(server, '/try/small');
    await client.next();
    client.socket.send('x'.repeat(11));
    expect((await client.closed).code).to.equal(1009);
    const other = await Client.open(server, '/try/echo');
    expect(await other.ask('x'.repeat(1000))).to.have.lengthOf(1000);
    other.socket.send('x'.repeat(1001));
    expect((await other.closed).code).to.equal(1009);
    await until(
      ({ msg, route, code }) => msg === 'WebSocket closed' && route === '/try/echo' && code === 1006,
    );
  });

  for (const [what, room, message, error] of [
    ['its handler throws', 'failing', undefined, 'cannot join'],
    ['its handler rejects', 'rejecting', undefined, 'cannot join'],
    ['a listener throws', 'green', 'throw at once', 'cannot throw at once'],
    ['a listener rejects', 'green', 'throw', 'cannot throw'],
  ] as const) {
    it(`closes with 1011 where ${what}, and logs why`, async () => {
      await start();
      const client = await Client.open(server, `/try/rooms/${room}`);
      if (message !== undefined) client.socket.send(message);
      expect(await client.closed).to.deep.equal({ code: 1011, reason: 'Internal error' });
      const line = await until(({ msg }) => msg === 'WebSocket handler failed');
      expect(line).to.include({ level: 'error', plugin: 'try', route: '/try/rooms/:room' });
      expect((line.err as { message: string }).message).to.equal(error);
      expect(line.request_id).to.equal((await closing()).request_id);
    });
  }

  it('is cut when its client leaves too much unread', async () => {
    await start();
    const client = await Client.open(server, '/try/rooms/green');
    client.socket.pause();
    client.socket.send('flood');
    expect((await closing()).code).to.equal(1006);
    client.socket.terminate();
  });

  it('is cut when its client does not answer pings, and stays when it does', async () => {
    await start('', { deadlines: { pong: 1500 } });
    const lively = await Client.open(server, '/try/rooms/lively');
    const dead = await Client.open(server, '/try/rooms/dead', { autoPong: false });
    expect((await dead.closed).code).to.equal(1006);
    expect(await lively.ask('hello')).to.equal('lively: hello');
    lively.socket.terminate();
  });

  it('is told by 1001 that the server stops, which waits for no answer', async () => {
    await start();
    const client = await Client.open(server, '/try/echo');
    const deaf = await rawSocket('/try/echo');
    await Promise.all([server.host.close(), client.closed]);
    expect(await client.closed).to.deep.equal({ code: 1001, reason: 'The server is stopping' });
    deaf.destroy();
  });

  for (const [what, deadlines, listener, expected] of [
    ['waits for its close listeners', {}, 'await setTimeout(100); left.push(code);', [1001]],
    ['waits for them no longer than for a close hook', { close: 200 }, 'await new Promise(() => {});', []],
  ] as const) {
    it(`${what} when the server stops`, async () => {
      const left: number[] = [];
      Object.assign(globalThis, { left });
      await startWith(
        `websocket('/', (socket) => { socket.on('close', async (code) => { ${listener} }); });`,
        { deadlines },
      );
      const client = await Client.open(server, '/try');
      await server.host.close();
      expect(left).to.deep.equal(expected);
      expect((await client.closed).code).to.equal(1001);
      const late = server.logs.filter(({ msg }) => msg.startsWith('a listener of a WebSocket'));
      expect(late.map(({ plugin, route }) => ({ plugin, route }))).to.deep.equal(
        expected.length > 0 ? [] : [{ plugin: 'try', route: '/try' }],
      );
    });
  }

  const startWith = async (setup: string, options: object = {}) => {
    const text = `import { setTimeout } from 'node:timers/promises';
import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ websocket }) { ${setup} } });`;
    server = await startServer({ files: { 'plugins/try.mjs': text }, ...options });
  };

  it('opens over TLS', async () => {
    const { key, cert } = await makeCertificate();
    server = await startServer({
      ini: '[ssl]\nenabled=bool:on\nkeyfile=key.pem\ncertfile=cert.pem\n',
      files: { 'plugins/try.mjs': plugin, 'key.pem': key, 'cert.pem': cert },
    });
    const client = await Client.open(server, '/try/echo', {
      rejectUnauthorized: false,
      origin: server.url,
    });
    const long = 'x'.repeat(100_000);
    expect(await client.ask(long)).to.equal(long);
    await server.host.close();
    expect((await client.closed).code).to.equal(1001);
  });

  it('opens over a Unix socket', async () => {
    const folder = await makeFolder();
    server = await startServer({
      ini: `[network]\nbindto=unix:${folder}/http.sock\n`,
      files: { 'plugins/try.mjs': plugin },
    });
    const socket = new WebSocket(`ws+unix:${folder}/http.sock:/try/rooms/green?x=1`);
    await once(socket, 'open');
    socket.send('hello');
    const [data] = await once(socket, 'message');
    expect(String(data)).to.equal('green: hello');
    const closed = once(socket, 'close');
    await server.host.close();
    expect((await closed)[0]).to.equal(1001);
    await rm(folder, { recursive: true });
  });

  async function rawSocket(path: string): Promise<Socket> {
    const socket = connect(server.host.address.port, '127.0.0.1');
    socket.on('error', () => {});
    const lines = Object.entries({ Host: 'localhost', ...handshake }).map(
      ([name, value]) => `${name}: ${value}`,
    );
    socket.write(`GET ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    const [head] = (await once(socket, 'data')) as [Buffer];
    expect(String(head)).to.match(
      /^HTTP\/1\.1 101 [\s\S]*Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/,
    );
    return socket;
  }

  it('is refused like a route: 404, the answer of middleware, the error of its upgrade', async () => {
    await start();
    expect(await refused('/try/nothing')).to.include({ status: 404, code: 'not_found' });
    expect(await refused('/nothing')).to.include({ status: 404, code: 'not_found' });
    expect(await refused('/try/closed')).to.include({ status: 200, body: '{"closed":true}' });
    expect(await refused('/try/rooms/locked')).to.include({ status: 409, code: 'room_locked' });
    expect(await refused('/try/rooms/broken')).to.include({ status: 500, code: 'internal_error' });
    expect((await refused('/try/rooms/broken')).body).to.not.contain('no such table');
    expect(await refused('/try/echo', { 'Sec-WebSocket-Extensions': 'permessage-deflate; x=;' })).to.include({
      status: 400,
      code: 'invalid_websocket_handshake',
    });
    expect(await refused('/try/echo', { 'Sec-WebSocket-Key': 'short' })).to.include({ status: 400 });
    const old = await refused('/try/echo', { 'Sec-WebSocket-Version': '7' });
    expect(old).to.include({ status: 426, code: 'unsupported_websocket_version' });
    expect(old.headers.get('sec-websocket-version')).to.equal('13');
  });

  it('answers 426 to what asks for no upgrade', async () => {
    await start();
    const answer = await server.fetch('/try/echo');
    expect(answer.status).to.equal(426);
    expect(answer.headers.get('upgrade')).to.equal('websocket');
    expect(((await answer.json()) as { code: string }).code).to.equal('websocket_required');
    expect((await server.fetch('/try/echo', { method: 'POST' })).status).to.equal(405);
  });

  it('is not what other upgrades are for: they are ignored, and the request is answered', async () => {
    await start();
    const h2c = { Upgrade: 'h2c', 'HTTP2-Settings': 'AAMAAABkAAQCAAAAAAIAAAAA' };
    expect(await refused('/try', h2c)).to.include({ status: 200, body: '{"hello":"world"}' });
    expect(await refused('/try/echo', h2c)).to.include({ status: 426 });
    const posted = await fetchWithUpgrade();
    expect(posted).to.match(/^HTTP\/1\.1 200 [\s\S]*\{"a":1\}$/);
  });

  async function fetchWithUpgrade(): Promise<string> {
    const { sendRaw } = await import('../../../support/raw.js');
    return sendRaw(
      server.host.address.port,
      'POST /try/body HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: close, Upgrade\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}',
    );
  }

  it('needs the key that a route needs', async () => {
    await start('[auth]\napikey=correct-horse-battery\n');
    expect(await refused('/try/echo')).to.include({ status: 401, code: 'api_key_required' });
    expect(await refused('/try/echo?apikey=wrong')).to.include({ status: 401, code: 'wrong_api_key' });
    for (const [path, headers] of [
      ['/try/echo?apikey=correct-horse-battery', {}],
      ['/try/echo', { Authorization: 'Bearer correct-horse-battery' }],
    ] as const) {
      const client = await Client.open(server, path, { headers });
      expect(await client.ask('hello')).to.equal('hello');
      client.socket.terminate();
    }
    expect(server.logText()).to.not.contain('correct-horse');
  });

  it('opens for pages of the server and of [cors], whoever has a key', async () => {
    await start(
      '[auth]\napikey=correct-horse-battery\n[cors]\nenabled=bool:on\norigin_url=list:https://app.example.org\n',
    );
    const path = '/try/echo?apikey=correct-horse-battery';
    for (const origin of ['https://evil.example.org', 'null', 'http://localhost:1']) {
      const answer = await refused(path, { Origin: origin });
      expect(answer, origin).to.include({ status: 403, code: 'foreign_origin' });
    }
    const welcome: Record<string, string>[] = [
      { Origin: server.url },
      { Origin: 'https://app.example.org' },
      { Origin: 'https://outside.example.org', 'Sec-Fetch-Site': 'same-origin' },
    ];
    for (const headers of welcome) {
      const client = await Client.open(server, path, { headers });
      expect(await client.ask('hello')).to.equal('hello');
      client.socket.terminate();
    }
  });

  it('counts for the rate limit, and keeps to the host names', async () => {
    await start('[limits]\nrate=int:2\n[network]\nhosts=list:localhost 127.0.0.1\n');
    expect(await refused('/try/echo', { Host: 'evil.example.org' })).to.include({ status: 421 });
    await refused('/try/nothing');
    await refused('/try/nothing');
    expect(await refused('/try/echo')).to.include({ status: 429, code: 'rate_limited' });
  });

  it('stays beyond the timeouts of a request, and is described as a GET with 101', async () => {
    await start('[limits]\nheader_timeout=int:1\nrequest_timeout=int:1\nkeep_alive=int:1\n');
    const client = await Client.open(server, '/try/echo');
    for (const end = Date.now() + 2500; Date.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await client.ask('hello')).to.equal('hello');
    client.socket.terminate();
    const { paths } = (await (await server.fetch('/openapi.json')).json()) as {
      paths: Record<string, { get: { responses: object; parameters: { name: string }[] } }>;
    };
    const { responses, parameters } = paths['/try/rooms/{room}']!.get;
    expect(responses).to.have.property('101');
    expect(parameters[0]).to.include({ name: 'room', in: 'path' });
  });
});

describe('websocket()', () => {
  for (const [call, message] of [
    ["websocket('/x', { protocol: [] }, () => {})", 'unknown option "protocol"; did you mean "protocols"?'],
    [
      "websocket('/x', { protocols: ['a b'] }, () => {})",
      'protocols is not an array of names of subprotocols',
    ],
    ["websocket('/x', { maxPayload: 0 }, () => {})", 'maxPayload is not a number of bytes from 1'],
    ["websocket('/x', { upgrade: 1 }, () => {})", 'upgrade is not a function'],
    ["websocket('/x', {})", 'the handler is not a function'],
  ] as const) {
    it(`refuses ${call}`, async () => {
      const error = await startServer({
        files: {
          'plugins/try.mjs': `import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ websocket }) { ${call}; } });`,
        },
      }).then(
        (server) => server.close(),
        (reason) => reason,
      );
      expect(String(error?.message)).to.contain(`websocket("/x"): ${message}`);
    });
  }
});
