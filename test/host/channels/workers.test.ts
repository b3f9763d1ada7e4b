import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { type Greeting, hello, pidsOf, type ServerProcess, startHello } from '../../support/process.js';

/** Beside what `hello` does: publishes what it is sent, and logs what arrives. */
const plugin =
  "import { appendFileSync, existsSync } from 'node:fs';" +
  hello()
    .replace('router, metrics }', 'router, metrics, channel, onReady }')
    .replace(
      'const count',
      `const words = channel('words');
    const { pid } = process;
    words.subscribe((value) => {
      if (value.block === pid) while (!existsSync('go'));
      const { n, ready } = value;
      appendFileSync('seen-' + pid, JSON.stringify({ n, ready }) + '\\n');
    });
    onReady(() => words.publish({ ready: pid }));
    router.post('/publish', (ctx) => {
      for (const value of ctx.request.body.values) words.publish(value);
      ctx.body = { pid };
    });
    const count`,
    );

describe('a channel of several workers', () => {
  let server: ServerProcess;
  afterEach(() => server.close());
  const start = (ini = '') =>
    startHello({ ini: `[network]\nworkers=int:2\n${ini}`, files: { 'plugins/hello.js': plugin } });
  const publish = async (values: readonly object[]): Promise<void> => {
    const call = request(`${server.url}/hello/publish`, {
      method: 'POST',
      agent: false,
      headers: { 'Content-Type': 'application/json' },
    });
    call.end(JSON.stringify({ values }));
    const [answer] = (await once(call, 'response')) as [IncomingMessage];
    answer.resume();
    await once(answer, 'end');
    expect(answer.statusCode).to.equal(200);
  };
  const received = async (pid: number) => {
    const text = await readFile(join(server.folder, `seen-${pid}`), 'utf8').catch(() => '');
    return text
      .slice(0, text.lastIndexOf('\n') + 1)
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { n?: number; ready?: number });
  };
  const until = async (pid: number, last: number) => {
    while (!(await received(pid)).some(({ n }) => n === last)) await sleep(20);
  };

  it('carries values to each of them, the publisher included, in the order of each publisher', async () => {
    server = await start();
    const pids = await pidsOf(server, 2);
    const values = Array.from({ length: 3000 }, (_, n) => ({ n }));
    await publish(values);
    for (const pid of pids) {
      await until(pid, 2999);
      expect((await received(pid)).filter(({ n }) => n !== undefined)).to.deep.equal(values);
      // Its own value of onReady has come, too: the subscription was in force.
      expect((await received(pid)).map(({ ready }) => ready)).to.include(pid);
    }
  });

  it('goes on to the old generation until it exits, and to a worker in place of a killed one', async () => {
    server = await start('stream_grace=int:3600\n');
    const old = await pidsOf(server, 2);
    expect((await server.command('reload')).status).to.equal(0);
    const [first, second] = (await pidsOf(server, 2)) as [number, number];
    process.kill(first, 'SIGKILL');
    await server.until(({ msg }) => msg.startsWith('a new worker serves'));
    let third = second;
    while (third === second) third = (await server.json<Greeting>('/hello')).pid;
    await publish([{ n: 7 }]);
    await Promise.all([until(second, 7), until(third, 7)]);
    expect(old).to.not.include(third);
    // What the new generation published while the old one drained comes to the old one.
    for (const pid of old)
      for (const by of [first, second])
        while (!(await received(pid)).some(({ ready }) => ready === by)) await sleep(20);
  });

  it('does not wait for a worker that is busy: it loses the oldest, and the others lose nothing', async () => {
    server = await start('worker_timeout=int:0\n');
    const [busy, other] = (await pidsOf(server, 2)) as [number, number];
    await publish([{ n: -1, block: busy }]);
    await until(other, -1);
    const text = 'x'.repeat(4000);
    const count = 4000;
    for (let from = 0; from < count; from += 200) {
      await publish(Array.from({ length: 200 }, (_, i) => ({ n: from + i, text })));
      await until(other, from + 199);
    }
    await server.write('go', '');
    await until(busy, count - 1);
    const numbers = async (pid: number) =>
      (await received(pid)).flatMap(({ n }) => (n === undefined || n < 0 ? [] : [n]));
    expect(await numbers(other)).to.deep.equal(Array.from({ length: count }, (_, n) => n));
    const seen = await numbers(busy);
    expect(seen).to.deep.equal(seen.toSorted((a, b) => a - b));
    expect(seen.length).to.be.within(1000, count - 1000);
    const metrics = await (await server.fetch('/metrics')).text();
    const lost = /plugin_server_channel_dropped_total\{plugin="hello",channel="words"\} (\d+)/.exec(metrics);
    expect(Number(lost?.[1])).to.equal(count - seen.length);
  });
});
