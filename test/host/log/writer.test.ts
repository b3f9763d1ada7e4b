import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readFileSync, readSync, realpathSync, writeSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type AddressInfo, createServer, Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import type { LineCounts, LineKind } from '../../../host/log/line.js';
import { LogWriter } from '../../../host/log/writer.js';
import { mountDisk } from '../../support/disk.js';
import { childrenOf, type ProcessOptions, runProgram, ServerProcess } from '../../support/process.js';
import { makeFolder } from '../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, log }) {
    router.get('/', (ctx) => { ctx.body = { hello: 'world', pid: process.pid }; });
    router.get('/fill', (ctx) => {
      for (let i = 0; i < Number(ctx.query.lines); i += 1) log.info({ text: 'x'.repeat(1000) }, 'filler');
      ctx.body = {};
    });
  },
});`;

describe('a log that cannot be written', () => {
  let server: ServerProcess | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  const start = async (
    folder: string,
    file: string | undefined,
    format = 'json',
    through?: ProcessOptions['through'],
  ) => {
    const port = await freePort();
    server = await ServerProcess.start({
      folder,
      exactIni: true,
      ini: `[main]\nsafe=list:hello\n[network]\nport=int:${port}\n[log]\n${file === undefined ? '' : `file=${file}\n`}format=${format}\n`,
      files: { 'plugins/hello.mjs': plugin },
      args: ['--safe'],
      raw: true,
      ...(through && { through }),
    });
    // Its lines, the address among them, go where this test does not read.
    server.url = `http://127.0.0.1:${port}`;
    while (!(await isReady(server.url))) await pause();
  };
  const pause = () => new Promise((resolve) => setTimeout(resolve, 50));
  const said = async (text: string) => {
    while (!server!.stderr.includes(text)) await pause();
  };
  const dropped = async () => {
    const metrics = await (await server!.fetch('/metrics')).text();
    const kinds = metrics.matchAll(/^plugin_server_log_lines_dropped_total\{kind="\w+"\} (\d+)/gm);
    return [...kinds].reduce((total, [, count]) => total + Number(count), 0);
  };
  const workerOf = async () => ((await (await server!.fetch('/hello')).json()) as { pid: number }).pid;
  const answered = async (times: number) => {
    for (let i = 0; i < times; i += 1) expect((await server!.fetch('/hello')).status).to.equal(200);
  };

  it('on a full disk costs no request anything; lines are counted and standard error says so twice', async function () {
    const folder = await makeFolder();
    const disk = mountDisk(join(folder, 'disk'), '64k');
    if (!disk) this.skip();
    try {
      await start(folder, 'disk/server.log');
      await server!.fetch('/hello/fill?lines=200');
      await said('log lines are being dropped: ');
      await answered(200);
      expect(await dropped()).to.be.at.least(200);
      expect(server!.stderr.match(/are being dropped/g)).to.have.length(1);
      expect(server!.stderr).to.include('disk/server.log cannot be written (ENOSPC)');
      execFileSync('truncate', ['-s', '0', join(folder, 'disk/server.log')]);
      while (!server!.stderr.includes('the log can be written again')) {
        await answered(1);
        await pause();
      }
      const count = await dropped();
      await answered(20);
      expect(await dropped()).to.equal(count);
      await pause();
      const lines = readFileSync(join(folder, 'disk/server.log'), 'utf8').trim().split('\n');
      for (const line of lines.filter((text) => text !== ''))
        expect(JSON.parse(line).msg).to.match(/^(?:request|log lines were dropped: .*)$/);
    } finally {
      server?.signal('SIGKILL');
      await server?.exited;
      disk?.unmount();
    }
  });

  for (const format of ['json', 'pretty']) {
    it(`as ${format} to a named pipe that nobody reads costs no request anything, until somebody does`, async () => {
      const folder = await makeFolder();
      const pipe = join(folder, 'pipe');
      execFileSync('mkfifo', [pipe]);
      await start(folder, 'pipe', format);
      await said('pipe cannot be written (ENXIO)');
      await answered(50);
      expect(await dropped()).to.be.at.least(10);
      const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
      // The supervisor says so, too.
      while ((server!.stderr.match(/the log can be written again/g) ?? []).length < 2) {
        await answered(1);
        await pause();
      }
      expect(readSync(reader, Buffer.alloc(10))).to.equal(10);
      // It reads no further: the pipe is soon full.
      await server!.fetch('/hello/fill?lines=2000');
      await server!.fetch('/hello/fill?lines=2000');
      await said('it does not accept lines fast enough');
      await answered(50);
      closeSync(reader);
      await answered(50);
    });
  }

  it('and keeps its writer waiting does not hold up a stop', async () => {
    const folder = await makeFolder();
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      // The shell opens it as pipes are opened: a write waits until there is space.
      const args = ['-c', `exec "$@" > '${pipe}'`, 'sh'];
      await start(folder, undefined, 'json', { file: 'sh', args });
      await server!.fetch('/hello/fill?lines=2000');
      await said('standard output cannot be written (it does not accept lines fast enough)');
      await answered(20);
      fillUp(pipe);
      server!.signal('SIGTERM');
      // Not by an exit of its own, which would wait for the write.
      expect(await server!.exited).to.deep.equal({ status: null, signal: 'SIGTERM' });
    } finally {
      closeSync(reader);
    }
  });

  describe('since its file system hangs', () => {
    before(async function () {
      const works = await runProgram('strace', ['-o', '/dev/null', 'true'], '/').catch(() => undefined);
      if (works?.status !== 0) this.skip();
    });

    let tracer: ChildProcess | undefined;
    afterEach(() => {
      tracer?.kill('SIGKILL');
    });

    /** Writes to the log do not come back, as those to a network drive that is frozen, until the tracer ends. */
    const freeze = async (folder: string) => {
      const { pid } = server!;
      const [worker] = childrenOf(pid!);
      const file = realpathSync(join(folder, 'server.log'));
      tracer = spawn(
        'strace',
        [
          ...['-f', '-p', `${pid},${worker}`, '-P', file, '-o', '/dev/null'],
          ...['-e', 'trace=write', '-e', 'inject=write:delay_enter=1000000000'],
        ],
        { stdio: ['ignore', 'ignore', 'pipe'] },
      );
      await Promise.race([once(tracer.stderr!, 'data'), once(tracer, 'exit')]);
    };

    it('costs no request anything; lines are counted, and written again when it is over', async () => {
      const folder = await makeFolder();
      await start(folder, 'server.log');
      await freeze(folder);
      await answered(200);
      await server!.fetch('/hello/fill?lines=2000');
      await said('server.log cannot be written (it does not accept lines fast enough)');
      await answered(200);
      expect(await dropped()).to.be.at.least(200);
      tracer!.kill('SIGKILL');
      await said('the log can be written again');
      const count = await dropped();
      await answered(20);
      expect(await dropped()).to.equal(count);
      const last = () =>
        readFileSync(join(folder, 'server.log'), 'utf8').match(/^.*log lines were dropped.*$/m);
      while (last() === null) await pause();
      const line = JSON.parse(last()![0]) as { level: string; dropped: Record<string, number> };
      expect(line.level).to.equal('warn');
      expect(line.dropped.application).to.be.above(0);
      expect(Object.values(line.dropped).reduce((sum, each) => sum + each)).to.be.at.most(count);
    });

    it('does not hold up a reload', async () => {
      const folder = await makeFolder();
      await start(folder, 'server.log');
      await freeze(folder);
      await answered(20);
      const worker = await workerOf();
      server!.signal('SIGHUP');
      while ((await workerOf()) === worker) await pause();
      await answered(20);
    });
  });

  it('does not hold up a stop', async () => {
    const folder = await makeFolder();
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    await start(folder, 'pipe');
    await answered(5);
    server!.signal('SIGTERM');
    expect(await server!.exited).to.deep.equal({ status: 0, signal: null });
  });
});

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { port } = listener.address() as AddressInfo;
  listener.close();
  await once(listener, 'close');
  return port;
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    return false;
  }
}

/** Leaves no space for a short line either. */
function fillUp(pipe: string): void {
  const writer = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    for (;;) writeSync(writer, '\n');
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).to.equal('EAGAIN');
  } finally {
    closeSync(writer);
  }
}

describe('a log that is not read', () => {
  let folder: string;
  let pipe: string;
  beforeEach(async () => {
    folder = await makeFolder();
    pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
  });
  afterEach(() => rm(folder, { recursive: true }));

  const kinds = ['access', 'application', 'audit'] as const;
  const line = (kind: LineKind, i: number) => `${JSON.stringify({ kind, i, text: 'x'.repeat(1000) })}\n`;
  /** Reads until the last line. */
  const readTo = async (fd: number, last: string) => {
    const kept = { access: 0, application: 0, audit: 0 };
    for await (const text of createInterface({
      input: new Socket({ fd, readable: true, writable: false }),
    })) {
      if (text === last) break;
      kept[(JSON.parse(text) as { kind: LineKind }).kind] += 1;
    }
    return kept;
  };

  it('drops access lines first and audit lines last, counts each kind, and says so when it is over', async () => {
    const fd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    let recovered = (_dropped: LineCounts) => {};
    const over = new Promise<LineCounts>((resolve) => {
      recovered = resolve;
    });
    const writer = new LogWriter(pipe, (dropped) => recovered(dropped));
    // Neither kind leaves space for the one after it, unless space is kept.
    for (const kind of kinds) {
      const count = kind === 'audit' ? 200 : 2000;
      for (let i = 0; i < count; i += 1) writer.write(line(kind, i), kind, 'info');
    }
    const { dropped } = writer;
    const reading = readTo(fd, 'end');
    expect(await over).to.deep.equal(dropped);
    writer.write('end\n', 'audit', 'info');
    const kept = await reading;
    await writer.close();
    expect(kept.audit).to.equal(200);
    expect(dropped.audit).to.equal(0);
    expect(kept.access + dropped.access).to.equal(2000);
    expect(kept.application + dropped.application).to.equal(2000);
    expect(kept.access).to.be.within(400, 700);
    expect(kept.application).to.be.within(400, 700);
  });

  it('keeps audit lines until somebody reads it', async () => {
    const writer = new LogWriter(pipe);
    for (const kind of kinds) for (let i = 0; i < 3; i += 1) writer.write(line(kind, i), kind, 'info');
    writer.write('end\n', 'audit', 'info');
    await writer.end();
    expect(writer.dropped).to.deep.equal({ access: 3, application: 3, audit: 0 });
    const fd = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
    expect(await readTo(fd, 'end')).to.deep.equal({ access: 0, application: 0, audit: 3 });
    await writer.close();
  });
});

describe('a log that several workers write to one pipe', () => {
  it('keeps every line whole', async () => {
    const server = await ServerProcess.start({
      ini: '[main]\nsafe=list:hello\n[network]\nworkers=int:2\n[log]\nformat=json\n',
      files: { 'plugins/hello.mjs': plugin },
      args: ['--safe'],
    });
    try {
      const requests = 20;
      const lines = 20;
      const fill = async () => {
        const headers = { Connection: 'close' };
        expect((await server.fetch(`/hello/fill?lines=${lines}`, { headers })).status).to.equal(200);
      };
      await Promise.all(Array.from({ length: requests }, fill));
      const fillers = () => server.logs.filter(({ msg }) => msg === 'filler');
      while (fillers().length < requests * lines) await new Promise((resolve) => setTimeout(resolve, 20));
      expect(new Set(fillers().map(({ text }) => text)).size).to.equal(1);
    } finally {
      await server.close();
    }
  });
});
