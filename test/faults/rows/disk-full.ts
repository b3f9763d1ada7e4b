import { execFileSync } from 'node:child_process';
import { appendFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mountDisk } from '../../support/disk.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server } from '../support/server.js';
import { Writers } from '../support/writers.js';

const MiB = 1024 * 1024;
const size = 16 * MiB;
/** Bytes of a session that help to fill the disk. */
const large = 10_000;

/** A disk of its own where that may be made, else a limit on the size of files. */
export const diskFull: Fault = {
  name: 'disk-full',
  title: 'the disk is full, embedded store',
  async run(scale) {
    const rounds = scale(10, 2);
    const verdict = new Verdict();
    const disk = await makeDisk();
    const { server } = disk;
    const writers = new Writers(8, () => server.url);
    let recovery = 0;
    try {
      for (let round = 0; round < rounds; round += 1) {
        writers.start();
        await sleep(200);
        const fillers = await fill(server, verdict);
        await sleep(500);
        const reading = await call(server.url, '/sessman/list?userid=writer-0');
        verdict.expect(reading.status === 200, `reading on a full disk: ${reading.status} ${reading.text}`);
        verdict.expect((await call(server.url, '/healthz')).status === 200, '/healthz was not 200');
        verdict.expect((await call(server.url, '/readyz')).status === 503, '/readyz was not 503');
        const ended = await call(server.url, '/sessman/end', { body: { session_id: fillers.pop() } });
        verdict.expect(ended.status === 200, `ending on a full disk: ${ended.status} ${ended.text}`);
        // A worker that writes at that moment is another fault.
        await writers.stop();
        await disk.fillUp();
        writers.start();
        await sleep(500);
        if (round % 2 === 1) {
          await server.kill();
          await server.start();
        }
        const begun = performance.now();
        await disk.makeRoom(fillers);
        await until(server, 10_000);
        recovery = Math.max(recovery, performance.now() - begun);
        await writers.stop();
        await writers.verify();
      }
    } finally {
      await disk.remove();
    }
    const { refused } = writers.tally;
    verdict.atMost('recovery', recovery, 3000);
    const lost = server.logs.filter(({ msg }) => /^a worker (was lost|asked)/.test(msg)).length;
    verdict.expect(lost === 0, `${lost} workers were lost`);
    return {
      times: `${rounds} times, ${disk.how}`,
      ...writers.judge(verdict),
      recovery,
      notes: [
        `${refused.toLocaleString('en')} writes were refused with 503; each time a session was ended while there was no room for another${disk.others}; every second time the server was killed and started meanwhile; no worker was lost`,
      ],
      failures: verdict.failures,
    };
  },
};

interface Disk {
  readonly server: Server;
  readonly how: string;
  /** For the note: what other programs did. */
  readonly others: string;
  /** Leaves nothing, where it can. */
  fillUp(): Promise<void>;
  /** Ends the sessions that fill it, or takes away what else does. */
  makeRoom(fillers: readonly string[]): Promise<void>;
  remove(): Promise<void>;
}

async function makeDisk(): Promise<Disk> {
  const server = await Server.create();
  const folder = join(server.folder, 'data');
  const mounted = mountDisk(folder, String(size));
  if (mounted === undefined) {
    await server.close();
    return limitFiles();
  }
  const ballast = join(folder, 'ballast');
  await writeFile(ballast, Buffer.alloc(size / 4));
  await server.start();
  return {
    server,
    how: `a disk of ${size / MiB} MiB`,
    others: ', and then another program filled the disk to its last byte',
    fillUp: () => appendFile(ballast, Buffer.alloc(size)).catch(() => {}),
    async makeRoom(fillers) {
      await rm(ballast, { force: true });
      await endAll(server, fillers);
      await writeFile(ballast, Buffer.alloc(size / 8)).catch(() => {});
    },
    async remove() {
      await server.kill();
      mounted.unmount();
      await server.close();
    },
  };
}

async function limitFiles(): Promise<Disk> {
  const server = await Server.start({ through: ['prlimit', `--fsize=${size}:unlimited`] });
  const limit = async (soft: string) => {
    for (const pid of server.pids())
      execFileSync('prlimit', ['--pid', `${pid}`, `--fsize=${soft}:unlimited`]);
  };
  return {
    server,
    how: `files limited to ${size / MiB} MiB`,
    others: '',
    fillUp: async () => {},
    async makeRoom(fillers) {
      await limit('unlimited');
      await endAll(server, fillers);
      await limit(String(size));
    },
    remove: () => server.close(),
  };
}

async function endAll(server: Server, ids: readonly string[]): Promise<void> {
  for (const session_id of ids) {
    while ((await call(server.url, '/sessman/end', { body: { session_id } })).status === 503) await sleep(50);
  }
}

/** Makes large sessions until there is no room. */
async function fill(server: Server, verdict: Verdict): Promise<string[]> {
  const ids: string[] = [];
  for (;;) {
    const answer = await call(server.url, '/sessman/new', {
      body: { userid: 'filler', data: { filling: 'x'.repeat(large) } },
    });
    if (answer.status === 200) ids.push((JSON.parse(answer.text) as { session_id: string }).session_id);
    else {
      const clear = answer.status === 503 && answer.text.includes('"store_full"');
      verdict.expect(clear, `a full disk was answered ${answer.status} ${answer.text.slice(0, 200)}`);
      return ids;
    }
  }
}

async function until(server: Server, timeout: number): Promise<void> {
  const end = performance.now() + timeout;
  for (;;) {
    const answer = await call(server.url, '/sessman/new', { body: { userid: 'probe', data: {} } });
    if (answer.status === 200) return;
    if (performance.now() > end) throw new Error(`no write was possible again: ${answer.text}`);
    await sleep(20);
  }
}
