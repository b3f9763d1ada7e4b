import { setTimeout as sleep } from 'node:timers/promises';
import { startMongo } from '../../support/mongodb.js';
import { serverOn } from '../support/database.js';
import { type Fault, Verdict } from '../support/fault.js';
import { FaultyProxy, type Mode } from '../support/proxy.js';
import { Writers } from '../support/writers.js';

const clients = 8;
const modes: readonly Exclude<Mode, 'pass'>[] = ['reset', 'halfClose', 'delay', 'stall', 'drop'];

export const network: Fault = {
  name: 'network',
  title: 'a TCP proxy before the MongoDB-protocol server that resets, half-closes, delays, stalls and drops',
  async run(scale) {
    const rounds = scale(20, 1);
    const verdict = new Verdict();
    const mongo = await startMongo();
    const proxy = await FaultyProxy.start(Number(mongo.host.split(':')[1]));
    const server = await serverOn(mongo, `127.0.0.1:${proxy.port}/?directConnection=true`);
    const writers = new Writers(clients, () => server.url);
    let recovery = 0;
    try {
      await server.start();
      for (let round = 0; round < rounds; round += 1) {
        for (const mode of modes) {
          writers.start();
          await sleep(200 + Math.random() * 200);
          proxy.mode = mode;
          await sleep(mode === 'stall' || mode === 'drop' ? 2500 : 500);
          proxy.mode = 'pass';
          recovery = Math.max(recovery, await server.until('/readyz', 200));
          await writers.stop();
          await writers.verify();
        }
      }
    } finally {
      await server.close();
      proxy.close();
      await mongo.stop();
    }
    const { acknowledged, lost, wrong, slowest, refused, unanswered } = writers.tally;
    verdict.expect(lost.length === 0, `lost: ${lost.slice(0, 3).join(', ')}`);
    verdict.expect(wrong.length === 0, `wrong or doubled: ${wrong.slice(0, 3).join(', ')}`);
    verdict.expect(unanswered === 0, `${unanswered} requests got no answer`);
    verdict.expect(refused > 0, 'nothing was refused: the fault was none');
    verdict.atMost('slowest answer', slowest, 3000);
    verdict.atMost('recovery', recovery, 2000);
    return {
      times: `${rounds * modes.length} faults under ${clients} clients`,
      acknowledged,
      lost: lost.length,
      wrong: wrong.length,
      slowest,
      recovery,
      notes: [`${refused.toLocaleString('en')} requests were refused with 503 and Retry-After`],
      failures: verdict.failures,
    };
  },
};
