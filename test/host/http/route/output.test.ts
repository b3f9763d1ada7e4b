import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../../support/server.js';

const plugin = `
import { Readable } from 'node:stream';
import { definePlugin, HttpError, route, z } from 'plugin-server';

class Point { x = 1; toJSON() { return { x: this.x }; } }

export default definePlugin({
  setup({ router }) {
    const plain = {
      object: () => ({ a: 1 }),
      array: () => [1],
      text: () => 'text',
      markup: () => '<p>text',
      number: () => 5,
      nothing: () => undefined,
      later: async () => ({ a: 1 }),
      null: () => null,
      bytes: () => Buffer.from('bytes'),
      stream: () => Readable.from(['a', 'b']),
      created: ({ ctx }) => { ctx.status = 201; return { a: 1 }; },
      typed: ({ ctx }) => { ctx.type = 'text/csv'; return 'a,b'; },
      body: ({ ctx }) => { ctx.body = 'set'; },
      both: ({ ctx }) => { ctx.body = 'set'; return 'returned'; },
      status: ({ ctx }) => { ctx.status = 202; },
      missing: ({ ctx }) => { ctx.status = 404; },
      redirect: ({ ctx }) => { ctx.redirect('/elsewhere'); },
      own: ({ ctx }) => { ctx.respond = false; ctx.res.writeHead(200); ctx.res.end('own'); },
      refused: () => { throw new HttpError(409, 'taken', 'It is taken.'); },
      'refused-later': async ({ ctx }) => ctx.throw(410, 'It is gone.'),
      broken: () => { throw new Error('secret'); },
    };
    for (const [name, handler] of Object.entries(plain)) router.get('/plain/' + name, route({}, handler));

    const described = {
      object: [z.object({ a: z.number() }), () => ({ a: 1 })],
      text: [z.string(), () => 'text'],
      null: [z.null(), async () => null],
      number: [z.number(), () => 5],
      boolean: [z.boolean(), () => false],
      date: [z.date(), () => new Date(0)],
      class: [z.object({ x: z.number() }), () => new Point()],
      bytes: [z.any(), () => Buffer.from('a')],
      typed: [z.object({ a: z.number() }), ({ ctx }) => { ctx.type = 'application/problem+json'; return { a: 1 }; }],
      nested: [
        z.object({ at: z.date().min(new Date(0)), list: z.array(z.object({ at: z.date().optional() })) }),
        () => ({ at: new Date(0), list: [{ at: new Date(0) }, {}] }),
      ],
      union: [z.discriminatedUnion('kind', [z.object({ kind: z.literal('a'), n: z.int() }), z.object({ kind: z.literal('b') })]), () => ({ kind: 'a', n: 1 })],
      both: [z.intersection(z.object({ a: z.int() }), z.object({ b: z.int() })), () => ({ a: 1, b: 2 })],
      loose: [z.looseObject({ a: z.int() }), () => ({ a: 1, b: 2 })],
      record: [z.record(z.string(), z.object({ n: z.int() })), () => ({ a: { n: 1 } })],
    };
    for (const [name, [response, handler]] of Object.entries(described))
      router.get('/described/' + name, route({ response }, handler));

    const Tree = z.object({ name: z.string(), get children() { return z.array(Tree); } });
    const wrong = {
      type: [z.object({ a: z.number() }), () => ({ a: 'x' })],
      more: [z.object({ a: z.number() }), () => ({ a: 1, b: 2 })],
      nested: [z.object({ list: z.array(z.object({ a: z.number() })) }), () => ({ list: [{ a: 1, b: 2 }] })],
      union: [z.union([z.object({ a: z.number() }), z.null()]), () => ({ a: 1, b: 2 })],
      tree: [Tree, () => ({ name: 'a', children: [{ name: 'b', children: [], more: 1 }] })],
      date: [z.date(), () => 'yesterday'],
      lost: [z.object({ a: z.number() }), () => ({ a: Number.NaN })],
      missing: [z.object({ a: z.string() }), async () => ({})],
      later: [z.object({ a: z.string().refine(async (text) => text !== 'x', 'is x') }), () => ({ a: 'x' })],
    };
    for (const [name, [response, handler]] of Object.entries(wrong))
      router.get('/wrong/' + name, route({ response }, handler));
    router.get('/tree', route({ response: Tree }, () => ({ name: 'a', children: [{ name: 'b', children: [] }] })));
    router.get('/silent', () => ({ a: 1 }));
    router.get('/meant', (ctx) => { ctx.status = 404; });
  },
});`;

interface Answer {
  readonly status: number;
  readonly type: string | null;
  readonly text: string;
}

for (const development of [true, false]) {
  describe(`the output of route()${development ? ' while its plugin is written' : ''}`, () => {
    let server: TestServer;
    before(async () => {
      server = await startServer({ development, files: { 'plugins/out.mjs': plugin } });
    });
    after(() => server.close());

    const get = async (path: string): Promise<Answer> => {
      const response = await server.fetch(`/out${path}`, { redirect: 'manual' });
      return {
        status: response.status,
        type: response.headers.get('content-type'),
        text: await response.text(),
      };
    };

    const json = 'application/json; charset=utf-8';
    for (const [path, status, type, text] of [
      ['/plain/object', 200, json, '{"a":1}'],
      ['/plain/array', 200, json, '[1]'],
      ['/plain/text', 200, 'text/plain; charset=utf-8', 'text'],
      ['/plain/markup', 200, 'text/plain; charset=utf-8', '<p>text'],
      ['/plain/number', 200, json, '5'],
      ['/plain/nothing', 204, null, ''],
      ['/plain/later', 200, json, '{"a":1}'],
      ['/plain/null', 204, null, ''],
      ['/plain/bytes', 200, 'application/octet-stream', 'bytes'],
      ['/plain/stream', 200, 'application/octet-stream', 'ab'],
      ['/plain/created', 201, json, '{"a":1}'],
      ['/plain/typed', 200, 'text/csv; charset=utf-8', 'a,b'],
      ['/plain/body', 200, 'text/plain; charset=utf-8', 'set'],
      ['/plain/both', 200, 'text/plain; charset=utf-8', 'returned'],
      ['/plain/status', 202, 'text/plain; charset=utf-8', 'Accepted'],
      ['/plain/own', 200, null, 'own'],
      ['/described/object', 200, json, '{"a":1}'],
      ['/described/text', 200, json, '"text"'],
      ['/described/null', 200, json, 'null'],
      ['/described/number', 200, json, '5'],
      ['/described/boolean', 200, json, 'false'],
      ['/described/date', 200, json, '"1970-01-01T00:00:00.000Z"'],
      ['/described/class', 200, json, '{"x":1}'],
      ['/described/bytes', 200, json, '{"type":"Buffer","data":[97]}'],
      ['/described/typed', 200, 'application/problem+json', '{"a":1}'],
      [
        '/described/nested',
        200,
        json,
        '{"at":"1970-01-01T00:00:00.000Z","list":[{"at":"1970-01-01T00:00:00.000Z"},{}]}',
      ],
      ['/described/union', 200, json, '{"kind":"a","n":1}'],
      ['/described/both', 200, json, '{"a":1,"b":2}'],
      ['/described/loose', 200, json, '{"a":1,"b":2}'],
      ['/described/record', 200, json, '{"a":{"n":1}}'],
      ['/tree', 200, json, '{"name":"a","children":[{"name":"b","children":[]}]}'],
    ] as const) {
      it(`is ${status} ${text} for ${path}`, async () => {
        expect(await get(path)).to.deep.equal({ status, type, text });
      });
    }

    it('is what ctx was told: a status, a redirect, an error', async () => {
      const { status, text } = await get('/plain/missing');
      expect([status, JSON.parse(text).code]).to.deep.equal([404, 'not_found']);
      expect((await get('/plain/redirect')).status).to.equal(302);
      expect(JSON.parse((await get('/plain/refused')).text)).to.include({ code: 'taken' });
      expect(JSON.parse((await get('/plain/refused-later')).text)).to.include({ error: 'It is gone.' });
      const broken = await get('/plain/broken');
      expect(broken.status).to.equal(500);
      expect(broken.text).not.to.include('secret');
    });

    for (const [name, fault] of [
      ['type', 'a: '],
      ['more', '"b"'],
      ['nested', 'list.0: '],
      ['union', ''],
      ['tree', 'children.0: '],
      ['date', 'expected date'],
      ['lost', 'a: '],
      ['missing', 'a: '],
      ['later', 'is x'],
    ] as const) {
      it(`${development ? 'is' : 'is not'} a 500 where it is not what response describes: ${name}`, async () => {
        const { status, text } = await get(`/wrong/${name}`);
        const told = server.logs.filter(
          (line) =>
            line.route === `/out/wrong/${name}` || JSON.stringify(line).includes(`/wrong/${name} is not`),
        );
        if (development) {
          expect(status).to.equal(500);
          expect(text).not.to.include(name === 'union' ? 'describes' : fault);
          expect(JSON.stringify(told)).to.include(JSON.stringify(fault).slice(1, -1));
        } else {
          expect(status).to.equal(200);
          expect(told.filter(({ level }) => level === 'error')).to.deep.equal([]);
        }
      });
    }

    it('says of a plain handler without a response who has to do what', async () => {
      const { status, text } = await get('/silent');
      expect(status).to.equal(404);
      expect(JSON.parse(text).code).to.equal(development ? 'no_response' : 'not_found');
      expect(JSON.parse((await get('/meant')).text).code).to.equal('not_found');
      expect(server.logs.filter(({ msg }) => msg.includes('set no response'))).to.have.length(1);
    });
  });
}

const kit = "import { definePlugin, integer, raw, route, z } from 'plugin-server';\n";
const faults = {
  'number in the query': [
    '/',
    'query: z.object({ limit: z.number() })',
    '"limit" in query of route() takes no text',
  ],
  'list of numbers is fine': ['/', 'query: z.object({ limit: z.array(z.coerce.number()) })', undefined],
  'boolean in the path': [
    '/:on',
    'params: z.object({ on: z.boolean() })',
    '"on" in params of route() takes no text',
  ],
  'object in the query': [
    '/',
    'query: z.object({ a: z.object({}).optional() })',
    '"a" in query of route() takes no text',
  ],
  'array in the path': [
    '/:a',
    'params: z.object({ a: z.array(z.string()) })',
    '"a" in params of route() takes no text',
  ],
  'nullable number': [
    '/',
    'query: z.object({ a: z.number().nullable() })',
    '"a" in query of route() takes no text',
  ],
  'enum of numbers': [
    '/',
    'query: z.object({ a: z.literal([1, 2]) })',
    '"a" in query of route() takes no text',
  ],
  'parameter that the path lacks': [
    '/:id',
    'params: z.object({ ids: z.string() })',
    '"ids" in params of route() is not in the path "/:id"; did you mean "id"?',
  ],
  'default in the response': [
    '/',
    'response: z.object({ a: z.object({ b: z.string().default("x") }) })',
    '"a.b" in response of route() has a default',
  ],
  'transform in the response': [
    '/',
    'response: z.array(z.string().transform(Number))',
    'response of route() has a transform',
  ],
  'catch in the response': [
    '/',
    'response: z.union([z.null(), z.string().catch("x")])',
    'response of route() has a catch',
  ],
  'codec in the response': ['/', 'response: z.stringbool()', 'response of route() has a codec'],
  'preprocessed response': [
    '/',
    'response: z.object({ n: integer() })',
    '"n" in response of route() has a transform',
  ],
  'unknown option': ['/', 'bodylimit: 5', 'unknown option "bodylimit" of route(); did you mean "bodyLimit"?'],
  'limit that is none': ['/', 'bodyLimit: -1', 'bodyLimit of route() is not a number above 0'],
  'body that is no schema': [
    '/',
    'body: { a: 1 }',
    'body of route() is not a schema of zod 4, raw() or stream()',
  ],
  'query that is no object': ['/', 'query: z.string()', 'query of route() is not z.object({ … })'],
} as const;

describe('route() with options that cannot be meant', () => {
  for (const [what, [path, options, message]] of Object.entries(faults)) {
    for (const nested of [false, true]) {
      it(`${message === undefined ? 'starts' : 'fails the start, in its file'}: ${what}${nested ? ', in a router of its own' : ''}`, async () => {
        const text = `${kit}${nested ? "import { createRequire } from 'node:module';\n" : ''}
export default definePlugin({
  setup({ router }) {
    ${nested ? 'const inner = new router.constructor();' : 'const inner = router;'}
    inner.post('${path}',
      route({ ${options} }, () => null));
    ${nested ? "router.use('/in', inner.routes());" : ''}
  },
});
`;
        const outcome = await startServer({ files: { 'plugins/faulty.mjs': text } }).then(
          async (server) => {
            const file = await readFile(join(server.folder, 'plugins/faulty.mjs'), 'utf8');
            await server.close();
            return file;
          },
          (error: { problems: readonly { message: string; position: { file: string; line: number } }[] }) =>
            error,
        );
        if (message === undefined) {
          expect(outcome).to.equal(text);
          return;
        }
        const [problem, ...others] = (outcome as Exclude<typeof outcome, string>).problems;
        expect(others).to.deep.equal([]);
        const shown = nested ? message.replace('"/:id"', '"/in/:id"') : message;
        expect(problem!.message).to.include(shown);
        expect(problem!.position.file).to.match(/plugins\/faulty\.mjs$/);
        const lines = text.split('\n');
        expect(lines[problem!.position.line - 1]).to.include('route(');
      });
    }
  }
});
