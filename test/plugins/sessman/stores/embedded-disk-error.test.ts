import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { LongReader } from '../../../../databases/lmdb/readers.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { canFailCalls, failCalls } from '../../../support/failing-calls.js';
import { ServerProcess } from '../../../support/process.js';
import { startServer } from '../../../support/server.js';

const reader = fileURLToPath(new URL('../support/reader.js', import.meta.url));

describe('the embedded store on a disk that fails', () => {
  before(async function () {
    if (!(await canFailCalls())) this.skip();
  });

  /** Holds a request until a file is there. */
  const hold = `
import { existsSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, log }) {
    router.get('/', async (ctx) => {
      log.info('held');
      while (!existsSync('released')) await pause(20);
      ctx.body = { pid: process.pid };
    });
  },
});`;

  for (const call of ['fdatasync', 'pwrite64']) {
    it(`answers store_failed, says so in readiness, and replaces the worker: ${call}`, async () => {
      const server = await ServerProcess.start({ files: { 'plugins/hold.mjs': hold } });
      let tracer: ChildProcess | undefined;
      try {
        const post = (path: string) => fetch(server.url + path, { method: 'POST' });
        const made = (await (await post('/sessman/new?userid=ann')).json()) as { session_id: string };
        const get = `${server.url}/sessman/get?userid=ann&session_id=${made.session_id}`;
        const worker = server.workers()[0]!;
        const held = fetch(`${server.url}/hold`);
        await server.until(({ msg }) => msg === 'held');
        tracer = await failCalls(worker, call);
        const gone = once(tracer, 'exit');
        const failed = await post('/sessman/new?userid=ann');
        expect(failed.status).to.equal(503);
        expect(await failed.json()).to.include({ code: 'store_failed' });
        const ready = await fetch(`${server.url}/readyz`);
        expect(ready.status).to.equal(503);
        expect(await ready.text()).to.include('store_failed');
        const told = await server.until(({ msg }) => msg.startsWith('a worker asked to be replaced'));
        expect(told).to.include({ worker });

        // It takes no more writes, reads as long as LMDB lets it, and the next worker opens the store again, and works.
        let written: Response;
        do {
          const read = await fetch(get);
          if (read.status !== 200) expect(await read.json()).to.deep.include({ code: 'store_failed' });
          written = await post('/sessman/new?userid=ann');
          if (written.status !== 200) expect(await written.json()).to.deep.include({ code: 'store_failed' });
        } while (written.status !== 200);
        expect((await fetch(`${server.url}/readyz`)).status).to.equal(200);
        expect((await fetch(get)).status).to.equal(200);

        // What it had in hand is answered before it ends.
        await writeFile(join(server.folder, 'released'), '');
        const answer = await held;
        expect(answer.status).to.equal(200);
        expect(await answer.json()).to.deep.equal({ pid: worker });
        await gone;
        await reaped(server, worker);
        expect(server.logs.filter(({ msg }) => msg.startsWith('a worker was lost'))).to.deep.equal([]);
      } finally {
        tracer?.kill('SIGKILL');
        await server.close();
      }
    });
  }

  it('recovers from a full disk, whichever of its writes has failed', async () => {
    const server = await ServerProcess.start();
    let tracer: ChildProcess | undefined;
    try {
      // A write that the system refuses may crash the worker, in lmdb: 502 is what a proxy would answer.
      const post = () =>
        fetch(`${server.url}/sessman/new?userid=ann`, { method: 'POST' }).then(
          ({ status }) => status,
          () => 502,
        );
      expect(await post()).to.equal(200);
      // The first writes pages, the second the one that makes them valid: without that, LMDB gives up.
      for (const each of [1, 2]) {
        const worker = server.workers()[0]!;
        tracer = await failCalls(worker, 'pwrite64', `error=ENOSPC:when=${each}+${each}`);
        for (let n = 0; n < 4; n++) expect(await post()).to.be.oneOf([200, 502, 503]);
        const detached = once(tracer, 'exit');
        tracer.kill('SIGINT');
        await detached;
        while ((await post()) !== 200) await pause(20);
        while ((await fetch(`${server.url}/readyz`)).status === 503) await pause(20);
      }
    } finally {
      tracer?.kill('SIGKILL');
      await server.close();
    }
  });

  it('is read-only after a second failure, until the operator reloads', async () => {
    const server = await ServerProcess.start({ ini: '[paths]\npidfile=server.pid\n' });
    const tracers: ChildProcess[] = [];
    try {
      const post = () => fetch(`${server.url}/sessman/new?userid=ann`, { method: 'POST' });
      const made = (await (await post()).json()) as { session_id: string };
      const get = () => fetch(`${server.url}/sessman/get?userid=ann&session_id=${made.session_id}`);
      const fail = async () => {
        const worker = server.workers()[0]!;
        const tracer = await failCalls(worker, 'fdatasync');
        tracers.push(tracer);
        const gone = once(tracer, 'exit');
        expect(await (await post()).json()).to.include({ code: 'store_failed' });
        await gone;
        await reaped(server, worker);
      };
      await fail();
      expect((await post()).status).to.equal(200);
      await fail();
      await server.until(({ msg }) => msg.startsWith('the session store is read-only'));
      const worker = server.workers()[0]!;
      const refused = await post();
      expect([refused.status, await refused.json()])
        .to.deep.include(503)
        .and.to.have.nested.property('1.code', 'store_failed');
      expect((await get()).status).to.equal(200);
      expect(await (await fetch(`${server.url}/readyz`)).text()).to.include('store_failed');
      expect(server.workers()[0]).to.equal(worker);
      expect((await server.command('reload')).status).to.equal(0);
      // The old worker may still serve a connection that was open.
      let written: Response;
      do written = await post();
      while (written.status === 503);
      expect(written.status).to.equal(200);
      expect((await fetch(`${server.url}/readyz`)).status).to.equal(200);
    } finally {
      for (const tracer of tracers) tracer.kill('SIGKILL');
      await server.close();
    }
  });

  /** Resolves when the supervisor has seen the end of a worker, which the tracer sees first. */
  async function reaped(server: ServerProcess, worker: number): Promise<void> {
    while (server.workers().includes(worker)) await pause(20);
  }
});

describe('the embedded store beside a reader that was killed', () => {
  it('frees what the reader had held', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    const store = EmbeddedStore.open(folder);
    try {
      const child = fork(reader, [join(folder, 'sessions.mdb')]);
      await once(child, 'message');
      const isListed = async () => {
        const pid = Buffer.alloc(4);
        pid.writeUInt32LE(child.pid!);
        return (await readFile(join(folder, 'sessions.mdb-lock'))).includes(pid);
      };
      expect(await isListed()).to.equal(true);
      child.kill('SIGKILL');
      await once(child, 'exit');
      while (await isListed()) await pause(50);
    } finally {
      await store.close();
      await rm(folder, { recursive: true });
    }
  });
});

describe('the embedded store beside a reader that is stopped', () => {
  const stop = async (file: string): Promise<ChildProcess> => {
    const child = fork(reader, [file]);
    await once(child, 'message');
    child.kill('SIGSTOP');
    return child;
  };

  it('names it, once, when it has been reading for long', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    const long: LongReader[] = [];
    let tell = () => {};
    const told = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const store = EmbeddedStore.open(folder, {
      longAfter: 100,
      onLong: (each) => {
        long.push(each);
        tell();
      },
    });
    const child = await stop(join(folder, 'sessions.mdb'));
    try {
      await told;
      const before = store.file.oldestReader();
      while (store.file.oldestReader() < before + 1) await pause(50);
      expect(long).to.have.length(1);
      expect(long[0]).to.include({ pid: child.pid });
      child.kill('SIGKILL');
      while (store.file.oldestReader() > 0) await pause(50);
    } finally {
      child.kill('SIGKILL');
      await store.close();
      await rm(folder, { recursive: true });
    }
  });

  it('shows in the metrics for how long it has been reading', async () => {
    const server = await startServer();
    const lag = async () => {
      const text = await (await server.fetch('/metrics')).text();
      return Number(/^sessman_store_oldest_reader_seconds(?:\{[^}]*\})? (\S+)$/m.exec(text)?.[1]);
    };
    expect(await lag()).to.equal(0);
    const child = await stop(join(server.folder, 'data/sessman/store/sessions.mdb'));
    try {
      while ((await lag()) === 0) await pause(50);
    } finally {
      child.kill('SIGKILL');
      await server.close();
    }
  });
});

describe("the embedded store's folder", () => {
  it('is named when the file system refuses it, with the reason of the system', () => {
    // /proc, like a disk that is mounted read-only, lets nobody create a folder.
    expect(() => EmbeddedStore.open('/proc/below/store')).to.throw(
      /folder \/proc\/below cannot be created: /,
    );
  });
});
