import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { ServerProcess } from '../../support/process.js';

type Address = { readonly host: string; readonly port: number } | { readonly socketPath: string };

const plugin = `import { existsSync } from 'node:fs';
import { definePlugin } from 'plugin-server';
export default definePlugin({ setup({ router }) {
  router.get('/', (ctx) => { ctx.body = { pid: process.pid }; });
  router.post('/busy', (ctx) => {
    ctx.body = { pid: process.pid };
    ctx.res.on('finish', () => { while (!existsSync('enough')); });
  });
} });`;

describe('two workers at a port, a Unix socket and an address for operators', () => {
  let server: ServerProcess;
  let tcp: Address;
  let unix: Address;
  let admin: string;
  const kept = new Map<Socket, Address>();
  afterEach(async () => {
    for (const socket of kept.keys()) socket.destroy();
    kept.clear();
    await server.close();
  });

  const start = async (limits: string) => {
    server = await ServerProcess.start({
      exactIni: true,
      ini: `[main]\nsafe=list:hello\n[network]\nbindto=list:127.0.0.1 unix:run/http.sock\nport=int:0\nworkers=int:2\nworker_timeout=int:0\n[admin]\nport=int:0\n[plugin_parms]\nhello=auth_type=none\n[limits]\n${limits}\n`,
      files: { 'plugins/hello.js': plugin, 'run/.keep': '' },
      args: ['--safe'],
    });
    tcp = { host: '127.0.0.1', port: Number(new URL(server.url).port) };
    unix = { socketPath: join(server.folder, 'run/http.sock') };
    const line = server.logs.find(({ msg }) => msg.startsWith('serving on '))!;
    admin = (line.admin_urls as string[])[0]!;
  };
  const ask = async (to: Address, path = '/hello', method = 'GET') => {
    const call = get({ ...to, path, method, agent: false });
    const [answer] = (await once(call, 'response')) as [IncomingMessage];
    const body = JSON.parse(await text(answer)) as { pid?: number; code?: string };
    return { ...body, status: answer.statusCode! };
  };
  /** The status of a first request. The connection is kept if that is 200. */
  const open = async (to: Address): Promise<number> => {
    const socket = 'port' in to ? connect(to.port, to.host) : connect(to.socketPath);
    socket.on('error', () => {});
    socket.write('GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    const status = Number(String(answer).split(' ')[1]);
    if (status === 200) kept.set(socket, to);
    return status;
  };
  const fill = async (...addresses: readonly Address[]) => {
    // A worker has space only when it has seen the end of a connection.
    for (let i = 0; kept.size < 20; i += 1) await open(addresses[i % addresses.length]!);
  };
  const ofOperators = async (path: string) => (await fetch(admin + path)).status;

  it('hold as many connections together as they may, whatever the address', async () => {
    await start('connections=int:20');
    await fill(tcp, unix);
    expect(new Set(kept.values()).size).to.equal(2);
    for (const to of [tcp, unix]) expect(await open(to)).to.equal(503);
    for (const path of ['/livez', '/readyz', '/metrics']) expect(await ofOperators(path), path).to.equal(200);
    for (const [socket, to] of kept) {
      if (to === tcp) continue;
      socket.destroy();
      kept.delete(socket);
    }
    await fill(tcp);
    for (const to of [unix, tcp]) expect(await open(to)).to.equal(503);
  });

  it('refuse at the port while both are busy, respond to health checks, and serve everybody afterwards', async () => {
    await start('max_delay=int:200');
    // The first is busy, so that the second comes to the other worker.
    const busy = [await ask(tcp, '/hello/busy', 'POST'), await ask(unix, '/hello/busy', 'POST')];
    expect(new Set(busy.map(({ pid }) => pid)).size).to.equal(2);
    const waiting = [ask(unix)];
    let first: number | undefined;
    while (first === undefined) {
      const asked = ask(tcp);
      waiting.push(asked);
      const soon = new Promise<undefined>((resolve) => setTimeout(resolve, 50, undefined));
      const answer = await Promise.race([asked, soon]);
      if (answer?.code === 'overloaded') first = answer.status;
    }
    expect(first).to.equal(503);
    expect((await ask(tcp, '/livez')).status).to.equal(200);
    expect(await ofOperators('/livez')).to.equal(200);
    await server.write('enough', '');
    for (const { status } of await Promise.all(waiting)) expect(status).to.be.oneOf([200, 503]);
    // The supervisor refuses until it has heard from a worker.
    for (const to of [tcp, unix]) while ((await ask(to)).status !== 200);
    expect(await ofOperators('/readyz')).to.equal(200);
  });
});
