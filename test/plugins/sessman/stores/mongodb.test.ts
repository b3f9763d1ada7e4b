import { pino } from 'pino';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import { describeSessions } from '../../../contracts/sessions.js';
import { describeStore } from '../../../contracts/store.js';
import { sharedMongo } from '../../../support/mongodb.js';

for (const describeContract of [describeStore, describeSessions]) {
  describeContract('MongoStore', async () => {
    const { host, user, password, database } = await (await sharedMongo()).createDatabase();
    const settings = { server_url: host, username: user, password, database, collection: 'sessions' };
    return {
      rounds: 50,
      open: () => MongoStore.open({ ...settings, log: pino({ level: 'silent' }) }),
      remove: async () => {},
    };
  });
}
