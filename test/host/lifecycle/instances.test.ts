import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { expect } from 'chai';
import { sharedMongo } from '../../support/mongodb.js';
import { ServerProcess } from '../../support/process.js';
import type { LogLine } from '../../support/server.js';

const shop = `import { appendFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { definePlugin, openapi, z } from 'plugin-server';

// Evaluated once in a process, however many instances it has.
const evaluation = (globalThis.evaluations = (globalThis.evaluations ?? 0) + 1);
const setups = [];

export default definePlugin({
  name: 'shop',
  config: z.object({ currency: z.string() }),
  setup({ config, router, log, metrics, storage, channel, every, name, path, dataFolder }) {
    setups.push(name);
    const counts = storage('counts');
    const orders = channel('orders');
    const heard = [];
    orders.subscribe((order) => { heard.push(order); });
    every('tick', '1 s', async () => { await counts.update('ticks', (ticks = 0) => ticks + 1); });
    router.get('/heard/here', (ctx) => { ctx.body = { heard, pid: process.pid }; });
    router.post('/order/:item', (ctx) => { orders.publish(ctx.params.item); ctx.body = {}; });
    const sales = metrics.counter({ name: 'shop_sales_total', help: 'Sales.', labelNames: ['item'] });
    const stock = metrics.gauge({ name: 'shop_stock', help: 'Stock.', aggregator: 'max', collect() { this.set(name.length); } });
    mkdirSync(dataFolder, { recursive: true });
    router.get('/', openapi({ summary: 'Shows the shop', tags: ['shop', 'public'], operationId: 'shop' }), (ctx) => {
      ctx.body = { name, path, currency: config.currency, dataFolder, evaluation, setups, pid: process.pid };
    });
    router.get('/sold/:item', async (ctx) => { ctx.body = { sold: (await counts.get(ctx.params.item)) ?? 0 }; });
    router.post('/:item', async (ctx) => {
      await counts.update(ctx.params.item, (sold = 0) => sold + 1);
      sales.inc({ item: ctx.params.item });
      appendFileSync(join(dataFolder, 'sales'), ctx.params.item + '\\n');
      log.info('sold');
      ctx.body = readFileSync(join(dataFolder, 'sales'), 'utf8').trim().split('\\n');
    });
    router.get('/fail/now', () => { throw new Error('closed'); });
    router.get('/fail/unseen', (ctx) => { ctx.body = {}; Promise.reject(new Error('unseen')); });
    return { currency: () => config.currency };
  },
});
`;

const till = `import { definePlugin } from 'plugin-server';
export default definePlugin({
  after: ['shop'],
  setup({ router, plugin }) {
    router.get('/', (ctx) => { ctx.body = { currency: plugin('shop').currency() }; });
  },
});
`;

const installed = {
  'node_modules/@acme/jobs/package.json':
    '{"name": "@acme/jobs", "version": "3.1.4", "type": "module", "exports": "./lib/plugin.js"}',
  'node_modules/@acme/jobs/lib/plugin.js': `import { definePlugin } from 'plugin-server';
import { word } from 'acme-words';
export default definePlugin({
  setup({ router, name }) { router.get('/', (ctx) => { ctx.body = { name, word }; }); },
});
`,
  'node_modules/acme-words/package.json': '{"name": "acme-words", "type": "module", "exports": "./index.js"}',
  'node_modules/acme-words/index.js': "export const word = 'from npm';\n",
};

const lines = `[network]
workers=int:2
[auth]
apikey=a-key-of-sixteen-letters
[plugin_parms]
shop_eu=uses=shop&currency=EUR&auth=none
shop_us=uses=Shop&currency=USD&auth=none
till_eu=uses=till&with=shop:shop_eu&auth=none
till_us=uses=till&with=shop:shop_us&auth=none
jobs=uses=@acme/jobs&auth=none
`;

/** The lines of [storage] for a new database. */
async function database() {
  const { host, user, password, database } = await (await sharedMongo()).createDatabase();
  return {
    lines: `[storage]\nserver_url=${host}\nusername=${user}\npassword=\${FILE:password}\ndatabase=${database}\n`,
    files: { password },
  };
}

interface Shop {
  readonly name: string;
  readonly path: string;
  readonly currency: string;
  readonly dataFolder: string;
  readonly evaluation: number;
  readonly setups: readonly string[];
  readonly pid: number;
}

interface OpenApi {
  readonly paths: Readonly<Record<string, Record<string, { tags: string[]; operationId: string }>>>;
}

for (const storage of ['embedded', 'MongoDB'] as const) {
  describe(`several instances of one plugin, ${storage}`, () => {
    let server: ServerProcess;
    let ini: string;
    let files: Record<string, string>;
    const headers = { 'x-custom-auth': 'a-key-of-sixteen-letters' };
    const get = async <Body>(path: string) => (await (await server.fetch(path, { headers })).json()) as Body;
    /** Over a connection of its own: one that is kept may still belong to the generation before. */
    const sell = async (path: string) => {
      const call = request(server.url + path, { method: 'POST', agent: false }).end();
      const [answer] = (await once(call, 'response')) as [IncomingMessage];
      return json(answer);
    };
    const reload = async () => {
      const reloaded = server.next('reloaded');
      server.signal('SIGHUP');
      await reloaded;
    };

    before(async () => {
      const place = storage === 'embedded' ? { lines: '', files: {} } : await database();
      files = { 'plugins/shop.mjs': shop, 'plugins/till.mjs': till, ...installed, ...place.files };
      ini = lines + place.lines;
      server = await ServerProcess.start({ ini, files });
    });
    after(() => server.close());

    it('run under the names of their lines, from one module that each worker evaluates once', async () => {
      for (let round = 0; round < 2; round += 1) {
        const pids = new Set<number>();
        while (pids.size < 2) {
          const eu = await server.json<Shop>('/shop_eu');
          pids.add(eu.pid);
          expect(eu).to.include({ name: 'shop_eu', path: '/shop_eu', currency: 'EUR', evaluation: 1 });
          expect(eu.dataFolder).to.equal(join(server.folder, 'data/shop_eu'));
          expect(eu.setups).to.deep.equal(['shop_eu', 'shop_us']);
        }
        expect(await server.json('/shop_us')).to.include({ name: 'shop_us', currency: 'USD' });
        expect((await server.fetch('/shop', { headers })).status).to.equal(404);
        if (round === 0) await reload();
      }
    });

    it('keep their data apart, over a reload', async () => {
      expect(await sell('/shop_eu/tea')).to.deep.equal(['tea']);
      expect(await sell('/shop_us/milk')).to.deep.equal(['milk']);
      await reload();
      expect(await sell('/shop_eu/salt')).to.deep.equal(['tea', 'salt']);
      expect(await readFile(join(server.folder, 'data/shop_us/sales'), 'utf8')).to.equal('milk\n');
      expect(await server.json('/shop_eu/sold/tea')).to.deep.equal({ sold: 1 });
      expect(await server.json('/shop_us/sold/tea')).to.deep.equal({ sold: 0 });
    });

    it('have channels and jobs of their own, each over both workers', async () => {
      const heardBy = async (name: string, item: string) => {
        const heard = new Map<number, string[]>();
        for (
          let i = 0;
          i < 500 && [...heard.values()].filter((each) => each.includes(item)).length < 2;
          i += 1
        ) {
          const answer = await server.json<{ heard: string[]; pid: number }>(`/${name}/heard/here`);
          heard.set(answer.pid, answer.heard);
        }
        return [...heard.values()];
      };
      await sell('/shop_eu/order/tea');
      expect(await heardBy('shop_eu', 'tea')).to.deep.equal([['tea'], ['tea']]);
      await sell('/shop_us/order/milk');
      expect(await heardBy('shop_us', 'milk')).to.deep.equal([['milk'], ['milk']]);
      for (const name of ['shop_eu', 'shop_us'])
        while ((await server.json<{ sold: number }>(`/${name}/sold/ticks`)).sold === 0);
    });

    it('count in metrics of one name, each under its own label', async () => {
      const scrape = async () => (await server.fetch('/metrics', { headers })).text();
      const ranOf = (name: string) =>
        new RegExp(`^plugin_server_job_runs_total\\{(?=.*plugin="${name}").*\\} [1-9]`, 'm');
      // A run is counted after what it has stored is seen.
      let text = await scrape();
      while (!['shop_eu', 'shop_us'].every((name) => ranOf(name).test(text))) text = await scrape();
      const lines = text.split('\n');
      expect(lines).to.include('shop_sales_total{item="tea",plugin="shop_eu"} 1');
      expect(lines).to.include('shop_sales_total{item="salt",plugin="shop_eu"} 1');
      expect(lines).to.include('shop_sales_total{item="milk",plugin="shop_us"} 1');
      expect(text.match(/^# TYPE shop_sales_total counter$/gm)).to.have.lengthOf(1);
      expect(text).to.match(/^shop_stock\{plugin="shop_us"\} 7$/m);
      expect(text).to.match(/http_route="\/shop_eu\/:item",plugin="shop_eu"/);
    });

    it('log, answer and are listed under their own names', async () => {
      await server.fetch('/shop_us/fail/now');
      const failure = await server.until((line) => line.msg.includes('closed') || errorOf(line) === 'closed');
      expect(failure).to.include({ plugin: 'shop_us' });
      expect(server.logs.filter(({ msg }) => msg === 'sold').map(({ plugin }) => plugin)).to.include.members([
        'shop_eu',
        'shop_us',
      ]);
      const { plugins } = await get<{ plugins: { name: string; path: string; state: string }[] }>('/plugins');
      expect(plugins.map(({ name }) => name)).to.include.members(['shop_eu', 'shop_us', 'till_eu', 'jobs']);
      expect(plugins.map(({ name }) => name)).to.not.include.members(['shop']);
      expect(plugins.find(({ name }) => name === 'jobs')).to.include({ version: '3.1.4', path: '/jobs' });
      const { stdout } = await server.command('routes');
      expect(stdout).to.match(/^GET\s+\/shop_eu\s+shop_eu\s+none$/m);
      expect(stdout).to.match(/^POST\s+\/shop_us\/:item\s+shop_us\s+none$/m);
    });

    it('have tags and operations of their own in the OpenAPI document', async () => {
      const { paths } = await get<OpenApi>('/openapi.json');
      expect(paths['/shop_eu']!.get).to.deep.include({
        tags: ['shop_eu', 'public'],
        operationId: 'shop_eu_shop_get',
      });
      expect(paths['/shop_us']!.get).to.deep.include({
        tags: ['shop_us', 'public'],
        operationId: 'shop_us_shop_get',
      });
      expect(paths['/till_us']!.get!.tags).to.deep.equal(['till_us']);
    });

    it('get the plugin that "with" binds', async () => {
      expect(await server.json('/till_eu')).to.deep.equal({ currency: 'EUR' });
      expect(await server.json('/till_us')).to.deep.equal({ currency: 'USD' });
    });

    it('run a package of npm, with the packages that it imports', async () => {
      expect(await server.json('/jobs')).to.deep.equal({ name: 'jobs', word: 'from npm' });
    });

    it('are renamed with their data', async () => {
      await server.write(
        'plugin-server.ini',
        ini
          .replace('[network]', '[network]\nport=int:0')
          .replace('shop_eu=uses=shop', 'shop_europe=uses=shop&data=shop_eu')
          .replace('shop:shop_eu', 'shop:shop_europe'),
      );
      await reload();
      expect(await sell('/shop_europe/rice')).to.deep.equal(['tea', 'salt', 'rice']);
      expect(await server.json('/shop_europe/sold/tea')).to.deep.equal({ sold: 1 });
      expect(await server.json('/till_eu')).to.deep.equal({ currency: 'EUR' });
    });

    it('survive the death of a worker, from what its generation has read', async () => {
      const { pid } = await server.json<Shop>('/shop_us');
      const replaced = server.next('a new worker serves');
      process.kill(pid, 'SIGKILL');
      await replaced;
      const pids = new Set<number>();
      while (pids.size < 2) pids.add((await server.json<Shop>('/shop_us')).pid);
      expect(pids).to.not.include(pid);
      expect(await server.json('/jobs')).to.deep.equal({ name: 'jobs', word: 'from npm' });
      expect(await server.json('/shop_us/sold/milk')).to.deep.equal({ sold: 1 });
    });

    it('are told together where an error of their code has no place in one of them', async () => {
      await server.json('/shop_us/fail/unseen');
      const line = await server.until(({ msg }) => msg.startsWith('uncaught error'));
      expect(line).to.include({ plugin: 'shop_europe or shop_us', at: 'plugins/shop.mjs:36:73' });
    });

    it('leave data behind that no plugin claims, which the log of the next start tells, and check', async () => {
      const text = await readFile(join(server.folder, 'plugin-server.ini'), 'utf8');
      await server.write('plugin-server.ini', text.replace(/^shop_us=.*\ntill_.*\ntill_.*\n/m, ''));
      const from = server.logs.length;
      await reload();
      await server.until(({ msg }) => msg.startsWith("the plugins' storage contains"), from);
      const told = server.logs.slice(from).filter(({ msg }) => msg.includes('belongs to no plugin'));
      const remedy = 'write data=shop_us in the line of the plugin that wrote it, or remove it';
      expect(
        told.map(({ msg }) => msg.replace(/^(plugin-server.ini):[\d:]+ (?:warning: )?/, '$1: ')),
      ).to.have.members([
        `plugin-server.ini: the folder "data" contains data that belongs to no plugin: "shop_us"; ${remedy}`,
        `the plugins' storage contains data that belongs to no plugin: "shop_us"; ${remedy}`,
      ]);
      const { stderr, status } = await server.command('check');
      expect(status).to.equal(0);
      expect(stderr).to.include(
        `warning: the folder "data" contains data that belongs to no plugin: "shop_us"; ${remedy}`,
      );
      expect(stderr).to.include(
        `warning: the plugins' storage contains data that belongs to no plugin: "shop_us"; ${remedy}`,
      );
    });

    it('start by their names with --safe', async () => {
      const safe = await ServerProcess.start({
        ini: ini.replace('[network]', '[main]\nsafe=list:jobs shop_us\n[network]'),
        files,
        args: ['--safe'],
      });
      try {
        expect((await safe.json<Shop>('/shop_us')).setups).to.deep.equal(['shop_us']);
        expect((await safe.fetch('/shop_eu', { headers })).status).to.equal(404);
        expect((await safe.fetch('/jobs')).status).to.equal(200);
      } finally {
        await safe.close();
      }
    });
  });
}

function errorOf({ err }: LogLine): unknown {
  return (err as { message?: unknown } | undefined)?.message;
}
