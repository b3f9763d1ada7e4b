import { setTimeout as sleep } from 'node:timers/promises';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server } from '../support/server.js';

const misbehaving = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/crash', () => process.abort());
    router.get('/exit', () => process.exit(3));
    router.get('/throw', () => { setTimeout(() => { throw new Error('thrown into the event loop'); }); });
    router.get('/loop', () => { for (;;); });
    router.get('/reject', (ctx) => { Promise.reject(new Error('nobody waits for this')); ctx.body = {}; });
  },
});`;

/** Milliseconds that a client of the other worker may have to wait at most. */
const slowestAllowed = 3000;
const workerTimeout = 2;

export const contained: Fault = {
  name: 'contained',
  title: 'workers that crash in a row, a plugin in an endless loop, unhandled rejections',
  async run(scale) {
    const rounds = scale(3, 1);
    const verdict = new Verdict();
    const server = await Server.start({
      ini: `[network]\nworkers=int:2\nworker_timeout=int:${workerTimeout}`,
      files: { 'plugins/bad.mjs': misbehaving },
    });
    const others = new Others(server);
    let faults = 0;
    let recovery = 0;
    try {
      others.start();
      for (let round = 0; round < rounds; round += 1) {
        for (const path of ['crash', 'exit', 'throw', 'loop', 'reject', 'reject', 'reject']) {
          faults += 1;
          const losses = count(server, 'a worker was lost');
          await call(server.url, `/bad/${path}`, { timeout: 1000 });
          if (path === 'reject') continue;
          const begun = performance.now();
          await until(() => count(server, 'a worker was lost') > losses);
          await until(() => count(server, 'a new worker serves') === count(server, 'a worker was lost'));
          recovery = Math.max(recovery, performance.now() - begun);
        }
      }
      await others.stop();
      const told = server.logs.filter(
        (line) => line.level === 'error' && JSON.stringify(line).includes('nobody waits for this'),
      );
      verdict.expect(
        told.length >= 3 * rounds,
        `the log tells of ${told.length} of ${3 * rounds} rejections`,
      );
      verdict.expect(server.pids().length === 3, 'there are not two workers afterwards');
      verdict.expect((await call(server.url, '/readyz')).status === 200, '/readyz is not 200 afterwards');
    } finally {
      await others.stop();
      await server.close();
    }
    const { answered, lost, wrong, slowest } = others;
    verdict.expect(wrong === 0, `${wrong} wrong answers`);
    // Each of them may have been with the fallen worker.
    verdict.expect(lost <= others.clients * faults, `${lost} requests of others lost`);
    verdict.atMost('slowest answer to another', slowest, slowestAllowed + workerTimeout * 1000);
    return {
      times: `${faults} faults, 2 workers`,
      acknowledged: answered,
      wrong,
      slowest,
      recovery,
      notes: [
        `acknowledged counts the responses to other requests meanwhile, each on its own connection; ${lost} requests were in a worker that crashed and got no response; recovery is until both workers serve, which includes ${workerTimeout} s until the endless loop is noticed (worker_timeout) and up to 30 s of growing pause before the next worker`,
      ],
      failures: verdict.failures,
    };
  },
};

/** Clients that have nothing to do with the fault. */
class Others {
  readonly clients = 4;
  answered = 0;
  lost = 0;
  wrong = 0;
  slowest = 0;
  #stopping = false;
  #running: Promise<unknown> = Promise.resolve();

  constructor(readonly server: Server) {}

  start(): void {
    this.#running = Promise.all(
      Array.from({ length: this.clients }, async (_, i) => {
        while (!this.#stopping) {
          await this.#ask(i);
          await sleep(5);
        }
      }),
    );
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  async #ask(i: number): Promise<void> {
    const answer = await call(this.server.url, '/sessman/new', { body: { userid: `other-${i}`, data: {} } });
    if (answer.status === 200) this.answered += 1;
    else if (answer.status === 0) this.lost += 1;
    else this.wrong += 1;
    if (answer.status !== 0) this.slowest = Math.max(this.slowest, answer.ms);
  }
}

function count(server: Server, beginning: string): number {
  return server.logs.filter(({ msg }) => msg.startsWith(beginning)).length;
}

async function until(holds: () => boolean): Promise<void> {
  const end = performance.now() + 60_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error('the lost worker was not replaced within 60 s');
    await sleep(10);
  }
}
