import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { expect } from 'chai';
import type { SessionData } from 'express-session';
import { SessmanStore } from '../../../../plugins/sessman/adapters/express.js';
import { SessmanStore as KoaStore } from '../../../../plugins/sessman/adapters/koa.js';
import { type Api, apiKey, aUser, backends, startApi } from '../support/api.js';

const userid = (data: SessionData) => (data as SessionData & { user?: string }).user;

for (const { name, settings } of backends) {
  describe(`all, length and clear of the store for express-session on the ${name} store`, () => {
    let sessman: Api;
    const stores: { close(): void }[] = [];
    before(async () => {
      sessman = await startApi(await settings(), { ini: `[auth]\napikey=${apiKey}\n` });
    });
    afterEach(() => {
      for (const store of stores.splice(0)) store.close();
    });
    after(() => sessman?.close());

    const options = (prefix: string) => ({ base_url: `${sessman.server.url}/sessman`, auth: apiKey, prefix });
    const open = (prefix = aUser(), more: object = {}) => {
      const store = new SessmanStore({ ...options(prefix), userid, ...more });
      stores.push(store);
      return {
        store,
        prefix,
        get: (sid: string) => promisify(store.get).call(store, sid) as Promise<SessionData | null>,
        set: (sid: string, data: object = {}) =>
          promisify(store.set).call(store, sid, {
            cookie: { originalMaxAge: null },
            ...data,
          } as unknown as SessionData),
        destroy: (sid: string) => promisify(store.destroy).call(store, sid),
        all: async () => Object.values((await promisify(store.all).call(store)) ?? {}) as SessionData[],
        length: () => promisify(store.length).call(store) as Promise<number>,
        clear: () => promisify(store.clear).call(store),
      };
    };

    it('counts none in a store without sessions, and clears it', async () => {
      const { length, clear } = open();
      expect(await length()).to.equal(0);
      await clear();
      expect(await length()).to.equal(0);
    });

    it('counts each session once, however often it is saved, until it is destroyed', async () => {
      const { set, length, destroy } = open();
      await set('a', { n: 1 });
      await set('a', { n: 2 });
      await set('b');
      expect(await length()).to.equal(2);
      await destroy('a');
      expect(await length()).to.equal(1);
    });

    it('has nothing after clear, and keeps what is set afterwards', async () => {
      const { set, get, length, clear } = open();
      await set('a', { user: aUser() });
      await set('b');
      await clear();
      expect(await length()).to.equal(0);
      expect([await get('a'), await get('b')]).to.deep.equal([null, null]);
      await set('a', { n: 3 });
      expect(await length()).to.equal(1);
      expect(await get('a')).to.deep.include({ n: 3 });
    });

    it('does not bring back by a save what clear has ended', async () => {
      const { store, set, get, clear } = open();
      await set('a', { n: 1 });
      const held = (await get('a'))!;
      await clear();
      const error = await promisify(store.set)
        .call(store, 'a', Object.assign(held, { n: 2 }))
        .catch((thrown: unknown) => thrown);
      expect(error).to.have.property('code', 'session_not_found');
      expect(await get('a')).to.equal(null);
    });

    it('counts and clears what another process has set with the same prefix, and nothing else', async () => {
      const user = aUser();
      const [one, other] = [open(), open()];
      const same = open(one.prefix);
      const plain = open('');
      const koa = new KoaStore(options(one.prefix));
      stores.push(koa);
      await one.set('a', { user });
      await same.set('b', { user });
      await other.set('c', { user });
      await plain.set('d', { user });
      await koa.set('e', { n: 1 });
      const headers = { Authorization: `Bearer ${apiKey}` };
      const about = { store: 'other' };
      for (const body of [{ userid: user }, { userid: user, about }])
        expect((await sessman.post('/sessman/new', body, { headers })).status).to.equal(200);
      expect([await one.length(), await same.length(), await other.length()]).to.deep.equal([2, 2, 1]);
      await one.clear();
      expect([await one.length(), await same.length(), await other.length()]).to.deep.equal([0, 0, 1]);
      expect(await other.get('c')).to.deep.include({ user });
      expect(await plain.get('d')).to.deep.include({ user });
      expect(await koa.get('e')).to.deep.equal({ n: 1 });
      expect(await one.store.list(user)).to.have.lengthOf(4);
    });

    it('marks what it creates with its prefix, or with a hash of one that is long or not plain', async () => {
      const headers = { Authorization: `Bearer ${apiKey}` };
      const hash = /^sha256:[\w-]{43}$/;
      for (const [prefix, mark] of <[string, RegExp | undefined][]>[
        ['', undefined],
        ['a ~', /^a ~$/],
        ['x'.repeat(100), /^x{100}$/],
        ['x'.repeat(101), hash],
        ['aé', hash],
        ['éa', hash],
        ['a\n', hash],
      ]) {
        const user = aUser();
        await open(prefix).set('a', { user });
        const listed = await sessman.get(`/sessman/list?userid=${encodeURIComponent(user)}`, { headers });
        const [{ about }] = listed.body.sessions;
        expect(about.store).to.equal('express-session');
        if (mark === undefined) expect(about).to.deep.equal({ store: 'express-session' });
        else expect(about.prefix).to.match(mark);
      }
    });

    it('leaves out what ends between the list and the call', async () => {
      const { set, prefix, destroy } = open();
      for (const sid of ['a', 'b', 'c']) await set(sid);
      const proxy = createServer(async (from, response) => {
        if (from.url === '/sessman/get' || from.url === '/sessman/end') await destroy('b');
        const { method, headers } = from;
        const to = request(sessman.server.url + from.url, { method, headers }, (answer) => {
          response.writeHead(answer.statusCode!, answer.headers);
          answer.pipe(response);
        });
        from.pipe(to);
      }).listen(0, '127.0.0.1');
      try {
        await once(proxy, 'listening');
        const base_url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/sessman`;
        const racing = open(prefix, { base_url });
        expect(await racing.all()).to.have.lengthOf(2);
        await set('b');
        await racing.clear();
        expect(await racing.length()).to.equal(0);
      } finally {
        proxy.close();
      }
    });

    it('keeps a prefix apart that is too long for about', async () => {
      const [one, other] = [open('é'.repeat(2000)), open(`${'é'.repeat(2000)}2`)];
      await one.set('a');
      await other.set('a');
      await one.clear();
      expect([await one.length(), await other.length()]).to.deep.equal([0, 1]);
    });

    it('counts a session that got its user after its first save', async () => {
      const { store, length } = open();
      const data = { cookie: { originalMaxAge: null } } as unknown as SessionData;
      const set = () => promisify(store.set).call(store, 'a', data);
      await set();
      Object.assign(data, { user: aUser() });
      await set();
      expect(await length()).to.equal(1);
    });

    // Both stores walk over pages in the same way, as their contract tests.
    if (name === 'embedded') {
      it('goes over more sessions than one page has', async () => {
        const { set, all, length, clear } = open();
        const sids = Array.from({ length: 1050 }, (_, n) => `sid ${n}`);
        for (let n = 0; n < sids.length; n += 50)
          await Promise.all(sids.slice(n, n + 50).map((sid) => set(sid)));
        expect(await length()).to.equal(1050);
        expect(await all()).to.have.lengthOf(1050);
        await clear();
        expect(await length()).to.equal(0);
      });
    }

    it('reads each session once, as it was saved last, by a user or by nobody', async () => {
      const user = aUser();
      const [one, other] = [open(), open()];
      expect(await one.all()).to.deep.equal([]);
      await one.set('a', { user, n: 1 });
      await one.set('a', { user, n: 2 });
      await one.set('b', { user });
      await one.set('c', { n: 3 });
      await one.set('d');
      await one.destroy('d');
      await other.set('e', { n: 4 });
      const cookie = { originalMaxAge: null };
      expect(await one.all()).to.have.deep.members([
        { cookie, user, n: 2 },
        { cookie, user },
        { cookie, n: 3 },
      ]);
      expect(await one.all()).to.have.deep.members(
        await Promise.all(['a', 'b', 'c'].map((sid) => one.get(sid))),
      );
      await one.clear();
      expect(await one.all()).to.deep.equal([]);
    });

    it('leaves out of all a session whose cookie has expired', async () => {
      const { set, all } = open();
      await set('a', { cookie: { originalMaxAge: 60_000 } });
      await set('b', { cookie: { originalMaxAge: null, expires: new Date(Date.now() - 1000) } });
      const found = await all();
      expect(found.map(({ cookie }) => cookie.originalMaxAge)).to.deep.equal([60_000]);
      expect(new Date(`${found[0]!.cookie.expires}`).getTime()).to.be.within(
        Date.now() + 50_000,
        Date.now() + 60_000,
      );
    });

    it('passes an error on', async () => {
      const { all, length, clear } = open(undefined, { auth: 'another key' });
      for (const call of [all, length, clear]) {
        const error = await call().catch((thrown: unknown) => thrown);
        expect(error).to.include({ name: 'SessionError', status: 401 });
      }
    });
  });
}
