import { expect } from 'chai';
import { type Api, aUser, backends, type Reply, startApi } from './support/api.js';

const site = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  auth: 'own',
  after: ['sessman'],
  setup({ router, plugin }) {
    const sessions = plugin('sessman');
    const shown = (session) => session === undefined
      ? { user: null }
      : { user: session.userid, handle: session.handle, data: session.data };
    router.all('/', async (ctx) => { ctx.body = shown(await sessions.current(ctx)); });
    router.all('/trusting', async (ctx) => { ctx.body = shown(await sessions.current(ctx, { foreign: true })); });
    for (const foreign of [false, true]) {
      const at = foreign ? '/callback' : '';
      router.all(at + '/login/:user', async (ctx) => {
        const options = { data: { visits: 1 }, foreign, ...ctx.request.body };
        ctx.body = shown(await sessions.login(ctx, ctx.params.user, options));
      });
      router.all(at + '/logout', async (ctx) => {
        await sessions.logout(ctx, { foreign });
        ctx.body = { user: null };
      });
    }
    router.all('/twice/:user', async (ctx) => {
      ctx.cookies.set('PS_SESSID_old', 'x');
      ctx.cookies.set('other', 'y');
      await sessions.login(ctx, ctx.params.user);
      ctx.body = shown(await sessions.login(ctx, ctx.params.user));
    });
    router.get('/devices/:user', async (ctx) => { ctx.body = await sessions.list(ctx.params.user); });
  },
});`;

const files = { 'plugins/site.mjs': site };
const cookieOf = ({ headers }: Reply) => /^PS_SESSID=([\w-]*);/.exec(headers.getSetCookie()[0] ?? '')?.[1];
const holding = (...ids: (string | undefined)[]) => ({
  Cookie: ids.map((id) => `PS_SESSID=${id}`).join('; '),
});

for (const { name, settings } of backends) {
  describe(`visitors of a plugin, on the ${name} store`, () => {
    let api: Api;
    let user: string;
    before(async () => {
      const record = ['ip', 'user_agent'];
      api = await startApi(
        { ...(await settings()), cookie: true, record, max_sessions_per_user: 2 },
        { files },
      );
    });
    after(() => api?.close());
    beforeEach(() => {
      user = aUser();
    });

    const login = async (headers: object = {}, body: object = {}): Promise<string> => {
      const reply = await api.post(`/site/login/${user}`, body, { headers: { ...headers } });
      expect(reply.status, reply.text).to.equal(200);
      return cookieOf(reply)!;
    };
    const current = async (headers: object) =>
      (await api.get('/site', { headers: { ...headers } })).body.user;

    it('log in, are known, and log out', async () => {
      const id = await login();
      const seen = await api.get('/site', { headers: holding(id) });
      expect(seen.body).to.deep.equal({ user, handle: id.slice(0, 16), data: { visits: 1 } });
      expect(seen.headers.getSetCookie()).to.deep.equal([]);
      const own = await api.get('/sessman/get', { headers: holding(id) });
      expect(own.body).to.include({ userid: user, handle: id.slice(0, 16) });
      const out = await api.post('/site/logout', {}, { headers: holding(id) });
      expect(out.headers.getSetCookie()[0]).to.match(/^PS_SESSID=; .*Max-Age=0/);
      expect(await current(holding(id))).to.equal(null);
      const again = await api.post('/site/logout', {}, { headers: holding(id) });
      expect([again.status, again.headers.getSetCookie()]).to.deep.equal([200, []]);
    });

    it('are nobody without a cookie, with a dead one, and with two live ones', async () => {
      const [one, two] = [await login(), await login()];
      for (const headers of [{}, holding('nonsense'), holding('A'.repeat(43)), holding(one, two)])
        expect(await current(headers), JSON.stringify(headers)).to.equal(null);
      expect(await current(holding('A'.repeat(43), two))).to.equal(user);
    });

    it('get an id at each login that nobody knew before, and the session before ends', async () => {
      const planted = await login();
      const id = await login(holding(planted, 'A'.repeat(43)));
      expect(id.slice(0, 16)).not.to.equal(planted.slice(0, 16));
      expect([await current(holding(planted)), await current(holding(id))]).to.deep.equal([null, user]);
      const chosen = `${'B'.repeat(42)}A`;
      expect(await login(holding(chosen))).not.to.equal(chosen);
      const metrics = (await api.get('/metrics')).text;
      expect(metrics).to.match(/sessman_sessions_ended_total\{[^}]*reason="login"[^}]*\} [1-9]/);
    });

    it('get the cookie of the last login of a response, beside those of the plugin', async () => {
      const reply = await api.post(`/site/twice/${user}`);
      const set = reply.headers.getSetCookie().map((each) => each.split(';')[0]!);
      expect(set.slice(0, 2)).to.deep.equal(['PS_SESSID_old=x', 'other=y']);
      expect(set).to.have.length(3);
      const id = set[2]!.slice('PS_SESSID='.length);
      expect(id.slice(0, 16)).to.equal(reply.body.handle);
      expect(await current(holding(id))).to.equal(user);
    });

    it('are not counted twice against the limit when they log in again', async () => {
      const [phone, laptop] = [await login(), await login()];
      const again = await login(holding(laptop));
      expect([await current(holding(phone)), await current(holding(again))]).to.deep.equal([user, user]);
    });

    it('are remembered or not, and listed with their device', async () => {
      const reply = await api.post(
        `/site/login/${user}`,
        { remember: false, about: { device: 'phone' } },
        { headers: { 'User-Agent': 'Browser/1' } },
      );
      expect(reply.headers.getSetCookie()[0]).not.to.match(/Max-Age/);
      const [entry] = (await api.get(`/site/devices/${user}`)).body;
      expect(entry).to.deep.include({ about: { device: 'phone' }, ip: '127.0.0.1', userAgent: 'Browser/1' });
    });

    it('are neither logged in nor out by a page of another site, but where the plugin has checked it', async () => {
      const id = await login();
      for (const page of <Record<string, string>[]>[
        { Origin: 'https://evil.example' },
        { 'Sec-Fetch-Site': 'cross-site' },
        { 'Sec-Fetch-Site': 'same-site' },
      ]) {
        const headers = { ...holding(id), ...page };
        for (const [path, method] of <[string, string][]>[
          ['/site/login/eve', 'POST'],
          ['/site/login/eve', 'GET'],
          ['/site/logout', 'POST'],
          ['/site/logout', 'GET'],
          ['/site', 'POST'],
          ['/site', 'DELETE'],
        ]) {
          const reply = await api.get(path, { method, headers });
          expect([reply.status, reply.body.code], `${method} ${path}`).to.deep.equal([403, 'foreign_origin']);
          expect(reply.headers.getSetCookie()).to.deep.equal([]);
        }
        expect(await current(headers)).to.equal(user);
        expect((await api.post('/site/trusting', {}, { headers })).body.user).to.equal(user);
        const back = await api.post(`/site/callback/login/${user}`, {}, { headers: page });
        expect(back.status).to.equal(200);
        const out = await api.post(
          '/site/callback/logout',
          {},
          { headers: { ...page, ...holding(cookieOf(back)) } },
        );
        expect(out.headers.getSetCookie()[0]).to.match(/^PS_SESSID=;/);
      }
    });
  });
}

describe('visitors of a plugin', () => {
  it('cannot be known outside cookie mode, and the log says what to write', async () => {
    const api = await startApi({ auth_type: 'none' }, { files });
    try {
      for (const [path, call] of <const>[
        ['', 'current'],
        ['/login/mary', 'login'],
        ['/logout', 'logout'],
      ]) {
        expect((await api.post(`/site${path}`)).status).to.equal(500);
        expect(api.server.logText()).to.include(`sessions.${call}() requires cookie mode`);
      }
    } finally {
      await api.close();
    }
  });
});
