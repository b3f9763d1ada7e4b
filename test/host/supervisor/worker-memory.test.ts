import { readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, get } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { Supervisor } from '../../../host/supervisor/index.js';
import { type LogLine, makeFolder, withFreePort, writeFiles } from '../../support/server.js';

const megabyte = 1e6;
/** Milliseconds. Three of them are longer than the second after which a worker reports its requests. */
const memoryInterval = 400;
/** Clients that ask without a pause would take the CPU from the workers that start. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 10));
const plugin = `
import { definePlugin } from 'plugin-server';
const kept = [];
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { pid: process.pid }; });
    router.get('/leak', (ctx) => {
      if (kept.length < 15) kept.push(Buffer.alloc(20e6, 1));
      ctx.body = { pid: process.pid };
    });
  },
});`;

/** The replacement of a worker that leaked: grows by itself. */
const growing = plugin.replace('const kept', "import { existsSync } from 'node:fs';\nconst kept").replace(
  'setup({ router }) {',
  `$&
    if (existsSync('FLAG')) setTimeout(() => { kept.push(Buffer.alloc(300e6, 1)); }, 100);`,
);

describe('the memory of workers', () => {
  let folder: string;
  let supervisor: Supervisor;
  let url = '';
  const ini = (limit: number) =>
    withFreePort(`[network]\nworkers=int:2\n[limits]\nworker_memory=int:${limit}\n[log]\nfile=log\n`);

  before(async function () {
    if (process.platform !== 'linux') this.skip();
    folder = await makeFolder();
    await writeFiles(folder, {
      'plugins/leaky.mjs': plugin,
      'plugin-server.ini': ini(200 * megabyte).replace('[limits]', '[main]\nsafe=leaky\n[limits]'),
    });
    supervisor = new Supervisor(
      { iniFile: join(folder, 'plugin-server.ini'), iniOptional: false, safe: true, development: false },
      { memoryInterval },
    );
    supervisor.on('serving', (_report, address) => {
      url = address;
    });
    await supervisor.start();
  });
  after(async () => {
    await supervisor?.stop();
    if (folder) await rm(folder, { recursive: true, force: true });
  });

  const logged = async (text: string): Promise<LogLine[]> =>
    (await readFile(join(folder, 'log'), 'utf8'))
      .split('\n')
      .slice(0, -1) // The last one may be half written.
      .filter((line) => line.includes(text))
      .map((line) => JSON.parse(line) as LogLine);
  const ask = (path: string, agent: Agent) =>
    new Promise<{ status: number; pid: number }>((resolve, reject) => {
      get(url + path, { agent }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part) => {
          text += part;
        });
        response.on('end', () => resolve({ status: response.statusCode!, ...JSON.parse(text) }));
      }).on('error', reject);
    });

  it('over worker_memory: each worker in turn is replaced, and no request is lost', async () => {
    const statuses = new Set<number>();
    let finished = false;
    const clients = Array.from({ length: 8 }, async (_, n) => {
      const agent = new Agent({ keepAlive: n % 2 === 0, maxSockets: 1 });
      while (!finished) {
        statuses.add((await ask(n < 2 ? '/leaky/leak' : '/leaky', agent)).status);
        await pause();
      }
      agent.destroy();
    });
    let told: LogLine[] = [];
    while (told.length < 2) {
      await pause();
      told = await logged('a worker is replaced');
    }
    finished = true;
    await Promise.all(clients);
    expect(statuses).to.deep.equal(new Set([200]));
    expect(told[0]!.msg).to.match(
      /^a worker is replaced \(it uses \d+ MB, more than worker_memory, 200 MB\); a new one starts at once$/,
    );
    const lines = (await readFile(join(folder, 'log'), 'utf8')).split('\n');
    // One at a time.
    const steps = lines.flatMap((line) => /a worker is replaced|a new worker serves/.exec(line) ?? []);
    expect(steps.slice(0, 3)).to.deep.equal([
      'a worker is replaced',
      'a new worker serves',
      'a worker is replaced',
    ]);
    expect(await logged('too low')).to.deep.equal([]);
  });

  it('is in /metrics, by worker', async () => {
    const text = await (await fetch(`${url}/metrics`)).text();
    const values = [...text.matchAll(/^plugin_server_worker_memory_bytes\{worker="\d+"\} (\d+)$/gm)];
    expect(values).to.have.length.at.least(2);
    for (const [, value] of values) expect(Number(value)).to.be.within(10 * megabyte, 2000 * megabyte);
  });

  it('over a limit that is too low at rest: they are left, and the log says it once', async () => {
    await writeFile(
      join(folder, 'plugin-server.ini'),
      ini(megabyte).replace('[limits]', '[main]\nsafe=leaky\n[limits]'),
    );
    const before = (await logged('too low')).length;
    expect(await supervisor.reload({ by: 'program' })).to.deep.include({ success: true });
    const agent = new Agent();
    const pids = new Set<number>();
    while ((await logged('too low')).length === before) {
      pids.add((await ask('/leaky', agent)).pid);
      await pause();
    }
    for (let i = 0; i < 50; i += 1) pids.add((await ask('/leaky', agent)).pid);
    const [line, ...more] = (await logged('too low')).slice(before);
    expect(line!.msg).to.match(
      /^worker_memory \(1\.0 MB\) is too low: a worker uses \d+ MB at rest, and is not replaced; set it to \d+000000 or more$/,
    );
    expect(more).to.deep.equal([]);
    expect(pids.size).to.be.at.most(2);
    // The generation before this one, with another limit, may have replaced one until it ended.
    expect(await logged('more than worker_memory, 1.0 MB')).to.deep.equal([]);
  });

  it('over a limit that their replacements exceed without a request: these are left, and the log says so', async () => {
    const flag = join(folder, 'grow');
    await writeFiles(folder, { 'plugins/leaky.mjs': growing.replace('FLAG', flag) });
    await writeFile(
      join(folder, 'plugin-server.ini'),
      ini(200 * megabyte)
        .replace('workers=int:2', 'workers=int:1')
        .replace('[limits]', '[main]\nsafe=leaky\n[limits]'),
    );
    expect(await supervisor.reload({ by: 'program' })).to.deep.include({ success: true });
    const [replaced, low] = [await logged('a worker is replaced'), await logged('too low')];
    await writeFile(flag, '');
    const agent = new Agent();
    while ((await logged('a worker is replaced')).length === replaced.length) await ask('/leaky/leak', agent);
    while ((await logged('too low')).length === low.length) await pause();
    const line = (await logged('too low')).at(-1);
    expect(line?.msg).to.match(
      /^worker_memory \(200 MB\) is too low: a worker uses \d+ MB at rest, and is not replaced; /,
    );
    const { pid } = await ask('/leaky', agent);
    // Several looks later, it serves still.
    for (let i = 0; i < (memoryInterval * 8) / 10; i += 1) await pause();
    expect((await ask('/leaky', agent)).pid).to.equal(pid);
    expect(await logged('a worker is replaced')).to.have.lengthOf(replaced.length + 1);
  });
});
