import { expect } from 'chai';
import { type Api, aUser, backends, type Reply, startApi } from '../support/api.js';

for (const { name, settings } of backends) {
  describe(`sessman's calls over HTTP on the ${name} store`, () => {
    let api: Api;
    let userid: string;
    before(async () => {
      api = await startApi({ ...(await settings()), record: ['ip', 'user_agent'] });
    });
    after(() => api?.close());
    beforeEach(() => {
      userid = aUser();
    });

    const make = async (data?: object): Promise<string> => {
      const made = await api.post('/sessman/new', { userid, data });
      expect(made.status).to.equal(200);
      return made.body.session_id;
    };
    const read = (session_id: string): Promise<Reply> =>
      api.get(`/sessman/get?${new URLSearchParams({ session_id, userid })}`);

    it('new answers the session it made', async () => {
      const began = Date.now();
      const made = await api.post('/sessman/new', { userid, data: { a: 1 } });
      expect(made.status).to.equal(200);
      expect(Object.keys(made.body)).to.deep.equal([
        'session_id',
        'handle',
        'userid',
        'data',
        'version',
        'created_at',
        'updated_at',
        'expires_at',
        'authenticated_at',
      ]);
      expect(made.body.handle).to.equal(made.body.session_id.slice(0, 16));
      expect(made.body.authenticated_at).to.equal(made.body.created_at);
      expect(made.body).to.include({ userid, version: 1 });
      expect(made.body.data).to.deep.equal({ a: 1 });
      expect(made.body.session_id).to.match(/^[\w-]{43}$/);
      for (const time of ['created_at', 'updated_at', 'expires_at']) {
        expect(made.body[time]).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      }
      // By the store's clock.
      expect(Date.parse(made.body.created_at)).to.be.within(began - 2000, Date.now() + 2000);
      expect(Date.parse(made.body.expires_at) - Date.parse(made.body.created_at)).to.equal(86_400_000);
      expect(made.headers.get('etag')).to.equal('"1"');
      expect(made.headers.get('cache-control')).to.equal('no-store');
      expect(made.headers.get('content-type')).to.equal('application/json; charset=utf-8');
    });

    it('new takes its parameters from a form, and none from an empty body of any type', async () => {
      for (const [type, body, query] of [
        ['application/x-www-form-urlencoded', new URLSearchParams({ userid }).toString(), ''],
        ['application/x-www-form-urlencoded', '', `?userid=${encodeURIComponent(userid)}`],
        ['text/plain', '', `?userid=${encodeURIComponent(userid)}`],
        ['', '', `?&&user=${encodeURIComponent(userid)}&`],
      ] as const) {
        const headers: Record<string, string> = type === '' ? {} : { 'Content-Type': type };
        const made = await api.post(`/sessman/new${query}`, undefined, { headers, body });
        expect([made.status, made.body.userid], `${type} ${body}`).to.deep.equal([200, userid]);
      }
    });

    it('new makes an empty session without a body', async () => {
      const made = await api.post(`/sessman/new?userid=${encodeURIComponent(userid)}`);
      expect(made.status).to.equal(200);
      expect(made.body.data).to.deep.equal({});
    });

    it('get reads it by GET and POST, from query, body and header', async () => {
      const session_id = await make({ ü: ['🐢', { $set: null }] });
      const first = await read(session_id);
      expect(first.status).to.equal(200);
      expect(first.body.data).to.deep.equal({ ü: ['🐢', { $set: null }] });
      expect(first.headers.get('etag')).to.equal('"1"');
      const query = `?${new URLSearchParams({ sessionid: session_id, user: userid })}`;
      for (const reply of [
        await api.get(`/sessman/get${query}`),
        await api.post(`/sessman/get${query}`),
        await api.post('/sessman/get', { session_id, userid }),
        await api.post('/sessman/get', { sessionid: session_id, user: userid }),
        await api.get('/sessman/get', { headers: { 'X-Session-Id': session_id } }),
        await api.get(`/sessman/get?user=${encodeURIComponent(userid)}`, {
          headers: { 'X-Session-Id': session_id },
        }),
        await api.post(
          `/sessman/get${query}`,
          { session_id, userid },
          { headers: { 'X-Session-Id': session_id } },
        ),
      ]) {
        expect(reply.status, reply.text).to.equal(200);
        expect(reply.body).to.deep.equal(first.body);
      }
    });

    it('get by a handle is for callers with a key, and a request that names two sessions is a 400', async () => {
      const at = await startApi(await settings(), { ini: '[auth]\napikey=the-key\n' });
      try {
        const headers = { 'X-Custom-Auth': 'the-key' };
        const made = await at.post('/sessman/new', { userid, data: { a: 1 }, apikey: 'the-key' });
        const { session_id, handle, ...rest } = made.body;
        const query = `?${new URLSearchParams({ userid, handle })}`;
        for (const reply of [
          await at.get(`/sessman/get${query}`, { headers }),
          await at.post('/sessman/get', { userid, handle, apikey: 'the-key' }),
        ]) {
          expect(reply.status, reply.text).to.equal(200);
          expect(reply.body).to.deep.equal({ handle, ...rest });
        }
        expect((await at.get(`/sessman/get${query}`)).body.code).to.equal('api_key_required');
        const byId = await at.get(`/sessman/get${query}`, {
          headers: { ...headers, 'X-Session-Id': session_id },
        });
        expect(byId.body).to.deep.equal(made.body);
        const other = await at.post('/sessman/get', { userid, handle, session_id: 'x' }, { headers });
        expect([other.status, other.body.code]).to.deep.equal([400, 'conflicting_parameter']);
      } finally {
        await at.close();
      }
    });

    it('HEAD answers as GET does, without a body', async () => {
      const session_id = await make();
      const head = await api.get('/sessman/get', { method: 'HEAD', headers: { 'X-Session-Id': session_id } });
      expect(head.status).to.equal(200);
      expect(head.headers.get('etag')).to.equal('"1"');
      expect(head.text).to.equal('');
    });

    it('update replaces the data', async () => {
      const session_id = await make({ a: 1 });
      const updated = await api.post(`/sessman/update?session_id=${session_id}`, { data: { b: 2 } });
      expect(updated.status).to.equal(200);
      expect(updated.body).to.include({ session_id, userid, version: 2 });
      expect(updated.body.data).to.deep.equal({ b: 2 });
      expect(updated.headers.get('etag')).to.equal('"2"');
      expect((await read(session_id)).body).to.deep.equal(updated.body);
    });

    it('update takes a version, or If-Match', async () => {
      const session_id = await make();
      const update = (body: object, ifMatch?: string) =>
        api.post(
          '/sessman/update',
          { session_id, ...body },
          { headers: ifMatch ? { 'If-Match': ifMatch } : {} },
        );
      expect((await update({ data: { n: 1 }, version: 1 })).body.version).to.equal(2);
      expect((await update({ data: { n: 2 } }, '"2"')).body.version).to.equal(3);
      expect((await update({ data: { n: 3 }, version: 3 }, '"3"')).body.version).to.equal(4);
      expect((await update({ data: { n: 4 } }, '*')).body.version).to.equal(5);
      for (const stale of [await update({ data: {}, version: 1 }), await update({ data: {} }, '"4"')]) {
        expect(stale.status).to.equal(412);
        expect(stale.body).to.include({ code: 'version_mismatch', version: 5 });
        expect(stale.body.request_id).to.be.a('string');
      }
      expect((await read(session_id)).body.data).to.deep.equal({ n: 4 });
    });

    it('a list in If-Match allows each version that it names', async () => {
      const session_id = await make();
      const changed = async (call: string, ifMatch: string, version?: number) =>
        (
          await api.post(
            `/sessman/${call}`,
            { session_id, data: { ifMatch }, ...(version !== undefined && { version }) },
            { headers: { 'If-Match': ifMatch } },
          )
        ).body.version;
      let version = 1;
      for (const list of [
        '"7", "N"',
        '"N","7"',
        'W/"7", "N"',
        ', "N" ,',
        '"N", W/"N"',
        'W/"a,b", "N"',
        '"N"',
      ]) {
        expect(await changed('update', list.replace('N', `${version}`)), list).to.equal(++version);
        expect(await changed('patch', list.replace('N', `${version}`)), list).to.equal(++version);
      }
      expect(await changed('update', `"1", "${version}"`, version)).to.equal(version + 1);
    });

    it('of many changes that allow the same versions, one for each version is made', async () => {
      const session_id = await make();
      const replies = await Promise.all(
        Array.from({ length: 30 }, (_, n) =>
          api.post(
            '/sessman/update',
            { session_id, data: { n } },
            { headers: { 'If-Match': '"1", "2", "3"' } },
          ),
        ),
      );
      const statuses = replies.map(({ status }) => status).sort();
      expect(statuses).to.deep.equal([...Array(3).fill(200), ...Array(27).fill(412)]);
      expect((await read(session_id)).body.version).to.equal(4);
    });

    it('takes a user for the same however the URL writes the name', async () => {
      const name = `jürg 100% ${userid}`;
      await api.post('/sessman/new', { userid: name });
      const percent = encodeURIComponent(name);
      for (const written of [
        percent,
        percent.toLowerCase(),
        percent.replaceAll('%20', '+'),
        percent.replace('j', '%6a').replace('%25', '%'),
      ]) {
        const { body, text } = await api.get(`/sessman/list?userid=${written}`);
        expect(body.sessions, `${written} ${text}`).to.have.length(1);
      }
    });

    it('patch changes only the named members', async () => {
      const session_id = await make({ a: 1, b: { c: 1, d: 1 } });
      const patched = await api.post('/sessman/patch', { session_id, data: { a: null, b: { c: 2 } } });
      expect(patched.status).to.equal(200);
      expect(patched.body.version).to.equal(2);
      expect(patched.body.data).to.deep.equal({ b: { c: 2, d: 1 } });
      const stale = await api.post('/sessman/patch', { session_id, data: { x: 1 }, version: 1 });
      expect(stale.status).to.equal(412);
    });

    it('64 concurrent patches of different members keep all 64', async () => {
      const session_id = await make();
      const replies = await Promise.all(
        Array.from({ length: 64 }, (_, n) =>
          api.post('/sessman/patch', { session_id, data: { [`n${n}`]: n } }),
        ),
      );
      expect(replies.map(({ status }) => status)).to.deep.equal(Array(64).fill(200));
      expect(Object.keys((await read(session_id)).body.data)).to.have.length(64);
    });

    it('64 concurrent updates of one version: one 200, 63 times 412', async () => {
      const session_id = await make();
      const replies = await Promise.all(
        Array.from({ length: 64 }, (_, n) =>
          api.post('/sessman/update', { session_id, version: 1, data: { n } }),
        ),
      );
      const statuses = replies.map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).to.have.length(1);
      expect(statuses.filter((status) => status === 412)).to.have.length(63);
    });

    it('touch moves the end alone', async () => {
      const session_id = await make({ a: 1 });
      const before = (await read(session_id)).body;
      const touched = await api.post(`/sessman/touch?session_id=${session_id}`);
      expect(touched.status).to.equal(200);
      expect(touched.body).to.deep.equal({
        ...before,
        updated_at: touched.body.updated_at,
        expires_at: touched.body.expires_at,
      });
      expect(touched.body.expires_at >= before.expires_at).to.equal(true);
    });

    it('renew gives a new id, and the old one is gone', async () => {
      const session_id = await make({ a: 1 });
      const renewed = await api.post('/sessman/renew', { session_id, userid });
      expect(renewed.status).to.equal(200);
      expect(renewed.body.data).to.deep.equal({ a: 1 });
      expect(renewed.body.session_id).not.to.equal(session_id);
      expect((await read(session_id)).status).to.equal(404);
      expect((await read(renewed.body.session_id)).body).to.deep.equal(renewed.body);
    });

    it('end ends it once', async () => {
      const session_id = await make();
      const ended = await api.post('/sessman/end', { session_id });
      expect(ended.status).to.equal(200);
      expect(ended.body).to.deep.equal({ ended: 1 });
      const again = await api.post('/sessman/end', { session_id });
      expect(again.status).to.equal(404);
      expect(again.body.code).to.equal('session_not_found');
      expect((await read(session_id)).status).to.equal(404);
    });

    it('list shows handles and times, the newest first, and end takes a handle', async () => {
      const one = await make({ a: 1 });
      const two = await make({ a: 2 });
      const listed = await api.get(`/sessman/list?userid=${encodeURIComponent(userid)}`);
      expect(listed.status).to.equal(200);
      const { sessions } = listed.body;
      expect(sessions).to.have.length(2);
      for (const entry of sessions) {
        expect(Object.keys(entry)).to.deep.equal([
          'handle',
          'created_at',
          'updated_at',
          'expires_at',
          'authenticated_at',
        ]);
      }
      expect(sessions.map(({ handle }: { handle: string }) => handle)).to.have.members(
        [one, two].map((id) => id.slice(0, 16)),
      );
      expect(sessions[0].created_at >= sessions[1].created_at).to.equal(true);
      expect((await api.post('/sessman/list', { userid })).body).to.deep.equal(listed.body);
      expect((await api.post('/sessman/end', { userid, handle: one.slice(0, 16) })).body).to.deep.equal({
        ended: 1,
      });
      expect((await read(one)).status).to.equal(404);
      expect((await read(two)).status).to.equal(200);
    });

    it('list shows what new and renew were told, and which session asks', async () => {
      const about = { device: 'phone' };
      const told = { about, ip: '203.0.113.7', user_agent: 'Browser/1' };
      const made = await api.post('/sessman/new', { userid, remember: false, ...told });
      expect(made.status).to.equal(200);
      const headers = { 'X-Session-Id': made.body.session_id };
      const { sessions } = (await api.get(`/sessman/list?user=${encodeURIComponent(userid)}`, { headers }))
        .body;
      expect(sessions).to.have.length(1);
      expect(sessions[0]).to.deep.include({ about, ip: told.ip, user_agent: 'Browser/1', current: true });
      const renewed = await api.post('/sessman/renew?authenticated=true', { about: {} }, { headers });
      expect(renewed.status).to.equal(200);
      expect(renewed.body.authenticated_at).to.equal(renewed.body.updated_at);
      const again = (await api.post('/sessman/list', { userid })).body.sessions[0];
      expect(again).to.deep.include({ about: {}, ip: told.ip, authenticated_at: renewed.body.updated_at });
      expect(again).not.to.have.property('current');
      for (const [name, value] of Object.entries({
        remember: 'yes',
        about: 'phone',
        ip: 'here',
        user_agent: 1,
      })) {
        const refused = await api.post('/sessman/new', { userid, [name]: value });
        expect([refused.status, refused.body.code], name).to.deep.equal([400, 'invalid_parameter']);
      }
    });

    it("sessions lists everybody's, a page at a time", async () => {
      const users = [`${userid} a`, `${userid} b`, `${userid} b`];
      for (const each of users)
        await api.post('/sessman/new', { userid: each, about: { n: 1 }, data: { a: 1 } });
      const query = (more: Record<string, string>) =>
        api.get(`/sessman/sessions?${new URLSearchParams(more)}`);
      const first = await query({ userid_prefix: userid, limit: '2' });
      expect(first.status).to.equal(200);
      expect(first.body.sessions.map((entry: { userid: string }) => entry.userid)).to.deep.equal(
        users.slice(0, 2),
      );
      expect(Object.keys(first.body.sessions[0])).to.deep.equal([
        'userid',
        'handle',
        'created_at',
        'updated_at',
        'expires_at',
        'authenticated_at',
        'about',
      ]);
      await api.post('/sessman/end_all', { userid: users[1] });
      await api.post('/sessman/new', { userid: `${userid} c` });
      const last = await query({ userid_prefix: userid, limit: '2', after: first.body.next });
      expect(last.body.sessions.map((entry: { userid: string }) => entry.userid)).to.deep.equal([
        `${userid} c`,
      ]);
      expect(last.body.next).to.equal(null);

      const handles: string[] = [];
      for (let after = ''; ; ) {
        const { body } = await query({ limit: '1', ...(after && { after }) });
        handles.push(...body.sessions.map(({ handle }: { handle: string }) => handle));
        if (body.next === null) break;
        after = body.next;
      }
      const all = (await query({ limit: '1000' })).body;
      expect(handles).to.deep.equal(all.sessions.map(({ handle }: { handle: string }) => handle));
      expect(all.next).to.equal(null);
      const wrongs: Record<string, string>[] = [
        { limit: '0' },
        { limit: '1001' },
        { limit: 'x' },
        { after: 'x' },
        { after: first.body.next },
        { after: handles[0]!, userid_prefix: userid },
      ];
      for (const wrong of wrongs) {
        const refused = await query(wrong);
        expect([refused.status, refused.body.code], JSON.stringify(wrong)).to.deep.equal([
          400,
          'invalid_parameter',
        ]);
      }
    });

    it('end_all keeps the session that asks, or the one of a handle', async () => {
      const kept = await make();
      for (const except of ['current', kept.slice(0, 16)]) {
        await make();
        const headers = { 'X-Session-Id': kept };
        const ended = await api.post('/sessman/end_all', { userid, except }, { headers });
        expect(ended.body).to.deep.equal({ ended: 1 });
        expect((await read(kept)).status).to.equal(200);
      }
      const nobody = await api.post('/sessman/end_all', { userid, except: 'current' });
      expect(nobody.body.code).to.equal('session_not_found');
    });

    it('end_all with everyone ends the sessions of all users at once', async () => {
      const ids = [await make(), await make()];
      const other = (await api.post('/sessman/new', { userid: `${userid}x` })).body.session_id;
      for (const more of [{ userid }, { except: ids[0] }]) {
        const refused = await api.post('/sessman/end_all', { everyone: true, ...more });
        expect([refused.status, refused.body.code]).to.deep.equal([400, 'invalid_parameter']);
      }
      const live = (await api.get('/sessman/sessions?limit=1000')).body.sessions.length;
      const counted = async () =>
        Number(
          /sessman_sessions_ended_total\{reason="everyone",plugin="sessman"\} (\d+)/.exec(
            (await api.get('/metrics')).text,
          )?.[1] ?? 0,
        );
      const before = await counted();
      const racing = Promise.all(Array.from({ length: 20 }, () => make()));
      const ended = await api.post('/sessman/end_all?everyone=true');
      expect(ended.status).to.equal(200);
      expect(await counted()).to.equal(before + ended.body.ended);
      expect(Object.keys(ended.body)).to.deep.equal(['ended']);
      expect(ended.body.ended).to.be.within(live, live + 20);
      for (const session_id of [...ids, other]) {
        for (const call of ['get', 'touch', 'update', 'patch', 'renew', 'end']) {
          const body = call === 'update' || call === 'patch' ? { data: {} } : undefined;
          const dead = await api.post(`/sessman/${call}`, body, { headers: { 'X-Session-Id': session_id } });
          expect([dead.status, dead.body.code], call).to.deep.equal([404, 'session_not_found']);
        }
      }
      const after = await make();
      expect((await read(after)).status).to.equal(200);
      const shown = (await api.get('/sessman/sessions?limit=1000')).body.sessions;
      for (const id of await racing) {
        const isLive = (await read(id)).status === 200;
        expect(shown.some(({ handle }: { handle: string }) => id.startsWith(handle))).to.equal(isLive);
      }
    });

    it('says in words what is wrong with a parameter', async () => {
      const session_id = await make();
      const version = 'is not a whole number; send it as in the response, such as 7';
      for (const [path, body, says] of <[string, object, string][]>[
        ['list', { userid: 5 }, '"userid" is not text; write "5".'],
        ['list', { userid: true }, '"userid" is not text; write "true".'],
        ['list', { userid: null }, '"userid" is null, not text.'],
        ['list', { userid: [] }, '"userid" is an array, not text.'],
        ['list', { userid: {} }, '"userid" is an object, not text.'],
        ['list', { userid, session_id: {} }, '"session_id" is an object, not text.'],
        ['new', { userid, ip: {} }, '"ip" is an object, not text.'],
        ['new', { userid, user_agent: [] }, '"user_agent" is an array, not text.'],
        ['new', { userid, remember: 'x' }, '"remember" is neither true nor false.'],
        ['new', { userid, about: [] }, '"about" is not a JSON object; write it as {"device": "phone"}.'],
        ['renew', { session_id, authenticated: 1 }, '"authenticated" is neither true nor false.'],
        ['end', { userid, handle: 1 }, '"handle" is not text; write "1".'],
        [
          'end',
          {},
          'The parameter "session_id" is missing. This call accepts session_id, userid (optional).',
        ],
        [
          'end',
          { handle: session_id.slice(0, 16) },
          'The parameter "userid" is missing. This call accepts userid, handle.',
        ],
        ['end_all', {}, 'The parameter "userid" is missing. This call accepts userid, except (optional).'],
        ['end_all', { userid, except: [] }, '"except" is an array, not text.'],
        ['end_all', { everyone: 'true' }, '"everyone" is neither true nor false.'],
        ['end_all', { everyone: true, userid }, '"everyone" is for all users; leave out userid.'],
        ['end_all', { everyone: true, except: 'x' }, '"everyone" is for all users; leave out except.'],
        ['update', { session_id, data: {}, version: -1 }, `"version" ${version}.`],
        ['update', { session_id, data: {}, version: '1' }, `"version" ${version}.`],
        ['update?version=1.5', { session_id, data: {} }, `"version" ${version}.`],
        [
          'update',
          { session_id, data: [] },
          '"data" is not a JSON object. Write it as {"data": {"name": "value"}}.',
        ],
      ]) {
        const { status, body: told } = await api.post(`/sessman/${path}`, body);
        expect([status, told.error], `${path} ${JSON.stringify(body)}`).to.deep.equal([400, says]);
      }
      for (const limit of ['0', '1001', '1.5', 'x', ''])
        expect((await api.get(`/sessman/sessions?limit=${limit}`)).body.error).to.equal(
          '"limit" is not a whole number from 1 to 1000.',
        );
      for (const query of ['limit=1', 'limit=1000', 'after=&userid_prefix='])
        expect((await api.get(`/sessman/sessions?${query}`)).status, query).to.equal(200);
      const empty = { session_id: '', ip: '', user_agent: '' };
      expect((await api.post('/sessman/new', { userid, ...empty })).status).to.equal(200);
    });

    it('logs whose sessions were ended by others, and how many', async () => {
      const lines = () => api.server.logs.filter(({ event }) => event === 'session_ended');
      const before = lines().length;
      await api.post('/sessman/end', { session_id: await make() });
      await api.post('/sessman/end_all', { userid: `${userid}x` });
      expect(lines()).to.have.length(before);
      const handle = (await make()).slice(0, 16);
      await api.post('/sessman/end', { userid, handle });
      expect(lines().at(-1)).to.include({ audit: true, handle });
      await Promise.all([make(), make()]);
      await api.post('/sessman/end_all', { userid });
      expect(lines().at(-1)).to.include({ count: 2 }).and.not.to.have.property('everyone');
      await make();
      await api.post('/sessman/end_all', { everyone: true });
      expect(lines().at(-1)).to.include({ everyone: true });
      expect(lines()).to.have.length(before + 3);
    });

    it('end_all ends all but one', async () => {
      const ids = [await make(), await make(), await make()];
      const ended = await api.post('/sessman/end_all', { userid, except: ids[1] });
      expect(ended.body).to.deep.equal({ ended: 2 });
      expect((await Promise.all(ids.map(read))).map(({ status }) => status)).to.deep.equal([404, 200, 404]);
      expect((await api.post('/sessman/end_all', { userid })).body).to.deep.equal({ ended: 1 });
      expect((await api.post('/sessman/end_all', { userid })).body).to.deep.equal({ ended: 0 });
    });

    it('counts what it does under /metrics', async () => {
      const count = async (line: string) => {
        const { text } = await api.get('/metrics');
        return Number(
          text
            .split('\n')
            .find((each) => each.startsWith(`${line} `))
            ?.split(' ')
            .at(-1) ?? 0,
        );
      };
      const made = 'sessman_sessions_made_total{plugin="sessman"}';
      const ended = 'sessman_sessions_ended_total{reason="end",plugin="sessman"}';
      const inserts = 'sessman_store_operation_duration_seconds_count{operation="insert",plugin="sessman"}';
      const before = [await count(made), await count(ended), await count(inserts)];
      const session_id = await make();
      expect(await count('sessman_sessions{plugin="sessman"}')).to.be.at.least(1);
      await api.post('/sessman/end', { session_id });
      expect([await count(made), await count(ended), await count(inserts)]).to.deep.equal(
        before.map((n) => n + 1),
      );
    });

    it('is ready while its store works', async () => {
      expect((await api.get('/readyz?verbose')).body.checks).to.include({
        sessman: 'ok',
        'sessman/store': 'ok',
        'sessman/clock': 'ok',
      });
    });
  });
}

describe('expired sessions', () => {
  it('are removed from the store after removal_delay, and counted', async () => {
    const api = await startApi({ session_ttl: 1, removal_delay: 1 });
    try {
      const count = async (name: string) => {
        const line = new RegExp(`^${name}\\{plugin="sessman"\\} (\\d+)$`, 'm');
        return Number(line.exec((await api.get('/metrics')).text)?.[1]);
      };
      const made = [];
      for (const userid of ['ann', 'ben']) made.push((await api.post('/sessman/new', { userid })).body);
      while ((await count('sessman_sessions_expired_total')) < 2)
        await new Promise((resolve) => setTimeout(resolve, 50));
      for (const { expires_at } of made) expect(Date.now() - Date.parse(expires_at)).to.be.at.least(1000);
      expect(await count('sessman_sessions_made_total')).to.equal(2);
      expect(await count('sessman_sessions')).to.equal(0);
    } finally {
      await api.close();
    }
  });
});

describe("sessman's calls for operators, with [admin]", () => {
  let api: Api;
  before(async () => {
    api = await startApi({}, { ini: '[admin]\nport=int:0\n' });
  });
  after(() => api?.close());

  it('the sessions of all users are ended and listed at that address alone', async () => {
    const [admin] = api.server.host.adminUrls;
    const ask = async (url: string, path: string, body?: string) => {
      const reply = await fetch(`${url}/sessman/${path}`, {
        method: path.startsWith('sessions') ? 'GET' : 'POST',
        ...(body && { body, headers: { 'Content-Type': 'application/json' } }),
      });
      const { code = reply.status, error } = (await reply.json()) as { code?: string; error?: string };
      if (code === 'operators_only') expect(error).to.include('[admin]');
      return code;
    };
    for (const [path, body, here, there] of <const>[
      ['end_all?everyone=true', undefined, 'operators_only', 200],
      ['end_all', '{"everyone":true}', 'operators_only', 200],
      ['end_all?everyone=maybe', undefined, 'operators_only', 'invalid_parameter'],
      ['end_all?everyone=false&userid=eve', undefined, 200, 200],
      ['end_all', '{"everyone":false,"userid":"eve"}', 200, 200],
      ['end_all?userid=eve', '[]', 'invalid_body', 'invalid_body'],
      ['sessions', undefined, 'not_found', 200],
    ]) {
      expect(await ask(api.server.url, path, body), `${path} ${body}`).to.equal(here);
      expect(await ask(admin!, path, body), `${path} ${body}`).to.equal(there);
    }
  });
});
