import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { childrenOf } from '../../support/process.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server, signal } from '../support/server.js';
import { Writers } from '../support/writers.js';

const module = (path: string) => fileURLToPath(new URL(`../../../${path}.js`, import.meta.url));
const MiB = 1024 * 1024;

/** What stands still while it reads, and how many milliseconds until it is killed. */
const readers = [
  { what: 'a backup', through: 'plugins/sessman/stores/embedded/backup' },
  { what: 'a worker', through: undefined },
  { what: 'a foreign reader', through: 'test/plugins/sessman/support/reader' },
] as const;

export const stoppedReaders: Fault = {
  name: 'readers',
  title:
    "a backup, a worker and another program stopped while they read the embedded store's file, then killed",
  async run(scale) {
    const stopped = scale(8000, 1500);
    const verdict = new Verdict();
    const server = await Server.start({ ini: '[network]\nworkers=2\n' });
    const file = join(server.folder, 'data/sessman/store/sessions.mdb');
    const writers = new Writers(16, () => server.url);
    const notes: string[] = [];
    try {
      await Promise.all(
        Array.from({ length: 8 }, async (_, i) => {
          const body = { userid: `ballast-${i}`, data: { filling: 'x'.repeat(50_000) } };
          for (let n = 0; n < 400; n += 1) await call(server.url, '/sessman/new', { body });
        }),
      );
      writers.start();
      await sleep(1500);
      for (const { what, through } of readers) {
        const before = statSync(file).size;
        const { pid, child } = await stop(server, file, through);
        await sleep(stopped);
        const during = statSync(file).size;
        const lag = await oldestReader(server);
        signal(pid, 'SIGKILL');
        if (child) await once(child, 'exit').catch(() => {});
        // Stale readers are cleared every second.
        const begun = performance.now();
        while ((await oldestReader(server)) > 2 && performance.now() - begun < 20_000) await sleep(100);
        await sleep(1000);
        const freed = statSync(file).size;
        await sleep(stopped);
        const after = statSync(file).size;
        verdict.expect(
          after - freed <= Math.max(MiB, (freed - before) / 4),
          `${what}: the file grew by ${after - freed} bytes after the kill`,
        );
        verdict.expect((await oldestReader(server)) <= 2, `${what}: its snapshot was kept after the kill`);
        notes.push(
          `${what}: the file had ${mib(before)} MiB, ${mib(during)} after ${stopped / 1000} s (a lag of ${Math.round(lag)} s shown), ${mib(freed)} when it was freed and ${mib(after)} as long again after the kill`,
        );
      }
      await writers.stop();
      await writers.verify();
    } finally {
      await server.close();
    }
    return {
      times: `${readers.length} readers`,
      ...writers.judge(verdict),
      notes,
      failures: verdict.failures,
    };
  },
};

async function stop(
  server: Server,
  file: string,
  through: string | undefined,
): Promise<{ pid: number; child?: ChildProcess }> {
  if (through === undefined) {
    const pid = server.pids()[1]!;
    signal(pid, 'SIGSTOP');
    return { pid };
  }
  if (through.endsWith('reader')) {
    const child = fork(module(through), [file]);
    await once(child, 'message');
    signal(child.pid!, 'SIGSTOP');
    return { pid: child.pid!, child };
  }
  // Stopped between two transactions of its copy: it has a snapshot then.
  const child = spawn(process.execPath, [module(through), join(file, '..'), join(server.folder, 'copy')], {
    stdio: 'ignore',
  });
  for (;;) {
    if (child.exitCode !== null) throw new Error('the backup was complete before it could be stopped');
    const [copying] = childrenOf(child.pid!);
    const draft = statSync(join(server.folder, 'copy/sessions.mdb.draft'), { throwIfNoEntry: false });
    if (copying !== undefined && (draft?.size ?? 0) > MiB) {
      signal(copying, 'SIGSTOP');
      return { pid: copying, child };
    }
    await sleep(1);
  }
}

async function oldestReader(server: Server): Promise<number> {
  const { text } = await call(server.url, '/metrics');
  return Number(/^sessman_store_oldest_reader_seconds\S* (\S+)$/m.exec(text)?.[1] ?? 0);
}

function mib(bytes: number): number {
  return Math.round(bytes / MiB);
}
