import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { SealedFields, Store } from '../../../../plugins/sessman/store.js';
import type { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { Keyring, plain } from '../../../../plugins/sessman/stores/keyring.js';
import { type KeyCounts, keysOf, runReencryption } from '../../../../plugins/sessman/stores/reencrypt.js';
import { instead, openTemporary, recordAt, until } from '../support/embedded.js';

describe('encrypting the records of a store again', () => {
  let store: EmbeddedStore;
  let close: () => Promise<void>;
  const now = Date.now();
  beforeEach(async () => {
    ({ store, close } = await openTemporary());
  });
  afterEach(() => close());

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

  it('goes over the records again after some seconds', async () => {
    const key = newKey();
    const { first } = new Keyring([key]);
    let reads = 0;
    const sealed = (limit: number, after?: string) => {
      reads += 1;
      return store.sealed(limit, after);
    };
    const host = start([key, plain], instead(store, { sealed }));
    await until(() => counted()?.counts[first] === 0);
    expect(reads).to.equal(1);
    await insert(store);
    host.clock.at += 2999;
    const { looks } = host.clock;
    await until(() => host.clock.looks > looks + 3);
    expect(reads).to.equal(1);
    host.clock.at += 1;
    await until(() => counted()?.counts[first] === 1);
    expect(await inUse()).to.deep.equal([first]);
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
