import { expect } from 'chai';
import { type Api, aUser, startApi } from '../support/api.js';

describe('cookie mode', () => {
  let api: Api;
  let userid: string;
  before(async () => {
    api = await startApi({ cookie: true, cookie_origins: ['https://app.example.com/'] });
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

  it('without it no cookie is set or read', async () => {
    const plain = await startApi();
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
