import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { open } from 'lmdb';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { countOneMore, emptyFreeList, loseFreePage } from '../../../support/free-pages.js';
import { runProgram } from '../../../support/process.js';
import { recordAt, until } from '../support/embedded.js';
import { version010 } from '../support/version-0.1.0.js';

describe("a copy of an embedded store's records", () => {
  let folder: string;
  let store: EmbeddedStore;
  const now = Date.now();
  const here = () => join(folder, 'store');
  const copy = () => join(folder, 'copy');
  const fileIn = (name: string) => join(name, 'sessions.mdb');
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    store = EmbeddedStore.open(here());
    const records = Array.from({ length: 2000 }, (_, n) =>
      recordAt(now, {
        userid: `user${n % 7}`,
        data: JSON.stringify({ filling: 'x'.repeat(n % 50 ? 200 : 20_000) }),
        ...(n % 3 ? {} : { about: '{"device":"phone"}' }),
      }),
    );
    await Promise.all(records.map((record) => store.insert(record)));
    // Frees pages, with more than one record in the list of them, and notes the ends.
    for (let n = 0; n < 1000; n += 100) {
      const some = records.slice(n, n + 100).map(({ handle }) => ({ handle, now }));
      await store.removeEach(some, 'end');
    }
  });
  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  const programOf = (name: string) =>
    fileURLToPath(new URL(`../../../../plugins/sessman/stores/embedded/${name}.js`, import.meta.url));
  const call = (name: string, ...args: string[]) =>
    runProgram(process.execPath, [programOf(name), ...args], '/');

  /** All databases as LMDB holds them: their flags, and the bytes of keys and values in hexadecimal. */
  async function bytesOf(name: string) {
    const root = open(fileIn(name), { encoding: 'binary', overlappingSync: false });
    const raw = { encoding: 'binary', keyEncoding: 'binary' } as const;
    const databases: Record<string, { flags: number; entries: string[] }> = {};
    for (const { key, value } of [...root.getRange()]) {
      const entries = root.openDB<Buffer, Buffer>(key as string, raw).getRange();
      databases[key as string] = {
        flags: Buffer.from(value).readUInt16LE(4),
        entries: Array.from(entries, (each) => `${hex(each.key as Buffer)} ${hex(each.value)}`),
      };
    }
    await root.close();
    return databases;
  }
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

  /** LMDB's own compacting copy, which counts the pages that are in use and those that are free. */
  async function copyPages(name: string): Promise<void> {
    const to = join(folder, `pages-${randomBytes(4).toString('hex')}.mdb`);
    const root = open(fileIn(name), { encoding: 'binary', overlappingSync: false });
    await root.backup(to, true).finally(() => root.close());
  }

  /** Changes the file of a store that nobody uses. */
  function change(edit: (file: Buffer) => void): void {
    const file = readFileSync(fileIn(here()));
    edit(file);
    writeFileSync(fileIn(here()), file);
  }

  const damages: [string, (file: Buffer) => void][] = [
    ['has no list of free pages any more', emptyFreeList],
    ['misses a free page in its list', loseFreePage],
  ];
  for (const [what, damage] of damages) {
    it(`is made of one that ${what}, and is sound; sessman-compact repairs it`, async () => {
      await store.close();
      const before = await bytesOf(here());
      change(damage);
      expect(await copyPages(here()).catch((error: Error) => error))
        .to.be.an('error')
        .with.property('message')
        .that.includes('MDB_INCOMPATIBLE');

      const copied = await call('backup', here(), copy());
      expect(copied).to.include({ status: 0, stderr: '', stdout: `1000 sessions copied to ${copy()}\n` });
      expect(readdirSync(copy()).sort()).to.deep.equal(['backup.json', 'sessions.mdb', 'store.json']);
      await copyPages(copy());
      expect(await bytesOf(copy())).to.deep.equal(before);

      const damaged = await bytesOf(here());
      expect((await call('compact', here())).status).to.equal(0);
      expect(existsSync(`${here()}.compact`)).to.equal(false);
      await copyPages(here());
      expect(await bytesOf(here())).to.deep.equal(damaged);
      store = EmbeddedStore.open(here());
      for (let n = 0; n < 7; n++) await store.removeOfUser(`user${n}`, now);
      expect(store.count()).to.equal(0);
      await store.insert(recordAt(now));
      await store.close();
      await copyPages(here());
    });
  }

  it('has what is damaged as it is, keys that are out of order included', async () => {
    await store.insert(recordAt(now, { data: JSON.stringify({ filling: 'y'.repeat(20_000) }) }));
    await store.close();
    change((file) => {
      file.write('z', file.indexOf('y'.repeat(15_000)));
    });
    const changed = await bytesOf(here());
    const copied = await call('backup', here(), copy());
    expect(copied.stdout).to.include('1001 sessions copied').and.to.include('1 of them are damaged');
    expect(await bytesOf(copy())).to.deep.equal(changed);

    // The first byte of a key in the middle.
    const key = Buffer.from(changed.records!.entries[500]!.split(' ')[0]!, 'hex');
    change((file) => {
      for (let at = file.indexOf(key); at >= 0; at = file.indexOf(key, at + 1)) file[at]! ^= 0xff;
    });
    key[0]! ^= 0xff;
    expect((await call('backup', here(), `${copy()}2`)).stdout).to.include('1001 sessions copied');
    const kept = (await bytesOf(`${copy()}2`)).records!.entries;
    expect(kept).to.have.length(1001);
    expect(kept.filter((each) => each.startsWith(hex(key)))).to.have.length(1);
  });

  it('is complete or missing when the command is killed', async () => {
    await store.close();
    const before = await bytesOf(here());
    // As the command runs itself: in a child process.
    const child = fork(programOf('backup'), [here(), copy()]);
    const exited = once(child, 'exit');
    await until(() => existsSync(`${fileIn(copy())}.draft`) || child.exitCode !== null);
    child.kill('SIGKILL');
    await exited;
    if (existsSync(fileIn(copy()))) {
      expect(await bytesOf(copy())).to.deep.equal(before);
      return;
    }
    const { status, stderr } = await call('restore', copy(), join(folder, 'restored'));
    expect([status, stderr]).to.deep.equal([1, `sessman-restore: there is no backup in ${copy()}\n`]);
  });

  it('is of one moment, while sessions come', async () => {
    let isDone = false;
    const coming = (async () => {
      while (!isDone) await store.insert(recordAt(now));
    })();
    await store.backup(copy());
    isDone = true;
    await coming;
    const copied = EmbeddedStore.open(copy());
    expect(copied.count()).to.be.within(1000, store.count());
    let repaired = 0;
    for (let place: Parameters<typeof copied.file.scrub>[0], begun = false; !begun || place; begun = true) {
      const step = await copied.file.scrub(place, 1000);
      repaired += step.repaired + step.damaged.length;
      place = step.next;
    }
    expect(repaired).to.equal(0);
    await copied.close();
  });

  it('is read and written by version 0.1.0', async () => {
    const record = recordAt(now);
    await store.insert(record);
    await store.backup(copy());
    const { EmbeddedStore: Old } = await version010();
    const old = Old.open(copy()) as unknown as EmbeddedStore;
    try {
      expect(await old.read(record.handle, now)).to.deep.include({ userid: 'ann', data: '{}' });
      expect(await old.list('user1', now)).to.have.length((await store.list('user1', now)).length);
      expect(await old.removeOfUser('user1', now)).to.be.greaterThan(100);
    } finally {
      await old.close();
    }
    const again = EmbeddedStore.open(copy());
    expect(await again.list('user1', now)).to.deep.equal([]);
    await again.close();
  });

  it('is not made where a database does not yield as many entries as it says', async () => {
    await store.close();
    change((file) => countOneMore(file, 'records'));
    expect(await call('backup', here(), copy())).to.deep.equal({
      status: 1,
      stdout: '',
      stderr:
        'sessman-backup: the file is damaged: of the 1001 entries of its database "records", 1000 can be copied. Stop the server and copy its folder as it is.\n',
    });
    expect(existsSync(copy())).to.equal(false);
  });
});
