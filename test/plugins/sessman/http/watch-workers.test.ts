import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { freePort } from '../../../support/mongodb/process.js';
import { hello, pidsOf, ServerProcess } from '../../../support/process.js';
import { backends } from '../support/api.js';
import { WatchClient } from '../support/watcher.js';

/** Watches as a page does: whenever its stream closes, it opens another, until it is told of the end. */
class Page {
  reason: string | undefined;
  streams = 0;
  watching: Promise<void>;
  #isWatching: () => void = () => {};
  readonly ended: Promise<void>;

  constructor(url: string, session_id: string) {
    this.watching = new Promise((resolve) => {
      this.#isWatching = resolve;
    });
    this.ended = this.#run(url, session_id);
  }

  async #run(url: string, session_id: string): Promise<void> {
    while (this.reason === undefined) {
      let wait = 50;
      try {
        const client = await WatchClient.open(url, { 'X-Session-Id': session_id });
        if (client.status !== 200) throw new Error(`${client.status}`);
        this.streams++;
        this.#isWatching();
        await client.closed;
        this.watching = new Promise((resolve) => {
          this.#isWatching = resolve;
        });
        this.reason = client.told.find(({ event }) => event === 'end')?.data.reason;
        wait = client.told.at(-1)?.retry ?? wait;
      } catch {
        // A worker that was killed takes its connections along.
      }
      if (this.reason === undefined) await pause(wait);
    }
  }
}

for (const { name, settings } of backends) {
  describe(`a thousand watchers on two workers and the ${name} store`, () => {
    let server: ServerProcess;
    before(async () => {
      const port = await freePort();
      server = await ServerProcess.start({
        raw: true,
        exactIni: true,
        // A thousand lines about streams say nothing here.
        ini: `[network]\nport=int:${port}\nworkers=int:2\n[log]\nlevel=error\n[paths]\nplugins=plugins\npidfile=server.pid\n[plugin_parms]\nsessman=json=sessman.json\n`,
        files: { 'sessman.json': JSON.stringify(await settings()), 'plugins/hello.js': hello() },
      });
      server.url = `http://127.0.0.1:${port}`;
      while (!(await isReady())) await pause(50);
    });
    after(() => server?.close());

    const isReady = async () => {
      const response = await server.fetch('/readyz').catch(() => undefined);
      return response?.status === 200;
    };

    it('have 20 streams of a session at most, whichever workers have them', async () => {
      const response = await server.fetch('/sessman/new?userid=bob', { method: 'POST' });
      const { session_id } = (await response.json()) as { session_id: string };
      const clients: WatchClient[] = [];
      try {
        for (let n = 0; n < 25; n++) {
          const client = await WatchClient.open(server.url, { 'X-Session-Id': session_id });
          clients.push(client);
          await client.next();
        }
        await Promise.all(clients.slice(0, 5).map(({ closed }) => closed));
        await server.fetch('/sessman/end', { method: 'POST', headers: { 'X-Session-Id': session_id } });
        for (const client of clients.slice(5)) expect((await client.next(1)).event).to.equal('end');
        const told = clients.slice(0, 5).map((client) => client.told.length);
        expect(told).to.deep.equal([1, 1, 1, 1, 1]);
      } finally {
        for (const client of clients) client.close();
      }
    });

    if (name === 'embedded') {
      it('have 20 streams of a session again when a worker that had some was killed', async () => {
        const make = await server.fetch('/sessman/new?userid=bob', { method: 'POST' });
        const { session_id } = (await make.json()) as { session_id: string };
        const headers = { 'X-Session-Id': session_id };
        let open: WatchClient[] = [];
        const openAll = async () => {
          while (open.length < 20) {
            open.push(await WatchClient.open(server.url, headers));
            await open.at(-1)!.next();
          }
        };
        await openAll();
        const [victim] = await pidsOf(server, 2);
        const lost = server.next('a worker was lost (SIGKILL)');
        process.kill(victim!, 'SIGKILL');
        await lost;
        for (let areAllOpen = false; !areAllOpen; ) {
          await openAll();
          const seen = open.map(({ told }) => told.length);
          // Not over a connection that the killed worker had. The one in its place may be too busy for a moment.
          const touch = () =>
            server.fetch('/sessman/touch', { method: 'POST', headers: { ...headers, Connection: 'close' } });
          while ((await touch()).status === 503);
          // A stream that is closed has no next event.
          const told = await Promise.allSettled(open.map((client, n) => client.next(seen[n])));
          open = open.filter((_, n) => told[n]!.status === 'fulfilled');
          areAllOpen = open.length === 20;
        }
        for (const client of open) client.close();
      });
    }

    it('come back after a killed worker and a reload, and all learn of an end_all', async () => {
      const call = async (path: string) => {
        const response = await server.fetch(`/sessman/${path}`, { method: 'POST' });
        expect(response.status).to.equal(200);
        return (await response.json()) as { session_id: string; ended: number };
      };
      const ids: string[] = [];
      for (let n = 0; n < 50; n++) ids.push((await call('new?userid=ann')).session_id);
      const pages: Page[] = [];
      for (let n = 0; n < 20; n++) {
        pages.push(...ids.map((id) => new Page(server.url, id)));
        await Promise.all(pages.map(({ watching }) => watching));
      }
      const [victim] = await pidsOf(server, 2);
      process.kill(victim!, 'SIGKILL');
      const reload = await server.command('reload');
      expect(reload.status, reload.stderr).to.equal(0);
      // Each was sent away by the reload at least.
      for (const page of pages) while (page.streams < 2) await pause(20);
      await Promise.all(pages.map(({ watching }) => watching));
      const began = performance.now();
      expect((await call('end_all?userid=ann')).ended).to.equal(50);
      await Promise.all(pages.map(({ ended }) => ended));
      if (process.env.WATCH_FIGURES) console.log(`${pages.length} told in ${performance.now() - began} ms`);
      expect(new Set(pages.map(({ reason }) => reason))).to.deep.equal(new Set(['end_all']));
    });
  });
}
