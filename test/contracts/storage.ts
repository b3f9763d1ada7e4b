import { randomBytes } from 'node:crypto';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import type { Storage } from '../../host/kit/storage.js';
import { dataNamesIn } from '../../host/storage/data-names.js';
import { StorageCounts } from '../../host/storage/operation-counts.js';
import { PluginStorage } from '../../host/storage/plugin-storage.js';
import { withinRun } from '../../host/storage/run-context.js';
import type { Store } from '../../host/storage/store.js';
import { Updates } from '../../host/storage/updates.js';

/** What a store's test gives the suite: how to open stores on one and the same fresh place, and how to remove it. */
export interface StorePlace {
  open(): Promise<Store>;
  remove(): Promise<void>;
}

/** What `storage` of the plugin kit promises (host/kit/storage.ts), as tests. Each store runs them all. */
export function describeStorage(name: string, makePlace: () => Promise<StorePlace>): void {
  describe(`${name}: the storage of plugins`, () => {
    let place: StorePlace;
    /** As two processes have them. */
    let stores: [Store, Store];
    let shift = 0;
    before(async () => {
      place = await makePlace();
      stores = [await place.open(), await place.open()];
    });
    after(async () => {
      for (const store of stores ?? []) await store.close();
      await place?.remove();
    });
    beforeEach(() => {
      shift = 0;
    });

    const counts = new StorageCounts();
    function storageOn<T>(store: Store, name: string): Storage<T> {
      const now = () => store.now() + shift;
      const base = { store, updates: new Updates(store, now) };
      return new PluginStorage<T>({
        name,
        space: `shop/${name}/`,
        base: () => base,
        now,
        counts,
      });
    }
    /** One fresh storage, as two processes have it. */
    function fresh<T>(): [Storage<T>, Storage<T>] {
      const unique = randomBytes(6).toString('hex');
      return [storageOn<T>(stores[0], unique), storageOn<T>(stores[1], unique)];
    }
    const keysOf = async (
      storage: Storage<unknown>,
      options?: Parameters<Storage<unknown>['entries']>[0],
    ) => {
      const keys: string[] = [];
      for await (const [key] of storage.entries(options)) keys.push(key);
      return keys;
    };
    const errorOf = (work: Promise<unknown>) =>
      work.then(
        () => expect.fail('it did not reject'),
        (error: Error & { code?: string; status?: number }) => error,
      );

    it('knows under which names there are data, however much lies under each', async () => {
      const unique = randomBytes(6).toString('hex');
      const [one, two] = stores;
      const content = { text: '1', expires: Number.POSITIVE_INFINITY };
      for (const place of ['a/x/1', 'a/x/2', 'a/y/1', 'a-b/x/1', 'a.b/x/1', 'a0/x/1', 'b/x/1'])
        await one.write(`z${unique}${place}`, content);
      const names = (await dataNamesIn(two)).filter((name) => name.startsWith(`z${unique}`));
      expect(names.map((name) => name.slice(1 + unique.length))).to.have.members([
        'a',
        'a-b',
        'a.b',
        'a0',
        'b',
      ]);
    });

    it('gives back what was set, in every process', async () => {
      const [one, two] = fresh<unknown>();
      const values = [
        { a: [1, -2.5, 1e300, null, true, '', { b: {} }], ü: 'żółw \u{1F422} \u0000', __proto__x: 1 },
        'text',
        0,
        false,
        null,
        [],
      ];
      for (const value of values) {
        await one.set('key', value);
        expect(await two.get('key')).to.deep.equal(value);
      }
      expect(await two.get('other')).to.equal(undefined);
    });

    it('gives copies', async () => {
      const [one] = fresh<{ tags: string[] }>();
      const value = { tags: ['a'] };
      await one.set('key', value);
      value.tags.push('b');
      const read = await one.get('key');
      read!.tags.push('c');
      const updated = await one.update('key', (old) => {
        value.tags = old!.tags;
        return old;
      });
      value.tags.push('d');
      updated!.tags.push('e');
      expect(await one.get('key')).to.deep.equal({ tags: ['a'] });
    });

    it('acknowledges and counts each of many sets at a time', async () => {
      const [one, two] = fresh<number>();
      const keys = Array.from({ length: 20 }, (_, n) => `key-${n}`);
      const before = counts.ok.set;
      await Promise.all(
        keys.map(async (key, n) => {
          await one.set(key, n);
          expect(await two.get(key)).to.equal(n);
        }),
      );
      expect(counts.ok.set - before).to.equal(keys.length);
    });

    it('keeps storages of other names, and of other plugins, apart', async () => {
      const [one] = fresh<number>();
      const [other] = fresh<number>();
      await one.set('key', 1);
      await other.set('key', 2);
      expect([await one.get('key'), await other.get('key')]).to.deep.equal([1, 2]);
      expect(await keysOf(one)).to.deep.equal(['key']);
    });

    it('writes as JSON.stringify does, but refuses what JSON cannot hold and names its place', async () => {
      const [one] = fresh<unknown>();
      await one.set('key', { a: undefined, b: [Object.create(null)] });
      expect(await one.get('key')).to.deep.equal({ b: [{}] });
      let deep: unknown = [];
      for (let level = 0; level < 200; level += 1) deep = level % 2 ? [deep, 1] : { deep, u: undefined };
      await one.set('deep', deep);
      expect(JSON.stringify(await one.get('deep'))).to.equal(JSON.stringify(deep));
      await one.set('elsewhere', runInNewContext('({ a: undefined, b: [{ c: 1 }] })'));
      expect(await one.get('elsewhere')).to.deep.equal({ b: [{ c: 1 }] });
      const circular: Record<string, unknown> = {};
      circular.self = { again: circular };
      const cases: readonly (readonly [unknown, RegExp])[] = [
        [undefined, /^storage\(".*"\)\.set\("key"\): value is undefined; delete the key/],
        [{ list: [1, undefined] }, /value\.list\[1\] is undefined/],
        [{ a: undefined, b: [Number.NaN] }, /value\.b\[0\] is NaN/],
        [new Array(2), /value\[0\] is undefined/],
        [{ at: new Date() }, /value\.at is a Date; store its toISOString/],
        [{ 'a b': { n: 1n } }, /value\["a b"\]\.n is a bigint/],
        [Number.NaN, /value is NaN/],
        [[Number.POSITIVE_INFINITY], /value\[0\] is Infinity/],
        [{ m: new Map() }, /value\.m is a Map/],
        [{ s: [new Set()] }, /value\.s\[0\] is a Set/],
        [{ f: () => 1 }, /value\.f is a function/],
        [Buffer.from('x'), /value is an instance of Buffer/],
        [{ u: new URL('http://a') }, /value\.u is an instance of URL/],
        [circular, /value\.self\.again is a reference/],
      ];
      for (const [value, message] of cases) {
        const error = await errorOf(one.set('key', value));
        expect(error).to.be.instanceOf(TypeError);
        expect(error.message).to.match(message);
        expect(
          await errorOf(one.update('key', () => value))
            .then((failure) => failure.message)
            .catch(() => ''),
        ).to.match(value === undefined ? /^$/ : message);
        if (value === undefined) await one.set('key', { b: [{}] });
      }
      expect(await one.get('key')).to.deep.equal({ b: [{}] });
    });

    it('holds values of 1 MiB as JSON, and refuses larger ones', async () => {
      const [one, two] = fresh<string>();
      const largest = 'ü'.repeat((1_048_576 - 2) / 2);
      await one.set('key', largest);
      expect(await two.get('key')).to.equal(largest);
      const refused = await errorOf(one.set('key', `${largest}x`));
      expect([refused.code, refused.status]).to.deep.equal(['value_too_large', 413]);
      expect((await errorOf(one.update('key', (old) => `${old}x`))).code).to.equal('value_too_large');
      expect(await two.get('key')).to.equal(largest);
    });

    it('takes keys of 1 to 512 bytes of UTF-8', async () => {
      const [one, two] = fresh<number>();
      const keys = [
        'a',
        'ü'.repeat(256),
        '\u{1F422}'.repeat(128),
        'a'.repeat(512),
        `${'a'.repeat(30)}ü`,
        '/',
        ' ',
        '__proto__',
        '\u{10FFFF}',
        '\uFFFF',
      ];
      for (const [n, key] of keys.entries()) await one.set(key, n);
      for (const [n, key] of keys.entries()) expect(await two.get(key), key).to.equal(n);
      expect(await keysOf(one)).to.have.members(keys);
      const refused = ['', `${'ü'.repeat(256)}x`, 'a\0b', '\uD800', 'x\uDC00', 5, null, undefined];
      for (const key of refused as string[]) {
        for (const call of [
          () => one.get(key),
          () => one.set(key, 1),
          () => one.delete(key),
          () => one.update(key, () => 1),
        ]) {
          expect(await errorOf(call()), JSON.stringify(key)).to.be.instanceOf(TypeError);
        }
      }
    });

    it('deletes, and says whether there was one', async () => {
      const [one, two] = fresh<number>();
      await one.set('key', 1);
      expect(await two.delete('key')).to.equal(true);
      expect(await one.delete('key')).to.equal(false);
      expect(await one.get('key')).to.equal(undefined);
      await one.set('key', 2, { ttl: 1 });
      shift += 1000;
      expect(await one.delete('key')).to.equal(false);
    });

    it('shows nothing after its ttl', async () => {
      const [one, two] = fresh<number>();
      await one.set('key', 1, { ttl: 60 });
      shift += 59_000;
      expect(await two.get('key')).to.equal(1);
      expect(await keysOf(two)).to.deep.equal(['key']);
      // Two processes know the clock of a server to a few milliseconds.
      shift += 1500;
      expect(await two.get('key')).to.equal(undefined);
      expect(await keysOf(two)).to.deep.equal([]);
      let seen: number | undefined = 0;
      expect(
        await two.update('key', (old) => {
          seen = old;
          return 5;
        }),
      ).to.equal(5);
      expect(seen).to.equal(undefined);
      shift += 1e9;
      expect(await one.get('key')).to.equal(5);
    });

    it('takes a ttl beyond all dates for never', async () => {
      const [one] = fresh<number>();
      for (const ttl of [1e12, 1e13, Number.MAX_VALUE]) {
        await one.set('key', 1, { ttl });
        expect(await one.get('key'), `${ttl}`).to.equal(1);
        await one.update('key', (value) => value! + 1, { ttl });
        expect(await one.get('key'), `${ttl}`).to.equal(2);
      }
    });

    it('keeps the expiry at an update without ttl, and drops it at a set without', async () => {
      const [one] = fresh<number>();
      await one.set('updated', 1, { ttl: 60 });
      await one.update('updated', () => 2);
      await one.set('prolonged', 1, { ttl: 60 });
      await one.update('prolonged', () => 2, { ttl: 120 });
      await one.set('set', 1, { ttl: 60 });
      await one.set('set', 2);
      shift += 61_000;
      expect(await keysOf(one)).to.deep.equal(['prolonged', 'set']);
      shift += 60_000;
      expect(await keysOf(one)).to.deep.equal(['set']);
      for (const ttl of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, '5' as unknown as number]) {
        expect(await errorOf(one.set('set', 3, { ttl }))).to.be.instanceOf(TypeError);
        expect(await errorOf(one.update('set', () => 3, { ttl }))).to.be.instanceOf(TypeError);
      }
      expect(await one.get('set')).to.equal(2);
    });

    it('removes what has expired, and nothing else', async () => {
      const [one] = fresh<number>();
      await one.set('gone', 1, { ttl: 10 });
      await one.set('prolonged', 1, { ttl: 10 });
      await one.set('prolonged', 2, { ttl: 1000 });
      await one.set('kept', 1, { ttl: 10 });
      await one.set('kept', 2);
      const at = stores[0].now() + 20_000;
      while (await stores[1].removeExpired(at, 1));
      expect(await keysOf(one)).to.deep.equal(['kept', 'prolonged']);
    });

    it('updates atomically over processes', async () => {
      const [one, two] = fresh<{ n: number }>();
      await Promise.all(
        Array.from({ length: 100 }, (_, i) =>
          (i % 2 ? one : two).update('count', (old) => ({ n: (old?.n ?? 0) + 1 })),
        ),
      );
      expect(await one.get('count')).to.deep.equal({ n: 100 });
    });

    it('gives each update what is stored after it', async () => {
      const [one] = fresh<number>();
      const results = await Promise.all(
        Array.from({ length: 20 }, () => one.update('count', (old) => (old ?? 0) + 1)),
      );
      expect(results.sort((a, b) => a! - b!)).to.deep.equal(Array.from({ length: 20 }, (_, i) => i + 1));
    });

    it('loses no update to a set or a delete that comes between', async () => {
      const [one, two] = fresh<number>();
      await one.set('key', 1);
      let calls = 0;
      let between: Promise<unknown> | undefined;
      const updated = await one.update('key', (old) => {
        calls += 1;
        if (calls === 1) between = two.set('key', 10);
        return (old ?? 0) + 1;
      });
      await between;
      expect([2, 10, 11]).to.include(updated);
      // Either came first, and nobody saw a mixture.
      expect([10, 11]).to.include(await one.get('key'));
      await Promise.all([one.delete('key'), two.update('key', (old) => (old ?? 0) + 100)]);
      expect([undefined, 100]).to.include(await one.get('key'));
    });

    it('writes nothing when the change throws, and deletes when it gives undefined', async () => {
      const [one, two] = fresh<number>();
      await one.set('key', 1);
      const thrown = new Error('no');
      expect(
        await errorOf(
          one.update('key', () => {
            throw thrown;
          }),
        ),
      ).to.equal(thrown);
      expect(await two.get('key')).to.equal(1);
      expect(await one.update('key', () => undefined)).to.equal(undefined);
      expect(await two.get('key')).to.equal(undefined);
      expect(await one.update('none', () => undefined)).to.equal(undefined);
      const promise = await errorOf(one.update('key', (async () => 1) as never));
      expect(promise).to.be.instanceOf(TypeError);
      expect(promise.message).to.match(/change returned a promise/);
      expect(await two.get('key')).to.equal(undefined);
    });

    it('lets one of several updates at once fail alone', async () => {
      const [one] = fresh<number>();
      const settled = await Promise.allSettled(
        Array.from({ length: 30 }, (_, i) =>
          one.update('count', (old) => {
            if (i % 3 === 0) throw new Error(`${i}`);
            return (old ?? 0) + 1;
          }),
        ),
      );
      expect(settled.filter(({ status }) => status === 'rejected')).to.have.length(10);
      expect(await one.get('count')).to.equal(20);
    });

    it('lists entries by the bytes of their keys, by prefix, from a key on, up to a limit, and backwards', async () => {
      const [one] = fresh<number>();
      // In the order of their bytes, which is not that of JavaScript's strings.
      const keys = ['A', 'a', 'a/1', 'a/10', 'a/2', 'a0', 'b', 'ü', '\uFFFD', '\u{1F422}'];
      for (const [n, key] of [...keys].reverse().entries()) await one.set(key, n);
      expect(await keysOf(one)).to.deep.equal(keys);
      expect(await keysOf(one, { reverse: true })).to.deep.equal([...keys].reverse());
      expect(await keysOf(one, { prefix: 'a/' })).to.deep.equal(['a/1', 'a/10', 'a/2']);
      expect(await keysOf(one, { prefix: 'a/', reverse: true })).to.deep.equal(['a/2', 'a/10', 'a/1']);
      expect(await keysOf(one, { after: 'a/1' })).to.deep.equal(keys.slice(3));
      expect(await keysOf(one, { after: 'a/11', prefix: 'a' })).to.deep.equal(['a/2', 'a0']);
      expect(await keysOf(one, { after: 'a/2', reverse: true })).to.deep.equal(['a/10', 'a/1', 'a', 'A']);
      expect(await keysOf(one, { after: 'A', prefix: 'a/', limit: 2 })).to.deep.equal(['a/1', 'a/10']);
      expect(await keysOf(one, { after: 'b', prefix: 'a/' })).to.deep.equal([]);
      expect(await keysOf(one, { after: 'b', prefix: 'a/', reverse: true, limit: 1 })).to.deep.equal(['a/2']);
      expect(await keysOf(one, { limit: 0 })).to.deep.equal([]);
      expect(await keysOf(one, { prefix: '\u{1F422}' })).to.deep.equal(['\u{1F422}']);
      expect(await keysOf(one, { prefix: '\u{1F422}', after: '\uFF5E' })).to.deep.equal(['\u{1F422}']);
      expect(await keysOf(one, { prefix: '\uFF5E', after: '\u{1F422}', reverse: true })).to.deep.equal([]);
      for (const bad of [
        { limit: -1 },
        { limit: 1.5 },
        { prefix: 'a\0' },
        { after: 5 as unknown as string },
      ]) {
        expect(await errorOf(keysOf(one, bad))).to.be.instanceOf(TypeError);
      }
    });

    it('lists more than a page, each key once, while others are written', async () => {
      const [one, two] = fresh<number>();
      const name = (n: number) => String(n).padStart(4, '0');
      // In slices, since a busy machine's database takes its time.
      for (let from = 0; from < 250; from += 25) {
        await Promise.all(
          Array.from({ length: 25 }, (_, i) => one.set(name(from + i), from + i, i % 5 ? {} : { ttl: 5 })),
        );
      }
      shift += 5000;
      const seen: [string, number][] = [];
      for await (const [key, value] of one.entries()) {
        seen.push([key, value]);
        if (seen.length === 30) {
          await two.delete(name(200));
          await two.set(name(1), -1);
          await two.set('zzz', 1);
        }
      }
      const stayed = Array.from({ length: 250 }, (_, n) => n).filter((n) => n % 5 && n !== 200);
      expect(seen.filter(([key]) => key !== 'zzz')).to.deep.equal(stayed.map((n) => [name(n), n]));
      const backwards = await keysOf(one, { reverse: true, limit: 120 });
      expect(backwards).to.deep.equal(['zzz', ...stayed.map(name).reverse()].slice(0, 120));
    });

    it('applies writes of a run only while its lease is held, in one step', async () => {
      const [one] = fresh<number>();
      const lease = `shop/.jobs/${randomBytes(6).toString('hex')}`;
      const until = { text: '{}', expires: Number.POSITIVE_INFINITY };
      await stores[0].write(lease, until, { becomes: 1 });
      const run = { fence: { place: lease, revision: 1 }, state: 'running' as const };
      await withinRun(run, async () => {
        await one.set('set', 1);
        await one.update('updated', () => 1);
        await one.set('deleted', 1, { ttl: 1000 });
        expect(await one.delete('deleted')).to.equal(true);
        await Promise.all(Array.from({ length: 10 }, () => one.update('count', (old) => (old ?? 0) + 1)));
      });
      expect(await one.get('count')).to.equal(10);
      // Another process takes the lease, and this one has not heard of it.
      expect(await stores[1].write(lease, until, { revision: 1, becomes: 2 })).to.equal(true);
      await withinRun(run, async () => {
        for (const call of [
          () => one.set('set', 2),
          () => one.set('set', 2, { ttl: 5 }),
          () => one.set('new', 2),
          () => one.update('updated', () => 2),
          () => one.update('new', () => 2),
          () => one.delete('set'),
        ]) {
          expect((await errorOf(call())).code).to.equal('lease_lost');
        }
      });
      const values = [await one.get('set'), await one.get('updated'), await one.get('new')];
      expect(values).to.deep.equal([1, 1, undefined]);
      await withinRun({ ...run, state: 'lost' }, async () => {
        expect((await errorOf(one.get('set'))).code).to.equal('lease_lost');
        expect((await errorOf(keysOf(one))).code).to.equal('lease_lost');
      });
      await withinRun({ ...run, state: 'ended' }, () => one.set('set', 3));
      expect(await one.get('set')).to.equal(3);
    });

    it('rejects with lease_lost where the lease is lost while a call fails in its own way', async () => {
      const store = await place.open();
      const now = () => store.now();
      const base = { store, updates: new Updates(store, now) };
      const options = { name: 'lost', space: 'shop/lost/', now, counts };
      const closed = new PluginStorage<number>({ ...options, base: async () => base });
      await store.close();
      for (const call of [() => closed.get('key'), () => closed.set('key', 2), () => keysOf(closed)]) {
        const run = { fence: { place: 'lost', revision: 1 }, state: 'running' as 'running' | 'lost' };
        const failure = withinRun(run, () => errorOf(call()));
        run.state = 'lost';
        expect((await failure).code).to.equal('lease_lost');
      }
    });

    it('rejects with storage_unavailable when it is closed', async () => {
      const store = await place.open();
      const closed = storageOn<number>(store, 'closed');
      await closed.set('key', 1);
      await store.close();
      await store.close();
      counts.failed.clear();
      for (const call of [() => closed.get('key'), () => closed.set('key', 2), () => closed.delete('key')]) {
        const error = await errorOf(call());
        expect([error.code, error.status]).to.deep.equal(['storage_unavailable', 503]);
      }
      expect([...counts.failed]).to.deep.equal(
        ['get', 'set', 'delete'].map((each) => [`${each} storage_unavailable`, 1]),
      );
    });
  });
}
