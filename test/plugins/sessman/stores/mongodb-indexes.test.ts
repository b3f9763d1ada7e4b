import { setTimeout as pause } from 'node:timers/promises';
import { expect } from 'chai';
import { type Document, MongoClient } from 'mongodb';
import { pino } from 'pino';
import type { SessionRecord } from '../../../../plugins/sessman/store.js';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import { type MongoServer, startMongo } from '../../../support/mongodb.js';
import { type MongoRelay, startMongoRelay } from '../support/mongo-relay.js';

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
      .map(({ name, key, expireAfterSeconds, unique, sparse, partialFilterExpression }: Document) => ({
        name,
        key,
        expireAfterSeconds,
        ...(unique && { unique }),
        ...(sparse && { sparse }),
        ...(partialFilterExpression && { partialFilterExpression }),
      }))
      .filter(({ name }) => name !== '_id_')
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  };
  const right = [
    { name: 'ended_at', key: { ended_at: 1 }, expireAfterSeconds: undefined, sparse: true },
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
    ['a sparse index', [{ name: 'userid_created', key: { userid: 1, created: -1 }, sparse: true }]],
    ['an index that is not sparse', [{ name: 'ended_at', key: { ended_at: 1 } }]],
    [
      'an index of some',
      [
        {
          name: 'userid_created',
          key: { userid: 1, created: -1 },
          partialFilterExpression: { userid: { $gt: 'm' } },
        },
      ],
    ],
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

  describe('while other hosts make them', () => {
    let relay: MongoRelay;
    const seen: Document[] = [];
    let onCommand: (command: Document) => Document | undefined = () => undefined;
    before(async () => {
      relay = await startMongoRelay(place.host, (command) => {
        seen.push(command);
        return onCommand(command);
      });
    });
    after(() => relay?.close());

    /** The store, and whether it can work when it is open. */
    const openThrough = async (collection: string) => {
      seen.length = 0;
      const store = await MongoStore.open({
        server_url: relay.url,
        username: place.user,
        password: place.password,
        database: place.database,
        collection,
        log,
      });
      const works = await store.check().then(
        () => true,
        () => false,
      );
      return { store, works };
    };
    /** Answers the first commands of that name with an error. */
    const refuse = (name: string, code: number, times = 1, isMeant = (_command: Document) => true) => {
      let left = times;
      onCommand = (command) => {
        if (!(name in command) || !isMeant(command) || left === 0) return undefined;
        left -= 1;
        return { ok: 0, code, codeName: 'Refused', errmsg: 'refused' };
      };
    };
    const makeOlder = (collection: string) =>
      client
        .db(place.database)
        .collection(collection)
        .createIndexes([{ key: { expires: 1 }, expireAfterSeconds: 7 }]);

    for (const code of [85, 86]) {
      it(`are looked at again, up to four times, where another one was faster: ${code}`, async () => {
        refuse('createIndexes', code, 4);
        const { store, works } = await openThrough(`faster${code}`);
        await store.close();
        expect(works).to.equal(true);
        expect(await indexes(`faster${code}`)).to.deep.equal(right);
      });
    }

    it('are given up for a while where others are faster each time', async () => {
      refuse('createIndexes', 85, 5);
      const { store, works } = await openThrough('often');
      expect(works).to.equal(false);
      expect(seen.filter(({ createIndexes }) => createIndexes)).to.have.length(5);
      while (
        !(await store.check().then(
          () => true,
          () => false,
        ))
      )
        await pause(20);
      await store.close();
      expect(await indexes('often')).to.deep.equal(right);
    });

    it('may be gone before they are removed', async () => {
      await makeOlder('gone');
      refuse('dropIndexes', 27);
      const { store, works } = await openThrough('gone');
      await store.close();
      expect(works).to.equal(true);
      expect(await indexes('gone')).to.deep.include.members(right);
    });

    it('are not passed over where the server can neither list, remove nor make them', async () => {
      const isOf = (index: string) => (command: Document) => command.indexes[0].name === index;
      const refused: [string, ((command: Document) => boolean)?][] = [
        ['listIndexes'],
        ['dropIndexes'],
        ['createIndexes', isOf('userid_created')],
        ['createIndexes', isOf('expires_ttl')],
        ['createIndexes', isOf('ended_at')],
      ];
      for (const [n, [command, isMeant]] of refused.entries()) {
        await makeOlder(`not${n}`);
        refuse(command, 8, 1, isMeant);
        const { store, works } = await openThrough(`not${n}`);
        await store.close();
        expect(works, `${command} ${n}`).to.equal(false);
      }
    });

    for (const code of [115, 238]) {
      it(`are made without a TTL where the server has none: ${code}`, async () => {
        refuse('createIndexes', code, 1, ({ indexes: [{ name }] }) => name === 'expires_ttl');
        const { store, works } = await openThrough(`plain${code}`);
        expect(works).to.equal(true);
        expect(store.needsSweeping).to.equal(true);
        await store.close();
        expect((await indexes(`plain${code}`))[1]).to.deep.equal({
          name: 'expires',
          key: { expires: 1 },
          expireAfterSeconds: undefined,
        });
      });
    }
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
