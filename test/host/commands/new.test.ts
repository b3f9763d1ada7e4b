import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { runCommand, runProgram, ServerProcess } from '../../support/process.js';
import { makeFolder, writeFiles } from '../../support/server.js';

const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');

describe('plugin-server new', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it('writes a plugin outside the package that serves, type-checks, and whose test passes', async () => {
    const { status, stdout, stderr } = await runCommand(folder, 'new', 'greeter');
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    expect(stdout).to.contain('curl http://127.0.0.1:6123/greeter/world');
    const plugin = join(folder, 'plugins/greeter');

    const checked = await runProgram(process.execPath, [compiler, '-p', plugin], folder);
    expect(checked).to.deep.equal({ status: 0, stdout: '', stderr: '' });

    const { scripts } = JSON.parse(await readFile(join(plugin, 'package.json'), 'utf8'));
    expect(scripts.test).to.equal('node --test');
    const tested = await runProgram(process.execPath, ['--test', '--test-reporter=tap'], plugin);
    expect(tested.stdout, tested.stderr).to.match(/^# pass 2$/m);
    expect(tested.status).to.equal(0);

    const server = await ServerProcess.start({
      folder,
      ini: '[main]\nsafe=list:greeter\n[plugin_parms]\ngreeter=greeting=Good day\n',
      args: ['--safe'],
    });
    expect(await server.json('/greeter/world')).to.deep.equal({ message: 'Good day, world', visits: 1 });
    await server.close();
  });

  it('imports by name where plugin-server is installed', async () => {
    const packageFolder = fileURLToPath(new URL('../../../../', import.meta.url));
    await mkdir(join(folder, 'node_modules'));
    await symlink(packageFolder, join(folder, 'node_modules/plugin-server'));
    expect((await runCommand(folder, 'new', 'greeter')).status).to.equal(0);
    const plugin = join(folder, 'plugins/greeter');
    const test = await readFile(join(plugin, 'test/greeter.test.js'), 'utf8');
    expect(test).to.contain("from 'plugin-server/testing'");
    const tested = await runProgram(process.execPath, ['--test', '--test-reporter=tap'], plugin);
    expect(tested.status, tested.stdout).to.equal(0);
  });

  it('writes into the folder that the INI file names, and asks for the key that it sets', async () => {
    await writeFiles(folder, {
      'etc/server.ini':
        '[paths]\nplugins=../extensions\n[auth]\napikey=k\n[network]\nbindto=0.0.0.0\nport=int:7000\n',
    });
    const { status, stdout } = await runCommand(folder, 'new', 'greeter', '-i', 'etc/server.ini');
    expect(status).to.equal(0);
    expect(stdout).to.contain("curl -H 'Authorization: Bearer KEY' http://127.0.0.1:7000/greeter/world");
    expect(existsSync(join(folder, 'extensions/greeter/index.ts'))).to.equal(true);
  });

  it('leaves the port to the log where the INI file asks for a free one, and sets its list in columns', async () => {
    await writeFiles(folder, { 'plugin-server.ini': '[network]\nport=int:0\n' });
    const { stdout } = await runCommand(folder, 'new', 'greeter');
    expect(stdout).to.contain('curl http://127.0.0.1:PORT/greeter/world');
    expect(stdout).to.contain('PORT is in the log');
    const columns = stdout.split('\n').flatMap((line) => /^ {2}\S+ {2,}(?=\S)/.exec(line)?.[0].length ?? []);
    expect(columns).to.deep.equal([26, 26, 26, 26]);
  });

  it('writes nothing over what is there, or under a name that cannot be one', async () => {
    await writeFiles(folder, { 'plugins/mine/index.js': '', 'plugins/other.js': '' });
    for (const [name, says] of [
      ['mine', 'plugins/mine already exists'],
      ['other', 'a plugin "other" already exists'],
      ['sessman', 'plugin-server already includes a plugin "sessman"'],
      ['metrics', 'the path /metrics is reserved by the server'],
      ['../out', 'is not a valid plugin name'],
      ['Loud', 'is not a valid plugin name'],
      ['a b', 'is not a valid plugin name'],
    ]) {
      const { status, stdout, stderr } = await runCommand(folder, 'new', name!);
      expect({ status, stdout }, name).to.deep.equal({ status: 1, stdout: '' });
      expect(stderr).to.contain(says);
    }
    expect(existsSync(join(folder, 'out'))).to.equal(false);
  });
});
