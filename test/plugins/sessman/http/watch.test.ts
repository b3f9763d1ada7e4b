import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { queryObjects } from 'node:v8';
import { expect } from 'chai';
import { errors } from '../../../../plugins/sessman/errors.js';
import { type Api, aUser, backends, type CookieApi, startApi, startCookieApi } from '../support/api.js';
import { WatchClient } from '../support/watcher.js';

const ini = '[auth]\napikey=watch-test-key\n';
const auth = { Authorization: 'Bearer watch-test-key' };

for (const { name, settings } of backends) {
  describe(`watch on the ${name} store`, () => {
    let api: Api;
    /** Another host on the same store. */
    let other: Api;
    let userid: string;
    const clients: WatchClient[] = [];
    before(async () => {
      const given: object = { ...(await settings()), max_sessions_per_user: 20 };
      api = await startApi(given, { ini });
      const path = name === 'embedded' ? { path: `${api.server.folder}/data/sessman/store` } : {};
      other = await startApi({ ...given, ...path }, { ini });
    });
    after(async () => {
      await other?.close();
      await api?.close();
    });
    beforeEach(() => {
      userid = aUser();
    });
    afterEach(() => {
      for (const client of clients.splice(0)) client.close();
    });

    const post = async (path: string, body: object, host = other) => {
      const reply = await host.post(`/sessman/${path}`, body, { headers: auth });
      expect(reply.status, reply.text).to.equal(200);
      return reply.body;
    };
    const make = async (): Promise<string> => (await post('new', { userid })).session_id;
    const watch = async (session_id: string): Promise<WatchClient> => {
      const client = await WatchClient.open(api.server.url, { 'X-Session-Id': session_id });
      clients.push(client);
      return client;
    };

    it('tells of the session at the start and of each change made on another host, without a key', async () => {
      const session_id = await make();
      const client = await WatchClient.open(api.server.url, {
        'X-Session-Id': session_id,
        Connection: 'keep-alive',
      });
      clients.push(client);
      expect(client.status).to.equal(200);
      expect(client.headers).to.include({
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        // Whoever comes back is to reach the processes that serve then.
        connection: 'close',
      });
      const first = await client.next();
      expect(first.event).to.equal('session');
      expect(Object.keys(first.data)).to.deep.equal(['version', 'updated_at', 'expires_at']);
      expect(first.data.version).to.equal(1);
      let seen = 1;
      for (const call of ['update', 'patch', 'touch']) {
        const body = { session_id, ...(call !== 'touch' && { data: { a: 1 } }) };
        const { version, updated_at, expires_at } = await post(call, body);
        expect(await client.next(seen)).to.deep.include({
          event: 'session',
          data: { version, updated_at, expires_at },
        });
        seen++;
      }
    });

    it('closes the streams of the old id at a renewal, without an end', async () => {
      const session_id = await make();
      const client = await watch(session_id);
      const renewed = await post('renew', { session_id });
      await client.closed;
      expect(client.told.map(({ event }) => event)).to.deep.equal(['session', undefined]);
      expect(client.told[1]!.retry).to.be.within(1000, 5000);
      expect((await watch(session_id)).status).to.equal(401);
      expect((await (await watch(renewed.session_id)).next()).event).to.equal('session');
    });

    const ends: [string, (session_id: string) => Promise<unknown>][] = [
      ['end', (session_id) => post('end', { session_id })],
      ['end', (session_id) => post('end', { userid, handle: session_id.slice(0, 16) }, api)],
      ['end_all', () => post('end_all', { userid })],
      [
        'limit',
        async () => {
          for (let n = 0; n < 20; n++) await make();
        },
      ],
    ];
    for (const [reason, act] of ends) {
      it(`tells of the end by ${reason}, also whoever comes later with the right id`, async () => {
        const session_id = await make();
        const client = await watch(session_id);
        await client.next();
        await act(session_id);
        expect(await client.next(1)).to.deep.include({ event: 'end', data: { reason } });
        await client.closed;
        const late = await watch(session_id);
        expect(late.status).to.equal(200);
        expect(await late.next()).to.deep.include({ event: 'end', data: { reason } });
        await late.closed;
        const wrong = await watch(session_id.slice(0, 16) + (await make()).slice(16));
        expect(wrong.status).to.equal(401);
      });
    }

    it('tells of the end of everybody', async () => {
      const session_id = await make();
      const client = await watch(session_id);
      await client.next();
      await post('end_all', { everyone: true });
      expect(await client.next(1)).to.deep.include({ event: 'end', data: { reason: 'everyone' } });
      expect((await watch(session_id)).status).to.equal(401);
    });

    it('is a 401 without an id, and with one that is none, a 400 with parameters', async () => {
      const none = await WatchClient.open(api.server.url, {});
      await none.closed;
      expect([none.status, JSON.parse(none.text).code]).to.deep.equal([401, 'session_required']);
      const unknown = await watch('A'.repeat(43));
      await unknown.closed;
      expect(unknown.status).to.equal(401);
      const { message } = errors.session_not_found;
      expect(JSON.parse(unknown.text)).to.include({ code: 'session_not_found', error: message });
      expect((await watch('nonsense')).status).to.equal(401);
      const extra = await api.get('/sessman/watch?userid=ann', { headers: { 'X-Session-Id': await make() } });
      expect([extra.status, extra.body.code]).to.deep.equal([400, 'unknown_parameter']);
    });

    if (name === 'embedded') {
      it('is a 503 where the session is damaged, which says nothing of an end', async () => {
        const session_id = await make();
        const path = `${api.server.folder}/data/sessman/store/sessions.mdb`;
        const whole = await readFile(path);
        const file = await open(path, 'r+');
        for (let at = whole.indexOf(userid); at >= 0; at = whole.indexOf(userid, at + 1))
          await file.write('U', at);
        await file.close();
        const damaged = await watch(session_id);
        await damaged.closed;
        expect([damaged.status, JSON.parse(damaged.text).code]).to.deep.equal([503, 'store_damaged']);
      });
    }

    it('keeps nothing of a stream that was refused', async () => {
      const unknown = await make();
      await post('end', { session_id: unknown });
      const refuse = () => watch(`${unknown.slice(0, -1)}${unknown.endsWith('A') ? 'E' : 'A'}`);
      const before = queryObjects(PassThrough, { format: 'count' });
      for (let i = 0; i < 5; i += 1) expect((await refuse()).status).to.equal(401);
      expect(queryObjects(PassThrough, { format: 'count' })).to.be.at.most(before);
    });

    it('closes the oldest of more than 20 streams of a session', async () => {
      const session_id = await make();
      const first = await watch(session_id);
      for (let n = 0; n < 19; n++) await (await watch(session_id)).next();
      const last = await watch(session_id);
      await first.closed;
      expect(first.told.map(({ event }) => event)).to.deep.equal(['session']);
      await post('end', { session_id });
      for (const client of clients.slice(1)) expect((await client.next(1)).event).to.equal('end');
      expect(await last.next(1)).to.deep.include({ data: { reason: 'end' } });
    });

    it('tells a plugin of each end in any worker, and who', async () => {
      const plugin = `
        import { definePlugin } from 'plugin-server';
        export default definePlugin({
          after: ['sessman'],
          setup({ router, plugin }) {
            const heard = [];
            plugin('sessman').on('ended', (ended) => heard.push(ended));
            router.get('/', (ctx) => { ctx.body = heard; });
          },
        });`;
      const gone = await make();
      await post('end', { session_id: gone });
      const given: object = JSON.parse(JSON.stringify(await (name === 'embedded' ? {} : sameSettings())));
      const path = name === 'embedded' ? { path: `${api.server.folder}/data/sessman/store` } : {};
      const third = await startApi(
        { ...given, ...path },
        { ini: `${ini}[paths]\nplugins=plugins\n`, files: { 'plugins/ears.mjs': plugin } },
      );
      try {
        const session_id = await make();
        await post('end_all', { userid });
        const wanted = [
          { reason: 'end', handle: gone.slice(0, 16), userid },
          { reason: 'end_all', handle: session_id.slice(0, 16), userid },
        ];
        for (;;) {
          const heard: { userid?: string }[] = (await third.get('/ears', { headers: auth })).body;
          const mine = heard.filter((ended) => ended.userid === userid);
          if (mine.length < 2) continue;
          expect(mine).to.have.deep.members(wanted);
          break;
        }
        await post('end_all', { everyone: true });
        for (;;) {
          const heard: object[] = (await third.get('/ears', { headers: auth })).body;
          if (heard.some((ended) => JSON.stringify(ended) === '{"reason":"everyone"}')) break;
        }
      } finally {
        await third.close();
      }
    });

    const sameSettings = async (): Promise<object> =>
      JSON.parse(await readSettings(api.server.folder)) as object;
  });

  describe(`watch by cookie on the ${name} store`, () => {
    let at: CookieApi;
    const clients: WatchClient[] = [];
    before(async () => {
      const origins = { cookie_origins: ['https://app.shop.example'] };
      at = await startCookieApi({ ...(await settings()), ...origins });
    });
    after(() => at?.api.close());
    afterEach(() => {
      for (const client of clients.splice(0)) client.close();
    });

    const watch = async (headers: Record<string, string>): Promise<WatchClient> => {
      const client = await WatchClient.open(at.api.server.url, headers);
      clients.push(client);
      return client;
    };
    const refusal = async (client: WatchClient) => {
      await client.closed;
      return [client.status, JSON.parse(client.text).code];
    };

    it('tells of the session in the cookie, and of its end', async () => {
      const { id } = await at.login(aUser());
      const client = await watch({ ...at.cookie(id), 'Sec-Fetch-Site': 'same-origin' });
      expect(client.status).to.equal(200);
      expect(await client.next()).to.deep.include({ event: 'session' });
      const reply = await at.api.post('/sessman/end', {}, { headers: at.cookie(id) });
      expect(reply.status, reply.text).to.equal(200);
      expect(await client.next(1)).to.deep.include({ event: 'end', data: { reason: 'end' } });
      await client.closed;
      const late = await watch(at.cookie(id));
      expect(await late.next()).to.deep.include({ event: 'end', data: { reason: 'end' } });
    });

    it('finds the live session among several cookies', async () => {
      const { id } = await at.login(aUser());
      const Cookie = `PS_SESSID=${'A'.repeat(43)}; PS_SESSID=${id}`;
      expect(await (await watch({ Cookie })).next()).to.deep.include({ event: 'session' });
    });

    it('is a 401 where none of several cookies is that of a live session, or more than one', async () => {
      const dead = { Cookie: `PS_SESSID=${'A'.repeat(43)}; PS_SESSID=${'B'.repeat(42)}A` };
      expect(await refusal(await watch(dead))).to.deep.equal([401, 'session_not_found']);
      const shown = { 'X-Session-Handle': 'A'.repeat(16) };
      expect(await refusal(await watch({ ...dead, ...shown }))).to.deep.equal([404, 'session_not_found']);
      const [one, two] = [await at.login(aUser()), await at.login(aUser())];
      const both = await watch({ Cookie: `PS_SESSID=${one.id}; PS_SESSID=${two.id}` });
      expect(await refusal(both)).to.deep.equal([401, 'session_required']);
    });

    it('takes the id in X-Session-Id before a cookie', async () => {
      const [one, two] = [await at.login(aUser()), await at.login(aUser())];
      const named = await watch({ ...at.cookie(one.id), 'X-Session-Id': two.id });
      await named.next();
      await at.api.post('/sessman/end', {}, { headers: { ...at.key, 'X-Session-Id': two.id } });
      expect(await named.next(1)).to.deep.include({ event: 'end', data: { reason: 'end' } });
    });

    it('is a 401 without a cookie or with a dead one, a 404 for another session than the page shows', async () => {
      expect(await refusal(await watch({}))).to.deep.equal([401, 'session_required']);
      const dead = await watch(at.cookie('A'.repeat(43)));
      expect(await refusal(dead)).to.deep.equal([401, 'session_not_found']);
      const [mine, other] = [await at.login(aUser()), await at.login(aUser())];
      const meant = await watch({ ...at.cookie(mine.id), 'X-Session-Handle': mine.handle });
      expect(meant.status).to.equal(200);
      const replaced = await watch({ ...at.cookie(other.id), 'X-Session-Handle': mine.handle });
      expect(await refusal(replaced)).to.deep.equal([404, 'session_not_found']);
    });

    it('is for pages of its own origin and those of cookie_origins', async () => {
      const { id } = await at.login(aUser());
      const own = new URL(at.api.server.url).origin;
      for (const headers of <Record<string, string>[]>[
        { Origin: 'https://app.shop.example', 'Sec-Fetch-Site': 'same-site' },
        { Origin: own },
        { 'Sec-Fetch-Site': 'none' },
      ])
        expect((await watch({ ...at.cookie(id), ...headers })).status).to.equal(200);
      for (const headers of <Record<string, string>[]>[
        { Origin: 'https://evil.example' },
        { Origin: 'https://evil.example', 'Sec-Fetch-Site': 'cross-site' },
        { Origin: 'null' },
        { 'Sec-Fetch-Site': 'same-site' },
      ]) {
        const client = await watch({ ...at.cookie(id), ...headers });
        expect(await refusal(client), JSON.stringify(headers)).to.deep.equal([403, 'foreign_origin']);
      }
    });
  });

  it(`watch tells of an end by time on the ${name} store`, async () => {
    const api = await startApi({ ...(await settings()), session_ttl: 3 });
    try {
      const { body } = await api.post('/sessman/new', { userid: aUser() });
      const client = await WatchClient.open(api.server.url, { 'X-Session-Id': body.session_id });
      expect(await client.next(1)).to.deep.include({ event: 'end', data: { reason: 'expired' } });
      await client.closed;
    } finally {
      await api.close();
    }
  });
}

describe('watch', () => {
  it('tells of an end by age, and sends clients away when the server drains, also those that come then', async () => {
    const api = await startApi({ session_max_age: 60 });
    try {
      const { body } = await api.post('/sessman/new', { userid: aUser() });
      const headers = { 'X-Session-Id': body.session_id };
      const client = await WatchClient.open(api.server.url, headers);
      const { version, updated_at, expires_at } = body;
      expect((await client.next()).data).to.deep.equal({ version, updated_at, expires_at });
      expect(Date.parse(expires_at) - Date.parse(body.created_at)).to.equal(60_000);
      // A connection that has had an answer is still open for a moment.
      const agent = new Agent({ keepAlive: true });
      const send = async (path: string): Promise<IncomingMessage> =>
        (await once(get(`${api.server.url}${path}`, { agent, headers }), 'response'))[0];
      await text(await send('/livez'));
      const drained = api.server.host.drain({ idle: 3_600_000 });
      const late = text(await send('/sessman/watch'));
      await client.closed;
      const away = ['session', undefined];
      expect(client.told.map(({ event }) => event)).to.deep.equal(away);
      expect(client.told[1]!.retry).to.be.within(1000, 5000);
      expect(await late).to.match(/^event: session\ndata: \{.*\}\n\nretry: \d+\n\n$/);
      agent.destroy();
      await api.server.host.drain({ idle: 0 });
      await drained;
    } finally {
      await api.close();
    }
  });

  it('is a 503 while the store cannot be read', async () => {
    const at = await startCookieApi({ server_url: '127.0.0.1:1/?serverSelectionTimeoutMS=50' });
    try {
      const [one, two] = ['A', 'B'].map((letter) => `${letter.repeat(42)}A`);
      for (const headers of <Record<string, string>[]>[
        { 'X-Session-Id': one },
        { Cookie: `PS_SESSID=${one}` },
        { Cookie: `PS_SESSID=${one}; PS_SESSID=${two}` },
      ]) {
        const refused = await at.api.get('/sessman/watch', { headers });
        expect([refused.status, refused.body.code]).to.deep.equal([503, 'store_unavailable']);
      }
    } finally {
      await at.api.close();
    }
  });

  it('is described in the OpenAPI document', async () => {
    const api = await startApi();
    try {
      const { get: described } = (await api.get('/openapi.json')).body.paths['/sessman/watch'];
      expect(described.operationId).to.equal('sessman_watch_get');
      const [{ description, ...parameter }, ...more] = described.parameters;
      expect(more).to.deep.equal([]);
      expect(description).to.be.a('string');
      expect(parameter).to.deep.equal({ name: 'X-Session-Id', in: 'header', schema: { type: 'string' } });
      expect(described.responses).to.include.keys('200', '401');
      const { schema, example } = described.responses['200'].content['text/event-stream'];
      expect(schema).to.deep.equal({ type: 'string' });
      const events = example.split('\n\n').map((event: string) => event.split('\ndata: '));
      expect(events.map(([name]: string[]) => name)).to.deep.equal(['event: session', 'event: end', '']);
      expect(JSON.parse(events[0][1])).to.have.keys('version', 'updated_at', 'expires_at');
      expect(JSON.parse(events[1][1])).to.deep.equal({ reason: 'end_all' });
    } finally {
      await api.close();
    }
  });
});

async function readSettings(folder: string): Promise<string> {
  return readFile(`${folder}/sessman.json`, 'utf8');
}
