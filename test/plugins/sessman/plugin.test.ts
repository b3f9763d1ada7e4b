import { Validator } from '@seriousme/openapi-schema-validator';
import { expect } from 'chai';
import { calls } from '../../../plugins/sessman/http/calls.js';
import { parameters, parametersOf, type Takes } from '../../../plugins/sessman/http/parameters.js';
import { type Api, startApi, startCookieApi } from './support/api.js';

describe('sessman as a plugin', () => {
  let api: Api;
  before(async () => {
    api = await startApi(
      {},
      {
        ini: '[paths]\nplugins=plugins\n',
        files: {
          'plugins/visits.mjs': `
            import { runInNewContext } from 'node:vm';
            import { definePlugin } from 'plugin-server';
            export default definePlugin({
              after: ['sessman'],
              setup({ router, plugin }) {
                const sessions = plugin('sessman');
                router.get('/:user', async (ctx) => {
                  const { id } = await sessions.create(ctx.params.user, { visits: 0 });
                  await sessions.patch(id, { visits: 1 });
                  ctx.body = (await sessions.get(id, ctx.params.user)).data;
                });
                router.get('/:user/objects', async (ctx) => {
                  const created = await sessions.create(ctx.params.user, { visits: 0 });
                  const { id } = created;
                  const read = await sessions.get(id);
                  const first = { ...read.data };
                  read.data.visits += 1;
                  const updated = await sessions.update(id, { ...read.data, last: null, gone: undefined }, { version: 1 });
                  const patched = await sessions.patch(id, { last: null });
                  const touched = await sessions.touch(id);
                  const renewed = await sessions.renew(id, { about: { device: 'phone' } });
                  await sessions.renew(renewed.id, { userid: 'nobody' }).catch(() => {});
                  const told = (await sessions.list(ctx.params.user))[0].about;
                  const other = Object.assign(Object.create(null), { on: true });
                  const plain = await sessions.update(renewed.id, { other, far: runInNewContext('({ a: 1 })') });
                  const nest = (depth) => depth === 0 ? 1 : { a: [nest(depth - 1)] };
                  const deep = await sessions.update(renewed.id, nest(250));
                  const empty = await sessions.create(ctx.params.user);
                  const refusals = [];
                  for (const data of [
                    { a: NaN }, { a: [1, Infinity] }, { a: 10n }, { a: [undefined] }, { a: { b: new Date() } },
                    { a: new Map() }, { a() {} }, [1], 'text', null, { a: Object.create({ b: Object.create({}) }) },
                    { a: Object.create(Object.create(Object.create(null))) }, { a: nest(250) },
                  ]) await sessions.update(renewed.id, data).catch((error) => refusals.push(error.message));
                  await sessions.renew(renewed.id, { about: [] }).catch((error) => refusals.push(error.message));
                  ctx.body = {
                    created: created.data, read: first, updated: updated.data,
                    patched: patched.data, touched: touched.data, renewed: renewed.data, empty: empty.data,
                    told, plain: plain.data, deep: JSON.stringify(deep.data).length, refusals,
                  };
                });
                router.get('/throw/:call', async (ctx) => {
                  const { id, user } = ctx.query;
                  switch (ctx.params.call) {
                    case 'get': return void (await sessions.get(id, user));
                    case 'update': return void (await sessions.update(id, {}, { version: 7 }));
                    case 'large': return void (await sessions.update(id, { a: 'x'.repeat(300_000) }));
                    case 'create': return void (await sessions.create(user, {}, id));
                    case 'endall': return void (await sessions.endAll(user, id));
                    case 'everyone': return void (ctx.body = { ended: await sessions.endEveryone() });
                    case 'endbyhandle': return void (await sessions.endByHandle(user, id));
                  }
                });
              },
            });`,
        },
      },
    );
  });
  after(() => api?.close());

  it('gives its sessions to plugins that come after it', async () => {
    expect((await api.get('/visits/mary')).body).to.deep.equal({ visits: 1 });
    expect((await api.get('/sessman/list?userid=mary')).body.sessions).to.have.length(1);
  });

  it('gives data as objects, and refuses what JSON would change', async () => {
    const { body } = await api.get('/visits/ann/objects');
    expect(body).to.deep.equal({
      created: { visits: 0 },
      read: { visits: 0 },
      updated: { visits: 1, last: null },
      patched: { visits: 1 },
      touched: { visits: 1 },
      renewed: { visits: 1 },
      empty: {},
      told: { device: 'phone' },
      plain: { other: { on: true }, far: { a: 1 } },
      deep: 2001,
      refusals: [
        'session data.a is NaN, which JSON cannot represent',
        'session data.a[1] is Infinity, which JSON cannot represent',
        'session data.a is a bigint, which JSON cannot represent',
        'session data.a[0] is undefined, which JSON cannot represent',
        'session data.a.b is an instance of Date, which JSON cannot represent',
        'session data.a is an instance of Map, which JSON cannot represent',
        'session data.a is a function, which JSON cannot represent',
        'session data must be an object, such as { cart: [] }',
        'session data must be an object, such as { cart: [] }',
        'session data must be an object, such as { cart: [] }',
        'session data.a is an instance of Object, which JSON cannot represent',
        'session data.a is an instance of a class, which JSON cannot represent',
        'session data.a.a[0].a[0].a[0].a[0].a[0].a[0].a[0… is nested too deeply',
        'session about must be an object, such as { cart: [] }',
      ],
    });
  });

  it('answers its errors, thrown through a plugin, as its own calls do', async () => {
    const { session_id } = (await api.post('/sessman/new', { userid: 'eve' })).body;
    const pairs: [string, string, object][] = [
      ['get?id=nonsense', 'get', { session_id: 'nonsense', userid: 'eve' }],
      [`get?id=${'A'.repeat(43)}`, 'get', { session_id: 'A'.repeat(43), userid: 'eve' }],
      [`get?id=${session_id}&user=other`, 'get', { session_id, userid: 'other' }],
      [`update?id=${session_id}`, 'update', { session_id, data: {}, version: 7 }],
      [`large?id=${session_id}`, 'update', { session_id, data: { a: 'x'.repeat(300_000) } }],
      ['create?user=', 'new', { userid: '' }],
      ['create?user=eve&id=x', 'new', { userid: 'eve', session_id: 'x' }],
      [`create?user=eve&id=${session_id}`, 'new', { userid: 'eve', session_id }],
      ['endall?user=eve&id=x', 'end_all', { userid: 'eve', except: 'x' }],
      ['endbyhandle?user=eve&id=x', 'end', { userid: 'eve', handle: 'x' }],
    ];
    for (const [path, call, body] of pairs) {
      const thrown = await api.get(`/visits/throw/${path}`);
      const own = await api.post(`/sessman/${call}`, body);
      const { request_id: _one, ...thrownBody } = thrown.body;
      const { request_id: _two, ...ownBody } = own.body;
      expect([thrown.status, thrownBody], path).to.deep.equal([own.status, ownBody]);
      expect(own.status).to.be.within(400, 499);
    }
  });

  it('describes every call in a valid OpenAPI document, with examples that hold', async () => {
    const document = (await api.get('/openapi.json')).body;
    const list = document.paths['/sessman/list'].get.parameters;
    expect(list.find(({ name }: { name: string }) => name === 'userid')).to.include({
      in: 'query',
      required: true,
    });
    const check = document.paths['/sessman/check'].get;
    expect(check.parameters.map(({ name }: { name: string }) => name)).to.deep.equal([
      'touch',
      'max_auth_age',
    ]);
    expect(Object.keys(check.responses)).to.include.members(['204', '401']);
    expect(Object.keys(check.responses['204'].headers)).to.deep.equal([
      'X-Session-User',
      'X-Session-Handle',
      'X-Session-Expires',
    ]);
    expect(check.responses['401'].headers['X-Session-Problem'].schema).to.deep.equal({
      enum: ['session_required', 'session_not_found', 'reauthentication_required'],
    });
    const result = await new Validator().validate(structuredClone(document));
    expect(result.errors ?? []).to.deep.equal([]);
    for (const { path, methods, takes } of calls) {
      const described = document.paths[`/sessman/${path}`];
      expect(Object.keys(described), path).to.have.members(methods);
      for (const method of methods) {
        const { responses, parameters } = described[method];
        expect(responses['200'].content['application/json'].example).to.be.an('object');
        const names = parameters.map(({ name }: { name: string }) => name);
        expect(names, `${method} ${path}`).to.include.members(inQuery(takes));
      }
      if (!methods.includes('post')) continue;
      // Made into a call, the example is answered by the session manager, and not as bad input.
      const { example } = described.post.requestBody.content['application/json'];
      const reply = await api.post(`/sessman/${path}`, example);
      expect(reply.status, `${path}: ${reply.text}`).to.be.oneOf([200, 404]);
    }
  });

  it('describes where each parameter may be, what a body holds, and which errors there are', async () => {
    interface Described {
      operationId: string;
      parameters: { name: string; in: string; required?: true; description: string; schema: object }[];
      requestBody?: {
        required: boolean;
        content: { 'application/json': { schema: object; example: object } };
      };
      responses: Record<string, { description: string; content: object }>;
    }
    const operation = async (from: Api, method: string, path: string): Promise<Described> =>
      (await from.get('/openapi.json')).body.paths[`/sessman/${path}`][method];
    const namesIn = ({ parameters: given }: Described) =>
      given.map(({ name, in: place, required }) => `${place} ${name}${required ? ' required' : ''}`);

    const list = await operation(api, 'get', 'list');
    expect(list.operationId).to.equal('sessman_list_get');
    expect(namesIn(list)).to.deep.equal(['query userid required', 'query session_id', 'header X-Session-Id']);
    expect(list).not.to.have.property('requestBody');
    expect(list.parameters.every(({ description }) => !description.includes('body'))).to.equal(true);
    expect(list.parameters[0]!.schema).to.deep.equal({ type: 'string', minLength: 1, maxLength: 1024 });
    expect(namesIn(await operation(api, 'get', 'get'))).to.deep.equal([
      'query session_id',
      'query userid',
      'query handle',
      'header X-Session-Id',
    ]);

    const update = await operation(api, 'post', 'update');
    const places = [
      'query session_id',
      'query userid',
      'query version',
      'header X-Session-Id',
      'header If-Match',
    ];
    expect(namesIn(update)).to.deep.equal(places);
    expect(update.parameters[0]!.description).to.match(/ May be in the body instead\.$/);
    expect(update.parameters[3]!.schema).to.have.property('pattern');
    expect(update.parameters[4]!.schema).to.deep.equal({ type: 'string' });
    const body = update.requestBody!;
    expect(body.required).to.equal(true);
    const { schema, example } = body.content['application/json'];
    expect(schema).to.deep.include({ type: 'object', additionalProperties: false, required: ['data'] });
    const { properties } = schema as { properties: Record<string, object> };
    expect(Object.keys(properties)).to.deep.equal(['session_id', 'data', 'userid', 'version']);
    expect(properties.version)
      .to.include({ type: 'integer', minimum: 0 })
      .and.to.have.property('description');
    expect(Object.keys(example)).to.deep.equal(['session_id', 'data']);
    expect(Object.keys(update.responses)).to.deep.equal([
      '200',
      '400',
      '404',
      '412',
      '413',
      '503',
      'default',
    ]);
    expect(update.responses['404']!.description).to.match(/^`session_not_found`: [^`]+$/);
    expect(update.responses['503']!.description).to.match(/^`store_unavailable`: .*\n\n`store_full`: /);
    expect(update.responses['400']!.description.match(/^`\w+`/gm)).to.deep.equal([
      '`missing_parameter`',
      '`invalid_parameter`',
      '`unknown_parameter`',
      '`duplicate_parameter`',
      '`conflicting_parameter`',
    ]);
    expect(update.responses['400']!.content).to.deep.equal({
      'application/json': { schema: { $ref: '#/components/schemas/Error' } },
    });

    const made = await operation(api, 'post', 'new');
    expect(namesIn(made)).not.to.include('header X-Session-Id');
    expect(made.requestBody!.required).to.equal(false);
    expect(made.requestBody!.content['application/json'].schema).not.to.have.property('required');
    expect(Object.keys(made.requestBody!.content['application/json'].example)).to.deep.equal([
      'userid',
      'data',
    ]);
    expect(made.responses).to.have.keys('200', '400', '409', '413', '503', 'default');
    const end = (await operation(api, 'post', 'end_all')).requestBody!.content['application/json'].example;
    expect(Object.keys(end)).to.deep.equal(['userid', 'session_id']);

    const { api: browsers } = await startCookieApi();
    try {
      const read = await operation(browsers, 'get', 'get');
      expect(namesIn(read)).to.include('header X-Session-Handle');
      expect(read.responses).to.include.keys('401', '403');
      expect(read.responses['403']!.description).to.match(/^`key_required`: .*\n\n`foreign_origin`: /);
      expect(namesIn(await operation(browsers, 'post', 'new'))).not.to.include('header X-Session-Handle');
    } finally {
      await browsers.close();
    }
    expect(namesIn(await operation(api, 'get', 'get'))).not.to.include('header X-Session-Handle');
  });

  it('describes every parameter and response by its schema and an example', async () => {
    const text = { type: 'string' };
    const time = { type: 'string', format: 'date-time' };
    const times = { created_at: time, updated_at: time, expires_at: time, authenticated_at: time };
    const id = { type: 'string', pattern: '^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$' };
    const handle = { type: 'string', pattern: '^[A-Za-z0-9_-]{16}$' };
    const user = { type: 'string', minLength: 1, maxLength: 1024 };
    const object = { type: 'object', additionalProperties: true };
    const count = { type: 'integer', minimum: 0 };
    const objectOf = (required: object, optional: object = {}) => ({
      type: 'object',
      required: Object.keys(required),
      properties: { ...required, ...optional },
    });
    const about = { ...object, type: ['object', 'null'] };
    const perhaps = { type: ['string', 'null'] };
    const told = { about, ip: perhaps, user_agent: perhaps, current: { const: true } };
    const shown = {
      handle: 'mJ8tV5cB2nQ0xYw7',
      created_at: '2030-01-31T12:00:00.000Z',
      updated_at: '2030-01-31T12:00:00.000Z',
      expires_at: '2030-02-01T12:00:00.000Z',
      authenticated_at: '2030-01-31T12:00:00.000Z',
    };
    const session = {
      schema: objectOf({
        session_id: id,
        handle,
        userid: user,
        data: object,
        version: { type: 'integer', minimum: 1 },
        ...times,
      }),
      example: {
        session_id: 'mJ8tV5cB2nQ0xYw7Lr3dKzGfH1pS9aEuTiNbVqWoXkc',
        userid: 'mary',
        data: { cart: ['apple'] },
        version: 1,
        ...shown,
      },
    };
    const ended = {
      schema: objectOf({ ended: count }, { approximate: { const: true } }),
      example: { ended: 1 },
    };
    const responses: Record<string, object> = {
      new: session,
      get: session,
      update: session,
      patch: session,
      touch: session,
      renew: session,
      end: ended,
      end_all: ended,
      list: {
        schema: objectOf({ sessions: { type: 'array', items: objectOf({ handle, ...times }, told) } }),
        example: { sessions: [{ ...shown, current: true }] },
      },
      sessions: {
        schema: objectOf({
          sessions: { type: 'array', items: objectOf({ handle, userid: user, ...times }, told) },
          next: perhaps,
        }),
        example: { sessions: [{ userid: 'mary', ...shown }], next: shown.handle },
      },
    };
    const boolean = { type: 'boolean' };
    const schemas: Record<string, object> = {
      session_id: id,
      'X-Session-Id': id,
      userid: user,
      handle,
      except: text,
      version: count,
      'If-Match': text,
      data: object,
      authenticated: boolean,
      remember: { type: 'boolean', default: true },
      about: object,
      ip: text,
      user_agent: text,
      everyone: boolean,
      limit: { type: 'integer', minimum: 1, maximum: 1000, default: 100 },
      after: text,
      userid_prefix: { type: 'string', maxLength: 1024 },
      touch: boolean,
      max_auth_age: count,
    };
    const { paths } = (await api.get('/openapi.json')).body;
    const inBody: Record<string, object> = {};
    for (const { path, methods } of [...calls, { path: 'check', methods: ['get'] as const }])
      for (const method of methods) {
        const described = paths[`/sessman/${path}`][method];
        for (const { name, schema } of described.parameters)
          expect(schema, `${path} ${name}`).to.deep.equal(schemas[name]);
        const { schema } = described.requestBody?.content['application/json'] ?? {};
        Object.assign(inBody, withoutSentences(schema?.properties ?? {}));
        if (path === 'check') continue;
        const { headers, content } = described.responses['200'];
        expect(withoutSentences(content['application/json']), path).to.deep.equal(responses[path]);
        const etag = { ETag: { schema: text, example: '"1"' } };
        expect(withoutSentences(headers), path).to.deep.equal(responses[path] === session ? etag : undefined);
      }
    for (const [name, schema] of Object.entries(inBody)) expect(schema, name).to.deep.equal(schemas[name]);
    expect(inBody).to.include.all.keys('data', 'about', 'version', 'everyone', 'userid');
    expect(withoutSentences(paths['/sessman/check'].get.responses['204'].headers)).to.deep.equal({
      'X-Session-User': { schema: text, example: 'mary' },
      'X-Session-Handle': { schema: text, example: shown.handle },
      'X-Session-Expires': { schema: text, example: shown.expires_at },
    });
  });

  it('describes which errors are those of one call alone', async () => {
    const { paths } = (await api.get('/openapi.json')).body;
    const codesOf = (path: string, method: string): string[] =>
      Object.values(paths[`/sessman/${path}`][method].responses).flatMap(
        (response) => (response as { description: string }).description.match(/^`\w+`(?=:)/gm) ?? [],
      );
    const everywhere = codesOf('touch', 'post').filter((code) => code !== '`session_not_found`');
    const own: Record<string, string[]> = {
      new: ['invalid_userid', 'invalid_session_id', 'session_exists', 'data_too_large'],
      get: ['session_not_found'],
      update: ['session_not_found', 'version_mismatch', 'data_too_large'],
      patch: ['session_not_found', 'version_mismatch', 'data_too_large', 'session_busy'],
      touch: ['session_not_found'],
      renew: ['session_not_found'],
      end: ['session_not_found'],
      list: ['invalid_userid'],
      sessions: ['invalid_userid'],
      end_all: ['invalid_userid', 'session_not_found'],
    };
    for (const { path, methods } of calls)
      for (const method of methods) {
        const found = codesOf(path, method).filter((code) => !everywhere.includes(code));
        expect(found, path).to.have.members(own[path]!.map((code) => `\`${code}\``));
      }
  });

  it('lets a plugin end the sessions of all users', async () => {
    const { session_id } = (await api.post('/sessman/new', { userid: 'zoe' })).body;
    const live = (await api.get('/sessman/sessions?limit=1000')).body.sessions.length;
    expect((await api.get('/visits/throw/everyone')).body).to.deep.equal({ ended: live });
    const headers = { 'X-Session-Id': session_id };
    expect((await api.get('/sessman/get', { headers })).body.code).to.equal('session_not_found');
  });
});

/** What OpenAPI says to programs. */
function withoutSentences<Part>(part: Part): Part {
  const text = JSON.stringify(part, (name, value) => (name === 'description' ? undefined : value));
  return text === undefined ? part : JSON.parse(text);
}

function inQuery(takes: Takes): string[] {
  return parametersOf(takes)
    .map(([name]) => name)
    .filter((name) => !parameters[name].onlyInBody);
}
