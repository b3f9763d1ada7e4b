import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type { SessionEnded } from 'plugin-server';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import type { EndNote, SessionRecord, Store, TellChange } from '../../../../plugins/sessman/store.js';
import type { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { Feed, type FeedOptions, type WatchedState } from '../../../../plugins/sessman/stores/feed.js';
import type { NewsMessage } from '../../../../plugins/sessman/stores/host-news.js';
import { makeChannel } from '../support/channel.js';
import { instead, openTemporary, recordAt, until } from '../support/embedded.js';

let now: number;
let store: EmbeddedStore;
let closeStore: () => Promise<void>;
const open: { stop(): Promise<void> }[] = [];

const hooks = () => {
  beforeEach(async () => {
    now = Date.now();
    ({ store, close: closeStore } = await openTemporary());
  });
  afterEach(async () => {
    for (const { stop } of open.splice(0)) await stop();
    await closeStore();
  });
};

/** A feed, with what its watchers and listeners hear, as text. */
function startFeed(on: Store = store, more: Partial<FeedOptions> = {}) {
  const ending = new AbortController();
  const errors: string[] = [];
  const feed = new Feed(on, {
    signal: ending.signal,
    onError: (error) => errors.push((error as Error).message),
    ...more,
  });
  const stop = () => {
    ending.abort();
    return feed.stopped;
  };
  open.push({ stop });
  const watch = (record: SessionRecord, state: WatchedState = seen(record)) => {
    const heard: string[] = [];
    const leave = feed.watch(record.handle, state, {
      secretHash: record.secretHash,
      changed: ({ version, touched, expires }) =>
        heard.push(`changed ${[version, touched - now, expires - now]}`),
      renewed: () => heard.push('renewed'),
      // As a stream does, which ends then.
      ended: (reason) => {
        heard.push(reason);
        leave();
      },
    });
    return { heard, leave };
  };
  const listen = () => {
    const heard: SessionEnded[] = [];
    const leave = feed.onEnded((ended) => heard.push(ended));
    return { heard, leave };
  };
  return { feed, errors, stop, watch, listen };
}

const insert = async (change: Partial<SessionRecord> = {}): Promise<SessionRecord> => {
  const record = recordAt(now, change);
  await store.insert(record);
  return record;
};
const seen = (record: SessionRecord): WatchedState => ({
  ...record,
  expires: Math.min(record.expires, record.ends),
});
const matchOf = ({ handle }: SessionRecord) => ({ handle, now });
const endOf = ({ handle, userid }: SessionRecord, reason: SessionEnded['reason']) => ({
  handle,
  userid,
  reason,
});
/** Resolves when the feed has read the store so often. */
const counting = (method: 'epoch' | 'notes' | 'peekEach', overridden: Partial<Store> = {}) => {
  const counted = { reads: 0, store: store as Store, read: async (_: number) => {} };
  const call = (...args: unknown[]) => {
    counted.reads += 1;
    return (store[method] as (...args: unknown[]) => unknown)(...args);
  };
  counted.store = instead(store, { ...overridden, [method]: call });
  counted.read = (times) => {
    const enough = counted.reads + times;
    return until(() => counted.reads >= enough);
  };
  return counted;
};

/** Stores that report their changes, and those that are asked. */
const ways: [string, () => { on: Store; tell: TellChange }][] = [
  ['is asked', () => ({ on: store, tell: () => {} })],
  [
    'reports changes',
    () => {
      const told = new Set<TellChange>();
      const changes = async (tell: TellChange, signal: AbortSignal) => {
        told.add(tell);
        signal.addEventListener('abort', () => told.delete(tell));
        return { broken: new Promise<never>(() => {}) };
      };
      return {
        on: instead(store, { changes }),
        tell: (handle, isEnd) => {
          for (const tell of told) tell(handle, isEnd);
        },
      };
    },
  ],
];

for (const [way, make] of ways) {
  describe(`the feed of a store that ${way}`, () => {
    hooks();

    it('tells the watchers of a session each change, and those of others nothing', async () => {
      const { on, tell } = make();
      const { watch, errors } = startFeed(on);
      const [record, other] = [await insert(), await insert()];
      const [one, two, none] = [watch(record), watch(record), watch(other)];
      const expected: string[] = [];
      for (const [change, text] of [
        [{ touched: now, expires: now + 1e6, data: '{"a":1}' }, 'changed 2,0,1000000'],
        [{ touched: now + 1, expires: now + 1e6 }, 'changed 2,1,1000000'],
        [{ touched: now + 1, expires: now + 2e6 }, 'changed 2,1,2000000'],
        [{ touched: now + 1, expires: now + 2e6, ends: now + 1e6 }, 'changed 2,1,1000000'],
      ] as const) {
        await store.write(matchOf(record), change);
        tell(record.handle, false);
        expected.push(text);
        await until(() => one.heard.length === expected.length);
        expect(one.heard).to.deep.equal(expected);
      }
      expect(two.heard).to.deep.equal(expected);
      expect(none.heard).to.deep.equal([]);
      expect(errors).to.deep.equal([]);
    });

    it('tells of another id, and of ends with their reasons', async () => {
      const { on, tell } = make();
      const { watch, listen } = startFeed(on);
      const listener = listen();
      for (const reason of ['end', 'end_all', 'limit', 'login'] as const) {
        const record = await insert();
        const watcher = watch(record);
        const secretHash = randomBytes(32);
        await store.write(matchOf(record), { touched: now, expires: now + 1e6, secretHash });
        tell(record.handle, false);
        await until(() => watcher.heard.includes('renewed'));
        const next = watch({ ...record, secretHash });
        await store.remove(matchOf(record), reason);
        tell(record.handle, true);
        await until(() => next.heard.includes(reason));
        expect(next.heard).to.deep.equal([reason]);
        // Whoever has the old id is not told why the session ended.
        expect(new Set(watcher.heard)).to.deep.equal(new Set(['renewed']));
        await until(() => listener.heard.length > 0);
        expect(listener.heard.splice(0)).to.deep.equal([endOf(record, reason)]);
      }
    });

    it('tells of the end of everyone, and of ends by time', async () => {
      const { on, tell } = make();
      const clock = { at: now };
      const { watch, listen } = startFeed(on, { now: () => clock.at });
      const [idle, old] = [await insert({ expires: now + 10 }), await insert({ ends: now + 20 })];
      const [one, two] = [watch(idle), watch(old)];
      const listener = listen();
      clock.at += 10;
      await until(() => one.heard.length > 0);
      expect([one.heard, two.heard]).to.deep.equal([['expired'], []]);
      clock.at += 10;
      await until(() => two.heard.length > 0);
      expect(two.heard).to.deep.equal(['expired']);
      const record = await insert();
      const three = watch(record);
      await store.write(matchOf(record), { touched: now + 1, expires: now + 1e6 });
      tell(record.handle, false);
      await until(() => three.heard.length > 0);
      await store.endEveryone();
      tell(undefined, false);
      await until(() => three.heard.length > 1 && listener.heard.length > 0);
      expect(three.heard[1]).to.equal('everyone');
      expect(listener.heard).to.deep.equal([{ reason: 'everyone' }]);
    });

    it('reads nothing more once nobody watches or listens, and again for the next one', async () => {
      const { on, tell } = make();
      const counted = counting('notes', on === store ? {} : { changes: on.changes!.bind(on) });
      const { feed, watch, listen, stop } = startFeed(counted.store);
      const record = await insert();
      const watchers = [watch(record), watch(record)];
      const listener = listen();
      await counted.read(2);
      for (const { leave } of watchers) leave();
      await store.write(matchOf(record), { touched: now + 1, expires: now + 1e6 });
      tell(record.handle, false);
      expect(counted.reads).to.be.at.least(1);
      listener.leave();
      await feed.stopped;
      const { reads } = counted;
      const gone = await insert();
      await store.remove(matchOf(gone), 'end');
      expect(counted.reads).to.equal(reads);
      const next = listen();
      await until(() => next.heard.length > 0);
      expect(next.heard).to.deep.equal([endOf(gone, 'end')]);
      expect(listener.heard).to.deep.equal([]);
      for (const { heard } of watchers) expect(heard).to.deep.equal([]);
      await stop();
      feed.onEnded(() => {});
      await feed.stopped;
    });

    it('tells one that comes later what has changed since it read, and goes on when all leave but one', async () => {
      const { on, tell } = make();
      const { watch, listen } = startFeed(on);
      const [first, later] = [await insert(), await insert()];
      const one = watch(first);
      const listener = listen();
      await store.write(matchOf(first), { touched: now + 1, expires: now + 1e6 });
      tell(first.handle, false);
      await until(() => one.heard.length > 0);
      await store.write(matchOf(later), { touched: now + 1, expires: now + 1e6, data: '{}' });
      const two = watch(later);
      await until(() => two.heard.length > 0);
      expect(two.heard).to.deep.equal(['changed 2,1,1000000']);
      // It stops, and somebody comes meanwhile.
      for (const { leave } of [one, two, listener]) leave();
      const next = watch(later, { ...later, version: 1 });
      await until(() => next.heard.length > 0);
      expect(next.heard).to.deep.equal(two.heard);
      expect(one.heard).to.deep.equal(['changed 1,1,1000000']);
    });

    it('tells a listener that came during an outage, which is reported once, of the ends before it', async () => {
      const { on } = make();
      let failures = 0;
      const failing = instead(store, {
        ...(on !== store && { changes: on.changes!.bind(on) }),
        epoch: () => {
          failures += 1;
          if (failures <= 4) throw new Error('it is broken');
          return store.epoch();
        },
      });
      const record = await insert();
      await store.remove(matchOf(record), 'end');
      const { listen, errors } = startFeed(failing);
      const { heard } = listen();
      await until(() => heard.length > 0);
      expect(heard).to.deep.equal([endOf(record, 'end')]);
      // By the replay, and by the reader.
      expect(errors).to.deep.equal(['it is broken', 'it is broken']);
    });

    it('reports each outage once, and tells afterwards what happened meanwhile', async () => {
      const { on, tell } = make();
      let isBroken = true;
      let failures = 0;
      const failing = instead(store, {
        ...(on !== store && { changes: on.changes!.bind(on) }),
        notes: (since) => {
          if (!isBroken) return store.notes(since);
          failures += 1;
          throw new Error('it is broken');
        },
      });
      const { watch, errors } = startFeed(failing);
      const [record, other] = [await insert(), await insert()];
      const [one, two] = [watch(record), watch(other)];
      for (const [watcher, ended] of [
        [one, record],
        [two, other],
      ] as const) {
        failures = 0;
        isBroken = true;
        await store.remove(matchOf(ended), 'limit');
        tell(ended.handle, true);
        await until(() => failures > 2);
        isBroken = false;
        await until(() => watcher.heard.length > 0);
        expect(watcher.heard).to.deep.equal(['limit']);
      }
      expect(errors).to.deep.equal(['it is broken', 'it is broken']);
    });
  });
}

describe('the feed', () => {
  hooks();

  it('tells a watcher what has changed since it read, and nothing older', async () => {
    const { watch } = startFeed();
    const record = await insert();
    await store.write(matchOf(record), { touched: now + 1, expires: now + 1e6, data: '{}' });
    const behind = watch(record);
    await until(() => behind.heard.length > 0);
    expect(behind.heard).to.deep.equal(['changed 2,1,1000000']);
    const other = await insert();
    const counted = counting('peekEach');
    const newer = startFeed(counted.store).watch(other, { ...other, version: 3 });
    await counted.read(3);
    expect(newer.heard).to.deep.equal([]);
  });

  it('takes a session that is gone without a note for ended, or for expired where its time is over', async () => {
    const record = await insert({ expires: now + 10 });
    const clock = { at: now };
    for (const [at, reason] of [
      [now, 'end'],
      [now + 10, 'expired'],
    ] as const) {
      const gone = instead(store, { peekEach: () => new Map() });
      clock.at = at;
      const { heard } = startFeed(gone, { now: () => clock.at }).watch(record);
      await until(() => heard.length > 0);
      expect(heard).to.deep.equal([reason]);
    }
  });

  it('takes one that is gone for ended with everyone where it was not used since, by clocks that differ', async () => {
    for (const [everyoneAt, expected] of [
      [now - 60_000, 'everyone'],
      [now - 60_001, 'end'],
    ] as const) {
      const record = await insert();
      const gone = instead(store, { peekEach: () => new Map(), everyoneAt: () => everyoneAt });
      const { heard } = startFeed(gone, { now: () => now }).watch(record);
      await until(() => heard.length > 0);
      expect(heard).to.deep.equal([expected]);
    }
  });

  it('keeps silent about a damaged session, and tells of many others', async () => {
    const records = await Promise.all(Array.from({ length: 600 }, () => insert()));
    const [damaged] = records as [SessionRecord];
    const on = instead(store, {
      peekEach: (handles, at) => {
        expect(handles.length).to.be.at.most(250);
        const found = new Map(store.peekEach(handles, at));
        if (found.has(damaged.handle)) found.set(damaged.handle, null);
        return found;
      },
    });
    const { watch, errors } = startFeed(on);
    const watchers = records.map((record) => watch(record));
    const change = { touched: now + 1, expires: now + 1e6 };
    await Promise.all(records.map((record) => store.write(matchOf(record), change)));
    await until(() => watchers.filter(({ heard }) => heard.length > 0).length === 599);
    expect(watchers[0]!.heard).to.deep.equal([]);
    await store.remove(matchOf(damaged), 'end');
    await until(() => watchers[0]!.heard.length > 0);
    expect(watchers[0]!.heard).to.deep.equal(['end']);
    expect(errors).to.deep.equal([]);
  });

  it('tells a listener the ends of the last minutes first, each once, whatever the others do', async () => {
    const ended = await Promise.all(Array.from({ length: 5 }, () => insert()));
    const clock = { at: now };
    await store.endEveryone();
    const later = await insert();
    for (const record of [...ended, later]) await store.remove(matchOf(record), 'end');
    const { feed, errors, listen } = startFeed(store, { now: () => clock.at });
    feed.onEnded(() => {
      throw new Error('it fails');
    });
    const one = listen();
    await until(() => one.heard.length === 2);
    expect(one.heard).to.deep.equal([{ reason: 'everyone' }, endOf(later, 'end')]);
    const next = await insert();
    await store.remove(matchOf(next), 'login');
    await until(() => one.heard.length === 3);
    expect(one.heard[2]).to.deep.equal(endOf(next, 'login'));
    expect(errors).to.deep.equal(['it fails', 'it fails', 'it fails']);
    // Everyone was ended too long ago for this one.
    clock.at += 700_000;
    const two = listen();
    await until(() => two.heard.length === 2);
    expect(two.heard.map(({ handle }) => handle)).to.deep.equal([later.handle, next.handle]);
    await store.endEveryone();
    await until(() => two.heard.length === 3 && one.heard.length === 4);
    for (const { heard } of [one, two]) expect(heard.at(-1)).to.deep.equal({ reason: 'everyone' });
  });

  it('reads nothing but what the changes are about', async () => {
    const reads: string[] = [];
    let report: TellChange = () => {};
    const on = instead(store, {
      changes: async (tell) => {
        report = tell;
        return { broken: new Promise<never>(() => {}) };
      },
      epoch: () => {
        reads.push('epoch');
        return store.epoch();
      },
      notes: (since) => {
        reads.push('notes');
        return store.notes(since);
      },
      peekEach: (handles, at) => {
        reads.push(...handles);
        return store.peekEach(handles, at);
      },
    });
    const { watch } = startFeed(on);
    const [record, other, unknown] = [await insert(), await insert(), await insert()];
    const watchers = [watch(record), watch(other)];
    await until(() => reads.includes(other.handle));
    for (const [handle, isEnd, expected] of [
      [record.handle, false, [record.handle]],
      [unknown.handle, true, ['notes']],
      [record.handle, true, ['notes', record.handle]],
      [undefined, false, ['epoch']],
    ] as const) {
      await nextTurn();
      reads.length = 0;
      report(unknown.handle, false);
      report(handle, isEnd);
      await until(() => reads.length >= expected.length);
      expect(reads).to.deep.equal(expected);
    }
    await store.endEveryone();
    reads.length = 0;
    report(undefined, false);
    await until(() => reads.includes(record.handle) && reads.includes(other.handle));
    expect(watchers.map(({ heard }) => heard)).to.deep.equal([['everyone'], ['everyone']]);
  });

  it('takes one whose time was over before everyone was ended for expired', async () => {
    for (const [everyoneAt, expected] of [
      [now, 'everyone'],
      [now - 1, 'expired'],
    ] as const) {
      for (const over of [{ expires: now + 10 }, { ends: now + 10 }]) {
        const record = await insert(over);
        const gone = instead(store, { peekEach: () => new Map(), everyoneAt: () => everyoneAt });
        const { heard } = startFeed(gone, { now: () => now + 10 }).watch(record);
        await until(() => heard.length > 0);
        expect(heard).to.deep.equal([expected]);
      }
    }
  });

  it('tells a listener nothing twice, though the same ends are read again after thousands of others', async () => {
    const noteAt = (n: number): EndNote => ({
      handle: randomBytes(12).toString('base64url'),
      userid: 'ann',
      reason: 'end',
      at: now + n,
      secretHash: randomBytes(32),
    });
    const all = Array.from({ length: 10_001 }, (_, n) => noteAt(n));
    const rounds = [all, all.slice(-5000), [noteAt(10_001)]];
    let round = 0;
    const on = instead(store, {
      notes: () => ({ notes: rounds[round++] ?? [], place: {}, more: false }),
    });
    const { heard } = startFeed(on).listen();
    await until(() => heard.length >= 10_002);
    await until(() => round >= 6);
    expect([heard.length, new Set(heard.map(({ handle }) => handle)).size]).to.deep.equal([10_002, 10_002]);
  });

  it('tells whoever watches by an old id that there is another one, not why the session ended', async () => {
    // Nothing else tells of the other id.
    const on = instead(store, {
      peekEach: (handles) => new Map(handles.map((handle) => [handle, null] as const)),
    });
    const { watch } = startFeed(on);
    const record = await insert();
    const [old, right] = [watch({ ...record, secretHash: randomBytes(32) }), watch(record)];
    await store.remove(matchOf(record), 'end');
    await until(() => right.heard.length > 0);
    expect([old.heard, right.heard]).to.deep.equal([['renewed'], ['end']]);
  });

  it('tells one that came while it found out why a session is gone nothing in place of the one before', async () => {
    const held: (() => void)[] = [];
    const on = instead(store, {
      peekEach: () => new Map(),
      noteOf: () => new Promise<undefined>((resolve) => held.push(() => resolve(undefined))),
    });
    const { watch } = startFeed(on);
    const record = await insert();
    const before = watch(record);
    await until(() => held.length === 1);
    before.leave();
    const next = watch(record);
    held[0]!();
    await until(() => held.length === 2);
    expect(next.heard).to.deep.equal([]);
    held[1]!();
    await until(() => next.heard.length > 0);
    expect([before.heard, next.heard]).to.deep.equal([[], ['end']]);
  });

  it('tells a listener what happens while it still hears of the past, and of everyone for ten minutes', async () => {
    let release: (() => void) | undefined;
    let isHeld = false;
    const on = instead(store, {
      notes: async (since) => {
        const read = store.notes(since);
        if (since === undefined && isHeld)
          await new Promise<void>((resolve) => {
            release = resolve;
          });
        return read;
      },
      epoch: () => 1,
      everyoneAt: () => now,
    });
    const clock = { at: now + 599_999 };
    const { listen } = startFeed(on, { now: () => clock.at });
    const one = listen();
    await until(() => one.heard.length > 0);
    const [past, present] = [await insert(), await insert()];
    await store.remove(matchOf(past), 'end');
    await until(() => one.heard.length > 1);
    clock.at += 1;
    isHeld = true;
    const two = listen();
    await until(() => release);
    await store.remove(matchOf(present), 'end');
    await until(() => one.heard.length > 2);
    expect(two.heard).to.deep.equal([]);
    release!();
    await until(() => two.heard.length > 1);
    const ends = [endOf(past, 'end'), endOf(present, 'end')];
    expect(one.heard).to.deep.equal([{ reason: 'everyone' }, ...ends]);
    expect(two.heard).to.deep.equal(ends);
  });

  it('keeps no process running', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    const failing = instead(store, {
      epoch: () => {
        throw new Error('it is broken');
      },
    });
    for (const feed of [startFeed(), startFeed(ways[1]![1]().on), startFeed(failing)]) {
      feed.listen();
      feed.watch(await insert());
    }
    const seenTimers: number[] = [];
    for (const began = Date.now(); Date.now() - began < 400; await nextTurn()) seenTimers.push(timers());
    // The database has one now and then.
    expect(seenTimers.filter((count) => count > before).length).to.be.below(seenTimers.length / 2);
  });

  it('tells a listener of more ends than are read at once', async () => {
    const records = await Promise.all(Array.from({ length: 1100 }, () => insert()));
    const { listen } = startFeed();
    await Promise.all(records.map((record) => store.remove(matchOf(record), 'end')));
    const { heard } = listen();
    await until(() => heard.length === 1100);
    expect(new Set(heard.map(({ handle }) => handle)).size).to.equal(1100);
  });

  it('tells of changes again when they are no longer reported, and are again', async () => {
    const subscriptions: AbortSignal[] = [];
    let lose: (error: Error) => void = () => {};
    const on = instead(store, {
      changes: async (_, signal) => {
        // Nothing is left of the one before.
        expect(subscriptions.every(({ aborted }) => aborted)).to.equal(true);
        expect(signal.aborted).to.equal(false);
        subscriptions.push(signal);
        if (subscriptions.length === 2) throw new Error('not yet');
        return {
          broken: new Promise<never>((_, reject) => {
            lose = reject;
          }),
        };
      },
    });
    const { watch, listen, errors } = startFeed(on);
    const record = await insert();
    const { heard } = watch(record);
    const listener = listen();
    await until(() => subscriptions.length === 1);
    await nextTurn();
    lose(new Error('it is lost'));
    await store.remove(matchOf(record), 'end');
    await store.endEveryone();
    await until(() => heard.length > 0 && listener.heard.length > 1);
    expect(heard).to.deep.equal(['end']);
    expect(listener.heard).to.have.deep.members([endOf(record, 'end'), { reason: 'everyone' }]);
    expect(subscriptions).to.have.length(3);
    expect(errors).to.deep.equal(['it is lost']);
  });
});

describe('the feeds of the processes of a host', () => {
  hooks();

  const limits = { idleTimeout: 60, absoluteTimeout: 0, maxData: 1000, maxPerUser: 0 };
  const start = (count: number) => {
    const bus = makeChannel<NewsMessage>();
    const feeds = Array.from({ length: count }, () => {
      const counted = counting('epoch');
      return { counted, ...startFeed(counted.store, { channel: bus.channel() }) };
    });
    return { ...bus, feeds };
  };
  type Started = ReturnType<typeof start>['feeds'][number];
  /** Which of them has read the store when it was read so often. */
  const readers = async (feeds: readonly Started[], times = 4): Promise<number[]> => {
    const before = feeds.map(({ counted }) => counted.reads);
    const reads = () => feeds.map(({ counted }, n) => counted.reads - before[n]!);
    await until(() => Math.max(...reads()) >= times);
    return reads().flatMap((each, n) => (each > 1 ? [n] : []));
  };
  /** Watchers and a listener of each feed, once one of them reads for all. */
  const settled = async (count = 3) => {
    const { feeds, ...bus } = start(count);
    const record = await insert();
    const watchers = feeds.map(({ watch }) => watch(record));
    const listeners = feeds.map(({ listen }) => listen());
    let all: number[];
    do all = await readers(feeds);
    while (all.length !== 1);
    return { ...bus, feeds, record, watchers, listeners, reader: all[0]! };
  };

  it('hear of everything, though one of them reads the store', async () => {
    const { feeds, record, watchers, listeners, sent } = await settled();
    await store.write(matchOf(record), { touched: now + 1, expires: now + 1e6, data: '{}' });
    await until(() => watchers.every(({ heard }) => heard.length === 1));
    for (const { heard } of watchers) expect(heard).to.deep.equal(['changed 2,1,1000000']);
    await store.remove(matchOf(record), 'limit');
    await until(() => watchers.every(({ heard }) => heard.length === 2));
    for (const { heard } of watchers) expect(heard[1]).to.equal('limit');
    await until(() => listeners.every(({ heard }) => heard.length === 1));
    for (const { heard } of listeners) expect(heard).to.deep.equal([endOf(record, 'limit')]);
    await store.endEveryone();
    await until(() => listeners.every(({ heard }) => heard.length === 2));
    for (const { heard } of listeners) expect(heard[1]).to.deep.equal({ reason: 'everyone' });
    expect(await readers(feeds)).to.have.length(1);
    expect(sent[0]!.kind).to.equal('hello');
    for (const { errors } of feeds) expect(errors).to.deep.equal([]);
  });

  it('hear of other ids and of ends by time', async () => {
    const { feeds, watchers, record } = await settled(2);
    const secretHash = randomBytes(32);
    const short = await insert({ expires: Date.now() + 800 });
    const others = feeds.map(({ watch }) => watch(short));
    await store.write(matchOf(record), { touched: now, expires: now + 1e6, secretHash });
    await until(() => watchers.every(({ heard }) => heard.length > 0));
    for (const { heard } of watchers) expect(heard).to.deep.equal(['renewed']);
    await until(() => others.every(({ heard }) => heard.length > 0));
    for (const { heard } of others) expect(heard).to.deep.equal(['expired']);
  });

  it('read themselves when the one that reads has left', async () => {
    const { feeds, reader, record, watchers, listeners } = await settled();
    await feeds[reader]!.stop();
    await store.remove(matchOf(record), 'end');
    const left = [0, 1, 2].filter((n) => n !== reader);
    await until(() => left.every((n) => watchers[n]!.heard.length > 0 && listeners[n]!.heard.length > 0));
    for (const n of left) {
      expect(watchers[n]!.heard).to.deep.equal(['end']);
      expect(listeners[n]!.heard).to.deep.equal([endOf(record, 'end')]);
    }
    expect(watchers[reader]!.heard).to.deep.equal([]);
    // Soon only one of them.
    while ((await readers(left.map((n) => feeds[n]!))).length > 1);
  });

  it('read themselves when nothing more is heard of the one that reads, until it is back', async () => {
    const { feeds, reader, record, watchers, way } = await settled();
    const left = [0, 1, 2].filter((n) => n !== reader);
    // As if the others did not run.
    way.isOpen = ({ kind }, to) => to === reader || !(kind === 'reads' || kind === 'news');
    await until(async () => (await readers(left.map((n) => feeds[n]!))).length > 0);
    await store.remove(matchOf(record), 'end');
    await until(() => watchers.every(({ heard }) => heard.length > 0));
    for (const { heard } of watchers) expect(heard).to.deep.equal(['end']);
    way.isOpen = () => true;
    // The one that has read for longest goes on, and the other stops once it hears of it.
    while (`${await readers(feeds)}` !== `${reader}`);
    expect(await readers(feeds)).to.deep.equal([reader]);
  });

  it('catch up where a message was lost', async () => {
    const { reader, record, watchers, listeners, way } = await settled();
    const other = await insert();
    let lost = 0;
    way.isOpen = (message, to) => {
      if (message.kind !== 'news' || to === reader) return true;
      lost += 1;
      return false;
    };
    await store.write(matchOf(record), { touched: now + 1, expires: now + 1e6, data: '{}' });
    await store.remove(matchOf(other), 'end');
    await until(() => lost >= 4);
    way.isOpen = () => true;
    await until(() => [...watchers, ...listeners].every(({ heard }) => heard.length === 1));
    for (const { heard } of watchers) expect(heard).to.deep.equal(['changed 2,1,1000000']);
    for (const { heard } of listeners) expect(heard).to.deep.equal([endOf(other, 'end')]);
    let isLost = false;
    way.isOpen = (message, to) => {
      isLost ||= message.kind === 'news' && message.everyone !== undefined;
      return message.kind !== 'news' || to === reader;
    };
    await store.endEveryone();
    await until(() => isLost);
    way.isOpen = () => true;
    await until(() => listeners.every(({ heard }) => heard.length === 2));
    for (const { heard } of listeners) expect(heard[1]).to.deep.equal({ reason: 'everyone' });
    await until(() => watchers.every(({ heard }) => heard.length === 2));
    for (const { heard } of watchers) expect(heard[1]).to.equal('everyone');
  });

  it('hear of sessions that they watch later, or no longer, also where that was not heard', async () => {
    const { feeds, reader, way, sent } = await settled(2);
    const follower = feeds[1 - reader]!;
    const [one, two] = [await insert(), await insert()];
    way.isOpen = ({ kind }) => kind !== 'watch';
    const lost = follower.watch(one);
    way.isOpen = () => true;
    const heard = follower.watch(two);
    await store.write(matchOf(two), { touched: now + 1, expires: now + 1e6 });
    await until(() => heard.heard.length > 0);
    heard.leave();
    await store.write(matchOf(one), { touched: now + 2, expires: now + 1e6 });
    // It tells every few seconds how many it watches.
    await until(() => lost.heard.length > 0);
    expect(lost.heard).to.deep.equal(['changed 1,2,1000000']);
    const from = sent.length;
    await store.write(matchOf(two), { touched: now + 3, expires: now + 1e6 });
    await store.write(matchOf(one), { touched: now + 4, expires: now + 1e6 });
    await until(() => lost.heard.length > 1);
    const told = sent
      .slice(from)
      .flatMap((message) => (message.kind === 'news' ? (message.heads ?? []) : []));
    expect(told.map(([handle]) => handle)).to.deep.equal([one.handle]);
  });

  it('say nothing while nobody watches or listens, and are not read for once they have left', async () => {
    const { feeds, reader, sent, channel } = await settled(2);
    const follower = feeds[1 - reader]!;
    const idle = startFeed(store, { channel: channel() });
    const processes = () => new Set(sent.map(({ from }) => from)).size;
    const [record, other] = [await insert(), await insert()];
    const beats = () => sent.filter(({ kind }) => kind === 'reads').length;
    const heard = beats();
    await until(() => beats() >= heard + 2);
    expect(processes()).to.equal(2);
    const of = idle.watch(record);
    await until(() => processes() === 3);
    of.leave();
    await idle.feed.stopped;
    const from = sent.length;
    const mine = follower.watch(other);
    const own = feeds[reader]!.watch(record);
    await store.write(matchOf(other), { touched: now + 1, expires: now + 1e6 });
    await until(() => mine.heard.length > 0);
    expect(new Set(sent.slice(from).map((message) => message.from)).size).to.equal(2);
    await follower.stop();
    await until(() => sent.some(({ kind }, n) => n >= from && kind === 'leaves'));
    await nextTurn();
    const told = sent.length;
    await store.write(matchOf(other), { touched: now + 2, expires: now + 1e6 });
    await store.write(matchOf(record), { touched: now + 2, expires: now + 1e6 });
    await until(() => own.heard.length > 0);
    expect(sent.slice(told).filter(({ kind }) => kind === 'news')).to.deep.equal([]);
  });

  it('hear of very many ends at once', async () => {
    const { feeds, listeners, sent } = await settled(2);
    const sessions = new Sessions(store, limits);
    const userid = 'u'.repeat(500);
    await Promise.all(Array.from({ length: 300 }, () => sessions.create(userid)));
    const records = await Promise.all(Array.from({ length: 300 }, () => insert()));
    const watchers = feeds.map(({ watch }) => records.map((record) => watch(record)));
    await sessions.endAll(userid);
    const change = { touched: now + 1, expires: now + 1e6 };
    await Promise.all(records.map((record) => store.write(matchOf(record), change)));
    await until(() => listeners.every(({ heard }) => heard.length === 300));
    // Whoever goes on from the place that is sent with the last of them has heard of all.
    const parts = sent.filter((message) => message.kind === 'news' && message.notes);
    expect(parts.length).to.be.above(1);
    expect(parts.some((part) => !('place' in part))).to.equal(true);
    expect(parts.at(-1)).to.have.property('place');
    await until(() => watchers.flat().every(({ heard }) => heard.length > 0));
  });
});
