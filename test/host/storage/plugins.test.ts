import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { request } from 'node:http';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { ConfigError, formatProblem } from '../../../config/index.js';
import { startPlugin } from '../../../host/testing.js';
import { sharedMongo, startMongo } from '../../support/mongodb.js';
import { ServerProcess } from '../../support/process.js';
import { makeFolder, startServer, writeFiles } from '../../support/server.js';

/** Counts, and keeps what it is told, by the storage. */
const shop = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage, now }) {
    const counts = storage('counts');
    const orders = storage('orders');
    let later;
    router.get('/', async (ctx) => {
      ctx.body = { count: await counts.get('n'), pid: process.pid, now: now().getTime() };
    });
    router.post('/count', async (ctx) => {
      ctx.body = { count: await counts.update('n', (n = 0) => n + 1), pid: process.pid };
    });
    router.put('/orders/:id', async (ctx) => {
      await orders.set(ctx.params.id, ctx.request.body);
      ctx.status = 204;
    });
    router.get('/orders', async (ctx) => {
      const keys = [];
      for await (const [key] of orders.entries()) keys.push(key);
      ctx.body = keys;
    });
    router.post('/big', async (ctx) => {
      await orders.set('big', 'x'.repeat(2 ** 20));
      ctx.status = 204;
    });
    router.post('/late', () => storage('late'));
  },
});
`;

/** Counts, has a job, and hears what every worker says. */
const shared = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage, every, channel }) {
    const counts = storage('counts');
    const words = channel('words');
    let heard = 0;
    words.subscribe(() => { heard += 1; });
    every('work', '1 s', () => counts.update('runs', (n = 0) => n + 1));
    router.get('/', (ctx) => { words.publish('asked'); ctx.body = { heard }; });
    router.post('/count', async (ctx) => { ctx.body = { count: await counts.update('n', (n = 0) => n + 1) }; });
  },
});
`;

/** Passes connections on, and counts them. */
class CountingProxy {
  open = 0;
  peak = 0;

  private constructor(
    readonly server: Server,
    readonly host: string,
  ) {}

  static async start(target: string): Promise<CountingProxy> {
    const [host = '', port] = target.split(':');
    const server = createServer((near) => {
      const far = connect(Number(port), host);
      proxy.open += 1;
      proxy.peak = Math.max(proxy.peak, proxy.open);
      near.pipe(far).pipe(near);
      near.once('close', () => {
        proxy.open -= 1;
        far.destroy();
      });
      for (const socket of [near, far]) socket.on('error', () => near.destroy());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const proxy = new CountingProxy(server, `127.0.0.1:${(server.address() as AddressInfo).port}`);
    return proxy;
  }

  close(): void {
    this.server.close();
  }
}

/** A request over a connection of its own, so that any worker may get it; undefined when it got no response. */
function send(url: string, method: string, path: string, body?: object): Promise<Answer | undefined> {
  return new Promise((resolve) => {
    const headers = body && { 'Content-Type': 'application/json' };
    const call = request(url + path, { method, agent: false, ...(headers && { headers }) }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode!, body: text === '' ? undefined : JSON.parse(text) }),
      );
      response.on('error', () => resolve(undefined));
    });
    call.on('error', () => resolve(undefined));
    call.end(body && JSON.stringify(body));
  });
}

interface Answer {
  readonly status: number;
  readonly body: { readonly count: number; readonly pid: number; readonly heard: number } & readonly string[];
}

describe('storage() of the plugin kit', () => {
  it('is for setup only, has names of one form, and is counted by plugin, storage, operation and outcome', async () => {
    const server = await startServer({ files: { 'plugins/shop.js': shop } });
    try {
      await send(server.url, 'POST', '/shop/count');
      await send(server.url, 'POST', '/shop/count');
      const { status, body } = (await send(server.url, 'POST', '/shop/big'))!;
      expect([status, (body as unknown as { code: string }).code]).to.deep.equal([413, 'value_too_large']);
      expect((await send(server.url, 'POST', '/shop/late'))!.status).to.equal(500);
      expect(server.logText()).to.include('storage(\\"late\\") was called after setup');
      const metrics = await (await server.fetch('/metrics')).text();
      const counted = metrics.split('\n').filter((line) => line.startsWith('plugin_server_storage'));
      expect(counted).to.include(
        'plugin_server_storage_operations_total{plugin="shop",storage="counts",operation="update",outcome="ok"} 2',
      );
      expect(counted).to.include(
        'plugin_server_storage_operations_total{plugin="shop",storage="orders",operation="set",outcome="value_too_large"} 1',
      );
    } finally {
      await server.close();
    }
    const misnamed = shop.replace("storage('counts')", "storage('Counts')");
    const error = await startServer({ files: { 'plugins/shop.js': misnamed } }).then(
      () => expect.fail('it started'),
      (failure: unknown) => failure,
    );
    expect(error).to.be.instanceOf(ConfigError);
    expect((error as ConfigError).problems[0]!.message).to.match(
      /plugin "shop" failed in its setup: storage\("Counts"\): a name has 1 to 64 characters of a-z, 0-9, _ and -/,
    );
  });

  it('fails the start where its folder cannot be made, and names the setting', async () => {
    const error = await startServer({
      safe: true,
      ini: '[main]\nsafe=list:shop\n[paths]\ndata=taken\n',
      files: { 'plugins/shop.js': shop, taken: 'a file' },
    }).then(
      () => expect.fail('it started'),
      (failure: unknown) => failure as ConfigError,
    );
    expect(error.problems[0]!.message).to.match(
      /the plugins' storage's folder .*taken.* cannot be created: .*\[paths\] data/,
    );
  });

  it('is shared by hosts whose [storage] names one database of MongoDB', async () => {
    const { host, user, password, database } = await (await sharedMongo()).createDatabase();
    const options = {
      safe: true,
      env: { PASSWORD: password },
      ini: `[main]\nsafe=list:shop\n[storage]\nserver_url=${host}\nusername=${user}\npassword=\${ENV:PASSWORD}\ndatabase=${database}\n`,
      files: { 'plugins/shop.js': shop },
    };
    const one = await startServer(options);
    const two = await startServer(options);
    try {
      await Promise.all(
        Array.from({ length: 40 }, (_, i) => send(i % 2 ? one.url : two.url, 'POST', '/shop/count')),
      );
      expect((await send(one.url, 'GET', '/shop'))!.body.count).to.equal(40);
      expect(one.logText()).to.include(
        `plugins' storages are kept in MongoDB: user \\"${user}\\" at ${host}`,
      );
    } finally {
      await one.close();
      await two.close();
    }
    const wrong = await startServer({ ...options, env: { PASSWORD: 'wrong' } }).then(
      () => expect.fail('it started'),
      (failure: unknown) => failure as ConfigError,
    );
    expect(wrong.problems[0]!.message).to.include('MongoDB does not accept the credentials');
  });

  it('keeps its values in the database plugin_server unless another is named', async () => {
    const made = await (await sharedMongo()).createDatabase({ database: 'plugin_server' });
    const server = await startServer({
      safe: true,
      env: { PASSWORD: made.password },
      ini: `[main]\nsafe=list:shop\n[storage]\nserver_url=${made.host}\nusername=${made.user}\npassword=\${ENV:PASSWORD}\n`,
      files: { 'plugins/shop.js': shop },
    });
    try {
      expect((await send(server.url, 'POST', '/shop/count'))!.body.count).to.equal(1);
      expect(server.logText()).to.include('database \\"plugin_server\\"');
    } finally {
      await server.close();
    }
  });

  it('holds a few connections to MongoDB in each worker, for storages, jobs and channels together', async () => {
    const database = await (await sharedMongo()).createDatabase();
    const proxy = await CountingProxy.start(database.host);
    const folder = await makeFolder();
    await writeFiles(folder, { 'shop.mjs': shared });
    const server = await startPlugin(join(folder, 'shop.mjs'), {
      workers: 2,
      storage: `${database.url().replace(database.host, proxy.host)}&directConnection=true` as 'embedded',
    });
    /** The least that a client of MongoDB keeps open, and the two that watch the server. */
    const atRest = 2 * (5 + 2);
    try {
      while ((await send(server.url, 'GET', '/shop'))!.body.heard < 1);
      while (proxy.open > atRest) await sleep(2);
      expect(proxy.open).to.be.at.least(2);
      await Promise.all(Array.from({ length: 200 }, () => send(server.url, 'POST', '/shop/count')));
      expect(proxy.peak).to.be.within(2, 2 * (50 + 2));
      await server.reload();
      expect((await send(server.url, 'POST', '/shop/count'))!.body.count).to.equal(201);
      while (proxy.open > atRest) await sleep(2);
    } finally {
      await server.close();
      while (proxy.open > 0) await sleep(2);
      proxy.close();
      await rm(folder, { recursive: true });
    }
  }).timeout(30_000);

  it('answers 503 with storage_unavailable while MongoDB is down, and works again when it is back', async () => {
    const mongo = await startMongo();
    const server = await startServer({
      safe: true,
      env: { PASSWORD: mongo.password },
      ini: `[main]\nsafe=list:shop\n[storage]\nserver_url=${mongo.host}\nusername=${mongo.user}\npassword=\${ENV:PASSWORD}\ndatabase=${mongo.database}\n`,
      files: { 'plugins/shop.js': shop },
    });
    try {
      expect((await send(server.url, 'POST', '/shop/count'))!.body.count).to.equal(1);
      await mongo.kill();
      const refused = await server.fetch('/shop/count', { method: 'POST' });
      expect(refused.status).to.equal(503);
      expect(refused.headers.get('retry-after')).to.equal('1');
      expect(await refused.json()).to.include({ code: 'storage_unavailable' });
      await mongo.restart();
      let answer: Answer | undefined;
      do answer = await send(server.url, 'POST', '/shop/count');
      while (answer?.status !== 200);
      expect(answer.body.count).to.equal(2);
      expect(
        server.logs.filter(({ msg }) => msg.startsWith("the plugins' storage cannot be used")),
      ).to.have.length(1);
    } finally {
      await server.close();
      await mongo.stop();
    }
  }).timeout(60_000);

  it('fails the start where a job needs transactions that MongoDB does not have', async () => {
    const mongo = await startMongo({ standalone: true });
    const job =
      "import { definePlugin } from 'plugin-server';\nexport default definePlugin({ setup({ every }) { every('a', '1 h', () => {}); } });";
    try {
      const error = await startServer({
        safe: true,
        env: { PASSWORD: mongo.password },
        ini: `[main]\nsafe=list:job\n[storage]\nserver_url=${mongo.host}\nusername=${mongo.user}\npassword=\${ENV:PASSWORD}\ndatabase=${mongo.database}\n`,
        files: { 'plugins/job.js': job },
      }).then(
        () => expect.fail('it started'),
        (failure: unknown) => failure as ConfigError,
      );
      expect(error.problems[0]!.message).to.include(
        'every() requires transactions, and this MongoDB server has none',
      );
    } finally {
      await mongo.stop();
    }
  }).timeout(60_000);

  it('tells at the key what is wrong with [storage]', async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      [
        'server_url=http://db',
        /plugin-server\.ini:2:12: server_url names no MongoDB server; write host:port/,
      ],
      [
        'server_url=db/?hedge=1',
        /:2:12: server_url has the option "hedge" that plugin-server does not accept/,
      ],
      ['database=a b\nserver_url=db', /:2:10: .*a database name contains none of/],
      [
        'username=me',
        /:2:10: username applies to MongoDB, which requires server_url; write server_url=HOST:PORT/,
      ],
      ['server_ulr=db', /:2:1: unknown key "server_ulr" in \[storage\]; did you mean "server_url"/],
    ];
    for (const [lines, message] of cases) {
      const error = await startServer({ ini: `[storage]\n${lines}\n` }).then(
        () => expect.fail('it started'),
        (failure: unknown) => failure as ConfigError,
      );
      const told = error.problems.map((problem) => formatProblem(problem)).join('\n');
      expect(told, lines).to.match(message);
    }
  });

  describe('over two workers', () => {
    const ini = '[network]\nworkers=2\n[paths]\npidfile=server.pid\n[main]\nsafe=list:shop\n';
    let server: ServerProcess;
    before(async () => {
      server = await ServerProcess.start({
        ini,
        files: { 'plugins/shop.js': shop },
        args: ['--safe'],
      });
    });
    after(() => server.close());

    it('counts each request once, through a reload', async () => {
      const pids = new Set<number>();
      const count = async () => {
        const answer = await send(server.url, 'POST', '/shop/count');
        expect(answer?.status).to.equal(200);
        pids.add(answer!.body.pid);
      };
      let done = false;
      let sent = 0;
      const clients = Array.from({ length: 8 }, async () => {
        while (!done) {
          sent += 1;
          await count();
        }
      });
      while (pids.size < 2) await sleep(2);
      const reloaded = await server.command('reload');
      expect(reloaded.status).to.equal(0);
      while (pids.size < 4) await count().then(() => (sent += 1));
      done = true;
      await Promise.all(clients);
      expect((await send(server.url, 'GET', '/shop'))!.body.count).to.equal(sent);
    });

    it('loses nothing that was acknowledged when workers and the server are killed', async () => {
      const acknowledged: string[] = [];
      let asked = 0;
      let done = false;
      const clients = Array.from({ length: 8 }, async () => {
        while (!done) {
          asked += 1;
          const id = `order-${asked}`;
          const answer = await send(server.url, 'PUT', `/shop/orders/${id}`, {
            id,
            filling: 'x'.repeat(2000),
          });
          if (answer?.status === 204) acknowledged.push(id);
        }
      });
      const enough = async (count: number) => {
        while (acknowledged.length < count) await send(server.url, 'GET', '/shop');
      };
      for (let round = 1; round <= 3; round += 1) {
        await enough(round * 60);
        const { pid } = (await send(server.url, 'GET', '/shop'))!.body;
        const replaced = server.next('a new worker serves in place of the lost one');
        process.kill(pid, 'SIGKILL');
        await replaced;
      }
      await enough(240);
      done = true;
      await Promise.all(clients);
      const { folder } = server;
      server.child.kill('SIGKILL');
      await server.exited;
      server = await ServerProcess.start({
        folder,
        ini,
        args: ['--safe'],
      });
      const kept = new Set((await send(server.url, 'GET', '/shop/orders'))!.body);
      expect(acknowledged.filter((id) => !kept.has(id))).to.deep.equal([]);
    });
  });
});
