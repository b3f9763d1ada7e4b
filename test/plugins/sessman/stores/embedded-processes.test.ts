import { type ChildProcess, execFile, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { open } from 'lmdb';
import { metaIn, newer, pageHeader } from '../../../../databases/lmdb/check-file.js';
import { StoreError } from '../../../../plugins/sessman/errors.js';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { runSweeper } from '../../../../plugins/sessman/stores/sweeper.js';
import { runProgram, ServerProcess } from '../../../support/process.js';
import { recordAt } from '../support/embedded.js';

const writer = fileURLToPath(new URL('../support/writer.js', import.meta.url));
const blocker = fileURLToPath(new URL('../support/blocker.js', import.meta.url));
const command = (name: string) =>
  fileURLToPath(new URL(`../../../../plugins/sessman/stores/embedded/${name}.js`, import.meta.url));
const backup = command('backup');
const storage = new URL('../../../../host/storage/embedded.js', import.meta.url).href;
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
  const many = Array.from({ length: 1000 }, () => recordAt(Date.now()));
  const lastTransaction = async () => {
    const pages = await readFile(join(here(), 'sessions.mdb'));
    const pageSize = pages.readUInt32LE(pageHeader + 24);
    return Number(newer(metaIn(pages), metaIn(pages.subarray(pageSize))).transaction);
  };

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
    const look = async ({ handle }: Told) => {
      if (handle && !(await store.read(handle, Date.now()))) unseen.push(handle);
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

  it('makes no large transaction of many writes at once', async () => {
    const before = await lastTransaction();
    const made = await Promise.all(many.map((record) => store.insert(record)));
    expect(made.every(Boolean)).to.equal(true);
    expect(store.count()).to.equal(many.length);
    expect((await lastTransaction()) - before).to.be.at.least(many.length / 200);
  });

  it('refuses many writes that another process holds up, and never makes most of them', async () => {
    const child = fork(blocker, [join(here(), 'sessions.mdb')]);
    await once(child, 'message');
    const ended = once(child, 'exit');
    const made = await Promise.allSettled(many.map((record) => store.insert(record)));
    for (const each of made) {
      expect(each.status).to.equal('rejected');
      expect((each as PromiseRejectedResult).reason).to.be.instanceOf(StoreError);
    }
    child.kill('SIGKILL');
    await ended;
    // Those that lmdb had been given may still come; the next one comes after them.
    expect(await store.insert(recordAt(Date.now()))).to.equal(true);
    expect(store.count()).to.be.at.most(200 + 1);
  });

  it('has of many writes those that it has not refused, when it is closed meanwhile', async () => {
    const made = Promise.allSettled(many.map((record) => store.insert(record)));
    await store.close();
    const outcomes = await made;
    const refused = outcomes.filter(({ status }) => status === 'rejected') as PromiseRejectedResult[];
    expect(refused).not.to.have.length(0);
    for (const { reason } of refused) expect(reason).to.be.instanceOf(StoreError);
    store = EmbeddedStore.open(here());
    expect(store.count()).to.equal(many.length - refused.length);
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
    const count = copied.count();
    await copied.close();
    expect((await stat(copy)).mode & 0o777).to.equal(0o700);
    const manifest = JSON.parse(await readFile(join(copy, 'backup.json'), 'utf8'));
    expect(manifest).to.deep.include({ format: 1, records: count, keys: { plain: count } });
    expect(Date.now() - Date.parse(manifest.made)).to.be.within(0, 60_000);
  });

  it('is restored by a command, which ends all sessions unless told otherwise', async () => {
    const sessions = new Sessions(store, limits);
    const { id } = await sessions.create('mary', { a: 1 });
    const ended = await sessions.create('mary', { b: 1 });
    const copy = join(folder, 'copy');
    await run(process.execPath, [command('backup'), here(), copy]);
    await sessions.end(ended.id);
    const call = (name: string, ...args: string[]) =>
      runProgram(process.execPath, [command(name), ...args], '/');
    await store.close();

    const kept = await call('restore', copy, here(), '--keep-sessions');
    expect(kept.stdout).to.match(/^restored the backup of \S+Z: 2 live sessions return as they were then\n/);
    expect(kept.stdout).to.include('sessions that were ended since are live again');
    expect(kept.stdout).to.match(/the store that was there is now \S+store\.replaced-/);
    store = EmbeddedStore.open(here());
    expect((await new Sessions(store, limits).list('mary')).length).to.equal(2);
    expect(store.notes().notes).to.deep.equal([]);
    await store.close();

    expect((await call('restore', copy, here())).stdout).to.include('all of its 2 sessions are ended');
    store = EmbeddedStore.open(here());
    const again = new Sessions(store, limits);
    const gone = await Promise.resolve()
      .then(() => again.get(id))
      .catch((error: Error) => error);
    expect(gone).to.include({ code: 'session_not_found' });
    await again.create('mary', {}, id);
    expect(await again.list('mary')).to.have.length(1);
    for (let n = 0; n < 300; n++) await again.create('bob', { filling: 'x'.repeat(5000) });
    await again.endAll('bob');
    expect(store.file.size().free).to.be.greaterThan(1_000_000);
    await store.close();
    const compacted = await call('compact', here());
    expect(compacted.stdout).to.match(/sessions\.mdb: \d+ bytes before, \d+ bytes now\n$/);
    store = EmbeddedStore.open(here());
    expect(store.file.size().bytes).to.be.lessThan(1_000_000);
    expect(await new Sessions(store, limits).list('mary')).to.have.length(1);
  });

  it('is open to its owner alone', async () => {
    expect((await stat(here())).mode & 0o777).to.equal(0o700);
    expect(await readFile(join(here(), 'store.json'), 'utf8')).to.equal('{"store":"sessman","format":1}\n');
  });
});

describe("the embedded store and the plugins' storage in two containers", () => {
  const container = ['--pid', '--fork', '--mount-proc', '--kill-child'];
  before(async function () {
    const works = await runProgram('unshare', [...container, 'true'], '/').catch(() => undefined);
    if (works?.status !== 0) this.skip();
  });

  it('are refused to the second with a sentence, and used by it once the first was killed', async () => {
    const plugin = `import { definePlugin } from 'plugin-server';
export default definePlugin({ async setup({ storage }) { await storage('a').set('b', 1); } });`;
    const files = { 'plugins/keeper.mjs': plugin };
    const through = { file: 'unshare', args: container };
    const first = await ServerProcess.start({ files, through });
    const { folder } = first;
    const inUse = (store: string) =>
      new RegExp(`${store} \\S+ is in use by process \\d+ of another container`);
    const second = (more: object = {}) =>
      ServerProcess.start({ folder, through, ini: '[main]\nsafe=list:sessman\n', args: ['--safe'], ...more });
    try {
      const refused = await second({ raw: true });
      expect((await refused.exited).status).to.equal(1);
      expect(refused.stderr).to.match(inUse('the session store')).and.to.include('stop that server first');
      const open = `await (await import(${JSON.stringify(storage)})).EmbeddedStore.openClaimed('data/_storage')`;
      const args = ['--input-type=module', '-e', open];
      expect((await runProgram(process.execPath, args, folder)).stderr).to.match(
        inUse("the plugins' storage"),
      );
      const copied = await runProgram(
        process.execPath,
        [backup, join(folder, 'data/sessman/store'), `${folder}-copy`],
        '/',
      );
      expect([copied.status, copied.stderr]).to.match(/^1,sessman-backup: .* another container/);
      const made = await first.fetch('/sessman/new?userid=ann', { method: 'POST' });
      const { session_id } = (await made.json()) as { session_id: string };
      first.child.kill('SIGKILL');
      await first.exited;
      const next = await second();
      const read = await next.fetch(`/sessman/get?userid=ann&session_id=${session_id}`);
      expect(read.status).to.equal(200);
      next.child.kill('SIGKILL');
      await next.exited;
    } finally {
      await first.close();
    }
  });
});
