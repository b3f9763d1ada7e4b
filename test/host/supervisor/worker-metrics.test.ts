import { expect } from 'chai';
import { type Greeting, type ServerProcess, startHello } from '../../support/process.js';

describe('the metrics of several workers', () => {
  let server: ServerProcess;
  let greeted = 0;
  beforeEach(async () => {
    greeted = 0;
    server = await startHello({ ini: '[network]\nworkers=int:2\n' });
  });
  afterEach(() => server.close());

  const read = async () => {
    const text = await (await server.fetch('/metrics')).text();
    return (name: string) => {
      const lines = text.split('\n').filter((line) => new RegExp(`^${name}[{ ]`).test(line));
      return lines.reduce((sum, line) => sum + Number(line.replace(/^.* /, '')), 0);
    };
  };
  /** Gives the workers that answered: so many at least. */
  const greet = async (times: number, workers = 1) => {
    const pids = new Set<number>();
    for (let i = 0; i < times || pids.size < workers; i += 1) {
      pids.add((await server.json<Greeting>('/hello')).pid);
      greeted += 1;
    }
    return [...pids];
  };

  it('are summed, and stay when a worker goes by a reload or a crash', async () => {
    await greet(6, 2);
    let metric = await read();
    expect(metric('hello_total')).to.equal(greeted);
    expect(metric('plugin_server_workers')).to.equal(2);
    expect(metric('plugin_server_workers_unanswered')).to.equal(0);
    expect(metric('http_server_request_duration_seconds_count')).to.be.at.least(6);

    expect((await server.command('reload')).status).to.equal(0);
    const [pid] = await greet(4);
    metric = await read();
    expect(metric('hello_total')).to.equal(greeted);
    expect(metric('plugin_server_reloads_total')).to.equal(1);

    const replaced = server.next('a new worker serves');
    process.kill(pid!, 'SIGKILL');
    await replaced;
    metric = await read();
    expect(metric('hello_total')).to.equal(greeted);
    expect(metric('plugin_server_worker_restarts_total')).to.equal(1);
    await greet(2);
    metric = await read();
    expect(metric('hello_total')).to.equal(greeted);
  });

  it('are told without those of a worker that does not answer, and say so', async () => {
    const [pid] = await greet(4, 2);
    await read();
    process.kill(pid!, 'SIGSTOP');
    try {
      // The stopped worker is handed one connection at most; the other answers.
      const answers = await Promise.race([read(), read()]);
      expect(answers('plugin_server_workers_unanswered')).to.equal(1);
      expect(answers('hello_total')).to.equal(greeted);
    } finally {
      process.kill(pid!, 'SIGCONT');
    }
  });
});
