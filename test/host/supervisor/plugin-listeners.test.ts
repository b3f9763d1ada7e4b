import { once } from 'node:events';
import { access, rm } from 'node:fs/promises';
import { Agent, get, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { type StartedPlugin, startPlugin } from '../../../host/testing.js';
import { freePort } from '../../support/mongodb/process.js';
import { isListening, ServerProcess } from '../../support/process.js';
import { makeFolder, startServer, withFreePort, writeFiles } from '../../support/server.js';

/** Echoes over TCP, says its process id over HTTP, and tells both ports. */
const plugin = `
import { createServer } from 'node:net';
import { createServer as createHttpServer } from 'node:http';
import { definePlugin, z, integer } from 'plugin-server';
export default definePlugin({
  config: z.object({ port: integer().default(0) }),
  async setup({ router, listen, config }) {
    const echo = createServer((socket) => {
      socket.write('hello ' + process.pid + '\\n');
      socket.on('error', () => {});
      socket.pipe(socket);
    });
    const web = createHttpServer((request, response) => response.end(String(process.pid)));
    const one = await listen(echo, { port: config.port });
    const two = await listen(web, { port: 0 });
    router.get('/', (ctx) => { ctx.body = { echo: one, web: two, pid: process.pid }; });
  },
});`;

interface Told {
  readonly echo: AddressInfo;
  readonly web: AddressInfo;
  readonly pid: number;
}

class Line {
  #received = '';
  readonly closed: Promise<boolean>;

  private constructor(readonly socket: Socket) {
    socket.setEncoding('utf8').on('data', (data) => {
      this.#received += data;
    });
    // The other events tell whether it was reset.
    this.closed = new Promise((resolve) => {
      socket.on('error', () => resolve(true));
      socket.on('close', () => resolve(false));
    });
  }

  static async open(port: number): Promise<Line> {
    const line = new Line(connect(port, '127.0.0.1'));
    await once(line.socket, 'connect');
    return line;
  }

  async read(): Promise<string> {
    while (!this.#received.includes('\n')) await once(this.socket, 'data');
    const end = this.#received.indexOf('\n');
    const line = this.#received.slice(0, end);
    this.#received = this.#received.slice(end + 1);
    return line;
  }

  ask(line: string): Promise<string> {
    this.socket.write(`${line}\n`);
    return this.read();
  }
}

async function ask(port: number, agent: Agent | false): Promise<string> {
  const call = get({ port, host: '127.0.0.1', agent });
  const [answer] = (await once(call, 'response')) as [IncomingMessage];
  return text(answer);
}

describe('a listener of a plugin', () => {
  let folder: string;
  before(async () => {
    folder = await makeFolder();
    await writeFiles(folder, { 'ports.mjs': plugin });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  let server: StartedPlugin;
  const start = async (options: object = {}): Promise<Told> => {
    server = await startPlugin(join(folder, 'ports.mjs'), options);
    return told();
  };
  const told = async () => (await (await fetch(`${server.url}/ports`)).json()) as Told;

  it('loses no connection and no request over ten reloads of two workers, and keeps its ports', async () => {
    const { echo, web } = await start({ workers: 2, ini: '[network]\nstream_grace=int:3600\n' });
    let reloading = true;
    const agent = new Agent({ keepAlive: true, maxSockets: 2 });
    const pids = new Set<string>();
    const clients = [agent, agent, false as const].map(async (each) => {
      for (; reloading; await sleep(5)) pids.add(await ask(web.port, each));
    });
    const talkers = [1, 2].map(async () => {
      for (; reloading; await sleep(5)) {
        const line = await Line.open(echo.port);
        expect(await line.read()).to.match(/^hello \d+$/);
        expect(await line.ask('word')).to.equal('word');
        line.socket.end();
        expect(await line.closed).to.equal(false);
      }
    });
    const patient = await Line.open(echo.port);
    const greeting = await patient.read();
    await server.reload();
    expect(await patient.ask('still here')).to.equal('still here');
    patient.socket.end();
    for (let i = 0; i < 9; i += 1) {
      await server.reload();
      const now = await told();
      expect([now.echo.port, now.web.port]).to.deep.equal([echo.port, web.port]);
      expect(greeting).to.not.equal(`hello ${now.pid}`);
    }
    reloading = false;
    await Promise.all([...clients, ...talkers]);
    expect(pids.size).to.be.greaterThan(10);
    agent.destroy();
    await server.close();
    expect(await isListening(`http://127.0.0.1:${echo.port}`)).to.equal(false);
  }).timeout(120_000);

  it('destroys what is still open after stream_grace', async () => {
    const { echo } = await start({ workers: 1, ini: '[network]\nstream_grace=int:1\n' });
    const line = await Line.open(echo.port);
    await line.read();
    await server.reload();
    await line.closed;
    await server.close();
  });

  it('is shared by a worker that takes the place of a killed one', async () => {
    const { web, pid } = await start({ workers: 1 });
    process.kill(pid, 'SIGKILL');
    // The connection waits in the socket that the supervisor holds.
    expect(Number(await ask(web.port, false))).to.not.equal(pid);
    expect((await told()).web.port).to.equal(web.port);
    await server.close();
  });

  it('serves in one process, too, and ends with it', async () => {
    const { echo, web, pid } = await start();
    expect(echo).to.include({ address: '127.0.0.1', family: 'IPv4' });
    expect(await ask(web.port, false)).to.equal(`${pid}`);
    const line = await Line.open(echo.port);
    expect(await line.read()).to.equal(`hello ${process.pid}`);
    line.socket.end();
    await server.close();
    expect(await isListening(`http://127.0.0.1:${web.port}`)).to.equal(false);
  });

  it('fails a reload where the port is taken, names both, and leaves the generation before as it is', async () => {
    const occupant = createServer().listen(0, '127.0.0.1');
    await once(occupant, 'listening');
    const { port } = occupant.address() as AddressInfo;
    const { web } = await start({ workers: 2 });
    await writeFiles(folder, { 'ports.mjs': plugin.replace('{ port: config.port }', `{ port: ${port} }`) });
    const error = await server.reload().catch((reason) => reason);
    await writeFiles(folder, { 'ports.mjs': plugin });
    expect(error.message).to.contain(
      `plugin "ports" failed in its setup: port ${port} on 127.0.0.1 is in use by another program`,
    );
    expect((await told()).web.port).to.equal(web.port);
    expect(Number(await ask(web.port, false))).to.be.above(0);
    occupant.close();
    await server.close();
  });

  for (const workers of [0, 1]) {
    it(`fails the start where its port is taken, and names both (workers: ${workers})`, async () => {
      const occupant = createServer().listen(0, '127.0.0.1');
      await once(occupant, 'listening');
      const { port } = occupant.address() as AddressInfo;
      const error = await start({ workers, parameters: { port } }).catch((reason) => reason);
      expect(error.message).to.contain(
        `plugin "ports" failed in its setup: port ${port} on 127.0.0.1 is in use by another program; stop that program, or give the plugin another port`,
      );
      occupant.close();
    });

    it(`fails the start where another plugin has its address (workers: ${workers})`, async () => {
      const port = await freePort();
      const other = plugin.replace('default(0)', `default(${port})`);
      await writeFiles(folder, { 'other.mjs': other });
      const error = await startPlugin(join(folder, 'ports.mjs'), {
        workers,
        parameters: { port },
        plugins: [join(folder, 'other.mjs')],
      }).catch((reason) => reason);
      expect(error.message).to.match(
        new RegExp(
          `plugin "(other|ports)" failed in its setup: plugin "(?!\\1)\\w+" already listens on port ${port} of 127`,
        ),
      );
    });
  }

  for (const [call, message] of [
    ['listen(createServer(), { prot: 1 })', 'listen(): unknown option "prot"; did you mean "port"?'],
    ['listen(createServer(), { port: 70000 })', 'listen(): port is 70000, not a number from 0 to 65535'],
    ['listen({}, { port: 0 })', 'listen(): the first argument is not a server of node:net'],
    ['listen(createServer(), { port: 0, host: "192.0.2.1" })', '192.0.2.1 is not an address of this machine'],
  ] as const) {
    it(`refuses ${call}, awaited or not`, async () => {
      const error = await startServer({
        files: {
          'plugins/try.mjs': `import { createServer } from 'node:net';
import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ listen }) { ${call}; } });`,
        },
      }).then(
        (started) => started.close(),
        (reason) => reason,
      );
      expect(error?.message).to.contain(`plugin "try" failed in its setup: ${message}`);
    });
  }
});

const nextLook = () => new Promise((resolve) => setTimeout(resolve, 10));
const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

describe('the socket of a plugin', () => {
  let server: ServerProcess;
  afterEach(() => server.close());
  const gated = plugin.replace(
    'const two =',
    `console.error('bound ' + one.port);
    if (existsSync('closed')) await new Promise((resolve) => { while (existsSync('closed')); resolve(); });
    const two =`,
  );
  const ini = '[paths]\npidfile=server.pid\n[plugin_parms]\nports=auth_type=none\n';

  it('accepts nothing before its generation is in force, and closes when no generation wants it', async () => {
    server = await ServerProcess.start({
      ini,
      raw: true,
      files: { 'plugins/ports.mjs': `import { existsSync } from 'node:fs';${gated}`, closed: '' },
    });
    let bound: RegExpExecArray | null = null;
    while (bound === null) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      bound = /bound (\d+)/.exec(server.stderr);
    }
    const port = Number(bound[1]);
    const early = await Line.open(port);
    await rm(join(server.folder, 'closed'));
    expect(await early.read()).to.match(/^hello /);
    early.socket.destroy();
    server.url = String((await server.until(({ msg }) => msg.startsWith('serving on '))).url);
    expect((await server.json<Told>('/ports')).echo.port).to.equal(port);

    await server.write('plugins/ports.mjs', 'export default 1;\n');
    expect((await server.command('reload')).status).to.equal(1);
    expect(await isListening(`http://127.0.0.1:${port}`)).to.equal(true);

    await server.write(
      'plugins/ports.mjs',
      "import { definePlugin } from 'plugin-server';\nexport default definePlugin({ setup() {} });\n",
    );
    expect((await server.command('reload')).status).to.equal(0);
    expect(await isListening(`http://127.0.0.1:${port}`)).to.equal(false);
    await access(join(server.folder, 'server.pid'));
  });

  it('serves those who wait in it before it closes, where a reload changes the port or ends the listener', async () => {
    const ports = [await freePort(), await freePort()] as const;
    const blocking = plugin
      .replace('integer().default(0)', "integer().default(0), go: z.string().default('')")
      .replace('listen, config', 'listen, config, onReady')
      .replace(
        'const two =',
        `onReady(() => writeFileSync(config.go, ''));
    router.get('/block/:until', (ctx) => {
      writeFileSync('blocked-' + ctx.params.until, '');
      while (!existsSync(ctx.params.until));
      // The next generation comes into force meanwhile.
      for (const end = Date.now() + 300; Date.now() < end; );
      ctx.status = 204;
    });
    const two =`,
      );
    const files = {
      'plugins/ports.mjs': `import { existsSync, writeFileSync } from 'node:fs';${blocking}`,
    };
    const iniOf = (port: number, go: string) =>
      withFreePort(ini.replace('auth_type=none', `auth_type=none&port=${port}&go=${go}`));
    server = await ServerProcess.start({ ini: iniOf(ports[0], 'first'), files });
    for (const [port, until, change] of [
      [ports[0], 'second', () => server.write('plugin-server.ini', iniOf(ports[1], 'second'))],
      [
        ports[1],
        'third',
        () =>
          server.write(
            'plugins/ports.mjs',
            `import { writeFileSync } from 'node:fs';
import { definePlugin, z } from 'plugin-server';
export default definePlugin({
  config: z.object({ port: z.string(), go: z.string() }),
  setup({ onReady }) { onReady(() => writeFileSync('third', '')); },
});`,
          ),
      ],
    ] as const) {
      const blocked = server.fetch(`/ports/block/${until}`);
      while (!(await exists(join(server.folder, `blocked-${until}`)))) await nextLook();
      const lines = await Promise.all(Array.from({ length: 50 }, () => Line.open(port)));
      await change();
      expect((await server.command('reload')).status).to.equal(0);
      for (const line of lines) {
        expect(await Promise.race([line.read(), line.closed])).to.match(/^hello /);
        expect(await line.ask('word')).to.equal('word');
        line.socket.end();
      }
      expect((await blocked).status).to.equal(204);
      expect(await isListening(`http://127.0.0.1:${port}`)).to.equal(false);
    }
  });

  it('is not in the way of a list of routes', async () => {
    server = await ServerProcess.start({
      ini: ini.replace('auth_type=none', `auth_type=none&port=${await freePort()}`),
      files: { 'plugins/ports.mjs': plugin },
    });
    const { status, stdout } = await server.command('routes');
    expect(status).to.equal(0);
    expect(stdout).to.contain('/ports');
  });
});
