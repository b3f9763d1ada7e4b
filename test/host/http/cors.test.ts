import { expect } from 'chai';
import { startServer, type TestServer } from '../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.post('/', (ctx) => { ctx.body = { ok: true }; });
    router.post('/crash', () => { throw new Error('x'); });
  },
});`;

describe('CORS', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: '[cors]\nenabled=bool:true\norigin_url=list:https://a.example https://b.example/\nallow_headers=list:X-Tenant x-trace\n[auth]\napikey=key\n',
      files: { 'plugins/p.mjs': plugin },
    });
  });
  after(() => server.close());

  const preflight = (origin: string) =>
    server.fetch('/p', {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      },
    });

  it('lets pages send the usual headers, and those that are listed', async () => {
    const allowed = (await preflight('https://a.example')).headers.get('access-control-allow-headers')!;
    expect(allowed.toLowerCase().split(',')).to.include.members([
      'authorization',
      'content-type',
      'x-requested-with',
      'x-tenant',
      'x-trace',
    ]);
  });

  it('answers the preflight of an allowed origin, without a key', async () => {
    for (const origin of ['https://a.example', 'https://b.example']) {
      const { status, headers } = await preflight(origin);
      expect(status).to.equal(204);
      expect(headers.get('access-control-allow-origin')).to.equal(origin);
      expect(headers.get('access-control-allow-credentials')).to.equal('true');
      expect(headers.get('access-control-max-age')).to.equal('600');
      expect(headers.get('access-control-allow-methods')).to.include('POST');
      expect(headers.get('access-control-allow-headers'))
        .to.include('Authorization')
        .and.include('X-Session-Id');
      expect(headers.get('vary')).to.equal('Origin');
    }
  });

  it('allows another origin nothing', async () => {
    const { status, headers } = await preflight('https://evil.example');
    expect(status).to.equal(401);
    expect(headers.has('access-control-allow-origin')).to.equal(false);
  });

  it('marks answers and errors for an allowed origin', async () => {
    const ask = (path: string, key: string) =>
      server.fetch(path, {
        method: 'POST',
        headers: { origin: 'https://a.example', authorization: `Bearer ${key}` },
      });
    for (const [path, key, status] of [
      ['/p', 'key', 200],
      ['/p', 'wrong', 401],
      ['/p/crash', 'key', 500],
      ['/nope', 'key', 404],
    ] as const) {
      const response = await ask(path, key);
      expect(response.status).to.equal(status);
      expect(response.headers.get('access-control-allow-origin'), path).to.equal('https://a.example');
      expect(response.headers.get('access-control-expose-headers')).to.include('ETag');
    }
  });
});

describe('CORS that is not enabled', () => {
  it('leaves answers as they are', async () => {
    const server = await startServer({
      ini: '[cors]\norigin_url=list:https://a.example\n[auth]\napikey=key\n',
      files: { 'plugins/p.mjs': plugin },
    });
    try {
      const headers = { origin: 'https://a.example', authorization: 'Bearer key' };
      const response = await server.fetch('/p', { method: 'POST', headers });
      expect(response.status).to.equal(200);
      expect(response.headers.has('access-control-allow-origin')).to.equal(false);
    } finally {
      await server.close();
    }
  });
});
