import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server, signal } from '../support/server.js';
import { Writers } from '../support/writers.js';

export const frozenWorker: Fault = {
  name: 'frozen-worker',
  title: 'one of two workers SIGSTOPped within a commit to the embedded store',
  async run(scale) {
    const rounds = scale(5, 1);
    const verdict = new Verdict();
    const server = await Server.start({ ini: '[network]\nworkers=2\n' });
    const writers = new Writers(16, () => server.url);
    let recovery = 0;
    let tries = 0;
    try {
      for (let held = 0; held < rounds; ) {
        writers.start();
        await sleep(500);
        const worker = server.pids()[1 + (tries % 2)]!;
        signal(worker, 'SIGSTOP');
        tries += 1;
        const begun = performance.now();
        const canWrite = async () => {
          const body = { userid: 'probe', data: {} };
          return (await call(server.url, '/sessman/new', { body, timeout: 700 })).status === 200;
        };
        // If the other worker still writes, the lock is free: another try.
        await sleep(300);
        if ((await canWrite()) || (await canWrite()) || (await canWrite())) signal(worker, 'SIGCONT');
        else {
          held += 1;
          while (!(await canWrite())) {
            if (performance.now() - begun > 40_000) throw new Error('no write was possible again');
          }
          recovery = Math.max(recovery, performance.now() - begun);
        }
        await writers.stop();
        await writers.verify();
        verdict.expect(tries < 60, 'the worker was never stopped within a commit');
        if (tries >= 60) break;
      }
    } finally {
      await server.close();
    }
    verdict.atMost('writes went on', recovery, 15_000);
    return {
      times: `${rounds} times, in ${tries} tries`,
      ...writers.judge(verdict),
      recovery,
      notes: [
        'the supervisor ends a worker that does not respond for 10 s (worker_timeout); LMDB then frees its lock',
      ],
      failures: verdict.failures,
    };
  },
};
