import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { WebSocket } from 'ws';
import { type Greeting, hello, pidsOf, type ServerProcess, startHello } from '../../support/process.js';

/** Beside what `hello` does: sockets that say who serves them, and echo. */
const plugin = `import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
${hello()}`
  .replace('router, metrics }', 'router, metrics, websocket }')
  .replace(
    'const count',
    `websocket('/socket', (socket) => {
      socket.send(String(process.pid));
      socket.on('message', (data) => socket.send(data));
      socket.on('close', async (code) => {
        await sleep(100);
        appendFileSync('left', code + '\\n');
      });
    });
    const count`,
  );

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

class Client {
  readonly closed: Promise<number>;
  #echo: (data: string) => void = () => {};

  private constructor(
    readonly socket: WebSocket,
    readonly pid: Promise<number>,
  ) {
    this.closed = once(socket, 'close').then(([code]) => code as number);
    socket.on('message', (data) => this.#echo(String(data)));
  }

  static async open(server: ServerProcess): Promise<Client> {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/hello/socket`);
    const pid = once(socket, 'message').then(([data]) => Number(data));
    const client = new Client(socket, pid);
    await pid;
    return client;
  }

  async echo(text: string): Promise<string> {
    const echoed = new Promise<string>((resolve) => {
      this.#echo = resolve;
    });
    this.socket.send(text);
    return echoed;
  }
}

describe('WebSockets of several workers', () => {
  let server: ServerProcess;
  afterEach(() => server.close());
  const start = (ini: string) => startHello({ ini, files: { 'plugins/hello.js': plugin } });
  const reload = async () => expect((await server.command('reload')).status).to.equal(0);

  it('stay on the old generation, are told 1012 in the end, and find the new one; close listeners are waited for', async () => {
    server = await start('[network]\nworkers=int:2\nstream_grace=int:2\n');
    const old = await pidsOf(server, 2);
    const clients = await Promise.all(Array.from({ length: 50 }, () => Client.open(server)));
    expect(new Set(await Promise.all(clients.map(({ pid }) => pid))).size).to.be.greaterThan(0);
    await reload();
    expect(await clients[0]!.echo('still here')).to.equal('still here');
    const codes = await Promise.all(clients.map(({ closed }) => closed));
    expect(new Set(codes)).to.deep.equal(new Set([1012]));
    while (old.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await readFile(join(server.folder, 'left'), 'utf8')).to.equal('1012\n'.repeat(50));
    const again = await Client.open(server);
    expect(old).to.not.include(await again.pid);
    again.socket.terminate();
  });

  it('are told 1012 when two further reloads have followed, and 1001 at a stop', async () => {
    server = await start('[network]\nstream_grace=int:3600\n');
    const clients: Client[] = [];
    for (let i = 0; i < 3; i += 1) {
      clients.push(await Client.open(server));
      await reload();
    }
    expect(await clients[0]!.closed).to.equal(1012);
    for (const client of clients.slice(1)) expect(await client.echo('still here')).to.equal('still here');
    server.signal('SIGTERM');
    expect(await Promise.all(clients.slice(1).map(({ closed }) => closed))).to.deep.equal([1001, 1001]);
    expect((await server.exited).status).to.equal(0);
  });

  it('end when their worker is killed, and find the one in its place', async () => {
    server = await start('[network]\nworkers=int:2\n');
    const client = await Client.open(server);
    const pid = await client.pid;
    process.kill(pid, 'SIGKILL');
    expect(await client.closed).to.equal(1006);
    await server.until(({ msg }) => msg.startsWith('a new worker serves'));
    const again = await Client.open(server);
    expect(await again.pid).to.not.equal(pid);
    again.socket.terminate();
  });

  it('are so many as 2,000, idle or busy, and lose no answer of other clients at a reload', async () => {
    server = await start('[network]\nworkers=int:2\nstream_grace=int:2\n');
    const clients: Client[] = [];
    while (clients.length < 2000)
      clients.push(...(await Promise.all(Array.from({ length: 100 }, () => Client.open(server)))));
    let reloading = true;
    const talk = clients.slice(0, 20).map(async (client) => {
      for (let i = 0; reloading && client.socket.readyState === WebSocket.OPEN; i += 1)
        expect(await Promise.race([client.echo(`${i}`), client.closed])).to.be.oneOf([`${i}`, 1012]);
    });
    const asks = Array.from({ length: 4 }, async () => {
      for (; reloading; await sleep(5))
        expect((await server.json<Greeting>('/hello')).greeting).to.equal('Hello');
    });
    await reload();
    const codes = await Promise.all(clients.map(({ closed }) => closed));
    reloading = false;
    await Promise.all([...talk, ...asks]);
    expect(codes.filter((code) => code !== 1012)).to.deep.equal([]);
    const metrics = async () => (await server.fetch('/metrics')).text();
    while (/^plugin_server_websockets\{.*\} [1-9]/m.test(await metrics()));
  });

  it('appear in the list of routes', async () => {
    server = await start('');
    const { stdout } = await server.command('routes');
    expect(stdout).to.match(/^GET 101 +\/hello\/socket +hello +none$/m);
  });
});
