import { expect } from 'chai';
import { type Api, aUser, type CookieApi, startApi, startCookieApi } from '../support/api.js';

/** Attributes of a Set-Cookie by lower-case name. */
function attributesOf(set: string): { pair: string; attributes: Record<string, string> } {
  const [pair = '', ...rest] = set.split('; ');
  const attributes = Object.fromEntries(
    rest.map((each) => {
      const [name = '', value = ''] = each.split('=');
      return [name.toLowerCase(), value];
    }),
  );
  return { pair, attributes };
}

describe('the cookie', () => {
  const made = async (settings: object, ini = '', body: object = {}) => {
    const at = await startCookieApi(settings, { ini });
    try {
      const { id, set } = await at.login(aUser(), body);
      const { pair, attributes } = attributesOf(set);
      return { pair: pair.replace(id, 'ID'), attributes };
    } finally {
      await at.api.close();
    }
  };
  const proxy = '[network]\nproxy=bool:on\n';

  it('is HttpOnly, SameSite=Lax, and lives until the absolute end', async () => {
    const { pair, attributes } = await made({});
    expect(pair).to.equal('PS_SESSID=ID');
    expect(Number(attributes['max-age'])).to.be.within(2_591_990, 2_592_000);
    delete attributes['max-age'];
    expect(attributes).to.deep.equal({ path: '/', httponly: '', samesite: 'Lax' });
  });

  it('lives 400 days at most, and ends with the browser where it is not to be remembered', async () => {
    for (const session_max_age of [0, 86_400 * 1000]) {
      expect((await made({ session_max_age })).attributes['max-age']).to.equal(String(400 * 86_400));
    }
    const { attributes } = await made({}, '', { remember: false });
    expect(attributes).to.deep.equal({ path: '/', httponly: '', samesite: 'Lax' });
  });

  it('is Secure by the settings of the start, and its name says so', async () => {
    for (const [settings, ini, name, secure] of <[object, string, string, boolean][]>[
      [{}, '', 'PS_SESSID', false],
      [{}, proxy, '__Host-PS_SESSID', true],
      [{}, '[network]\nproxy=list:10.0.0.7\n', '__Host-PS_SESSID', true],
      [{ cookie_secure: true }, '', '__Host-PS_SESSID', true],
      [{ cookie_secure: false }, proxy, 'PS_SESSID', false],
      [{ cookie_path: '/app' }, proxy, '__Secure-PS_SESSID', true],
      [{ cookie_domain: 'example.com' }, proxy, '__Secure-PS_SESSID', true],
      [{ cookie_domain: 'example.com', cookie_path: '/app' }, '', 'PS_SESSID', false],
      [{ cookie_name: 'shop.id' }, proxy, '__Host-shop.id', true],
    ]) {
      const { pair, attributes } = await made(settings, ini);
      const about = JSON.stringify(settings) + ini;
      expect(pair, about).to.equal(`${name}=ID`);
      expect('secure' in attributes, about).to.equal(secure);
      expect([attributes.path, attributes.domain], about).to.deep.equal([
        (settings as { cookie_path?: string }).cookie_path ?? '/',
        (settings as { cookie_domain?: string }).cookie_domain,
      ]);
    }
  });

  it('has the SameSite and the partition of its settings', async () => {
    const { attributes } = await made({ cookie_same_site: 'none', cookie_partitioned: true }, proxy);
    expect(attributes).to.include({ samesite: 'None', partitioned: '', secure: '' });
    expect((await made({ cookie_same_site: 'strict' })).attributes.samesite).to.equal('Strict');
  });

  it('has one name, whatever a request says of its scheme', async () => {
    const at = await startCookieApi({}, { ini: proxy });
    try {
      const { id } = await at.login('mary');
      const get = async (name: string, scheme: string) => {
        const headers = { Cookie: `${name}=${id}`, 'X-Forwarded-Proto': scheme };
        return (await at.api.get('/sessman/get', { headers })).status;
      };
      for (const scheme of ['http', 'https']) {
        expect(await get('__Host-PS_SESSID', scheme)).to.equal(200);
        for (const name of ['PS_SESSID', '__Secure-PS_SESSID', '__host-PS_SESSID'])
          expect(await get(name, scheme), name).to.equal(401);
      }
    } finally {
      await at.api.close();
    }
  });

  it('is named to the byte: behind a no-break space, browsers do not see the prefix of its name', async () => {
    const at = await startCookieApi({ cookie_secure: true });
    try {
      const { id } = await at.login('mary');
      for (const [pair, status] of [
        [`__Host-PS_SESSID=${id}`, 200],
        [`a=1;\t__Host-PS_SESSID = ${id}\t;b=2`, 200],
        [`a=1; \xa0__Host-PS_SESSID=${id}`, 401],
        [`a=1; __Host-PS_SESSID\xa0=${id}`, 401],
        [`a=1; \xa0__Host-PS_SESSID=${'x'.repeat(42)}A; __Host-PS_SESSID=${id}`, 200],
      ] as const) {
        const answer = await at.api.get('/sessman/get', { headers: { Cookie: pair } });
        expect(answer.status, JSON.stringify(pair)).to.equal(status);
      }
    } finally {
      await at.api.close();
    }
  });

  it('is read as up to eight ids, before all that has not the form of one', async () => {
    const at = await startCookieApi();
    try {
      const { id } = await at.login('mary');
      const get = async (values: string[]) => {
        const headers = { Cookie: values.map((value) => `PS_SESSID=${value}`).join('; ') };
        const { status, body } = await at.api.get('/sessman/get', { headers });
        return status === 200 ? status : body.code;
      };
      const nonsense = Array.from({ length: 9 }, (_, n) => `nonsense${n}`);
      const dead = Array.from({ length: 8 }, (_, n) => `${'A'.repeat(41)}${n}A`);
      expect(await get([...nonsense, id])).to.equal(200);
      expect(await get(nonsense)).to.equal('session_not_found');
      expect(await get([...dead.slice(1), id])).to.equal(200);
      expect(await get([...dead, id])).to.equal('session_not_found');
      for (const Cookie of [`PS_SESSID${id}`, `PS_SESSIDx`, `=${id}`, `xPS_SESSID=${id}`])
        expect((await at.api.get('/sessman/get', { headers: { Cookie } })).body.code).to.equal(
          'session_required',
        );
    } finally {
      await at.api.close();
    }
  });

  it('is cleared with the attributes that it was set with', async () => {
    const at = await startCookieApi(
      { cookie_path: '/sessman', cookie_name: 'sid', cookie_partitioned: true },
      { ini: proxy },
    );
    try {
      const { id } = await at.login('mary');
      const ended = await at.api.post('/sessman/end', {}, { headers: { Cookie: `__Secure-sid=${id}` } });
      const { pair, attributes } = attributesOf(ended.headers.getSetCookie()[0]!);
      expect(pair).to.equal('__Secure-sid=');
      expect(attributes).to.include({ path: '/sessman', secure: '', partitioned: '', 'max-age': '0' });
    } finally {
      await at.api.close();
    }
  });
});

describe('the origin of a call in cookie mode', () => {
  let at: CookieApi;
  let userid: string;
  before(async () => {
    at = await startCookieApi({
      cookie_data: 'write',
      cookie_origins: ['https://app.example.com/', 'https://[::1]:8443'],
    });
  });
  after(() => at?.api.close());
  beforeEach(() => {
    userid = aUser();
  });

  const foreign: Record<string, string>[] = [
    { Origin: 'https://evil.example' },
    { Origin: 'null' },
    { Origin: 'https://sub.app.example.com' },
    { Origin: 'http://app.example.com' },
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { 'Sec-Fetch-Site': 'Same-Origin' },
  ];

  it('is judged for what changes something, and for get and list by POST, with a key as well', async () => {
    const { id } = await at.login(userid);
    for (const call of ['new', 'get', 'update', 'patch', 'touch', 'renew', 'end', 'list', 'end_all']) {
      for (const headers of [...foreign, { ...foreign[0], ...at.key }]) {
        const reply = await at.api.post(
          `/sessman/${call}`,
          { userid, data: {} },
          { headers: { ...at.cookie(id), ...headers } },
        );
        expect([reply.status, reply.body.code], `${call} ${JSON.stringify(headers)}`).to.deep.equal([
          403,
          'foreign_origin',
        ]);
      }
    }
    for (const headers of foreign as Record<string, string>[]) {
      for (const call of ['get', 'list']) {
        const reply = await at.api.get(`/sessman/${call}`, { headers: { ...at.cookie(id), ...headers } });
        expect(reply.status, `${call} ${JSON.stringify(headers)}`).to.equal(200);
        expect(reply.headers.get('access-control-allow-origin')).to.equal(null);
      }
    }
    expect((await at.api.get('/sessman/get', { headers: at.cookie(id) })).body.version).to.equal(1);
  });

  it("passes from the server's own pages, from those listed, and from what is not a browser", async () => {
    const { id } = await at.login(userid);
    for (const headers of <Record<string, string>[]>[
      { Origin: at.api.server.url },
      { Origin: at.api.server.url.toUpperCase() },
      { Origin: 'https://app.example.com' },
      { Origin: 'https://app.example.com', 'Sec-Fetch-Site': 'cross-site' },
      { Origin: 'https://APP.example.com:443' },
      { Origin: 'https://[0:0:0:0:0:0:0:1]:8443' },
      { 'Sec-Fetch-Site': 'same-origin' },
      { 'Sec-Fetch-Site': 'none' },
      { 'Sec-Fetch-Site': 'same-origin', Origin: 'null' },
      {},
    ]) {
      const reply = await at.api.post('/sessman/touch', {}, { headers: { ...at.cookie(id), ...headers } });
      expect(reply.status, JSON.stringify(headers)).to.equal(200);
    }
  });

  it("is the server's own by what a trusted proxy says, whatever case and default port", async () => {
    const behind = await startCookieApi(
      { cookie_secure: false },
      { ini: '[network]\nproxy=bool:on\nhosts=*\n' },
    );
    try {
      const { id } = await behind.login(userid);
      const touch = async (headers: Record<string, string>) =>
        (await behind.api.post('/sessman/touch', {}, { headers: { ...behind.cookie(id), ...headers } }))
          .status;
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
      await behind.api.close();
    }
  });

  it('an untrusted proxy says nothing', async () => {
    const { id } = await at.login(userid);
    const headers = { ...at.cookie(id), 'X-Forwarded-Host': 'evil.example', Origin: 'http://evil.example' };
    expect((await at.api.post('/sessman/touch', {}, { headers })).status).to.equal(403);
  });
});

describe('pages of cookie_origins', () => {
  const page = { Origin: 'https://app.example.com' };
  const cors = ({ headers }: { headers: Headers }) => [
    headers.get('access-control-allow-origin'),
    headers.get('access-control-allow-credentials'),
  ];
  let at: CookieApi;
  before(async () => {
    at = await startCookieApi(
      { cookie_origins: ['https://app.example.com'] },
      { ini: '[cors]\nenabled=bool:on\norigin_url=list:https://public.example\n' },
    );
  });
  after(() => at?.api.close());

  const preflight = (path: string, origin: string) =>
    at.api.server.fetch(path, {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type,if-match,x-session-handle',
      },
    });

  it('get preflights without a key, credentials, and the ETag', async () => {
    for (const path of ['/sessman/get', '/sessman/update', '/sessman/check', '/sessman/client.js']) {
      const answer = await preflight(path, page.Origin);
      expect([answer.status, ...cors(answer)], path).to.deep.equal([204, page.Origin, 'true']);
      expect(answer.headers.get('access-control-allow-headers')?.toLowerCase()).to.include(
        'x-session-handle',
      );
      expect(answer.headers.get('access-control-allow-methods')).to.include('POST');
    }
    const { id } = await at.login('mary');
    const read = await at.api.get('/sessman/get', { headers: { ...at.cookie(id), ...page } });
    expect([read.status, ...cors(read)]).to.deep.equal([200, page.Origin, 'true']);
    expect(read.headers.get('access-control-expose-headers')).to.include('ETag');
    expect(read.headers.get('vary')).to.include('Origin');
    const dead = await at.api.get('/sessman/get', { headers: { ...at.cookie('x'), ...page } });
    expect([dead.status, ...cors(dead)]).to.deep.equal([404, page.Origin, 'true']);
  });

  it('origins of [cors] get no credentials there, and cookie_origins nothing elsewhere', async () => {
    const answer = await preflight('/sessman/get', 'https://public.example');
    expect([answer.status, ...cors(answer)]).to.deep.equal([204, 'https://public.example', null]);
    expect(cors(await preflight('/readyz', page.Origin))).to.deep.equal([null, null]);
    expect(cors(await preflight('/sessman/get', 'https://evil.example'))).to.deep.equal([null, null]);
  });

  it('keep that beside a [cors] for any origin', async () => {
    const any = await startCookieApi(
      { cookie_origins: ['https://app.example.com'] },
      { ini: '[cors]\nenabled=bool:on\norigin_url=list:*\n' },
    );
    try {
      const ask = (origin: string) => any.api.get('/sessman/get', { headers: { Origin: origin } });
      expect(cors(await ask(page.Origin))).to.deep.equal([page.Origin, 'true']);
      expect(cors(await ask('https://evil.example'))).to.deep.equal(['*', null]);
    } finally {
      await any.api.close();
    }
  });
});

describe('without cookie mode', () => {
  let plain: Api;
  before(async () => {
    plain = await startApi({ auth_type: 'none' });
  });
  after(() => plain?.close());

  it('no cookie is set or read, and no origin judged', async () => {
    const made = await plain.post(
      '/sessman/new',
      { userid: 'mary' },
      { headers: { Origin: 'https://evil.example' } },
    );
    expect(made.status).to.equal(200);
    expect(made.headers.getSetCookie()).to.deep.equal([]);
    const read = await plain.get('/sessman/get', {
      headers: { Cookie: `PS_SESSID=${made.body.session_id}` },
    });
    expect(read.body.code).to.equal('missing_parameter');
  });
});
