import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { failCalls } from '../../support/failing-calls.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server } from '../support/server.js';
import { Writers } from '../support/writers.js';

export const noSpace: Fault = {
  name: 'no-space',
  title: 'every so many writes of the embedded store fail for lack of space',
  async run(scale) {
    const verdict = new Verdict();
    const server = await Server.start();
    const writers = new Writers(8, () => server.url);
    const everies = [1, 2, 3, 5, 7, 10, 20, 50].slice(0, scale(8, 3));
    try {
      for (const every of everies) {
        writers.start();
        const worker = server.pids()[1]!;
        const tracer = await failCalls(worker, 'pwrite64,pwritev', `error=ENOSPC:when=${every}+${every}`);
        const traced = once(tracer, 'exit');
        await sleep(2000);
        verdict.expect((await call(server.url, '/healthz')).status === 200, '/healthz was not 200');
        tracer.kill('SIGINT');
        await traced;
        await server.until('/readyz', 200);
        await sleep(1200);
        await writers.stop();
        await writers.verify();
      }
    } finally {
      await server.close();
    }
    const { refused } = writers.tally;
    verdict.expect(refused > 0, 'nothing was refused');
    return {
      times: `every ${everies.join(', ')}`,
      ...writers.judge(verdict),
      notes: [`${refused.toLocaleString('en')} requests were refused with 503`],
      failures: verdict.failures,
    };
  },
};
