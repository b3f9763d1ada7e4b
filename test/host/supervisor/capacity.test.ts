import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { WebSocket } from 'ws';
import { pidsOf, type ServerProcess, startHello } from '../../support/process.js';
import { startServer } from '../../support/server.js';

/** A connection that is kept, and what its first request was answered. */
interface Kept {
  readonly socket: Socket;
  readonly status: number;
  readonly pid: number;
}

describe('workers that hold as many connections as they may', () => {
  let server: ServerProcess;
  const kept: Kept[] = [];
  afterEach(async () => {
    for (const { socket } of kept.splice(0)) socket.destroy();
    await server.close();
  });

  const open = async (): Promise<Kept> => {
    const socket = connect(Number(new URL(server.url).port), '127.0.0.1');
    socket.on('error', () => {});
    socket.write('GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    const text = String(answer);
    const status = Number(text.split(' ')[1]);
    const connection = { socket, status, pid: Number(/"pid":(\d+)/.exec(text)?.[1]) };
    if (status === 200) kept.push(connection);
    return connection;
  };
  /** Closes the connections of one worker. */
  const leave = async (pid: number, count: number) => {
    const leaving = kept.filter((each) => each.pid === pid).slice(0, count);
    for (const each of leaving) {
      kept.splice(kept.indexOf(each), 1);
      each.socket.destroy();
    }
  };
  /** Tries until a worker has space. */
  const openOnce = async (): Promise<Kept> => {
    for (;;) {
      const connection = await open();
      if (connection.status === 200) return connection;
    }
  };

  it('leave new ones to those with space, and refuse only when all are full', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:2\n[limits]\nconnections=int:40\n' });
    const [one, two] = (await pidsOf(server, 2)) as [number, number];
    // Those of pidsOf are gone when the server has seen their end.
    while (kept.length < 40) await openOnce();
    const counts = [one, two].map((pid) => kept.filter((each) => each.pid === pid).length);
    expect(counts).to.deep.equal([20, 20]);
    expect((await open()).status).to.equal(503);
    await leave(one, 5);
    const pids: number[] = [];
    while (pids.length < 5) pids.push((await openOnce()).pid);
    expect(new Set(pids)).to.deep.equal(new Set([one]));
    expect((await open()).status).to.equal(503);
    await leave(two, 20);
    await leave(one, 20);
    while (kept.length < 40) await openOnce();
    expect((await open()).status).to.equal(503);
  });

  it('refuse no connection of a burst that all of them together can take', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:2\n[limits]\nconnections=int:80\n' });
    for (let i = 0; i < 5; i += 1) {
      const burst = await Promise.all(Array.from({ length: 70 }, open));
      expect(burst.map(({ status }) => status).filter((status) => status !== 200)).to.deep.equal([]);
      for (const { socket } of kept.splice(0)) {
        socket.end();
        await once(socket.resume(), 'close');
      }
    }
  });

  it('make way for the worker that takes the place of a killed one', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:2\n[limits]\nconnections=int:10\n' });
    const [one, two] = (await pidsOf(server, 2)) as [number, number];
    while (kept.length < 10) await openOnce();
    process.kill(one, 'SIGKILL');
    await server.until(({ msg }) => msg.startsWith('a new worker serves'));
    const { pid } = await openOnce();
    expect([one, two]).to.not.include(pid);
  });
});

describe('the connections that are balanced', () => {
  it('are neither event streams nor WebSockets', async () => {
    const server = await startServer({
      files: {
        'plugins/try.mjs': `import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, websocket }) {
    router.get('/', (ctx) => { ctx.body = {}; });
    router.get('/events', (ctx) => {
      ctx.respond = false;
      ctx.res.writeHead(200, { 'Content-Type': 'text/event-stream' });
      ctx.res.write('data: 1\\n\\n');
    });
    websocket('/socket', () => {});
  },
});`,
      },
    });
    const sockets = await Promise.all(
      ['/try', '/try/events'].map(async (path) => {
        const socket = connect(server.host.address.port, '127.0.0.1');
        socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
        await once(socket, 'data');
        return socket;
      }),
    );
    const webSocket = new WebSocket(`${server.url.replace('http', 'ws')}/try/socket`);
    await once(webSocket, 'open');
    expect(server.host.connections).to.deep.equal({ accepted: 3, connections: 1 });
    webSocket.terminate();
    for (const socket of sockets) socket.destroy();
    await server.close();
  });
});
