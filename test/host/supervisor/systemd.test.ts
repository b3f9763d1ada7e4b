import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { type Greeting, runProgram, type ServerProcess, startHello } from '../../support/process.js';
import { makeFolder, writeFiles } from '../../support/server.js';

/** Prints each datagram that comes in, as one line of JSON, until its input ends. */
const receiver = `
import json, os, socket, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print("bound", flush=True)
while True:
    data, ancillary, flags, address = s.recvmsg(65536, socket.CMSG_SPACE(256))
    for level, kind, value in ancillary:
        if kind == socket.SCM_RIGHTS:
            for i in range(0, len(value), 4): os.close(int.from_bytes(value[i:i+4], sys.byteorder))
    print(json.dumps(data.decode()), flush=True)
`;

describe('under systemd', () => {
  let folder: string;
  let server: ServerProcess | undefined;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(async () => {
    await server?.close();
    server = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  it('tells when it is ready, reloading and stopping, and how it stands', async function () {
    const has = await runProgram('sh', ['-c', 'command -v systemd-notify && command -v python3'], folder);
    if (has.status !== 0) this.skip();
    const address = join(folder, 'notify');
    const listener = spawn('python3', ['-c', receiver, address], { stdio: ['pipe', 'pipe', 'ignore'] });
    try {
      const lines = createInterface({ input: listener.stdout })[Symbol.asyncIterator]();
      expect((await lines.next()).value).to.equal('bound');
      const next = async () => {
        for (;;) {
          const message = JSON.parse((await lines.next()).value) as string;
          // systemd-notify(1) asks at last whether all has been read.
          if (!message.startsWith('BARRIER'))
            return Object.fromEntries(message.split('\n').map((line) => line.split(/=(.*)/s)));
        }
      };
      server = await startHello({
        env: { NOTIFY_SOCKET: address },
        files: { 'plugins/hello.js': pluginThatTellsItsEnvironment },
      });
      const { url, pid } = server;
      const ready = { READY: '1', MAINPID: String(pid) };
      expect(await next()).to.include({
        ...ready,
        STATUS: `Serving on ${url}, 1 of 1 workers, generation 1`,
      });
      expect(await server.json('/hello')).to.deep.equal({ found: [] });

      server.signal('SIGHUP');
      expect(await next()).to.include({ RELOADING: '1', MAINPID: String(pid) });
      expect(await next()).to.include({
        ...ready,
        STATUS: `Serving on ${url}, 1 of 1 workers, generation 2`,
      });

      await server.write('plugin-server.ini', '[paths]\npidfile=run/server.pid\n[broken');
      expect((await server.command('reload')).status).to.equal(1);
      expect(await next()).to.include({ RELOADING: '1' });
      const failed = await next();
      expect(failed).to.include(ready);
      expect(failed.STATUS).to.match(/; the latest reload failed$/);

      server.signal('SIGTERM');
      expect(await next()).to.include({ STOPPING: '1', MAINPID: String(pid) });
      expect((await server.exited).status).to.equal(0);
    } finally {
      listener.stdin.end();
      await once(listener, 'exit');
    }
  });

  it('serves on the socket that it is passed, over reloads and crashes', async () => {
    const listener = createServer().listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const { port } = listener.address() as { port: number };
    // The child gets a copy of the descriptor; that of this process closes before anybody connects.
    const { fd } = (listener as unknown as { _handle: { fd: number } })._handle;
    server = await startHello({
      ini: '[network]\nbindto=192.0.2.1\n',
      through: { file: 'sh', args: ['-c', 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"', 'sh'], fds: [fd] },
    });
    listener.close();
    expect(server.url).to.equal(`http://127.0.0.1:${port}`);
    const { pid } = await server.json<Greeting>('/hello');
    expect((await server.command('reload')).status).to.equal(0);
    const second = await server.json<Greeting>('/hello');
    expect(second.pid).to.not.equal(pid);
    const lost = server.next('a worker was lost');
    process.kill(second.pid, 'SIGKILL');
    await lost;
    expect((await server.json<Greeting>('/hello')).greeting).to.equal('Hello');
  });

  it('takes no socket that was passed to another process', async () => {
    server = await startHello({ env: { LISTEN_PID: '1', LISTEN_FDS: '1' } });
    expect((await server.json<Greeting>('/hello')).greeting).to.equal('Hello');
  });

  it('has unit files in docs/ that systemd accepts', async function () {
    const has = await runProgram('sh', ['-c', 'command -v systemd-analyze'], folder);
    if (has.status !== 0) this.skip();
    const docs = fileURLToPath(new URL('../../../../docs/', import.meta.url));
    // The program that the unit starts has to be there.
    await writeFiles(folder, { 'bin/plugin-server': '#!/bin/sh\n' });
    await chmod(join(folder, 'bin/plugin-server'), 0o755);
    for (const unit of ['plugin-server.service', 'plugin-server.socket']) {
      const text = await readFile(join(docs, unit), 'utf8');
      await writeFiles(folder, { [unit]: text.replaceAll('/usr/local/bin', join(folder, 'bin')) });
    }
    const { status, stdout, stderr } = await runProgram(
      'systemd-analyze',
      ['verify', '--man=no', join(folder, 'plugin-server.service'), join(folder, 'plugin-server.socket')],
      folder,
    );
    expect({ status, output: stdout + stderr }).to.deep.equal({ status: 0, output: '' });
  });
});

const pluginThatTellsItsEnvironment = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      ctx.body = { found: Object.keys(process.env).filter((name) => /^(NOTIFY_SOCKET|LISTEN_)/.test(name)) };
    });
  },
});
`;
