import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { open as openLmdb } from 'lmdb';
import { StoreFileError } from '../../../../databases/lmdb/check-file.js';
import { holdersOf } from '../../../../databases/lmdb/claim.js';
import type { ClockMark } from '../../../../databases/lmdb/wall-clock.js';
import { StoreError, StoreFailedError } from '../../../../plugins/sessman/errors.js';
import { noteLifetime, type SessionRecord } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { handleBytes, handleOf } from '../../../../plugins/sessman/stores/embedded/records.js';
import { behind, recordAt, until } from '../support/embedded.js';

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
    expect(await readFile('/proc/self/maps', 'utf8')).not.to.include(join(folder, 'store/sessions.mdb'));
  });

  it('says that it is unavailable where its database throws', async () => {
    const told: string[] = [];
    const on = openStore('store', { onDamaged: (part: string) => told.push(part) });
    const tooLong = 'A'.repeat(8000);
    for (const call of [
      () => on.read(tooLong, now),
      () => on.peekEach([tooLong], now),
      () => on.remove({ handle: tooLong, now }, 'end'),
      () => on.replaceSealed({ handle: tooLong }, { handle: tooLong }),
    ]) {
      const error = await reasonOf(call);
      expect(error).to.be.instanceOf(StoreError).and.to.include({ code: 'store_unavailable' });
      expect((error as StoreError).cause).to.be.instanceOf(Error);
    }
    expect(told).to.deep.equal([]);
  });

  it('refuses reads that look ahead in other threads while it closes, and afterwards', async () => {
    const large = await insert({ data: `{"a":"${'x'.repeat(8_000_000)}"}` });
    const records = await Promise.all(Array.from({ length: 9 }, () => insert()));
    const { resourceUsage } = process;
    process.resourceUsage = () => ({ ...resourceUsage(), majorPageFault: Number.POSITIVE_INFINITY });
    try {
      // It is slow, and seems to come from the disk: the next reads look ahead, three at a time.
      await store.read(large.handle, now);
    } finally {
      process.resourceUsage = resourceUsage;
    }
    const read = ({ handle }: SessionRecord) => reasonOf(() => store.read(handle, now));
    const during = records.map(read);
    await store.close();
    for (const outcome of [...(await Promise.all(during)), await read(large)])
      expect(outcome).to.be.instanceOf(StoreError).and.to.include({ code: 'store_unavailable' });
  });

  it('is refused where one of its databases is missing, with the names of the others', async () => {
    await insert();
    await store.close();
    const names = ['by-expiry', 'by-user', 'extras', 'meta', 'note-by-handle', 'notes', 'records'];
    for (const [missing, name] of [
      ['records', 'records'],
      ['byUser', 'by-user'],
      ['byExpiry', 'by-expiry'],
      ['meta', 'meta'],
    ] as const) {
      await behind(join(folder, 'store'), (dbs) => dbs[missing].dropSync());
      const refusal = await reasonOf(() => openStore());
      expect(refusal).to.be.instanceOf(StoreFileError);
      const others = names.filter((each) => each !== name).join(', ');
      expect((refusal as StoreFileError).message).to.include(`(it holds ${others})`);
    }
  });

  it('keeps a userid of as many bytes as the layout of a record has a number for', async () => {
    for (const isRaised of [false, true]) {
      if (isRaised) await store.raise();
      const userid = `${isRaised}`.padEnd(0x7fff, 'x');
      const { handle } = await insert({ userid, data: '{"a":1}' });
      expect(await store.read(handle, now)).to.include({ userid, data: '{"a":1}', epoch: 0 });
      expect(await store.list(userid, now)).to.have.length(1);
      expect(await store.walk(now, { limit: 9, useridPrefix: userid })).to.have.length(1);
    }
  });

  it('keeps its time for those that open it later, and tells where the machine says another', async () => {
    store.clock.keep();
    await until(() => store.fact('clock'));
    const kept = store.fact<ClockMark>('clock')!;
    expect(kept.time).to.be.within(now - 1000, Date.now() + 1000);
    const jumps: (number | undefined)[] = [];
    const events = { onJump: (skew: number | undefined) => jumps.push(skew) };
    expect(openStore('store', events).clock.isDoubtful).to.equal(false);
    expect(jumps).to.deep.equal([]);
    await store.changeFact<ClockMark>('clock', () => ({ ...kept, time: kept.time + 1e7 }));
    expect(openStore('store', events).clock.isDoubtful).to.equal(true);
    expect(jumps).to.have.length(1);
    expect(jumps[0]).to.be.within(-1e7 - 1000, -1e7 + 1000);
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

  it('claims its folder for as long as it is open', async () => {
    const claimed = join(folder, 'claimed');
    const opened = await EmbeddedStore.openClaimed(claimed);
    expect(await holdersOf(claimed)).to.deep.equal([process.pid]);
    await opened.close();
    expect(await holdersOf(claimed)).to.deep.equal([]);
    await rm(join(claimed, 'sessions.mdb-lock'), { force: true });
    await symlink(join(folder, 'none/lock'), join(claimed, 'sessions.mdb-lock'));
    const refusal = await reasonOf(() => EmbeddedStore.openClaimed(claimed));
    expect(refusal).to.be.instanceOf(StoreFileError);
    const { message, cause } = refusal as StoreFileError;
    expect(message).to.include(`the session store ${claimed}/sessions.mdb cannot be opened: `);
    expect(message).to.include((cause as Error).message);
    expect(await holdersOf(claimed)).to.deep.equal([]);
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

  it('writes as version 0.1.0 does until it is raised, and then so that that version finds no session', async () => {
    const seen: SessionRecord[] = [];
    for (const isRaised of [false, true]) {
      if (isRaised) await store.raise();
      const records = [await insert({ expires: now + 10 })];
      for (let n = 0; n < 4; n++) records.push(await insert());
      const [moved, written, extended, replaced] = records.map(({ handle }) => ({ handle, now }));
      const change = { touched: now, expires: now + 2e6 };
      await store.write(moved!, change);
      await store.sweep(now + 10, 10);
      await store.write(written!, { ...change, data: '{"a":1}' });
      await store.write(extended!, { ...change, about: '{}' });
      const { handle } = replaced!;
      expect(await store.replaceSealed({ handle, data: '{}' }, { handle, data: '{ }' })).to.equal(true);
      for (const { handle, secretHash } of records) {
        const value = await behind(join(folder, 'store'), (dbs) => dbs.records.get(handleBytes(handle))!);
        expect(value.readUInt16LE(80) > 0x7fff).to.equal(isRaised);
        expect(value.includes(secretHash)).to.equal(!isRaised);
      }
      seen.push(...records);
      for (const { handle, secretHash, userid } of seen) {
        const found = await store.read(handle, now);
        expect(found).to.include({ userid });
        expect(found!.secretHash.equals(secretHash)).to.equal(true);
      }
    }
  });

  it('keeps nothing besides a record that has no more, and nothing of a session that is gone', async () => {
    const besides = () => behind(join(folder, 'store'), ({ extras }) => [...extras.getKeys()].map(handleOf));
    const [none, ended, expired] = [
      await insert(),
      await insert({ ip: '::1' }),
      await insert({ about: '{}', expires: now + 10 }),
    ];
    const { handle } = none;
    const change = { touched: now + 1, expires: now + 2e6 };
    await store.write({ handle, now }, change);
    await store.rewrite({ handle, now }, change, () => '{"b":1}');
    await store.replaceSealed({ handle, data: '{"b":1}' }, { handle, data: '{"c":1}' });
    expect(await besides()).to.have.members([ended.handle, expired.handle]);
    await store.remove({ handle: ended.handle, now }, 'end');
    expect(await besides()).to.deep.equal([expired.handle]);
    await store.sweep(now + 10, 10);
    expect(await besides()).to.deep.equal([]);
    await insert({ userAgent: 'Browser/1' });
    await store.beginGeneration(false);
    const left = await behind(join(folder, 'store'), ({ meta, ...others }) =>
      Object.values(others).flatMap((each) => [...each.getKeys()]),
    );
    expect(left).to.deep.equal([]);
  });

  it('is due in the millisecond in which a session ends, by the first of its times', async () => {
    for (const first of [{ expires: now + 50 }, { ends: now + 50 }]) {
      for (const extras of [{}, { about: '{}' }]) {
        const { handle, expires } = await insert({ ...first, ...extras });
        for (let n = 0; n < 3; n++)
          await store.write({ handle, now }, { touched: now, expires, ip: `::${n}` });
        expect(store.isSweepDue(now + 49)).to.equal(false);
        expect(store.isSweepDue(now + 50)).to.equal(true);
        const swept = await store.sweep(now + 50, 10);
        expect(swept).to.include({ removed: 1, more: false });
        expect(swept.late).to.be.within(0, 1);
      }
    }
  });

  it('takes for live what another process makes while that is still ending everyone', async () => {
    const other = openStore();
    expect([store.epoch(), other.epoch()]).to.deep.equal([0, 0]);
    const ending = other.endEveryone();
    await until(() => other.epoch() === 1);
    const record = await insert({}, other);
    expect(await store.read(record.handle, now)).to.include({ handle: record.handle });
    await ending;
    const late = 3000;
    expect((await store.sweep(other.everyoneAt() + late, 10)).late).to.equal(late);
  });

  it('says how large its file is, of which a compact copy has nothing free', async () => {
    const large = { about: JSON.stringify({ large: 'x'.repeat(9000) }), data: `{"a":"${'x'.repeat(9000)}"}` };
    const records = await Promise.all(Array.from({ length: 300 }, (_, n) => insert(n ? {} : large)));
    await store.removeEach(
      records.slice(150).map(({ handle }) => ({ handle, now })),
      'limit',
    );
    await store.changeFact('large', () => ({ text: 'x'.repeat(9000) }));
    expect(store.file.size().free).to.be.above(0);
    // LMDB's own copy has only the pages that are in use.
    await mkdir(join(folder, 'compact'));
    const root = openLmdb(join(folder, 'store/sessions.mdb'), { overlappingSync: false });
    await root.backup(join(folder, 'compact/sessions.mdb'), true).finally(() => root.close());
    const { size } = await stat(join(folder, 'compact/sessions.mdb'));
    expect(openStore('compact').file.size()).to.deep.equal({ bytes: size, free: 0 });
    await store.backup(join(folder, 'copy'));
    expect(openStore('copy').file.size().bytes).to.be.at.most(size + 40 * 4096);
    expect(await mark('copy')).to.deep.equal({ store: 'sessman', format: 1 });
  });

  it('counts more than twenty thousand only about, and names a thousand damaged ones at most', async () => {
    const told: string[] = [];
    const large = openStore('large', { onDamaged: (part: string) => told.push(part) });
    const keys = Array.from({ length: 20_001 }, (_, n) => Buffer.from(`key of ${100_000 + n}`));
    const change = (work: Parameters<typeof behind>[1]) =>
      behind(join(folder, 'large'), (dbs) => dbs.records.transactionSync(() => work(dbs)));
    await change(({ records }) => {
      for (const key of keys) records.putSync(key, Buffer.from('damaged'), 1);
    });
    expect(await large.countLive(now)).to.deep.equal({ count: 20_001, exact: false });
    expect(told).to.deep.equal([]);
    await change(({ records }) => records.removeSync(keys[0]!));
    expect(await large.countLive(now)).to.deep.equal({ count: 0, exact: true });
    expect(told).to.deep.equal(keys.slice(1, 1001).map((key) => `session ${handleOf(key)}`));
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

  it('removes no more old notes in one step than it may, whoever wrote them', async () => {
    const other = openStore();
    const ended = now - noteLifetime;
    for (let n = 0; n < 7; n++) {
      const on = n < 3 ? store : other;
      const { handle } = await insert({ created: ended - 9, touched: ended - 9 }, on);
      await on.remove({ handle, now: ended + n }, 'end');
    }
    for (const left of [2, 0]) {
      const step = await store.sweep(now + 100, 5);
      expect(step).to.include({ removed: 0, more: true });
      expect(step.late).to.be.within(94, 100);
      expect(store.notes().notes).to.have.length(left);
    }
    expect(await store.sweep(now + 100, 5)).to.deep.equal({ removed: 0, more: false });
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

  it('clears away the note of an earlier end after that of a later one, which a clock that is behind has dated', async () => {
    const other = openStore();
    const made = now - 2 * noteLifetime;
    const record = await insert({ created: made, touched: made });
    await store.remove({ handle: record.handle, now }, 'end');
    await insert({ handle: record.handle });
    await other.remove({ handle: record.handle, now: now - noteLifetime - 1 }, 'login');
    const left = () => store.notes().notes.map(({ reason }) => reason);
    expect(left()).to.have.members(['end', 'login']);
    await store.sweep(now, 100);
    expect(left()).to.deep.equal(['end']);
    expect(store.noteOf(record.handle, now)).to.equal(undefined);
    await store.sweep(now + noteLifetime + 1, 100);
    expect(left()).to.deep.equal([]);
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

  it('counts and walks over the live ones of more than it reads in one turn', async () => {
    await Promise.all(Array.from({ length: 250 }, (_, n) => insert({ expires: now + (n % 5 ? 10 : 20) })));
    for (const useridPrefix of [undefined, '', 'a']) {
      for (const [at, live] of [
        [now, 250],
        [now + 10, 50],
      ] as const) {
        const walked = await store.walk(at, { limit: 1000, useridPrefix });
        expect(new Set(walked.map(({ handle }) => handle)).size).to.equal(live);
      }
    }
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
    for (const name of ['of its processes', 'clock']) await store.changeFact(name, () => ({ told: true }));
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
      expect(copy.fact('clock')).not.to.equal(undefined);
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
