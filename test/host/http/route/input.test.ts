import { expect } from 'chai';
import { startServer, type TestServer } from '../../../support/server.js';

const plugin = `
import { boolean, decimal, definePlugin, integer, list, route, z } from 'plugin-server';

export default definePlugin({
  setup({ router }) {
    router.post('/all/:id', route({
      params: z.object({ id: integer({ min: 1 }) }),
      query: z.object({
        limit: integer({ max: 10 }).default(5),
        share: decimal().optional(),
        on: boolean().optional(),
        tag: z.array(z.string().max(3)).default([]),
        words: list().optional(),
        either: z.union([z.string(), z.array(z.string())]).optional(),
        coerced: z.coerce.number().optional(),
      }),
      body: z.strictObject({ name: z.string().max(5), nested: z.object({ n: z.array(z.int()) }).optional() }),
    }, ({ params, query, body }) => ({ params, query, body })));

    router.get('/plain/:a', route({}, ({ params, query, body }) => ({ params, query, body: body ?? null })));
    router.get('/loose', route({ query: z.looseObject({ a: z.string() }) }, ({ query }) => query));
    router.get('/strict', route({ query: z.strictObject({ a: z.string() }) }, ({ query }) => query));
    router.post('/body', route({}, ({ body }) => ({ body })));
    router.post('/empty', route({ body: z.object({ note: z.string().default('none') }) }, ({ body }) => body));
    router.post('/async', route({
      body: z.object({ name: z.string().refine(async (name) => name !== 'taken', 'is taken') }),
      query: z.object({ q: z.string().optional() }),
    }, ({ body, query }) => ({ body, query })));
    router.post('/throws', route({ body: z.object({}).refine(() => { throw new Error('in a check'); }) }, () => 1));
    router.post('/many', route({ body: z.array(z.string()) }, () => 1));
    router.post('/any', route({ body: z.union([z.string().max(5), z.int(), z.null(), z.boolean(), z.array(z.null())]) },
      ({ body }) => ({ body })));
    router.post('/changes', route({
      body: z.object({ at: z.iso.datetime().transform((text) => new Date(text)) }),
    }, ({ body }) => ({ year: body.at.getUTCFullYear() })));
  },
});`;

interface Refusal {
  readonly code: string;
  readonly error: string;
  readonly problems: readonly { in: string; path: readonly (string | number)[]; message: string }[];
}

describe('the input of route()', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: '[plugin_parms]\ntyped=auth_type=plugin&apikey=a-key-of-sixteen-characters\n',
      files: { 'plugins/typed.ts': plugin },
    });
  });
  after(() => server.close());

  const bearer = { authorization: 'Bearer a-key-of-sixteen-characters' };
  const post = (path: string, body?: unknown, headers: Record<string, string> = bearer) =>
    server.fetch(`/typed${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  const get = async (path: string) => server.fetch(`/typed${path}`, { headers: bearer });

  it('has the values that the schemas make of texts', async () => {
    const response = await post(
      '/all/7?limit=3&share=0.25&on=yes&tag=a&words=b%20c&either=d&coerced=1.5&unknown=x',
      { name: 'Ann', nested: { n: [1, 2] } },
    );
    expect(await response.json()).to.deep.equal({
      params: { id: 7 },
      query: { limit: 3, share: 0.25, on: true, tag: ['a'], words: ['b', 'c'], either: 'd', coerced: 1.5 },
      body: { name: 'Ann', nested: { n: [1, 2] } },
    });
  });

  it('has an array for each member that is one, and the defaults', async () => {
    const response = await post('/all/1?tag=a&tag=b&either=c&either=d&words=e&words=f', { name: 'Ann' });
    const { query } = (await response.json()) as { query: unknown };
    expect(query).to.deep.equal({ limit: 5, tag: ['a', 'b'], either: ['c', 'd'], words: ['e', 'f'] });
  });

  it('is refused with everything that is wrong with it at once', async () => {
    const response = await post('/all/x?limit=11&limit=12&tag=long%20one&share=a', {
      name: 'too long',
      nested: { n: [1, 'two'] },
      more: 1,
    });
    expect(response.status).to.equal(400);
    const { code, error, problems } = (await response.json()) as Refusal;
    expect(code).to.equal('invalid_request');
    expect(problems.map((problem) => [problem.in, ...problem.path].join('.'))).to.have.members([
      'params.id',
      'query.limit',
      'query.share',
      'query.tag.0',
      'body.name',
      'body.nested.n.1',
      'body',
    ]);
    expect(problems.find(({ path }) => path[0] === 'limit')?.message).to.match(/2 times/);
    expect(problems.find(({ path }) => path.length === 0)?.message).to.include('"more"');
    expect(error).to.match(/^The request is not valid: .*; and 4 more\.$/);
  });

  it('keeps a request with a fault away from the handler, and shows a single fault in the sentence', async () => {
    const { error } = (await (await post('/all/1', {})).json()) as Refusal;
    expect(error).to.match(/^The request is not valid: body\.name: [^;]*\.$/);
  });

  it('is refused in few words however many faults it has, and soon', async () => {
    const response = await post('/many', `[${'1,'.repeat(200_000)}1]`);
    const text = await response.text();
    expect(response.status).to.equal(400);
    expect(text).to.have.length.below(20_000);
    const { error, problems, more_problems } = JSON.parse(text) as Refusal & { more_problems: number };
    expect(problems).to.have.length(100);
    expect(more_problems).to.equal(199_901);
    expect(error).to.match(/; and 199998 more\.$/);
    const long = await post('/all/1', { name: 'Ann', ['x'.repeat(100_000)]: 1 });
    expect(((await long.json()) as Refusal).error).to.have.length.below(300);
  });

  it('is as it came without schemas', async () => {
    expect(await (await get('/plain/x%20y?b=1&c=2&c=3')).json()).to.deep.equal({
      params: { a: 'x y' },
      query: { b: '1', c: ['2', '3'] },
      body: null,
    });
    expect(await (await post('/body', [1, { a: 2 }])).json()).to.deep.equal({ body: [1, { a: 2 }] });
  });

  it('keeps what a loose query has besides, and refuses it of a strict one', async () => {
    expect(await (await get('/loose?a=1&b=2&b=3')).json()).to.deep.equal({ a: '1', b: ['2', '3'] });
    const response = await get('/strict?a=1&b=2');
    expect(response.status).to.equal(400);
    expect(((await response.json()) as Refusal).problems[0]!.message).to.include('"b"');
  });

  it('never has the API key in it, wherever the key was sent', async () => {
    const key = 'a-key-of-sixteen-characters';
    const query = await server.fetch(`/typed/strict?a=1&apikey=${key}`);
    expect(await query.json()).to.deep.equal({ a: '1' });
    const plain = await server.fetch(`/typed/plain/a?apikey=${key}`);
    expect(await plain.json()).to.deep.include({ query: {} });
    const body = await post('/all/1', { name: 'Ann', apikey: key }, {});
    expect(await body.json()).to.deep.include({ body: { name: 'Ann' } });
    const both = await post('/all/1', { name: 'Ann', apikey: 5 });
    expect(await both.json()).to.deep.include({ body: { name: 'Ann' } });
  });

  it('may lack its body where its schema asks for nothing', async () => {
    expect(await (await post('/empty')).json()).to.deep.equal({ note: 'none' });
    expect(await (await post('/empty', {})).json()).to.deep.equal({ note: 'none' });
    expect((await post('/all/1')).status).to.equal(400);
  });

  it('is any JSON that its schema takes, and not an object alone', async () => {
    for (const [text, body] of [
      ['"word"', 'word'],
      [' 5\n', 5],
      ['null', null],
      ['false', false],
      ['[null]', [null]],
    ] as const) {
      expect(await (await post('/any', text)).json(), text).to.deep.equal({ body });
    }
    for (const [text, code] of [
      ['"too long"', 'invalid_request'],
      ['1.5', 'invalid_request'],
      ['{}', 'invalid_request'],
      ['word', 'invalid_json'],
      ['12345678901234567890', 'inexact_number'],
    ] as const) {
      const answer = await post('/any', text);
      expect([answer.status, ((await answer.json()) as Refusal).code], text).to.deep.equal([400, code]);
    }
    const { problems } = (await (await post('/many', '"one"')).json()) as Refusal;
    expect(problems).to.deep.equal([
      { in: 'body', path: [], message: 'Invalid input: expected array, received string' },
    ]);
    const plain = (await (await post('/body', '5')).json()) as Refusal;
    expect(plain.code).to.equal('invalid_json');
  });

  it('takes a form as well as JSON', async () => {
    const response = await post('/empty', 'note=a%20b', {
      ...bearer,
      'content-type': 'application/x-www-form-urlencoded',
    });
    expect(await response.json()).to.deep.equal({ note: 'a b' });
  });

  it('waits for asynchronous checks', async () => {
    for (const _ of [1, 2]) {
      expect((await post('/async?q=1', { name: 'free' })).status).to.equal(200);
      const response = await post('/async?q=1&q=2', { name: 'taken' });
      expect(((await response.json()) as Refusal).problems).to.deep.equal([
        { in: 'query', path: ['q'], message: 'Given 2 times: send it once' },
        { in: 'body', path: ['name'], message: 'is taken' },
      ]);
    }
  });

  it('has what a schema changes', async () => {
    expect(await (await post('/changes', { at: '2026-01-01T00:00:00Z' })).json()).to.deep.equal({
      year: 2026,
    });
  });

  it('is a 500 with the cause in the log where a check throws', async () => {
    expect((await post('/throws', {})).status).to.equal(500);
    const line = server.logs.find(({ msg }) => msg === 'request failed');
    expect(JSON.stringify(line)).to.include('in a check');
  });

  it('has no member that would change an object underneath', async () => {
    const response = await get('/loose?a=1&__proto__=x&constructor=y');
    expect(await response.json()).to.deep.equal({ a: '1', constructor: 'y' });
  });
});

const texts = `
import { definePlugin, route, z } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/query', (ctx) => { ctx.body = { ...ctx.query }; });
    router.get('/typed', route({ query: z.object({ a: z.string() }) }, ({ query }) => query));
    router.get('/at/:name', (ctx) => { ctx.body = { name: ctx.params.name }; });
    router.post('/form', (ctx) => { ctx.body = ctx.request.body; });
  },
});`;

describe('percent-encoded text of any plugin', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({ files: { 'plugins/texts.mjs': texts } });
  });
  after(() => server.close());

  const bad = ['%ff', '%c3', '%c3%28', '%e2%82', '%c0%af', '%ed%a0%80', '%f4%90%80%80', 'a%80', '%E2%28%A1'];
  const good = [
    ['%c3%a9', 'é'],
    ['%E2%82%AC', '€'],
    ['%f0%9f%98%80', '😀'],
    ['%ef%bf%bd', '\ufffd'],
    ['a%25b', 'a%b'],
    ['%41', 'A'],
  ] as const;

  const form = (body: string | Uint8Array) =>
    server.fetch('/texts/form', {
      method: 'POST',
      body: body as never,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });

  it('is refused in the query, the path and a form where it is not UTF-8', async () => {
    for (const text of bad) {
      for (const response of [
        await server.fetch(`/texts/query?a=${text}`),
        await server.fetch(`/texts/query?${text}=1`),
        await server.fetch(`/texts/typed?a=${text}`),
        await server.fetch(`/texts/at/${text}`),
        await form(`a=${text}`),
        await form(`${text}=1`),
      ]) {
        expect(response.status, `${response.url} ${text}`).to.equal(400);
        expect(await response.json()).to.include({ code: 'invalid_parameter' });
      }
    }
  });

  it('is decoded where it is', async () => {
    for (const [text, value] of good) {
      expect(await (await server.fetch(`/texts/query?a=${text}`)).json()).to.deep.equal({ a: value });
      expect(await (await server.fetch(`/texts/at/${text}`)).json()).to.deep.equal({ name: value });
      expect(await (await form(`a=${text}`)).json()).to.deep.equal({ a: value });
    }
  });

  it('is a 404 where nothing has the path', async () => {
    expect((await server.fetch('/texts/nothing/%ff')).status).to.equal(404);
    expect((await server.fetch('/nobody/%ff')).status).to.equal(404);
  });

  it('is refused in a form with bytes that are not UTF-8', async () => {
    const response = await form(Buffer.from([0x61, 0x3d, 0xff]));
    expect(response.status).to.equal(400);
    expect(await response.json()).to.include({ code: 'invalid_utf8' });
    expect(await (await form('a=é')).json()).to.deep.equal({ a: 'é' });
  });
});
