import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, Verdict } from '../support/fault.js';
import { Server } from '../support/server.js';
import { Writers } from '../support/writers.js';

const clients = 16;

export const killed: Fault = {
  name: 'killed',
  title: 'kill -9 of the whole server under 16 writing clients, embedded store',
  async run(scale) {
    const rounds = scale(200, 8);
    const verdict = new Verdict();
    const server = await Server.start();
    const starts: number[] = [];
    const writers = new Writers(clients, () => server.url);
    try {
      for (let round = 0; round < rounds; round += 1) {
        writers.start();
        await sleep(50 + Math.random() * 250);
        await server.kill();
        await writers.stop();
        const begun = performance.now();
        await server.start();
        await server.until('/readyz', 200);
        starts.push(performance.now() - begun);
        await writers.verify();
      }
    } finally {
      await server.close();
    }
    starts.sort((a, b) => a - b);
    const median = starts[Math.floor(starts.length / 2)]!;
    verdict.atMost('ready again', starts.at(-1)!, 1000);
    return {
      times: `${rounds} kills`,
      ...writers.judge(verdict),
      recovery: starts.at(-1)!,
      notes: [
        `recovery is from the start of the new process to /readyz 200, ${Math.round(median)} ms at the median`,
      ],
      failures: verdict.failures,
    };
  },
};
