import { expect } from 'chai';
import { call } from '../../faults/support/http.js';
import { Server, signal } from '../../faults/support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router }) {
    router.get('/', (ctx) => { ctx.body = { pid: process.pid }; });
    router.get('/loop', () => { for (;;); });
  },
});`;

describe('a worker that answers nothing', () => {
  let server: Server;
  beforeEach(async () => {
    server = await Server.start({
      ini: '[main]\nsafe=try\n[network]\nworkers=int:2\nworker_timeout=int:2\n[plugin_parms]\nsessman=enabled=bool:off',
      files: { 'plugins/try.mjs': plugin },
    });
  });
  afterEach(() => server.close());

  /** The pid of a worker that answers now; each call has a connection of its own. */
  const pid = async () => {
    for (;;) {
      const answer = await call(server.url, '/try', { timeout: 500 });
      if (answer.status === 200) return (JSON.parse(answer.text) as { pid: number }).pid;
    }
  };

  it('since it loops is replaced, and the other serves meanwhile', async () => {
    const lost = await call(server.url, '/try/loop');
    expect(lost.status).to.equal(0);
    const line = await server.logged('a worker was lost');
    expect(line.msg).to.equal('a worker was lost (no response for 2 s); a new one starts at once');
    await server.logged('a new worker serves');
    const workers = server.pids().slice(1);
    expect(workers).to.have.length(2);
    expect(workers).not.to.include(line.worker);
    await pid();
  });

  it('since it is stopped is replaced', async () => {
    const stopped = await pid();
    signal(stopped, 'SIGSTOP');
    await server.logged('a worker was lost (no response for 2 s)');
    await server.logged('a new worker serves');
    expect(await pid()).to.not.equal(stopped);
  });
});
