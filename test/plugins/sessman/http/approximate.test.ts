import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { Binary, MongoClient } from 'mongodb';
import { sharedMongo } from '../../../support/mongodb.js';
import { type Api, startApi } from '../support/api.js';

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

interface Place {
  readonly api: Api;
  make(count: number): Promise<void>;
  close(): Promise<void>;
}

async function embedded(): Promise<Place> {
  const api = await startApi(
    {},
    { ini: '[paths]\nplugins=plugins\n', files: { 'plugins/many.mjs': plugin } },
  );
  return {
    api,
    make: async (count) => expect((await api.post(`/many/${count}`)).text).to.equal('made') as never,
    close: () => api.close(),
  };
}

/** Sessions, and documents that count as some: the server of the tests takes a minute for as many calls. */
async function mongodb(): Promise<Place> {
  const { host, user, password, database, url } = await (await sharedMongo()).createDatabase();
  const api = await startApi({ server_url: host, username: user, password, database });
  const client = new MongoClient(url());
  return {
    api,
    async make(count) {
      for (let n = 0; n < Math.min(count, 3); n++) await api.post('/sessman/new', { userid: 'ann' });
      // Of an epoch to come: those of one that is over would be removed while they are counted.
      const others = Array.from({ length: count - 3 }, () => ({
        _id: new Binary(randomBytes(12)) as never,
        epoch: 1000,
      }));
      if (others.length > 0) await client.db(database).collection('sessions').insertMany(others);
    },
    async close() {
      await client.close();
      await api.close();
    },
  };
}

for (const [name, open] of [
  ['embedded', embedded],
  ['mongodb', mongodb],
] as const) {
  it(`end_all of everyone counts few sessions exactly, and marks the number of more than 20,000 as an estimate, on the ${name} store`, async () => {
    const { api, make, close } = await open();
    try {
      // The server of the tests may still be busy with so many documents.
      const endAll = async () => {
        for (;;) {
          const { status, body } = await api.post('/sessman/end_all', { everyone: true });
          if (status !== 503) return body;
        }
      };
      await make(3);
      expect(await endAll()).to.deep.equal({ ended: 3 });
      await make(20_001);
      const many = await endAll();
      expect(Object.keys(many)).to.deep.equal(['ended', 'approximate']);
      expect(many.approximate).to.equal(true);
      expect(many.ended).to.be.at.least(20_001);
    } finally {
      await close();
    }
  });
}
