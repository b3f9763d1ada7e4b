import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readlink, rename, symlink, truncate, utimes, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { ServerProcess } from '../../support/process.js';
import { type RawAnswer, requestRaw } from '../../support/raw.js';
import { startServer, type TestServer } from '../../support/server.js';

const plugin = `
import { definePlugin, route, z } from 'plugin-server';
export default definePlugin({
  setup({ router, sendFile, resolvePath }) {
    router.get('/file/{*path}', (ctx) => sendFile(ctx, 'public', ctx.params.path ?? ''));
    router.get('/absolute/:name', (ctx) => sendFile(ctx, resolvePath('public'), '/' + ctx.params.name));
    router.get('/typed/:name', (ctx) => sendFile(ctx, 'public', ctx.params.name, { type: 'text/csv', maxAge: 60 }));
    router.get('/private/:name', (ctx) => {
      ctx.set('Cache-Control', 'private, max-age=5');
      return sendFile(ctx, 'public', ctx.params.name);
    });
    router.get('/download/:name', (ctx) => sendFile(ctx, 'public', 'sub/' + ctx.params.name, { download: true }));
    router.get('/as', route({ query: z.object({ name: z.string() }) }, ({ ctx, query }) =>
      sendFile(ctx, 'public', 'hello.txt', { download: query.name })));
    router.get('/routed/:name', route({}, ({ ctx, params }) => sendFile(ctx, 'public', params.name)));
    router.get('/traversal', (ctx) => sendFile(ctx, 'public', ctx.query.path));
    router.get('/linked/:name', (ctx) => sendFile(ctx, 'current', ctx.params.name));
  },
});`;

const SECRET = 'the secret of this test';

describe('sendFile', () => {
  let server: TestServer;
  before(async () => {
    server = await startServer({
      ini: '[file_server]\ndocuments=public:public\n',
      files: {
        'plugins/sent.mjs': plugin,
        'secret.txt': SECRET,
        'public/hello.txt': 'hello, world',
        'public/empty.txt': '',
        'public/data.json': '{}',
        'public/page.html': '<p>x',
        'public/LICENSE': 'do as you like',
        'public/strange.xyzzy': '?',
        'public/with space & ümlaut.txt': 'odd name',
        'public/.env': SECRET,
        'public/.git/config': SECRET,
        'public/sub/page.txt': 'page',
        'public/sub/.htpasswd': SECRET,
        'old/page.txt': 'old',
        'new/page.txt': 'new',
      },
    });
    const at = (name: string) => join(server.folder, 'public', name);
    await symlink('../secret.txt', at('link-out.txt'));
    await symlink('hello.txt', at('link-in.txt'));
    await symlink('.env', at('link-to-hidden.txt'));
    await symlink('/dev/zero', at('link-to-device'));
    await symlink('nothing', at('link-to-nothing'));
    await symlink('old', join(server.folder, 'current'));
    const time = new Date('2026-01-02T03:04:05Z');
    await utimes(at('hello.txt'), time, time);
  });
  after(() => server.close());

  const ask = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    requestRaw(server.url, path, { headers, method });

  /** What two answers have in common where they are about the same file. */
  const comparable = ({ status, headers, body }: RawAnswer) => ({
    status,
    body: body.replaceAll(/"request_id":"[^"]*"/g, ''),
    headers: Object.fromEntries(
      [
        'content-type',
        'content-length',
        'etag',
        'last-modified',
        'accept-ranges',
        'content-range',
        'cache-control',
        'x-content-type-options',
      ].map((name) => [name, headers.get(name)]),
    ),
  });

  const modified = 'Fri, 02 Jan 2026 03:04:05 GMT';
  const requests: readonly (readonly [string, string, Record<string, string>])[] = [
    ...['hello.txt', 'empty.txt', 'data.json', 'page.html', 'LICENSE', 'strange.xyzzy'].flatMap((name) => [
      ['GET', name, {}] as const,
      ['HEAD', name, {}] as const,
    ]),
    ['GET', 'with%20space%20&%20%C3%BCmlaut.txt', {}],
    ['GET', 'sub/page.txt', {}],
    ['GET', 'link-in.txt', {}],
    ...[
      'bytes=0-0',
      'bytes=1-3',
      'bytes=7-',
      'bytes=-5',
      'bytes=-500',
      'bytes=5-500',
      'bytes=12-',
      'bytes=500-600',
      'bytes=3-1',
      'bytes=0-1,3-4',
      'lines=1-2',
      'bytes=-0',
    ].flatMap((range) => [
      ['GET', 'hello.txt', { Range: range }] as const,
      ['HEAD', 'hello.txt', { Range: range }] as const,
    ]),
    ['GET', 'empty.txt', { Range: 'bytes=0-1' }],
    ['GET', 'hello.txt', { Range: 'bytes=0-1', 'If-Range': '"another"' }],
    ['GET', 'hello.txt', { Range: 'bytes=0-1', 'If-Range': modified }],
    ['GET', 'hello.txt', { Range: 'bytes=0-1', 'If-Range': 'Fri, 02 Jan 2026 03:04:04 GMT' }],
    ['GET', 'hello.txt', { 'If-None-Match': '*' }],
    ['GET', 'hello.txt', { 'If-None-Match': '"another"' }],
    ['GET', 'hello.txt', { 'If-Match': '"another"' }],
    ['GET', 'hello.txt', { 'If-Match': '*' }],
    ['GET', 'hello.txt', { 'If-Modified-Since': modified }],
    ['GET', 'hello.txt', { 'If-Modified-Since': 'Fri, 02 Jan 2026 03:04:04 GMT' }],
    ['GET', 'hello.txt', { 'If-Unmodified-Since': 'Fri, 02 Jan 2026 03:04:04 GMT' }],
    ['GET', 'hello.txt', { 'If-Unmodified-Since': modified }],
    ['GET', 'nothing.txt', {}],
    ['GET', '.env', {}],
    ['GET', 'link-out.txt', {}],
    ['GET', 'link-to-nothing', {}],
  ];
  for (const [method, name, headers] of requests) {
    it(`answers ${method} ${name} ${Object.entries(headers).flat().join(' ')} as the plugin files does`, async () => {
      const sent = await ask(`/sent/file/${name}`, headers, method);
      expect(comparable(sent)).to.deep.equal(comparable(await ask(`/public/${name}`, headers, method)));
      expect(sent.status).to.be.above(0);
    });
  }

  it('knows the versions of a file by their tags', async () => {
    const first = await ask('/sent/file/hello.txt');
    const etag = first.headers.get('etag')!;
    expect(etag).to.match(/^"[^"]+"$/);
    expect((await ask('/sent/file/hello.txt', { 'If-None-Match': etag })).status).to.equal(304);
    expect((await ask('/sent/file/hello.txt', { 'If-None-Match': `W/${etag}` })).status).to.equal(304);
    expect((await ask('/sent/file/hello.txt', { 'If-Match': etag })).status).to.equal(200);
    const part = await ask('/sent/file/hello.txt', { Range: 'bytes=7-', 'If-Range': etag });
    expect([part.status, part.body]).to.deep.equal([206, 'world']);
  });

  for (const path of [
    '',
    '/',
    '.',
    '..',
    '../secret.txt',
    '/../secret.txt',
    'sub/../../secret.txt',
    'sub/../hello.txt',
    './hello.txt',
    '//hello.txt',
    'hello.txt/',
    'hello.txt/x',
    'sub',
    'sub/',
    '.env',
    '.git/config',
    'sub/.htpasswd',
    'link-out.txt',
    'link-to-hidden.txt',
    'link-to-device',
    'link-to-nothing',
    'hello.txt\0',
    'hello.txt\0.html',
    '..\\secret.txt',
    'sub\\page.txt',
    'a\nb',
    '/etc/passwd',
    `${'a'.repeat(300)}`,
  ]) {
    it(`finds nothing at ${JSON.stringify(path.slice(0, 30))}`, async () => {
      const answer = await ask(`/sent/traversal?path=${encodeURIComponent(path)}`);
      expect(answer.status).to.equal(404);
      expect(JSON.parse(answer.body)).to.include({ code: 'not_found' });
      expect(answer.body).not.to.include(server.folder).and.not.to.include(SECRET);
    });
  }

  it('takes a folder and a path in either form', async () => {
    expect((await ask('/sent/absolute/hello.txt')).body).to.equal('hello, world');
    expect((await ask('/sent/traversal?path=sub/page.txt')).body).to.equal('page');
  });

  it('has the type and the age that it is told, and keeps a Cache-Control that is set', async () => {
    const { headers } = await ask('/sent/typed/hello.txt');
    expect(headers.get('content-type')).to.equal('text/csv; charset=utf-8');
    expect(headers.get('cache-control')).to.equal('max-age=60');
    expect((await ask('/sent/private/hello.txt')).headers.get('cache-control')).to.equal(
      'private, max-age=5',
    );
  });

  it('sends an attachment under its own name or another', async () => {
    const own = await ask('/sent/download/page.txt');
    expect(own.headers.get('content-disposition')).to.equal('attachment; filename="page.txt"');
    expect(own.headers.get('content-type')).to.equal('text/plain; charset=utf-8');
    const other = await ask(`/sent/as?name=${encodeURIComponent('report € "1".csv')}`);
    expect(other.headers.get('content-disposition')).to.include(
      "filename*=UTF-8''report%20%E2%82%AC%20%221%22.csv",
    );
    expect(other.headers.get('content-type')).to.equal('text/plain; charset=utf-8');
    const hostile = await ask(`/sent/as?name=${encodeURIComponent('a\r\nX-Injected: yes')}`);
    expect(hostile.headers.has('x-injected')).to.equal(false);
  });

  it('is the answer of a route() that returns it', async () => {
    const answer = await ask('/sent/routed/hello.txt');
    expect([answer.status, answer.body]).to.deep.equal([200, 'hello, world']);
    expect((await ask('/sent/routed/nothing.txt')).status).to.equal(404);
    expect((await ask('/sent/routed/hello.txt', {}, 'HEAD')).headers.get('content-length')).to.equal('12');
  });

  it('follows a folder that is exchanged by its link', async () => {
    expect((await ask('/sent/linked/page.txt')).body).to.equal('old');
    await symlink('new', join(server.folder, 'next'));
    await rename(join(server.folder, 'next'), join(server.folder, 'current'));
    expect((await ask('/sent/linked/page.txt')).body).to.equal('new');
  });

  it('closes each file that it has opened', async () => {
    for (const [method, name, headers] of requests) await ask(`/sent/file/${name}`, headers, method);
    const links = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    );
    expect(links.filter((link) => link.startsWith(join(server.folder, 'public')))).to.deep.equal([]);
  });
});

describe('a file that changes while sendFile sends it', () => {
  const size = 48 * 1024 * 1024;
  let server: ServerProcess;
  let content: Buffer;

  before(async () => {
    server = await ServerProcess.start({
      ini: '[main]\nsafe=list:sent\n[network]\nworkers=2\n[plugin_parms]\nsent=auth_type=none\n',
      args: ['--safe'],
      files: { 'plugins/sent.mjs': plugin },
    });
    await mkdir(join(server.folder, 'public'));
    content = randomBytes(size);
  });
  after(() => server.close());

  const file = (name: string) => join(server.folder, 'public', name);
  const sum = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

  /** A download of which only the beginning has been taken. */
  const begin = async (name: string) => {
    const call = get(`${server.url}/sent/file/${name}`, { agent: false });
    const [answer] = (await once(call, 'response')) as [IncomingMessage];
    answer.pause();
    return answer;
  };
  const finish = async (answer: IncomingMessage) => {
    const chunks: Buffer[] = [];
    for await (const chunk of answer) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks);
  };

  it('arrives whole as it was when it is replaced, and again after a reload', async () => {
    await writeFile(file('a.bin'), content);
    const answer = await begin('a.bin');
    const etag = answer.headers.etag;
    await writeFile(file('next.bin'), Buffer.alloc(size, 1));
    await rename(file('next.bin'), file('a.bin'));
    const reloaded = server.next('reloaded');
    server.signal('SIGHUP');
    await reloaded;
    expect(sum(await finish(answer))).to.equal(sum(content));
    const after = await begin('a.bin');
    expect(after.headers.etag).not.to.equal(etag);
    expect(sum(await finish(after))).to.equal(sum(Buffer.alloc(size, 1)));
  }).timeout(60_000);

  it('breaks off when it is cut short, and never looks whole', async () => {
    await writeFile(file('b.bin'), content);
    const answer = await begin('b.bin');
    await truncate(file('b.bin'), 1000);
    const outcome = await finish(answer).then(
      (bytes) => `whole: ${bytes.length}`,
      (error: NodeJS.ErrnoException) => error.code,
    );
    expect(outcome).to.equal('ECONNRESET');
  }).timeout(60_000);
});
