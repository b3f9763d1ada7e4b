/**
 * The short cuts of the request path give what Koa, koa-bodyparser and @koa/router give when they are wired as usual:
 * the same routes and the same requests, sent to both, and the answers compared byte for byte. What this host does
 * otherwise on purpose (error bodies, its own headers) is left out of the comparison.
 */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { Router } from '@koa/router';
import { expect } from 'chai';
import Koa from 'koa';
import bodyParser from 'koa-bodyparser';
import { pino } from 'pino';
import { Application } from '../../../../host/http/application.js';
import { Bodies } from '../../../../host/http/bodies.js';
import { MountTable } from '../../../../host/http/mounts.js';
import { responseClass } from '../../../../host/http/socket/response.js';
import { Metrics } from '../../../../host/monitor/metrics.js';
import { sendRaw } from '../../../support/raw.js';

type Handler = (ctx: Koa.Context) => unknown;

class Custom {
  readonly x = 1;
  toJSON() {
    return { y: this.x };
  }
}

const handlers: Record<string, Handler> = {
  object: (ctx) => (ctx.body = { a: 1, b: ['é€😀'] }),
  array: (ctx) => (ctx.body = [1, 2]),
  text: (ctx) => (ctx.body = 'hi'),
  html: (ctx) => (ctx.body = '<p>x'),
  buffer: (ctx) => (ctx.body = Buffer.from('abc')),
  stream: (ctx) => (ctx.body = Readable.from(['x', 'y'])),
  number: (ctx) => (ctx.body = 5),
  boolean: (ctx) => (ctx.body = false),
  null: (ctx) => (ctx.body = null),
  class: (ctx) => (ctx.body = new Custom()),
  date: (ctx) => (ctx.body = new Date(0)),
  map: (ctx) => (ctx.body = new Map([[1, 2]])),
  'no-prototype': (ctx) => (ctx.body = Object.assign(Object.create(null), { q: 1 })),
  status: (ctx) => {
    ctx.status = 201;
    ctx.body = { a: 1 };
  },
  'status-after': (ctx) => {
    ctx.body = { a: 1 };
    ctx.status = 202;
  },
  'empty-after': (ctx) => {
    ctx.body = { a: 1 };
    ctx.status = 204;
  },
  'empty-before': (ctx) => {
    ctx.status = 204;
    ctx.body = { a: 1 };
  },
  'not-modified': (ctx) => {
    ctx.status = 304;
    ctx.body = { a: 1 };
  },
  'type-before': (ctx) => {
    ctx.type = 'application/vnd.api+json';
    ctx.body = { a: 1 };
  },
  'other-type-before': (ctx) => {
    ctx.type = 'text/plain';
    ctx.body = { a: 1 };
  },
  'type-after': (ctx) => {
    ctx.body = { a: 1 };
    ctx.type = 'text/plain';
  },
  'set-type-after': (ctx) => {
    ctx.body = { a: 1 };
    ctx.set('Content-Type', 'application/problem+json');
  },
  'raw-type': (ctx) => {
    ctx.body = { a: 1 };
    ctx.res.setHeader('Content-Type', 'application/x-raw');
  },
  'remove-type': (ctx) => {
    ctx.body = { a: 1 };
    ctx.remove('Content-Type');
  },
  'object-text': (ctx) => {
    ctx.body = { a: 1 };
    ctx.body = 'now text';
  },
  'text-object': (ctx) => {
    ctx.body = 'now text';
    ctx.body = { a: 1 };
  },
  'object-object': (ctx) => {
    ctx.body = { a: 1 };
    ctx.body = { b: 1 };
  },
  'stream-object': (ctx) => {
    ctx.body = new PassThrough();
    ctx.body = { a: 1 };
  },
  'object-stream': (ctx) => {
    ctx.body = { a: 1 };
    ctx.body = Readable.from(['zz']);
  },
  mutated: (ctx) => {
    const body = { a: 1 };
    ctx.body = body;
    body.a = 2;
  },
  length: (ctx) => {
    ctx.body = { a: 1 };
    ctx.set('X-Length', String(ctx.length));
  },
  headers: (ctx) => {
    ctx.body = { a: 1 };
    ctx.set('X-Headers', JSON.stringify(ctx.response.headers));
  },
  is: (ctx) => {
    ctx.body = { a: 1 };
    ctx.set('X-Is', String(ctx.response.is('json')));
  },
  cookie: (ctx) => {
    ctx.cookies.set('a', 'b');
    ctx.body = { a: 1 };
  },
  redirect: (ctx) => ctx.redirect('/x'),
  'redirect-after': (ctx) => {
    ctx.body = { a: 1 };
    ctx.redirect('/x');
  },
  attachment: (ctx) => {
    ctx.attachment('a.txt');
    ctx.body = { a: 1 };
  },
  etag: (ctx) => {
    ctx.body = { a: 1 };
    ctx.etag = 'q';
    ctx.vary('Accept');
    ctx.append('Link', 'a');
    ctx.append('Link', 'b');
  },
  bypass: (ctx) => {
    ctx.respond = false;
    ctx.res.statusCode = 200;
    ctx.res.end('raw');
  },
  'bypass-object': (ctx) => {
    ctx.respond = false;
    ctx.body = { a: 1 };
    ctx.res.end('raw');
  },
  ended: (ctx) => {
    ctx.res.statusCode = 200;
    ctx.res.end('early');
    ctx.body = { a: 1 };
  },
  flush: (ctx) => {
    ctx.body = { a: 1 };
    ctx.flushHeaders();
  },
  message: (ctx) => {
    ctx.status = 200;
    ctx.message = 'Fine';
    ctx.body = { a: 1 };
  },
  'raw-look': (ctx) => {
    const { res } = ctx;
    ctx.set('X-A', '1');
    res.setHeader('x-a', '2');
    res.setHeader('X-N', 3);
    ctx.body = { a: 1 };
    const names = (res as unknown as { getRawHeaderNames(): string[] }).getRawHeaderNames();
    const one = [
      res.getHeader('X-a'),
      res.hasHeader('x-A'),
      res.getHeader('X-None'),
      res.hasHeader('X-None'),
    ];
    ctx.set(
      'X-Look',
      JSON.stringify([one, res.getHeaderNames(), names, res.getHeaders(), res.getHeader('x-n')]),
    );
  },
  'raw-many': (ctx) => {
    ctx.set('X-A', '1');
    ctx.res.setHeader('X-Many', ['1', '2']);
    ctx.res.appendHeader('X-A', '2');
    ctx.set('X-B', '3');
    ctx.body = { a: 1 };
    ctx.set('X-Look', JSON.stringify(ctx.res.getHeaders()));
  },
  'raw-remove': (ctx) => {
    ctx.set('X-A', '1');
    ctx.set('X-B', '2');
    ctx.res.removeHeader('x-a');
    ctx.body = { a: 1 };
  },
  'raw-head': (ctx) => {
    ctx.respond = false;
    ctx.res.setHeader('X-A', '1');
    ctx.res.writeHead(201, { 'X-B': '2', 'x-a': '3' });
    ctx.res.end('raw');
  },
  'raw-late': (ctx) => {
    ctx.respond = false;
    ctx.set('X-A', '1');
    ctx.res.statusCode = 200;
    ctx.res.write('[');
    let code: unknown;
    try {
      ctx.res.setHeader('X-B', '2');
    } catch (error) {
      ({ code } = error as { code?: unknown });
    }
    ctx.res.end(JSON.stringify([code, ctx.res.getHeader('x-a'), ctx.res.hasHeader('x-b')]));
  },
  'raw-bad': (ctx) => {
    const codes: unknown[] = [];
    for (const [name, value] of [
      ['X A', '1'],
      ['X-A', 'a\nb'],
      ['X-A', undefined],
    ]) {
      try {
        ctx.res.setHeader(name as string, value as string);
      } catch (error) {
        codes.push((error as { code?: unknown }).code);
      }
    }
    ctx.body = codes;
  },
  'text-typed': (ctx) => {
    ctx.set('Content-Type', 'application/json');
    ctx.body = '{"a":"é"}';
  },
  'text-typed-twice': (ctx) => {
    ctx.set('Content-Type', 'application/json');
    ctx.body = '{"a":1}';
    ctx.body = '{"a":1,"b":2}';
  },
  'text-long': (ctx) => {
    ctx.set('Content-Type', 'application/json');
    ctx.body = JSON.stringify({ a: 'x'.repeat(20_000) });
  },
  'end-replaced': (ctx) => {
    const { res } = ctx;
    const { end } = res;
    res.end = function (this: typeof res, chunk: unknown) {
      return end.call(this, String(chunk).toUpperCase() as never, 'utf8');
    } as typeof end;
    ctx.body = { a: 1 };
  },
  'text-length-before': (ctx) => {
    ctx.type = 'text';
    ctx.length = 2;
    ctx.body = 'longer';
  },
  'text-null': (ctx) => {
    ctx.type = 'text';
    ctx.body = 'hi';
    ctx.body = null;
  },
  'set-many': (ctx) => {
    ctx.set({ 'X-A': '1', 'X-B': '2' });
    ctx.set('X-C', ['1', '2']);
    ctx.body = { a: 1 };
  },
  encoding: (ctx) => {
    ctx.set('Transfer-Encoding', 'chunked');
    ctx.body = { a: 1 };
  },
  response: (ctx) => (ctx.body = new Response('web', { status: 203, headers: { 'x-w': '1' } })),
  blob: (ctx) => (ctx.body = new Blob(['bl'])),
  later: async (ctx) => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    ctx.body = { later: 1 };
  },
  context: (ctx) => {
    const { params, captures, routeMatched, state, query, matched } = ctx as Koa.Context &
      Record<string, unknown>;
    ctx.body = { params, captures, routeMatched, state, query, matched: (matched as object[]).length };
  },
};

function fill(router: Router): Router {
  router.use(async (ctx, next) => {
    ctx.state.seen = (ctx.state.seen ?? 0) + 1;
    await next();
    if (ctx.query.after) {
      const { response } = ctx;
      ctx.set(
        'X-After',
        [
          ctx.type,
          response.get('content-type'),
          (response as unknown as { has(name: string): boolean }).has('Content-Type'),
          ctx.status,
          ctx.length,
          typeof ctx.body,
        ].join('|'),
      );
    }
  });
  for (const [name, handler] of Object.entries(handlers))
    router.get(`/${name}`, async (ctx) => void (await handler(ctx)));
  router.post('/body', (ctx) => {
    ctx.body = { body: ctx.request.body, raw: ctx.request.rawBody };
  });
  router.get('named', '/named/:id', (ctx) => {
    ctx.body = { params: ctx.params, name: ctx._matchedRouteName };
  });
  router.get(
    '/twice',
    (ctx, next) => {
      ctx.state.first = true;
      return next();
    },
    (ctx) => {
      ctx.body = ctx.state;
    },
  );
  router.get('/wild/*rest', (ctx) => {
    ctx.body = ctx.params;
  });
  router.get('/', (ctx) => {
    ctx.body = { root: true };
  });
  router.put(['/one', '/two'], (ctx) => {
    ctx.body = { put: true };
  });
  router.all('/all', (ctx) => {
    ctx.body = { method: ctx.method };
  });
  return router;
}

const JSON_HEADER = 'Content-Type: application/json';

interface Case {
  readonly name: string;
  readonly bytes: readonly (string | Buffer)[];
}

function get(method: string, path: string): Case {
  return {
    name: `${method} ${path}`,
    bytes: [`${method} /p${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`],
  };
}

function post(name: string, body: string | Buffer, header = JSON_HEADER): Case {
  const content = Buffer.from(body as string);
  const head = `POST /p/body HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${header}\r\nContent-Length: ${content.length}\r\n\r\n`;
  return { name: `POST ${name}`, bytes: [head, content] };
}

const paths = [
  '/named/7',
  '/named/a%20b',
  '/twice',
  '/wild/a/b',
  '/',
  '',
  '?x=1',
  '/object?x=1&y=2',
  '/context?x=1',
  '/all',
  '/object/',
  '/OBJECT',
];

const cases: Case[] = [
  ...Object.keys(handlers).flatMap((name) => [
    get('GET', `/${name}`),
    get('HEAD', `/${name}`),
    get('GET', `/${name}?after=1`),
  ]),
  ...paths.flatMap((path) => [get('GET', path), get('HEAD', path)]),
  ...['/one', '/two'].map((path) => get('PUT', path)),
  ...['DELETE', 'POST', 'PATCH'].map((method) => get(method, '/all')),
  post('object', '{"a":1}'),
  post('text beyond ASCII', '{"a":"é€😀"}'),
  post('array', '[1]'),
  post('blanks before', ' \n{"a":1}'),
  post('nothing', ''),
  post('with a byte order mark', '\ufeff{"a":1}'),
  post('text/javascript', '{"a":1}', 'Content-Type: text/javascript'),
  post('with a charset', '{"a":1}', 'Content-Type: application/json; charset=utf-8'),
  post('in capitals', '{"a":1}', 'Content-Type: Application/JSON'),
  post('patch', '{"a":1}', 'Content-Type: application/json-patch+json'),
  post('form', 'a=1&b=2', 'Content-Type: application/x-www-form-urlencoded'),
  post('gzip', gzipSync('{"a":1}'), `${JSON_HEADER}\r\nContent-Encoding: gzip`),
  post('larger than one packet', JSON.stringify({ a: 'x'.repeat(100_000) })),
];

/** Headers that the two differ in on purpose or by the clock. */
const OWN_HEADERS =
  /^(?:date|connection|keep-alive|cache-control|x-content-type-options|content-security-policy|x-frame-options|x-request-id):/i;

function comparable(raw: string): string {
  const [head, ...body] = raw.split('\r\n\r\n');
  const [status, ...headers] = head!.split('\r\n');
  return [status, ...headers.filter((header) => !OWN_HEADERS.test(header)).sort(), '', ...body].join('\n');
}

describe('the short cuts of the request path', () => {
  let stock: Server;
  let host: Server;

  before(async () => {
    const koa = new Koa();
    koa.silent = true;
    koa.use(bodyParser({ jsonLimit: '1mb', extendTypes: { json: ['text/javascript'] } }));
    koa.use(fill(new Router({ prefix: '/p' })).routes() as unknown as Koa.Middleware);
    stock = createServer(koa.callback());

    const metrics = new Metrics('http');
    const mounts = new MountTable((plugin, route) => metrics.route(plugin, route));
    mounts.add({ name: 'p', path: '/p', router: fill(new Router()), keys: undefined });
    const application = new Application({
      mounts,
      bodies: new Bodies(
        { body: 1_048_576, depth: 64 },
        { watchUnread: () => {}, limitArrival: () => {}, limitBytes: () => {} },
      ),
      metrics,
      accessLog: () => {},
      onFailure: () => {},
      log: pino({ level: 'silent' }),
      proxy: false,
      maxDelay: 0,
      sendTimeout: 30_000,
      judgeName: undefined,
      rateLimit: undefined,
      refusedKeys: { add() {} },
      development: false,
    });
    const ServerResponse = responseClass({ headers: [], closes: () => false });
    host = createServer({ ServerResponse }, application.complete().callback());
    await Promise.all(
      [stock, host].map((server) => new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))),
    );
  });
  after(() => {
    stock.close();
    host.close();
  });

  for (const { name, bytes } of cases) {
    it(`answer ${name} as stock wiring does`, async () => {
      const [expected, actual] = await Promise.all(
        [stock, host].map((server) => sendRaw((server.address() as AddressInfo).port, ...bytes)),
      );
      expect(comparable(actual!)).to.equal(comparable(expected!));
    });
  }
});
