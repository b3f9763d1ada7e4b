import { expect } from 'chai';
import { freePort } from '../../support/mongodb/process.js';
import { ServerProcess } from '../../support/process.js';

const kit = "import { definePlugin } from 'plugin-server';\n";
const ini = '[plugin_parms]\nbad=auth_type=none\ngood=auth_type=none\n';
const good = `${kit}export default definePlugin({ setup({ router }) { router.get('/', (ctx) => { ctx.body = 'fine'; }); } });\n`;

describe('an error that a plugin leaves to nobody', () => {
  const running: ServerProcess[] = [];
  const start = async (bad: string, raw = false) => {
    const server = await ServerProcess.start({
      ini,
      files: { 'plugins/good.ts': good, 'plugins/bad.ts': kit + bad },
      raw,
    });
    running.push(server);
    return server;
  };
  afterEach(async () => {
    for (const server of running.splice(0)) await server.close();
  });

  it('a rejection, is logged with the plugin and the place, and all is served on', async () => {
    const server = await start(`export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      Promise.reject(new Error('nobody waits'));
      ctx.body = 'answered';
    });
  },
});
`);
    expect(await (await server.fetch('/bad')).text()).to.equal('answered');
    const line = await server.until(({ msg }) => msg === 'uncaught error in plugin "bad"');
    expect(line).to.include({ level: 'error', plugin: 'bad', at: 'plugins/bad.ts:5:22' });
    expect(await (await server.fetch('/good')).text()).to.equal('fine');
    expect(await (await server.fetch('/bad')).text()).to.equal('answered');
    expect(server.logs.some(({ msg }) => msg.startsWith('a worker was lost'))).to.equal(false);
  });

  it('a rejection during setup, is logged once there is a log', async () => {
    const server = await start(`export default definePlugin({
  async setup() {
    Promise.reject(new Error('too early'));
    await new Promise((resolve) => setImmediate(resolve));
  },
});
`);
    const line = await server.until(({ msg }) => msg === 'uncaught error in plugin "bad"');
    expect(line).to.include({ plugin: 'bad', at: 'plugins/bad.ts:4:20' });
    expect(await (await server.fetch('/good')).text()).to.equal('fine');
  });

  it('a throw from a timer, costs the worker, whose place is taken', async () => {
    const server = await start(`export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      setImmediate(() => { throw new Error('out of reach'); });
      ctx.body = 'answered';
    });
  },
});
`);
    expect(await (await server.fetch('/bad')).text()).to.equal('answered');
    const line = await server.until(({ msg }) => msg === 'uncaught error in plugin "bad"');
    expect(line).to.include({ level: 'error', plugin: 'bad', at: 'plugins/bad.ts:5:33' });
    await server.until(({ msg }) => msg.startsWith('a new worker serves'));
    expect(await (await server.fetch('/good')).text()).to.equal('fine');
  });

  for (const [title, bad, complaint] of [
    [
      'a throw from a timer during setup, stops the start with plugin and place',
      `export default definePlugin({
  async setup() {
    setImmediate(() => { throw new Error('boom'); });
    await new Promise(() => {});
  },
});
`,
      /^plugins\/bad\.ts:4:31: uncaught error in plugin "bad": boom; /m,
    ],
    [
      'a throw from a timer during import, too',
      "setImmediate(() => { throw new Error('boom'); });\nawait new Promise(() => {});\n",
      /^plugins\/bad\.ts:2:27: uncaught error in plugin "bad": boom; /m,
    ],
    [
      'a port that is taken, says that workers overlap and what to do',
      "import { createServer } from 'node:http';\nexport default definePlugin({ async setup() { const one = createServer(); await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve)); createServer().listen((one.address() as any).port, '127.0.0.1'); await new Promise(() => {}); } });\n",
      /^plugins\/bad\.ts:1:1: a listener failed while plugin "bad" started: listen EADDRINUSE.*open it with listen\(server, \{ port \}\)/m,
    ],
    [
      'process.exit during setup, is no riddle either',
      'export default definePlugin({ setup() { process.exit(0); } });\n',
      /ended before it was ready \(exit status 0\) at plugin "bad"/,
    ],
  ] as const) {
    it(title, async () => {
      const server = await start(bad, true);
      expect(await server.exited).to.deep.equal({ status: 1, signal: null });
      expect(server.stderr).to.match(complaint);
      expect(server.stderr).not.to.match(/^ +at /m);
    });
  }

  for (const [where, wrap] of [
    ['setup', (listen: string) => `${listen};`],
    ['a ready hook', (listen: string) => `onReady(() => { ${listen}; });`],
  ] as const) {
    it(`a port that ${where} of each worker opens without awaiting it, says so too`, async () => {
      const listen = `createServer().listen(${await freePort()}, '127.0.0.1')`;
      const server = await ServerProcess.start({
        ini: `[network]\nworkers=int:2\n[main]\nsafe=list:bad\n`,
        args: ['--safe'],
        files: {
          'plugins/bad.ts': `import { createServer } from 'node:http';\n${kit}export default definePlugin({ setup({ onReady }) { ${wrap(listen)} } });\n`,
        },
        raw: true,
      });
      running.push(server);
      expect(await server.exited).to.deep.equal({ status: 1, signal: null });
      expect(server.stderr).to.match(
        /a listener failed while plugin "bad" started: listen EADDRINUSE.*open it with listen\(server, \{ port \}\)/,
      );
    });
  }

  describe('and that the server starts without', () => {
    const optional = '[plugin_parms]\nbad=auth_type=none&required=off\ngood=auth_type=none\n';
    const startOptional = async (bad: string) => {
      const server = await ServerProcess.start({
        ini: optional,
        files: { 'plugins/good.ts': good, 'plugins/bad.ts': kit + bad },
      });
      running.push(server);
      return server;
    };

    for (const [title, bad] of [
      [
        'during its import',
        "setImmediate(() => { throw new Error('boom'); });\nawait new Promise(() => {});\n",
      ],
      [
        'during its setup',
        "export default definePlugin({ async setup() { setImmediate(() => { throw new Error('boom'); }); await new Promise(() => {}); } });\n",
      ],
      [
        'during a ready hook',
        "export default definePlugin({ setup({ onReady }) { onReady(() => { setImmediate(() => { throw new Error('boom'); }); return new Promise(() => {}); }); } });\n",
      ],
      [
        'between its import and its setup',
        "setTimeout(() => { throw new Error('boom'); }, 1);\nsetImmediate(() => {});\nexport default definePlugin({ async check() { await new Promise((resolve) => setTimeout(resolve, 20)); }, setup() {} });\n",
      ],
      [
        'from a listener whose port is taken',
        "import { createServer } from 'node:http';\nexport default definePlugin({ async setup() { const one = createServer(); await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve)); createServer().listen((one.address() as any).port, '127.0.0.1'); await new Promise(() => {}); } });\n",
      ],
    ] as const) {
      it(`${title}, leaves it out and nothing else`, async () => {
        const server = await startOptional(bad);
        expect((await server.fetch('/bad')).status).to.equal(503);
        expect(await (await server.fetch('/good')).text()).to.equal('fine');
        const ready = await server.fetch('/readyz?verbose');
        expect(ready.status).to.equal(200);
        expect(await ready.text()).to.contain('"bad":"failed"');
        expect(server.logs.some(({ level, plugin }) => level === 'error' && plugin === 'bad')).to.equal(true);
        expect(server.logs.some(({ msg }) => msg.startsWith('a worker was lost'))).to.equal(false);
      });
    }
  });
});
