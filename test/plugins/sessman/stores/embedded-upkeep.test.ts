import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { StoreError, StoreFailedError } from '../../../../plugins/sessman/errors.js';
import { noteLifetime, type SessionRecord } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { recordAt } from '../support/embedded.js';

describe('an embedded store', () => {
  let folder: string;
  let store: EmbeddedStore;
  const now = Date.now();
  const open: EmbeddedStore[] = [];
  const openStore = (name = 'store', ...more: [object?]) => {
    const opened = EmbeddedStore.open(join(folder, name), ...more);
    open.push(opened);
    return opened;
  };
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    store = openStore();
  });
  afterEach(async () => {
    for (const each of open.splice(0)) await each.close();
    await rm(folder, { recursive: true });
  });

  const insert = async (change: Partial<SessionRecord> = {}, into = store): Promise<SessionRecord> => {
    const record = recordAt(now, change);
    await into.insert(record);
    return record;
  };
  const mark = async (name = 'store') => JSON.parse(await readFile(join(folder, name, 'store.json'), 'utf8'));
  const reasonOf = async (call: () => unknown): Promise<unknown> => {
    try {
      return await call();
    } catch (error) {
      return error;
    }
  };

  /** Every call that reads or writes. */
  const calls: [string, (on: EmbeddedStore, record: SessionRecord) => unknown, 'read' | 'write'][] = [
    ['insert', (on) => on.insert(recordAt(now)), 'write'],
    ['write', (on, { handle }) => on.write({ handle, now }, { touched: now, expires: now + 1e6 }), 'write'],
    [
      'rewrite',
      (on, { handle }) => on.rewrite({ handle, now }, { touched: now, expires: now + 1e6 }, (data) => data),
      'write',
    ],
    ['remove', (on, { handle }) => on.remove({ handle, now }, 'end'), 'write'],
    ['removeEach', (on, { handle }) => on.removeEach([{ handle, now }], 'limit'), 'write'],
    ['removeOfUser', (on, { userid }) => on.removeOfUser(userid, now), 'write'],
    ['endEveryone', (on) => on.endEveryone(), 'write'],
    ['lease', (on) => on.lease('a duty', 'owner', now, now + 1), 'write'],
    ['changeFact', (on) => on.changeFact('a fact', () => ({})), 'write'],
    ['sweep', (on) => on.sweep(now + 1e7, 10), 'write'],
    ['check', (on) => on.check(), 'write'],
    ['read', (on, { handle }) => on.read(handle, now), 'read'],
    ['peek', (on, { handle }) => on.peek(handle, now), 'read'],
    ['peekEach', (on, { handle }) => on.peekEach([handle], now), 'read'],
    ['list', (on, { userid }) => on.list(userid, now), 'read'],
    ['walk', (on) => on.walk(now, { limit: 1 }), 'read'],
    ['notes', (on) => on.notes(), 'read'],
    ['noteOf', (on, { handle }) => on.noteOf(handle, now), 'read'],
    ['countLive', (on) => on.countLive(now), 'read'],
    ['sealed', (on) => on.sealed(1), 'read'],
    ['fact', (on) => on.fact('a fact'), 'read'],
    ['isSweepDue', (on) => on.isSweepDue(now + 1e7), 'read'],
    ['count', (on) => on.count(), 'read'],
    ['size', (on) => on.file.size(), 'read'],
    ['scrub', (on) => on.file.scrub(undefined, 0), 'read'],
  ];

  it('refuses every call once it is closed, and closes once', async () => {
    const record = await insert();
    const closing = store.close();
    expect(store.close()).to.equal(closing);
    await closing;
    for (const [name, call] of calls) {
      const error = await reasonOf(() => call(store, record));
      expect(error, name).to.be.instanceOf(StoreError).and.to.include({ code: 'store_unavailable' });
    }
  });

  it('refuses writes where it is open for reading only, and leaves the folder as it is', async () => {
    const record = await insert();
    const reading = openStore('store', { isReadOnly: true });
    for (const [name, call, kind] of calls) {
      const result = await reasonOf(() => call(reading, record));
      if (kind === 'write') expect(result, name).to.be.instanceOf(StoreFailedError);
      else expect(result, name).not.to.be.instanceOf(Error);
    }
    openStore('fresh', { isReadOnly: true });
    expect(await reasonOf(() => mark('fresh'))).to.include({ code: 'ENOENT' });
    expect((await store.read(record.handle, now))?.handle).to.equal(record.handle);
  });

  it('marks its folder with its format, for its owner alone', async () => {
    expect(await mark()).to.deep.equal({ store: 'sessman', format: 1 });
    expect((await stat(join(folder, 'store'))).mode & 0o777).to.equal(0o700);
    expect(store.isRaised()).to.equal(false);
    await store.raise();
    await store.raise();
    expect(await mark()).to.deep.equal({ store: 'sessman', format: 2 });
    expect(store.isRaised()).to.equal(true);
    expect(openStore().isRaised()).to.equal(true);
  });

  it('keeps notes of ends for ten minutes, of each process that wrote some', async () => {
    const other = openStore();
    const ended = now - noteLifetime;
    const expected: string[] = [];
    for (const [on, count] of [
      [store, 3],
      [other, 4],
    ] as const) {
      for (let n = 0; n < count; n++) {
        const { handle } = await insert({ created: ended - 9, touched: ended - 9 }, on);
        await on.remove({ handle, now: ended + n }, 'end');
        expected.push(`${handle} ${n}`);
      }
    }
    const told = (at: number) => expected.map((each) => store.noteOf(each.split(' ')[0]!, at) !== undefined);
    expect(told(now - 1)).to.deep.equal([true, true, true, true, true, true, true]);
    expect(told(now)).to.deep.equal([false, true, true, false, true, true, true]);
    expect(store.isSweepDue(now)).to.equal(false);
    expect(store.isSweepDue(now + 1)).to.equal(true);
    const left = () => store.notes().notes.map(({ handle, at }) => `${handle} ${at - ended}`);
    expect(left()).to.have.members(expected);
    for (const limit of [1, 100]) {
      let steps = 0;
      const at = now + (limit === 1 ? 2 : 3);
      while (store.isSweepDue(at) && steps++ < 9)
        expect(await store.sweep(at, limit)).to.deep.include({ removed: 0, more: true });
      expect(steps).to.equal(limit === 1 ? 4 : 1);
      expect(left()).to.have.members(expected.filter((each) => Number(each.split(' ')[1]) >= at - now));
    }
    expect(await store.sweep(now + 4, 100)).to.deep.include({ removed: 0, more: true });
    expect(left()).to.deep.equal([]);
    expect(store.noteOf(expected[6]!.split(' ')[0]!, ended)).to.equal(undefined);
  });

  it('leaves the note of a later end alone when that of an earlier one goes', async () => {
    const record = await insert({ created: now - 2 * noteLifetime, touched: now - 2 * noteLifetime });
    await store.remove({ handle: record.handle, now: now - noteLifetime - 1 }, 'end');
    await insert({ handle: record.handle });
    await store.remove({ handle: record.handle, now }, 'login');
    await store.sweep(now, 100);
    expect(store.notes().notes.map(({ reason }) => reason)).to.deep.equal(['login']);
    expect(store.noteOf(record.handle, now)).to.include({ reason: 'login' });
  });

  it('gives very many notes in parts', async () => {
    const records = await Promise.all(Array.from({ length: 2001 }, () => insert()));
    await Promise.all(records.map(({ handle }) => store.remove({ handle, now }, 'end')));
    const seen: string[] = [];
    const sizes: string[] = [];
    for (let place: object | undefined, more = true; more; ) {
      const read = store.notes(place as never);
      ({ place, more } = read);
      sizes.push(`${read.notes.length} ${more}`);
      seen.push(...read.notes.map(({ handle }) => handle));
    }
    expect(sizes).to.deep.equal(['1000 true', '1000 true', '1 false']);
    expect(new Set(seen)).to.deep.equal(new Set(records.map(({ handle }) => handle)));
  });

  it('counts the live ones of more than it reads in one turn', async () => {
    await Promise.all(Array.from({ length: 250 }, (_, n) => insert({ expires: now + (n % 5 ? 10 : 20) })));
    expect(await store.countLive(now)).to.deep.equal({ count: 250, exact: true });
    expect(await store.countLive(now + 10)).to.deep.equal({ count: 50, exact: true });
    expect(await store.countLive(now + 20)).to.deep.equal({ count: 0, exact: true });
    expect(store.count()).to.equal(250);
  });

  it('lists and ends many sessions of a user, and the users beside it', async () => {
    const userids = ['ann', 'anna', 'an', ''].map((each) => `${each}${randomBytes(3).toString('hex')}`);
    for (const [n, userid] of userids.entries())
      await Promise.all(Array.from({ length: [230, 100, 101, 1][n]! }, () => insert({ userid })));
    for (const [n, userid] of userids.entries()) {
      const listed = await store.list(userid, now);
      expect(new Set(listed.map(({ handle }) => handle)).size).to.equal([230, 100, 101, 1][n]);
      expect(await store.list(userid, now, 100)).to.have.length(n === 3 ? 1 : 100);
    }
    for (const [n, userid] of userids.entries())
      expect(await store.removeOfUser(userid, now)).to.equal([230, 100, 101, 1][n]);
    expect(store.count()).to.equal(0);
  });

  it('says by how much it is late, by the last one that it removed', async () => {
    for (const late of [500, 300, 100]) await insert({ expires: now - late });
    await insert({ expires: now + 1 });
    const one = await store.sweep(now, 2);
    expect([one.removed, one.more]).to.deep.equal([2, true]);
    expect(one.late).to.be.within(300, 301);
    const two = await store.sweep(now, 2);
    expect([two.removed, two.more]).to.deep.equal([1, false]);
    expect(two.late).to.be.within(100, 101);
    expect(await store.sweep(now, 2)).to.deep.equal({ removed: 0, more: false });
  });

  it('is scrubbed in steps of some records, or for as long as it may take', async () => {
    const all = { unchecked: 0, damaged: [], repaired: 0 };
    for (const count of [0, 8, 12]) {
      while (store.count() < count) await insert();
      const steps: string[] = [];
      for (let place: Parameters<typeof store.file.scrub>[0]; ; ) {
        const { next, records, ...others } = await store.file.scrub(place, 0);
        expect(others).to.deep.equal(all);
        steps.push(`${place?.part ?? 'start'} ${records}`);
        place = next;
        if (place === undefined) break;
      }
      expect(steps).to.deep.equal(
        [
          ['start 0', 'byUser 0', 'byExpiry 0'],
          ['start 8', 'records 0', 'byUser 0', 'byUser 0', 'byExpiry 0', 'byExpiry 0'],
          ['start 8', 'records 4', 'byUser 0', 'byUser 0', 'byExpiry 0', 'byExpiry 0'],
        ][[0, 8, 12].indexOf(count)],
      );
      const whole = await store.file.scrub(undefined, 60_000);
      expect(whole).to.deep.equal({ next: { part: 'byUser' }, records: count, ...all });
      expect(await store.file.scrub(whole.next, 60_000)).to.deep.equal({
        next: { part: 'byExpiry' },
        records: 0,
        ...all,
      });
    }
  });

  it('is copied with its sessions, and used again with or without them', async () => {
    const extras = { about: '{}', ip: '::1' };
    await store.endEveryone();
    const [kept, ended] = [await insert(extras), await insert()];
    await store.remove({ handle: ended.handle, now }, 'end');
    await store.changeFact('of its processes', () => ({ told: true }));
    for (const keeps of [true, false]) {
      const name = `copy ${keeps}`;
      await store.backup(join(folder, name));
      expect((await stat(join(folder, name))).mode & 0o777).to.equal(0o700);
      expect(await mark(name)).to.deep.equal({ store: 'sessman', format: 2 });
      const copy = openStore(name);
      expect(await copy.read(kept.handle, now)).to.deep.include({ ...extras, handle: kept.handle });
      expect(copy.notes().notes).to.have.length(1);
      expect(copy.fact('of its processes')).to.deep.equal({ told: true });
      await copy.beginGeneration(keeps);
      expect(copy.epoch()).to.equal(1);
      expect(copy.notes().notes).to.deep.equal([]);
      expect(copy.noteOf(ended.handle, now)).to.equal(undefined);
      expect(copy.fact('of its processes')).to.equal(undefined);
      const found = await copy.read(kept.handle, now);
      if (keeps) expect(found).to.deep.include(extras);
      else {
        expect(found).to.equal(undefined);
        expect(copy.count()).to.equal(0);
        expect(await copy.list(kept.userid, now)).to.deep.equal([]);
        await insert({ handle: kept.handle, created: kept.created }, copy);
        expect(await copy.read(kept.handle, now)).not.to.have.any.keys('about', 'ip');
      }
      expect(await reasonOf(() => store.backup(join(folder, name)))).to.include({ code: 'EEXIST' });
    }
    expect((await store.read(kept.handle, now))?.handle).to.equal(kept.handle);
  });
});
