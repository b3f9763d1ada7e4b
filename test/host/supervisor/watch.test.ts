import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { type Greeting, hello, ServerProcess, startHello } from '../../support/process.js';
import { makeFolder, writeFiles } from '../../support/server.js';

describe('start --watch', () => {
  let server: ServerProcess;
  afterEach(() => server.close());

  const greeting = async () => (await server.json<Greeting>('/hello')).greeting;
  /** A reload may have found the files half way through. */
  const until = async (path: string, word: string) => {
    for (;;) {
      const from = server.logs.length;
      if ((await server.json<Greeting>(path)).greeting === word) return;
      await server.until(({ msg }) => msg === 'reloaded', from);
    }
  };
  const afterReload = async (edit: () => Promise<void>) => {
    const reloaded = server.next('reloaded');
    await edit();
    await reloaded;
  };

  it('reloads when a plugin, the INI file or a JSON file of it is saved', async () => {
    server = await startHello({
      args: ['--watch'],
      ini: '[plugin_parms]\nhello=json=hello.json\n',
      files: { 'hello.json': '{"greeting": "from JSON"}' },
    });
    expect(await greeting()).to.equal('from JSON');
    await afterReload(() => server.write('hello.json', '{"greeting": "from JSON again"}'));
    expect(await greeting()).to.equal('from JSON again');
    const ini = '[main]\nsafe=list:hello\n[network]\nport=int:0\n';
    await afterReload(() => server.write('plugin-server.ini', ini));
    expect(await greeting()).to.equal('Hello');
    await afterReload(() => server.write('plugins/hello.js', hello('Edited')));
    expect(await greeting()).to.equal('Edited');
  });

  it('checks the responses of routes, and says of a route that says nothing what to do; start alone does neither', async () => {
    const plugin = `
import { definePlugin, route, z } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', route({ response: z.object({ a: z.int() }) }, () => ({ a: 'text' })));
    router.get('/silent', () => ({ a: 1 }));
  },
});`;
    const outcomes = [];
    for (const args of [['--watch'], []]) {
      server = await startHello({
        args,
        ini: '[network]\nworkers=2\n',
        files: { 'plugins/hello.js': plugin },
      });
      const [wrong, silent] = [await server.fetch('/hello'), await server.fetch('/hello/silent')];
      outcomes.push([wrong.status, silent.status, ((await silent.json()) as { code: string }).code]);
      if (args.length > 0) {
        const line = await server.until(({ msg }) => msg === 'request failed');
        expect(JSON.stringify(line.err)).to.include('the response of GET / is not what');
        await server.close();
      }
    }
    expect(outcomes).to.deep.equal([
      [500, 404, 'no_response'],
      [200, 404, 'not_found'],
    ]);
  });

  it('sees a file that an editor puts in the place of another', async () => {
    server = await startHello({ args: ['--watch'] });
    for (const word of ['once', 'twice']) {
      await afterReload(async () => {
        await server.write('plugins/.hello.js.swp', hello(word));
        await rename(join(server.folder, 'plugins/.hello.js.swp'), join(server.folder, 'plugins/hello.js'));
      });
      expect(await greeting()).to.equal(word);
    }
  });

  it('sees a plugin folder that is a link, and a file elsewhere that a plugin imports', async () => {
    const [folder, elsewhere, shared] = await Promise.all([makeFolder(), makeFolder(), makeFolder()]);
    await writeFiles(shared, { 'word.mjs': "export const word = 'one';\n" });
    await writeFiles(elsewhere, {
      'package.json': '{"name": "@mine/hello", "type": "module"}',
      'index.js': pluginThatImports('./lib/text.js'),
      'lib/text.js': `export { word } from '../${relative(elsewhere, shared)}/word.mjs';\n`,
    });
    await mkdir(join(folder, 'plugins/@mine'), { recursive: true });
    await symlink(elsewhere, join(folder, 'plugins/@mine/hello'));
    server = await ServerProcess.start({
      folder,
      ini: '[main]\nsafe=list:hello\n',
      args: ['--safe', '--watch'],
    });
    expect(await greeting()).to.equal('one');
    await afterReload(() => writeFile(join(shared, 'word.mjs'), "export const word = 'two';\n"));
    expect(await greeting()).to.equal('two');
    await afterReload(() => writeFile(join(elsewhere, 'lib/text.js'), "export const word = 'three';\n"));
    expect(await greeting()).to.equal('three');
    await Promise.all([elsewhere, shared].map((path) => rm(path, { recursive: true })));
  });

  it('shows what is wrong where it is typed, serves on, and takes the next save', async () => {
    server = await startHello({ args: ['--watch'] });
    const failed = server.next('not reloaded');
    await server.write('plugins/hello.js', 'export default (');
    await failed;
    while (!server.stderr.includes('1 problem')) await new Promise((resolve) => setImmediate(resolve));
    expect(server.stderr).to.match(/^plugins\/hello\.js:1:\d+: plugin "hello" cannot be loaded/);
    expect(await greeting()).to.equal('Hello');
    await afterReload(() => server.write('plugins/hello.js', hello('Mended')));
    expect(await greeting()).to.equal('Mended');
  });

  it('loads a plugin that is new', async () => {
    server = await startHello({ args: ['--watch'], ini: '[plugin_parms]\n' });
    const other = hello('Other').replace('hello_total', 'other_total');
    await afterReload(() =>
      server.write('plugin-server.ini', '[main]\nsafe=list:hello other\n[network]\nport=int:0\n'),
    );
    await server.write('plugins/other/index.js', other);
    await until('/other', 'Other');
  });

  it('loads a plugin whose files are written a moment after their folder, and sees its next save', async () => {
    server = await startHello({ args: ['--watch'] });
    await afterReload(() =>
      server.write('plugin-server.ini', '[main]\nsafe=list:hello one two\n[network]\nport=int:0\n'),
    );
    const index = (word: string) => pluginThatImports('./lib/word.js').replace("'hello'", `'${word}'`);
    for (const name of ['one', 'two']) {
      await mkdir(join(server.folder, `plugins/${name}/lib`), { recursive: true });
      await turn();
      await server.write(`plugins/${name}/lib/word.js`, "export const word = 'written';\n");
      await turn();
      await server.write(`plugins/${name}/index.js`, index(name));
      await until(`/${name}`, 'written');
      await server.write(`plugins/${name}/lib/word.js`, "export const word = 'saved';\n");
      await until(`/${name}`, 'saved');
    }
  });

  it('sees a folder that is put in the place of another', async () => {
    server = await startHello({ args: ['--watch'], files: { 'plugins/other/index.js': hello('Other') } });
    for (const word of ['once', 'twice']) {
      await server.write('new/index.js', hello(word));
      await rename(join(server.folder, 'plugins'), join(server.folder, `plugins-before-${word}`));
      await mkdir(join(server.folder, 'plugins'));
      await rename(join(server.folder, 'new'), join(server.folder, 'plugins/hello'));
      await until('/hello', word);
    }
  });

  it('sees a folder with the same files that takes the place of another, and each save in it', async () => {
    server = await startHello({ args: ['--watch'] });
    await server.write('new/hello.js', hello('moved'));
    await rename(join(server.folder, 'plugins'), join(server.folder, 'before'));
    await rename(join(server.folder, 'new'), join(server.folder, 'plugins'));
    await until('/hello', 'moved');
    await server.write('plugins/hello.js', hello('saved'));
    await until('/hello', 'saved');
    await rm(join(server.folder, 'plugins'), { recursive: true });
    await server.write('plugins/hello.js', hello('made again'));
    await until('/hello', 'made again');
    await server.write('plugins/hello.js', hello('saved again'));
    await until('/hello', 'saved again');
  });

  it('leaves node_modules, hidden files and the data folder alone', async () => {
    server = await startHello({ args: ['--watch'], ini: 'data=plugins/_data\n' });
    const from = server.logs.length;
    await server.write('plugins/node_modules/x/index.js', '1');
    await server.write('plugins/.cache/x.js', '1');
    await server.write('plugins/_data/x.json', '1');
    // What is watched is saved after what is not: the first reload finds it.
    await afterReload(() => server.write('plugins/hello.js', hello('Edited')));
    const lines = server.logs.slice(from).map(({ msg }) => msg);
    expect(lines.slice(0, lines.indexOf('reloaded')).filter((msg) => msg === 'reloading')).to.have.lengthOf(
      1,
    );
    expect(await greeting()).to.equal('Edited');
  });
});

function pluginThatImports(path: string): string {
  return `import { definePlugin } from 'plugin-server';
import { word } from '${path}';
export default definePlugin({
  name: 'hello',
  setup({ router }) {
    router.get('/', (ctx) => {
      ctx.body = { greeting: word, pid: process.pid };
    });
  },
});
`;
}
