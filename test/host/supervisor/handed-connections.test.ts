import { once } from 'node:events';
import { Agent, request } from 'node:https';
import { connect } from 'node:net';
import { expect } from 'chai';
import { makeCertificate } from '../../support/certificates.js';
import { type Greeting, type ServerProcess, startHello } from '../../support/process.js';
import { sendRaw } from '../../support/raw.js';

describe('a connection that the supervisor hands to a worker', () => {
  let server: ServerProcess;
  afterEach(() => server.close());
  const port = () => Number(new URL(server.url).port);

  it('comes to each of several workers in turn', async () => {
    server = await startHello({ ini: '[network]\nworkers=int:3\n' });
    const counts = new Map<number, number>();
    for (let i = 0; i < 12; i += 1) {
      const { pid } = await server.json<Greeting>('/hello');
      counts.set(pid, (counts.get(pid) ?? 0) + 1);
    }
    expect([...counts.values()]).to.deep.equal([4, 4, 4]);
  });

  it('ends when its client is slower than the limits allow', async () => {
    server = await startHello({ ini: '[limits]\nheader_timeout=int:1\n' });
    const answer = await sendRaw(port(), 'GET /hello HTTP/1.1\r\nHost: x\r\n');
    expect(answer).to.match(/^HTTP\/1\.1 408 /);
  });

  it('is one of those that count against the limit', async () => {
    server = await startHello({ ini: '[limits]\nconnections=int:2\n' });
    const sockets = [connect(port(), '127.0.0.1'), connect(port(), '127.0.0.1')];
    for (const socket of sockets) {
      socket.write('GET /hello HTTP/1.1\r\nHost: x\r\n\r\n');
      await once(socket, 'data');
    }
    expect(await sendRaw(port(), 'GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')).to.not.match(
      /^HTTP\/1\.1 200/,
    );
    for (const socket of sockets) socket.destroy();
  });

  it('answers a client that has closed its sending side', async () => {
    server = await startHello();
    const socket = connect({ port: port(), host: '127.0.0.1', allowHalfOpen: true });
    socket.write('GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
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
