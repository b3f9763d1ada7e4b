import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { SealedFields, Store } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { Keyring, plain } from '../../../../plugins/sessman/stores/keyring.js';
import { type KeyCounts, keysOf, runReencryption } from '../../../../plugins/sessman/stores/reencrypt.js';

describe('encrypting the records of a store again', () => {
  let folder: string;
  let store: EmbeddedStore;
  const now = Date.now();
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'reencryption-'));
    store = EmbeddedStore.open(join(folder, 'store'));
  });
  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  it('needs one pass, although sessions are written, made and ended meanwhile', async () => {
    const keys = new Keyring([randomBytes(32).toString('base64'), plain]);
    const users = encryptStore(store, keys);
    const handles = Array.from({ length: 250 }, () => randomBytes(12).toString('base64url'));
    const insert = (into: Store, handle: string) => {
      const times = { created: now, touched: now, expires: now + 1e6, ends: now + 1e6 };
      const secretHash = randomBytes(32);
      return into.insert({ handle, secretHash, userid: 'ann', data: '{}', version: 1, ...times });
    };
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
        if (steps % 10 === 5) await insert(users, randomBytes(12).toString('base64url'));
        if (steps % 50 === 7) await users.remove(match, 'end');
        return store.replaceSealed(before, after);
      },
      async changeFact(name, change) {
        await store.changeFact(name, change);
        const kept = store.fact<KeyCounts>('records-by-key');
        if (kept && Object.keys(kept.counts).length > 0) counted(kept);
      },
    };
    const raced = new Proxy<Store>(store, {
      get(target, name) {
        const value: unknown = Reflect.get(name in overridden ? overridden : target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const ending = new AbortController();
    const running = runReencryption(raced, keys, { signal: ending.signal });
    const { counts } = await firstCount;
    ending.abort();
    await running;
    expect(counts[plain]).to.equal(0);
    const all = await store.sealed(1000);
    expect(all.length).to.be.within(240, 280);
    for (const sealed of all) expect(keysOf(sealed)).to.deep.equal([keys.first]);
  });
});
