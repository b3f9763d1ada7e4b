import { expect } from 'chai';
import { FaultyProxy, type Mode } from '../../../faults/support/proxy.js';
import { type MongoServer, sharedMongo } from '../../../support/mongodb.js';
import { type Api, startApi } from '../support/api.js';

describe('sessman on a network that breaks connections', () => {
  let mongo: MongoServer;
  let proxy: FaultyProxy;
  let api: Api;

  before(async () => {
    mongo = await sharedMongo();
  });
  beforeEach(async () => {
    proxy = await FaultyProxy.start(Number(mongo.host.split(':')[1]));
    api = await startApi({
      server_url: `127.0.0.1:${proxy.port}/?directConnection=true`,
      username: mongo.user,
      password: mongo.password,
      database: mongo.database,
    });
  });
  afterEach(async () => {
    await api?.close();
    proxy?.close();
  });

  for (const [mode, times] of [
    ['reset', 60],
    ['halfClose', 8],
  ] as const satisfies readonly (readonly [Mode, number])[]) {
    it(`answers 200 or 503 and nothing else, and holds no request, at ${mode}`, async () => {
      const made = await api.post('/sessman/new', { userid: 'ann', data: {} });
      const { session_id } = made.body;
      for (let n = 0; n < times; n += 1) {
        const patches = Array.from({ length: 8 }, (_, i) =>
          api.post('/sessman/patch', { session_id, data: { [`${n}.${i}`]: true } }),
        );
        proxy.mode = mode;
        await new Promise(setImmediate);
        proxy.mode = 'pass';
        for (const { status, text } of await Promise.all(patches)) {
          expect(status, text).to.be.oneOf([200, 503]);
        }
      }
      let { status } = await api.get('/readyz');
      while (status !== 200) ({ status } = await api.get('/readyz'));
      const read = await api.post('/sessman/get', { session_id, userid: 'ann' });
      expect(read.status).to.equal(200);
    });
  }
});
