import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { sendRaw } from '../../../support/raw.js';
import { startServer, type TestServer } from '../../../support/server.js';

const plugin = `
import { createHash, createHmac } from 'node:crypto';
import { definePlugin, raw, route, stream, z } from 'plugin-server';

const count = async (request) => {
  const sum = createHash('sha256');
  let size = 0;
  for await (const chunk of request) { size += chunk.length; sum.update(chunk); }
  return { size, sum: sum.digest('hex') };
};
let failed = Promise.resolve();
let begin;
const begun = new Promise((resolve) => { begin = resolve; });

export default definePlugin({
  setup({ router }) {
    router.all('/hook/:id', route({ body: raw() }, ({ body, params }) => ({
      id: params.id,
      bytes: body.toString('base64'),
      signature: createHmac('sha256', 'secret').update(body).digest('hex'),
    })));
    router.post('/large', route({ body: raw(), bodyLimit: 3_000_000 }, ({ body }) => ({ size: body.length })));
    router.post('/small', route({ body: raw(), bodyLimit: 10 }, ({ body }) => ({ size: body.length })));
    router.post('/json', route({ body: z.object({ a: z.string() }), bodyLimit: 30 }, ({ body }) => body));
    router.post('/json-large', route({ body: z.object({ a: z.string() }), bodyLimit: 3_000_000 }, ({ body }) => ({ size: body.a.length })));
    router.all('/up/:id', route({ body: stream() }, ({ body }) => count(body)));
    router.put('/up-to', route({ body: stream(), bodyLimit: 100_000 }, ({ body }) => {
      begin();
      const counted = count(body);
      failed = counted.then(() => null, (error) => error.code);
      return counted;
    }));
    router.get('/begun', async (ctx) => { ctx.body = { begun: await begun }; });
    router.get('/failed', async (ctx) => { ctx.body = { failed: await failed }; });
    router.post('/quick', route({ body: z.object({}), requestTimeout: 1 }, () => 'ok'));
    router.post('/slow', route({ body: z.object({}), requestTimeout: 60 }, () => 'ok'));
    router.post('/slow-raw', route({ body: raw(), requestTimeout: 60 }, ({ body }) => ({ size: body.length })));
    router.post('/plain', (ctx) => { ctx.body = ctx.request.body; });
    router.post('/shadowed/:a', (ctx, next) => next());
    router.post('/shadowed/:a', route({ body: raw() }, ({ body }) => ({ size: body.length })));
  },
});`;

const key = 'a-global-key-of-tests';
const bearer = { authorization: `Bearer ${key}` };

describe('the body of a route', () => {
  let server: TestServer | undefined;
  const start = async (line = '', limits = '') => {
    const parameters = line === '' ? '' : `[plugin_parms]\nbodies=${line}\n`;
    const limit = limits === '' ? '' : `[limits]\n${limits}\n`;
    server = await startServer({
      ini: `[auth]\napikey=${key}\n${parameters}${limit}`,
      files: { 'plugins/bodies.mjs': plugin },
    });
    return server;
  };
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  const send = (
    path: string,
    body: string | Uint8Array | Readable | undefined,
    headers: Record<string, string> = {},
    method = 'POST',
  ) =>
    server!.fetch(`/bodies${path}`, {
      method,
      headers: { ...bearer, ...headers },
      ...(body !== undefined && { body: body as never }),
      ...(body instanceof Readable && { duplex: 'half' }),
    } as RequestInit);
  const port = () => server!.host.address.port;

  describe('as bytes', () => {
    const bodies: readonly (readonly [string, Buffer, Record<string, string>])[] = [
      ['JSON', Buffer.from('{"a": 1,  "b":2}'), { 'content-type': 'application/json' }],
      ['a byte order mark', Buffer.from('\ufeff{"a":1}'), { 'content-type': 'application/json' }],
      ['no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xc0, 0x22, 0x7d]), { 'content-type': 'application/json' }],
      ['text that is no JSON', Buffer.from('hello = world'), { 'content-type': 'text/plain' }],
      ['another charset', Buffer.from([0xe9]), { 'content-type': 'text/plain; charset=latin1' }],
      ['a form', Buffer.from('a=%ff'), { 'content-type': 'application/x-www-form-urlencoded' }],
      ['an unknown type', Buffer.from([0, 1, 2]), { 'content-type': 'application/x-of-our-own' }],
      [
        'a compressed text',
        gzipSync('{"a":1}'),
        { 'content-type': 'application/json', 'content-encoding': 'gzip' },
      ],
      ['an unknown coding', Buffer.from('abc'), { 'content-encoding': 'zstd' }],
      ['more than one packet', Buffer.alloc(300_000, 0xab), {}],
    ];
    for (const [what, bytes, headers] of bodies) {
      for (const chunked of [false, true]) {
        it(`is exactly what was sent: ${what}${chunked ? ', in chunks' : ''}`, async () => {
          await start();
          const body = chunked
            ? Readable.from([bytes.subarray(0, 2), bytes.subarray(2)].filter(({ length }) => length > 0))
            : bytes;
          const response = await send('/hook/a', body, headers);
          expect(response.status).to.equal(200);
          expect(await response.json()).to.deep.equal({
            id: 'a',
            bytes: bytes.toString('base64'),
            signature: createHmac('sha256', 'secret').update(bytes).digest('hex'),
          });
        });
      }
    }

    it('is empty where there is none', async () => {
      await start();
      for (const method of ['POST', 'GET', 'DELETE']) {
        const response = await send('/hook/a', undefined, {}, method);
        expect(await response.json(), method).to.include({ bytes: '' });
      }
    });

    it('takes the key from the head alone', async () => {
      await start();
      const response = await server!.fetch('/bodies/hook/a', {
        method: 'POST',
        body: JSON.stringify({ apikey: key }),
        headers: { 'content-type': 'application/json' },
      });
      expect(response.status).to.equal(401);
      expect((await server!.fetch(`/bodies/hook/a?apikey=${key}`, { method: 'POST' })).status).to.equal(200);
    });

    it('is asked for with 100 Continue', async () => {
      await start();
      const socket = connect(port(), '127.0.0.1');
      socket.write(
        `POST /bodies/hook/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${key}\r\n` +
          'Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n',
      );
      let text = '';
      let sent = false;
      for await (const chunk of socket) {
        text += chunk;
        if (!sent && text.includes('100 Continue')) {
          sent = true;
          socket.write('abc');
        }
      }
      expect(text).to.include(Buffer.from('abc').toString('base64'));
      expect(text.match(/100 Continue/g)).to.have.length(1);
    });

    it('says so where another route has read it', async () => {
      await start();
      expect((await send('/shadowed/a', '{}', { 'content-type': 'application/json' })).status).to.equal(500);
      expect(server!.logText()).to.include(
        'raw() gets no body: another route with this path has read it first',
      );
    });
  });

  describe('of a limited size', () => {
    const json = { 'content-type': 'application/json' };
    const text = (size: number) => JSON.stringify({ a: 'x'.repeat(size) });
    const chunks = (body: string | Buffer) =>
      Readable.from([body.slice(0, 5), body.slice(5)].map((part) => Buffer.from(part)));

    const both = async (path: string, body: string | Buffer, headers = {}, method = 'POST') => [
      (await send(path, body, headers, method)).status,
      (await send(path, chunks(body), headers, method)).status,
    ];

    it('is 413 beyond the limit of [limits], of the route, and of the line', async () => {
      await start('', 'body=int:1000');
      expect(await both('/plain', text(900), json)).to.deep.equal([200, 200]);
      expect(await both('/plain', text(1000), json)).to.deep.equal([413, 413]);
      expect(await both('/hook/a', Buffer.alloc(1001))).to.deep.equal([413, 413]);
      expect(await both('/small', Buffer.alloc(10))).to.deep.equal([200, 200]);
      expect(await both('/small', Buffer.alloc(11))).to.deep.equal([413, 413]);
      expect(await both('/json', text(10), json)).to.deep.equal([200, 200]);
      expect(await both('/json', text(50), json)).to.deep.equal([413, 413]);
      const { error } = (await (await send('/json', text(50), json)).json()) as { error: string };
      expect(error).to.equal('The body is larger than 30 bytes.');
      // A route may take more than [limits] says.
      expect(await both('/large', Buffer.alloc(2_000_000))).to.deep.equal([200, 200]);
      expect(await both('/json-large', text(2_000_000), json)).to.deep.equal([200, 200]);
      expect(await both('/large', Buffer.alloc(3_000_001))).to.deep.equal([413, 413]);
    });

    it('is never more than the operator wrote in the line', async () => {
      await start('body_limit=20000', 'body=int:1000');
      expect(await both('/plain', text(19_000), json)).to.deep.equal([200, 200]);
      expect(await both('/plain', text(20_000), json)).to.deep.equal([413, 413]);
      expect(await both('/large', Buffer.alloc(20_000))).to.deep.equal([200, 200]);
      expect(await both('/large', Buffer.alloc(20_001))).to.deep.equal([413, 413]);
      expect(await both('/up/a', Buffer.alloc(20_000))).to.deep.equal([200, 200]);
      expect(await both('/up/a', Buffer.alloc(20_001))).to.deep.equal([413, 413]);
      expect(await both('/small', Buffer.alloc(11))).to.deep.equal([413, 413]);
    });

    it('has no limit as a stream, but for the one that the route gives', async () => {
      await start('', 'body=int:1000');
      expect(await both('/up/a', Buffer.alloc(5_000_000))).to.deep.equal([200, 200]);
      expect(await both('/up-to', Buffer.alloc(100_000), {}, 'PUT')).to.deep.equal([200, 200]);
      expect(await both('/up-to', Buffer.alloc(100_001), {}, 'PUT')).to.deep.equal([413, 413]);
    });

    it('breaks off for whoever reads a stream beyond its limit', async () => {
      await start();
      const body = Readable.from(
        (async function* () {
          yield Buffer.alloc(50_000);
          await server!.fetch('/bodies/begun', { headers: bearer });
          yield Buffer.alloc(150_000);
        })(),
      );
      const response = await send('/up-to', body, {}, 'PUT');
      expect(await response.json()).to.include({
        code: 'body_too_large',
        error: 'The body is larger than 100000 bytes.',
      });
      const { failed } = (await (await server!.fetch('/bodies/failed', { headers: bearer })).json()) as {
        failed: string;
      };
      expect(failed).to.equal('body_too_large');
    });

    it('holds for the body that brings the key as well', async () => {
      await start('body_limit=50');
      const body = JSON.stringify({ apikey: key, a: 'x'.repeat(50) });
      const response = await server!.fetch('/bodies/plain', { method: 'POST', body, headers: json });
      expect(response.status).to.equal(401);
      const small = JSON.stringify({ apikey: key });
      expect(
        (await server!.fetch('/bodies/plain', { method: 'POST', body: small, headers: json })).status,
      ).to.equal(200);
    });
  });

  describe('unread', () => {
    it('reaches the handler whatever it is', async () => {
      await start();
      for (const [type, body] of [
        ['application/json', '{"a"'],
        ['application/x-www-form-urlencoded', 'a=%ff'],
        ['text/plain; charset=latin1', Buffer.from([0xe9])],
      ] as const) {
        const response = await send('/up/%ff', body, { 'content-type': type });
        expect(await response.json(), type).to.include({ size: Buffer.byteLength(body) });
      }
      expect(await (await send('/up/a', undefined, {}, 'GET')).json()).to.include({ size: 0 });
    });

    it('takes the key from the head alone', async () => {
      await start();
      const body = JSON.stringify({ apikey: key });
      const headers = { 'content-type': 'application/json' };
      expect((await server!.fetch('/bodies/up/a', { method: 'POST', body, headers })).status).to.equal(401);
    });
  });

  describe('in its time', () => {
    /** Sends a byte every 300 ms, 8 times, and gives what comes back. */
    const slowly = async (path: string, pauses = 8) => {
      const body = '{       }';
      const socket = connect({ port: port(), host: '127.0.0.1' });
      let text = '';
      socket.setEncoding('latin1').on('data', (chunk) => {
        text += chunk;
      });
      socket.on('error', () => {});
      const closed = once(socket, 'close');
      socket.write(
        `POST /bodies${path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${key}\r\nConnection: close\r\n` +
          `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`,
      );
      for (const byte of body.slice(0, pauses + 1)) {
        if (socket.destroyed || text !== '') break;
        socket.write(byte);
        await sleep(300);
      }
      await closed;
      return Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]);
    };

    it('is cut off after the time of the route, of the line, or of [limits]', async () => {
      await start();
      expect(await slowly('/quick')).to.equal(408);
      await server!.close();
      await start('request_timeout=1');
      expect(await Promise.all(['/plain', '/slow', '/hook/a'].map((path) => slowly(path)))).to.deep.equal([
        408, 408, 408,
      ]);
      await server!.close();
      await start('', 'header_timeout=int:1\nrequest_timeout=int:1');
      expect(await Promise.all(['/plain', '/hook/a'].map((path) => slowly(path)))).to.deep.equal([408, 408]);
    }).timeout(20_000);

    it('may take longer where the route or the line says so', async () => {
      await start('', 'header_timeout=int:1\nrequest_timeout=int:1');
      expect(await Promise.all(['/slow', '/slow-raw'].map((path) => slowly(path)))).to.deep.equal([200, 200]);
      await server!.close();
      await start('request_timeout=60', 'header_timeout=int:1\nrequest_timeout=int:1');
      expect(await Promise.all(['/plain', '/hook/a'].map((path) => slowly(path)))).to.deep.equal([200, 200]);
    }).timeout(20_000);

    it('counts from the last byte of a stream', async () => {
      await start('request_timeout=1');
      expect(await slowly('/up/a')).to.equal(200);
      const raw = await sendRaw(
        port(),
        `POST /bodies/up/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${key}\r\nContent-Length: 100\r\n\r\nabc`,
      );
      expect(raw).to.match(/^HTTP\/1.1 408 /);
    }).timeout(20_000);
  });

  it('is bounded by whole numbers in the line', async () => {
    for (const [line, column] of [
      ['body_limit=0', 19],
      ['body_limit=ten', 19],
      ['request_timeout=1.5', 24],
    ] as const) {
      const error = await start(line).then(
        () => undefined,
        (reason: { problems: readonly { position: { line: number; column: number } }[] }) => reason,
      );
      expect(
        error?.problems.map(({ position }) => position.line),
        line,
      ).to.deep.equal([4]);
      expect(error?.problems[0]?.position.column, line).to.equal(column);
    }
  });
});
