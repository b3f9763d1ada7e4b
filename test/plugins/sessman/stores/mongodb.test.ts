import { randomBytes } from 'node:crypto';
import { pino } from 'pino';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { Keyring } from '../../../../plugins/sessman/stores/keyring.js';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import { describeSessions } from '../../../contracts/sessions.js';
import { describeStore } from '../../../contracts/store.js';
import { sharedMongo } from '../../../support/mongodb.js';

for (const describeContract of [describeStore, describeSessions]) {
  describeContract('MongoStore', async () => {
    const { host, user, password, database } = await (await sharedMongo()).createDatabase();
    const settings = { server_url: host, username: user, password, database, collection: 'sessions' };
    return {
      open: () => MongoStore.open({ ...settings, log: pino({ level: 'silent' }) }),
      remove: async () => {},
    };
  });
}

const key = randomBytes(32).toString('base64');

describeStore('MongoStore with encryption', async () => {
  const { host, user, password, database } = await (await sharedMongo()).createDatabase();
  const settings = { server_url: host, username: user, password, database, collection: 'sessions' };
  return {
    open: async () =>
      encryptStore(
        await MongoStore.open({ ...settings, log: pino({ level: 'silent' }) }),
        new Keyring([key]),
      ),
    remove: async () => {},
  };
});
