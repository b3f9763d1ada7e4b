import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, Verdict } from '../support/fault.js';
import { call, oneConnection } from '../support/http.js';
import { Server } from '../support/server.js';

const clients = 16;

/** Keeps what it is told, and counts it by an update of one key. */
const ledger = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage }) {
    const entries = storage('entries');
    const totals = storage('totals');
    router.post('/', async (ctx) => {
      const { key } = ctx.request.body;
      await entries.set(key, { key, filling: 'x'.repeat(500) });
      await totals.update('all', (count = 0) => count + 1);
      ctx.status = 204;
    });
    router.get('/', async (ctx) => {
      const keys = [];
      for await (const [key, value] of entries.entries()) if (value.key === key) keys.push(key);
      ctx.body = { keys, total: (await totals.get('all')) ?? 0 };
    });
  },
});
`;

export const storage: Fault = {
  name: 'storage',
  title:
    "kill -9 of the whole server, or of one of its two workers, under 16 clients that write to a plugin's storage",
  async run(scale) {
    const rounds = scale(100, 6);
    const verdict = new Verdict();
    const server = await Server.start({
      ini: '[main]\nsafe=list:ledger\n[plugin_parms]\nledger=auth_type=none\n[network]\nworkers=2\n',
      files: { 'plugins/ledger.js': ledger },
    });
    const acknowledged: string[] = [];
    let sent = 0;
    let wrong = 0;
    let slowest = 0;
    let recovery = 0;
    let stopping = false;
    const write = async (client: number) => {
      const agent = oneConnection();
      while (!stopping) {
        sent += 1;
        const key = `${client}-${sent}`;
        const answer = await call(server.url, '/ledger', { body: { key }, agent });
        slowest = Math.max(slowest, answer.ms);
        if (answer.status === 204) acknowledged.push(key);
        else if (answer.status === 0) await sleep(5);
        else if (answer.status !== 503) wrong += 1;
      }
      agent.destroy();
    };
    let lost: string[] = [];
    let total = 0;
    try {
      for (let round = 0; round < rounds; round += 1) {
        stopping = false;
        const writers = Promise.all(Array.from({ length: clients }, (_, client) => write(client)));
        await sleep(100 + Math.random() * 250);
        if (round % 2 === 0) {
          await server.kill();
          const begun = performance.now();
          await server.start();
          await server.until('/readyz', 200);
          recovery = Math.max(recovery, performance.now() - begun);
        } else {
          const [, worker] = server.pids();
          process.kill(worker!, 'SIGKILL');
          await sleep(200);
        }
        stopping = true;
        await writers;
      }
      const { keys, total: counted } = JSON.parse((await call(server.url, '/ledger')).text) as {
        keys: string[];
        total: number;
      };
      total = counted;
      const kept = new Set(keys);
      lost = acknowledged.filter((key) => !kept.has(key));
    } finally {
      stopping = true;
      await server.close();
    }
    verdict.expect(lost.length === 0, `lost: ${lost.slice(0, 3).join(', ')}`);
    verdict.expect(wrong === 0, `${wrong} answers were neither 204 nor 503`);
    verdict.expect(
      total >= acknowledged.length,
      `${acknowledged.length - total} acknowledged updates are missing`,
    );
    verdict.expect(total <= sent, `${total - sent} updates were applied twice`);
    verdict.atMost('ready again', recovery, 1500);
    return {
      times: `${rounds} kills`,
      acknowledged: acknowledged.length,
      lost: lost.length + Math.max(0, acknowledged.length - total),
      wrong,
      slowest,
      recovery,
      notes: [
        `each write is a set and an update of one key that all share; ${sent} were sent, ${total} counted`,
      ],
      failures: verdict.failures,
    };
  },
};
