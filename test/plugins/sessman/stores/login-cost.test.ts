import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { pino } from 'pino';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import type { Store } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import { sharedMongo } from '../../../support/mongodb.js';
import { startMongoRelay } from '../support/mongo-relay.js';

interface Measured {
  readonly store: Store;
  /** Transactions of LMDB, or commands to MongoDB, so far. */
  count(): Promise<number>;
  close(): Promise<void>;
}

const transactions = fileURLToPath(new URL('../support/transactions.js', import.meta.url));

async function embedded(): Promise<Measured> {
  const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
  const store = EmbeddedStore.open(folder);
  const child = fork(transactions, [join(folder, 'sessions.mdb')]);
  return {
    store,
    async count() {
      child.send('count');
      const [count] = await once(child, 'message');
      return count;
    },
    async close() {
      child.kill('SIGKILL');
      await once(child, 'exit');
      await store.close();
      await rm(folder, { recursive: true });
    },
  };
}

async function mongodb(): Promise<Measured> {
  const { host, user, password, database } = await (await sharedMongo()).createDatabase();
  let commands = 0;
  const relay = await startMongoRelay(host, (command) => {
    if (onData.has(Object.keys(command)[0]!)) commands += 1;
    return undefined;
  });
  const store = await MongoStore.open({
    server_url: relay.url,
    ...{ username: user, password, database, collection: 'sessions', log: pino({ level: 'silent' }) },
  });
  return {
    store,
    count: async () => commands,
    async close() {
      await store.close();
      relay.close();
    },
  };
}

/** Commands on data: not those by which the driver watches the server. */
const onData = new Set(['insert', 'find', 'aggregate', 'update', 'delete', 'findAndModify', 'bulkWrite']);

for (const [name, open] of [
  ['embedded store', embedded],
  ['MongoDB', mongodb],
] as const) {
  describe(`a login over max_sessions_per_user, on the ${name}`, () => {
    let at: Measured;
    before(async () => {
      at = await open();
    });
    after(() => at?.close());

    const sessions = (maxPerUser: number) =>
      new Sessions(at.store, { idleTimeout: 1000, absoluteTimeout: 0, maxData: 1000, maxPerUser });
    const costOfLogin = async (userid: string) => {
      const before = await at.count();
      await sessions(2).create(userid);
      return (await at.count()) - before;
    };

    for (const surplus of [1, 2, 5, 16, 30, 31, 32, 33, 100, 240]) {
      it(`costs no more than three times the usual transactions or commands with ${surplus} too many`, async () => {
        const usual = await costOfLogin(`usual ${surplus}`);
        expect(usual).to.be.at.least(1);
        const userid = `user ${surplus}`;
        for (let made = 0; made < surplus + 1; made += 100) {
          const batch = Math.min(100, surplus + 1 - made);
          await Promise.all(Array.from({ length: batch }, () => sessions(0).create(userid)));
        }
        expect(await costOfLogin(userid)).to.be.within(1, 3 * usual);
        // A large surplus ends in the background.
        while ((await at.store.list(userid, Date.now(), 3)).length > 2) {
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      });
    }
  });
}
