import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { expect } from 'chai';
import {
  apiKey,
  aUser,
  backends,
  type CookieApi,
  type Reply,
  startApi,
  startCookieApi,
} from '../support/api.js';

for (const { name, settings } of backends) {
  describe(`what the cookie may do, on the ${name} store`, () => {
    let at: CookieApi;
    let userid: string;
    before(async () => {
      at = await startCookieApi({ ...(await settings()), record: ['ip', 'user_agent'] });
    });
    after(() => at?.api.close());
    beforeEach(() => {
      userid = aUser();
    });

    const call = (name: string, body: object | undefined, id: string, headers: object = {}): Promise<Reply> =>
      at.api.post(`/sessman/${name}`, body ?? {}, { headers: { ...at.cookie(id), ...headers } });
    const refusal = ({ status, body }: Reply) => [status, body?.code];

    it('its own session: get, touch, renew and end, without the id and without data', async () => {
      const { id, handle } = await at.login(userid, { data: { role: 'admin' } });
      for (const reply of [
        await at.api.get('/sessman/get', { headers: at.cookie(id) }),
        await call('get', { userid }, id),
        await call('get', { session_id: id }, id),
        await call('touch', {}, id),
      ]) {
        expect(reply.status, reply.text).to.equal(200);
        expect(reply.body).to.include({ handle, userid, version: 1 });
        expect(reply.body).not.to.have.any.keys('session_id', 'data');
        expect(reply.text).not.to.include(id);
        expect(reply.headers.get('etag')).to.equal('"1"');
        expect(reply.headers.get('cache-control')).to.equal('no-store');
        expect(reply.headers.getSetCookie()).to.deep.equal([]);
      }
      const renewed = await call('renew', {}, id);
      expect(renewed.body).not.to.have.any.keys('session_id', 'data');
      const next = /^PS_SESSID=([\w-]{43});/.exec(renewed.headers.getSetCookie()[0]!)![1]!;
      expect(next.slice(0, 16)).to.equal(handle);
      expect(refusal(await call('get', {}, id))).to.deep.equal([404, 'session_not_found']);
      const ended = await call('end', {}, next);
      expect([ended.status, ended.body]).to.deep.equal([200, { ended: 1 }]);
      expect(ended.headers.getSetCookie()[0]).to.match(/^PS_SESSID=; .*Max-Age=0/);
      expect(await at.lives(next)).to.equal(false);
    });

    it("its own user's sessions: list, end by handle, end_all", async () => {
      const { id, handle } = await at.login(userid);
      const device = await at.login(userid);
      const third = await at.login(userid);
      const listed = await at.api.get('/sessman/list', { headers: at.cookie(id) });
      const entries = listed.body.sessions as { handle: string; current?: true }[];
      expect(entries.map((entry) => entry.handle)).to.have.members([handle, device.handle, third.handle]);
      expect(entries.filter(({ current }) => current).map((entry) => entry.handle)).to.deep.equal([handle]);
      const ended = await call('end', { handle: device.handle }, id);
      expect([ended.body, ended.headers.getSetCookie()]).to.deep.equal([{ ended: 1 }, []]);
      expect(await at.lives(device.id)).to.equal(false);
      const others = await call('end_all', { except: 'current' }, id);
      expect([others.body, others.headers.getSetCookie()]).to.deep.equal([{ ended: 1 }, []]);
      expect(await at.lives(third.id)).to.equal(false);
      const all = await call('end_all', { userid }, id);
      expect(all.body).to.deep.equal({ ended: 1 });
      expect(all.headers.getSetCookie()[0]).to.match(/^PS_SESSID=; .*Max-Age=0/);
      const told = () => at.api.server.logs.filter(({ event }) => event === 'session_ended').length;
      const before = told();
      await call('end_all', {}, (await at.login(userid)).id);
      expect(told()).to.equal(before);
      await at.login(userid);
      await at.api.post('/sessman/end_all', { userid }, { headers: at.key });
      expect(told()).to.equal(before + 1);
    });

    it('with a key, a session that is named counts before the cookie, and two cookies are as good as none', async () => {
      const { id } = await at.login(userid);
      const other = await at.login(userid);
      const both = { Cookie: `PS_SESSID=${id}; PS_SESSID=${other.id}`, ...at.key };
      const named = await at.api.get('/sessman/get', {
        headers: { ...at.cookie(id), ...at.key, 'X-Session-Id': other.id },
      });
      expect([named.status, named.body.handle]).to.deep.equal([200, other.handle]);
      expect(
        (await at.api.get('/sessman/get', { headers: { ...both, 'X-Session-Id': id } })).status,
      ).to.equal(200);
      expect(refusal(await at.api.get('/sessman/get', { headers: both }))).to.deep.equal([
        401,
        'session_required',
      ]);
      for (const named of [
        { session_id: id, userid },
        { handle: id.slice(0, 16), userid },
      ]) {
        const reply = await at.api.post('/sessman/get', named, { headers: both });
        expect([reply.status, reply.body.handle]).to.deep.equal([200, id.slice(0, 16)]);
      }
      expect(refusal(await at.api.post('/sessman/end', {}, { headers: both }))).to.deep.equal([
        401,
        'session_required',
      ]);
      expect(refusal(await at.api.get('/sessman/get', { headers: at.key }))).to.deep.equal([
        400,
        'missing_parameter',
      ]);
      const query = `?userid=${encodeURIComponent(userid)}`;
      const list = await at.api.get(`/sessman/list${query}`, { headers: both });
      expect([list.status, list.body.sessions.length]).to.deep.equal([200, 2]);
      const one = await at.api.get(`/sessman/list${query}`, { headers: { ...at.cookie(id), ...at.key } });
      const current = one.body.sessions.filter((entry: { current?: true }) => entry.current);
      expect(current.map((entry: { handle: string }) => entry.handle)).to.deep.equal([id.slice(0, 16)]);
      expect((await at.api.post('/sessman/end_all', { userid }, { headers: both })).body.ended).to.equal(2);
    });

    it('a session that is not to be remembered may do as much as any other', async () => {
      const { id, handle } = await at.login(userid, { remember: false });
      expect((await call('list', {}, id)).body.sessions).to.have.length(1);
      expect((await call('renew', { remember: true }, id)).body.error).to.match(
        /^Turning "remember" on requires/,
      );
      expect((await call('update', { data: {} }, id)).body.error).to.match(
        /^Writing data requires an API key;/,
      );
      expect((await call('renew', { ip: '::1' }, id)).body.error).to.match(/^The parameter "ip" requires/);
      expect((await call('end', { handle }, id)).status).to.equal(200);
    });

    it('a handle opens every session to a caller with a key, and to the cookie only its own session', async () => {
      const { id, handle } = await at.login(userid, { data: { role: 'admin' } });
      const stranger = await at.login(`${userid}x`, { data: { n: 1 } });
      const own = await call('get', { handle }, id);
      expect(own.status, own.text).to.equal(200);
      expect(own.body).not.to.have.any.keys('session_id', 'data');
      expect(own.body).to.include({ handle, userid });
      for (const headers of [at.key, { ...at.key, ...at.cookie(id) }]) {
        const query = new URLSearchParams({ userid: `${userid}x`, handle: stranger.handle });
        for (const reply of [
          await at.api.get(`/sessman/get?${query}`, { headers }),
          await at.api.post('/sessman/get', Object.fromEntries(query), { headers }),
        ]) {
          expect(reply.status, reply.text).to.equal(200);
          expect(reply.body).to.include({ handle: stranger.handle, userid: `${userid}x`, version: 1 });
          expect(reply.body.data).to.deep.equal({ n: 1 });
          expect(reply.body).not.to.have.property('session_id');
          expect(reply.headers.get('etag')).to.equal('"1"');
          expect(reply.headers.getSetCookie()).to.deep.equal([]);
        }
        const wrong = await at.api.get(
          `/sessman/get?${new URLSearchParams({ userid, handle: stranger.handle })}`,
          { headers },
        );
        expect(refusal(wrong)).to.deep.equal([404, 'session_not_found']);
      }
    });

    it("somebody else's userid, id and handle are a 404, and nothing of theirs changes", async () => {
      const { id } = await at.login(userid);
      const own = await at.login(userid);
      const stranger = await at.login(`${userid}x`);
      for (const [path, body, headers] of <[string, object, object?][]>[
        ['get', { userid: `${userid}x` }],
        ['get', { session_id: stranger.id, userid: `${userid}x` }],
        ['get', { session_id: own.id, userid }],
        ['get', {}, { 'X-Session-Id': stranger.id }],
        ['get', { handle: stranger.handle }],
        ['get', { handle: own.handle, userid }],
        ['get', { handle: stranger.handle, userid: `${userid}x` }],
        ['touch', { session_id: stranger.id }],
        ['renew', { session_id: own.id }],
        ['end', { session_id: stranger.id }],
        ['end', { handle: stranger.handle }],
        ['end', { handle: stranger.handle, userid: `${userid}x` }],
        ['end', { userid: `${userid}x`, handle: own.handle }],
        ['end', { handle: 'nonsense' }],
        ['list', { userid: `${userid}x` }],
        ['end_all', { userid: `${userid}x` }],
        ['end_all', { except: stranger.id }],
        ['end_all', { except: stranger.handle }],
        ['end_all', { except: 'nonsense' }],
      ]) {
        const reply = await call(path, body, id, headers);
        const about = `${path} ${JSON.stringify(body)}`;
        expect([...refusal(reply), reply.headers.getSetCookie()], about).to.deep.equal([
          404,
          'session_not_found',
          [],
        ]);
      }
      for (const each of [id, own.id, stranger.id]) expect(await at.lives(each)).to.equal(true);
    });

    it('what only a server may do or say requires the key', async () => {
      const { id } = await at.login(userid);
      const everybody = await at.api.get('/sessman/sessions', { headers: at.cookie(id) });
      expect(refusal(everybody)).to.deep.equal([401, 'api_key_required']);
      const made = await call('new', { userid }, id);
      expect(refusal(made)).to.deep.equal([401, 'api_key_required']);
      expect(made.headers.get('www-authenticate')).to.match(/^Bearer/);
      for (const [path, body] of <[string, object][]>[
        ['update', { data: { role: 'admin' } }],
        ['patch', { data: { role: 'admin' } }],
        ['renew', { authenticated: true }],
        ['renew', { authenticated: false }],
        ['renew', { about: { device: 'x' } }],
        ['renew', { ip: '192.0.2.1' }],
        ['renew', { user_agent: 'x' }],
        ['end_all', { everyone: true }],
      ]) {
        const reply = await call(path, body, id);
        expect(refusal(reply), `${path} ${JSON.stringify(body)}`).to.deep.equal([403, 'key_required']);
      }
      const read = await at.api.get('/sessman/get', { headers: { ...at.key, 'X-Session-Id': id } });
      expect(read.body).to.include({ version: 1 });
    });

    it('renew moves neither authenticated_at nor the absolute end, and only turns remember off', async () => {
      const { id, set } = await at.login(userid);
      expect(set).to.match(/; Max-Age=\d+/);
      const before = (await call('get', {}, id)).body;
      const idOf = (reply: Reply) => /^PS_SESSID=([\w-]{43})/.exec(reply.headers.getSetCookie()[0]!)![1]!;
      const same = await call('renew', { remember: true }, id);
      expect(same.headers.getSetCookie()[0]).to.match(/; Max-Age=\d+/);
      expect(same.body.authenticated_at).to.equal(before.authenticated_at);
      const off = await call('renew', { remember: false }, idOf(same));
      expect(off.headers.getSetCookie()[0]).not.to.match(/Max-Age|Expires/i);
      const kept = await call('renew', {}, idOf(off));
      expect(kept.headers.getSetCookie()[0]).not.to.match(/Max-Age|Expires/i);
      expect(refusal(await call('renew', { remember: true }, idOf(kept)))).to.deep.equal([
        403,
        'key_required',
      ]);
      const on = await at.api.post(
        '/sessman/renew',
        { session_id: idOf(kept), remember: true },
        { headers: at.key },
      );
      expect(on.headers.getSetCookie()[0]).to.match(/; Max-Age=\d+/);
    });

    it("records the visitor's address and User-Agent at renew", async () => {
      const { id } = await at.login(userid);
      const [entry] = (await call('list', {}, id)).body.sessions;
      expect(entry).not.to.have.any.keys('ip', 'user_agent');
      const renewed = await call('renew', {}, id, { 'User-Agent': 'Browser/1' });
      const next = /^PS_SESSID=([\w-]{43})/.exec(renewed.headers.getSetCookie()[0]!)![1]!;
      const [after] = (await call('list', {}, next)).body.sessions;
      expect(after).to.include({ ip: '127.0.0.1', user_agent: 'Browser/1' });
      // fetch always sends a User-Agent.
      const url = `${at.api.server.url}/sessman/renew`;
      const silent = request(url, { method: 'POST', headers: at.cookie((await at.login(userid)).id) }).end();
      const [response] = (await once(silent, 'response')) as [IncomingMessage];
      const { handle } = (await json(response)) as { handle: string };
      const { sessions } = (await call('list', {}, next)).body;
      const seen = sessions.find((each: { handle: string }) => each.handle === handle);
      expect(seen).to.include({ ip: '127.0.0.1' }).and.not.to.have.property('user_agent');
    });

    it('X-Session-Handle: a call for a session that the cookie has left is a 404, and nothing is written', async () => {
      const { id, handle } = await at.login(userid);
      const other = await at.login(userid);
      for (const path of ['get', 'touch', 'renew', 'end', 'list', 'end_all']) {
        for (const sent of [other.handle, 'x', '']) {
          const reply = await call(path, {}, id, { 'X-Session-Handle': sent });
          expect([...refusal(reply), reply.headers.getSetCookie()], path).to.deep.equal([
            404,
            'session_not_found',
            [],
          ]);
        }
      }
      expect(await at.lives(id)).to.equal(true);
      expect((await call('touch', {}, id, { 'X-Session-Handle': handle })).status).to.equal(200);
      expect((await call('end', {}, id, { 'X-Session-Handle': handle })).status).to.equal(200);
    });

    it('without a cookie it is a 401, with a dead one a 404, and neither clears it', async () => {
      const { id } = await at.login(userid);
      const renewed = await call('renew', {}, id);
      expect(renewed.status).to.equal(200);
      for (const path of ['get', 'update', 'patch', 'touch', 'renew', 'end', 'list', 'end_all']) {
        const none = await at.api.post(`/sessman/${path}`, {});
        expect([...refusal(none), none.headers.getSetCookie()], path).to.deep.equal([
          401,
          'session_required',
          [],
        ]);
        if (path === 'update' || path === 'patch') continue;
        for (const dead of [id, 'nonsense', 'A'.repeat(43)]) {
          const reply = await call(path, {}, dead);
          expect([...refusal(reply), reply.headers.getSetCookie()], path).to.deep.equal([
            404,
            'session_not_found',
            [],
          ]);
        }
      }
    });

    it("a session's id needs the key beside it", async () => {
      const { id } = await at.login(userid);
      for (const [body, headers] of <[object, object][]>[
        [{}, { 'X-Session-Id': id }],
        [{ session_id: id, userid }, {}],
        [{ sessionid: id, userid }, {}],
      ]) {
        const refused = await at.api.post('/sessman/get', body, { headers: { ...headers } });
        expect(refusal(refused)).to.deep.equal([401, 'api_key_required']);
        const read = await at.api.post('/sessman/get', body, { headers: { ...headers, ...at.key } });
        expect(read.body.session_id).to.equal(id);
        expect(read.body.data).to.deep.equal({});
      }
    });

    it('of several cookies the one live session counts, and two live ones are a 401', async () => {
      const { id, handle } = await at.login(userid);
      const old = await at.login(userid);
      await call('end', {}, old.id);
      const both = (one: string, two: string) => ({ Cookie: `PS_SESSID=${one}; a=b; PS_SESSID=${two}` });
      for (const headers of [both(id, old.id), both(old.id, id), both(id, id), both('nonsense', id)]) {
        const reply = await at.api.get('/sessman/get', { headers });
        expect([reply.status, reply.body.handle]).to.deep.equal([200, handle]);
      }
      const dead = await at.api.get('/sessman/get', { headers: both(old.id, 'A'.repeat(43)) });
      expect(refusal(dead)).to.deep.equal([404, 'session_not_found']);
      const other = await at.login(userid);
      const two = await at.api.get('/sessman/get', { headers: both(id, other.id) });
      expect(refusal(two)).to.deep.equal([401, 'session_required']);
      expect(refusal(await at.api.post('/sessman/end', {}, { headers: both(id, other.id) }))).to.deep.equal([
        401,
        'session_required',
      ]);
    });

    it('with a key, new and renew answer the id beside the cookie', async () => {
      const { id, set } = await at.login(userid);
      expect(set).to.match(new RegExp(`^PS_SESSID=${id};`));
      const renewed = await at.api.post('/sessman/renew', {}, { headers: { ...at.key, ...at.cookie(id) } });
      expect(renewed.headers.getSetCookie()[0]).to.match(
        new RegExp(`^PS_SESSID=${renewed.body.session_id};`),
      );
      expect(renewed.body.data).to.deep.equal({});
    });

    it("a page's key counts only in Authorization, and its answer holds no id", async () => {
      const { id } = await at.login(userid, { data: { a: 1 } });
      for (const page of <object[]>[{ 'Sec-Fetch-Site': 'same-origin' }, { Origin: at.api.server.url }]) {
        const byProxy = await call('get', {}, id, { ...page, 'X-Custom-Auth': apiKey });
        expect(byProxy.status, byProxy.text).to.equal(200);
        expect(byProxy.body).not.to.have.any.keys('session_id', 'data');
        for (const made of [
          await call('new', { userid }, id, { ...page, 'X-Custom-Auth': apiKey }),
          await call(`new?apikey=${apiKey}`, { userid }, id, page),
          await call('new', { userid, apikey: apiKey }, id, page),
        ]) {
          expect(refusal(made)).to.deep.equal([401, 'api_key_required']);
        }
        const own = await call('get', {}, id, { ...page, ...at.key });
        expect(own.body.data).to.deep.equal({ a: 1 });
        expect(own.body).not.to.have.property('session_id');
        const made = await call('new', { userid }, id, { ...page, ...at.key });
        expect(made.status).to.equal(200);
        expect(made.text).not.to.include('session_id');
        const wrong = await call('get', {}, id, { ...page, Authorization: 'Bearer wrong' });
        expect(refusal(wrong)).to.deep.equal([401, 'wrong_api_key']);
      }
      const server = await call('get', {}, id, { 'X-Custom-Auth': apiKey });
      expect(server.body.session_id).to.equal(id);
    });

    it('except of end_all is an id, a handle or the current session, with a key as well', async () => {
      for (const form of ['id', 'handle', 'current'] as const) {
        const kept = await at.login(userid);
        const other = await at.login(userid);
        const except = form === 'current' ? form : kept[form];
        const reply = await at.api.post(
          '/sessman/end_all',
          { userid, except },
          { headers: { ...at.key, ...(form === 'current' && at.cookie(kept.id)) } },
        );
        expect(reply.body, form).to.deep.equal({ ended: 1 });
        expect([await at.lives(kept.id), await at.lives(other.id)], form).to.deep.equal([true, false]);
        await at.api.post('/sessman/end_all', { userid }, { headers: at.key });
      }
    });

    it('clears the cookie exactly when its session has ended by the answer', async () => {
      const { id, handle } = await at.login(userid);
      const device = await at.login(userid);
      const cleared = (reply: Reply) => reply.headers.getSetCookie().some((set) => /^PS_SESSID=; /.test(set));
      const withKey = (path: string, body: object) => call(path, body, id, at.key);
      for (const [reply, status] of <[Reply, number][]>[
        [await withKey('end', { userid, handle: device.handle }), 200],
        [await withKey('end', { userid: `${userid}x`, handle }), 404],
        [await withKey('end_all', { userid, except: handle }), 200],
        [await withKey('end_all', { userid: `${userid}x` }), 200],
        [await call('end', { handle: device.handle }, id), 404],
        [await call('end', { handle: '' }, id), 404],
        [await call('end_all', { except: '' }, id), 404],
        [await call('end_all', { except: id }, id), 200],
      ]) {
        expect([reply.status, cleared(reply)]).to.deep.equal([status, false]);
      }
      const again = await at.login(userid);
      const byHandle = await call('end', { handle: again.handle }, again.id);
      expect([byHandle.status, cleared(byHandle)]).to.deep.equal([200, true]);
      const byOther = await call('end_all', { except: id }, (await at.login(userid)).id, at.key);
      expect(refusal(byOther)).to.deep.equal([400, 'missing_parameter']);
      const ended = await withKey('end', { session_id: id });
      expect([ended.status, cleared(ended)]).to.deep.equal([200, true]);
      const stale = await at.login(userid);
      await call('renew', {}, stale.id);
      const all = await call('end_all', { userid }, stale.id, at.key);
      expect([all.status, cleared(all)]).to.deep.equal([200, false]);
    });
  });
}

describe('what the cookie may do with data', () => {
  for (const [data, reads, writes] of <const>[
    ['none', false, false],
    ['read', true, false],
    ['write', true, true],
  ]) {
    it(`cookie_data=${data}`, async () => {
      const at = await startCookieApi({ cookie_data: data });
      try {
        const { id } = await at.login('mary', { data: { a: 1 } });
        const headers = at.cookie(id);
        const read = await at.api.get('/sessman/get', { headers });
        expect(read.body.data).to.deep.equal(reads ? { a: 1 } : undefined);
        const patched = await at.api.post('/sessman/patch', { data: { b: 2 } }, { headers });
        expect([patched.status, patched.body.data]).to.deep.equal(
          writes ? [200, { a: 1, b: 2 }] : [403, undefined],
        );
        const updated = await at.api.post('/sessman/update', { data: { c: 3 }, version: 2 }, { headers });
        expect([updated.status, updated.body.data]).to.deep.equal(
          writes ? [200, { c: 3 }] : [403, undefined],
        );
        if (!writes) expect(updated.body.code).to.equal('key_required');
        if (writes) {
          const stale = await at.api.post('/sessman/update', { data: {}, version: 2 }, { headers });
          expect([stale.status, stale.body.version]).to.deep.equal([412, 3]);
        }
      } finally {
        await at.api.close();
      }
    });
  }
});

describe('cookie mode while no key is set, or auth_type=none', () => {
  it("records a visitor's address as a proxy tells it, an IPv4 address as such", async () => {
    const at = await startCookieApi(
      { record: ['ip'], cookie_secure: false },
      { ini: '[network]\nproxy=bool:on\n' },
    );
    try {
      for (const [told, ip] of [
        ['203.0.113.7', '203.0.113.7'],
        ['::ffff:203.0.113.7', '203.0.113.7'],
        ['::FFFF:203.0.113.17', '203.0.113.17'],
        ['2001:db8::1', '2001:db8::1'],
        ['::ffff:cb00:7107', '::ffff:cb00:7107'],
      ] as const) {
        const { id } = await at.login(aUser());
        const headers = { ...at.cookie(id), 'X-Forwarded-For': told };
        const renewed = await at.api.post('/sessman/renew', {}, { headers });
        const next = /^PS_SESSID=([\w-]{43});/.exec(renewed.headers.getSetCookie()[0]!)![1]!;
        const { sessions } = (await at.api.get('/sessman/list', { headers: at.cookie(next) })).body;
        expect(sessions[0].ip).to.equal(ip);
      }
    } finally {
      await at.api.close();
    }
  });

  it('what needs a key is a 403 that names the line to write', async () => {
    const api = await startApi({ cookie: true });
    try {
      for (const [path, body] of <[string, object][]>[
        ['new', { userid: 'mary' }],
        ['get', { session_id: 'A'.repeat(43), userid: 'mary' }],
      ]) {
        const reply = await api.post(`/sessman/${path}`, body);
        expect([reply.status, reply.body.code]).to.deep.equal([403, 'no_global_key']);
        expect(reply.body.error).to.include('apikey=KEY in [auth]');
      }
      const none = await api.get('/sessman/get');
      expect([none.status, none.body.code]).to.deep.equal([401, 'session_required']);
    } finally {
      await api.close();
    }
  });

  it('auth_type=none opens nothing', async () => {
    const at = await startCookieApi({ auth_type: 'none' });
    try {
      const made = await at.api.post('/sessman/new', { userid: 'mary' });
      expect([made.status, made.body.code]).to.deep.equal([401, 'api_key_required']);
      expect((await at.login('mary')).id).to.have.length(43);
    } finally {
      await at.api.close();
    }
  });

  it('auth_type=none outside cookie mode opens no session by its handle, whatever key is sent', async () => {
    const api = await startApi({ auth_type: 'none' }, { ini: `[auth]\napikey=${apiKey}\n` });
    try {
      const { handle } = (await api.post('/sessman/new', { userid: 'mary' })).body;
      const headers = { Authorization: `Bearer ${apiKey}` };
      const read = await api.get(`/sessman/get?userid=mary&handle=${handle}`, { headers });
      expect([read.status, read.body.code]).to.deep.equal([403, 'key_required']);
    } finally {
      await api.close();
    }
  });

  it('auth_type=plugin has its own key', async () => {
    const at = await startCookieApi({ auth_type: 'plugin', apikey: 'the-key-of-sessman-alone' });
    try {
      const make = (key: string) =>
        at.api.post('/sessman/new', { userid: 'mary' }, { headers: { 'X-Custom-Auth': key } });
      expect((await make(apiKey)).body.code).to.equal('wrong_api_key');
      expect((await make('the-key-of-sessman-alone')).status).to.equal(200);
    } finally {
      await at.api.close();
    }
  });
});
