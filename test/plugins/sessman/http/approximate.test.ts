import { expect } from 'chai';
import { startApi } from '../support/api.js';

/** Makes as many sessions as the path says, each for a user of its own. */
const plugin = `
  import { definePlugin } from 'plugin-server';
  export default definePlugin({
    after: ['sessman'],
    setup({ router, plugin }) {
      const sessman = plugin('sessman');
      router.post('/:count', async (ctx) => {
        let left = Number(ctx.params.count);
        const work = async () => {
          while (left-- > 0) await sessman.create('user ' + left);
        };
        await Promise.all(Array.from({ length: 200 }, work));
        ctx.body = 'made';
      });
    },
  });`;

it('end_all of everyone counts few sessions exactly, and marks the number of more than 20,000 as an estimate', async () => {
  const api = await startApi(
    {},
    { ini: '[paths]\nplugins=plugins\n', files: { 'plugins/many.mjs': plugin } },
  );
  try {
    const make = async (count: number) => expect((await api.post(`/many/${count}`)).text).to.equal('made');
    const endAll = async () => (await api.post('/sessman/end_all', { everyone: true })).body;
    await make(3);
    expect(await endAll()).to.deep.equal({ ended: 3 });
    await make(20_001);
    const many = await endAll();
    expect(Object.keys(many)).to.deep.equal(['ended', 'approximate']);
    expect(many.approximate).to.equal(true);
    expect(many.ended).to.be.at.least(20_001);
  } finally {
    await api.close();
  }
});
