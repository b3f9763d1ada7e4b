import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { EmbeddedStore } from '../../../host/storage/embedded.js';
import { describeStorage } from '../../contracts/storage.js';

describeStorage('EmbeddedStore', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'storage-'));
  return { open: async () => EmbeddedStore.open(folder), remove: () => rm(folder, { recursive: true }) };
});

describe("bytes that change in the plugins' storage", () => {
  it('are never answered; the value can be replaced, and expires', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'storage-'));
    const store = EmbeddedStore.open(folder);
    try {
      const [place, expires] = ['shop/carts/ann', 5000];
      await store.write(place, { text: '{"total":1}', expires });
      const path = join(folder, 'storage.mdb');
      const flip = async () => {
        const at = (await readFile(path)).lastIndexOf('{"total":1}') + 9;
        const file = await open(path, 'r+');
        await file.write('9', at);
        await file.close();
      };
      await flip();
      const damaged = { code: 'storage_damaged', status: 503 };
      expect(() => store.read(place))
        .to.throw()
        .that.includes(damaged);
      const range = { from: 'shop/', to: 'shop0', limit: 10, reverse: false };
      expect(() => store.page(range))
        .to.throw()
        .that.includes(damaged);
      await store.write(place, { text: '{"total":1}', expires });
      expect(store.read(place)).to.include({ text: '{"total":1}', expires });
      await flip();
      await store.removeExpired(expires + 1, 10);
      expect(store.read(place)).to.equal(undefined);
    } finally {
      await store.close();
      await rm(folder, { recursive: true });
    }
  });
});
