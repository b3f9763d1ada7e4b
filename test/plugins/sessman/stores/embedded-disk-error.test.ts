import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { runProgram, ServerProcess } from '../../../support/process.js';

const reader = fileURLToPath(new URL('../support/reader.js', import.meta.url));

describe('the embedded store on a disk that fails', () => {
  /** strace makes system calls of a running process fail, which is an error of the disk to that process. */
  const failing = async (pid: number, call: string): Promise<ChildProcess> => {
    const args = ['-f', '-p', `${pid}`, '-o', '/dev/null', '-e', `trace=${call}`];
    const tracer = spawn('strace', [...args, '-e', `inject=${call}:error=EIO`], { stdio: 'pipe' });
    await Promise.race([once(tracer.stderr!, 'data'), once(tracer, 'exit')]);
    return tracer;
  };

  before(async function () {
    const works = await runProgram('strace', ['-o', '/dev/null', 'true'], '/').catch(() => undefined);
    if (works?.status !== 0) this.skip();
  });

  for (const call of ['fdatasync', 'pwrite64']) {
    it(`answers store_failed, says so in readiness, and replaces the worker: ${call}`, async () => {
      const server = await ServerProcess.start();
      let tracer: ChildProcess | undefined;
      try {
        const post = (path: string) => fetch(server.url + path, { method: 'POST' });
        const made = (await (await post('/sessman/new?userid=ann')).json()) as { session_id: string };
        const worker = await childOf(server.child.pid!);
        tracer = await failing(worker, call);
        const failed = await post('/sessman/new?userid=ann');
        expect(failed.status).to.equal(503);
        expect(await failed.json()).to.include({ code: 'store_failed' });
        const ready = await fetch(`${server.url}/readyz`);
        expect(ready.status).to.equal(503);
        expect(await ready.text()).to.include('store_failed');
        await once(tracer, 'exit');

        // The next worker opens the store again, and works.
        while ((await fetch(`${server.url}/readyz`).catch(() => undefined))?.status !== 200) await pause(50);
        expect(await childOf(server.child.pid!)).not.to.equal(worker);
        expect((await post('/sessman/new?userid=ann')).status).to.equal(200);
        const read = await fetch(`${server.url}/sessman/get?userid=ann&session_id=${made.session_id}`);
        expect(read.status).to.equal(200);
      } finally {
        tracer?.kill('SIGKILL');
        await server.close();
      }
    });
  }

  async function childOf(pid: number): Promise<number> {
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return Number(children.trim().split(' ')[0]);
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

describe("the embedded store's folder", () => {
  it('is named when the file system refuses it, with the reason of the system', () => {
    // /proc, like a disk that is mounted read-only, lets nobody create a folder.
    expect(() => EmbeddedStore.open('/proc/below/store')).to.throw(
      /folder \/proc\/below cannot be created: /,
    );
  });
});
