import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { failCalls } from '../../support/failing-calls.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call, oneConnection } from '../support/http.js';
import { Server } from '../support/server.js';
import { Writers } from '../support/writers.js';

const failing = ['fdatasync', 'pwrite64,pwritev'];

export const diskErrors: Fault = {
  name: 'disk-errors',
  title:
    'EIO at each flush, or each write, of the embedded store in one worker, then in its replacement, then a reload',
  async run(scale) {
    const rounds = scale(10, 2);
    const verdict = new Verdict();
    const server = await Server.start({ ini: '[paths]\npidfile=server.pid\n' });
    const writers = new Writers(16, () => server.url);
    const make = (agent = oneConnection()) =>
      call(server.url, '/sessman/new', { body: { userid: 'probe', data: {} }, agent });
    const made = await make();
    const { session_id } = JSON.parse(made.text) as { session_id: string };
    const read = () =>
      call(server.url, '/sessman/get?userid=probe', { headers: { 'X-Session-Id': session_id } });
    let replaced = 0;
    let slowestReload = 0;

    /** One worker's disk fails; returns when that worker has ended. */
    const fail = async (calls: string) => {
      const worker = await onlyWorker(server);
      const agent = oneConnection();
      verdict.expect((await make(agent)).status === 200, 'no session could be made before the failure');
      const tracer = await failCalls(worker, calls);
      const traced = once(tracer, 'exit');
      let failed = await make(agent);
      while (failed.status === 200) failed = await make(agent);
      const begun = performance.now();
      verdict.expect(
        failed.text.includes('store_failed'),
        `the first refusal was ${failed.status} ${failed.text}`,
      );
      const ready = await call(server.url, '/readyz', { agent });
      verdict.expect(
        ready.status === 503 && ready.text.includes('store_failed'),
        `/readyz was ${ready.status} after the failure: ${ready.text}`,
      );
      agent.destroy();
      return { begun, ended: traced };
    };

    try {
      for (let round = 0; round < rounds; round += 1) {
        const calls = failing[round % failing.length]!;
        writers.start();
        await sleep(200 + Math.random() * 300);
        const first = await fail(calls);
        while ((await make()).status !== 200) await sleep(5);
        replaced = Math.max(replaced, performance.now() - first.begun);
        await first.ended;
        const second = await fail(calls);
        await second.ended;
        await server.until('/readyz', 503);
        while (server.logs.filter(({ msg }) => isReadOnly(msg)).length <= round) await sleep(10);
        const [refused, answered] = [await make(), await read()];
        verdict.expect(
          refused.status === 503 && refused.text.includes('store_failed'),
          `a write to the read-only store was answered with ${refused.status} ${refused.text}`,
        );
        verdict.expect(
          answered.status === 200,
          `a read of the read-only store was answered with ${answered.status}`,
        );
        const begun = performance.now();
        const { status, stderr } = await server.command('reload');
        verdict.expect(status === 0, `the reload ended with ${status}: ${stderr}`);
        while ((await make()).status !== 200) await sleep(5);
        slowestReload = Math.max(slowestReload, performance.now() - begun);
        await server.until('/readyz', 200);
        await writers.stop();
        await writers.verify();
      }
    } finally {
      await server.close();
    }
    const { refused } = writers.tally;
    verdict.atMost('writes went on', replaced, 15_000);
    return {
      times: `${rounds} times two failures`,
      ...writers.judge(verdict),
      recovery: replaced,
      notes: [
        'the first refusal was store_failed each time, and /readyz 503 at the next request',
        'recovery is from that refusal until another worker had written',
        `after the second failure, sessions could be read and not written; the operator's reload took up to ${(slowestReload / 1000).toFixed(2)} s until writes went on`,
        `${refused.toLocaleString('en')} requests were refused with 503`,
      ],
      failures: verdict.failures,
    };
  },
};

function isReadOnly(message: string): boolean {
  return message.startsWith('the session store is read-only');
}

/** The one that serves, once those before it have ended. */
async function onlyWorker(server: Server): Promise<number> {
  for (;;) {
    const [, worker, ...more] = server.pids();
    if (worker !== undefined && more.length === 0) return worker;
    await sleep(10);
  }
}
