import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { installPackage, typeCheck } from '../../support/package.js';
import { makeFolder, startServer } from '../../support/server.js';
import { exchanged, promised } from './promised-types.js';

const project = fileURLToPath(new URL('../../../../', import.meta.url));

/** The plugin that the project shows first. */
const plugin = `import { definePlugin, z } from 'plugin-server';

export default definePlugin({
  config: z.object({ greeting: z.string().default('Hello') }),
  setup({ config, router }) {
    router.get('/:name', (ctx) => {
      ctx.body = { message: \`\${config.greeting}, \${ctx.params.name}\` };
    });
  },
});
`;

describe('the plugin of ten lines', () => {
  it('is the one that the kit shows', async () => {
    const kit = await readFile(join(project, 'host/kit/index.ts'), 'utf8');
    const [, shown = ''] = /```ts\n([\s\S]*?) \* ```/.exec(kit) ?? [];
    expect(shown.replaceAll(/^ \* ?/gm, '')).to.equal(plugin);
  });

  it('runs from a folder outside the project, in TypeScript, with nothing installed', async () => {
    const server = await startServer({ files: { 'plugins/hello.ts': plugin } });
    try {
      const answer = await server.fetch('/hello/World');
      expect(answer.status).to.equal(200);
      expect(await answer.json()).to.deep.equal({ message: 'Hello, World' });
    } finally {
      await server.close();
    }
  });

  it('takes its parameter from the INI file, and a folder of its own as well', async () => {
    const server = await startServer({
      ini: '[plugin_parms]\nhello=greeting=Good day\n',
      files: { 'plugins/hello/index.ts': plugin },
    });
    try {
      expect(await (await server.fetch('/hello/World')).json()).to.deep.equal({ message: 'Good day, World' });
    } finally {
      await server.close();
    }
  });

  describe('for the type checker', () => {
    let folder: string;

    before(async function () {
      this.timeout(60_000);
      folder = await makeFolder();
      await installPackage(folder);
    });

    after(() => rm(folder, { recursive: true }));

    const check = (files: Readonly<Record<string, string>>) => typeCheck(folder, files);

    it('is right under --strict with the types that are published', async () => {
      const withId = plugin.replace('ctx.params.name', 'ctx.requestId.length');
      expect(await check({ 'hello.ts': plugin, 'id.ts': withId })).to.equal('');
    }).timeout(60_000);

    it('is wrong where it uses what is not there', async () => {
      for (const [from, to, complaint] of [
        ['config.greeting', 'config.greting', "Property 'greting' does not exist"],
        [
          'ctx.body = {',
          'ctx.no = 1 as number satisfies string; ctx.body = {',
          "Type 'number' does not satisfy",
        ],
        ['{ config, router }', '{ config, ruter }', "Property 'ruter' does not exist"],
        ['setup(', 'stup(', "'stup' does not exist"],
        ['ctx.params.name', 'ctx.params.name.length.x', "Property 'x' does not exist on type 'number'"],
      ] as const) {
        expect(plugin).to.contain(from);
        expect(await check({ 'hello.ts': plugin.replace(from, to) }), to).to.contain(complaint);
      }
    }).timeout(120_000);

    it('has the types that plugins and their tests rely on, no narrower and no wider', async () => {
      const files = { 'promised.ts': promised, 'exchanged.ts': exchanged };
      expect(await check(files)).to.equal('');
      for (const [from, to] of [
        ['download?: string | true', 'download?: string'],
        ['{ port: number; host?: string }', '{ port: number; host: string }'],
        ['catchUp: boolean', 'catchUp: boolean | undefined'],
        ['subscribe(handler: (value: T)', 'subscribe(handler: (value: T, from: string)'],
        ['delete(key: string): Promise<boolean>', 'delete(key: string): Promise<void>'],
      ] as const) {
        expect(promised).to.contain(from);
        expect(await check({ ...files, 'promised.ts': promised.replace(from, to) }), to).to.contain(
          'exchanged.ts',
        );
      }
    }).timeout(120_000);

    it('knows what a storage holds and how a schedule is written', async () => {
      const counter = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ storage, every, now }) {
    const counts = storage<{ runs: number }>('counts');
    every('count', '10 min', async ({ scheduledAt, signal, attempt, catchUp, fence }) => {
      const count = await counts.update('all', (last) => ({ runs: (last?.runs ?? 0) + attempt + fence }));
      const due: number = now().getTime() - scheduledAt.getTime();
      if (catchUp || signal.aborted || due > (count?.runs ?? 0)) await counts.delete('all');
      for await (const [key, { runs }] of counts.entries({ prefix: 'a' })) key.slice(runs);
    }, { timeZone: 'Europe/Berlin' });
    every('nightly', '30 2 * * *', () => {});
  },
});
`;
      expect(await check({ 'counter.ts': counter })).to.equal('');
      for (const [from, to, complaint] of [
        ["'10 min'", "'10 minutes'", '\'"10 minutes"\' is not assignable'],
        ['({ runs: (last', '({ ruins: (last', "'runs' is missing"],
        ['(last?.runs', '(last.runs', "'last' is possibly 'undefined'"],
        ['{ prefix:', '{ prefx:', "'prefx' does not exist"],
        ["update('all', (last)", "update('all', async (last)", 'Promise'],
      ] as const) {
        expect(counter).to.contain(from);
        expect(await check({ 'counter.ts': counter.replace(from, to) }), to).to.contain(complaint);
      }
    }).timeout(120_000);
  });
});
