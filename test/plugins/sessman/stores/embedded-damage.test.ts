import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { open as openLmdb } from 'lmdb';
import { StoreDamagedError } from '../../../../plugins/sessman/errors.js';
import type { SessionRecord } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { startServer, type TestServer } from '../../../support/server.js';

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
    const key = ({ handle }: SessionRecord) => Buffer.from(handle, 'base64url');
    // The keys stay in order, by which they are found.
    const inOrder = [record('ann'), record('ann'), record('ann')].sort((a, b) => key(a).compare(key(b)));
    const [third, one, other] = inOrder as [SessionRecord, SessionRecord, SessionRecord];
    await store.insert(one);
    await store.insert(other);
    const swap = (from: SessionRecord, to: SessionRecord) => change(key(from), key(to));
    swap(one, third);
    expect(swap(other, one)).to.be.greaterThan(0);
    expect(await outcome(() => store.read(one.handle, now))).to.equal('damaged');
  });

  it('of an epoch refuse every session, and of a note tell nothing wrong', async () => {
    const ended = record('ann');
    await store.insert(ended);
    await store.remove({ handle: ended.handle, now }, 'end');
    expect(store.noteOf(ended.handle, now)).to.include({ reason: 'end', userid: 'ann' });
    expect(change(Buffer.from('"userid":"ann"'), Buffer.from('"userid":"amn"'))).to.be.greaterThan(0);
    expect(store.noteOf(ended.handle, now)).to.equal(undefined);
    expect(store.notes().notes).to.deep.equal([]);

    await store.endEveryone();
    const live = record('bob');
    await store.insert(live);
    expect(change(Buffer.from('{"epoch":1,'), Buffer.from('{"epoch":3,'))).to.be.greaterThan(0);
    await pause(300);
    expect(await outcome(() => store.read(live.handle, now))).to.equal('damaged');
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
    const root = openLmdb(file(), { overlappingSync: false });
    root.openDB('records', { encoding: 'binary', keyEncoding: 'binary', useVersions: true }).removeSync(key);
    await root.close();
    expect(await outcome(() => store.list('ann', now))).to.equal('damaged');
    expect(await store.removeOfUser('ann', now)).to.equal(1);
    expect(await store.sweep(now + 60_001, 1)).to.deep.equal({ removed: 0, more: true });
    expect(store.isSweepDue(now + 60_001)).to.equal(false);
  });
});
