import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { Control } from '../../../host/control.js';
import { errors } from '../../../plugins/sessman/errors.js';
import { EmbeddedStore } from '../../../plugins/sessman/stores/embedded/index.js';
import { raisedStore } from '../../../plugins/sessman/stores/store-kind.js';
import { makeFolder, startServer } from '../../support/server.js';
import { type Api, startApi } from './support/api.js';
import { recordAt, until } from './support/embedded.js';

const reader = fileURLToPath(new URL('./support/reader.js', import.meta.url));

describe('sessman in its process', () => {
  it('writes nothing once the disk failed in two processes before, and says so', async () => {
    const { message } = errors.store_failed;
    const first = await startServer();
    try {
      await first.host.close();
      const path = `${first.folder}/data/sessman/store`;
      for (const [retirements, status] of [
        [[], 200],
        [[message, 'another reason'], 200],
        [[message, 'another reason', message], 503],
      ] as const) {
        const control: Control = {
          reload: () => Promise.reject(new Error('not here')),
          metrics: async () => [],
          retirements,
        };
        const api = await startApi({ path }, { control });
        try {
          const made = await api.post('/sessman/new', { userid: 'ann' });
          expect(made.status).to.equal(status);
          const isTold = api.server.logs.some(
            ({ level, msg, folder }) => /is read-only/.test(msg) && level === 'error' && folder === path,
          );
          expect(isTold).to.equal(status === 503);
          if (status !== 200) expect(made.body.code).to.equal('store_failed');
        } finally {
          await api.close();
        }
      }
    } finally {
      await first.close();
    }
  });

  it('logs once, with the error, what it cannot do in the background', async () => {
    const { message } = errors.store_failed;
    const folder = await makeFolder();
    const store = EmbeddedStore.open(`${folder}/store`);
    await store.insert(recordAt(Date.now() - 2e6));
    await store.close();
    const control: Control = {
      reload: () => Promise.reject(new Error('not here')),
      metrics: async () => [],
      retirements: [message, message],
    };
    const encryption_key = [Buffer.alloc(32, 7).toString('base64'), 'plain'];
    const api = await startApi({ path: `${folder}/store`, removal_delay: 0, encryption_key }, { control });
    try {
      for (const work of [
        'expired sessions could not be removed from the store',
        'sessions cannot be encrypted again for now',
        'the session store cannot be scrubbed for now',
      ]) {
        const told = () => api.server.logs.filter(({ msg }) => msg === work);
        await until(() => told().length > 0);
        expect(told()).to.have.length(1);
        expect(told()[0]).to.include({ level: 'warn', plugin: 'sessman' });
        expect((told()[0]!.err as Error).message).to.include(message);
      }
    } finally {
      await api.close();
      await rm(folder, { recursive: true });
    }
  });

  it('logs where sessions are kept, and which versions of the server can open the store', async () => {
    const keys = { encryption_key: Buffer.alloc(32, 7).toString('base64') };
    const first = await startApi(keys);
    try {
      const folder = `${first.server.folder}/data/sessman/store`;
      const lines = ({ server }: Api) => server.logs.filter((line) => line.folder === folder);
      const [kept] = lines(first);
      expect(kept).to.deep.include({ level: 'info', plugin: 'sessman', store: 'embedded' });
      await first.post('/sessman/new', { userid: 'ann', data: { a: 1 } });
      await first.server.host.close();
      const second = await startApi({ ...keys, path: folder });
      try {
        const [again, raised, ...others] = lines(second);
        expect(again).to.deep.include({ level: 'info', store: 'embedded', msg: kept!.msg });
        expect(raised).to.deep.include({ level: 'info', store: 'embedded', msg: raisedStore });
        expect(others).to.deep.equal([]);
      } finally {
        await second.close();
      }
    } finally {
      await first.close();
    }
  });

  it("logs that the machine's clock has jumped, and by how much", async () => {
    const folder = await makeFolder();
    const store = EmbeddedStore.open(`${folder}/store`);
    store.clock.keep();
    await until(() => store.fact('clock'));
    await store.close();
    const realNow = Date.now;
    const hour = 3_600_000;
    Date.now = () => realNow() - hour;
    try {
      const api = await startApi({ path: `${folder}/store` });
      try {
        const line = api.server.logs.find(({ msg }) => /^this machine's clock has jumped/.test(msg));
        expect(line).to.include({ level: 'warn', folder: `${folder}/store` });
        expect(line!.ms).to.be.closeTo(-hour, 20_000);
      } finally {
        await api.close();
      }
    } finally {
      Date.now = realNow;
      await rm(folder, { recursive: true });
    }
  });

  it('logs which process has been reading its store for long', async () => {
    const { now } = performance;
    const server = await startServer();
    const folder = `${server.folder}/data/sessman/store`;
    const child = fork(reader, [`${folder}/sessions.mdb`]);
    try {
      await once(child, 'message');
      const isSeen = async () => {
        const text = await (await server.fetch('/metrics')).text();
        return /^sessman_store_oldest_reader_seconds\S* [^0]/m.test(text);
      };
      while (!(await isSeen())) await pause(20);
      performance.now = () => now.call(performance) + 61_000;
      const told = () => server.logs.find(({ msg }) => msg.includes('has been reading the session store'));
      while (!told()) await pause(20);
      expect(told()).to.include({ level: 'warn', pid: child.pid, folder });
      expect(told()!.seconds).to.be.at.least(61);
      expect(told()!.msg).to.include(`process ${child.pid} `);
    } finally {
      Reflect.deleteProperty(performance, 'now');
      child.kill('SIGKILL');
      await server.close();
    }
  });

  it('has closed the files of its store when the server has closed', async () => {
    const server = await startServer();
    const open = () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${server.folder}/data/sessman`);
        } catch {
          return false;
        }
      });
    expect(open()).not.to.deep.equal([]);
    await server.host.close();
    expect(open()).to.deep.equal([]);
    await server.close();
  });
});
