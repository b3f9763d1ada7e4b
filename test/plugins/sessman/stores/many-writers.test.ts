import { Agent } from 'node:http';
import { expect } from 'chai';
import { ServerProcess } from '../../../support/process.js';
import { ask } from '../support/ask.js';

/** More in each of two workers than the embedded store makes at once: some always wait for others. */
const writers = 600;

describe('two workers with more writes than the embedded store makes at once', () => {
  const agent = new Agent({ keepAlive: true });
  let server: ServerProcess;
  before(async function () {
    if (process.platform !== 'linux') this.skip();
    server = await ServerProcess.start({
      ini: '[main]\nsafe=list:sessman\n[network]\nworkers=int:2\n[paths]\npidfile=server.pid\n',
      args: ['--safe'],
    });
  });
  after(() => {
    agent.destroy();
    return server?.close();
  });

  it('keep every session that they answered, over a reload and a killed worker', async () => {
    const made: string[] = [];
    const statuses: (number | undefined)[] = [];
    let enough = { count: Number.POSITIVE_INFINITY, reached: () => {} };
    const more = () =>
      new Promise<void>((reached) => {
        enough = { count: made.length + 2 * writers, reached };
      });
    let isOver = false;
    const writing = Array.from({ length: writers }, async (_, n) => {
      while (!isOver) {
        const answer = await ask(server, `new?userid=user-${n}`, { method: 'POST', agent });
        statuses.push(answer?.status);
        if (answer?.status === 200) made.push(answer.body.session_id);
        if (made.length >= enough.count) enough.reached();
      }
    });
    let beforeKill = 0;
    try {
      await more();
      expect((await server.command('reload')).status).to.equal(0);
      await more();
      beforeKill = statuses.length;
      process.kill(server.workers()[0]!, 'SIGKILL');
      await more();
    } finally {
      isOver = true;
      await Promise.all(writing);
    }
    for (const status of statuses.slice(0, beforeKill)) expect(status).to.be.oneOf([200, 503]);
    for (const status of statuses.slice(beforeKill)) expect(status).to.be.oneOf([200, 503, undefined]);
    const lost: string[] = [];
    const reading = Array.from({ length: 32 }, async () => {
      for (let id = made.pop(); id !== undefined; id = made.pop()) {
        if ((await ask(server, 'get', { agent, headers: { 'X-Session-Id': id } }))?.status !== 200)
          lost.push(id);
      }
    });
    await Promise.all(reading);
    expect(lost).to.have.length(0);
  });
});
