import { rm } from 'node:fs/promises';
import { expect } from 'chai';
import { runCommand } from '../../support/process.js';
import { makeFolder, writeFiles } from '../../support/server.js';

describe('the sections of the configuration', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await makeFolder();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  const check = async (ini: string) => {
    await writeFiles(folder, {
      'plugins/diary.js': `import { definePlugin, z } from 'plugin-server';
        export default definePlugin({ sections: { logs: z.object({ days: z.string() }) }, setup() {} });`,
      'plugin-server.ini': ini,
    });
    return runCommand(folder, 'check');
  };
  const logs = '[logs]\ndays=5\n';

  it('are known in any case, and those of plugins are theirs', async () => {
    const { stderr, status } = await check(
      `${logs}[Network]\nport=int:0\n[PLUGIN_PARMS]\nSessMan=session_ttl=int:60\n`,
    );
    expect({ stderr, status }).to.deep.equal({ stderr: '', status: 0 });
  });

  it('may be any that others refer to, and any whose name is like no other', async () => {
    const { stderr, status } = await check(
      `${logs}[path]\nbase=x\n[paths]\ndata=\${path:base}\n[my values]\na=1\n`,
    );
    expect({ stderr, status }).to.deep.equal({ stderr: '', status: 0 });
  });

  it('that nobody reads are taken for misspelt where there is a name like theirs', async () => {
    const { stdout, stderr, status } = await check(`${logs}[netwrok]\nport=int:0\n[logz]\n`);
    expect(status).to.equal(1);
    expect(stdout + stderr).to.contain(
      'plugin-server.ini:3:2: unknown section [netwrok]; did you mean [network]?',
    );
    expect(stdout + stderr).to.contain('plugin-server.ini:5:2: unknown section [logz]; did you mean [log');
  });
});
