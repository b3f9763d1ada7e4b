import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, Verdict } from '../support/fault.js';
import { Server, StartError } from '../support/server.js';
import { Writers } from '../support/writers.js';

/** A pid namespace of its own, as a container has: in each, the server is process 1. */
const container = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];

export const containers: Fault = {
  name: 'containers',
  title:
    'a second server is started on an embedded store from another container, beside the first and after its kill',
  async run(scale) {
    const rounds = scale(20, 3);
    const verdict = new Verdict();
    let serving = await Server.start({ through: container });
    const { folder } = serving;
    const writers = new Writers(8, () => serving.url);
    let slowestRefusal = 0;
    let recovery = 0;
    try {
      for (let round = 0; round < rounds; round += 1) {
        writers.start();
        await sleep(200);
        const second = Server.in(folder, { through: container });
        const begun = performance.now();
        const refusal = await second.start().then(
          () => undefined,
          (error) => error as StartError,
        );
        slowestRefusal = Math.max(slowestRefusal, performance.now() - begun);
        verdict.expect(
          refusal instanceof StartError && /is in use by process \d+ of another container/.test(refusal.said),
          `the second server was not refused with a reason: ${refusal?.message ?? 'it serves'}`,
        );
        await serving.kill();
        await writers.stop();
        const next = Server.in(folder, { through: container });
        recovery = Math.max(recovery, await next.start());
        serving = next;
        await serving.until('/readyz', 200);
        await writers.verify();
      }
    } finally {
      await serving.close();
    }
    return {
      times: `${rounds} starts beside the first`,
      ...writers.judge(verdict),
      recovery,
      notes: [
        `each was refused with a sentence that names the other container, within ${(slowestRefusal / 1000).toFixed(2)} s; recovery is the start of the next one after the kill`,
      ],
      failures: verdict.failures,
    };
  },
};
