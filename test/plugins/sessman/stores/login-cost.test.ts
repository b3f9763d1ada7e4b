import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { BSON } from 'mongodb';
import { pino } from 'pino';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import type { Store } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import { sharedMongo } from '../../../support/mongodb.js';

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

/** By way of a relay that reads the names of the commands. */
async function mongodb(): Promise<Measured> {
  const { host, user, password, database } = await (await sharedMongo()).createDatabase();
  const [name, port] = host.split(':');
  let commands = 0;
  const relay = createServer((client) => {
    const server = connect(Number(port), name);
    let received = Buffer.alloc(0);
    client.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 4 && received.length >= received.readInt32LE(0)) {
        const size = received.readInt32LE(0);
        if (commandIn(received.subarray(0, size))) commands += 1;
        received = received.subarray(size);
      }
    });
    client.pipe(server).pipe(client);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const)
      one.on('error', () => {}).on('close', () => other.destroy());
  });
  await once(relay.listen(0, '127.0.0.1'), 'listening');
  const store = await MongoStore.open({
    server_url: `127.0.0.1:${(relay.address() as AddressInfo).port}/?directConnection=true`,
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

/** Whether an OP_MSG is a command on data: not one by which the driver watches the server. */
function commandIn(message: Buffer): boolean {
  if (message.readInt32LE(12) !== 2013) return false;
  const command = BSON.deserialize(message.subarray(21, 21 + message.readInt32LE(21)));
  return ['insert', 'find', 'aggregate', 'update', 'delete', 'findAndModify', 'bulkWrite'].includes(
    Object.keys(command)[0]!,
  );
}

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
