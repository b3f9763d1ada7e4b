import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { SealedFields, Store } from '../../../../plugins/sessman/store.js';
import type { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { Keyring, plain } from '../../../../plugins/sessman/stores/keyring.js';
import {
  type KeyCounts,
  keysOf,
  noneCanBeRead,
  runReencryption,
} from '../../../../plugins/sessman/stores/reencrypt.js';
import { instead, openTemporary, recordAt, until } from '../support/embedded.js';

describe('encrypting the records of a store again', () => {
  let store: EmbeddedStore;
  let close: () => Promise<void>;
  const now = Date.now();
  beforeEach(async () => {
    ({ store, close } = await openTemporary());
    await store.raise();
  });
  afterEach(() => close());

  const openUnraised = async () => {
    await close();
    ({ store, close } = await openTemporary());
  };
  const newKey = () => randomBytes(32).toString('base64');
  const insert = (into: Store, handle = randomBytes(12).toString('base64url')) =>
    into.insert(recordAt(now, { handle }));
  const hosts = () => store.fact<Record<string, { fingerprints: string[]; until: number }>>('hosts') ?? {};
  const counted = () => store.fact<KeyCounts>('records-by-key');
  const inUse = async () => (await store.sealed(1000)).flatMap(keysOf);
  /** A host that lists these keys, and whose clock stands still until it is moved. */
  const start = (keys: readonly string[] | undefined, on: Store = store) => {
    const ending = new AbortController();
    const clock = { at: now, looks: 0 };
    const running = runReencryption(on, keys && new Keyring(keys), {
      signal: ending.signal,
      now: () => {
        clock.looks += 1;
        return clock.at;
      },
    });
    const stop = () => {
      ending.abort();
      return running;
    };
    return { clock, stop, ending };
  };
  it('tells the other hosts which keys it lists, every few seconds, and no longer when it ends', async () => {
    const keys = [newKey(), newKey(), plain];
    const { fingerprints } = new Keyring(keys);
    const host = start(keys);
    await until(counted);
    expect(Object.values(hosts())).to.deep.equal([{ fingerprints, until: now + 15_000 }]);
    const others = {
      another: { fingerprints, until: now + 5001 },
      dead: { fingerprints, until: now + 5000 },
    };
    await store.changeFact('hosts', (told = {}) => ({ ...told, ...others }));
    host.clock.at += 5000;
    await until(() => Object.values(hosts()).some(({ until }) => until === now + 20_000));
    expect(Object.keys(hosts())).to.have.length(2).and.to.include('another');
    await host.stop();
    expect(Object.keys(hosts())).to.deep.equal(['another']);
    expect(await store.lease('reencryption', 'another', now + 5000, now + 5001)).to.be.a('number');
  });

  it('lists only what is not encrypted where it has no keys, once another host encrypts', async () => {
    await openUnraised();
    let looks = 0;
    const isRaised = () => {
      looks += 1;
      return store.isRaised();
    };
    const host = start(undefined, instead(store, { isRaised }));
    await until(() => looks === 2);
    expect(store.fact('hosts')).to.equal(undefined);
    await store.raise();
    await until(() => store.fact('hosts'));
    expect(Object.values(hosts())).to.deep.equal([{ fingerprints: [plain], until: now + 15_000 }]);
    await host.stop();
    expect(hosts()).to.deep.equal({});
    expect(counted()).to.equal(undefined);
    expect(store.fact('reencryption')).to.equal(undefined);
  });

  it('replaces nothing before a host without keys has heard that others may encrypt', async () => {
    await openUnraised();
    await insert(store);
    const host = start([newKey(), plain]);
    await until(() => store.isRaised());
    const without = start(undefined);
    await until(() => Object.keys(hosts()).length === 2);
    host.clock.at += 3000;
    await until(() => counted()?.counts[plain] === 1);
    expect((await store.sealed(1)).flatMap(keysOf)).to.deep.equal([plain]);
    await without.stop();
    host.clock.at += 3000;
    await until(async () => !(await store.sealed(1)).flatMap(keysOf).includes(plain));
    await host.stop();
  });

  it('leaves a store without sessions open to hosts of version 0.1.0', async () => {
    await openUnraised();
    const host = start([newKey()]);
    await until(() => Object.keys(counted()?.counts ?? {}).length > 0);
    await host.stop();
    expect(store.isRaised()).to.equal(false);
  });

  it('leaves nothing behind where it ends before it has told anything', async () => {
    for (const keys of [undefined, [newKey()]]) {
      const host = start(
        keys,
        instead(store, { isRaised: () => false, changeFact: () => Promise.reject(new Error()) }),
      );
      await host.stop();
      expect(store.fact('hosts')).to.equal(undefined);
    }
  });

  it('waits for the host that goes over the records, and does not take its counts for its own', async () => {
    const [key, other] = [newKey(), newKey()];
    const { first } = new Keyring([key]);
    await insert(store);
    await store.lease('reencryption', 'another', now, now + 1000);
    for (const before of [first, new Keyring([other]).first]) {
      await store.changeFact('records-by-key', () => ({ first: before, counts: { x: 7 } }));
      const host = start([key, plain]);
      await until(() => Object.keys(hosts()).length === 1);
      const { looks } = host.clock;
      await until(() => host.clock.looks > looks + 4);
      expect(counted()).to.deep.equal({ first, counts: before === first ? { x: 7 } : {} });
      await host.stop();
    }
    expect(await inUse()).to.deep.equal([plain]);
    const host = start([key, plain]);
    host.clock.at += 1001;
    await until(async () => (await inUse())[0] === first);
    await host.stop();
  });

  it('counts the keys with which other hosts encrypt as in use', async () => {
    const [key, other] = [newKey(), newKey()];
    const [{ first }, { first: elsewhere }] = [new Keyring([key]), new Keyring([other])];
    await insert(store);
    await store.changeFact('hosts', () => ({
      living: { fingerprints: [elsewhere, first], until: now + 1 },
      same: { fingerprints: [first, elsewhere], until: now + 1 },
      dead: { fingerprints: ['dead'], until: now },
    }));
    const host = start([key, other, plain]);
    await until(() => counted()?.counts[first]);
    await host.stop();
    expect(counted()).to.deep.include({ first, counts: { [first]: 1, [elsewhere]: 1, [plain]: 0 } });
  });

  it('counts what another host encrypted with, whether it came or went meanwhile', async () => {
    const [key, other] = [newKey(), newKey()];
    const [{ first }, elsewhere] = [new Keyring([key]), new Keyring([other])];
    for (let n = 0; n < 2; n++) {
      const handle = randomBytes(12).toString('base64url');
      await store.insert(recordAt(now, { handle, data: elsewhere.seal('data', handle, '{}') }));
    }
    const host = (fingerprint: string) => ({ fingerprints: [fingerprint, first], until: now + 1 });
    await store.changeFact('hosts', () => ({ same: host(elsewhere.first), leaving: host('left') }));
    const sealed = async (limit: number, after?: string) => {
      await store.changeFact('hosts', ({ leaving: _, ...others }: Record<string, object> = {}) => ({
        ...others,
        coming: host('came'),
      }));
      return store.sealed(limit, after);
    };
    const { stop } = start([key], instead(store, { sealed }));
    await until(() => counted()?.counts[first] === 0);
    await stop();
    expect(counted()!.counts).to.deep.equal({ [first]: 0, [elsewhere.first]: 2, left: 1, came: 1 });
  });

  it('encrypts only the fields that have another key, and counts only the records that it has read', async () => {
    const [key, other] = [newKey(), newKey()];
    const [keys, earlier] = [new Keyring([key]), new Keyring([other])];
    const handle = Buffer.alloc(12, 7).toString('base64url');
    const record = recordAt(now, {
      handle,
      data: earlier.seal('data', handle, '{"a":1}'),
      about: keys.seal('about', handle, '{"b":1}'),
      ip: '::1',
      userAgent: earlier.seal('user_agent', handle, 'Browser/1'),
    });
    await store.insert(record);
    const second = Buffer.alloc(12, 9).toString('base64url');
    await store.insert(recordAt(now, { handle: second, about: earlier.seal('about', second, '{"b":2}') }));
    // It has the first key already.
    await insert(encryptStore(store, keys), Buffer.alloc(12, 99).toString('base64url'));
    const asked: string[] = [];
    const replaceSealed = async (before: SealedFields, after: SealedFields) => {
      asked.push(`${Object.keys(before).sort()} ${Object.keys(after).sort()}`);
      // Others come between.
      const between = Buffer.alloc(12, 7 + asked.length);
      if (asked.length === 1) await insert(encryptStore(store, keys), between.toString('base64url'));
      return store.replaceSealed(before, after);
    };
    const { stop } = start([key, other, plain], instead(store, { replaceSealed }));
    await until(() => counted()?.counts[keys.first] === 3);
    await stop();
    expect(store.count()).to.equal(4);
    expect(asked).to.have.members([
      'data,handle,ip,userAgent data,handle,ip,userAgent',
      'about,data,handle about,data,handle',
    ]);
    expect((await store.sealed(1))[0]!.about).to.equal(record.about);
    expect(await encryptStore(store, keys).read(second, now)).to.include({ data: '{}', about: '{"b":2}' });
    expect(await encryptStore(store, keys).read(handle, now)).to.include({
      data: '{"a":1}',
      about: '{"b":1}',
      ip: '::1',
      userAgent: 'Browser/1',
    });
  });

  it('knows whether none of the first records can be read', async () => {
    const [key, other] = [newKey(), newKey()];
    const keys = new Keyring([key]);
    expect(await noneCanBeRead(store, keys)).to.equal(false);
    await insert(encryptStore(store, new Keyring([other])));
    expect(await noneCanBeRead(store, keys)).to.equal(true);
    await insert(encryptStore(store, keys));
    expect(await noneCanBeRead(store, keys)).to.equal(false);
  });

  describe('by a steady clock that stands still', () => {
    let steady: number;
    beforeEach(() => {
      // Whole, so that sums are exact.
      steady = Math.ceil(performance.now());
      performance.now = () => steady;
    });
    afterEach(() => {
      Reflect.deleteProperty(performance, 'now');
    });

    /** A host whose first lease is answered after so many milliseconds, and the second at once, if at all. */
    const startSlow = (keys: readonly string[], took: number, isRenewed = true) => {
      const told = { leases: 0, reads: 0 };
      const host = start(
        keys,
        instead(store, {
          async lease(...args) {
            told.leases += 1;
            if (told.leases === 2 && !isRenewed) return undefined;
            if (told.leases === 1) steady += took;
            return store.lease(...args);
          },
          sealed(...args) {
            told.reads += 1;
            return store.sealed(...args);
          },
        }),
      );
      return { ...host, told };
    };

    it('holds its duty from when it asked for it, renews it in time, and replaces nothing without it', async () => {
      const keys = [newKey(), newKey(), newKey(), newKey()];
      const [late, refused, renewed, held] = keys.map((key) => new Keyring([key]).first);
      await Promise.all(Array.from({ length: 250 }, () => insert(store)));
      const of = async (first: string | undefined) => (await inUse()).filter((each) => each === first).length;
      const list = (n: number) => [keys[n]!, ...keys.slice(0, n), plain];

      const one = startSlow(list(0), 15_000);
      await until(() => one.told.reads > 0);
      await one.stop();
      expect(await of(late)).to.equal(0);

      const two = startSlow(list(1), 7500, false);
      await until(() => two.told.leases === 2);
      await two.stop();
      expect(await of(refused)).to.equal(100);
      expect(counted()).to.deep.equal({ first: refused, counts: {} });

      for (const [n, first, took, leases] of [
        [2, renewed, 7500, 2],
        [3, held, 7499, 1],
      ] as const) {
        const { told, stop } = startSlow(list(n), took);
        await until(() => counted()?.counts[first!] === 250);
        expect(told.leases).to.equal(leases);
        await stop();
        expect(await of(first)).to.equal(250);
      }
    });

    it('goes over the records again after some seconds, or after as long as that took', async () => {
      let reads = 0;
      let counts = 0;
      const { clock, stop } = start(
        [newKey()],
        instead(store, {
          async sealed(...args) {
            reads += 1;
            if (reads === 2) steady += 5000;
            return store.sealed(...args);
          },
          async changeFact(name, change) {
            await store.changeFact(name, change);
            if (name === 'records-by-key') counts += 1;
          },
        }),
      );
      // It resets the counts before the first pass.
      await until(() => counts === 2);
      for (const pause of [3000, 5000]) {
        const before = counts;
        clock.at += pause - 1;
        const { looks } = clock;
        await until(() => clock.looks > looks + 3);
        expect(reads).to.equal(before - 1);
        clock.at += 1;
        await until(() => counts === before + 1);
      }
      await stop();
    });
  });

  it('stops within a pass', async () => {
    const key = newKey();
    await Promise.all(Array.from({ length: 250 }, () => insert(store)));
    let reads = 0;
    const sealed = (limit: number, after?: string) => {
      reads += 1;
      host.ending.abort();
      return store.sealed(limit, after);
    };
    const host = start([key, plain], instead(store, { sealed }));
    await host.stop();
    // Once to replace, and once to count.
    expect(reads).to.be.at.most(2);
    expect(counted()).to.deep.equal({ first: new Keyring([key]).first, counts: {} });
    expect((await inUse()).filter((each) => each !== plain)).to.have.length(100);
    expect(await store.lease('reencryption', 'another', now, now + 1)).to.be.a('number');
  });

  it('needs one pass, although sessions are written, made and ended meanwhile', async () => {
    const keys = new Keyring([randomBytes(32).toString('base64'), plain]);
    const users = encryptStore(store, keys);
    const handles = Array.from({ length: 250 }, () => randomBytes(12).toString('base64url'));
    for (const handle of handles) await insert(store, handle);
    let steps = 0;
    let counted = (_: KeyCounts) => {};
    const firstCount = new Promise<KeyCounts>((resolve) => {
      counted = resolve;
    });
    const overridden: Partial<Store> = {
      /** Somebody is always faster with some of them. */
      async replaceSealed(before: SealedFields, after: SealedFields) {
        const match = { handle: before.handle, now };
        const change = { touched: now, expires: now + 1e6, data: '{"written":true}' };
        steps += 1;
        if (steps % 10 === 0) await users.write(match, change);
        if (steps % 10 === 5) await insert(users);
        if (steps % 50 === 7) await users.remove(match, 'end');
        return store.replaceSealed(before, after);
      },
      async changeFact(name, change) {
        await store.changeFact(name, change);
        const kept = store.fact<KeyCounts>('records-by-key');
        if (kept && Object.keys(kept.counts).length > 0) counted(kept);
      },
    };
    const ending = new AbortController();
    const running = runReencryption(instead(store, overridden), keys, { signal: ending.signal });
    const { counts } = await firstCount;
    ending.abort();
    await running;
    expect(counts[plain]).to.equal(0);
    const all = await store.sealed(1000);
    expect(all.length).to.be.within(240, 280);
    for (const sealed of all) expect(keysOf(sealed)).to.deep.equal([keys.first]);
  });
});
