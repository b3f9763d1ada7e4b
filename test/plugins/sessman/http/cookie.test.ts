import { expect } from 'chai';
import { type Api, aUser, startApi } from '../support/api.js';

describe('cookie mode', () => {
  let api: Api;
  let userid: string;
  before(async () => {
    api = await startApi({ auth_type: 'none', cookie: true, cookie_origins: ['https://app.example.com/'] });
  });
  after(() => api?.close());
  beforeEach(() => {
    userid = aUser();
  });

  const start = async () => {
    const made = await api.post('/sessman/new', { userid, data: { a: 1 } });
    return { id: made.body.session_id as string, set: made.headers.getSetCookie() };
  };
  const cookie = (id: string) => ({ Cookie: `other=1; PS_SESSID=${id}` });

  it('new sets a cookie that scripts cannot read and other sites cannot send', async () => {
    const { id, set } = await start();
    expect(set).to.have.length(1);
    const [pair, ...attributes] = set[0]!.split('; ');
    expect(pair).to.equal(`PS_SESSID=${id}`);
    expect(attributes.map((each) => each.toLowerCase())).to.include.members([
      'path=/',
      'httponly',
      'samesite=lax',
    ]);
    const expires = attributes.find((each) => /^expires=/i.test(each))!.slice(8);
    expect(Date.parse(expires) - Date.now()).to.be.within(2_591_000_000, 2_592_000_000);
    expect(set[0]).not.to.match(/secure|domain/i);
  });

  it('over TLS that is Secure and has the __Host- prefix', async () => {
    const secure = await startApi({ cookie: true }, { ini: '[network]\nproxy=bool:on\n' });
    try {
      const headers = { 'X-Forwarded-Proto': 'https' };
      const made = await secure.post('/sessman/new', { userid }, { headers });
      const set = made.headers.getSetCookie()[0]!;
      expect(set).to.match(
        /^__Host-PS_SESSID=[\w-]{43}; path=\/; expires=[^;]+; samesite=lax; secure; httponly$/i,
      );
      const read = (name: string) =>
        secure.get('/sessman/get', { headers: { ...headers, Cookie: `${name}=${made.body.session_id}` } });
      expect((await read('__Host-PS_SESSID')).status).to.equal(200);
      expect((await read('PS_SESSID')).body.code).to.equal('missing_parameter');
    } finally {
      await secure.close();
    }
  });

  it('the cookie names the session where nothing else does', async () => {
    const { id } = await start();
    const read = await api.get('/sessman/get', { headers: cookie(id) });
    expect(read.status).to.equal(200);
    expect(read.body).to.include({ userid, session_id: id });
    const updated = await api.post('/sessman/update', { data: { b: 1 } }, { headers: cookie(id) });
    expect(updated.body.version).to.equal(2);
    expect(updated.headers.getSetCookie()).to.deep.equal([]);
    const other = (await start()).id;
    const named = await api.post('/sessman/get', { session_id: other, userid }, { headers: cookie(id) });
    expect(named.body.session_id).to.equal(other);
  });

  it('new makes another session whatever cookie comes', async () => {
    const { id } = await start();
    const made = await api.post('/sessman/new', { userid }, { headers: cookie(id) });
    expect(made.status).to.equal(200);
    expect(made.body.session_id).not.to.equal(id);
  });

  it('renew sets the new id, and end clears the cookie', async () => {
    const { id } = await start();
    const renewed = await api.post('/sessman/renew', {}, { headers: cookie(id) });
    expect(renewed.headers.getSetCookie()[0]).to.match(new RegExp(`^PS_SESSID=${renewed.body.session_id};`));
    expect((await api.get('/sessman/get', { headers: cookie(id) })).status).to.equal(404);
    const ended = await api.post('/sessman/end', {}, { headers: cookie(renewed.body.session_id) });
    expect(ended.status).to.equal(200);
    expect(ended.headers.getSetCookie()[0]).to.match(/^PS_SESSID=; path=\/; expires=Thu, 01 Jan 1970/i);
  });

  describe('is cleared exactly when its session ends', () => {
    const cleared = ({ headers }: { headers: Headers }) =>
      headers.getSetCookie().some((each) => /^PS_SESSID=; /.test(each));

    it('by id, by handle or with all of the user, whoever is meant', async () => {
      for (const body of <((id: string) => object)[]>[
        () => ({}),
        (id) => ({ session_id: id }),
        (id) => ({ session_id: id, userid }),
        (id) => ({ userid, handle: id.slice(0, 16) }),
      ]) {
        const { id } = await start();
        const ended = await api.post('/sessman/end', body(id), { headers: cookie(id) });
        expect([ended.status, cleared(ended)], JSON.stringify(body(id))).to.deep.equal([200, true]);
      }
      const { id } = await start();
      const other = (await start()).id;
      const all = await api.post('/sessman/end_all', { userid, except: other }, { headers: cookie(id) });
      expect([all.body.ended, cleared(all)]).to.deep.equal([1, true]);
      const rest = await api.post('/sessman/end_all', { userid }, { headers: cookie(other) });
      expect([rest.body.ended, cleared(rest)]).to.deep.equal([1, true]);
    });

    it('and stays when another ends, or none does', async () => {
      const { id } = await start();
      const device = (await start()).id;
      const stranger = (await api.post('/sessman/new', { userid: `${userid}x` }, { headers: cookie(id) }))
        .body.session_id;
      const headers = cookie(id);
      for (const [call, body, status] of <[string, object, number][]>[
        ['end', { userid, handle: device.slice(0, 16) }, 200],
        ['end', { userid, handle: device.slice(0, 16) }, 404],
        ['end', { session_id: stranger }, 200],
        ['end', { userid: `${userid}x`, handle: id.slice(0, 16) }, 404],
        ['end', { session_id: id, userid: `${userid}x` }, 404],
        ['end_all', { userid, except: id }, 200],
        ['end_all', { userid: `${userid}x` }, 200],
        ['end_all', { userid, except: 'x' }, 404],
        ['end_all', {}, 400],
        ['end', { session_id: 'x' }, 404],
      ]) {
        const reply = await api.post(`/sessman/${call}`, body, { headers });
        expect([reply.status, reply.headers.getSetCookie()], JSON.stringify(body)).to.deep.equal([
          status,
          [],
        ]);
      }
      expect((await api.get('/sessman/get', { headers })).status).to.equal(200);
    });

    it('not by the end of all, where it holds the id of no session of the user', async () => {
      const { id } = await start();
      const renewed = await api.post('/sessman/renew', { session_id: id });
      for (const value of [id, 'x', `${'A'.repeat(43)}`]) {
        const reply = await api.post(
          '/sessman/end_all',
          { userid: `${userid}y` },
          { headers: cookie(value) },
        );
        expect(reply.headers.getSetCookie(), value).to.deep.equal([]);
      }
      const stale = await api.post('/sessman/end_all', { userid }, { headers: cookie(id) });
      expect([renewed.status, stale.body.ended, cleared(stale)]).to.deep.equal([200, 1, false]);
    });
  });

  describe('calls that change something', () => {
    const calls = ['new', 'update', 'patch', 'touch', 'renew', 'end', 'end_all'];

    it('are refused from pages of other origins', async () => {
      const { id } = await start();
      for (const call of calls) {
        for (const headers of <Record<string, string>[]>[
          { Origin: 'https://evil.example' },
          { Origin: 'null' },
          { Origin: 'https://sub.app.example.com' },
          { Origin: 'http://app.example.com' },
          { 'Sec-Fetch-Site': 'cross-site' },
          { 'Sec-Fetch-Site': 'same-site' },
        ]) {
          const reply = await api.post(
            `/sessman/${call}`,
            { userid, data: {} },
            { headers: { ...cookie(id), ...headers } },
          );
          expect(reply.status, `${call} ${JSON.stringify(headers)}`).to.equal(403);
          expect(reply.body.code).to.equal('foreign_origin');
        }
      }
      expect((await api.get('/sessman/get', { headers: cookie(id) })).body.version).to.equal(1);
      expect((await api.post('/sessman/list', { userid })).body.sessions).to.have.length(1);
    });

    it("are taken from the server's own pages, from those listed, and from what is no browser", async () => {
      const { id } = await start();
      for (const headers of <Record<string, string>[]>[
        { Origin: api.server.url },
        { Origin: 'https://app.example.com' },
        { 'Sec-Fetch-Site': 'same-origin' },
        {},
      ]) {
        const reply = await api.post('/sessman/touch', {}, { headers: { ...cookie(id), ...headers } });
        expect(reply.status, JSON.stringify(headers)).to.equal(200);
      }
    });
  });

  it("an origin is the same with its default port and in capitals, and Sec-Fetch-Site is the browser's word", async () => {
    const behind = await startApi(
      { auth_type: 'none', cookie: true },
      { ini: '[network]\nproxy=bool:on\nhosts=*\n' },
    );
    try {
      const made = await behind.post('/sessman/new', { userid });
      const touch = async (headers: Record<string, string>) => {
        const reply = await behind.post(
          '/sessman/touch',
          {},
          {
            headers: {
              Cookie: `PS_SESSID=${made.body.session_id}; __Host-PS_SESSID=${made.body.session_id}`,
              ...headers,
            },
          },
        );
        return reply.status;
      };
      const https = { 'X-Forwarded-Proto': 'https' };
      for (const headers of <Record<string, string>[]>[
        { 'X-Forwarded-Host': 'app.example:80', Origin: 'http://app.example' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example:80' },
        { 'X-Forwarded-Host': 'APP.Example', Origin: 'http://app.example' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'HTTP://App.Example' },
        { ...https, 'X-Forwarded-Host': 'app.example:443', Origin: 'https://app.example' },
        { ...https, 'X-Forwarded-Host': 'app.example', Origin: 'https://app.example:443' },
        { ...https, 'X-Forwarded-Host': '[::1]:8443', Origin: 'https://[0:0:0:0:0:0:0:1]:8443' },
        { 'X-Forwarded-Host': 'inner:8080', Origin: 'https://app.example', 'Sec-Fetch-Site': 'same-origin' },
        { 'X-Forwarded-Host': 'inner:8080', Origin: 'null', 'Sec-Fetch-Site': 'same-origin' },
        { 'Sec-Fetch-Site': 'none' },
      ]) {
        expect(await touch(headers), JSON.stringify(headers)).to.equal(200);
      }
      for (const headers of <Record<string, string>[]>[
        { 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example', 'Sec-Fetch-Site': 'cross-site' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example', 'Sec-Fetch-Site': 'same-site' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example', 'Sec-Fetch-Site': 'Same-Origin' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'https://app.example' },
        { ...https, 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example:8080' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example.' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example/' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'http://app.example@evil.example' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'ftp://app.example' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'app.example' },
        { 'X-Forwarded-Host': 'app.example', Origin: 'null' },
      ]) {
        expect(await touch(headers), JSON.stringify(headers)).to.equal(403);
      }
    } finally {
      await behind.close();
    }
  });

  it('without it no cookie is set or read', async () => {
    const plain = await startApi({ auth_type: 'none' });
    try {
      const made = await plain.post(
        '/sessman/new',
        { userid },
        { headers: { Origin: 'https://evil.example' } },
      );
      expect(made.status).to.equal(200);
      expect(made.headers.getSetCookie()).to.deep.equal([]);
      const read = await plain.get('/sessman/get', { headers: cookie(made.body.session_id) });
      expect(read.body.code).to.equal('missing_parameter');
    } finally {
      await plain.close();
    }
  });
});
