import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { ServerProcess } from '../../../support/process.js';

const plugin = `
import { createReadStream } from 'node:fs';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { hello: 'world', pid: process.pid }; });
    router.get('/file', (ctx) => {
      ctx.type = 'text/plain';
      ctx.body = createReadStream(process.execPath);
    });
  },
});`;

const LIMIT = 256;

describe('a server that may open few files', () => {
  let server: ServerProcess | undefined;
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });
  const start = async () => {
    server = await ServerProcess.start({
      ini: '[main]\nsafe=list:hello\n[paths]\npidfile=run/server.pid\n',
      files: { 'plugins/hello.mjs': plugin },
      args: ['--safe'],
      through: { file: '/bin/sh', args: ['-c', `ulimit -n ${LIMIT}; exec "$@"`, 'sh'] },
    });
    return server;
  };
  const open = async (url: string) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    return socket;
  };
  const last = 'GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
  const answerOf = async (socket: Socket) => {
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    if (!socket.destroyed) await once(socket, 'close');
    return text;
  };

  it('refuses connections with 503 beyond those it has descriptors for, and serves on', async () => {
    const { url } = await start();
    const { pid } = await server!.json('/hello');
    const sockets: Socket[] = [];
    for (let i = 0; i < LIMIT + 50; i += 1) sockets.push(await open(url));
    const refused = await Promise.race(sockets.map((socket) => once(socket, 'data')));
    expect(String(refused[0]))
      .to.match(/^HTTP\/1.1 503 /)
      .and.include('too_many_connections')
      .and.include('\r\nDate: ');
    // A report is made each second.
    await new Promise((resolve) => setTimeout(resolve, 2000));
    for (const socket of sockets) socket.destroy();
    let answer = '';
    while (!answer.startsWith('HTTP/1.1 200')) {
      const socket = await open(url);
      socket.write(last);
      answer = await answerOf(socket);
    }
    expect(answer).to.include(`"pid":${pid}`);
  });

  it('outlives clients that pipeline more files than it may open', async () => {
    const { url } = await start();
    const { pid } = await server!.json('/hello');
    const sockets: Socket[] = [];
    for (let i = 0; i < 3; i += 1) {
      const socket = await open(url);
      socket.pause();
      socket.write('GET /hello/file HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1500));
      sockets.push(socket);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await server!.json('/hello')).to.include({ pid });
    for (const socket of sockets) socket.destroy();
    expect(await server!.json('/hello')).to.include({ pid });
    expect(server!.stderr).to.equal('');
  });
});
