import { rm } from 'node:fs/promises';
import { expect } from 'chai';
import { installPackage, typeCheck } from '../../support/package.js';
import { makeFolder } from '../../support/server.js';

const right = `
import type { IncomingMessage } from 'node:http';
import { expectTypeOf } from 'expect-type';
import { type Context, boolean, decimal, definePlugin, integer, list, raw, route, stream, z } from 'plugin-server';

definePlugin({
  setup({ router }) {
    router.post('/:name', route({
      summary: 'Reports a run',
      description: 'More about it',
      tags: ['jobs'],
      params: z.object({ name: z.string().max(50), at: integer().optional() }),
      query: z.object({
        limit: integer({ max: 10 }).default(5),
        share: decimal(),
        on: boolean(),
        tags: z.array(z.string()).optional(),
        words: list(),
        kind: z.enum(['a', 'b']),
      }),
      body: z.object({ note: z.string().default(''), at: z.iso.datetime().transform((text) => new Date(text)) }),
      response: z.object({ runs: z.number(), at: z.date(), last: z.string().optional() }),
      bodyLimit: 1000,
      requestTimeout: 5,
    }, async ({ params, query, body, ctx }) => {
      expectTypeOf(params).toEqualTypeOf<{ name: string; at?: number | undefined }>();
      expectTypeOf(query).toEqualTypeOf<{
        limit: number;
        share: number;
        on: boolean;
        tags?: string[] | undefined;
        words: string[];
        kind: 'a' | 'b';
      }>();
      expectTypeOf(body).toEqualTypeOf<{ note: string; at: Date }>();
      expectTypeOf(ctx).toEqualTypeOf<Context>();
      return { runs: 1, at: new Date() };
    }));

    router.get('/', route({}, ({ params, query, body }) => {
      expectTypeOf(params).toEqualTypeOf<Record<string, string>>();
      expectTypeOf(query).toEqualTypeOf<Record<string, string | string[] | undefined>>();
      expectTypeOf(body).toEqualTypeOf<unknown>();
    }));

    router.post('/hook', route({ body: raw() }, ({ body }) => {
      expectTypeOf(body).toEqualTypeOf<Buffer>();
      return body.length;
    }));
    router.put('/file', route({ body: stream(), query: z.object({ a: z.string() }) }, ({ body, query }) => {
      expectTypeOf(body).toEqualTypeOf<IncomingMessage>();
      expectTypeOf(query).toEqualTypeOf<{ a: string }>();
    }));
    router.post('/union', route({ body: z.discriminatedUnion('kind', [
      z.object({ kind: z.literal('a'), n: z.number() }),
      z.object({ kind: z.literal('b') }),
    ]) }, ({ body }) => {
      if (body.kind === 'a') expectTypeOf(body.n).toEqualTypeOf<number>();
    }));
    router.get('/text', route({ response: z.string() }, () => 'text'));
    router.get('/null', route({ response: z.null() }, async () => null));
    router.get('/maybe', route({ response: z.string().optional() }, () => undefined));
    router.get('/several', (ctx, next) => next(), route({}, () => 1));
  },
});
`;

const wrong = [
  [
    'a handler that may return nothing',
    `route({ response: z.object({ a: z.string() }) }, () => (Math.random() > 0.5 ? { a: '' } : undefined))`,
  ],
  ['a handler that returns nothing', `route({ response: z.string() }, () => {})`],
  ['an asynchronous one', `route({ response: z.string() }, async () => {})`],
  ['a member of another type', `route({ response: z.object({ a: z.string() }) }, () => ({ a: 1 }))`],
  ['a member that is missing', `route({ response: z.object({ a: z.string() }) }, async () => ({}))`],
  ['an option that is misspelt', `route({ bodylimit: 5 }, () => 1)`],
  ['params that are no object', `route({ params: z.string() }, () => 1)`],
  ['query as an array', `route({ query: z.array(z.string()) }, () => 1)`],
  [
    'a member of the input that is not there',
    `route({ body: z.object({ a: z.string() }) }, ({ body }) => body.b)`,
  ],
  ['a member of a body without a schema', `route({}, ({ body }) => body.a)`],
  ['a text as raw bytes', `route({ body: raw() }, ({ body }) => body.note)`],
  ['a limit that is a text', `route({ bodyLimit: '5' }, () => 1)`],
  ['no handler', `route({})`],
] as const;

describe('the types of route()', function () {
  this.timeout(120_000);
  let folder: string;
  before(async () => {
    folder = await makeFolder();
    await installPackage(folder, ['expect-type']);
  });
  after(() => rm(folder, { recursive: true }));

  it('are those of the schemas, to the last member', async () => {
    expect(await typeCheck(folder, { 'right.ts': right })).to.equal('');
  });

  it('refuse what cannot be right', async () => {
    const files = wrong.map(([, text], index) => [
      `wrong-${index}.ts`,
      `import { raw, route, z } from 'plugin-server';\nexport const used = [raw, z];\n${text};\n`,
    ]);
    const complaints = await typeCheck(folder, Object.fromEntries(files));
    for (const [index, [what]] of wrong.entries()) {
      expect(complaints, what).to.match(new RegExp(String.raw`(?:^|/)wrong-${index}\.ts\(3,`, 'm'));
    }
  });
});
