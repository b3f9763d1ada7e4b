import { pino } from 'pino';
import { MongoStore } from '../../../host/storage/mongodb.js';
import { describeStorage } from '../../contracts/storage.js';
import { sharedMongo } from '../../support/mongodb.js';

describeStorage('MongoStore', async () => {
  const { host, user, password, database } = await (await sharedMongo()).createDatabase();
  const settings = { server_url: host, username: user, password, database };
  return { open: () => MongoStore.open(settings, pino({ level: 'silent' })), remove: async () => {} };
});
