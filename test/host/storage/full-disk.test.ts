import { join } from 'node:path';
import { expect } from 'chai';
import { mountDisk } from '../../support/disk.js';
import { ServerProcess } from '../../support/process.js';
import { makeFolder } from '../../support/server.js';

const plugin = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage }) {
    const notes = storage('notes');
    router.get('/:key', async (ctx) => { ctx.body = { length: (await notes.get(ctx.params.key)).length }; });
    router.put('/:key', async (ctx) => { await notes.set(ctx.params.key, 'x'.repeat(4000)); ctx.status = 204; });
    router.delete('/:key', async (ctx) => { await notes.delete(ctx.params.key); ctx.status = 204; });
  },
});`;

describe("the plugins' storage on a full disk", () => {
  it('is read, makes room where values are deleted, loses no worker, and is written again', async function () {
    const folder = await makeFolder();
    const disk = mountDisk(join(folder, 'data'), '8m');
    if (!disk) this.skip();
    const server = await ServerProcess.start({
      folder,
      ini: '[network]\nworkers=int:2\n[main]\nsafe=list:notes\n',
      files: { 'plugins/notes.mjs': plugin },
      args: ['--safe'],
    });
    try {
      let keys = 0;
      let refused = 0;
      const call = (method: string, key: number) => server.fetch(`/notes/${key}`, { method });
      const fill = async () => {
        while (refused < 200) {
          const response = await call('PUT', keys++);
          if (response.status === 204) continue;
          expect(await response.json()).to.include({ code: 'storage_unavailable' });
          refused += 1;
        }
      };
      await Promise.all(Array.from({ length: 16 }, fill));
      expect(await (await call('GET', 0)).json()).to.deep.equal({ length: 4000 });
      for (let key = 0; key < 300; key += 1) expect((await call('DELETE', key)).status).to.equal(204);
      expect((await call('PUT', 0)).status).to.equal(204);
      expect(server.logs.filter(({ msg }) => /worker.*(lost|replaced)/.test(msg))).to.deep.equal([]);
    } finally {
      disk?.unmount();
      await server.close();
    }
  });
});
