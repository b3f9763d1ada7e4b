import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { holdRequest, isListening, type ServerProcess, startHello } from '../../support/process.js';
import { startServer } from '../../support/server.js';

describe('a stop', () => {
  let server: ServerProcess;
  afterEach(() => server.close());

  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    it(`by ${signal} ends the server with status 0, its pid file and its port`, async () => {
      server = await startHello();
      const pidFile = join(server.folder, 'run/server.pid');
      expect(existsSync(pidFile)).to.equal(true);
      server.signal(signal);
      expect(await server.exited).to.deep.equal({ status: 0, signal: null });
      expect(existsSync(pidFile)).to.equal(false);
      expect(existsSync(`${pidFile}.sock`)).to.equal(false);
      expect(await isListening(server.url)).to.equal(false);
    });
  }

  it('lets a request in hand finish', async () => {
    server = await startHello();
    const held = await holdRequest(server.url);
    const stopping = server.next('stopping');
    server.signal('SIGTERM');
    await stopping;
    const { status, body } = await held.finish();
    expect({ status, word: body.word }).to.deep.equal({ status: 200, word: 'late' });
    expect((await server.exited).status).to.equal(0);
  });

  it('does not wait for connections that ask nothing', async () => {
    server = await startHello();
    const agent = new Agent({ keepAlive: true });
    const idle = request(`${server.url}/hello`, { agent }).end();
    const [answer] = await once(idle, 'response');
    answer.resume();
    await once(answer, 'end');
    const unused = connect(Number(new URL(server.url).port), '127.0.0.1');
    await once(unused, 'connect');
    const closed = once(unused, 'close');
    unused.resume().on('error', () => {});
    server.signal('SIGTERM');
    await server.exited;
    await closed;
    agent.destroy();
  });

  it('by the command waits for the end', async () => {
    server = await startHello();
    const result = await server.command('stop');
    expect(result).to.deep.equal({ status: 0, stdout: 'stopped\n', stderr: '' });
    expect(await server.exited).to.deep.equal({ status: 0, signal: null });
    const again = await server.command('stop');
    expect(again.status).to.equal(1);
    expect(again.stderr).to.equal(
      'plugin-server: no server is running with plugin-server.ini: run/server.pid does not exist\n',
    );
  });

  it('asked for twice loses what is in hand', async () => {
    server = await startHello();
    const held = await holdRequest(server.url);
    const lost = held.answered.then(
      () => false,
      () => true,
    );
    const stopping = server.next('stopping');
    server.signal('SIGINT');
    await stopping;
    server.signal('SIGINT');
    expect((await server.exited).status).to.equal(0);
    expect(await lost).to.equal(true);
    expect(existsSync(join(server.folder, 'run/server.pid'))).to.equal(false);
  });

  it('ends a request that does not end by itself at the stop timeout', async () => {
    server = await startHello({ ini: '[network]\nstop_timeout=int:1\n' });
    const held = await holdRequest(server.url);
    const lost = held.answered.then(
      () => false,
      () => true,
    );
    server.signal('SIGTERM');
    expect((await server.exited).status).to.equal(0);
    expect(await lost).to.equal(true);
  });

  it('is announced by /readyz during the grace, while serving goes on', async () => {
    server = await startHello({ ini: '[network]\nstop_grace=int:3600\n' });
    expect((await server.fetch('/readyz')).status).to.equal(200);
    server.signal('SIGTERM');
    // The supervisor says so, and then tells the worker.
    while ((await server.fetch('/readyz')).status !== 503);
    expect((await server.fetch('/hello')).status).to.equal(200);
    server.signal('SIGTERM');
    expect((await server.exited).status).to.equal(0);
  });

  it('comes when the grace is over', async () => {
    server = await startHello({ ini: '[network]\nstop_grace=int:1\n' });
    server.signal('SIGTERM');
    expect(await server.exited).to.deep.equal({ status: 0, signal: null });
    await server.until(({ msg }) => msg === 'stopped');
    const [begun, ended] = ['stopping', 'stopped'].map((what) => {
      const { time } = server.logs.find(({ msg }) => msg === what)!;
      return new Date(time as string).getTime();
    });
    expect(ended! - begun!).to.be.at.least(990);
  });

  it('ends a reload that is on its way', async () => {
    server = await startHello();
    const hangs = `import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ log }) { log.info('setting up'); return new Promise(() => {}); } });`;
    await server.write('plugins/hello.js', hangs);
    const reload = server.command('reload');
    await server.until(({ msg }) => msg === 'setting up');
    server.signal('SIGTERM');
    expect(await server.exited).to.deep.equal({ status: 0, signal: null });
    const { status, stderr } = await reload;
    expect(status).to.equal(1);
    expect(stderr).to.match(/^plugin-server: (not reloaded|the server ended)/);
  });

  it('during the start is a stop, not a failure', async () => {
    server = await startHello({
      raw: true,
      files: {
        'plugins/hello.js': `import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ log }) { log.info('setting up'); return new Promise(() => {}); } });`,
      },
    });
    await server.until(({ msg }) => msg === 'setting up');
    server.signal('SIGTERM');
    expect(await server.exited).to.deep.equal({ status: 0, signal: null });
    expect(server.stderr).to.equal('');
  });
});

describe('a drain', () => {
  it('that is told twice waits for what asks nothing as long as the shorter of the two says', async () => {
    const server = await startServer({ ini: '[network]\nstop_timeout=int:3600\n' });
    const agent = new Agent({ keepAlive: true });
    const call = request(`${server.url}/livez`, { agent }).end();
    const [answer] = await once(call, 'response');
    answer.resume();
    await once(answer, 'end');
    const drained = server.host.drain({ idle: 3_600_000 });
    await Promise.all([drained, server.host.drain({ idle: 0 })]);
    agent.destroy();
    await server.close();
  });
});
