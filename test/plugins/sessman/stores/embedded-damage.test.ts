import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { Database } from 'lmdb';
import { checksum, withChecksum } from '../../../../databases/lmdb/checksum.js';
import { StoreDamagedError } from '../../../../plugins/sessman/errors.js';
import {
  extrasOf,
  NEVER,
  noteLifetime,
  type Scrubbed,
  type ScrubPlace,
  type SessionRecord,
} from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { expiryKey, userKey } from '../../../../plugins/sessman/stores/embedded/keys.js';
import {
  encodeExtras,
  encodeRecord,
  hasExtras,
  indexedFor,
  isPlausible,
  mayHaveExtras,
} from '../../../../plugins/sessman/stores/embedded/record.js';
import { handleBytes } from '../../../../plugins/sessman/stores/embedded/records.js';
import { checksumIn, revisionAfter } from '../../../../plugins/sessman/stores/embedded/revision.js';
import { runProgram } from '../../../support/process.js';
import { startServer, type TestServer } from '../../../support/server.js';
import { behind } from '../support/embedded.js';

const command = fileURLToPath(
  new URL('../../../../plugins/sessman/stores/embedded/scrub-command.js', import.meta.url),
);

describe('damage to a session in a running embedded store', () => {
  let server: TestServer;
  let id: string;
  const filling = 'x'.repeat(20_000);

  beforeEach(async () => {
    server = await startServer();
    const answer = await post('new', { userid: 'ann', data: { filling } });
    id = ((await answer.json()) as { session_id: string }).session_id;
  });
  afterEach(() => server.close());

  const post = (path: string, body: object) =>
    server.fetch(`/sessman/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
  const get = () => server.fetch('/sessman/get', { headers: { 'x-session-id': id } });

  /** Overwrites a piece of the session's data where the store keeps it. */
  async function damage(bytes: Buffer): Promise<void> {
    const path = join(server.folder, 'data/sessman/store/sessions.mdb');
    const at = (await readFile(path)).indexOf('x'.repeat(5000));
    const file = await open(path, 'r+');
    await file.write(bytes, 0, bytes.length, at + 4000);
    await file.close();
  }

  for (const [what, bytes] of [
    ['noise', randomBytes(4096)],
    ['zeros', Buffer.alloc(4096)],
  ] as const) {
    it(`by ${what} is answered 503, and never served`, async () => {
      await damage(bytes);
      const answer = await get();
      expect(answer.status).to.equal(503);
      expect(await answer.json()).to.include({ code: 'store_damaged' });
      const patched = await post('patch', { session_id: id, data: { a: 1 } });
      expect(patched.status).to.equal(503);
    });
  }

  it('leaves the session able to be ended, and is reported with its handle', async () => {
    await damage(randomBytes(4096));
    expect((await get()).status).to.equal(503);
    expect((await post('update', { session_id: id, data: { a: 1 } })).status).to.equal(503);
    expect((await server.fetch('/sessman/list?userid=ann')).status).to.equal(503);
    const told = server.logs.filter(({ msg }) => /^session \S+ is damaged/.test(msg));
    expect(told.map(({ msg }) => msg).join())
      .to.include(id.slice(0, 16))
      .and.not.include(id.slice(16));
    expect(told).to.have.length(1);
    const metrics = await (await server.fetch('/metrics')).text();
    expect(metrics).to.match(/^sessman_store_errors_total\{.*code="store_damaged".*\} \d+$/m);
    expect((await post('end', { session_id: id })).status).to.equal(200);
    expect((await get()).status).to.equal(404);
    expect(await (await server.fetch('/sessman/list?userid=ann')).json()).to.deep.equal({ sessions: [] });
  });

  it('is not seen in data that holds the replacement character itself', async () => {
    const data = { text: 'a \ufffd b', nul: '\0' };
    const answer = await post('update', { session_id: id, data });
    expect(answer.status).to.equal(200);
    expect(((await (await get()).json()) as { data: object }).data).to.deep.equal(data);
  });
});

describe('bytes that change in an embedded store', () => {
  let folder: string;
  let store: EmbeddedStore;
  let told: string[];
  const now = Date.now();
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    told = [];
    store = EmbeddedStore.open(folder, { onDamaged: (part) => told.push(part) });
  });
  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  const record = (userid: string, extras: Partial<SessionRecord> = {}): SessionRecord => ({
    handle: randomBytes(12).toString('base64url'),
    secretHash: randomBytes(32),
    userid,
    data: '{"a":1}',
    version: 1,
    created: now - 5000,
    touched: now - 4000,
    expires: now + 60_000,
    ends: now + 600_000,
    ...extras,
  });
  /** What the call returns; `damaged` where it is refused. */
  const outcome = async (call: () => unknown): Promise<unknown> => {
    try {
      return await call();
    } catch (error) {
      if (error instanceof StoreDamagedError) return 'damaged';
      throw error;
    }
  };
  const file = () => join(folder, 'sessions.mdb');
  /** Changes the file as a disk does, below LMDB's map. Returns how often the bytes were found. */
  const change = (bytes: Buffer, to: Buffer): number => {
    const whole = readFileSync(file());
    const fd = openSync(file(), 'r+');
    let count = 0;
    for (let at = whole.indexOf(bytes); at >= 0; at = whole.indexOf(bytes, at + 1), count++) {
      writeSync(fd, to, 0, to.length, at);
    }
    closeSync(fd);
    return count;
  };

  it('are never answered, whichever bit of a record and its extras it is', async () => {
    const extras = { about: '{"device":"phone"}', ip: '192.0.2.7', remember: false };
    const [one, other] = [record('ann', extras), record('ann')];
    await store.insert(one);
    await store.insert(other);
    const size = 8 + 82 + 3 + 7;
    let refused = 0;
    for (const [target, start, length] of [
      [one, one.secretHash, size],
      [other, other.secretHash, size],
      [one, Buffer.from('{"remember":false'), 60],
    ] as const) {
      const whole = readFileSync(file());
      const found = whole.lastIndexOf(start) - (start === target.secretHash ? 8 : 4);
      const read = () => [
        outcome(() => store.read(target.handle, now)),
        outcome(() => store.peek(target.handle, now)),
        outcome(async () => (await store.list('ann', now)).find(({ handle }) => handle === target.handle)),
        outcome(async () =>
          (await store.walk(now, { limit: 9 })).find(({ handle }) => handle === target.handle),
        ),
      ];
      const right = await Promise.all(read());
      const fd = openSync(file(), 'r+');
      for (let at = found; at < found + length; at++) {
        writeSync(fd, Buffer.from([whole[at]! ^ (1 << (at % 8))]), 0, 1, at);
        const seen = await Promise.all(read());
        const isRefused = seen.slice(0, 3).every((each) => each === 'damaged') && seen[3] === undefined;
        if (isRefused) refused++;
        // Some bits of a revision say nothing of the record.
        else expect(seen, `byte ${at - found}`).to.deep.equal(right);
        writeSync(fd, whole, at, 1, at);
      }
      closeSync(fd);
    }
    expect(refused).to.be.greaterThan(2 * size + 60 - 12);
    expect(told).to.have.members([`session ${one.handle}`, `session ${other.handle}`]);
  });

  it('of a record moved to another handle are refused', async () => {
    const [one, other] = [record('ann'), record('ann')];
    await store.insert(one);
    await store.insert(other);
    await behind(folder, ({ records }) => {
      const entries = [...records.getRange({ versions: true })];
      const [from, to] = [one, other].map(
        ({ handle }) => entries.find(({ key }) => key.toString('base64url') === handle)!,
      );
      records.putSync(to!.key, Buffer.from(from!.value), from!.version!);
    });
    expect(await store.read(one.handle, now)).to.include({ handle: one.handle });
    expect(await outcome(() => store.read(other.handle, now))).to.equal('damaged');
    const silent = EmbeddedStore.open(folder);
    expect(await outcome(() => silent.read(other.handle, now))).to.equal('damaged');
    await silent.close();
  });

  it('of an epoch refuse every session, and of a note tell nothing wrong', async () => {
    const ended = record('ann');
    await store.insert(ended);
    await store.remove({ handle: ended.handle, now }, 'end');
    expect(store.noteOf(ended.handle, now)).to.include({ reason: 'end', userid: 'ann' });
    expect(change(Buffer.from('"userid":"ann"'), Buffer.from('"userid":"amn"'))).to.be.greaterThan(0);
    expect(store.noteOf(ended.handle, now)).to.equal(undefined);
    expect(store.notes().notes).to.deep.equal([]);

    const [gone, live] = [record('bob'), record('bob')];
    await store.insert(gone);
    await store.endEveryone();
    await store.insert(live);
    expect(change(Buffer.from('{"epoch":1,'), Buffer.from('{"epoch":3,'))).to.be.greaterThan(0);
    await pause(300);
    for (const { handle } of [live, gone])
      expect(await outcome(() => store.read(handle, now))).to.equal('damaged');
    expect(await outcome(() => store.insert(record('bob')))).to.equal('damaged');
    expect(told).to.deep.equal(['the epoch']);
  });

  it('leave a record that its user can end, and that is removed when its time comes', async () => {
    const [one, other] = [record('ann'), record('ann', { data: '{"b":2}' })];
    await store.insert(one);
    await store.insert(other);
    change(Buffer.from('{"a":1}'), Buffer.from('{"a":3}'));
    change(Buffer.from('{"b":2}'), Buffer.from('{"b":3}'));
    const wrong = { handle: one.handle, secretHash: randomBytes(32), now };
    expect(await outcome(() => store.remove(wrong, 'end'))).to.equal('damaged');
    expect(await store.remove({ handle: one.handle, userid: 'bob', now }, 'end')).to.equal(false);
    expect(await store.remove({ handle: one.handle, userid: 'ann', now }, 'end')).to.equal(true);
    expect(store.noteOf(one.handle, now)).to.include({ userid: 'ann', reason: 'end' });
    expect(await outcome(() => store.list('ann', now))).to.equal('damaged');
    await store.sweep(now + 60_001, 100);
    expect(store.count()).to.equal(0);
    expect(await store.list('ann', now)).to.deep.equal([]);
  });

  it('are refused by a list where the key of a record is hit, and hold up no sweep', async () => {
    const [one, other] = [record('ann'), record('ann')];
    await store.insert(one);
    await store.insert(other);
    const key = Buffer.from(one.handle, 'base64url');
    await behind(folder, ({ records }) => records.removeSync(key));
    expect(await outcome(() => store.list('ann', now))).to.equal('damaged');
    expect(await store.removeOfUser('ann', now)).to.equal(1);
    expect(await store.sweep(now + 60_001, 1)).to.deep.include({ removed: 0, more: true });
    expect(store.isSweepDue(now + 60_001)).to.equal(false);
  });

  const scrub = async () => {
    const all = { records: 0, damaged: [] as string[], repaired: 0 };
    for (let place: ScrubPlace | undefined, step: Scrubbed | undefined; step === undefined || place; ) {
      step = await store.file.scrub(place, 0);
      place = step.next;
      all.records += step.records;
      all.damaged.push(...step.damaged);
      all.repaired += step.repaired;
    }
    return all;
  };
  it('are found by a scrub, also where the key of a record was hit, and the indexes put right', async () => {
    const made = Array.from({ length: 100 }, (_, i) => record(`user${i % 7}`, { expires: now + 60_000 + i }));
    for (const each of made) await store.insert(each);
    expect(await scrub()).to.deep.equal({ records: 100, damaged: [], repaired: 0 });
    const [hidden, unlisted, unswept] = made as [SessionRecord, SessionRecord, SessionRecord];
    const other = randomBytes(12);
    const keysOf = (db: Database<Buffer, Buffer>) => [...db.getKeys()].map((key) => Buffer.from(key));
    await behind(folder, (dbs) => {
      const { records } = dbs;
      const entry = [...records.getRange({ versions: true })].find(
        ({ key }) => key.toString('base64url') === hidden.handle,
      )!;
      records.putSync(other, Buffer.from(entry.value), entry.version!);
      records.removeSync(Buffer.from(hidden.handle, 'base64url'));
      for (const [name, { handle }] of [
        ['byUser', unlisted],
        ['byExpiry', unswept],
      ] as const) {
        const bytes = Buffer.from(handle, 'base64url');
        const key = keysOf(dbs[name]).find((each) => each.subarray(-12).equals(bytes))!;
        dbs[name].removeSync(key);
        key[3]! ^= 4;
        dbs[name].putSync(key, Buffer.from([1]));
      }
    });
    expect(await store.read(hidden.handle, now)).to.equal(undefined);
    expect(await store.list(unlisted.userid, now)).to.have.length(14);
    expect(await scrub()).to.deep.equal({
      records: 100,
      damaged: [other.toString('base64url')],
      // Two entries that were missing, two in their places, and the two of the hidden record.
      repaired: 6,
    });
    expect(told).to.deep.equal([`session ${other.toString('base64url')}`]);
    expect(await store.list(unlisted.userid, now)).to.have.length(15);
    expect(await store.file.removeDamaged(unlisted.handle)).to.equal(false);
    expect(await store.file.removeDamaged(other.toString('base64url'))).to.equal(true);
    expect(await scrub()).to.deep.equal({ records: 99, damaged: [], repaired: 0 });
  });

  it('of what few records have besides are refused where that is certain to be there, else it is none', async () => {
    const besides = { about: '{"a":1}' };
    const own = (of: SessionRecord, created = of.created) =>
      withChecksum(handleBytes(of.handle), encodeExtras(besides, created));
    const earlier = (of: SessionRecord) => own(of, of.created - 1);
    const changed = (of: SessionRecord) => {
      const bytes = own(of);
      bytes[9]! ^= 1;
      return bytes;
    };
    // The fraction says what a record has; version 0.1.0 writes none.
    const [some, none, unknown] = [0.5, 0.75, 0];
    for (const [what, fraction, entry, expected] of [
      ['it is there', some, own, besides],
      ['it is gone', some, undefined, 'damaged'],
      ['it is of an earlier session', some, earlier, 'damaged'],
      ['it is changed', some, changed, 'damaged'],
      ['there is none', none, undefined, {}],
      ['some is left over', none, own, {}],
      ['what is left over is changed', none, changed, {}],
      ['it is there, unknown', unknown, own, besides],
      ['there is none, unknown', unknown, undefined, {}],
      ['it is of an earlier session, unknown', unknown, earlier, {}],
      ['it is changed, unknown', unknown, changed, 'damaged'],
    ] as const) {
      const one = record('ann');
      const key = handleBytes(one.handle);
      await behind(folder, ({ records, extras }) => {
        const value = encodeRecord(one, one.expires - fraction, 0, false);
        records.putSync(key, value, revisionAfter(0, checksum(key, value)));
        if (entry) extras.putSync(key, entry(one));
      });
      const read = async () => extrasOf((await store.read(one.handle, now))!) ?? {};
      expect(await outcome(read), what).to.deep.equal(expected);
    }
  });

  it('of a record of version 0.1.0 are refused where they are not those of a session', async () => {
    const [one, wrong, cut] = [record('ann'), record('ann'), record('ann')];
    await behind(folder, ({ records }) => {
      for (const each of [one, wrong, cut]) {
        const value = encodeRecord(each, each.expires, 0, false);
        if (each === wrong) value.writeDoubleLE(0.5, 32);
        records.putSync(handleBytes(each.handle), value.subarray(0, each === cut ? 81 : undefined), 1);
      }
    });
    expect(await store.read(one.handle, now)).to.deep.equal({ ...one, indexed: one.expires, epoch: 0 });
    for (const { handle } of [wrong, cut])
      expect(await outcome(() => store.read(handle, now))).to.equal('damaged');
    const unchecked = async () => (await store.file.scrub(undefined, 60_000)).unchecked;
    expect(await unchecked()).to.equal(1);
    await store.write({ handle: one.handle, now }, { touched: now, expires: now + 60_000 });
    expect(await unchecked()).to.equal(0);
  });

  it('of what holds for the whole store count as nothing; version 0.1.0 writes one duty without a checksum', async () => {
    const put = (name: string, text: string) =>
      behind(folder, ({ meta }) => meta.putSync(name as never, Buffer.from(text), 1));
    const holder = { owner: 'old', until: now + 1000 };
    await put('sweeper', JSON.stringify(holder));
    expect(await store.lease('sweeper', 'new', now, now + 1)).to.equal(undefined);
    expect(await store.lease('sweeper', 'old', now, now + 1000)).to.be.a('number');
    expect(await store.lease('sweeper', 'new', now, now + 1)).to.equal(undefined);
    for (const [name, text] of [
      ['scrubber', JSON.stringify(holder)],
      ['sweeper', JSON.stringify({ ...holder, crc: 7 })],
      ['sweeper', 'not JSON'],
      ['sweeper', ''],
    ] as const) {
      await put(name, text);
      expect(await store.lease(name, 'new', now, now + 1), text).to.be.a('number');
    }
    await put('fact', '{"a":1}');
    expect(store.fact('fact')).to.equal(undefined);
    await store.changeFact('fact', (before) => ({ before: before ?? null }));
    expect(store.fact('fact')).to.deep.equal({ before: null });
  });

  it("of an index that lead to somebody else's session are refused by a list", async () => {
    for (const isRaised of [false, true]) {
      if (isRaised) await store.raise();
      const own = record(`ann ${isRaised}`);
      await store.insert(own);
      for (const userid of [`${own.userid}a`, own.userid.slice(0, -1), own.userid.toUpperCase()]) {
        const other = record(userid);
        const entry = userKey(own.userid, handleBytes(other.handle));
        await store.insert(other);
        await behind(folder, ({ byUser }) => byUser.putSync(entry, Buffer.from([1])));
        expect(await outcome(() => store.list(own.userid, now)), userid).to.equal('damaged');
        expect(told.pop()).to.equal(`session ${other.handle}`);
        await behind(folder, ({ byUser }) => byUser.removeSync(entry));
      }
      expect(await store.list(own.userid, now)).to.have.length(1);
    }
  });

  it('of a userid leave a record that can be ended, and a note where the user is known', async () => {
    const [one, other] = [record('ann', { data: '{"u":1}' }), record('ann', { data: '{"u":2}' })];
    for (const each of [one, other]) {
      await store.insert(each);
      expect(change(Buffer.from(`ann${each.data}`), Buffer.from('amn'))).to.be.greaterThan(0);
    }
    expect(await store.remove({ handle: one.handle, userid: 'ann', now }, 'end')).to.equal(true);
    const note = store.noteOf(one.handle, now);
    expect(note).to.include({ userid: 'ann', reason: 'end' });
    expect(note!.secretHash.equals(one.secretHash)).to.equal(true);
    const { handle, secretHash } = other;
    expect(await store.remove({ handle, secretHash, now }, 'end')).to.equal(true);
    expect(store.noteOf(handle, now)).to.equal(undefined);
    expect(await store.read(handle, now)).to.equal(undefined);
    // The index still names it, by a user whom the record did not.
    expect(await scrub()).to.deep.equal({ records: 0, damaged: [], repaired: 1 });
    expect(await store.list('ann', now)).to.deep.equal([]);
  });

  it('cut a record short, which can be ended all the same, and is removed when its time comes', async () => {
    const [one, other] = [record('ann'), record('ann')];
    for (const each of [one, other]) {
      await store.insert(each);
      await behind(folder, ({ records }) => {
        const value = encodeRecord(each, each.expires, 0, false).subarray(0, 10);
        records.putSync(handleBytes(each.handle), value, revisionAfter(0, 1));
      });
      expect(await outcome(() => store.read(each.handle, now))).to.equal('damaged');
    }
    expect(await store.remove({ handle: one.handle, userid: 'ann', now }, 'end')).to.equal(true);
    expect(store.count()).to.equal(1);
    expect(await store.sweep(now + 60_000, 10)).to.include({ removed: 1 });
    expect(store.count()).to.equal(0);
  });

  it('hold up nothing that goes over many records', async () => {
    const made = Array.from({ length: 8 }, (_, n) => record('ann', { data: `{"n":${n}}` }));
    made.sort((a, b) => Buffer.compare(handleBytes(a.handle), handleBytes(b.handle)));
    for (const each of made) await store.insert(each);
    const handles = made.map(({ handle }) => handle);
    for (const { data } of made.slice(1, 4)) change(Buffer.from(data), Buffer.from('{"m"'));
    const live = [0, 4, 5, 6, 7].map((n) => handles[n]!);
    const peeked = store.peekEach(handles, now);
    expect(handles.map((handle) => peeked.get(handle)?.handle ?? peeked.get(handle))).to.deep.equal(
      handles.map((handle) => (live.includes(handle) ? handle : null)),
    );
    expect([...store.peekEach(handles, now + 60_000).values()]).to.deep.equal([null, null, null]);
    expect(await store.countLive(now)).to.deep.equal({ count: 5, exact: true });
    expect((await store.walk(now, { limit: 9 })).map(({ handle }) => handle)).to.deep.equal(live);
    const sealed = async (limit: number, after?: string) =>
      (await store.sealed(limit, after)).map(({ handle }) => handle);
    for (const limit of [1, 2, 3, 4]) expect(await sealed(limit)).to.deep.equal(live.slice(0, limit));
    expect(await sealed(9)).to.deep.equal(live);
    expect(await sealed(1, live[0])).to.deep.equal([live[1]]);
    const { handle, data } = made[1]!;
    expect(await store.replaceSealed({ handle, data }, { handle, data: '{}' })).to.equal(false);
    expect(await store.removeEach([{ handle, userid: 'ann', now }], 'limit')).to.equal(1);
    await store.endEveryone();
    for (let step = 0; step < 4; step++) await store.sweep(now, 2);
    expect(store.isSweepDue(now)).to.equal(false);
    expect(store.count()).to.equal(2);
    expect((await store.sweep(now + 60_000, 9)).removed).to.equal(2);
    expect(await store.file.removeDamaged(handle)).to.equal(false);
  });

  it('of a note, or of what names the note of a session, tell nothing of another, and are cleared away', async () => {
    const ended = [record('ann'), record('bob')];
    for (const each of ended) {
      await store.insert(each);
      await store.remove({ handle: each.handle, now }, 'end');
    }
    const [one, other] = ended.map(({ handle }) => handleBytes(handle));
    await behind(folder, ({ noteByHandle }) =>
      noteByHandle.putSync(one!, Buffer.from(noteByHandle.get(other!)!)),
    );
    expect(store.noteOf(ended[0]!.handle, now)).to.equal(undefined);
    expect(store.noteOf(ended[1]!.handle, now)).to.include({ userid: 'bob' });
    expect(change(Buffer.from('"userid":"ann"'), Buffer.from('"userid":"amn"'))).to.be.greaterThan(0);
    expect(store.notes().notes.map(({ userid }) => userid)).to.deep.equal(['bob']);
    await store.sweep(now + noteLifetime + 1, 10);
    expect(await behind(folder, ({ notes }) => [...notes.getKeys()])).to.deep.equal([]);
  });

  it('cut the key of an index entry short, which holds up no sweep, and which a scrub removes', async () => {
    const kept = record('ann');
    await store.insert(kept);
    const short = [Buffer.from([1]), expiryKey(now - 1, Buffer.alloc(0))];
    await behind(folder, ({ byUser, byExpiry }) => {
      for (const each of short) {
        byExpiry.putSync(each, Buffer.from([1]));
        byUser.putSync(each, Buffer.from([1]));
      }
    });
    for (const late of [0, 1])
      expect(await store.sweep(now, 1)).to.deep.equal({ removed: 0, more: true, late });
    expect(store.isSweepDue(now)).to.equal(false);
    expect((await scrub()).repaired).to.equal(2);
    expect(await scrub()).to.deep.equal({ records: 1, damaged: [], repaired: 0 });
    expect(await store.list('ann', now)).to.have.length(1);
  });

  it('are found by a command, and by a server in the background, which says so in its metrics', async () => {
    const expires = now + 3_600_000;
    const [one, two] = [record('ann', { data: '{"b":2}', expires }), record('bob', { expires })];
    await store.insert(one);
    await store.insert(two);
    change(Buffer.from('{"b":2}'), Buffer.from('{"b":3}'));
    await store.close();
    const server = await startServer({
      files: { 'sessman.json': JSON.stringify({ path: folder }) },
      ini: '[plugin_parms]\nsessman=json=sessman.json\n',
    });
    const figures = async () =>
      Object.fromEntries(
        [
          ...(await (await server.fetch('/metrics')).text()).matchAll(
            /^sessman_store_scrub_(\w+?)(?:\{[^}]*\})? (\S+)$/gm,
          ),
        ].map(([, name, value]) => [name, Number(value)]),
      );
    try {
      while ((await figures()).finished_timestamp_seconds === undefined) await pause(20);
      expect(await figures()).to.deep.include({ records: 2, damaged: 1, repaired: 0 });
      const run = (...args: string[]) => runProgram(process.execPath, [command, folder, ...args], '/');
      const found = await run();
      expect(found).to.deep.equal({
        status: 1,
        stdout: `session ${one.handle} is damaged\n2 records read: 1 damaged, 0 without a checksum; 0 index entries repaired\n`,
        stderr: '',
      });
      expect((await run('--remove')).status).to.equal(0);
      expect((await run()).stdout).to.match(/^1 records read: 0 damaged/);
    } finally {
      await server.close();
    }
  });
});

describe('a record without a checksum, of version 0.1.0', () => {
  const ends = Date.now() + 60_000;
  const record = (data: string): SessionRecord => ({
    handle: 'AAAAAAAAAAAAAAAA',
    secretHash: Buffer.alloc(32, 1),
    userid: 'mary',
    data,
    version: 1,
    created: ends - 90_000,
    touched: ends - 80_000,
    expires: ends - 1,
    ends,
  });
  const bytes = (data = '{"a":1}') => encodeRecord(record(data), ends, 0, false);
  const changed = (change: (buffer: Buffer) => unknown) => {
    const buffer = bytes();
    change(buffer);
    return buffer;
  };

  it('is taken for one only where its numbers and its text can be those of a session', () => {
    const NUL = String.fromCharCode(0);
    for (const good of [
      bytes(),
      bytes(''),
      bytes('{"a":"\ufffd"}'),
      encodeRecord({ ...record('{}'), ends: NEVER }, ends, 0, false),
      // Version 0.1.0 leaves the fraction alone that this one wrote.
      encodeRecord(record('{}'), indexedFor(ends, false), 0, false),
    ])
      expect(isPlausible(good, good.length)).to.equal(true);
    for (const [what, bad] of Object.entries({
      'no userid': changed((buffer) => buffer.writeUInt16LE(0, 80)),
      'a userid that is longer than the record': changed((buffer) => buffer.writeUInt16LE(12, 80)),
      'a version of 0': changed((buffer) => buffer.writeDoubleLE(0, 32)),
      'half a version': changed((buffer) => buffer.writeDoubleLE(1.5, 32)),
      'a time that is none': changed((buffer) => buffer.writeDoubleLE(Number.NaN, 40)),
      'a time before 1970': changed((buffer) => buffer.writeDoubleLE(-5, 56)),
      'an end after all ends': changed((buffer) => buffer.writeDoubleLE(2 * NEVER, 64)),
      'a NUL': bytes(`{"a":"${NUL}"}`),
      'text that is neither UTF-8 nor JSON': bytes('{"a":\ufffd}'),
    }))
      expect(isPlausible(bad, bad.length), what).to.equal(false);
    for (const size of [0, 40, 81])
      expect(isPlausible(bytes().subarray(0, size), size), `${size} bytes`).to.equal(false);
  });

  it('may have extras; one of this version says whether it has', () => {
    expect([ends, indexedFor(ends, true), indexedFor(ends, false)].map(mayHaveExtras)).to.deep.equal([
      true,
      true,
      false,
    ]);
    expect([ends, indexedFor(ends, true), indexedFor(ends, false)].map(hasExtras)).to.deep.equal([
      false,
      true,
      false,
    ]);
    for (const hasAny of [true, false]) {
      expect(indexedFor(ends, hasAny)).to.be.within(ends - 0.999, ends - 0.001);
    }
  });
});

describe('the revision of a record', () => {
  it('holds its checksum, and changes with each write', () => {
    for (const checksum of [0, 1, 0x80000000, 0xffffffff]) {
      let revision = revisionAfter(7, checksum);
      const seen = new Set<number>();
      for (let write = 0; write < 16; write++) {
        expect(checksumIn(revision)).to.equal(checksum);
        expect(Number.isSafeInteger(revision)).to.equal(true);
        seen.add(revision);
        revision = revisionAfter(revision, checksum);
      }
      expect(seen.size).to.equal(16);
      // As version 0.1.0 leaves it.
      for (const writes of [1, 65_535]) expect(checksumIn(revision + writes)).to.equal(undefined);
    }
  });

  it('is that of version 0.1.0, or nobody wrote it', () => {
    for (const old of [1, 2, 2 ** 40 - 1]) expect(checksumIn(old)).to.equal(undefined);
    for (const wrong of [0, -1, 1.5, Number.NaN, 2 ** 40, 2 ** 52 - 1, 2 ** 53])
      expect(checksumIn(wrong), `${wrong}`).to.be.NaN;
  });
});
