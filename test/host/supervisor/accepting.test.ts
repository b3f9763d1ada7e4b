import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { get, Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { makeCertificate } from '../../support/certificates.js';
import { freePort } from '../../support/mongodb/process.js';
import {
  type Greeting,
  hello,
  isListening,
  pidsOf,
  runCommand,
  ServerProcess,
  startHello,
} from '../../support/process.js';
import { sendRaw } from '../../support/raw.js';
import { makeFolder, writeFiles } from '../../support/server.js';

describe('a connection that a worker accepts', () => {
  let server: ServerProcess;
  afterEach(() => server.close());
  const port = () => Number(new URL(server.url).port);

  it('comes to each of several workers when many come at once', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:3\n' });
    expect(await pidsOf(server, 3)).to.have.lengthOf(3);
  });

  it('waits for its answer while every worker sets up, and gets it from the new generation after a reload', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:2\n' });
    const before = await pidsOf(server, 2);
    expect((await server.command('reload')).status).to.equal(0);
    const after = await Promise.all(Array.from({ length: 40 }, () => server.json<Greeting>('/hello')));
    expect(after.filter(({ pid }) => before.includes(pid))).to.deep.equal([]);
  });

  it('costs no answer over reloads, with a connection for each request', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:2\n' });
    let reloading = true;
    const statuses = new Map<number, number>();
    const clients = Array.from({ length: 4 }, async () => {
      for (; reloading; await sleep(5)) {
        const answer = await sendRaw(
          port(),
          'GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
        );
        const status = Number(answer.split(' ')[1] ?? 0);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    });
    for (let i = 0; i < 4; i += 1) expect((await server.command('reload')).status).to.equal(0);
    reloading = false;
    await Promise.all(clients);
    expect([...statuses.keys()]).to.deep.equal([200]);
  });

  it('at a port that a reload gives up is answered, and then refused', async () => {
    server = await startHello();
    const old = server.url;
    await server.write(
      'plugin-server.ini',
      '[paths]\npidfile=run/server.pid\n[network]\nport=int:0\nbindto=localhost\n',
    );
    const served = server.next('serving on');
    expect((await server.command('reload')).status).to.equal(0);
    expect((await served).url).to.not.equal(old);
    expect(await isListening(old)).to.equal(false);
  });

  it('comes over a Unix socket, which its group may use and which is gone at the end', async () => {
    server = await startHello({
      exactIni: true,
      ini: '[network]\nbindto=unix:run/http.sock\nworkers=int:2\n',
      files: { 'run/.keep': '' },
    });
    const socketPath = join(server.folder, 'run/http.sock');
    expect(server.url).to.equal(`http+unix:${socketPath}`);
    expect(statSync(socketPath).mode & 0o777).to.equal(0o660);
    const ask = async () => {
      const call = get({ socketPath, path: '/hello', agent: false });
      const [answer] = (await once(call, 'response')) as [IncomingMessage];
      answer.resume();
      return answer.statusCode;
    };
    expect(await ask()).to.equal(200);
    expect((await server.command('reload')).status).to.equal(0);
    expect(await ask()).to.equal(200);
    server.signal('SIGTERM');
    await server.exited;
    expect(existsSync(socketPath)).to.equal(false);
  });

  it('comes over each of several addresses, and over those alone that a reload leaves', async () => {
    const ini = (list: string) =>
      `[main]\nsafe=list:hello\n[paths]\npidfile=run/server.pid\n[network]\nbindto=list:${list}\nport=int:0\nworkers=int:2\n`;
    server = await ServerProcess.start({
      exactIni: true,
      ini: ini('127.0.0.1 ::1 unix:run/http.sock'),
      files: { 'plugins/hello.js': hello(), 'run/.keep': '' },
      args: ['--safe'],
    });
    const free = port();
    const socketPath = join(server.folder, 'run/http.sock');
    const line = server.logs.find(({ msg }) => msg.startsWith('serving on '))!;
    const urls = [`http://127.0.0.1:${free}`, `http://[::1]:${free}`, `http+unix:${socketPath}`];
    expect([line.msg, line.urls]).to.deep.equal([`serving on ${urls.join(' and ')}`, urls]);
    expect(statSync(socketPath).mode & 0o777).to.equal(0o660);
    const ask = async (to: object) => {
      const call = get({ ...to, path: '/hello', agent: false });
      const [answer] = (await once(call, 'response')) as [IncomingMessage];
      return (JSON.parse(await text(answer)) as Greeting).pid;
    };
    const [v4, v6, other] = ['127.0.0.1', '::1', '127.0.0.2'].map((host) => ({ host, port: free }));
    for (const to of [v4!, v6!, { socketPath }]) {
      const pids = new Set<number>();
      while (pids.size < 2)
        for (const pid of await Promise.all(Array.from({ length: 8 }, () => ask(to)))) pids.add(pid);
    }
    let reloading = true;
    let answers = 0;
    const clients = [v4!, { socketPath }].map(async (to) => {
      for (; reloading; answers += 1) await ask(to);
    });
    await server.write('plugin-server.ini', ini('unix:run/http.sock 127.0.0.2 127.0.0.1'));
    expect((await server.command('reload')).stderr).to.equal('');
    const mark = answers;
    while (answers < mark + 2) await ask(other!);
    reloading = false;
    await Promise.all(clients);
    expect(await isListening(`http://[::1]:${free}`)).to.equal(false);
    expect(await ask(v4!)).to.be.a('number');
    server.signal('SIGTERM');
    await server.exited;
    expect(existsSync(socketPath)).to.equal(false);
  });

  it('takes the place of a Unix socket that a killed server left, and of no other', async () => {
    const options = {
      exactIni: true,
      ini: '[network]\nbindto=unix:http.sock\n',
    };
    server = await startHello(options);
    const { folder } = server;
    const taken = await runCommand(folder, 'start');
    expect(taken.status).to.equal(1);
    server.signal('SIGKILL');
    await server.exited;
    expect(existsSync(join(folder, 'http.sock'))).to.equal(true);
    const next = await startHello({ ...options, folder });
    await next.close();
  });

  it('is refused at the start where the path of a Unix socket is too long', async () => {
    const folder = await makeFolder();
    await writeFiles(folder, { 'plugin-server.ini': `[network]\nbindto=unix:${'x'.repeat(120)}\n` });
    const { status, stderr } = await runCommand(folder, 'start');
    expect(status).to.equal(1);
    expect(stderr).to.match(
      /plugin-server\.ini:2:8: the path of the Unix socket \S+ has \d+ bytes; at most \d+ /,
    );
    await rm(folder, { recursive: true });
  });

  it('is refused at the start where another program has the port, whatever this one would do with it', async () => {
    server = await startHello();
    const folder = await makeFolder();
    await writeFiles(folder, { 'plugin-server.ini': `[network]\nport=int:${port()}\n` });
    const { status, stderr } = await runCommand(folder, 'start');
    expect(status).to.equal(1);
    expect(stderr).to.contain(
      `plugin-server.ini:2:6: port ${port()} on 127.0.0.1 is in use by another program; stop that program, or set another "port" in [network]\n`,
    );
    await rm(folder, { recursive: true });
  });

  it('goes to one of two servers that start at once on one port, and the other says that it is taken', async () => {
    server = await startHello();
    const free = await freePort();
    const folders = await Promise.all([makeFolder(), makeFolder()]);
    for (const folder of folders) {
      await writeFiles(folder, { 'plugin-server.ini': `[network]\nport=int:${free}\n` });
    }
    const starts = await Promise.all(
      folders.map((folder) =>
        ServerProcess.start({ folder, exactIni: true, ini: `[network]\nport=int:${free}\n`, raw: true }),
      ),
    );
    const ends = starts.map(({ exited }, index) => exited.then(({ status }) => ({ status, index })));
    const loser = await Promise.race(ends);
    expect(loser.status).to.equal(1);
    const winner = starts[1 - loser.index]!;
    await winner.until(({ msg }) => msg.startsWith('serving on '));
    await winner.close();
    await starts[loser.index]!.close();
  });

  it('is let go by a worker that keeps more than its share, so that its client comes back to another', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:2\n' });
    const agents = Array.from({ length: 24 }, () => new HttpAgent({ keepAlive: true, maxSockets: 1 }));
    const ask = async (agent: HttpAgent) => {
      const call = get(`${server.url}/hello`, { agent });
      const [answer] = (await once(call, 'response')) as [IncomingMessage];
      return JSON.parse(await text(answer)) as Greeting;
    };
    let busiest = agents.length;
    for (const end = Date.now() + 20_000; busiest > 0.6 * agents.length && Date.now() < end; ) {
      const answers = await Promise.all(agents.map(ask));
      const counts = new Map<number, number>();
      for (const { pid } of answers) counts.set(pid, (counts.get(pid) ?? 0) + 1);
      busiest = Math.max(...counts.values());
    }
    for (const agent of agents) agent.destroy();
    expect(busiest).to.be.at.most(0.6 * agents.length);
  });

  it('ends when its client is slower than the limits allow', async () => {
    server = await startHello({ ini: '[limits]\nheader_timeout=int:1\n' });
    const answer = await sendRaw(port(), 'GET /hello HTTP/1.1\r\nHost: localhost\r\n');
    expect(answer).to.match(/^HTTP\/1\.1 408 /);
  });

  it('is one of those that count against the limit', async () => {
    server = await startHello({ ini: '[limits]\nconnections=int:2\n' });
    const sockets = [connect(port(), '127.0.0.1'), connect(port(), '127.0.0.1')];
    for (const socket of sockets) {
      socket.write('GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n');
      await once(socket, 'data');
    }
    expect(
      await sendRaw(port(), 'GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
    ).to.not.match(/^HTTP\/1\.1 200/);
    for (const socket of sockets) socket.destroy();
  });

  it('answers a client that has closed its sending side', async () => {
    server = await startHello();
    const socket = connect({ port: port(), host: '127.0.0.1', allowHalfOpen: true });
    socket.write('GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
    const [first] = (await once(socket, 'data')) as [Buffer];
    expect(String(first)).to.match(/^HTTP\/1\.1 200 /);
    socket.end();
    await once(socket, 'end');
  });

  it('by TLS is closed at a stop while it asks nothing', async () => {
    const { key, cert } = await makeCertificate();
    server = await startHello({
      ini: '[ssl]\nenabled=bool:on\nkeyfile=key.pem\ncertfile=cert.pem\n[network]\nstop_timeout=int:60\n',
      files: { 'key.pem': key, 'cert.pem': cert },
    });
    const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
    const call = request(`${server.url}/hello`, { agent }).end();
    const [answer] = await once(call, 'response');
    answer.resume();
    await once(answer, 'end');
    server.signal('SIGTERM');
    expect((await server.exited).status).to.equal(0);
    agent.destroy();
  });
});
