import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { makeFolder, startServer, writeFiles } from '../../support/server.js';
import { readSteps } from '../../support/walkthrough.js';

const run = promisify(execFile);
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
      await installTypes(folder);
    });

    after(() => rm(folder, { recursive: true }));

    const check = async (files: Readonly<Record<string, string>>) => {
      await writeFiles(folder, {
        ...files,
        'package.json': '{ "type": "module" }',
        'tsconfig.json': JSON.stringify({
          compilerOptions: {
            strict: true,
            noEmit: true,
            module: 'nodenext',
            target: 'es2023',
            types: ['node'],
            skipLibCheck: true,
            preserveSymlinks: true,
          },
          files: Object.keys(files),
        }),
      });
      const { stdout } = await run(process.execPath, [
        join(project, 'node_modules/typescript/bin/tsc'),
        '-p',
        folder,
      ]).catch((failed: { stdout: string }) => failed);
      return stdout.trim();
    };

    it('is right under --strict with the types that are published', async () => {
      const withId = plugin.replace('ctx.params.name', 'ctx.requestId.length');
      expect(await check({ 'hello.ts': plugin, 'id.ts': withId })).to.equal('');
    }).timeout(60_000);

    it('is content with every plugin of the page on plugins', async () => {
      const steps = await readSteps('docs/plugins.md');
      const files = steps.flatMap((step) =>
        step.kind === 'file' && step.path.endsWith('.ts')
          ? [[`at-line-${step.line}.ts`, step.text] as const]
          : [],
      );
      expect(files).to.have.length.above(5);
      expect(await check(Object.fromEntries(files))).to.equal('');
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
  });
});

/**
 * Lays node_modules out as an installation of the package would: its published files and its dependencies, none of those
 * that only its development needs.
 */
async function installTypes(folder: string): Promise<void> {
  const modules = join(folder, 'node_modules');
  await mkdir(join(modules, 'plugin-server'), { recursive: true });
  for (const published of ['package.json', 'dist']) {
    await symlink(join(project, published), join(modules, 'plugin-server', published));
  }
  const { stdout } = await run('npm', ['ls', '--omit=dev', '--all', '--parseable'], { cwd: project }).catch(
    (failed: { stdout: string }) => failed,
  );
  for (const path of stdout.trim().split('\n').slice(1)) {
    const target = join(modules, relative(join(project, 'node_modules'), path));
    // What lies inside another package comes with it.
    if (target.slice(modules.length + 1).includes('node_modules')) continue;
    await mkdir(dirname(target), { recursive: true });
    await symlink(path, target);
  }
}
