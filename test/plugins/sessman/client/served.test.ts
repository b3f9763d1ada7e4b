import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { build } from 'esbuild';
import { startServer, type TestServer } from '../../../support/server.js';

describe('the client as it is served', () => {
  let server: TestServer;
  let folder: string;
  before(async () => {
    server = await startServer({
      ini: '[auth]\napikey=k\n[plugin_parms]\nsessman=route_path=/my/sessions\n',
    });
    folder = await mkdtemp(join(tmpdir(), 'client-test-'));
  });
  after(async () => {
    await server?.close();
    if (folder) await rm(folder, { recursive: true });
  });

  const fetchText = async (file: string): Promise<string> => {
    const response = await server.fetch(`/my/sessions/${file}`);
    expect(response.status).to.equal(200);
    return response.text();
  };

  it('needs no key, unlike the calls', async () => {
    const script = await server.fetch('/my/sessions/client.js');
    expect(script.status).to.equal(200);
    expect(script.headers.get('content-type')).to.equal('text/javascript; charset=utf-8');
    expect((await server.fetch('/my/sessions/list?userid=mary')).status).to.equal(401);
  });

  for (const [file, type, types] of <const>[
    ['client.js', 'text/javascript', './client.d.ts'],
    ['watch.js', 'text/javascript', null],
    ['client.d.ts', 'application/typescript', null],
  ])
    it(`${file} has its type, may be kept and asked for again, and names no source map`, async () => {
      const response = await server.fetch(`/my/sessions/${file}`);
      expect(response.status).to.equal(200);
      expect(response.headers.get('content-type')).to.equal(`${type}; charset=utf-8`);
      expect(response.headers.get('cache-control')).to.equal('no-cache');
      expect(response.headers.get('x-typescript-types')).to.equal(types);
      const text = await response.text();
      const built = await readFile(
        new URL(`../../../../plugins/sessman/client/${file}`, import.meta.url),
        'utf8',
      );
      expect(text).to.equal(built.replace(/\/\/# sourceMappingURL=.*/, ''));
      const { paths } = (await (await server.fetch('/openapi.json')).json()) as {
        paths: Record<string, object>;
      };
      expect(paths[`/my/sessions/${file}`])
        .to.have.nested.property('get.responses.200.content')
        .that.deep.equals({ [type]: { schema: { type: 'string' } } });
    });

  it('is not sent again to those who have it', async () => {
    const etag = (await server.fetch('/my/sessions/client.js')).headers.get('etag')!;
    // Not by fetch, which asks for a fresh answer as soon as it is given such a header.
    const statusFor = async (known: string) => {
      const request = get(`${server.url}/my/sessions/client.js`, { headers: { 'If-None-Match': known } });
      const [response] = (await once(request, 'response')) as [IncomingMessage];
      response.resume();
      return response.statusCode;
    };
    expect(await statusFor(etag)).to.equal(304);
    expect(await statusFor('"other"')).to.equal(200);
  });

  for (const [file, exports, limit] of <const>[
    ['client.js', ['Session', 'SessionError'], 5120],
    // Loaded by pages that watch a session, and by no others.
    ['watch.js', ['watch'], 2560],
  ])
    it(`${file} is a module without imports, under ${limit} bytes minified`, async () => {
      const contents = await fetchText(file);
      const { outputFiles, metafile } = await build({
        stdin: { contents },
        bundle: true,
        minify: true,
        format: 'esm',
        metafile: true,
        write: false,
      });
      expect(outputFiles[0]!.contents.length).to.be.lessThan(limit);
      expect(Object.values(metafile.outputs)[0]).to.deep.include({
        imports: [],
        exports,
      });
    });

  it('has types that stand alone', async () => {
    await writeFile(join(folder, 'client.d.ts'), await fetchText('client.d.ts'));
    await writeFile(
      join(folder, 'page.ts'),
      `import { Session, SessionError } from './client.js';
       export async function page(): Promise<number> {
         const session = await Session.create<{ n: number }>('mary', { data: { n: 1 }, auth: null, log: console });
         await session.change((data) => { data.n += 1; });
         // @ts-expect-error what is not in the data is not in its type
         session.data.m = 1;
         const error = new SessionError('timeout', 'no answer');
         const current = await Session.current<{ n: number }>();
         const stop: () => void = current!.watch((event) => {
           if (event.type === 'end') console.log(event.reason);
           else console.log(event.version, event.expires_at);
         });
         stop();
         return session.data.n + error.status;
       }`,
    );
    const tsc = fileURLToPath(new URL('../../../../../node_modules/typescript/bin/tsc', import.meta.url));
    const flags =
      '--noEmit --strict --module es2022 --moduleResolution bundler --target es2022 --lib es2022,dom';
    const run = promisify(execFile)(process.execPath, [tsc, ...flags.split(' '), 'page.ts'], { cwd: folder });
    await run.catch((error: { stdout: string }) => expect.fail(error.stdout));
  });
});
