import { once } from 'node:events';
import { rename, rm } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { get as getTls } from 'node:https';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeCertificate } from '../../support/certificates.js';
import {
  type Greeting,
  hello,
  holdRequest,
  isListening,
  pidsOf,
  type ServerProcess,
  startHello,
} from '../../support/process.js';

describe('a reload', () => {
  let server: ServerProcess;
  afterEach(() => server.close());

  it('brings new code and configuration into force, and the command waits for it', async () => {
    server = await startHello();
    const before = await server.json<Greeting>('/hello');
    await server.write('plugins/hello.js', hello('Good day'));
    const result = await server.command('reload');
    expect(result).to.deep.equal({ status: 0, stdout: 'reloaded\n', stderr: '' });
    const after = await server.json<Greeting>('/hello');
    expect(after.greeting).to.equal('Good day');
    expect(after.pid).to.not.equal(before.pid);
  });

  it('that meets a wrong configuration leaves the old one in force and prints what is wrong', async () => {
    server = await startHello();
    const before = await server.json<Greeting>('/hello');
    await server.write(
      'plugin-server.ini',
      '[main]\nsafe=list:hello\n[paths]\npidfile=run/server.pid\n[network]\nprot=int:0\n',
    );
    const result = await server.command('reload');
    expect(result.status).to.equal(1);
    expect(result.stdout).to.equal('');
    expect(result.stderr).to.match(
      /^plugin-server\.ini:6:1: unknown key "prot" in \[network\]; did you mean "port"\?/,
    );
    expect(result.stderr).to.match(
      /\nplugin-server: not reloaded, the server continues unchanged: 1 problem\n$/,
    );
    expect(await server.json('/hello')).to.deep.equal(before);
    const line = await server.until(({ msg }) => msg.startsWith('not reloaded'));
    expect(line.level).to.equal('error');
  });

  it('that meets a plugin which fails in its setup leaves the old one in force and names it', async () => {
    server = await startHello();
    const before = await server.json<Greeting>('/hello');
    await server.write(
      'plugins/hello.js',
      hello().replace('setup({ config, router, metrics }) {', "$& throw new Error('no disk');"),
    );
    const result = await server.command('reload');
    expect(result.status).to.equal(1);
    expect(result.stderr).to.match(
      /^plugins\/hello\.js:\d+:\d+: plugin "hello" failed in its setup: no disk/,
    );
    expect(await server.json('/hello')).to.deep.equal(before);
  });

  it('that meets a plugin whose process ends at start leaves the old one in force', async () => {
    server = await startHello();
    const before = await server.json<Greeting>('/hello');
    await server.write('plugins/hello.js', hello().replace('metrics }) {', '$& process.exit(7);'));
    const result = await server.command('reload');
    expect(result.status).to.equal(1);
    expect(result.stderr).to.contain('A worker process ended before it was ready (exit status 7)');
    expect(await server.json('/hello')).to.deep.equal(before);
  });

  for (const signal of ['SIGHUP', 'SIGUSR1'] as const) {
    it(`follows from ${signal}`, async () => {
      server = await startHello();
      const before = await server.json<Greeting>('/hello');
      const reloaded = server.next('reloaded');
      server.signal(signal);
      await reloaded;
      const after = await server.json<Greeting>('/hello');
      expect(after.pid).to.not.equal(before.pid);
    });
  }

  it('is one for all who ask while another runs', async () => {
    server = await startHello();
    const results = await Promise.all(Array.from({ length: 6 }, () => server.command('reload')));
    expect(results.map(({ status }) => status)).to.deep.equal([0, 0, 0, 0, 0, 0]);
    const { plugin_server_reloads_total: reloads } = await metricsOf(server);
    expect(Number(reloads)).to.be.lessThan(6);
  });

  it('lets a request that the old generation has in hand finish there, and closes its connection', async () => {
    server = await startHello();
    const { pid } = await server.json<Greeting>('/hello');
    const agent = new Agent({ keepAlive: true });
    const held = await holdRequest(server.url, agent);
    expect((await server.command('reload')).status).to.equal(0);
    expect((await server.json<Greeting>('/hello')).pid).to.not.equal(pid);
    const { status, headers, body } = await held.finish();
    expect({ status, body, connection: headers.connection }).to.deep.equal({
      status: 200,
      body: { word: 'late', pid },
      connection: 'close',
    });
    agent.destroy();
  });

  it('costs a client that never pauses nothing', async () => {
    server = await startHello();
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    let running = true;
    let answers = 0;
    const clients = Array.from({ length: 8 }, async () => {
      while (running) {
        const { statusCode } = await new Promise<{ statusCode?: number | undefined }>((resolve, reject) => {
          const call = get(`${server.url}/hello`, { agent }, (answer) =>
            answer.resume().on('end', () => resolve(answer)),
          );
          call.on('error', reject);
        });
        expect(statusCode).to.equal(200);
        answers += 1;
      }
    });
    for (let i = 0; i < 4; i += 1) expect((await server.command('reload')).status).to.equal(0);
    running = false;
    await Promise.all(clients);
    expect(answers).to.be.greaterThan(0);
    agent.destroy();
  });

  it('is answered over HTTP once it is in force, or with what is wrong', async () => {
    server = await startHello({ ini: '[auth]\napikey=k\n' });
    const headers = { Authorization: 'Bearer k' };
    const done = await server.fetch('/reload/hello', { method: 'POST', headers });
    expect(done.status).to.equal(200);
    expect(await done.json()).to.deep.equal({ reloaded: 'hello', success: true });
    await server.write(
      'plugin-server.ini',
      '[main]\nsafe=list:hello\n[auth]\napikey=k\n[network]\nport=int:x\n',
    );
    const failed = await server.fetch('/reload/all', { headers });
    expect(failed.status).to.equal(422);
    const { code, problems } = (await failed.json()) as {
      code: string;
      problems: { file: string; line: number }[];
    };
    expect(code).to.equal('reload_failed');
    expect(problems).to.have.lengthOf(1);
    expect(problems[0]).to.include({ file: 'plugin-server.ini', line: 6 });
    await server.write(
      'plugin-server.ini',
      '[main]\nsafe=list:hello\n[auth]\napikey=k\n[network]\nprot=int:0\n',
    );
    const { error } = (await (await server.fetch('/reload/all', { headers })).json()) as { error: string };
    expect(error).to.match(/did you mean "port"\?$/);
  });

  it('moves to another port, and stays when that is taken', async () => {
    server = await startHello();
    const first = server.url;
    const occupant = createServer().listen(0, '127.0.0.1');
    await once(occupant, 'listening');
    const { port } = occupant.address() as { port: number };
    const ini = `[main]\nsafe=list:hello\n[paths]\npidfile=run/server.pid\n[network]\nport=int:${port}\n`;
    await server.write('plugin-server.ini', ini);
    const refused = await server.command('reload');
    expect(refused.status).to.equal(1);
    expect(refused.stderr).to.contain(`ort ${port} on 127.0.0.1 is in use`);
    expect((await server.fetch('/hello')).status).to.equal(200);
    occupant.close();
    await once(occupant, 'close');
    expect((await server.command('reload')).status).to.equal(0);
    server.url = `http://127.0.0.1:${port}`;
    expect((await server.json<Greeting>('/hello')).greeting).to.equal('Hello');
    expect(await isListening(first)).to.equal(false);
  });

  it('changes the number of workers', async () => {
    server = await startHello();
    const ini =
      '[main]\nsafe=list:hello\n[paths]\npidfile=run/server.pid\n[network]\nport=int:0\nworkers=int:3\n';
    await server.write('plugin-server.ini', ini);
    expect((await server.command('reload')).status).to.equal(0);
    expect(await pidsOf(server, 3)).to.have.lengthOf(3);
  });

  it('moves the pid file', async () => {
    server = await startHello();
    await server.write(
      'plugin-server.ini',
      '[main]\nsafe=list:hello\n[paths]\npidfile=other.pid\n[network]\nport=int:0\n',
    );
    const reloaded = server.next('reloaded');
    server.signal('SIGHUP');
    await reloaded;
    expect((await server.command('reload')).stdout).to.equal('reloaded\n');
  });

  it('takes a new certificate', async () => {
    const [one, two] = await Promise.all([makeCertificate(), makeCertificate()]);
    server = await startHello({
      ini: '[ssl]\nenabled=bool:on\nkeyfile=key.pem\ncertfile=cert.pem\n',
      files: { 'key.pem': one.key, 'cert.pem': one.cert },
    });
    const first = await fingerprint(server.url);
    expect(first).to.be.a('string');
    await server.write('new.pem', two.key);
    await rename(join(server.folder, 'new.pem'), join(server.folder, 'key.pem'));
    expect((await server.command('reload')).stderr).to.contain('the keyfile does not belong to the certfile');
    await server.write('cert.pem', two.cert);
    expect((await server.command('reload')).status).to.equal(0);
    expect(await fingerprint(server.url)).to.not.equal(first);
  });

  it('says which line is missing when no pid file is named', async () => {
    server = await startHello();
    await server.write('other.ini', '[network]\nport=int:0\n');
    const result = await server.command('reload', '-i', 'other.ini');
    expect(result.status).to.equal(1);
    expect(result.stderr).to.contain('[paths]\npidfile=plugin-server.pid\n');
    await rm(join(server.folder, 'other.ini'));
    expect((await server.command('reload', '-i', 'other.ini')).stderr).to.contain(
      'other.ini:1:1: the file does not exist',
    );
  });
});

async function metricsOf(server: ServerProcess): Promise<Record<string, string>> {
  const text = await (await server.fetch('/metrics')).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(lines.map((line) => [line.replace(/[{ ].*/, ''), line.replace(/^.* /, '')]));
}

function fingerprint(url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const call = getTls(`${url}/hello`, { rejectUnauthorized: false, agent: false }, (answer) => {
      resolve((answer.socket as import('node:tls').TLSSocket).getPeerCertificate().fingerprint256);
      answer.resume();
    });
    call.on('error', reject);
  });
}
