import { once } from 'node:events';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect } from 'chai';
import type { Store } from '../../../../plugins/sessman/store.js';
import type { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import {
  contestedSentence,
  none,
  runScrubber,
  type ScrubState,
  scrubFact,
} from '../../../../plugins/sessman/stores/scrubber.js';
import { runSweeper, type SweeperOptions } from '../../../../plugins/sessman/stores/sweeper.js';
import { addBallast, instead, openTemporary, readersOf, recordAt, until } from '../support/embedded.js';

const now = Date.now();
let store: EmbeddedStore;
let folder: string;
let closeStore: () => Promise<void>;

async function openStore(): Promise<void> {
  ({ store, folder, close: closeStore } = await openTemporary());
}

/** Sessions that expire at that time. */
async function insert(count: number, expires: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => store.insert(recordAt(now, { expires }))));
}

/** A clock that stands still until it is moved. */
function standingClock() {
  const clock = {
    at: now,
    looks: 0,
    now: () => {
      clock.looks += 1;
      return clock.at;
    },
    /** Resolves when it was looked at so often. */
    looked: (times: number) => {
      const enough = clock.looks + times;
      return until(() => clock.looks >= enough);
    },
  };
  return clock;
}

describe('the sweeper', () => {
  beforeEach(openStore);
  afterEach(() => closeStore());

  const start = (options: Partial<SweeperOptions> = {}, on: Store = store) => {
    const ending = new AbortController();
    const clock = standingClock();
    const swept: number[] = [];
    const running = runSweeper(on, {
      signal: ending.signal,
      now: clock.now,
      every: 5,
      onSwept: (count) => swept.push(count),
      ...options,
    });
    const stop = () => {
      ending.abort();
      return running;
    };
    return { clock, swept, stop, ending };
  };

  it('removes what has been dead for the delay, and nothing else', async () => {
    await insert(3, now + 1000);
    await insert(4, now + 1001);
    const sweeper = start({ delay: 500 });
    sweeper.clock.at += 1499;
    await sweeper.clock.looked(3);
    expect(store.count()).to.equal(7);
    sweeper.clock.at += 1;
    await until(() => store.count() === 4);
    await sweeper.clock.looked(3);
    sweeper.clock.at += 1;
    await until(() => store.count() === 0);
    await sweeper.stop();
    expect(sweeper.swept).to.deep.equal([3, 4]);
  });

  it('removes at once without a delay, and by the clock of the store', async () => {
    await insert(1, now - 1);
    const ended = recordAt(now - 900_000);
    await store.insert(ended);
    await store.remove({ handle: ended.handle, now: now - 800_000 }, 'end');
    const sweeper = start({ now: undefined as never, delay: undefined as never });
    await until(() => store.count() === 0);
    await sweeper.stop();
    expect(store.notes().notes).to.deep.equal([]);
    expect(sweeper.swept).to.deep.equal([1]);
  });

  it('removes nothing where the database does, or while a clock is in doubt', async () => {
    await insert(2, now - 1);
    for (const member of ['needsSweeping', 'clock'] as const) {
      let looks = 0;
      const look = <Value>(value: Value): Value => {
        looks += 1;
        return value;
      };
      const doubtful = { ...store.clock, isDoubtful: true, now: () => now } as Store['clock'];
      const of: Partial<Store> = {
        get [member]() {
          return member === 'clock' ? look(doubtful) : look(false);
        },
      };
      const sweeper = start({}, instead(store, of));
      await until(() => looks >= 4);
      await sweeper.stop();
      expect(store.count(), member).to.equal(2);
      expect(sweeper.swept).to.deep.equal([]);
    }
  });

  it('stops between two steps where a clock comes into doubt, or it is to end', async () => {
    await insert(500, now - 1);
    for (const [n, reason] of ['doubt', 'end'].entries()) {
      let isDoubtful = false;
      let left: number | undefined;
      const clock = new Proxy(store.clock, {
        get: (target, name) => (name === 'isDoubtful' ? isDoubtful : Reflect.get(target, name)),
      });
      const sweeper = start(
        {
          onSwept: () => {
            left ??= store.count();
            if (reason === 'doubt') isDoubtful = true;
            else sweeper.ending.abort();
          },
        },
        instead(store, { clock }),
      );
      // Another one had the duty.
      sweeper.clock.at += 100 * n;
      await until(() => left !== undefined);
      for (let turn = 0; turn < 200; turn++) await nextTurn();
      await sweeper.stop();
      expect(store.count(), reason).to.equal(left).and.to.be.above(0);
    }
  });

  it('leaves it to one sweeper, who keeps the duty as long as it takes, and soon to another', async () => {
    await insert(700, now - 1);
    await store.lease('sweeper', 'another', now, now + 100);
    let leases = 0;
    let steps = 0;
    const sweeper = start(
      {},
      instead(store, {
        lease: (...args) => {
          leases += 1;
          return store.lease(...args);
        },
        async sweep(at, limit) {
          const { clock } = sweeper;
          expect(await store.lease('sweeper', 'another', clock.at, clock.at + 1)).to.equal(undefined);
          // A slow one.
          steps += 1;
          clock.at += 20;
          return store.sweep(at, limit);
        },
      }),
    );
    await until(() => leases >= 3);
    expect(store.count()).to.equal(700);
    sweeper.clock.at += 100;
    leases = 0;
    await until(() => store.count() === 0);
    await sweeper.stop();
    expect(leases).to.be.within(2, 1 + steps / 2);
    expect(await store.lease('sweeper', 'another', sweeper.clock.at, sweeper.clock.at + 1)).to.equal(
      undefined,
    );
    const later = sweeper.clock.at + 51;
    expect(await store.lease('sweeper', 'another', later, later + 1)).to.be.a('number');
  });

  it('reports each outage once, and goes on after it', async () => {
    await insert(1, now - 1);
    const told: string[] = [];
    let looks = 0;
    const sweeper = start(
      { onError: (error) => told.push((error as Error).message) },
      instead(store, {
        async isSweepDue(at) {
          looks += 1;
          if (looks <= 3 || looks === 5 || looks === 6) throw new Error(`broken at ${looks}`);
          return looks > 6 && store.isSweepDue(at);
        },
      }),
    );
    await until(() => store.count() === 0);
    await sweeper.stop();
    expect(told).to.deep.equal(['broken at 1', 'broken at 5']);
  });

  it('ends at once while it waits', async () => {
    const sweeper = start({ every: 1e9 });
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    expect(sweeper.clock.looks).to.equal(1);
    await sweeper.stop();
  });

  it('needs nobody who listens', async () => {
    await insert(1, now - 1);
    let looks = 0;
    const ending = new AbortController();
    const failing = instead(store, {
      isSweepDue(at) {
        looks += 1;
        if (looks === 1) throw new Error('broken');
        return store.isSweepDue(at);
      },
    });
    const running = runSweeper(failing, { signal: ending.signal, every: 5 });
    await until(() => store.count() === 0);
    ending.abort();
    await running;
  });
});

describe('the scrubber', () => {
  beforeEach(openStore);
  afterEach(() => closeStore());

  const day = 24 * 3_600_000;
  const state = () => store.fact<ScrubState>(scrubFact);
  const keep = (kept: ScrubState) => store.changeFact<ScrubState>(scrubFact, () => kept);
  const start = (on: Store = store, onError?: (error: unknown) => void) => {
    const ending = new AbortController();
    const clock = standingClock();
    const running = runScrubber(on, {
      signal: ending.signal,
      now: clock.now,
      ...(onError && { onError }),
    });
    const stop = () => {
      ending.abort();
      return running;
    };
    return { clock, stop, ending };
  };

  it('reads everything once a day', async () => {
    await insert(20, now + 1e8);
    const last = { ...none, began: now - day + 1, finished: now - day + 2 };
    await keep({ last });
    const scrubber = start();
    await scrubber.clock.looked(1);
    for (let turn = 0; turn < 50; turn++) await nextTurn();
    expect(state()).to.deep.equal({ last });
    scrubber.clock.at += 1;
    await until(() => state()?.last?.records === 20);
    const { at } = scrubber.clock;
    await scrubber.stop();
    expect(state()).to.deep.include({
      last: { ...none, records: 20, contested: 0, began: at, finished: at },
    });
    expect(state()).not.to.have.property('current');
  });

  it('continues what another one began, and adds to what that has counted', async () => {
    await insert(20, now + 1e8);
    const counted = { records: 5, unchecked: 1, damaged: 2, repaired: 3 };
    const last = { ...none, began: now - 10, finished: now - 5 };
    await keep({ last, current: { ...counted, began: now - 2000, place: { part: 'byExpiry' } } });
    const scrubber = start();
    await until(() => state()?.last?.began === now - 2000);
    await scrubber.stop();
    expect(state()).to.deep.include({ last: { ...counted, contested: 0, began: now - 2000, finished: now } });
  });

  it('keeps its place when it ends, and lets another one go on at once', async () => {
    await insert(20, now + 1e8);
    const { file } = store;
    const scrubber: ReturnType<typeof start> = start(
      instead(store, {
        file: {
          ...file,
          scrub: (place, time) => {
            scrubber.ending.abort();
            return file.scrub(place, time);
          },
        },
      }),
    );
    await scrubber.stop();
    const { current } = state()!;
    expect(current).to.deep.include({ ...none, records: current!.records, began: now });
    expect(current!.place?.part).to.be.oneOf(['records', 'byUser']);
    const next = start();
    await until(() => state()?.last !== undefined);
    await next.stop();
    expect(state()?.last).to.include({ records: 20, began: now });
  });

  it('keeps how far it has come every few seconds, and stops where it has lost the duty', async () => {
    await insert(20, now + 1e8);
    const { file } = store;
    let steady = Math.ceil(performance.now());
    performance.now = () => steady;
    try {
      for (const lost of ['the duty', 'the state']) {
        const told = { leases: 0, steps: 0 };
        const scrubber = start(
          instead(store, {
            async lease(...args) {
              told.leases += 1;
              return told.leases === 1 ? store.lease(...args) : undefined;
            },
            file: {
              ...file,
              async scrub(place, _time) {
                told.steps += 1;
                steady += 2500;
                if (told.steps === 3 && lost === 'the state')
                  await store.changeFact(scrubFact, (state) => ({ ...state, fence: 1000 }));
                return file.scrub(place, 0);
              },
            },
          }),
        );
        // It asks again a second later.
        await until(() => told.leases === (lost === 'the duty' ? 3 : 2));
        await scrubber.stop();
        expect(told.steps).to.equal(3);
        expect(state()).not.to.have.property('last');
        if (lost === 'the duty') {
          expect(state()!.current).to.include({ ...none, records: 20, began: now });
          expect(state()!.current!.place).to.deep.equal({ part: 'byUser' });
        }
        await store.changeFact(scrubFact, () => ({}));
        await store.lease('scrubber', 'another', now + 15_000, now);
      }
    } finally {
      Reflect.deleteProperty(performance, 'now');
    }
  });

  it('stops within its last part, leaves no reader, and lets another one go on with that part', async () => {
    await insert(20, now + 1e8);
    await addBallast(folder, 500);
    const { file } = store;
    const scrubber: ReturnType<typeof start> = start(
      instead(store, {
        file: {
          ...file,
          contestedPages: (rest) =>
            file.contestedPages(() => {
              scrubber.ending.abort();
              return rest();
            }),
        },
      }),
    );
    await once(scrubber.ending.signal, 'abort');
    await scrubber.stop();
    const kept = state()!;
    expect(kept).not.to.have.property('last');
    expect(kept.current).to.deep.include({ ...none, records: 20, began: now });
    await until(async () => (await readersOf(folder)).reading.length === 0);
    const parts: unknown[] = [];
    const next = start(
      instead(store, {
        file: {
          ...file,
          scrub: (place, time) => {
            parts.push(place);
            return file.scrub(place, time);
          },
        },
      }),
    );
    await until(() => state()?.last);
    await next.stop();
    expect(parts).to.deep.equal([kept.current!.place]);
    expect(state()?.last).to.deep.include({ ...none, records: 20, contested: 0, began: now });
  });

  it('keeps the duty during its last part, and stops where it has lost it', async () => {
    await addBallast(folder, 500);
    const { file } = store;
    let steady = Math.ceil(performance.now());
    performance.now = () => steady;
    try {
      for (const isLost of [true, false]) {
        const told: number[] = [];
        let counts = 0;
        const scrubber: ReturnType<typeof start> = start(
          instead(store, {
            async lease(...args) {
              told.push(args[3]);
              return isLost && told.length > 1 ? undefined : store.lease(...args);
            },
            file: {
              ...file,
              async contestedPages(rest) {
                const count = await file.contestedPages(() => {
                  scrubber.clock.at += 5001;
                  steady += 5001;
                  return rest();
                });
                counts += 1;
                return count;
              },
            },
          }),
        );
        await until(() => counts === 1);
        await scrubber.stop();
        expect(state()?.last === undefined, `${isLost}`).to.equal(isLost);
        if (isLost) expect(told.slice(0, 2)).to.deep.equal([now + 15_000, now + 20_001]);
        await store.lease('scrubber', 'another', now + 1e6, now);
      }
    } finally {
      Reflect.deleteProperty(performance, 'now');
    }
  });

  it('leaves no reader where its last part fails', async () => {
    await addBallast(folder, 500);
    const failed = await store.file
      .contestedPages(() => Promise.reject(new Error('broken')))
      .catch((error: Error) => error.message);
    expect(failed).to.equal('broken');
    // At once: a reader that nobody holds any more is freed by the garbage collector.
    expect((await readersOf(folder)).reading).to.deep.equal([]);
    const path = join(folder, 'sessions.mdb');
    await rename(path, `${path}.away`);
    const missing = await store.file.contestedPages(async () => true).catch((error) => error.code);
    await rename(`${path}.away`, path);
    expect(missing).to.equal('ENOENT');
    expect((await readersOf(folder)).reading).to.deep.equal([]);
  });

  it('leaves it to one at a time', async () => {
    await insert(5, now + 1e8);
    await store.lease('scrubber', 'another', now, now + 1000);
    const scrubber = start();
    await scrubber.clock.looked(5);
    expect(state()).to.equal(undefined);
    scrubber.clock.at += 1000;
    await until(() => state()?.last);
    const { at } = scrubber.clock;
    expect(await store.lease('scrubber', 'another', at + 14_999, at + 15_000)).to.equal(undefined);
    await scrubber.stop();
  });

  it('does not overwrite what a later one has found', async () => {
    await insert(5, now + 1e8);
    const later = { ...none, records: 7, began: now, finished: now };
    const { file } = store;
    const scrubber = start(
      instead(store, {
        file: {
          ...file,
          async scrub(place, time) {
            await store.changeFact(scrubFact, () => ({ last: later, fence: 1000 }));
            return file.scrub(place, time);
          },
        },
      }),
    );
    await until(() => state()?.last);
    await scrubber.clock.looked(3);
    await scrubber.stop();
    expect(state()).to.deep.include({ last: later });
  });

  it('reports each outage once, and goes on after it', async () => {
    await insert(5, now + 1e8);
    const told: string[] = [];
    let reads = 0;
    const failing = instead(store, {
      fact: async <T extends object>(name: string) => {
        reads += 1;
        if (reads <= 2 || reads === 4) throw new Error(`broken at ${reads}`);
        return reads === 3 ? ({ last: { began: now } } as T) : store.fact<T>(name);
      },
    });
    const scrubber = start(failing, (error) => told.push((error as Error).message));
    await until(() => state()?.last);
    await scrubber.stop();
    expect(told).to.deep.equal(['broken at 1', 'broken at 4']);
  });

  it('needs nobody who listens', async () => {
    let reads = 0;
    const failing = instead(store, {
      fact: async <T extends object>(name: string) => {
        reads += 1;
        if (reads === 1) throw new Error('broken');
        return store.fact<T>(name);
      },
    });
    const scrubber = start(failing);
    await until(() => state()?.last);
    await scrubber.stop();
    expect(state()?.last).to.include(none);
  });

  it('tells of pages in use that are offered as free, if there are any and somebody listens', async () => {
    const told: number[] = [];
    const onContested = (pages: number) => told.push(pages);
    for (const [n, contested] of [0, 3, 4].entries()) {
      const at = now + n * day;
      const ending = new AbortController();
      const on = instead(store, { file: { ...store.file, contestedPages: async () => contested } });
      const running = runScrubber(on, {
        signal: ending.signal,
        now: () => at,
        ...(n < 2 && { onContested }),
      });
      await until(() => state()?.last?.began === at);
      ending.abort();
      await running;
      expect(state()?.last).to.include({ contested });
    }
    expect(told).to.deep.equal([3]);
    expect([1, 2].map((count) => /offers (.*?) in use/.exec(contestedSentence(count))?.[1])).to.deep.equal([
      'a page that is',
      '2 pages that are',
    ]);
  });

  it('has nothing to do where the store is in no file', async () => {
    await runScrubber(instead(store, { file: undefined }), { signal: new AbortController().signal });
    expect(state()).to.equal(undefined);
  });
});
