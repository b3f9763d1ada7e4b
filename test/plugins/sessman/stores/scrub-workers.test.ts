import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { type ScrubState, scrubFact } from '../../../../plugins/sessman/stores/scrubber.js';
import { ServerProcess } from '../../../support/process.js';
import { makeFolder } from '../../../support/server.js';
import { addBallast, dropBallast, readersOf, recordAt } from '../support/embedded.js';

describe('the scrub of two workers, while its last part is under way', () => {
  let server: ServerProcess;
  let store: EmbeddedStore;
  let folder: string;
  before(async function () {
    if (process.platform !== 'linux') this.skip();
    const parent = await makeFolder();
    folder = join(parent, 'data/sessman/store');
    store = EmbeddedStore.open(folder);
    await Promise.all(Array.from({ length: 10 }, () => store.insert(recordAt(Date.now()))));
    // Its pages take a worker far longer than the test.
    await addBallast(folder, 40_000);
    server = await ServerProcess.start({
      folder: parent,
      ini: '[main]\nsafe=list:sessman\n[network]\nworkers=int:2\n[paths]\npidfile=server.pid\n',
      args: ['--safe'],
    });
  });
  after(async () => {
    await store?.close();
    await server?.close();
  });

  /** Whether it reads the file as such: LMDB has it open to write. */
  const isCounting = async (pid: number) => {
    for (const fd of await readdir(`/proc/${pid}/fd`)) {
      const path = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (!path.endsWith('/sessions.mdb')) continue;
      const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
      if (/^flags:\s+\d*0$/m.test(info)) return true;
    }
    return false;
  };
  const counting = async (): Promise<number> => {
    for (;;) {
      // A worker that starts reads the file as such, too, but is no reader of LMDB's yet.
      const { reading } = await readersOf(folder);
      for (const pid of reading) if (await isCounting(pid).catch(() => false)) return pid;
      await pause(5);
    }
  };
  const gone = async (pids: readonly number[]) => {
    while (server.workers().some((pid) => pids.includes(pid))) await pause(5);
  };
  const state = () => store.fact<ScrubState>(scrubFact);
  const holder = () => store.fact<{ owner: string }>('scrubber')!.owner;
  /** A killed worker's lease lasts for fifteen seconds: as if they had passed since its end. */
  const expire = async () => {
    const now = Date.now();
    expect(await store.lease('scrubber', holder(), now, now)).to.be.a('number');
  };

  it('goes on when its worker is killed, stops for a reload, and is finished by another worker', async () => {
    const killed = await counting();
    process.kill(killed, 'SIGKILL');
    await gone([killed]);
    await expire();
    const stopped = await counting();
    expect(stopped).not.to.equal(killed);
    // The one under way has them all the same.
    await dropBallast(folder);
    const [old, owner] = [server.workers(), holder()];
    expect((await server.command('reload')).status).to.equal(0);
    await gone(old);
    expect((await readersOf(folder)).all).not.to.include(stopped);
    const figure = async () =>
      /^sessman_store_scrub_contested_pages(?:\{[^}]*\})? (\d+)$/m.exec(
        await (await server.fetch('/metrics')).text(),
      )?.[1];
    while ((await figure()) === undefined) await pause(20);
    expect(await figure()).to.equal('0');
    expect(state()!.last).to.include({ records: 10, damaged: 0, contested: 0 });
    expect(state()).not.to.have.property('current');
    expect(holder()).not.to.equal(owner);
    expect((await readersOf(folder)).all).not.to.include(killed);
  });
});
