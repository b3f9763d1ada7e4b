import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { ServerProcess } from '../../../support/process.js';
import { ask } from '../support/ask.js';
import { recordAt } from '../support/embedded.js';

/** Bytes that a process has written to files so far: what a request costs it in sockets does not count. */
async function writtenBy(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/io`, 'utf8');
  return Number(/^write_bytes: (\d+)$/m.exec(text)![1]);
}

describe('the sweeper of two workers, while requests come', () => {
  let server: ServerProcess;
  let store: EmbeddedStore;
  before(async function () {
    if (process.platform !== 'linux') this.skip();
    server = await ServerProcess.start({
      ini: '[main]\nsafe=list:sessman\n[network]\nworkers=int:2\n[paths]\npidfile=server.pid\n[plugin_parms]\nsessman=removal_delay=int:0\n',
      args: ['--safe'],
    });
    // In a file system in memory, the system counts nothing.
    if ((await Promise.all(workers().map(writtenBy))).every((bytes) => bytes === 0)) this.skip();
    store = EmbeddedStore.open(join(server.folder, 'data/sessman/store'));
  });
  after(async () => {
    await store?.close();
    await server?.close();
  });

  /** Over a connection of its own. */
  const call = (method: string, path: string, headers = {}) =>
    ask(server, path, { method, headers, agent: false });
  const workers = () => server.workers();

  const living: string[] = [];
  let inserted = 0;
  const removed = () => inserted + living.length - store.count();
  /** Sees to it that there always are some hundred that have expired. */
  const feed = async (signal: AbortSignal) => {
    while (!signal.aborted) {
      const expired = { expires: Date.now() - 1 };
      const few = store.count() - living.length < 200 ? 200 : 0;
      await Promise.all(
        Array.from({ length: few }, () => store.insert(recordAt(Date.now() - 60_000, expired))),
      );
      inserted += few;
      await pause(5);
    }
  };
  /** Waits until so many more have been removed. Gives the one worker that did it. */
  const sweeperOf = async (count: number): Promise<number> => {
    const before = new Map<number, number>();
    for (const pid of workers()) before.set(pid, await writtenBy(pid));
    const enough = removed() + count;
    while (removed() < enough) await pause(5);
    const written = await Promise.all(
      workers().map(async (pid) => [pid, (await writtenBy(pid)) - (before.get(pid) ?? 0)] as const),
    );
    const [most, ...others] = written.sort(([, a], [, b]) => b - a);
    const rest = others.reduce((sum, [, bytes]) => sum + bytes, 0);
    // A worker that has started meanwhile wrote some pages, too.
    expect(rest, JSON.stringify(written)).to.be.below(most![1] / 3);
    return most![0];
  };
  const gone = async (pids: readonly number[]) => {
    while (workers().some((pid) => pids.includes(pid))) await pause(5);
  };
  const holder = () => store.fact<{ owner: string }>('sweeper')!.owner;
  /** A sweeper's lease lasts for ten seconds: as if they had passed since its end. */
  const expire = async (owner: string) => {
    const now = Date.now();
    if (holder() !== owner) return;
    expect(await store.lease('sweeper', 'the test', now + 10_000, now)).to.be.a('number');
  };

  it('goes on when its worker is killed and over a reload, is one at a time, and leaves the living', async () => {
    for (let n = 0; n < 20; n += 1) living.push((await call('POST', 'new?userid=ann'))!.body.session_id);
    const statuses = new Set<number | undefined>();
    let isOver = false;
    const visitors = [0, 1, 2, 3].map(async (first) => {
      for (let n = first; !isOver; n += 1) {
        const headers = { 'X-Session-Id': living[n % living.length]! };
        statuses.add((await call('GET', 'get', headers))?.status);
      }
    });
    const fed = new AbortController();
    const feeding = feed(fed.signal);
    try {
      const first = await sweeperOf(150);
      const killed = holder();
      process.kill(first, 'SIGKILL');
      await gone([first]);
      await expire(killed);
      expect(await sweeperOf(150)).not.to.equal(first);
      const [old, stopped] = [workers(), holder()];
      expect((await server.command('reload')).status).to.equal(0);
      await gone(old);
      await expire(stopped);
      await sweeperOf(150);
      fed.abort();
      await feeding;
      while (store.count() > living.length) await pause(5);
    } finally {
      fed.abort();
      isOver = true;
      await Promise.all(visitors);
    }
    expect([...statuses]).to.include(200);
    for (const status of statuses) expect(status).to.be.oneOf([200, 503, undefined]);
    expect(store.count()).to.equal(living.length);
    for (const id of living) expect((await call('GET', 'get', { 'X-Session-Id': id }))!.status).to.equal(200);
  });
});
