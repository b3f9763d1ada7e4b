import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { runCommand, ServerProcess } from '../../support/process.js';
import { makeFolder, writeFiles } from '../../support/server.js';

const kit = "import { definePlugin } from 'plugin-server';\n";

describe('the place of an error in a plugin', () => {
  describe('whose folder has an unusual name', () => {
    let folder: string;
    before(async () => {
      folder = await makeFolder();
    });
    after(() => rm(folder, { recursive: true, force: true }));

    for (const name of [
      'pctonly%',
      '100%25',
      'hash#tag',
      'what?',
      'with blank',
      'ünï',
      '日本',
      'a(b)',
      'a (b) c',
      'row:12:3',
      'plus+and&',
      "quote's",
    ]) {
      it(`is found in ${name}`, async () => {
        const inner = join(folder, name);
        await writeFiles(inner, {
          'plugin-server.ini': '[main]\nsafe=list:a b c\n',
          'plugins/a.ts': `${kit}\n  throw new Error('typescript');\n`,
          'plugins/b.mjs': `${kit}\n  throw new Error('module');\n`,
          'plugins/c.cjs': "\n\n  throw new Error('commonjs');\n",
        });
        const { status, stderr } = await runCommand(inner, 'check');
        expect(status).to.equal(1);
        expect(stderr.split('\n').filter((line) => line.startsWith('plugins/'))).to.have.length(3);
        expect(stderr).to.match(/^plugins\/a\.ts:3:\d+: .*typescript/m);
        expect(stderr).to.match(/^plugins\/b\.mjs:3:9: .*module/m);
        expect(stderr).to.match(/^plugins\/c\.cjs:3:9: .*commonjs/m);
        expect(stderr).not.to.match(/^ +at /m);
      });
    }
  });

  describe('that nobody catches', () => {
    const routes = (rejection: string) => `export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      ${rejection}
      ctx.body = 'answered';
    });
  },
});
`;
    const later = 'export function later() {\n  Promise.reject(new Error("in a package"));\n}\n';
    const alone =
      'export function alone() {\n  setImmediate(() => void Promise.reject(new Error("alone")));\n}\n';
    let server: ServerProcess;

    before(async () => {
      const plugin = (rejection: string) => `${kit}${routes(rejection)}`;
      server = await ServerProcess.start({
        ini: '',
        files: {
          'plugins/shop.mjs': plugin("Promise.reject(new Error('of the shop'));"),
          'plugins/counter/index.mjs': plugin("Promise.reject(new Error('of the counter'));"),
          'plugins/counter-admin/index.mjs': plugin("Promise.reject(new Error('of the admin'));"),
          'plugins/counter.old/index.mjs': plugin("Promise.reject(new Error('of the old'));"),
          'plugins/counter 2/package.json': '{"name":"counter2"}',
          'plugins/counter 2/index.mjs': plugin("Promise.reject(new Error('of the second'));"),
          'plugins/direct/index.mjs': `import { later } from 'dep';\n${plugin('later();')}`,
          'plugins/direct/node_modules/dep/package.json': '{"type":"module","main":"index.js"}',
          'plugins/direct/node_modules/dep/index.js': later,
          'plugins/indirect/index.mjs': `import { alone } from 'dep';\n${plugin('alone();')}`,
          'plugins/indirect/node_modules/dep/package.json': '{"type":"module","main":"index.js"}',
          'plugins/indirect/node_modules/dep/index.js': alone,
          'plugins/circle/index.mjs': plugin(
            "const e = new Error('of the circle'); e.cause = e; Promise.reject(e);",
          ),
        },
      });
    });
    after(() => server.close());

    for (const [path, plugin, at] of [
      ['/counter', 'counter', 'plugins/counter/index.mjs:5:22'],
      ['/counter-admin', 'counter-admin', 'plugins/counter-admin/index.mjs:5:22'],
      ['/counter.old', 'counter.old', 'plugins/counter.old/index.mjs:5:22'],
      ['/counter2', 'counter2', 'plugins/counter 2/index.mjs:5:22'],
      ['/shop', 'shop', 'plugins/shop.mjs:5:22'],
      ['/direct', 'direct', 'plugins/direct/index.mjs:6:7'],
      ['/indirect', 'indirect', 'plugins/indirect/node_modules/dep/index.js:2:42'],
      ['/circle', 'circle', 'plugins/circle/index.mjs:5:17'],
    ] as const) {
      it(`names ${plugin} and no plugin of a similar name`, async () => {
        const from = server.logs.length;
        expect((await server.fetch(path)).status).to.equal(200);
        const line = await server.until(({ level }) => level === 'error', from);
        expect(line).to.include({ plugin, at });
      });
    }
  });
});
