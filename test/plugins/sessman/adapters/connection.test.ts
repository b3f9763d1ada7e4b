import { once } from 'node:events';
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { SessmanStore as ExpressStore } from '../../../../plugins/sessman/adapters/express.js';
import { SessmanStore } from '../../../../plugins/sessman/adapters/koa.js';
import { startServer, type TestServer } from '../../../support/server.js';

describe("a store's connection to sessman", () => {
  let sessman: TestServer;
  before(async () => {
    sessman = await startServer();
  });
  after(() => sessman?.close());

  const stores: SessmanStore[] = [];
  const servers: Server[] = [];
  afterEach(() => {
    for (const store of stores.splice(0)) store.close();
    for (const server of servers.splice(0)) {
      server.closeAllConnections();
      server.close();
    }
  });

  type Handle = (request: IncomingMessage, response: ServerResponse) => void;
  const listenTo = async (handle: Handle): Promise<AddressInfo> => {
    const server = createServer(handle).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return server.address() as AddressInfo;
  };
  /** A store whose calls go through a server that may do as it likes with them. */
  const storeThrough = async (handle: Handle, options: object = {}) => {
    const base_url = `http://127.0.0.1:${(await listenTo(handle)).port}/sessman`;
    const store = new SessmanStore({ base_url, ...options });
    stores.push(store);
    return store;
  };
  const pass = (from: IncomingMessage, response: ServerResponse) => {
    const { method, headers } = from;
    const to = request(sessman.url + from.url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    from.pipe(to);
  };

  it('is kept open for the next call', async () => {
    const sockets = new Set<Socket>();
    const store = await storeThrough((from, response) => {
      sockets.add(from.socket);
      pass(from, response);
    });
    for (let i = 0; i < 5; i++) await store.set(`sid ${i}`, { i });
    expect(sockets.size).to.equal(1);
    const [socket] = sockets;
    const closed = once(socket!, 'close');
    store.close();
    await closed;
  });

  it('is one of a bounded number', async () => {
    let [open, most] = [0, 0];
    const store = await storeThrough(
      (from, response) => {
        most = Math.max(most, ++open);
        response.once('finish', () => open--);
        pass(from, response);
      },
      { connections: 3 },
    );
    await Promise.all(Array.from({ length: 20 }, (_, i) => store.set(`sid ${i}`, { i })));
    expect(most).to.equal(3);
  });

  for (const [what, arrives] of [
    ['before the call has arrived', false],
    ['when the call has arrived and was carried out', true],
  ] as const) {
    it(`is made anew when the old one was closed ${what}`, async () => {
      const used = new Set<Socket>();
      const store = await storeThrough((from, response) => {
        if (!used.has(from.socket)) {
          used.add(from.socket);
          pass(from, response);
          return;
        }
        if (!arrives) from.socket.destroy();
        else {
          const to = request(sessman.url + from.url, { method: 'POST', headers: from.headers }, (answer) => {
            answer.resume();
            answer.once('end', () => from.socket.destroy());
          });
          from.pipe(to);
        }
      });
      const [sid, ctx] = [`sid ${Math.random()}`, {}];
      await store.set(sid, { n: 1 }, 0, { ctx });
      await store.set(sid, { n: 2 }, 0, { ctx });
      expect(await store.get(sid)).to.deep.equal({ n: 2 });
      await store.set(`${sid} 2`, { n: 1 });
      await store.destroy(sid);
      expect(await store.get(sid)).to.equal(undefined);
    });
  }

  it('fails when a new one cannot be made', async () => {
    const store = await storeThrough((from) => from.socket.destroy());
    const error = await caught(store.get('sid'));
    expect(error).to.include({ name: 'SessionError', code: 'network_error', status: 0 });
    expect(error.message).to.match(/^no response from http:.*\/sessman\/get: ./);
    expect(error.cause).to.have.property('code', 'ECONNRESET');
  });

  it('lets no call pass for done that sessman refused or never saw', async () => {
    const broken = await storeThrough((from) => from.socket.destroy());
    for (const call of [
      () => broken.set('sid', { a: 1 }),
      () => broken.destroy('sid'),
      () => broken.list('mary'),
      () => broken.endAll('mary', 'sid'),
    ])
      expect(await caught(call())).to.include({ code: 'network_error' });
    const store = await storeThrough(pass);
    expect(await caught(store.set('large', { a: 'x'.repeat(300_000) }))).to.include({
      code: 'data_too_large',
      status: 413,
    });
    let isBroken = false;
    const server = createServer((from, response) =>
      isBroken ? from.socket.destroy() : pass(from, response),
    );
    servers.push(server.listen(0, '127.0.0.1'));
    await once(server, 'listening');
    const base_url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/sessman`;
    const express = new ExpressStore({ base_url, touch_after: 0 });
    stores.push(express as never);
    const session = { cookie: { originalMaxAge: 60_000 } } as never;
    const done = (call: (callback: (error?: unknown) => void) => void) =>
      new Promise<void>((resolve, reject) => {
        call((error) => (error ? reject(error) : resolve()));
      });
    await done((callback) => express.set('touched', session, callback));
    await done((callback) => express.touch('touched', session, callback));
    const longer = { cookie: { originalMaxAge: 120_000 } } as never;
    const read = () =>
      new Promise<{ cookie: { originalMaxAge: number } }>((resolve) => {
        express.get('touched', (_error, found) => resolve(found as never));
      });
    await read();
    await done((callback) => express.set('touched', longer, callback));
    const found = await read();
    expect(found.cookie.originalMaxAge).to.equal(120_000);
    found.cookie.originalMaxAge = 180_000;
    await done((callback) => express.touch('touched', found as never, callback));
    expect((await read()).cookie.originalMaxAge).to.equal(180_000);
    isBroken = true;
    const touching = done((callback) => express.touch('touched', session, callback));
    expect(await caught(touching)).to.include({ code: 'network_error' });
  });

  it('names its middleware to sessman, and keeps an expiry that no maximum age sets', async () => {
    const store = await storeThrough(pass, { userid: ({ user }: { user?: string }) => user });
    const _expire = Date.now() + 60_000;
    await store.set('expiring', { a: 1, user: 'koa user', _expire });
    expect(await store.get('expiring')).to.deep.equal({ a: 1, user: 'koa user', _expire });
    const listed = await sessman.fetch('/sessman/list?userid=koa%20user');
    const { sessions } = (await listed.json()) as { sessions: { about: object }[] };
    expect(sessions.map(({ about }) => about)).to.deep.equal([{ store: 'koa-session' }]);
    await store.set('expiring', { a: 1, user: 'koa user', _expire: Date.now() - 1 });
    expect(await store.get('expiring')).to.have.property('_expire');
    expect(await store.get('expiring')).to.equal(undefined);
  });

  it('writes nothing where only the expiry of a session with a maximum age has changed', async () => {
    const urls: string[] = [];
    const store = await storeThrough((from, response) => {
      urls.push(from.url!);
      pass(from, response);
    });
    const [sid, ctx] = [`sid ${Math.random()}`, {}];
    for (const _expire of [1, 2])
      await store.set(sid, { a: 1, _maxAge: 60_000, _expire: Date.now() + 60_000 + _expire }, 0, { ctx });
    expect(urls).to.deep.equal(['/sessman/new']);
  });

  it('warns once where a session expires before its cookie', async () => {
    const warnings: string[] = [];
    const note = ({ code, message }: Error & { code?: string }) => {
      if (code === 'SESSMAN_TTL') warnings.push(message);
    };
    process.on('warning', note);
    try {
      const store = await storeThrough(pass);
      const warned: number[] = [];
      // sessman keeps a session for a day.
      for (const _maxAge of [1000, 86_401_000, 86_401_001, 172_800_000]) {
        await store.set(`sid ${_maxAge}`, { a: 1, _maxAge, _expire: Date.now() + _maxAge });
        await setImmediate();
        warned.push(warnings.length);
      }
      expect(warned).to.deep.equal([0, 0, 1, 1]);
      expect(warnings[0]).to.match(
        /^sessions expire in sessman 86400 s after their last use, before their cookies, which last 86401 s; raise/,
      );
    } finally {
      process.off('warning', note);
    }
  });

  it('writes the session of express-session at touch exactly where its cookie is another', async () => {
    let written: string[] = [];
    const { port } = await listenTo((from, response) => {
      written.push(from.url!.slice('/sessman/'.length));
      pass(from, response);
    });
    const express = new ExpressStore({ base_url: `http://127.0.0.1:${port}/sessman` });
    stores.push(express as never);
    const cookie = { originalMaxAge: 600_000, path: '/', httpOnly: true };
    const call = <Result>(work: (callback: (error: unknown, result?: Result) => void) => void) =>
      new Promise<Result>((resolve, reject) => {
        work((error, result) => (error ? reject(error) : resolve(result as Result)));
      });
    for (const [now, expected] of <[object, string[]][]>[
      [{}, []],
      // As it is computed again for each request.
      [{ originalMaxAge: 599_960 }, []],
      [{ originalMaxAge: 600_040, expires: new Date(Date.now() + 5_000) }, []],
      [{ originalMaxAge: 599_900 }, ['update']],
      [{ originalMaxAge: 600_100 }, ['update']],
      [{ originalMaxAge: null }, ['update']],
      [{ path: '/app' }, ['update']],
      [{ httpOnly: false, originalMaxAge: 599_990 }, ['update']],
    ]) {
      const sid = `sid ${Math.random()}`;
      await call((callback) => express.set(sid, { cookie } as never, callback));
      const found = await call<{ cookie: object }>((callback) => express.get(sid, callback as never));
      written = [];
      Object.assign(found.cookie, now);
      await call((callback) => express.touch(sid, found as never, callback));
      expect(written, JSON.stringify(now)).to.deep.equal(expected);
    }
    // A cookie that lasts until the browser closes, and then does not.
    const sid = `sid ${Math.random()}`;
    await call((callback) =>
      express.set(sid, { cookie: { ...cookie, originalMaxAge: null } } as never, callback),
    );
    const found = await call<{ cookie: object }>((callback) => express.get(sid, callback as never));
    for (const [originalMaxAge, expected] of <const>[
      [null, []],
      [20, ['update']],
    ]) {
      written = [];
      Object.assign(found.cookie, { originalMaxAge });
      await call((callback) => express.touch(sid, found as never, callback));
      expect(
        written.filter((name) => name !== 'touch'),
        `${originalMaxAge}`,
      ).to.deep.equal(expected);
    }
  });

  it('takes text and whole numbers for users', async () => {
    const store = await storeThrough(pass);
    for (const user of ['nobody', 5, 10n]) expect(await store.list(user)).to.deep.equal([]);
    for (const [user, what] of [
      [5.5, 'the number 5.5'],
      [2 ** 53, 'the number 9007199254740992'],
      [true, 'of type boolean'],
    ] as const) {
      const error = await caught(store.list(user as never));
      expect(error).to.include({
        code: 'invalid_userid',
        message: `a user must be text or a whole number of at most 9007199254740991, but is ${what}; name the member that identifies the user, such as user.id`,
      });
    }
  });

  it('refuses what JSON would change, and says where and what', async () => {
    const store = await storeThrough(pass);
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    const date = new Date(Number.NaN);
    for (const [data, says] of <[object, string][]>[
      [{ a: 10n }, '"a" is the BigInt 10, which JSON cannot represent; save it as text'],
      [
        { a: [1, Number.NaN] },
        '"a[1]" is NaN, which JSON cannot represent; save it as text, or leave it out',
      ],
      [
        { a: { b: Infinity } },
        '"a.b" is Infinity, which JSON cannot represent; save it as text, or leave it out',
      ],
      [
        { a: Object(Number.NaN) },
        '"a" is NaN, which JSON cannot represent; save it as text, or leave it out',
      ],
      [{ a: date }, '"a" is an invalid date; save null, or leave it out'],
      [
        { a: [[undefined]] },
        '"a[0][0]" is undefined, which JSON cannot represent in a list; save null, or leave it out',
      ],
      [
        { a: [() => 1] },
        '"a[0]" is function, which JSON cannot represent in a list; save null, or leave it out',
      ],
      [
        { a: { b: [new Map()] } },
        '"a.b[0]" is of the type Map, which JSON cannot represent; save a plain object, a list or text',
      ],
      [JSON.parse('{"a":{"__proto__":1}}'), '"a.__proto__" is a name that sessman refuses; use another name'],
      [
        { text: 'a b', none: null, list: ['c', { d: [{ e: 1n }] }] },
        '"list[1].d[0].e" is the BigInt 1, which JSON cannot represent; save it as text',
      ],
      [
        { a: { toJSON: () => ({ b: 1n }) } },
        '"b" is the BigInt 1, which JSON cannot represent; save it as text',
      ],
    ]) {
      const error = await caught(store.set('refused', data as Record<string, unknown>));
      expect(error).to.include({
        code: 'invalid_data',
        message: `the session's data cannot be saved: ${says}`,
      });
    }
    const circular = await caught(store.set('refused', cycle));
    expect(circular.message).to.match(/^the session's data cannot be saved: Converting circular structure/);
    expect(circular.cause).to.be.instanceOf(TypeError);
    const kept = {
      a: null,
      b: [null, 'x', true, -0.5],
      c: undefined,
      d: () => 1,
      e: Object('text'),
      f: Object(2),
      g: Object(true),
    };
    await store.set('kept', { ...kept, at: new Date(0) });
    expect(await store.get('kept')).to.deep.equal({
      a: null,
      b: [null, 'x', true, -0.5],
      e: 'text',
      f: 2,
      g: true,
      at: '1970-01-01T00:00:00.000Z',
    });
  });

  it('fails when no answer comes', async () => {
    const store = await storeThrough(() => {}, { timeout: 50 });
    expect(await caught(store.get('sid'))).to.include({ code: 'timeout', status: 0 });
  });

  it('fails when an answer breaks off', async () => {
    const store = await storeThrough((_from, response) => {
      response.writeHead(200, { 'Content-Length': 100 });
      response.write('{"session_id":', () => response.destroy());
    });
    expect(await caught(store.get('sid'))).to.include({ code: 'network_error' });
  });

  for (const [status, text] of <const>[
    [200, '<!doctype html>'],
    [200, 'null'],
    [200, '5'],
    [502, '{}'],
    [404, '{"code":404}'],
  ])
    it(`fails when it leads to something else: ${status} ${text}`, async () => {
      const store = await storeThrough((_from, response) => response.writeHead(status).end(text));
      const error = await caught(store.get('sid'));
      expect(error).to.include({ code: 'invalid_answer', status });
      expect(error.message).to.match(
        /^the response from http:.*\/sessman\/get \(status \d+\) is not from sessman; check base_url$/,
      );
    });

  it('leads to port 6123 of this machine unless the options say otherwise', async () => {
    const asked: object[] = [];
    const agent = new Agent();
    agent.createConnection = ({ host, port }) => {
      asked.push({ host, port });
      return connect(Number(new URL(sessman.url).port), '127.0.0.1');
    };
    const store = new SessmanStore({ agent });
    stores.push(store);
    expect(await store.get('sid')).to.equal(undefined);
    expect(asked).to.deep.equal([{ host: '127.0.0.1', port: 6123 }]);
  });

  it('takes a base_url with slashes at its end, and one of HTTPS', async () => {
    const paths: string[] = [];
    const server = createServer((from, response) => {
      paths.push(from.url!);
      pass(from, response);
    }).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const slashed = new SessmanStore({ base_url: `http://127.0.0.1:${port}/sessman//` });
    stores.push(slashed);
    await slashed.set('slashed', { a: 1 });
    expect(await slashed.get('slashed')).to.deep.equal({ a: 1 });
    expect(paths).to.include('/sessman/new').and.to.include('/sessman/get');
    // The server sees what begins TLS, and closes.
    const secure = new SessmanStore({ base_url: `https://127.0.0.1:${port}/sessman` });
    stores.push(secure);
    const error = await secure.get('sid').catch((thrown: unknown) => thrown);
    expect(error).to.include({ code: 'network_error' });
    expect((error as Error).message).to.match(/^no response from https:.*(?:EPROTO|SSL|socket|ECONNRESET)/s);
  });

  it('can be made by an agent of the application', async () => {
    const agent = new Agent({ keepAlive: true });
    const store = new SessmanStore({ base_url: `${sessman.url}/sessman`, agent });
    stores.push(store);
    await store.set('of the agent', { a: 1 });
    expect(Object.keys(agent.freeSockets)).to.have.lengthOf(1);
  });

  it('corrects the time for a clock that goes wrong there', async () => {
    const hour = 3_600_000;
    const ahead = (text: string) =>
      text.replace(/"(updated_at|expires_at)":"([^"]+)"/g, (_all, name, time) =>
        JSON.stringify({ [name]: new Date(Date.parse(time) + hour) }).slice(1, -1),
      );
    const store = await storeThrough((from, response) => {
      const to = request(
        sessman.url + from.url,
        { method: 'POST', headers: from.headers },
        async (answer) => {
          let text = '';
          for await (const chunk of answer) text += chunk;
          response.setHeader('Date', new Date(Date.now() + hour).toUTCString());
          response.writeHead(answer.statusCode!).end(ahead(text));
        },
      );
      from.pipe(to);
    });
    await store.set('of the clock', { a: 1, _maxAge: 10_000, _expire: 0 });
    const { _expire } = (await store.get('of the clock'))!;
    expect(_expire! - Date.now()).to.be.within(5_000, 15_000);
  });
});

async function caught(call: Promise<unknown>): Promise<Error> {
  return call.then(
    () => expect.fail('it did not fail'),
    (error: Error) => error,
  );
}
