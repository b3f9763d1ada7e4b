import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type { SessionEnded } from 'plugin-server';
import sinon from 'sinon';
import type { NotePlace, SessionRecord, Store, TellChange } from '../../../../plugins/sessman/store.js';
import type { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { Feed } from '../../../../plugins/sessman/stores/feed.js';
import type { NewsMessage } from '../../../../plugins/sessman/stores/host-news.js';
import { makeChannel } from '../support/channel.js';
import { instead, openTemporary, recordAt, until } from '../support/embedded.js';

type Omitted<T> = T extends unknown ? Omit<T, 'from'> : never;

/** Ids of other processes: before and after all that a process gives itself. */
const [lesser, greater] = ['!', '~'];

describe('a process of a host', () => {
  let store: EmbeddedStore;
  let closeStore: () => Promise<void>;
  let clock: sinon.SinonFakeTimers;
  let bus: ReturnType<typeof makeChannel<NewsMessage>>;
  const stops: (() => Promise<void>)[] = [];
  beforeEach(async () => {
    ({ store, close: closeStore } = await openTemporary());
    bus = makeChannel();
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop();
    sinon.restore();
    await closeStore();
  });

  /** A process whose store reports changes when it is told so. It counts how often all of the store was read. */
  const start = (overridden: Partial<Store> = {}) => {
    const told = new Set<TellChange>();
    const counted = { reads: 0 };
    const on = instead(store, {
      async changes(tell, signal) {
        told.add(tell);
        signal.addEventListener('abort', () => told.delete(tell));
        return { broken: new Promise<never>(() => {}) };
      },
      epoch: () => {
        counted.reads += 1;
        return store.epoch();
      },
      ...overridden,
    });
    const ending = new AbortController();
    const errors: string[] = [];
    const onError = (error: unknown) => errors.push((error as Error).message);
    const feed = new Feed(on, { signal: ending.signal, onError, channel: bus.channel() });
    const stop = () => {
      ending.abort();
      return feed.stopped;
    };
    stops.push(stop);
    const ended: SessionEnded[] = [];
    const listen = async () => {
      const leave = feed.onEnded((end) => ended.push(end));
      // It reads what has ended before.
      await until(() => counted.reads > 0);
      await turns();
      counted.reads = 0;
      return leave;
    };
    const watch = (record: SessionRecord) => {
      const heard: number[] = [];
      const leave = feed.watch(record.handle, record, {
        secretHash: record.secretHash,
        changed: ({ version }) => heard.push(version),
        renewed: () => {},
        ended: () => leave(),
      });
      return { heard, leave };
    };
    const tell: TellChange = (handle, isEnd) => {
      for (const each of told) each(handle, isEnd);
    };
    return { counted, errors, stop, ended, listen, watch, tell };
  };
  type Process = ReturnType<typeof start>;

  /** What is sent arrives in the next turn, and what that makes others send in the one after. */
  const turns = async () => {
    for (let turn = 0; turn < 5; turn++) await nextTurn();
  };
  /** Another process says something. */
  const say = async (from: string, message: Omitted<NewsMessage>) => {
    bus.channel().publish({ from, ...message } as NewsMessage);
    await turns();
  };
  const reads = (count = 0, since = 1): Omitted<NewsMessage> => ({ kind: 'reads', since, count });
  /** What processes have said since this was asked last. */
  const said = () =>
    bus.sent
      .splice(0)
      .filter(({ from }) => from !== lesser && from !== greater)
      .map((message) => {
        if ('handles' in message) return `${message.kind} ${[...message.handles].sort()}`;
        if (message.kind === 'which') return `which ${message.of}`;
        return 'count' in message ? `${message.kind} ${message.count}` : message.kind;
      });
  /** Time passes, in steps in which messages arrive. */
  const pass = async (milliseconds: number, step = milliseconds) => {
    for (let left = milliseconds; left > 0; left -= step) {
      await clock.tickAsync(Math.min(step, left));
      await turns();
    }
  };
  const insert = async () => {
    const record = recordAt(Date.now());
    await store.insert(record);
    return record;
  };
  /** A session that was ended, as the database reports it. */
  const end = async (process: Process, record?: SessionRecord) => {
    const { handle } = record ?? (await insert());
    await store.remove({ handle, now: Date.now() }, 'end');
    process.tell(handle, true);
    return handle;
  };
  /** A process that reads, since when, and its id. */
  const reader = async (process = start()) => {
    const leave = await process.listen();
    await pass(150);
    const { from: id, since } = bus.sent.at(-1) as NewsMessage & { since: number };
    expect(said()).to.deep.equal(['hello', 'reads 0']);
    await until(() => process.counted.reads > 0);
    await turns();
    return { ...process, id, since, leave };
  };
  /** A process for which another one reads. */
  const follower = async (process = start()) => {
    const leave = await process.listen();
    const { from: id } = bus.sent[0]!;
    await pass(100);
    await say(lesser, reads());
    expect(said()).to.deep.equal(['hello', 'watches 0']);
    process.counted.reads = 0;
    return { ...process, id, leave };
  };

  it('asks who reads, reads itself when nobody answers, and says so until it leaves', async () => {
    const process = start();
    await process.listen();
    await pass(149);
    expect(said()).to.deep.equal(['hello']);
    await pass(1);
    expect(said()).to.deep.equal(['reads 0']);
    for (let beat = 0; beat < 3; beat++) {
      await pass(199);
      expect(said()).to.deep.equal([]);
      await pass(1);
      // It has read when all were ended.
      expect(said()).to.deep.equal(['reads 1']);
    }
    await process.stop();
    expect(said()).to.deep.equal(['leaves']);
    await say(greater, { kind: 'hello' });
    await say(lesser, reads());
    await pass(1000);
    expect(said()).to.deep.equal([]);
  });

  it('answers while it reads whoever asks, or has read for less long, and gives way to the others', async () => {
    const messages = (since: number, count: number) => [
      { kind: 'reads', since, count } as const,
      { kind: 'news', since, count, everyone: { epoch: 0, at: 0 } } as const,
    ];
    for (const n of [0, 1]) {
      for (const [from, earlier] of [
        [lesser, 0],
        [greater, 1],
      ] as const) {
        const { since, stop } = await reader();
        for (const message of [
          { kind: 'hello' } as const,
          messages(since, 0)[n]!,
          messages(since + 1, 0)[n]!,
        ]) {
          await say(greater, message);
          expect(said()).to.deep.equal(['reads 1']);
        }
        await say(lesser, messages(since + 1, 0)[n]!);
        expect(said()).to.deep.equal(['reads 1']);
        await say(from, messages(since - earlier, 0)[n]!);
        expect(said()).to.deep.equal(['watches 0']);
        // It answers no more.
        await say(greater, { kind: 'hello' });
        await pass(599, 200);
        expect(said()).to.deep.equal([]);
        await stop();
        expect(said()).to.deep.equal(['leaves']);
      }
    }
  });

  it('follows as long as it hears of the one that reads every 600 ms', async () => {
    sinon.stub(Math, 'random').returns(0.5);
    await follower();
    for (let beat = 0; beat < 4; beat++) {
      await pass(599);
      await say(lesser, reads());
      expect(said()).to.deep.equal([]);
    }
    // Others may leave.
    await say(greater, { kind: 'leaves' });
    await pass(599);
    expect(said()).to.deep.equal([]);
    // Of all that have lost it, each waits for another time.
    await pass(1 + 74);
    expect(said()).to.deep.equal([]);
    await pass(1);
    expect(said()).to.deep.equal(['reads 0']);
  });

  it('reads itself soon when the one that reads has left, unless another one was faster', async () => {
    sinon.stub(Math, 'random').returns(0.5);
    await follower();
    await say(lesser, { kind: 'leaves' });
    await pass(74);
    await say(greater, reads());
    expect(said()).to.deep.equal(['watches 0']);
    await pass(599);
    await say(greater, { kind: 'leaves' });
    await pass(74);
    expect(said()).to.deep.equal([]);
    await pass(1);
    expect(said()).to.deep.equal(['reads 0']);
  });

  it('tells the one that reads how many sessions it watches, every three seconds, and which when it asks', async () => {
    const process = start();
    const records = [await insert(), await insert(), await insert()];
    const [one, two, three] = records.map(({ handle }) => handle).sort();
    const [first, second] = [one, two].map((handle) =>
      process.watch(records.find((r) => r.handle === handle)!),
    );
    const { from: id } = bus.sent[0]!;
    await pass(100);
    // Nobody reads yet.
    expect(said()).to.deep.equal(['hello']);
    await say(lesser, reads());
    expect(said()).to.deep.equal(['watches 2']);
    for (let round = 0; round < 2; round++) {
      for (let beat = 0; beat < 5; beat++) {
        await pass(500);
        await say(lesser, reads());
      }
      expect(said()).to.deep.equal([]);
      await pass(500);
      await say(lesser, reads());
      expect(said()).to.deep.equal(['watches 2']);
    }
    await say(lesser, { kind: 'which', of: greater });
    expect(said()).to.deep.equal([]);
    await say(lesser, { kind: 'which', of: id });
    expect(said()).to.deep.equal([`watch ${one},${two}`]);
    const third = process.watch(records.find(({ handle }) => handle === three)!);
    first!.leave();
    expect(said()).to.deep.equal([`watch ${three}`, `unwatch ${one}`]);
    await say(lesser, { kind: 'which', of: id });
    expect(said()).to.deep.equal([`watch ${[two, three]}`]);
    // It tells another reader, and the same one that has begun again, that it is there.
    await say(greater, reads());
    await say(greater, reads());
    await say(greater, reads(0, 2));
    expect(said()).to.deep.equal(['watches 2', 'watches 2']);
    for (const { leave } of [second!, third]) leave();
    await until(() => bus.sent.some(({ kind }) => kind === 'leaves'));
  });

  it('asks for what another one watches when their counts differ, and tells it of these sessions', async () => {
    const process = await reader();
    const records = [await insert(), await insert(), await insert()];
    const handles = records.map(({ handle }) => handle);
    const [one, two, three] = handles as [string, string, string];
    const heads = () =>
      bus.sent.splice(0).flatMap((message) => (message.kind === 'news' ? (message.heads ?? []) : []));
    await say(greater, { kind: 'watches', count: 0 });
    expect(said()).to.deep.equal([]);
    await say(greater, { kind: 'watches', count: 2 });
    expect(said()).to.deep.equal([`which ${greater}`]);
    await say(greater, { kind: 'watch', handles: [one, two] });
    await until(() => bus.sent.some(({ kind }) => kind === 'news'));
    const told = heads();
    expect(told.find(([handle]) => handle === one)?.[1]).to.deep.equal({
      version: 1,
      touched: records[0]!.touched,
      expires: records[0]!.expires,
      ends: records[0]!.ends,
      secretHash: records[0]!.secretHash.toString('base64'),
    });
    expect(told.map(([handle]) => handle)).to.have.members([one, two]);
    await say(greater, { kind: 'watches', count: 2 });
    expect(said()).to.deep.equal([]);
    await say(greater, { kind: 'unwatch', handles: [one] });
    await say(greater, { kind: 'watches', count: 1 });
    expect(said()).to.deep.equal([]);
    // What it has heard of another one is not true any more.
    await say(greater, { kind: 'watches', count: 2 });
    expect(said()).to.deep.equal([`which ${greater}`]);
    await say(greater, { kind: 'watch', handles: [three] });
    await say(greater, { kind: 'watches', count: 1 });
    await until(() => bus.sent.some(({ kind }) => kind === 'news'));
    expect(heads().map(([handle]) => handle)).to.deep.equal([three]);
    const change = { touched: Date.now() + 1, expires: Date.now() + 1e6 };
    for (const handle of handles) {
      await store.write({ handle, now: Date.now() }, change);
      process.tell(handle, false);
    }
    await until(() => bus.sent.some(({ kind }) => kind === 'news'));
    expect(heads().map(([handle]) => handle)).to.deep.equal([three]);
    expect(process.errors).to.deep.equal([]);
  });

  it('tells nothing to nobody, and counts it, so that who comes meanwhile notices', async () => {
    const process = await reader();
    const beats = async (count: number) => {
      await pass(200);
      expect(said()).to.deep.equal([`reads ${count}`]);
    };
    await end(process);
    await until(() => process.ended.length === 1);
    await beats(2);
    await say(greater, { kind: 'watches', count: 0 });
    await end(process);
    await until(() => process.ended.length === 2);
    expect(said()).to.deep.equal(['news 3']);
    await say(greater, { kind: 'leaves' });
    await end(process);
    await until(() => process.ended.length === 3);
    await beats(4);
  });

  it('no longer reads for one that has said nothing for nine seconds', async () => {
    const process = await reader();
    const isTold = async () => {
      const { length } = process.ended;
      said();
      await end(process);
      await until(() => process.ended.length > length);
      return said().some((each) => each.startsWith('news'));
    };
    await say(greater, { kind: 'watches', count: 0 });
    await pass(5000, 200);
    await say(greater, { kind: 'watches', count: 0 });
    await pass(9000, 200);
    expect(await isTold()).to.equal(true);
    await pass(200);
    expect(await isTold()).to.equal(false);
    await say(greater, { kind: 'unwatch', handles: [] });
    expect(await isTold()).to.equal(true);
  });

  it('reads all of the store once for each message that it has missed, and again where that failed', async () => {
    const broken = { times: 0 };
    const process: Process = start({
      epoch: () => {
        process.counted.reads += 1;
        if (broken.times-- > 0) throw new Error('it is broken');
        return store.epoch();
      },
    });
    const { counted, ended, errors } = await follower(process);
    const news = (count: number): Omitted<NewsMessage> => {
      const { handle, userid, secretHash } = recordAt(1);
      const note = { handle, userid, reason: 'end', at: count, secretHash: secretHash.toString('base64') };
      return { kind: 'news', since: 1, count, notes: [note] } as Omitted<NewsMessage>;
    };
    for (const [message, all, heard] of [
      [reads(0), 0, 0],
      [news(1), 0, 1],
      [reads(1), 0, 1],
      [news(2), 0, 2],
      [news(4), 1, 3],
      [reads(4), 1, 3],
      [reads(5), 2, 3],
      [news(5), 3, 4],
      [news(6), 3, 5],
      // Another one, and one that has begun again.
      [reads(6, 2), 4, 5],
      [reads(6, 2), 4, 5],
    ] as const) {
      await say(lesser, message);
      expect([counted.reads, ended.length]).to.deep.equal([all, heard]);
    }
    broken.times = 2;
    for (const [count, all] of [
      [8, 5],
      [8, 6],
      [8, 7],
      [8, 7],
    ] as const) {
      await say(lesser, reads(count, 2));
      expect(counted.reads).to.equal(all);
    }
    expect(errors).to.deep.equal(['it is broken']);
  });

  it('goes on from where the one before had read', async () => {
    const places: (NotePlace | undefined)[] = [];
    const process = start({
      notes: (since) => {
        places.push(since);
        return { notes: [], place: { at: 1 }, more: false };
      },
    });
    await follower(process);
    await say(lesser, { kind: 'news', since: 1, count: 1, notes: [], place: { at: 7 } as NotePlace });
    await say(lesser, { kind: 'news', since: 1, count: 2, everyone: { epoch: 0, at: 0 } });
    places.length = 0;
    await say(lesser, { kind: 'leaves' });
    await pass(150);
    await until(() => places.length > 0);
    expect(places).to.deep.equal([{ at: 7 }]);
  });

  it('knows nobody who reads when it comes back', async () => {
    const process = await follower();
    process.leave();
    await until(() => bus.sent.some(({ kind }) => kind === 'leaves'));
    said();
    await say(lesser, reads());
    expect(said()).to.deep.equal([]);
    const record = await insert();
    const { leave } = process.watch(record);
    expect(said()).to.deep.equal(['hello']);
    await say(lesser, reads());
    expect(said()).to.deep.equal(['watches 1']);
    // Nor does one that has read itself.
    await say(lesser, { kind: 'leaves' });
    await pass(150);
    expect(said()).to.deep.equal(['reads 0']);
    leave();
    await until(() => bus.sent.some(({ kind }) => kind === 'leaves'));
    said();
    process.watch(record);
    await say(greater, { kind: 'hello' });
    expect(said()).to.deep.equal(['hello']);
  });
});
