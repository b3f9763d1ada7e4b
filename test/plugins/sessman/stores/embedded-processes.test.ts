import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { open } from 'lmdb';
import { StoreError } from '../../../../plugins/sessman/errors.js';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { runSweeper } from '../../../../plugins/sessman/stores/sweeper.js';

const writer = fileURLToPath(new URL('../support/writer.js', import.meta.url));
const blocker = fileURLToPath(new URL('../support/blocker.js', import.meta.url));
const backup = fileURLToPath(
  new URL('../../../../plugins/sessman/stores/embedded/backup.js', import.meta.url),
);
const run = promisify(execFile);
const limits = { idleTimeout: 60, absoluteTimeout: 0, maxData: 10_000, maxPerUser: 0 };

describe('EmbeddedStore over several processes', () => {
  let folder: string;
  let store: EmbeddedStore;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    store = EmbeddedStore.open(join(folder, 'store'));
  });
  afterEach(async () => {
    await store?.close();
    await rm(folder, { recursive: true });
  });
  const here = () => join(folder, 'store');

  interface Told {
    readonly handle?: string;
    readonly code?: string;
    readonly message?: string;
  }
  const told = (child: ChildProcess, onTold: (message: Told) => void = () => {}): Promise<Told[]> => {
    const all: Told[] = [];
    child.on('message', (message: Told) => {
      all.push(message);
      onTold(message);
    });
    return once(child, 'exit').then(() => all);
  };

  it('keeps the sessions of them all, each seen by the others when it was answered', async () => {
    const unseen: string[] = [];
    const look = ({ handle }: Told) => {
      if (handle && !store.read(handle, Date.now())) unseen.push(handle);
    };
    const all = await Promise.all([1, 2, 3].map(() => told(fork(writer, [here(), '100']), look)));
    expect(all.map((each) => each.length)).to.deep.equal([100, 100, 100]);
    expect(unseen).to.deep.equal([]);
    expect(await store.list('mary', Date.now())).to.have.length(300);
  });

  it('loses nothing that was answered, and goes on, when one of them is killed while it writes', async () => {
    for (let round = 0; round < 5; round++) {
      const child = fork(writer, [here(), '1000000']);
      let seen = 0;
      const all = await told(child, () => {
        if (++seen === 20 + 7 * round) child.kill('SIGKILL');
      });
      const kept = new Set((await store.list('mary', Date.now())).map(({ handle }) => handle));
      expect(all.filter(({ handle }) => !kept.has(handle!))).to.deep.equal([]);
      expect(await store.removeOfUser('mary', Date.now())).to.equal(kept.size);
    }
    // The write during which the last one was killed may have come to light since.
    await store.removeOfUser('mary', Date.now());
    expect(store.count()).to.equal(0);
  });

  it('answers 503 with store_full when the system cuts a write short, tears nothing, and reads on', async () => {
    await store.close();
    const script = 'trap "" XFSZ; ulimit -f 1000; exec "$@"';
    const child = fork(writer, [here(), '100000'], {
      execPath: '/bin/sh',
      execArgv: ['-c', script, 'sh', process.execPath],
      silent: true,
    });
    const all = await told(child);
    const failed = all.at(-1)!;
    expect(failed.code).to.equal('store_full');
    expect(failed.message).not.to.include(folder);
    store = EmbeddedStore.open(here());
    const made = all.slice(0, -1).map(({ handle }) => handle);
    expect(made.length).to.be.greaterThan(50);
    expect((await store.list('mary', Date.now())).map(({ handle }) => handle)).to.have.members(made);
    const sessions = new Sessions(store, limits);
    const { id } = await sessions.create('mary', { room: 'again' });
    expect((await sessions.get(id, 'mary')).version).to.equal(1);
  });

  it('refuses writes that another process holds up, reads on, and writes again when that one is gone', async () => {
    const sessions = new Sessions(store, limits);
    const { id } = await sessions.create('mary', { a: 1 });
    const child = fork(blocker, [join(here(), 'sessions.mdb')]);
    await once(child, 'message');
    const ended = once(child, 'exit');
    const refused = await sessions.update(id, { a: 2 }).catch((error: unknown) => error);
    expect(refused).to.be.instanceOf(StoreError);
    expect((await sessions.get(id, 'mary')).data).to.equal('{"a":1}');
    child.kill('SIGKILL');
    await ended;
    // The refused write may still come; the next one comes after it.
    const { version, data } = await sessions.update(id, { a: 3 });
    expect([version, data]).to.deep.equal([3, '{"a":3}']);
  });

  it('is swept by one sweeper at a time, which leaves the living', async () => {
    let now = Date.now();
    const sessions = new Sessions(store, limits, { now: () => now });
    const dead = await Promise.all(Array.from({ length: 300 }, () => sessions.create('mary')));
    now += 60_000;
    const living = await Promise.all(Array.from({ length: 10 }, () => sessions.create('mary')));
    const other = EmbeddedStore.open(here());
    const stop = new AbortController();
    const counts = [0, 0, 0];
    const swept = new Promise<void>((resolve) => {
      for (const [n, each] of [store, store, other].entries()) {
        runSweeper(each, {
          signal: stop.signal,
          now: () => now,
          onSwept: (count) => {
            counts[n]! += count;
            if (counts.reduce((sum, each) => sum + each) === dead.length) resolve();
          },
        });
      }
    });
    await swept;
    stop.abort();
    await other.close();
    expect(counts.filter((count) => count > 0)).to.have.length(1);
    expect(store.count()).to.equal(living.length);
    expect(await sessions.list('mary')).to.have.length(living.length);
  });

  it('leaves nothing behind in its indexes', async () => {
    let now = Date.now();
    const sessions = new Sessions(store, limits, { now: () => now });
    const made = await Promise.all(Array.from({ length: 40 }, (_, n) => sessions.create(`user${n % 4}`)));
    now += 30_000;
    await Promise.all(
      made.slice(0, 20).map(({ id }, n) => (n % 2 ? sessions.touch(id) : sessions.update(id, { n }))),
    );
    await Promise.all(made.slice(0, 5).map(({ id }) => sessions.end(id)));
    await sessions.endAll('user1');
    now += 30_000;
    expect((await store.sweep(now, 1000)).removed).to.be.greaterThan(0);
    now += 30_000;
    await store.sweep(now, 1000);
    expect(store.count()).to.equal(0);
    const root = open(join(here(), 'sessions.mdb'), { overlappingSync: false });
    for (const name of ['by-user', 'by-expiry']) {
      const index = root.openDB(name, { keyEncoding: 'binary', encoding: 'binary' });
      expect([...index.getKeys()], name).to.deep.equal([]);
    }
    await root.close();
  });

  it('is copied while it is written to, by a command; the copy is a store', async () => {
    const sessions = new Sessions(store, limits);
    const { id } = await sessions.create('mary', { a: 1 });
    const writing = told(fork(writer, [here(), '200']));
    const copy = join(folder, 'copy');
    const { stdout } = await run(process.execPath, [backup, here(), copy]);
    expect(stdout).to.match(/^\d+ sessions copied to /);
    await writing;
    const copied = EmbeddedStore.open(copy);
    expect((await new Sessions(copied, limits).get(id, 'mary')).data).to.equal('{"a":1}');
    await copied.close();
    expect((await stat(copy)).mode & 0o777).to.equal(0o700);

    const refused = async (args: string[]) => {
      const failure = await run(process.execPath, [backup, ...args]).then(
        () => undefined,
        (error: { code: number; stderr: string }) => error,
      );
      return [failure?.code, failure?.stderr];
    };
    expect((await refused([here(), copy])).join()).to.match(/^1,sessman-backup: .*is there already/);
    expect((await refused([folder, `${copy}2`])).join()).to.match(
      /^1,sessman-backup: there is no session store/,
    );
    expect((await refused([here()])).join()).to.match(/^2,usage/);
  });

  it('is open to its owner alone', async () => {
    expect((await stat(here())).mode & 0o777).to.equal(0o700);
    expect(await readFile(join(here(), 'store.json'), 'utf8')).to.equal('{"store":"sessman","format":1}\n');
  });
});
