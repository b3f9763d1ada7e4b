import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { StoreFullError } from '../../../../plugins/sessman/errors.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { mountDisk } from '../../../support/disk.js';
import { ServerProcess } from '../../../support/process.js';
import { makeFolder } from '../../../support/server.js';
import { recordAt } from '../support/embedded.js';

interface Made {
  readonly session_id: string;
}

describe('the embedded store on a full disk', () => {
  let disk: ReturnType<typeof mountDisk>;
  let server: ServerProcess;
  beforeEach(async function () {
    const folder = await makeFolder();
    disk = mountDisk(join(folder, 'data'), '16m');
    if (!disk) this.skip();
    server = await ServerProcess.start({ folder, ini: '[network]\nworkers=int:2\n' });
  });
  afterEach(async () => {
    disk?.unmount();
    await server?.close();
  });

  const post = async (call: string, body: object) => {
    const response = await server.fetch(`/sessman/${call}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Made & { readonly code?: string } };
  };
  const make = () => post('new', { userid: 'ann', data: { filling: 'x'.repeat(2000) } });
  /** Many at a time, until `isDone`. */
  const meanwhile = async (isDone: () => boolean, work: () => Promise<void>) => {
    const one = async () => {
      while (!isDone()) await work();
    };
    await Promise.all(Array.from({ length: 16 }, one));
  };
  /** Makes sessions until so many have been refused, each for lack of space. */
  const fill = async (refusals: number) => {
    const made: string[] = [];
    let refused = 0;
    await meanwhile(
      () => refused >= refusals,
      async () => {
        const { status, body } = await make();
        if (status === 200) made.push(body.session_id);
        else {
          expect([status, body.code]).to.deep.equal([503, 'store_full']);
          refused += 1;
        }
      },
    );
    return made;
  };
  const lost = () => server.logs.filter(({ msg }) => /worker.*(lost|replaced)/.test(msg));

  it('is read, makes room where sessions end, loses no worker, and is written again', async () => {
    const made = await fill(1000);
    expect((await server.fetch('/readyz')).status).to.equal(503);
    expect((await server.fetch(`/sessman/get?userid=ann&session_id=${made[0]}`)).status).to.equal(200);
    expect((await post('update', { session_id: made[0], data: {} })).body.code).to.equal('store_full');
    const ending = made.slice(0, 2000);
    await meanwhile(
      () => ending.length === 0,
      async () => {
        expect((await post('end', { session_id: ending.pop() })).status).to.equal(200);
      },
    );
    expect((await make()).status).to.equal(200);
    expect((await server.fetch('/readyz')).status).to.equal(200);
    expect(lost()).to.deep.equal([]);
  });

  it('lets expired sessions be removed', async () => {
    const now = Date.now();
    const store = EmbeddedStore.open(join(server.folder, 'data/other'));
    try {
      const insert = () =>
        store.insert(recordAt(now, { expires: now + 1000, data: JSON.stringify('x'.repeat(5000)) }));
      const fillUp = async () => {
        for (let made = 0; ; made += 1) {
          const error = await insert().catch((cause: unknown) => cause);
          if (error === true) continue;
          expect(error).to.be.instanceOf(StoreFullError);
          return made;
        }
      };
      const made = await fillUp();
      const later = now + 2000;
      let removed = 0;
      while (store.isSweepDue(later)) removed += (await store.sweep(later, 100)).removed;
      expect(removed).to.equal(made);
      expect(await fillUp()).to.be.greaterThan(made / 2);
    } finally {
      await store.close();
    }
  });

  it('which others have filled to the last byte, is read, and written again once they make room', async () => {
    const { session_id } = (await make()).body;
    const ballast = await open(join(server.folder, 'data/ballast'), 'w');
    const none = await ballast.writeFile(Buffer.alloc(40_000_000)).catch(({ code }) => code);
    expect(none).to.equal('ENOSPC');
    // So old may be what a worker knows of the disk.
    await sleep(10);
    await fill(200);
    const get = () => server.fetch(`/sessman/get?userid=ann&session_id=${session_id}`);
    expect((await get()).status).to.equal(200);
    expect((await post('end', { session_id })).body.code).to.equal('store_full');
    await ballast.truncate();
    await ballast.close();
    // A worker looks at the disk every few milliseconds.
    while ((await make()).status === 503);
    while ((await post('end', { session_id })).status === 503);
    expect((await get()).status).to.equal(404);
    expect(lost()).to.deep.equal([]);
  });
});
