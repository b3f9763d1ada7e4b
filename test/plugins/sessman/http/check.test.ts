import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { aUser, backends, type CookieApi, type Reply, startApi, startCookieApi } from '../support/api.js';

for (const { name, settings } of backends) {
  describe(`/sessman/check on the ${name} store`, () => {
    let at: CookieApi;
    let userid: string;
    before(async () => {
      at = await startCookieApi(
        { ...(await settings()), session_ttl: 10 },
        { ini: '[limits]\nrate=int:100000\n[network]\nhosts=list:only.example 127.0.0.1\n' },
      );
    });
    after(() => at?.api.close());
    beforeEach(() => {
      userid = aUser();
    });

    const check = (headers: object, query = '') =>
      at.api.get(`/sessman/check${query}`, { headers: { ...headers } });
    const problem = (reply: Reply) => [
      reply.status,
      reply.headers.get('x-session-problem'),
      reply.body?.code,
    ];

    it('is 204 with the user, the handle and the end, by the cookie or X-Session-Id', async () => {
      const { id, handle } = await at.login(userid, { data: { a: 1 } });
      for (const headers of [
        at.cookie(id),
        { 'X-Session-Id': id },
        { ...at.cookie(id), 'X-Session-Id': id },
      ]) {
        const reply = await check(headers);
        expect(reply.status, reply.text).to.equal(204);
        expect(reply.headers.get('x-session-user')).to.equal(userid.replaceAll(' ', '%20'));
        expect(reply.headers.get('x-session-handle')).to.equal(handle);
        expect(reply.headers.get('x-session-expires')).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
        expect(reply.headers.get('cache-control')).to.equal('no-store');
        expect(reply.headers.getSetCookie()).to.deep.equal([]);
        expect(reply.text).to.equal('');
      }
      const head = await at.api.server.fetch('/sessman/check', { method: 'HEAD', headers: at.cookie(id) });
      expect([head.status, head.headers.get('x-session-handle')]).to.deep.equal([204, handle]);
    });

    it('codes every byte of the user but letters, digits and -._~@', async () => {
      const { id } = await at.login('Zoë %41"<\\/:;=+&?#[]()\n 🐢 a-b_c.d~e@example.org');
      const reply = await check(at.cookie(id));
      expect(reply.headers.get('x-session-user')).to.equal(
        'Zo%C3%AB%20%2541%22%3C%5C%2F%3A%3B%3D%2B%26%3F%23%5B%5D%28%29%0A%20%F0%9F%90%A2%20a-b_c.d~e@example.org',
      );
      for (const [name, coded] of [
        ['%', '%25'],
        ['a-b_c.d~e@example.org', 'a-b_c.d~e@example.org'],
      ] as const) {
        const other = await check(at.cookie((await at.login(name)).id));
        expect(other.headers.get('x-session-user')).to.equal(coded);
      }
    });

    it('is 401 with its problem, without a challenge for a key', async () => {
      const { id } = await at.login(userid);
      const other = await at.login(userid);
      const two = { Cookie: `PS_SESSID=${id}; PS_SESSID=${other.id}` };
      for (const [headers, code] of <[object, string][]>[
        [{}, 'session_required'],
        [{ Cookie: 'PS_SESSID' }, 'session_required'],
        [two, 'session_required'],
        [{ ...at.cookie(id), 'X-Session-Id': other.id }, 'session_required'],
        [at.cookie('nonsense'), 'session_not_found'],
        [at.cookie(`${id.slice(0, 42)}${id.endsWith('A') ? 'E' : 'A'}`), 'session_not_found'],
        [{ 'X-Session-Id': 'A'.repeat(43) }, 'session_not_found'],
        [{ 'X-Session-Id': '' }, 'session_not_found'],
      ]) {
        const reply = await check(headers);
        expect(problem(reply), JSON.stringify(headers)).to.deep.equal([401, code, code]);
        expect(reply.headers.get('www-authenticate')).to.equal(null);
        expect(reply.headers.get('cache-control')).to.equal('no-store');
        expect(reply.headers.getSetCookie()).to.deep.equal([]);
      }
      await at.api.post('/sessman/end', { session_id: id }, { headers: at.key });
      expect(problem(await check(at.cookie(id)))[1]).to.equal('session_not_found');
    });

    it('judges nothing but the session of what the visitor sends', async () => {
      const { id } = await at.login(userid);
      for (const headers of <Record<string, string>[]>[
        { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' },
        { Authorization: 'Bearer wrong' },
        { Authorization: 'Basic bWFyeTpodXNo' },
        { 'X-Custom-Auth': 'wrong' },
        { 'If-Match': '"no"', 'If-None-Match': '*', 'If-Modified-Since': 'Thu, 01 Jan 2037 00:00:00 GMT' },
        { Range: 'bytes=5-1', 'If-Range': 'x' },
        { 'X-Forwarded-Host': 'evil.example' },
        { 'X-Session-Handle': 'another' },
        { 'Content-Type': 'application/json; charset=klingon', 'Content-Encoding': 'nope' },
      ]) {
        const reply = await check({ ...at.cookie(id), ...headers });
        expect(reply.status, JSON.stringify(headers)).to.equal(204);
      }
      expect((await check(at.cookie(id), '?apikey=wrong')).status).to.equal(204);
    });

    it('is 400 for its own parameters alone, and 405 for another method', async () => {
      const { id } = await at.login(userid);
      for (const query of [
        '?touch=maybe',
        '?max_auth_age=x',
        '?max_auth_age=-1',
        '?touch=true&touch=true',
        '?x=1',
      ]) {
        expect((await check(at.cookie(id), query)).status, query).to.equal(400);
      }
      expect((await at.api.post('/sessman/check', {}, { headers: at.cookie(id) })).status).to.equal(405);
    });

    it('max_auth_age: an older session must authenticate again', async () => {
      const { id } = await at.login(userid);
      expect((await check(at.cookie(id), '?max_auth_age=60')).status).to.equal(204);
      let refused = await check(at.cookie(id), '?max_auth_age=0');
      // A millisecond later, by the store's clock.
      while (refused.status === 204) refused = await check(at.cookie(id), '?max_auth_age=0');
      expect(problem(refused)).to.deep.equal([401, 'reauthentication_required', 'reauthentication_required']);
      expect(refused.body.error).to.include('more than 0 s ago');
      const renewed = await at.api.post(
        '/sessman/renew',
        { session_id: id, authenticated: true },
        { headers: at.key },
      );
      expect((await check(at.cookie(renewed.body.session_id), '?max_auth_age=60')).status).to.equal(204);
    });

    it('touch=true moves the idle end when a tenth of session_ttl has passed', async () => {
      const { id } = await at.login(userid);
      const read = async () => (await at.api.get('/sessman/get', { headers: at.cookie(id) })).body;
      const before = await read();
      const early = await check(at.cookie(id), '?touch=true');
      expect(early.headers.get('x-session-expires')).to.equal(before.expires_at);
      expect((await read()).updated_at).to.equal(before.updated_at);
      let late = early;
      while (late.headers.get('x-session-expires') === before.expires_at) {
        await sleep(20);
        expect((await check(at.cookie(id))).headers.get('x-session-expires')).to.equal(before.expires_at);
        late = await check(at.cookie(id), '?touch=true');
      }
      const after = await read();
      expect(late.headers.get('x-session-expires')).to.equal(after.expires_at);
      expect(Date.parse(after.expires_at)).to.be.at.least(Date.parse(before.expires_at) + 1000);
      expect(after.version).to.equal(1);
    });
  });
}

describe('/sessman/check', () => {
  it('counts for no rate limit, and answers under any host name', async () => {
    const at = await startCookieApi(
      {},
      { ini: '[limits]\nrate=int:2\n[network]\nproxy=bool:on\nhosts=list:only.example 127.0.0.1\n' },
    );
    try {
      const { id } = await at.login('mary');
      for (let i = 0; i < 10; i++) {
        const headers = { Cookie: `__Host-PS_SESSID=${id}`, 'X-Forwarded-Host': `${i}.example` };
        expect((await at.api.get('/sessman/check', { headers })).status).to.equal(204);
      }
      expect((await at.api.get('/sessman/list', { headers: at.key })).status).to.equal(400);
      expect((await at.api.get('/sessman/list', { headers: at.key })).status).to.equal(429);
    } finally {
      await at.api.close();
    }
  });

  it('takes X-Session-Id without a key outside cookie mode, and reads no cookie there', async () => {
    const api = await startApi({}, { ini: '[auth]\napikey=the-api-key-of-these-tests\n' });
    try {
      const made = await api.post(
        '/sessman/new',
        { userid: 'mary' },
        { headers: { Authorization: 'Bearer the-api-key-of-these-tests' } },
      );
      const { session_id } = made.body;
      const checked = await api.get('/sessman/check', { headers: { 'X-Session-Id': session_id } });
      expect([checked.status, checked.headers.get('x-session-user')]).to.deep.equal([204, 'mary']);
      const byCookie = await api.get('/sessman/check', { headers: { Cookie: `PS_SESSID=${session_id}` } });
      expect(byCookie.status).to.equal(401);
    } finally {
      await api.close();
    }
  });
});
