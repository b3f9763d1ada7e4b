import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { memoryOf } from '../support/memory.js';
import { closedLoad, openLoad } from '../support/open-load.js';
import { Server } from '../support/server.js';

/** A route that takes two milliseconds of the processor. */
const working = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => {
      const end = performance.now() + 2;
      while (performance.now() < end);
      ctx.body = { done: true };
    });
  },
});`;

/** MB. */
const memoryAllowed = 100;

export const overload: Fault = {
  name: 'overload',
  title: 'twice the load that it can carry',
  async run(scale) {
    const lasts = scale(30_000, 8000);
    // Until the queues are as long as they get.
    const ramp = 2000;
    const verdict = new Verdict();
    const server = await Server.start({ files: { 'plugins/work.mjs': working } });
    try {
      await closedLoad(server.url, '/work', 32, 1000);
      const peak = (await closedLoad(server.url, '/work', 32, 4000)).ok / 4;
      const before = await memoryOf(server.pids());
      let health = 0;
      let asking = true;
      const checks = (async () => {
        while (asking) {
          const answer = await call(server.url, '/livez');
          verdict.expect(answer.status === 200, `/livez answered ${answer.status}`);
          health = Math.max(health, answer.ms);
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      })();
      const { ok, refused, refusals, slowestOk, slowestRefused, wrong } = await openLoad(
        server.url,
        '/work',
        2 * peak,
        ramp,
        lasts,
      );
      asking = false;
      await checks;
      const during = await memoryOf(server.pids());
      const begun = performance.now();
      await server.until('/work', 200);
      const recovery = performance.now() - begun;
      const goodput = ok / (lasts / 1000);
      refusals.sort((a, b) => a - b);
      const median = refusals[refusals.length >> 1] ?? 0;
      verdict.expectSpeed(
        goodput >= 0.9 * peak,
        `goodput ${Math.round((goodput / peak) * 100)} % of the peak`,
      );
      verdict.expect(refused > 0, 'nothing was refused');
      verdict.expect(wrong.length === 0, `wrong: ${wrong.slice(0, 3).join('; ')}`);
      verdict.expect(during - before <= memoryAllowed, `memory grew from ${before} to ${during} MB`);
      verdict.atMost('slowest refusal', slowestRefused, 2500);
      return {
        times: `${lasts / 1000} s at ${Math.round(2 * peak)} requests a second`,
        acknowledged: ok,
        wrong: wrong.length,
        slowest: Math.max(slowestOk, slowestRefused),
        recovery,
        notes: [
          `goodput ${Math.round(goodput)} requests a second of ${Math.round(peak)} at the peak (${Math.round((goodput / peak) * 100)} %)`,
          `${refused.toLocaleString('en')} refused with 503 and Retry-After, ${Math.round(median)} ms at the median, ${Math.round(slowestRefused)} ms at most`,
          `/livez 200 within ${Math.round(health)} ms throughout; memory of all processes ${before} MB before, ${during} MB at the end`,
        ],
        failures: verdict.failures,
      };
    } finally {
      await server.close();
    }
  },
};
