import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import sinon from 'sinon';
import { Session, SessionError, type SessionOptions } from '../../../../plugins/sessman/client/client.js';
import { startServer, type TestServer } from '../../../support/server.js';
import { apiKey, aUser, startCookieApi } from '../support/api.js';

const KEY = 'the key of the test';

describe('the client class', () => {
  let server: TestServer;
  let options: { base_url: string; auth: string };
  let user: string;
  before(async () => {
    server = await startServer({ ini: `[auth]\napikey=${KEY}\n` });
    options = { base_url: `${server.url}/sessman`, auth: KEY };
  });
  after(() => server?.close());
  beforeEach(() => {
    user = aUser();
  });

  const create = <Data extends object>(data: Data, more: SessionOptions<Data> = {}) =>
    Session.create<Data>(user, { ...options, ...more, data });
  const open = <Data extends object>(session: Session<Data>) =>
    Session.open<Data>(user, session.session_id!, options);

  describe('as it is documented', () => {
    it('makes a session, changes data and stores it', async () => {
      const session = await Session.create<{ cart?: string[] }>(user, options);
      expect(session.session_id).to.match(/^[\w-]{43}$/);
      expect(session.data).to.deep.equal({});
      session.data.cart = ['apple'];
      await session.updateSession();
      expect((await open(session)).data).to.deep.equal({ cart: ['apple'] });
    });

    it('begins with the data it is given', async () => {
      const session = await create({ a: { b: [1, null, 'ü'] } });
      expect(session.data).to.deep.equal({ a: { b: [1, null, 'ü'] } });
      expect((await open(session)).data).to.deep.equal(session.data);
    });

    it('can be made in two steps', async () => {
      const session = new Session(user, { ...options, data: { a: 1 } });
      expect(session.session_id).to.equal(undefined);
      await session.createSession();
      expect((await open(session)).data).to.deep.equal({ a: 1 });
    });

    it('builds URLs with every parameter, encoded', () => {
      const session = new Session('mary', { base_url: 'https://example.org/sessman/' });
      expect(session.get_command_url('list', { user: 'a&b=c ü', page: 2, none: undefined })).to.equal(
        'https://example.org/sessman/list?user=a%26b%3Dc+%C3%BC&page=2',
      );
      expect(session.get_command_url('new')).to.equal('https://example.org/sessman/new');
    });

    it('lets a subclass send calls', async () => {
      class Counted extends Session {
        async count(): Promise<number> {
          const answer: unknown = await this.get_data('list', { userid: this.user });
          return (answer as { sessions: unknown[] }).sessions.length;
        }
      }
      await create({});
      await create({});
      expect(await new Counted(user, options).count()).to.equal(2);
    });
  });

  describe('beyond that', () => {
    it('tells the version and the times', async () => {
      const session = await create({});
      expect(session.version).to.equal(1);
      expect(Date.parse(session.expires_at!) - Date.parse(session.created_at!)).to.equal(86_400_000);
      await session.updateSession();
      expect(session.version).to.equal(2);
    });

    it('reads again what others stored', async () => {
      const session = await create({ n: 1 });
      const other = await open(session);
      other.data.n = 2;
      await other.updateSession();
      expect((await session.get()).data).to.deep.equal({ n: 2 });
    });

    it('patches only the keys named, and takes over what others stored', async () => {
      const session = await create<Record<string, number>>({ a: 1, b: 2 });
      const other = await open(session);
      await other.patch({ c: 3 });
      await session.patch({ a: null, d: 4 });
      expect(session.data).to.deep.equal({ b: 2, c: 3, d: 4 });
    });

    it('touches, and postpones the end', async () => {
      const session = await create({});
      const before = session.expires_at!;
      // The first may fall into the same millisecond.
      do await session.touch();
      while (session.expires_at === before);
      expect(Date.parse(session.expires_at!)).to.be.greaterThan(Date.parse(before));
      expect(session.version).to.equal(1);
    });

    it('renews: the data stays, the old id is dead', async () => {
      const session = await create({ a: 1 });
      const old = session.session_id!;
      await session.renew();
      expect(session.session_id).not.to.equal(old);
      expect((await open(session)).data).to.deep.equal({ a: 1 });
      await rejects('session_not_found', Session.open(user, old, options));
      session.data.a = 2;
      await session.updateSession();
      expect((await open(session)).data).to.deep.equal({ a: 2 });
    });

    it('ends, and nothing brings it back', async () => {
      const session = await create({ a: 1 });
      const other = await open(session);
      await session.end();
      for (const call of [
        other.get(),
        other.updateSession({ force: true }),
        other.patch({ a: 2 }),
        other.change(() => ({ a: 3 })),
        other.touch(),
        other.renew(),
        other.end(),
      ]) {
        await rejects('session_not_found', call);
      }
    });
  });

  describe('when others store at the same time', () => {
    it('refuses to overwrite what it has not seen, and keeps its own data', async () => {
      const session = await create({ n: 1 });
      const other = await open(session);
      other.data.n = 2;
      await other.updateSession();
      session.data.n = 3;
      const error = await rejects('version_mismatch', session.updateSession());
      expect(error).to.include({ status: 412, version: 2 });
      expect(session.data.n).to.equal(3);
      expect((await open(session)).data.n).to.equal(2);
    });

    it('overwrites it when it must', async () => {
      const session = await create({ n: 1 });
      const other = await open(session);
      await other.patch({ n: 2 });
      session.data.n = 3;
      await session.updateSession({ force: true });
      expect((await open(session)).data.n).to.equal(3);
    });

    for (const call of ['touch', 'renew'] as const) {
      it(`refuses so after a ${call}, too, which shows it the newer version but not what it means`, async () => {
        const session = await create({ n: 1 });
        await (await open(session)).patch({ n: 2 });
        await session[call]();
        session.data.n = 3;
        await rejects('version_mismatch', session.updateSession());
      });
    }

    it('applies a change to the newest data: of 24 at once each counts', async () => {
      const session = await create({ n: 0 });
      await Promise.all(
        Array.from({ length: 24 }, async () => {
          const other = await open(session);
          await other.change((data) => {
            data.n += 1;
          });
        }),
      );
      expect((await session.get()).data).to.deep.equal({ n: 24 });
    });

    it('applies a change that is asynchronous, or returns other data', async () => {
      const session = await create<{ n: number; m?: unknown }>({ n: 0, m: ['ü', { none: null }] });
      await session.change(async (data) => {
        await Promise.resolve();
        data.n = 1;
      });
      await session.change(({ n }) => ({ n, m: 2 }));
      expect(session.data).to.deep.equal({ n: 1, m: 2 });
      expect((await open(session)).data).to.deep.equal({ n: 1, m: 2 });
    });

    it('applies a change to what is stored, not to what was only changed here', async () => {
      const session = await create<Record<string, number>>({ n: 0 });
      session.data.unsaved = 1;
      await session.change((data) => {
        data.n = 1;
      });
      expect(session.data).to.deep.equal({ n: 1 });
    });

    it('stores nothing of a change that throws', async () => {
      const session = await create({ n: 0 });
      const fault = new Error('no');
      const thrown = await session
        .change((data) => {
          data.n = 1;
          throw fault;
        })
        .catch((error: unknown) => error);
      expect(thrown).to.equal(fault);
      expect((await session.get()).data).to.deep.equal({ n: 0 });
    });

    it('gives up after as many tries as it is told', async () => {
      const session = await create({ n: 0 }, { retries: 2 });
      const other = await open(session);
      let tries = 0;
      const call = session.change(async () => {
        tries += 1;
        await other.patch({ n: tries });
      });
      await rejects('version_mismatch', call);
      expect(tries).to.equal(3);
    });
  });

  describe('with data that the caller goes on using', () => {
    it('copies the data it is given: two sessions made from one object share nothing', async () => {
      const defaults: { cart: string[] } = { cart: [] };
      const ann = await create(defaults);
      const ben = await create(defaults);
      ann.data.cart.push('tea');
      await ann.updateSession();
      await ben.updateSession();
      expect(defaults).to.deep.equal({ cart: [] });
      expect((await open(ben)).data).to.deep.equal({ cart: [] });
      expect((await open(ann)).data).to.deep.equal({ cart: ['tea'] });
    });

    it('copies what a change returns, and what a patch holds', async () => {
      const given = { cart: ['tea'] };
      const session = await create<{ cart?: string[]; n?: number }>({});
      await session.change(() => given);
      session.data.cart!.push('milk');
      expect(given).to.deep.equal({ cart: ['tea'] });
      session.data.n = 1;
      await session.patch(given);
      session.data.cart!.push('milk');
      expect(given).to.deep.equal({ cart: ['tea'] });
    });
  });

  describe('a change that returns a value by accident', () => {
    type Data = { n: number; list: number[]; address?: object };
    for (const [name, apply] of Object.entries<(data: Data) => unknown>({
      'an object set': (data) => (data.address = { city: 'Ulm' }),
      'a number added': (data) => (data.n += 1),
      'an item pushed': (data) => data.list.push(1),
      'a member deleted': (data) => delete (data as Partial<Data>).n,
      'the draft itself': (data) => Object.assign(data, { n: 7 }),
      'the draft set and returned': (data) => {
        data.n = 5;
        return { ...data };
      },
      'a part of it': (data) => data.list,
      nothing: () => undefined,
      null: () => null,
      'a text': () => 'x',
    })) {
      it(`keeps the draft: ${name}`, async () => {
        const session = await create<Data>({ n: 1, list: [] });
        const expected: Data = { n: 1, list: [] };
        apply(expected);
        await session.change(apply);
        // Once more, where the draft may hold the same already.
        apply(expected);
        await session.change(apply);
        expect((await open(session)).data).to.deep.equal(expected);
      });
    }
  });

  describe('a patch while data is changed but not stored', () => {
    it('keeps the changes, which can then be stored', async () => {
      const session = await create<Record<string, unknown>>({ a: 1, b: { c: 1 } });
      const { data } = session;
      data.draft = 'unsaved';
      (data.b as Record<string, number>).d = 2;
      await session.patch({ a: null, b: { c: 3 }, list: [{ x: null }] });
      const expected = { b: { c: 3, d: 2 }, draft: 'unsaved', list: [{ x: null }] };
      expect(session.data).to.equal(data).and.to.deep.equal(expected);
      expect((await open(session)).data).to.deep.equal({ b: { c: 3 }, list: [{ x: null }] });
      await session.updateSession();
      expect((await open(session)).data).to.deep.equal(expected);
    });

    it('does not let them overwrite what others stored unseen', async () => {
      const session = await create<Record<string, unknown>>({ a: 1 });
      await (await open(session)).patch({ theirs: 1 });
      session.data.mine = 1;
      await session.patch({ a: 2 });
      expect(session.data).to.deep.equal({ a: 2, mine: 1 });
      await rejects('version_mismatch', session.updateSession());
      expect((await session.get()).data).to.deep.equal({ a: 2, theirs: 1 });
    });
  });

  describe('users', () => {
    for (const number of [42, 0, -7, Number.MAX_SAFE_INTEGER]) {
      it(`${number} is its decimal text`, async () => {
        const session = await Session.create(number, options);
        expect(session.user).to.equal(String(number));
        expect((await Session.open(String(number), session.session_id!, options)).user).to.equal(
          String(number),
        );
        await session.end();
      });
    }

    for (const wrong of [
      {},
      { id: 1 },
      [],
      null,
      undefined,
      true,
      1.5,
      Number.NaN,
      1e21,
      2 ** 53,
      5n,
      () => 1,
    ]) {
      it(`${typeof wrong} ${String(wrong)} is refused before anything is sent`, async () => {
        const error = await rejects(
          'invalid_userid',
          Session.create(wrong as never, { base_url: 'unused:' }),
        );
        expect(error.status).to.equal(0);
        await rejects('invalid_userid', Session.open(wrong as never, 'x', { base_url: 'unused:' }));
      });
    }
  });

  describe('data that JSON cannot hold', () => {
    const circle: Record<string, unknown> = { a: { b: 1 } };
    circle.self = { circle };
    const deep = JSON.parse(`${'{"a":'.repeat(50)}1${'}'.repeat(50)}`) as Record<string, unknown>;
    for (const [name, data, place] of [
      ['NaN', { a: { b: [1, Number.NaN] } }, 'data.a.b.1: NaN'],
      ['Infinity', { a: Infinity }, 'data.a: Infinity'],
      ['-Infinity', { a: [-Infinity] }, 'data.a.0: -Infinity'],
      ['a BigInt', { n: 5n }, 'data.n: [object BigInt]'],
      ['a circle', circle, 'data.self.circle'],
      ['a function', { f: () => 1 }, 'data.f: [object Function]'],
      ['an async function', { f: async () => 1 }, 'data.f: [object AsyncFunction]'],
      ['undefined in a list', { list: [1, undefined] }, 'data.list.1: [object Undefined]'],
      ['a hole in a list', { list: new Array(1) }, 'data.list.0'],
      ['a symbol', { s: Symbol('x') }, 'data.s: [object Symbol]'],
      ['a Map', { m: new Map([[1, 2]]) }, 'data.m: [object Map]'],
      ['a Set', { list: [{ s: new Set() }] }, 'data.list.0.s: [object Set]'],
      ['bytes', { b: new Uint8Array(2) }, 'data.b: [object Uint8Array]'],
      ['a buffer of bytes', { b: new ArrayBuffer(2) }, 'data.b: [object ArrayBuffer]'],
      ['an iterator', { a: [[1].values()] }, 'data.a.0: [object Array Iterator]'],
      ['a regular expression', { r: /x/ }, 'data.r: [object RegExp]'],
      ['an Error', { e: new Error('x') }, 'data.e: [object Error]'],
      ['a promise', { p: Promise.resolve(1) }, 'data.p: [object Promise]'],
      ['an invalid Date', { d: new Date('x') }, 'data.d: [object Date]'],
      ['a list in place of an object', [1], 'data: not an object'],
      ['null', null, 'data: not an object'],
      ['a text', 'x', 'data: not an object'],
    ] as [string, object, string][]) {
      it(`${name} is named with its place, and nothing is sent`, async () => {
        let calls = 0;
        const session = await create<Record<string, unknown>>(
          { a: 1 },
          {
            fetch: (url, init) => {
              calls += 1;
              return fetch(url, init);
            },
          },
        );
        calls = 0;
        session.data = data as Record<string, unknown>;
        for (const call of [
          session.updateSession(),
          session.patch(data),
          session.patch({ b: 1 }),
          session.change(() => Object.assign({}, session.data, { f: () => 1 })),
        ]) {
          const error = await rejects('invalid_data', call);
          expect(error.status).to.equal(0);
        }
        const error = await rejects('invalid_data', session.updateSession());
        expect(error.message).to.contain(`JSON cannot represent ${place}`);
        if (data !== null) await rejects('invalid_data', create(data));
        expect(calls).to.equal(0);
        expect((await session.get()).data).to.deep.equal({ a: 1 });
      });
    }

    it('is named briefly, however deep it lies', async () => {
      const chain: Record<string, unknown> = {};
      let end = chain;
      for (let depth = 0; depth < 100_000; depth += 1) {
        end.n = {};
        end = end.n as Record<string, unknown>;
      }
      const error = await rejects('invalid_data', create(chain));
      expect(error.message)
        .to.match(/^JSON cannot represent data\.n\.n/)
        .and.to.have.length.below(200);
    });

    it('is not: the same object in two places, absent members, dates, and much that is nested', async () => {
      const shared = { x: [1] };
      const date = new Date(0);
      const session = await create<object>({ a: shared, b: [shared, shared], gone: undefined, date, deep });
      expect((await open(session)).data).to.deep.include({
        a: shared,
        b: [shared, shared],
        date: date.toJSON(),
      });
    });
  });

  describe('options that no request can be made of', () => {
    for (const [name, wrong] of Object.entries<SessionOptions>({
      'a base_url that is not a URL': { base_url: 'nonsense' },
      'a base_url that is a number': { base_url: 5 as never },
      'a base_url with a blank': { base_url: 'http://a b/sessman' },
      'a key with a line end': { auth: 'secret\nX: y' },
      'a key beyond Latin-1': { auth: 'schlüssel ✓' },
      'a timeout that is not a number': { timeout: 'soon' as never },
      'a negative timeout': { timeout: -1 },
    })) {
      it(`${name} is a mistake of the options, not of the network`, async () => {
        const error = await rejects('invalid_options', Session.create(user, { ...options, ...wrong }));
        expect(error.message).to.contain('check base_url').and.not.to.contain('secret');
      });
    }

    it('nor with a session id that no header can carry', async () => {
      await rejects('invalid_options', Session.open(user, 'a\nb', options));
    });
  });

  describe('when calls overlap', () => {
    it('makes them one after another', async () => {
      const session = await create<{ n: number; m?: number }>({ n: 0 });
      session.data.n = 1;
      const first = session.updateSession();
      session.data.n = 2;
      const second = session.updateSession();
      const renewed = session.renew();
      await Promise.all([first, second, renewed, session.patch({ m: 1 })]);
      expect((await open(session)).data).to.deep.equal({ n: 2, m: 1 });
      expect(session.version).to.equal(4);
    });

    it('keeps what was changed while a call was under way', async () => {
      const session = await create({ n: 1 });
      const { data } = session;
      const storing = session.updateSession();
      await new Promise((wake) => setImmediate(wake));
      data.n = 2;
      await storing;
      expect(session.data).to.equal(data);
      await session.updateSession();
      expect((await open(session)).data).to.deep.equal({ n: 2 });
    });

    it('goes on after one that failed', async () => {
      const session = await create({ n: 1 });
      const [failed, stored] = await Promise.allSettled([
        session.change(() => Promise.reject(new Error('no'))),
        session.patch({ n: 2 }),
      ]);
      expect([failed.status, stored.status]).to.deep.equal(['rejected', 'fulfilled']);
    });
  });

  describe('when a call fails', () => {
    it('says what the server said, with the request id', async () => {
      const error = await rejects('wrong_api_key', Session.create(user, { ...options, auth: 'wrong' }));
      expect(error).to.be.instanceOf(Error).and.include({ name: 'SessionError', status: 401 });
      expect(error.message).to.match(/key/);
      expect(server.logs.some((line) => line.request_id === error.request_id)).to.equal(true);
    });

    it('says that a session is not there, or is not the user’s', async () => {
      const { session_id } = await create({});
      const error = await rejects('session_not_found', Session.open(`${user}x`, session_id!, options));
      expect(error.status).to.equal(404);
      await rejects('session_not_found', Session.open(user, 'nonsense', options));
    });

    it('says that nothing listens there', async () => {
      const place = createServer().listen(0, '127.0.0.1');
      const base_url = await urlOf(place);
      place.close();
      const error = await rejects('network_error', Session.create(user, { ...options, base_url }));
      expect(error.status).to.equal(0);
      expect(error.cause).to.be.instanceOf(Error);
      expect(error.message).to.include(`no reply from ${base_url}/new: `);
    });

    it('says that something else answers there', async () => {
      for (const answer of ['<!doctype html>', '[]', '{}', '{"session_id":"x"}']) {
        const place = createServer((_request, response) => response.end(answer)).listen(0, '127.0.0.1');
        const base_url = await urlOf(place);
        const error = await rejects('invalid_answer', Session.create(user, { ...options, base_url }));
        expect(error.status).to.equal(200);
        expect(error.message).to.match(/^http:.* is not sessman: check base_url$/);
        place.close();
      }
      await rejects('not_found', Session.create(user, { ...options, base_url: `${server.url}/elsewhere` }));
    });

    it('gives up on a server that does not answer', async () => {
      const place = createServer(() => {}).listen(0, '127.0.0.1');
      const base_url = await urlOf(place);
      await rejects('timeout', Session.create(user, { ...options, base_url, timeout: 50 }));
      place.closeAllConnections();
      place.close();
    });

    it('follows no redirect, which would take the session id elsewhere', async () => {
      const place = createServer((_request, response) =>
        response.writeHead(307, { Location: `${options.base_url}/new` }).end(),
      ).listen(0, '127.0.0.1');
      const base_url = await urlOf(place);
      await rejects('network_error', Session.create(user, { ...options, base_url }));
      place.close();
    });
  });

  describe('keeps to itself', () => {
    it('ids, users, keys and data: none is in a URL, none is logged', async () => {
      const urls: string[] = [];
      const lines: string[] = [];
      const session = await create(
        { secret: 'of the data' },
        {
          log: { log: (line) => lines.push(line) },
          fetch: (url, init) => {
            urls.push(String(url));
            return fetch(url, init);
          },
        },
      );
      const ids = [session.session_id!];
      await session.updateSession();
      await session.get();
      await session.renew();
      ids.push(session.session_id!);
      await session.end();
      await rejects('session_not_found', session.get());
      expect(urls.map((url) => url.slice(options.base_url.length))).to.deep.equal([
        '/new',
        '/update',
        '/get',
        '/renew',
        '/end',
        '/get',
      ]);
      expect(lines).to.have.lengthOf(6);
      expect(lines.at(-1)).to.equal('sessman get: 404');
      for (const hidden of [...ids, user, KEY, 'of the data']) expect(lines.join()).not.to.include(hidden);
    });

    it('everything, where no log is given', async () => {
      const spies = (['log', 'info', 'warn', 'error', 'debug'] as const).map((name) =>
        sinon.spy(console, name),
      );
      try {
        const session = await create({});
        await session.end();
        await rejects('session_not_found', session.get());
        for (const spy of spies) expect(spy.callCount).to.equal(0);
      } finally {
        sinon.restore();
      }
    });
  });
});

describe('the session of a cookie', () => {
  it('is found, read and changed without its id, with credentials, and undefined where there is none', async () => {
    const at = await startCookieApi({ cookie_data: 'write' });
    try {
      const { id, handle } = await at.login('mary', { data: { a: 1 } });
      let cookie: object = at.cookie(id);
      const sent: RequestInit[] = [];
      const asPage: typeof fetch = (url, init) => {
        sent.push(init!);
        return fetch(url, { ...init, headers: { ...init!.headers, ...cookie } });
      };
      const options = { base_url: `${at.api.server.url}/sessman/`, fetch: asPage };
      const session = (await Session.current<{ a: number }>(options))!;
      expect(session).to.include({ handle, user: 'mary', version: 1 });
      expect(session.session_id).to.equal(undefined);
      expect(session.data).to.deep.equal({ a: 1 });
      session.data.a = 2;
      await session.updateSession();
      await session.renew().catch(() => {});
      for (const { credentials, headers, body } of sent) {
        expect(credentials).to.equal('include');
        expect(headers).to.include({ 'Content-Type': 'application/json' });
        expect(headers).not.to.have.any.keys('X-Session-Id', 'Authorization');
        expect(JSON.parse(body as string)).not.to.have.any.keys('session_id', 'userid');
      }
      expect(sent[1]!.headers).to.include({ 'X-Session-Handle': handle });
      // With a key as well, a page does not receive the id.
      const asPageWithKey: typeof fetch = (url, init) =>
        asPage(url, { ...init, headers: { ...init!.headers, 'Sec-Fetch-Site': 'same-origin' } });
      const made = await Session.create('mary', { ...options, auth: apiKey, fetch: asPageWithKey });
      expect(made.session_id).to.equal(undefined);
      expect(made.handle).to.match(/^[\w-]{16}$/);
      cookie = at.cookie('A'.repeat(43));
      expect(await Session.current(options)).to.equal(undefined);
      cookie = {};
      expect(await Session.current(options)).to.equal(undefined);
      await rejects(
        'network_error',
        Session.current({ ...options, fetch: () => Promise.reject(new Error('no')) }),
      );
    } finally {
      await at.api.close();
    }
  });
});

async function rejects(code: string, call: Promise<unknown>): Promise<SessionError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).to.be.instanceOf(SessionError);
  expect(error).to.have.property('code', code);
  return error as SessionError;
}

async function urlOf(server: Server): Promise<string> {
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/sessman`;
}
