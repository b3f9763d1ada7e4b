import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { canFailCalls, failCalls } from '../../support/failing-calls.js';
import { ServerProcess } from '../../support/process.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage }) {
    const counts = storage('counts');
    router.get('/', async (ctx) => { ctx.body = { pid: process.pid, count: (await counts.get('a')) ?? 0 }; });
    router.put('/', async (ctx) => {
      // One that nobody waits for, in the commit of those that somebody does.
      counts.set('unawaited', 1);
      const sets = ['b', 'c', 'd'].map((key) => counts.set(key, 1));
      const settled = await Promise.allSettled([...sets, counts.update('a', (old) => old + 1)]);
      ctx.body = settled.map(({ status }) => status);
      if (!ctx.body.includes('fulfilled')) throw settled[0].reason;
    });
    router.post('/', async (ctx) => { ctx.body = { count: await counts.update('a', (old) => (old ?? 0) + 1) }; });
  },
});`;

describe("the plugins' storage on a disk that fails", () => {
  before(async function () {
    if (!(await canFailCalls())) this.skip();
  });

  for (const call of ['fdatasync', 'pwrite64']) {
    it(`refuses writes, reads on, and has the worker replaced: ${call}`, async () => {
      const server = await ServerProcess.start({
        ini: '[main]\nsafe=list:count\n',
        files: { 'plugins/count.mjs': plugin },
        args: ['--safe'],
      });
      let tracer: ChildProcess | undefined;
      try {
        const write = () => fetch(`${server.url}/count`, { method: 'POST' });
        const read = async () =>
          (await (await fetch(`${server.url}/count`)).json()) as { pid: number; count: number };
        expect((await write()).status).to.equal(200);
        const { pid } = await read();
        tracer = await failCalls(pid, call);
        const gone = once(tracer, 'exit');
        const refused = await fetch(`${server.url}/count`, { method: 'PUT' });
        expect(refused.status).to.equal(503);
        expect(await refused.json()).to.include({ code: 'storage_unavailable' });
        const unhandled = await server.until(({ msg }) => msg === 'uncaught error');
        expect(unhandled.err).to.include({ code: 'storage_unavailable' });

        let written: Response;
        do {
          expect((await read()).count).to.be.at.least(1);
          written = await write();
        } while (written.status !== 200);
        // A refused write may have been made: once.
        expect((await written.json()) as object)
          .to.have.property('count')
          .that.is.within(2, 3);
        await gone;
        expect((await read()).pid).not.to.equal(pid);
        expect(server.logs.filter(({ msg }) => msg.startsWith('a worker was lost'))).to.deep.equal([]);
      } finally {
        tracer?.kill('SIGKILL');
        await server.close();
      }
    });
  }
});
