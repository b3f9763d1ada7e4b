import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { offerUsedPage } from '../../../support/free-pages.js';
import { runProgram } from '../../../support/process.js';
import { startServer } from '../../../support/server.js';
import { recordAt } from '../support/embedded.js';

const programOf = (name: string) =>
  fileURLToPath(new URL(`../../../../plugins/sessman/stores/embedded/${name}.js`, import.meta.url));

describe('the list of free pages of an embedded store', () => {
  let folder: string;
  const now = Date.now();
  const scrub = (...args: string[]) =>
    runProgram(process.execPath, [programOf('scrub-command'), ...args], '/');

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    const store = EmbeddedStore.open(join(folder, 'store'));
    const records = Array.from({ length: 500 }, () => recordAt(now, { userid: 'ann', data: '{"a":1}' }));
    await Promise.all(records.map((record) => store.insert(record)));
    await store.removeEach(
      records.slice(100).map(({ handle }) => ({ handle, now })),
      'end',
    );
    await store.close();
  });

  afterEach(() => rm(folder, { recursive: true }));

  it('is right after sessions have ended', async () => {
    expect(await scrub(join(folder, 'store'))).to.deep.equal({
      status: 0,
      stdout: '100 records read: 0 damaged, 0 without a checksum; 0 index entries repaired\n',
      stderr: '',
    });
  });

  it('is shown by a scrub where it offers a page that is in use, made anew by sessman-compact, and told of by a server', async () => {
    const store = join(folder, 'store');
    const path = join(store, 'sessions.mdb');
    const file = await readFile(path);
    offerUsedPage(file, 'records');
    await writeFile(path, file);
    const { status, stdout } = await scrub(store);
    expect(status).to.equal(1);
    expect(stdout).to.match(/^the session store's list of free pages offers a page that is in use/);
    const served = join(folder, 'served');
    await cp(store, served, { recursive: true });
    expect((await runProgram(process.execPath, [programOf('compact'), store], '/')).status).to.equal(0);
    expect((await scrub(store)).stdout).to.match(/^100 records read: 0 damaged/);
    const server = await startServer({
      files: { 'sessman.json': JSON.stringify({ path: served }) },
      ini: '[plugin_parms]\nsessman=json=sessman.json\n',
    });
    try {
      const figure = async () =>
        /^sessman_store_scrub_contested_pages(?:\{[^}]*\})? (\d+)$/m.exec(
          await (await server.fetch('/metrics')).text(),
        )?.[1];
      while ((await figure()) === undefined) await pause(20);
      expect(await figure()).to.equal('1');
      expect(server.logs.filter(({ msg }) => /offers a page that is in use/.test(msg))).to.have.length(1);
    } finally {
      await server.close();
    }
  });
});
