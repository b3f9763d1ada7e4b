import { Validator } from '@seriousme/openapi-schema-validator';
import { expect } from 'chai';
import { startServer, type TestServer } from '../../../support/server.js';

const plugin = `
import { boolean, definePlugin, integer, openapi, raw, route, stream, z } from 'plugin-server';

const Node = z.object({ name: z.string(), get children() { return z.array(Node); } });
const Money = z.object({ amount: z.int(), currency: z.string().length(3) }).meta({ id: 'Money' });

export default definePlugin({
  setup({ router }) {
    router.post('/jobs/:name', route({
      summary: 'Reports a run',
      description: 'It is kept for a day.',
      tags: ['jobs'],
      params: z.object({ name: z.string().max(50).describe('the name of the job') }),
      query: z.object({
        limit: integer({ min: 1, max: 10 }).default(5).describe('how many'),
        tags: z.array(z.string()),
        on: boolean().optional(),
      }),
      body: z.object({ note: z.string().max(200), at: z.date().optional(), odd: z.custom().optional() }),
      response: z.object({ runs: z.int(), last: z.date() }),
    }, () => ({ runs: 1, last: new Date() })));
    router.get('/tree/:id', route({ response: Node }, () => ({ name: '', children: [] })));
    router.post('/pay', route({ body: z.object({ price: Money, tip: Money }), response: Money }, ({ body }) => body.price));
    router.post('/nothing', route({ body: z.object({ note: z.string().default('') }) }, () => 1));
    router.post('/hook', route({ body: raw(), summary: 'A webhook' }, () => 1));
    router.put('/file', route({ body: stream() }, () => 1));
    const twice = z.object({ a: z.string().meta({ id: 'Twice' }), b: z.int().meta({ id: 'Twice' }) });
    router.post('/twice', route({ body: twice }, () => 1));
    router.get('/own', openapi({ summary: 'Its own words' }), route({ summary: 'not these' }, () => 1));
  },
});`;

type Described = Record<string, unknown> & {
  parameters?: readonly Record<string, unknown>[];
  requestBody?: { required?: boolean; content: Record<string, { schema?: unknown }> };
  responses: Record<string, { content?: Record<string, { schema: unknown }> }>;
};

describe('route() in /openapi.json', () => {
  let server: TestServer;
  let document: {
    paths: Record<string, Record<string, Described>>;
    components: { schemas: Record<string, unknown> };
  };
  before(async () => {
    server = await startServer({ files: { 'plugins/api.mjs': plugin } });
    document = (await (await server.fetch('/openapi.json')).json()) as typeof document;
  });
  after(() => server.close());

  it('makes a valid document of OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document) as never);
    expect(errors ?? []).to.deep.equal([]);
    expect(valid).to.equal(true);
  });

  it('has the parameters, the body and the response with their schemas', () => {
    const operation = document.paths['/api/jobs/{name}']!.post!;
    expect(operation).to.deep.include({
      summary: 'Reports a run',
      description: 'It is kept for a day.',
      tags: ['jobs'],
    });
    expect(operation.parameters).to.deep.equal([
      {
        name: 'name',
        in: 'path',
        required: true,
        description: 'the name of the job',
        schema: { type: 'string', maxLength: 50 },
      },
      {
        name: 'limit',
        in: 'query',
        required: false,
        description: 'how many',
        schema: { type: 'integer', minimum: 1, maximum: 10 },
      },
      { name: 'tags', in: 'query', required: true, schema: { type: 'array', items: { type: 'string' } } },
      { name: 'on', in: 'query', required: false, schema: { type: 'boolean' } },
    ]);
    expect(operation.requestBody).to.deep.equal({
      required: true,
      content: {
        'application/json': {
          schema: {
            type: 'object',
            properties: {
              note: { type: 'string', maxLength: 200 },
              at: { type: 'string', format: 'date-time' },
              odd: {},
            },
            required: ['note'],
          },
        },
      },
    });
    const { schema } = operation.responses['200']!.content!['application/json']! as { schema: unknown };
    expect(schema).to.deep.include({ type: 'object', required: ['runs', 'last'] });
    expect(schema)
      .to.have.nested.property('properties.last')
      .deep.equal({ type: 'string', format: 'date-time' });
  });

  it('says when the body may be left out, and takes bytes as they are', () => {
    expect(document.paths['/api/nothing']!.post!.requestBody!.required).to.equal(false);
    for (const [path, method] of [
      ['/api/hook', 'post'],
      ['/api/file', 'put'],
    ] as const) {
      expect(document.paths[path]![method]!.requestBody).to.deep.equal({ content: { '*/*': {} } });
    }
  });

  it('has no reference that leads nowhere, in schemas of names and in those that contain themselves', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(
      ([, target]) => target!,
    );
    expect(references.filter((target) => target.includes('Money'))).to.have.length.above(2);
    expect(references.filter((target) => target.includes('tree'))).to.have.length.above(1);
    for (const target of references) {
      const [, name] = /^#\/components\/schemas\/([\w.-]+)$/.exec(target) ?? [];
      expect(document.components.schemas, target).to.have.property(name!);
    }
  });

  it('survives a schema that zod cannot describe', () => {
    const { content } = document.paths['/api/twice']!.post!.requestBody!;
    expect(content).to.deep.equal({ 'application/json': { schema: {} } });
  });

  it('gives way to openapi() on the same route', () => {
    expect(document.paths['/api/own']!.get!.summary).to.equal('Its own words');
  });
});
