import { expect } from 'chai';
import { type Document, MongoClient } from 'mongodb';
import { pino } from 'pino';
import type { SessionRecord } from '../../../../plugins/sessman/store.js';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import { type MongoServer, startMongo } from '../../../support/mongodb.js';

const log = pino({ level: 'silent' });

describe("MongoStore's indexes", () => {
  let place: MongoServer;
  let client: MongoClient;
  before(async () => {
    // One that clears away every second.
    place = await startMongo({ ttlSeconds: 1 });
    client = new MongoClient(place.url());
  });
  after(async () => {
    await client?.close();
    await place?.stop();
  });

  const open = (collection: string) =>
    MongoStore.open({ server_url: place.url(), database: place.database, collection, log });
  const indexes = async (collection: string) => {
    const all = await client.db(place.database).collection(collection).listIndexes().toArray();
    return all
      .map(({ name, key, expireAfterSeconds }: Document) => ({ name, key, expireAfterSeconds }))
      .filter(({ name }) => name !== '_id_')
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  };
  const right = [
    { name: 'ended_at', key: { ended_at: 1 }, expireAfterSeconds: undefined },
    { name: 'expires_ttl', key: { expires: 1 }, expireAfterSeconds: 0 },
    { name: 'userid_created', key: { userid: 1, created: -1 }, expireAfterSeconds: undefined },
  ];

  it('are made where there is nothing', async () => {
    await (await open('fresh')).close();
    expect(await indexes('fresh')).to.deep.equal(right);
  });

  it('are left alone where they are right', async () => {
    await (await open('twice')).close();
    const store = await open('twice');
    expect(store.needsSweeping).to.equal(false);
    await store.close();
    expect(await indexes('twice')).to.deep.equal(right);
  });

  const older: [string, Document[]][] = [
    ['a TTL of its own', [{ name: 'expires_ttl', key: { expires: 1 }, expireAfterSeconds: 86400 }]],
    ['a TTL under another name', [{ name: 'old', key: { expires: 1 }, expireAfterSeconds: 60 }]],
    ['no TTL', [{ name: 'expires_1', key: { expires: 1 } }]],
    ['another key under the name', [{ name: 'userid_created', key: { userid: 1 } }]],
    ['a unique index', [{ name: 'users', key: { userid: 1, created: -1 }, unique: true }]],
  ];
  for (const [n, [what, made]] of older.entries()) {
    it(`take the place of an older one with ${what}`, async () => {
      const collection = client.db(place.database).collection(`older${n}`);
      await collection.createIndexes(made as never);
      await (await open(`older${n}`)).close();
      expect(await indexes(`older${n}`)).to.deep.equal(right);
    });
  }

  it("leave an operator's own index alone", async () => {
    const own = { name: 'mine', key: { version: 1 } };
    await client.db(place.database).collection('own').createIndexes([own]);
    await (await open('own')).close();
    expect(await indexes('own')).to.deep.equal([
      ...right.slice(0, 2),
      { ...own, expireAfterSeconds: undefined },
      ...right.slice(2),
    ]);
  });

  it('come out right when several hosts start at once', async () => {
    await client
      .db(place.database)
      .collection('many')
      .createIndexes([{ key: { expires: 1 }, expireAfterSeconds: 7 }]);
    const stores = await Promise.all(Array.from({ length: 4 }, () => open('many')));
    for (const store of stores) {
      await store.check();
      await store.close();
    }
    expect(await indexes('many')).to.deep.equal(right);
  });

  it('let the server clear away what has expired', async () => {
    const store = await open('expiring');
    const now = Date.now();
    const record = aRecord(now, now + 1);
    await store.insert(record);
    const collection = client.db(place.database).collection('expiring');
    while ((await collection.countDocuments()) > 0) await new Promise((resolve) => setTimeout(resolve, 50));
    await store.close();
  });
});

describe('MongoStore on a server without TTL indexes', () => {
  let server: MongoServer;
  before(async () => {
    server = await startMongo({ testCommands: true });
    // The index of users is there already, so that it is the TTL index which meets the failure.
    const root = new MongoClient(server.rootUrl);
    await root
      .db(server.database)
      .collection('sessions')
      .createIndex({ userid: 1, created: -1 }, { name: 'userid_created' });
    await root.db('admin').command({
      configureFailPoint: 'failCommand',
      mode: { times: 1 },
      data: { failCommands: ['createIndexes'], errorCode: 238 },
    });
    await root.close();
  });
  after(() => server?.stop());

  it('needs sweeping, and gets an index for that', async () => {
    const client = new MongoClient(server.url());
    const collection = client.db(server.database).collection('sessions');
    const store = await MongoStore.open({
      server_url: server.url(),
      database: server.database,
      collection: 'sessions',
      log,
    });
    try {
      expect(store.needsSweeping).to.equal(true);
      const names = (await collection.listIndexes().toArray()).map(({ name }: Document) => name);
      expect(names).to.include('expires').and.not.to.include('expires_ttl');
      const now = Date.now();
      await store.insert(aRecord(now, now + 1));
      expect(await store.sweep(now + 1, 10)).to.deep.include({ removed: 1 });
    } finally {
      await store.close();
      await client.close();
    }
  });
});

function aRecord(now: number, expires: number): SessionRecord {
  return {
    handle: 'AAAAAAAAAAAAAAAA',
    secretHash: Buffer.alloc(32),
    userid: 'mary',
    data: '{}',
    version: 1,
    created: now,
    touched: now,
    expires,
    ends: now + 1_000_000,
  };
}
