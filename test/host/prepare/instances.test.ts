import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { ConfigError, formatProblem, type Problem } from '../../../config/index.js';
import { type Prepared, prepare } from '../../../host/prepare/index.js';
import { StreamReader } from '../../plugins/admin/support/stream.js';
import { makeFolder, startServer, writeFiles } from '../../support/server.js';

const define = (members: string) =>
  `import { definePlugin, z } from 'plugin-server';\nexport default definePlugin({ ${members} });\n`;
const plain = define(
  "setup({ router, name }) { router.get('/', (ctx) => { ctx.body = name; }); return { name }; }",
);

const files = {
  'plugins/shop.mjs': plain,
  'plugins/store/index.mjs': define("name: 'warehouse', setup() {}"),
  'plugins/till.mjs': define(
    "after: ['shop'], setup({ router, plugin }) { router.get('/', (ctx) => { ctx.body = plugin('shop'); }); }",
  ),
  'node_modules/shop/package.json': '{"name":"shop","version":"9.0.0","type":"module"}',
  'node_modules/shop/index.js': define(
    "setup({ router }) { router.get('/', (ctx) => { ctx.body = 'npm'; }); }",
  ),
  'node_modules/@acme/bad/package.json': '{"name":"@acme/bad","type":"module"}',
  'node_modules/@acme/bad/index.js': "throw new Error('not today');\n",
  'node_modules/lodash/package.json': '{"name":"lodash","type":"module"}',
  'node_modules/lodash/index.js': 'export default {};\n',
  'node_modules/setup/package.json': '{"name":"setup","type":"module"}',
  'node_modules/setup/index.js': define("setup() { throw new Error('no disk'); }"),
};

describe('a line with "uses"', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function prepared(lines: string, more: Readonly<Record<string, string>> = {}): Promise<Prepared> {
    await writeFiles(folder, {
      ...files,
      'plugin-server.ini': `[plugin_parms]\n${lines}\ntill=enabled=off\n`,
      ...more,
    });
    return prepare({ iniFile: join(folder, 'plugin-server.ini') });
  }

  const print = (problems: readonly Problem[]) =>
    problems.map((problem) => formatProblem(problem, { cwd: folder }).split('\n', 1)[0]!);

  async function problemsOf(lines: string, more: Readonly<Record<string, string>> = {}): Promise<string[]> {
    try {
      await prepared(lines, more);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      return print(error.problems);
    }
    return [];
  }

  async function namesOf(lines: string, more: Readonly<Record<string, string>> = {}): Promise<string[]> {
    const { plugins } = await prepared(lines, more);
    return plugins
      .filter(({ package_ }) => !package_.bundled)
      .map(({ name }) => name)
      .sort();
  }

  it('runs the plugin in place of its own name, unless a line has that name too', async () => {
    expect(await namesOf('')).to.deep.equal(['shop', 'warehouse']);
    expect(await namesOf('shop_eu=uses=shop')).to.deep.equal(['shop_eu', 'warehouse']);
    expect(await namesOf('shop_eu=uses=shop\nshop=auth=none')).to.deep.equal([
      'shop',
      'shop_eu',
      'warehouse',
    ]);
    expect(await namesOf('shop_eu=uses=shop\nshop=uses=shop')).to.deep.equal([
      'shop',
      'shop_eu',
      'warehouse',
    ]);
    expect(await namesOf('shop_eu=uses=shop&enabled=off')).to.deep.equal(['warehouse']);
    expect(await namesOf('depot=uses=warehouse')).to.deep.equal(['depot', 'shop']);
    expect(await namesOf('depot=uses=store\nwarehouse=auth=none')).to.deep.equal([
      'depot',
      'shop',
      'warehouse',
    ]);
    expect(await namesOf('shop=uses=warehouse')).to.deep.equal(['shop']);
  });

  it('takes a plugin of the plugins folder before a package, unless it says npm:', async () => {
    const versionOf = async (lines: string) =>
      (await prepared(lines)).plugins.find(({ name }) => name === 'one')!.version;
    expect(await versionOf('one=uses=shop')).to.equal('0.0.0');
    expect(await versionOf('one=uses=npm:shop')).to.equal('9.0.0');
  });

  it('may run a plugin that comes with the server, several times', async () => {
    const server = await startServer({
      folder,
      files: { 'a/x.txt': 'from a', 'b/x.txt': 'from b' },
      ini: '[auth]\napikey=a-key-of-sixteen-letters\n[plugin_parms]\nsessions_a=uses=sessman\nsessions_b=uses=sessman\nadmin=with=sessman:sessions_a\n',
    });
    try {
      const headers = { 'x-custom-auth': 'a-key-of-sixteen-letters' };
      const make = (path: string) =>
        server.fetch(`/${path}/new`, {
          method: 'POST',
          headers: { ...headers, 'content-type': 'application/json' },
          body: '{"userid":"ann"}',
        });
      const { session_id } = (await (await make('sessions_a')).json()) as { session_id: string };
      const read = async (path: string) =>
        (await server.fetch(`/${path}/get?session_id=${session_id}&userid=ann`, { headers })).status;
      expect([await read('sessions_a'), await read('sessions_b')]).to.deep.equal([200, 404]);
      expect((await server.fetch('/sessions_b/client.js')).status).to.equal(200);
      expect((await server.fetch('/sessman/new', { method: 'POST', headers })).status).to.equal(404);
      const stream = new StreamReader(await server.fetch('/admin/api/stream', { headers }));
      const { plugins } = (await stream.next('hello'))!;
      expect(plugins.find(({ name }) => name === 'sessions_b')).to.include({
        uses: 'sessman',
        path: '/sessions_b',
      });
      expect(plugins.find(({ name }) => name === 'admin')).to.include({ uses: null });
      await stream.close();
    } finally {
      await server.close();
    }
  });

  it('comes from the snapshot where a worker has one, whatever the disk has since', async () => {
    const { snapshot } = await prepared('jobs=uses=npm:shop');
    await rm(join(folder, 'node_modules/shop/package.json'));
    const again = await prepare({ iniFile: join(folder, 'plugin-server.ini'), snapshot });
    expect(again.plugins.find(({ name }) => name === 'jobs')!.version).to.equal('9.0.0');
  });

  it('that leads nowhere is a problem at its place, with what to do', async () => {
    expect(await problemsOf('one=auth=none&uses=shpo')).to.deep.equal([
      'plugin-server.ini:2:20: plugin "one" uses "shpo", which is neither a plugin nor a package in node_modules beside plugin-server.ini; did you mean "shop"?',
    ]);
    expect(await problemsOf('one=uses=@acme/jobs')).to.deep.equal([
      'plugin-server.ini:2:10: plugin "one" uses the package "@acme/jobs", which is not in node_modules beside plugin-server.ini; run: npm install @acme/jobs',
    ]);
    expect(await problemsOf('one=uses=npm:lodahs')).to.deep.equal([
      'plugin-server.ini:2:10: plugin "one" uses the package "lodahs", which is not in node_modules beside plugin-server.ini; did you mean "lodash"? If not, run: npm install lodahs',
    ]);
    expect((await problemsOf('one=uses=lodahs'))[0]).to.match(/; did you mean "lodash"\?$/);
    for (const [path, remedy] of [
      ['npm:../plugins/shop', 'write the name of a plugin or a package'],
      ['./plugins/shop.mjs', 'write the name of a plugin or a package'],
      ['@acme/bad/nightly', 'write uses=@acme/bad'],
      ['acme/bad', 'write uses=@acme/bad'],
      ['lodash/fp', 'write uses=lodash'],
    ])
      expect(await problemsOf(`one=uses=${path}`)).to.deep.equal([
        `plugin-server.ini:2:10: "uses" of plugin "one" is a path, not a name; ${remedy}`,
      ]);
    expect((await problemsOf('one=uses=shop;auth_type=none'))[0]).to.match(
      /"uses" of plugin "one" is not a name; write uses=shop, and "&" before the next parameter$/,
    );
    expect((await problemsOf('one=use=shop'))[0]).to.match(
      /:2:1: plugin "one" does not exist; did you mean "uses" instead of "use"\?$/,
    );
    expect((await problemsOf('one=uses=npm:'))[0]).to.match(/:2:10: "uses" of plugin "one" is not a name/);
    expect(await problemsOf('one=uses=shop\ntwo=uses=one')).to.deep.equal([
      'plugin-server.ini:3:10: plugin "two" uses "one", which is neither a plugin nor a package in node_modules beside plugin-server.ini; write uses=shop, as "one" does',
    ]);
    expect((await problemsOf('one=uses=int:5'))[0]).to.match(/:2:10: "uses" of plugin "one" is not a name/);
    expect((await problemsOf('a b=uses=shop'))[0]).to.match(/:2:1: "a b" is not a valid name for a plugin/);
  });

  it('names line and package where the code of a package cannot be used', async () => {
    expect(await problemsOf('one=uses=@acme/bad\ntwo=uses=@acme/bad')).to.deep.equal([
      'plugin-server.ini:2:10: package "@acme/bad" cannot be loaded: not today (node_modules/@acme/bad/index.js:1:7); correct this file',
      'plugin-server.ini:3:10: package "@acme/bad" cannot be loaded: not today (node_modules/@acme/bad/index.js:1:7); correct this file',
    ]);
    expect((await problemsOf('one=uses=lodash'))[0]).to.match(
      /^plugin-server\.ini:2:10: package "lodash" has no default export made by definePlugin \(node_modules\/lodash\/index\.js:1:1\)/,
    );
    expect(
      await problemsOf('one=uses=broken\ntwo=uses=broken', {
        'plugins/broken.mjs': "throw new Error('x');\n",
      }),
    ).to.deep.equal([
      'plugins/broken.mjs:1:7: plugin "broken" cannot be loaded: x; correct this file; plugin-server.ini:2:10 uses it',
    ]);
  });

  for (const [title, exports] of [
    ['leads to no file', '"./lib/gone.js"'],
    ['has other places only', '{"./plugin":"./lib/plugin.mjs"}'],
    ['is for require() alone', '{".":{"require":"./lib/plugin.mjs"}}'],
  ] as const)
    it(`says what a package lacks whose "exports" ${title}`, async () => {
      const [problem] = await problemsOf('one=uses=odd', {
        'node_modules/odd/package.json': `{"name":"odd","exports":${exports}}`,
        'node_modules/odd/lib/plugin.mjs': plain,
      });
      expect(problem).to.match(
        /:2:10: plugin "one": no plugin in odd\/: none of .*index\.cjs exists; name its entry in its package\.json: as "main", or as "\." of "exports", under "import" or "default"$/,
      );
    });

  it('is left out with "required=off" when its package fails, and names the package', async () => {
    const server = await startServer({
      folder,
      files,
      ini: '[plugin_parms]\none=uses=setup&required=off\ntwo=uses=@acme/bad&required=off\n',
    });
    try {
      const state = async (path: string) => (await server.fetch(path)).status;
      expect([await state('/one'), await state('/two'), await state('/shop')]).to.deep.equal([503, 503, 200]);
      const said = server.logs
        .filter(({ level }) => level === 'error')
        .map(({ plugin, msg }) => `${plugin}: ${msg}`);
      expect(said).to.deep.equal([
        'one: plugin "one" failed in its setup: no disk, in package "setup" (node_modules/setup/index.js:2:47)',
        'two: package "@acme/bad" cannot be loaded: not today (node_modules/@acme/bad/index.js:1:7)',
      ]);
    } finally {
      await server.close();
    }
  });

  describe('on which another plugin depends', () => {
    const till = (lines: string) => ({
      'plugin-server.ini': `[plugin_parms]\n${lines}\n`,
    });

    it('is the one of that name, else the only one', async () => {
      for (const [lines, bound] of [
        ['shop_eu=uses=shop', 'shop_eu'],
        ['shop_eu=uses=shop\nshop=auth=none', 'shop'],
        ['shop_eu=uses=npm:shop\nshop=enabled=off', 'shop_eu'],
        ['shop_eu=uses=shop\nshop_us=uses=shop\ntill=with=SHOP:Shop_US', 'shop_us'],
        ['a=uses=shop\nb=uses=shop\ntill=with=list:shop:b', 'b'],
      ] as const) {
        const { plugins } = await prepared('', till(lines));
        const found = plugins.find(({ name }) => name === 'till')!;
        expect(found.bindings.get('shop') ?? 'shop', lines).to.equal(bound);
        const names = plugins.map(({ name }) => name);
        expect(names.indexOf(bound), lines).to.be.lessThan(names.indexOf('till'));
      }
    });

    it('is a problem that names them where several are meant', async () => {
      expect(
        await problemsOf('', till('shop_eu=uses=shop\nshop_us=uses=shop\ntill=auth=none')),
      ).to.deep.equal([
        'plugin-server.ini:4:6: plugin "till" depends on "shop", which several plugins provide: "shop_eu", "shop_us"; write with=shop:shop_eu in its line',
      ]);
    });

    it('is a problem where "with" names what is not there', async () => {
      expect(await problemsOf('', till('shop_eu=uses=shop\ntill=with=shop:shop_uk'))).to.deep.equal([
        'plugin-server.ini:3:11: plugin "shop_uk" does not exist; did you mean "shop_eu"?',
      ]);
      expect(await problemsOf('', till('shop_eu=uses=shop\ntill=with=shap:shop_eu'))).to.deep.equal([
        'plugin-server.ini:3:11: plugin "till" does not depend on "shap"; did you mean "shop"?',
      ]);
      expect((await problemsOf('', till('till=with=shop')))[0]).to.match(
        /expected NAME:PLUGIN, such as shop:shop_eu/,
      );
    });
  });

  it('has data under its own name in lower case, or under another, and never under that of two', async () => {
    const { plugins } = await prepared('Shop_EU=uses=shop\nshop_us=uses=shop&data=Shop.us-1');
    const names = Object.fromEntries(plugins.map(({ name, dataName }) => [name, dataName]));
    expect(names).to.include({ Shop_EU: 'shop_eu', shop_us: 'Shop.us-1', warehouse: 'warehouse' });
    expect(await problemsOf('shop_eu=uses=shop\nshop_us=uses=shop&data=Shop_EU')).to.deep.equal([
      'plugin-server.ini:3:24: plugins "shop_eu" and "shop_us" both keep their data under "Shop_EU"; write another name, or remove data=, so that "shop_eu" has it alone',
    ]);
    expect((await problemsOf('shop=data=../x'))[0]).to.match(/:2:11: .*is not a name/);
    expect(await problemsOf('shop=data=')).to.have.length(1);
  });

  it('leaves data of no plugin to be told, but that of a plugin that is switched off', async () => {
    const { configuration } = await prepared('shop_us=uses=shop&data=usa', {
      'data/shop/x': '',
      'data/usa/x': '',
      'data/till/x': '',
      'data/_server/x': '',
      'data/file': '',
    });
    expect(print(configuration.warnings)).to.deep.equal([
      'plugin-server.ini:1:2: warning: the folder "data" contains data that belongs to no plugin: "shop"; write data=shop in the line of the plugin that wrote it, or remove it',
    ]);
  });
});
