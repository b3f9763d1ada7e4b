import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { expect } from 'chai';
import { Binary, type Collection, type Document, MongoClient } from 'mongodb';
import { type Logger, pino } from 'pino';
import { StoreError } from '../../../../plugins/sessman/errors.js';
import type { NotePlace, SessionRecord } from '../../../../plugins/sessman/store.js';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import { type MongoDatabase, sharedMongo } from '../../../support/mongodb.js';
import { recordAt } from '../support/embedded.js';
import { type MongoRelay, startMongoRelay } from '../support/mongo-relay.js';

interface Note extends Document {
  readonly _id: Binary;
}

describe('what MongoStore and the server say to each other', () => {
  const now = Date.now();
  const log = pino({ level: 'silent' });
  let place: MongoDatabase;
  let client: MongoClient;
  let relay: MongoRelay;
  let store: MongoStore;
  /** Every command since the test began, and what answers it in place of the server. */
  const seen: Document[] = [];
  let onCommand: (command: Document) => Document | undefined = () => undefined;
  const wake = new EventTarget();

  before(async () => {
    place = await (await sharedMongo()).createDatabase();
    client = new MongoClient(place.url());
    relay = await startMongoRelay(place.host, (command) => {
      seen.push(command);
      wake.dispatchEvent(new Event('command'));
      return onCommand(command);
    });
    store = await open();
  });
  after(async () => {
    await store?.close();
    relay?.close();
    await client?.close();
  });
  beforeEach(() => {
    seen.length = 0;
    onCommand = () => undefined;
  });

  const open = (options = '', to: Logger = log) =>
    MongoStore.open({
      server_url: `${relay.url}${options}`,
      username: place.user,
      password: place.password,
      database: place.database,
      collection: 'sessions',
      log: to,
    });
  const sessions = (): Collection<Note> => client.db(place.database).collection<Note>('sessions');
  const insert = async (change: Partial<SessionRecord> = {}): Promise<SessionRecord> => {
    const record = recordAt(now, change);
    await store.insert(record);
    return record;
  };
  const matchOf = ({ handle }: SessionRecord) => ({ handle, now });
  const sent = async (isMeant: (command: Document) => unknown): Promise<Document> => {
    for (;;) {
      const found = seen.find(isMeant);
      if (found) return found;
      await once(wake, 'command');
    }
  };
  const asksForChanges = ({ getMore, collection }: Document) => getMore && collection === '$cmd.aggregate';
  const opensChanges = ({ aggregate }: Document) => aggregate === 1;

  describe('changes', () => {
    // Which is reported, too.
    before(() => store.raise());

    /** Those that are told, as text, until the test ends. */
    const follow = async (of: MongoStore = store) => {
      const told: string[] = [];
      const ending = new AbortController();
      const changes = await of.changes((handle, isEnd) => {
        told.push(handle === undefined ? 'everyone' : `${handle}${isEnd ? ' ended' : ''}`);
        wake.dispatchEvent(new Event('told'));
      }, ending.signal);
      const until = async (count: number) => {
        while (told.length < count) await once(wake, 'told');
      };
      return { told, changes, until, ending };
    };

    it('are reported of sessions that change or end, and of the end of everyone, and nothing else', async () => {
      const [one, two, gone] = [await insert(), await insert(), await insert()];
      const { told, until, ending } = await follow();
      await insert();
      await store.lease('a duty', 'somebody', now, now + 1);
      await client
        .db(place.database)
        .collection('others')
        .insertOne({ _id: 'store' as never });
      await store.write(matchOf(one), { touched: now + 1, expires: now + 1e6 });
      await store.remove(matchOf(two), 'end');
      // Another one in its place.
      await store.insert({ ...recordAt(now), handle: two.handle });
      await sessions().deleteOne({ _id: new Binary(Buffer.from(gone.handle, 'base64url')) });
      await store.endEveryone();
      await until(5);
      ending.abort();
      expect(told).to.deep.equal([one.handle, `${two.handle} ended`, two.handle, gone.handle, 'everyone']);
    });

    it('let every call know at once that everyone was ended', async () => {
      const other = await open();
      const { until, ending } = await follow(other);
      try {
        const before = await other.epoch();
        const ended = store.endEveryone();
        await until(1);
        expect(await other.epoch()).to.equal(before + 1);
        await ended;
      } finally {
        ending.abort();
        await other.close();
      }
    });

    it('are asked for no longer than a connection waits, and no more after the end', async () => {
      for (const [options, wait] of [
        ['', 500],
        ['&socketTimeoutMS=600', 300],
        ['&socketTimeoutMS=0', 500],
      ] as const) {
        seen.length = 0;
        const of = await open(options);
        const { told, ending } = await follow(of);
        expect((await sent(asksForChanges)).maxTimeMS, options).to.equal(wait);
        ending.abort();
        await sent(({ killCursors }) => killCursors === '$cmd.aggregate');
        await store.remove(matchOf(await insert()), 'end');
        await of.close();
        expect(told).to.deep.equal([]);
      }
    });

    it('are not asked for where that has ended while they began', async () => {
      const ending = new AbortController();
      onCommand = (command) => {
        if (opensChanges(command)) ending.abort();
        return undefined;
      };
      const changes = await store.changes(() => {}, ending.signal);
      await sent(({ killCursors }) => killCursors === '$cmd.aggregate');
      await changes!.broken.then(
        () => expect.fail('they go on'),
        () => {},
      );
    });

    it('are reported from the first answer on', async () => {
      const handle = randomBytes(12);
      let isFirst = true;
      onCommand = (command) => {
        if (!asksForChanges(command) || !isFirst) return undefined;
        isFirst = false;
        const event = { _id: { _data: '00' }, of: new Binary(handle), ended: 'end' };
        const cursor = { id: command.getMore, ns: `${place.database}.$cmd.aggregate`, nextBatch: [event] };
        return { ok: 1, cursor };
      };
      const { told, ending } = await follow();
      expect(told).to.deep.equal([`${handle.toString('base64url')} ended`]);
      ending.abort();
    });

    it('break where the server has lost them, and can then be asked for again', async () => {
      const { changes } = await follow();
      onCommand = (command) =>
        asksForChanges(command)
          ? { ok: 0, code: 286, codeName: 'ChangeStreamHistoryLost', errmsg: 'the history is lost' }
          : undefined;
      const error = await changes!.broken.catch((thrown: unknown) => thrown);
      expect(error).to.be.an('error').with.property('message', 'the history is lost');
      onCommand = () => undefined;
      const record = await insert();
      const { told, until, ending } = await follow();
      await store.remove(matchOf(record), 'end');
      await until(1);
      expect(told).to.deep.equal([`${record.handle} ended`]);
      ending.abort();
    });

    it('are not asked for again where the server has none, but where it only could not answer', async () => {
      const of = await open();
      const answer = (code: number) => {
        seen.length = 0;
        onCommand = (command) =>
          opensChanges(command) ? { ok: 0, code, codeName: 'No', errmsg: 'not now' } : undefined;
      };
      try {
        for (const code of [6, 11602, 13436]) {
          answer(code);
          const error = await of.changes(() => {}, new AbortController().signal).catch((thrown) => thrown);
          expect(error, `${code}`).to.be.instanceOf(StoreError);
          expect(seen.some(opensChanges)).to.equal(true);
        }
        answer(40573);
        for (const asked of [true, false]) {
          seen.length = 0;
          expect(await of.changes(() => {}, new AbortController().signal)).to.equal(undefined);
          expect(seen.some(opensChanges)).to.equal(asked);
        }
      } finally {
        await of.close();
      }
    });
  });

  it('no read may keep the server busy for more than a second, and none brings data that nobody needs', async () => {
    const { handle, userid, data } = await insert({ data: '{"a":1}' });
    const reads: [string, () => unknown, boolean][] = [
      ['read', () => store.read(handle, now), true],
      ['peek', () => store.peek(handle, now), false],
      ['peekEach', () => store.peekEach([handle], now), false],
      ['list', () => store.list(userid, now), false],
      ['walk', () => store.walk(now, { limit: 1 }), false],
      ['walk of a user', () => store.walk(now, { limit: 1, useridPrefix: userid }), false],
      ['sealed', () => store.sealed(1), true],
      ['replaceSealed', () => store.replaceSealed({ handle, data: 'none' }, { handle, data }), false],
      ['fact', () => store.fact('none'), true],
      ['changeFact', () => store.changeFact('some', () => ({})), true],
      ['notes', () => store.notes(), false],
      ['noteOf', () => store.noteOf(handle, now), false],
      ['countLive', () => store.countLive(now), false],
      ['count', () => store.count(), false],
      ['sweep', () => store.sweep(now - 1e9, 1), false],
      ['isSweepDue', () => store.isSweepDue(now - 1e9), false],
      ['check', () => store.check(), true],
    ];
    for (const [name, read, hasData] of reads) {
      seen.length = 0;
      await read();
      const commands = seen.filter(({ find, count, aggregate }) => find ?? count ?? aggregate);
      expect(commands, name).not.to.deep.equal([]);
      for (const command of commands) {
        expect(command, name).to.include({ maxTimeMS: 1000 });
        if (command.find !== 'sessions' || hasData) continue;
        const { projection = {} } = command;
        const isWithout =
          projection.data === 0 || (!projection.data && Object.values(projection).includes(1));
        expect(isWithout, `${name} ${JSON.stringify(projection)}`).to.equal(true);
      }
    }
  });

  it('a write brings data back only where it did not send them', async () => {
    const record = await insert({ data: '{"a":1}' });
    const change = { touched: now, expires: now + 1e6 };
    for (const [more, projection] of [
      [{}, undefined],
      [{ data: '{"b":1}' }, { data: 0 }],
    ] as const) {
      seen.length = 0;
      await store.write(matchOf(record), { ...change, ...more });
      expect((await sent(({ findAndModify }) => findAndModify)).fields).to.deep.equal(projection);
    }
  });

  it('what the server refuses to write is an error, not a result', async () => {
    const record = await insert();
    const change = { touched: now, expires: now + 1e6 };
    const { handle, data } = record;
    const sealed = { handle, data };
    const writes: [string, () => Promise<unknown>][] = [
      ['insert', () => store.insert(recordAt(now))],
      ['write', () => store.write(matchOf(record), change)],
      ['rewrite', () => store.rewrite(matchOf(record), change, (data) => data)],
      ['remove', () => store.remove(matchOf(record), 'end')],
      ['removeEach', () => store.removeEach([matchOf(record)], 'end')],
      ['removeOfUser', () => store.removeOfUser(record.userid, now)],
      ['replaceSealed', () => store.replaceSealed(sealed, sealed)],
      ['changeFact', () => store.changeFact('some', () => ({}))],
      ['lease', () => store.lease('a duty', 'somebody', now, now + 1)],
    ];
    onCommand = (command) =>
      (command.insert ?? command.update ?? command.findAndModify)
        ? { ok: 0, code: 8, codeName: 'UnknownError', errmsg: 'broken' }
        : undefined;
    for (const [name, write] of writes) {
      const error = await write().catch((thrown: unknown) => thrown);
      expect(error, name).to.be.instanceOf(StoreError);
    }
    onCommand = () => undefined;
    expect(await store.read(record.handle, now)).to.include({ handle: record.handle });
  });

  it('counts the living one by one where there are few records', async () => {
    await insert();
    for (const [n, exact] of [
      [20_000, true],
      [20_001, false],
    ] as const) {
      onCommand = ({ count }) => (count ? { ok: 1, n } : undefined);
      const counted = await store.countLive(now);
      expect(counted.exact).to.equal(exact);
      expect(counted.count, `${n}`).to.satisfy((count: number) =>
        exact ? count > 0 && count < n : count === n,
      );
    }
  });

  it("says where the server's clock has jumped while it started", async () => {
    const lines: string[] = [];
    let reads = 0;
    onCommand = ({ hello, client: by, helloOk, topologyVersion }) => {
      if (!hello || by || helloOk || topologyVersion) return undefined;
      reads += 1;
      return { ok: 1, localTime: new Date(Date.now() + (reads === 3 ? 3_600_000 : 0)) };
    };
    const of = await open('', pino({}, { write: (line) => lines.push(line) }));
    await of.close();
    const told = lines.map((line) => JSON.parse(line)).filter(({ level }) => level === 40);
    expect(told).to.have.length(1);
    expect(told[0].msg).to.include("the MongoDB server's clock");
    expect(told[0].ms).to.be.closeTo(3_600_000, 60_000);
  });

  it('a handle whose session was ended goes to one of those who want it at once', async () => {
    const record = await insert();
    await store.remove(matchOf(record), 'end');
    const all = await Promise.all(
      Array.from({ length: 8 }, () => store.insert({ ...recordAt(now), handle: record.handle })),
    );
    expect(all.filter(Boolean)).to.have.length(1);
  });

  it('a rewriting gives up where others are faster each time', async () => {
    const record = await insert();
    onCommand = ({ findAndModify }) => (findAndModify ? { ok: 1, value: null } : undefined);
    const error = await store
      .rewrite(matchOf(record), { touched: now, expires: now + 1e6 }, (data) => data)
      .catch((thrown: unknown) => thrown);
    expect(error).to.deep.include({ status: 503, code: 'session_busy', headers: { 'Retry-After': '1' } });
    expect((error as Error).message).to.match(/^Too many clients are changing this session at once\. /);
    expect(seen.filter(({ findAndModify }) => findAndModify)).to.have.length(100);
    for (const { query } of seen.filter(({ findAndModify }) => findAndModify))
      expect(query.version).to.equal(1);
  });

  it('is swept until all that was ended with everyone is gone, but for the notes', async () => {
    const noted = await insert();
    await store.remove(matchOf(noted), 'end');
    await insert();
    await store.endEveryone();
    await store.epoch();
    expect(store.needsSweeping).to.equal(true);
    const before = await store.count();
    while (await store.isSweepDue(now - 1e9))
      expect(await store.sweep(now - 1e9, 100)).to.deep.equal({ removed: 0, more: true });
    expect(await store.sweep(now - 1e9, 100)).to.deep.equal({ removed: 0, more: false });
    await store.epoch();
    expect(store.needsSweeping).to.equal(false);
    expect(await store.count()).to.be.below(before);
    expect(await store.noteOf(noted.handle, now)).to.include({ handle: noted.handle, reason: 'end' });
  });

  it('is swept in steps, each from where the last one was, and from the beginning for a later end of everyone', async () => {
    for (let round = 0; round < 2; round++) {
      const noted = await Promise.all(Array.from({ length: 3 }, () => insert()));
      await store.removeEach(noted.map(matchOf), 'end');
      const records = await Promise.all(Array.from({ length: 3 }, () => insert()));
      await store.endEveryone();
      const starts: unknown[] = [];
      while (await store.isSweepDue(now - 1e9)) {
        seen.length = 0;
        await store.sweep(now - 1e9, 2);
        const { filter, projection } = seen.find(({ find }) => find === 'sessions')!;
        expect(projection).to.deep.equal({ _id: 1 });
        starts.push(filter._id?.$gt.toString('hex') ?? '');
      }
      expect(starts[0]).to.equal('');
      expect(starts).to.deep.equal([...new Set(starts)].sort());
      expect(starts.length).to.be.greaterThan(3);
      const ids = records.map(({ handle }) => new Binary(Buffer.from(handle, 'base64url')));
      expect(await sessions().countDocuments({ _id: { $in: ids } })).to.equal(0);
    }
  });

  it('is swept from the beginning where everyone is ended again before a sweep is through', async () => {
    for (let n = 0; n < 3; n++) await insert();
    await store.endEveryone();
    await store.sweep(now - 1e9, 2);
    const first = await insert({ handle: Buffer.alloc(12).toString('base64url') });
    await store.endEveryone();
    while (await store.isSweepDue(now - 1e9)) await store.sweep(now - 1e9, 2);
    expect(
      await sessions().countDocuments({ _id: new Binary(Buffer.from(first.handle, 'base64url')) }),
    ).to.equal(0);
  });

  it('is swept of what expired first', async () => {
    const [later, earlier] = [await insert({ expires: now - 1e8 }), await insert({ expires: now - 2e8 })];
    expect(await store.sweep(now, 1)).to.deep.equal({ removed: 1, more: true, late: 2e8 });
    const left = await sessions()
      .find({ expires: { $lt: new Date(now) } })
      .toArray();
    expect(left.map(({ _id }) => _id.toString('base64'))).to.deep.equal([
      Buffer.from(later.handle, 'base64url').toString('base64'),
    ]);
    expect(earlier.handle).not.to.equal(later.handle);
    await store.sweep(now, 1);
  });

  it('is asked for no session to find out whether it works, and goes on with other ends where one fails', async () => {
    const record = await insert();
    await store.check();
    expect((await sent(({ find }) => find === 'sessions')).filter).to.deep.equal({
      _id: new Binary(Buffer.alloc(0)),
    });
    await store.removeEach([matchOf(record)], 'end');
    expect((await sent(({ update }) => update === 'sessions')).ordered).to.equal(false);
  });

  it("leaves no secret's hash where version 0.1.0 finds one, once it was raised and the session is used", async () => {
    const of = await MongoStore.open({
      ...{ server_url: relay.url, username: place.user, password: place.password },
      ...{ database: place.database, collection: 'raising', log },
    });
    try {
      const record = recordAt(now);
      await of.insert(record);
      const secrets = async () => {
        const found = await client.db(place.database).collection('raising').findOne();
        return { secret: found!.secret?.buffer, verifier: found!.verifier?.buffer };
      };
      const { handle, secretHash } = record;
      expect(await secrets()).to.deep.equal({ secret: secretHash, verifier: undefined });
      await of.raise();
      await of.write({ handle, now }, { touched: now, expires: now + 1e6 });
      expect(await secrets()).to.deep.equal({ secret: secretHash, verifier: undefined });
      await of.write({ handle, secretHash, now }, { touched: now, expires: now + 1e6 });
      expect(await secrets()).to.deep.equal({ secret: undefined, verifier: secretHash });
    } finally {
      await of.close();
    }
  });

  it('says at the start that no earlier version can use what was raised', async () => {
    const lines: string[] = [];
    const to = pino({}, { write: (line) => lines.push(line) });
    const told = () => lines.join('').includes('requires this version of plugin-server, or a later one');
    const options = { server_url: relay.url, username: place.user, password: place.password };
    const openOther = () =>
      MongoStore.open({ ...options, database: place.database, collection: 'other', log: to });
    const first = await openOther();
    await first.raise();
    await first.close();
    expect(told()).to.equal(false);
    await (await openOther()).close();
    expect(told()).to.equal(true);
  });

  describe('notes', () => {
    /** A note that was written at that time. */
    const noteAt = (ended_at: number): Note => ({
      _id: new Binary(randomBytes(12)),
      userid: 'ann',
      ended: 'end',
      ends: new Date(0),
      expires: new Date(now + 1e6),
      ended_at: new Date(ended_at),
    });
    const handleOf = ({ _id }: Note) => Buffer.from(_id.buffer).toString('base64url');
    const at = now + 1e7;

    it('are read page by page, though many were written in one millisecond', async () => {
      const { place: from } = await store.notes();
      const notes = [
        ...Array.from({ length: 1100 }, () => noteAt(at)),
        ...Array.from({ length: 50 }, () => noteAt(at + 1)),
      ];
      await sessions().insertMany(notes);
      seen.length = 0;
      const read = await store.notes(from);
      expect(read.more).to.equal(false);
      expect(read.notes.map(({ handle }) => handle).sort()).to.deep.equal(notes.map(handleOf).sort());
      for (const { limit } of seen.filter(({ find }) => find)) expect(limit).to.equal(1000);
      expect((await store.notes(read.place)).notes).to.deep.equal([]);
    });

    it('are told though they become visible late, by up to five seconds', async () => {
      const { place: from } = await store.notes();
      const newest = noteAt(at + 20_000);
      await sessions().insertOne(newest);
      const { place: next } = await store.notes(from);
      const late = noteAt(at + 15_000);
      await sessions().insertOne(late);
      const read = await store.notes(next);
      expect(read.notes.map(({ handle }) => handle)).to.deep.equal([handleOf(late)]);
      const { notes, place: last } = await store.notes(read.place);
      expect(notes).to.deep.equal([]);
      // A place does not grow for as long as a host runs.
      expect((last as unknown as { seen: ReadonlyMap<string, number> }).seen).to.have.property('size', 2);
    });

    it('are read on from a place that another process has sent, some of them again', async () => {
      const [before, first] = [noteAt(at + 30_000), noteAt(at + 39_000)];
      await sessions().insertMany([before, first]);
      const { place: here } = await store.notes();
      const last = noteAt(at + 40_000);
      await sessions().insertOne(last);
      const there = JSON.parse(JSON.stringify(here)) as NotePlace;
      expect(there).to.deep.equal({ at: at + 39_000 });
      const read = await store.notes(there);
      expect(read.notes.map(({ handle }) => handle)).to.deep.equal([first, last].map(handleOf));
      expect((await store.notes(read.place)).notes).to.deep.equal([]);
    });
  });
});
