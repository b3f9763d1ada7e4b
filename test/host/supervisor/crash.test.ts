import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeCertificate } from '../../support/certificates.js';
import {
  type Greeting,
  hello,
  isListening,
  pidsOf,
  ServerProcess,
  startHello,
} from '../../support/process.js';

describe('a crash', () => {
  let server: ServerProcess;
  afterEach(() => server.close());

  const crash = async () => {
    await server.fetch('/hello/crash', { method: 'POST' }).catch(() => {});
  };

  it('of a worker costs no connection made before its replacement serves', async () => {
    server = await startHello();
    const { pid } = await server.json<Greeting>('/hello');
    const lost = server.next('a worker was lost (SIGKILL)');
    process.kill(pid, 'SIGKILL');
    await lost;
    const answers = await Promise.all(Array.from({ length: 20 }, () => server.json<Greeting>('/hello')));
    expect(new Set(answers.map((answer) => answer.pid)).size).to.equal(1);
    expect(answers[0]?.pid).to.not.equal(pid);
  });

  it('of a worker that is one of two leaves the other serving', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:2\n' });
    const { pid } = await server.json<Greeting>('/hello');
    const replaced = server.next('a new worker serves');
    process.kill(pid, 'SIGKILL');
    expect((await server.json<Greeting>('/hello')).pid).to.not.equal(pid);
    await replaced;
    expect(await pidsOf(server, 2)).to.have.lengthOf(2);
  });

  it('that repeats is answered with growing pauses, which the log tells', async () => {
    server = await startHello();
    for (let i = 0; i < 4; i += 1) {
      const replaced = server.next('a new worker serves');
      await crash();
      await replaced;
    }
    const pauses = server.logs
      .filter(({ msg }) => msg.startsWith('a worker was lost'))
      .map(({ msg }) => msg.replace(/.*; /, ''));
    expect(pauses).to.deep.equal([
      'a new one starts at once',
      'a new one starts in 0.1 s',
      'a new one starts in 0.2 s',
      'a new one starts in 0.4 s',
    ]);
  });

  it('is mended with the configuration that is in force, whatever its file says by now', async () => {
    server = await startHello({ ini: '[plugin_parms]\nhello=greeting=Old\n' });
    await server.write('plugin-server.ini', '[broken');
    const replaced = server.next('a new worker serves');
    await crash();
    await replaced;
    expect((await server.json<Greeting>('/hello')).greeting).to.equal('Old');
  });

  it('is mended with the plugins and the certificate that are in force, and tells of code that is not', async () => {
    const { key, cert } = await makeCertificate();
    server = await startHello({
      ini: '[ssl]\nenabled=bool:on\nkeyfile=key.pem\ncertfile=cert.pem\n',
      files: { 'key.pem': key, 'cert.pem': cert },
    });
    await server.write('cert.pem', 'half a certif');
    await server.write('plugins/half.json/package.json', '{');
    await server.write('plugins/hello.js', hello('Edited'));
    const replaced = server.next('a new worker serves');
    const told = server.next('the code of hello has changed since the last reload');
    const agent = new Agent({ rejectUnauthorized: false });
    request(`${server.url}/hello/crash`, { method: 'POST', agent })
      .on('error', () => {})
      .end();
    await Promise.all([replaced, told]);
    agent.destroy();
  });

  it('that cannot be mended is tried again until it can, and is a 503 meanwhile', async () => {
    server = await startHello();
    const code =
      "import { definePlugin } from 'plugin-server';\nexport default definePlugin({ setup() { throw new Error('no disk'); } });";
    await server.write('plugins/hello.js', code);
    const failed = server.next('a lost worker could not be replaced');
    await crash();
    const line = await failed;
    expect(line.msg).to.contain('no disk');
    const [waited, health] = await Promise.all([server.fetch('/hello'), server.fetch('/livez')]);
    expect([waited.status, health.status]).to.deep.equal([503, 200]);
    expect(waited.headers.get('Retry-After')).to.match(/^\d+$/);
    const replaced = server.next('a new worker serves');
    await server.write('plugins/hello.js', hello());
    await replaced;
    let status = 503;
    while (status === 503) ({ status } = await server.fetch('/hello'));
    expect(status).to.equal(200);
  });

  it('of the supervisor takes its workers with it and frees the port', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:2\n' });
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    await once(socket, 'connect');
    const closed = once(socket, 'close');
    socket.resume().on('error', () => {});
    socket.write('GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await once(socket, 'data');
    server.signal('SIGKILL');
    await server.exited;
    await closed;
    // The log's pipe closes when the last process that writes to it has ended.
    if (!server.child.stdout?.readableEnded) await once(server.child, 'close');
    expect(await isListening(server.url)).to.equal(false);
  });

  // The second finds no setpriv in its PATH, and has to watch the supervisor itself.
  for (const [by, env] of [
    ['the system', {}],
    ['a thread', { PATH: '' }],
  ] as const)
    it(`of the supervisor ends a worker that is in an endless loop, by ${by}`, async () => {
      server = await startHello({
        ini: '[network]\nworker_timeout=int:0\n',
        env,
        files: {
          'plugins/hello.js': `import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ router }) {
  router.post('/loop', (ctx) => {
    ctx.body = {};
    ctx.res.on('finish', () => setImmediate(() => { for (;;); }));
  });
} });`,
        },
      });
      expect((await server.fetch('/hello/loop', { method: 'POST' })).status).to.equal(200);
      server.signal('SIGKILL');
      await server.exited;
      // The log's pipe closes when the last process that writes to it has ended.
      if (!server.child.stdout?.readableEnded) await once(server.child, 'close');
      expect(await isListening(server.url)).to.equal(false);
    });

  it('of the supervisor ends a worker that is stuck in its start', async () => {
    server = await ServerProcess.start({
      raw: true,
      ini: '[network]\nworker_timeout=int:0\n',
      files: {
        'plugins/stuck.js': `import { writeSync } from 'node:fs';
import { definePlugin } from 'plugin-server';
export default definePlugin({ setup() {
  writeSync(1, JSON.stringify({ level: 'info', msg: 'stuck' }) + '\\n');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
} });`,
      },
    });
    await server.until(({ msg }) => msg === 'stuck');
    server.signal('SIGKILL');
    await server.exited;
    if (!server.child.stdout?.readableEnded) await once(server.child, 'close');
  });

  it('of the supervisor ends workers whose threads are busy or asleep, whatever holds them', async () => {
    const holds: readonly string[] = [
      'for (;;) Math.sqrt(2);',
      'const next = () => process.nextTick(next); next();',
      'const next = () => Promise.resolve().then(next); next();',
      'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);',
      "execFileSync('sleep', ['60']);",
      "pbkdf2Sync('a', 'b', 1e9, 64, 'sha512');",
      "/^(a+)+$/.test('a'.repeat(60) + '!');",
      "for (;;) readFileSync('/proc/self/stat');",
      // The main thread is free, and exits; the pool's thread waits for a writer.
      "readFile('pipe', () => {});",
    ];
    server = await startHello({
      // Those that are not held yet get little of the processor.
      ini: `[network]\nworker_timeout=int:0\nworkers=int:${holds.length}\n[limits]\nmax_delay=int:0\n`,
      files: {
        'plugins/hello.js': `import { execFileSync } from 'node:child_process';
import { pbkdf2Sync } from 'node:crypto';
import { readFile, readFileSync } from 'node:fs';
import { definePlugin } from 'plugin-server';
const holds = [${holds.map((code) => `() => { ${code} }`).join(',\n')}];
export default definePlugin({ setup({ router }) {
  router.post('/hold/:n', (ctx) => {
    ctx.body = { pid: process.pid };
    ctx.res.on('finish', holds[ctx.params.n]);
  });
} });`,
      },
      args: ['--safe'],
    });
    execFileSync('mkfifo', [join(server.folder, 'pipe')]);
    const held = new Set<number>();
    // One that is held accepts no other connection, so each comes to a worker of its own.
    for (const n of holds.keys()) {
      const headers = { connection: 'close' };
      const answer = await fetch(`${server.url}/hello/hold/${n}`, { method: 'POST', headers });
      held.add(((await answer.json()) as { pid: number }).pid);
    }
    expect(held.size).to.equal(holds.length);
    server.signal('SIGKILL');
    await server.exited;
    for (const pid of held) {
      while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 50));
    }
  });

  it('of the supervisor ends a worker that has not begun to listen to it', async () => {
    const preloaded = `import { writeSync } from 'node:fs';
setInterval(() => {}, 1000);
writeSync(1, JSON.stringify({ level: 'info', msg: 'preloading' }) + '\\n');
await new Promise((resolve) => process.once('disconnect', resolve));`;
    server = await ServerProcess.start({
      raw: true,
      files: { 'slow.mjs': preloaded },
      args: ['--import', './slow.mjs'],
    });
    await server.until(({ msg }) => msg === 'preloading');
    server.signal('SIGKILL');
    await server.exited;
    if (!server.child.stdout?.readableEnded) await once(server.child, 'close');
  });

  it('of the supervisor leaves a pid file that the next server takes for stale', async () => {
    server = await startHello();
    server.signal('SIGKILL');
    await server.exited;
    const stale = await server.command('reload');
    expect(stale.status).to.equal(1);
    expect(stale.stderr).to.contain('run/server.pid is left from a server that has ended');
    // Its pid may be another program's by now: this one's, say.
    await server.write('run/server.pid', `${process.pid}\n`);
    expect((await server.command('stop')).stderr).to.contain('is left from a server that has ended');
    const next = await startHello({ folder: server.folder });
    expect((await next.json<Greeting>('/hello')).greeting).to.equal('Hello');
    await next.close();
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
