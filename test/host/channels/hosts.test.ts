import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { type StartedPlugin, startPlugin } from '../../../host/testing.js';
import { sharedMongo } from '../../support/mongodb.js';
import { makeFolder, writeFiles } from '../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ channel, router }) {
    const words = channel('words');
    const seen = [];
    words.subscribe((value) => { seen.push(value); });
    const here = channel('here', { reach: 'host' });
    here.subscribe((value) => { seen.push(value); });
    router.post('/here', (ctx) => {
      here.publish(ctx.request.body);
      ctx.status = 204;
    });
    router.get('/', (ctx) => { ctx.body = { pid: process.pid, seen }; });
    router.post('/', (ctx) => {
      for (const value of ctx.request.body) words.publish(value);
      ctx.status = 204;
    });
  },
});`;

interface Seen {
  readonly pid: number;
  readonly seen: unknown[];
}

describe('a channel of several hosts', () => {
  let folder: string;
  const hosts: StartedPlugin[] = [];
  before(async () => {
    folder = await makeFolder();
    await writeFiles(folder, { 'words.mjs': plugin });
  });
  after(() => rm(folder, { recursive: true, force: true }));
  afterEach(() => Promise.all(hosts.splice(0).map((host) => host.close())));

  const start = async (workers: number, storage: string): Promise<StartedPlugin> => {
    const host = await startPlugin(join(folder, 'words.mjs'), { workers, storage: storage as never });
    hosts.push(host);
    return host;
  };
  const publish = async ({ url }: StartedPlugin, values: readonly unknown[], path = '') => {
    const headers = { 'Content-Type': 'application/json' };
    const answer = await fetch(`${url}/words${path}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(values),
    });
    expect(answer.status).to.equal(204);
  };
  /** What each worker of a host has seen, when it has seen so much. */
  const seenBy = async ({ url }: StartedPlugin, workers: number, count: number): Promise<unknown[][]> => {
    const byPid = new Map<number, unknown[]>();
    while (byPid.size < workers) {
      const { pid, seen } = (await (
        await fetch(`${url}/words`, { headers: { Connection: 'close' } })
      ).json()) as Seen;
      if (seen.length >= count) byPid.set(pid, seen);
    }
    return [...byPid.values()];
  };

  it('carries values to every worker of every host once, in the order of each publisher, over a reload', async () => {
    const storage = (await (await sharedMongo()).createDatabase()).url();
    const [one, two] = await Promise.all([start(2, storage), start(0, storage)]);
    const values = Array.from({ length: 500 }, (_, n) => ({ n }));
    await publish(one, values);
    for (const seen of await seenBy(one, 2, 500)) expect(seen).to.deep.equal(values);
    expect(await seenBy(two, 1, 500)).to.deep.equal([values]);
    await one.reload();
    await publish(one, ['stays'], '/here');
    for (const seen of await seenBy(one, 2, 1)) expect(seen).to.deep.equal([['stays']]);
    await publish(two, ['back']);
    for (const seen of await seenBy(one, 2, 2)) expect(seen).to.deep.equal([['stays'], 'back']);
    // Published before, by a process whose values come in their order.
    await publish(one, ['last']);
    expect(await seenBy(two, 1, 502)).to.deep.equal([[...values, 'back', 'last']]);
  });
});
