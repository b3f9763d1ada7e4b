import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { Pace } from '../../../../plugins/sessman/stores/pace.js';
import { runSweeper } from '../../../../plugins/sessman/stores/sweeper.js';

const minute = 60_000;
const limits = { idleTimeout: 60, absoluteTimeout: 0, maxData: 10_000, maxPerUser: 0 };

describe('the pace of the sweeper', () => {
  it('makes steps as large as the disk allows in a few milliseconds, and leaves three quarters of the time to others', () => {
    const pace = new Pace(false);
    const sizes: number[] = [];
    for (const took of [1, 1, 1, 1, 12, 400, 400, 400]) {
      sizes.push(pace.size);
      assert.equal(pace.restAfter(took, 0), 3);
    }
    assert.deepEqual(sizes, [16, 32, 64, 100, 100, 50, 25, 16]);
  });

  it('gives more and more of the time to removals that are late by more than half an hour', () => {
    const pace = new Pace(false);
    assert.equal(pace.restAfter(40, 30 * minute), 3);
    assert.equal(pace.size, 16);
    assert.equal(pace.restAfter(40, 45 * minute), 1.5);
    assert.equal(pace.size, 58);
    assert.equal(pace.restAfter(40, 60 * minute), 0);
    assert.equal(pace.size, 100);
    assert.equal(pace.restAfter(40, 600 * minute), 0);
    assert.equal(pace.restAfter(40, 0), 3);
  });

  it('does not depend on the network where another machine does the work', () => {
    const pace = new Pace(true);
    for (let n = 0; n < 5; n++) assert.equal(pace.restAfter(400, 0), 1);
    assert.equal(pace.size, 100);
    assert.equal(pace.restAfter(400, 60 * minute), 0);
  });

  describe('on a slow disk', () => {
    const slow = 20;
    let folder: string;
    let store: EmbeddedStore;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'sessman-'));
      store = EmbeddedStore.open(join(folder, 'store'));
    });
    afterEach(async () => {
      await store.close();
      await rm(folder, { recursive: true });
    });

    /** Sweeps `count` sessions that expired so long ago, and tells of each step. */
    async function swept(count: number, age: number) {
      let now = Date.now();
      const sessions = new Sessions(store, limits, { now: () => now });
      await Promise.all(Array.from({ length: count }, () => sessions.create('mary')));
      now += minute + age;
      const steps: { limit: number; rested: number }[] = [];
      let ended = performance.now();
      const slowed = new Proxy(store, {
        get(target, name) {
          const value = Reflect.get(target, name, target);
          if (name !== 'sweep') return typeof value === 'function' ? value.bind(target) : value;
          return async (at: number, limit: number) => {
            steps.push({ limit, rested: performance.now() - ended });
            await pause(slow);
            const result = await target.sweep(at, limit);
            ended = performance.now();
            return result;
          };
        },
      });
      const stop = new AbortController();
      let left = count;
      const sweeping = runSweeper(slowed, {
        signal: stop.signal,
        now: () => now,
        onSwept(removed) {
          left -= removed;
          if (left === 0) stop.abort();
        },
      });
      await sweeping;
      assert.equal(store.count(), 0);
      return steps;
    }

    it('removes few sessions at a time, and rests in between', async () => {
      const steps = await swept(80, 1000);
      assert.deepEqual(
        steps.map(({ limit }) => limit),
        [16, 16, 16, 16, 16],
      );
      // A timer may be early by a fraction of a millisecond.
      for (const { rested } of steps.slice(1)) assert.ok(rested > 3 * slow - 5, `rested ${rested} ms`);
    });

    it('removes many at a time without a rest once they should have been gone for long', async () => {
      const steps = await swept(316, 65 * minute);
      assert.deepEqual(
        steps.map(({ limit }) => limit),
        [16, 100, 100, 100],
      );
      assert.ok(Math.min(...steps.slice(1).map(({ rested }) => rested)) < slow);
    });
  });
});
