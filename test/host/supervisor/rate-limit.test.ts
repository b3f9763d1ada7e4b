import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { expect } from 'chai';
import { type ServerProcess, startHello } from '../../support/process.js';

const rate = 200;

describe('a rate limit', () => {
  let server: ServerProcess;
  before(async () => {
    server = await startHello({
      ini: `[network]\nworkers=int:2\nproxy=true\n[limits]\nrate=int:${rate}\nrate_window=int:3600\n`,
    });
  });
  after(() => server.close());

  /** One request over a new connection, which either worker may accept. */
  const ask = async (client: string) => {
    const call = get(`${server.url}/hello`, { agent: false, headers: { 'X-Forwarded-For': client } });
    const [response] = (await once(call, 'response')) as [IncomingMessage];
    const body = JSON.parse((await response.setEncoding('utf8').toArray()).join('')) as { pid?: number };
    const left = Number(/;r=(\d+);/.exec(String(response.headers.ratelimit))?.[1]);
    return { status: response.statusCode, pid: body.pid, left };
  };
  const askOften = async (client: string, times: number) => {
    const answers = [];
    for (let i = 0; i < times; i += 20)
      answers.push(...(await Promise.all(Array.from({ length: 20 }, () => ask(client)))));
    return answers;
  };
  const served = (answers: Awaited<ReturnType<typeof askOften>>) =>
    answers.filter(({ status }) => status === 200);

  it('counts the requests to all workers, over a reload and a killed worker', async () => {
    const client = '198.51.100.1';
    const before = await askOften(client, 80);
    expect(served(before)).to.have.length(80);
    expect(new Set(before.map(({ pid }) => pid)).size).to.equal(2);
    const reloaded = server.next('reloaded');
    server.signal('SIGHUP');
    await reloaded;
    const after = await askOften(client, 40);
    expect(served(after)).to.have.length(40);
    expect(after.at(-1)!.left).to.be.at.most(rate - 80);
    const lost = server.next('a new worker serves');
    process.kill(after.at(-1)!.pid!, 'SIGKILL');
    await lost;
    const rest = await askOften(client, 200);
    const total = 120 + served(rest).length;
    expect(total).to.be.at.most(rate);
    // What the killed worker held is lost, and the others may hold the last ones.
    expect(total).to.be.at.least(rate * 0.75);
    const refused = await askOften(client, 40);
    expect(new Set(refused.map(({ status }) => status))).to.deep.equal(new Set([429]));
    expect(refused.every(({ left }) => left === 0)).to.equal(true);
    expect((await ask('198.51.100.2')).status).to.equal(200);
  });

  it('gives a reloaded server what the workers before it had not used', async () => {
    const client = '198.51.100.3';
    const before = await askOften(client, 100);
    expect(served(before)).to.have.length(100);
    const reloaded = server.next('reloaded');
    server.signal('SIGHUP');
    await reloaded;
    // A worker gives back before it ends.
    const old = new Set(before.map(({ pid }) => pid!));
    while ([...old].some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await ask(client)).left).to.equal(rate - 101);
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
