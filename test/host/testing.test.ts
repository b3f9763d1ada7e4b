import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { ConfigError } from '../../config/index.js';
import { type StartedPlugin, startPlugin } from '../../host/testing.js';
import { makeFolder, writeFiles } from '../support/server.js';

const kit = "import { definePlugin } from 'plugin-server';\n";

const greeter = `${kit}export default definePlugin({
  after: ['clock'],
  setup({ router, plugin }) {
    const clock = plugin('clock');
    router.get('/', (ctx) => { ctx.body = clock.now(); });
  },
});
`;

const counter = (version: number) => `${kit}export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { version: ${version}, pid: process.pid }; });
  },
});
`;

describe('startPlugin', () => {
  let folder: string;
  before(async () => {
    folder = await makeFolder();
    await writeFiles(folder, {
      'clock.mjs': `${kit}export default definePlugin({ setup: () => ({ now: () => '12:00' }) });\n`,
      'greeter.mjs': greeter,
      'counter.mjs': counter(1),
    });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  let server: StartedPlugin | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  const refusal = (file: string, options: object): Promise<Error> =>
    startPlugin(join(folder, file), options).then(
      async (started) => {
        await started.close();
        throw new Error('it started');
      },
      (reason) => reason,
    );

  for (const [title, form] of [
    ['a URL', (path: string) => pathToFileURL(path)],
    ['the text of a URL', (path: string) => pathToFileURL(path).href],
    ['an absolute path', (path: string) => path],
  ] as const) {
    it(`starts another plugin that is given as ${title}`, async () => {
      server = await startPlugin(join(folder, 'greeter.mjs'), {
        plugins: [form(join(folder, 'clock.mjs'))],
      });
      expect(await (await fetch(`${server.url}/greeter`)).text()).to.equal('12:00');
    });
  }

  it('gives a fake in place of a plugin that is not started', async () => {
    server = await startPlugin(join(folder, 'greeter.mjs'), { fakes: { Clock: { now: () => 'noon' } } });
    expect(await (await fetch(`${server.url}/greeter`)).text()).to.equal('noon');
  });

  it('starts a plugin that checks keys itself', async () => {
    const own = `import { definePlugin } from 'plugin-server';
export default definePlugin({ auth: 'own', setup({ router, server }) {
  router.get('/', (ctx) => { ctx.body = 'open'; });
  router.get('/closed', server.requireGlobalKey, () => {});
} });`;
    await writeFile(join(folder, 'own.mjs'), own);
    const server = await startPlugin(join(folder, 'own.mjs'), { ini: '[auth]\napikey=correct-horse\n' });
    expect(await (await fetch(`${server.url}/own`)).text()).to.equal('open');
    expect((await fetch(`${server.url}/own/closed`)).status).to.equal(401);
    await server.close();
  });

  it('adds its lines to the sections that ini has', async () => {
    server = await startPlugin(join(folder, 'counter.mjs'), {
      ini: '[network]\nstop_timeout=int:2\n[plugin_parms]\n# the line of the plugin is written by startPlugin\n',
    });
    expect((await fetch(`${server.url}/counter`)).status).to.equal(200);
  });

  describe('with several lines of one plugin in ini', () => {
    const ini = '[plugin_parms]\nshop_eu=uses=shop&currency=EUR\nshop_us=uses=shop&currency=USD\n';
    const ask = async (path: string) => {
      const answer = await fetch(`${server!.url}/${path}`);
      return answer.status === 200 ? answer.text() : answer.status;
    };
    before(() =>
      writeFiles(folder, {
        'shop.mjs': `import { definePlugin, z } from 'plugin-server';
export default definePlugin({
  config: z.object({ currency: z.string().length(3) }),
  setup({ config, router, storage }) {
    const counts = storage('counts');
    router.get('/', async (ctx) => {
      ctx.body = \`\${config.currency} \${await counts.update('n', (n = 0) => n + 1)}\`;
    });
    return config;
  },
});
`,
        'till.mjs': `import { definePlugin } from 'plugin-server';
export default definePlugin({ after: ['shop'], setup({ router, plugin }) {
  router.get('/', (ctx) => { ctx.body = plugin('shop').currency; });
} });
`,
      }),
    );

    it('runs the plugin under their names, and keeps them apart over workers and a reload', async () => {
      server = await startPlugin(join(folder, 'shop.mjs'), { ini: `${ini}[auth]\napikey=k\n`, workers: 2 });
      expect([await ask('shop_eu'), await ask('shop_eu'), await ask('shop_us')]).to.deep.equal([
        'EUR 1',
        'EUR 2',
        'USD 1',
      ]);
      await server.reload();
      expect([await ask('shop_eu'), await ask('shop_us'), await ask('shop')]).to.deep.equal([
        'EUR 3',
        'USD 2',
        404,
      ]);
    });

    it('runs it under its own name, too, with parameters', async () => {
      server = await startPlugin(join(folder, 'shop.mjs'), { ini, parameters: { currency: 'GBP' } });
      expect([await ask('shop'), await ask('shop_us')]).to.deep.equal(['GBP 1', 'USD 1']);
    });

    it('gives a plugin the one that it is bound to', async () => {
      server = await startPlugin(join(folder, 'till.mjs'), {
        ini,
        parameters: { with: 'shop:shop_us' },
        plugins: [join(folder, 'shop.mjs')],
      });
      expect([await ask('till'), await ask('shop_eu')]).to.deep.equal(['USD', 'EUR 1']);
    });
  });

  it('runs worker processes, which a reload replaces by those of the current code', async () => {
    server = await startPlugin(join(folder, 'counter.mjs'), { workers: 2 });
    const { url } = server;
    const ask = async () =>
      (await (await fetch(`${url}/counter`)).json()) as { version: number; pid: number };
    const pids = new Set<number>();
    // Each over a connection of its own, which any worker may accept.
    while (pids.size < 2) {
      const [answer] = (await once(get(`${url}/counter`, { agent: false }), 'response')) as [IncomingMessage];
      pids.add(JSON.parse(await text(answer)).pid);
    }
    expect(pids).to.not.include(process.pid);
    await writeFile(join(folder, 'counter.mjs'), counter(2));
    await server.reload();
    const after = await ask();
    expect(after.version).to.equal(2);
    expect(pids).to.not.include(after.pid);
    await writeFile(join(folder, 'counter.mjs'), 'export default 7;\n');
    const error = await server.reload().catch((reason) => reason);
    expect(error).to.be.instanceOf(ConfigError);
    expect(error.message).to.match(/has no default export made by definePlugin/);
    expect((await ask()).version).to.equal(2);
    await writeFile(join(folder, 'counter.mjs'), counter(1));
  });

  it('runs workers out of a script on the command line, and leaves no process behind', () => {
    const testing = pathToFileURL(fileURLToPath(new URL('../../host/testing.js', import.meta.url))).href;
    const script = `
      import { startPlugin } from ${JSON.stringify(testing)};
      const server = await startPlugin(${JSON.stringify(join(folder, 'counter.mjs'))}, { workers: 1 });
      console.log((await (await fetch(server.url + '/counter')).json()).version);
      await server.close();`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    });
    expect(stderr).to.equal('');
    expect(stdout).to.equal('1\n');
  });

  it('says why worker processes do not start', async () => {
    const error = await refusal('counter.mjs', { workers: 1, parameters: { speed: 1 } });
    expect(error).to.be.instanceOf(ConfigError);
    expect(error.message).to.include('"speed"');
  });

  it('cannot reload what runs in this process', async () => {
    server = await startPlugin(join(folder, 'counter.mjs'));
    const error = await server.reload().catch((reason) => reason);
    expect(error.message).to.equal('startPlugin: reload() needs worker processes; pass workers: 1, or more');
  });

  for (const [title, file, options, message] of [
    [
      'a misspelt option',
      'clock.mjs',
      { parameter: {} },
      'unknown option "parameter"; did you mean "parameters"?',
    ],
    [
      'another misspelt option',
      'clock.mjs',
      { plugin: {} },
      'unknown option "plugin"; did you mean "plugins"?',
    ],
    [
      'an unknown option',
      'clock.mjs',
      { port: {} },
      'unknown option "port"; known: parameters, plugins, fakes, ini, workers, storage, now',
    ],
    [
      'half a worker',
      'clock.mjs',
      { workers: 0.5 },
      'workers is 0.5; write 0, or how many worker processes to start',
    ],
    [
      'fakes in worker processes',
      'greeter.mjs',
      { workers: 1, fakes: { clock: {} } },
      'fakes stay in this process; leave workers out, or start the real plugin',
    ],
    [
      'a misspelt fake',
      'greeter.mjs',
      { fakes: { clock: {}, clok: {} } },
      'no plugin has "clok" of fakes in its after; did you mean "clock"?',
    ],
    [
      'a fake of a plugin that is started',
      'greeter.mjs',
      { plugins: ['CLOCK'], fakes: { clock: {} } },
      'plugin "clock" is started and faked; leave one of them out',
    ],
    [
      'a misspelt plugin',
      'clock.mjs',
      { plugins: ['sesman'] },
      'no plugin comes with the server as "sesman"; did you mean "sessman"?',
    ],
    [
      'a plugin in place of a list',
      'clock.mjs',
      { plugins: 'sessman' },
      "plugins is not a list of names, paths and URLs; write ['sessman']",
    ],
    ['parameters as in a line', 'clock.mjs', { parameters: 'a=1' }, 'parameters is not an object'],
    ['an ini that is not text', 'clock.mjs', { ini: {} }, 'ini is not the text of an INI file'],
    ['fakes in a list', 'clock.mjs', { fakes: [] }, 'fakes is not an object'],
  ] as const) {
    it(`refuses ${title}`, async () => {
      const given =
        'fakes' in options && 'plugins' in options
          ? { ...options, plugins: [join(folder, 'clock.mjs')] }
          : options;
      const error = await refusal(file, given);
      expect(error).to.be.instanceOf(TypeError);
      expect(error.message).to.equal(`startPlugin: ${message}`);
    });
  }

  it('names a plugin that does not exist, and takes one that is given twice', async () => {
    const error = await refusal('gone.mjs', {});
    expect(error.message).to.match(/^startPlugin: no plugin is at .*gone\.mjs; pass its file or its folder$/);
    server = await startPlugin(join(folder, 'greeter.mjs'), {
      plugins: [join(folder, 'clock.mjs'), pathToFileURL(join(folder, 'clock.mjs'))],
    });
    expect((await fetch(`${server.url}/greeter`)).status).to.equal(200);
  });
});
