import { Binary, MongoClient } from 'mongodb';
import { serveSessions } from './sessions-by-hand.mjs';

const client = new MongoClient(process.env.MONGO_URL, {
  maxPoolSize: 50,
  minPoolSize: 5,
  writeConcern: { w: 'majority', journal: true },
});
const sessions = client.db('bench').collection('by-hand');
await sessions.createIndex({ expires: 1 }, { expireAfterSeconds: 0 });
await sessions.createIndex({ userid: 1, created: -1 });

serveSessions({
  async create({ handle, secret, created, touched, ends, expires, ...rest }) {
    await sessions.insertOne({
      _id: new Binary(handle),
      secret: new Binary(secret),
      created: new Date(created),
      touched: new Date(touched),
      ends: new Date(ends),
      expires: new Date(expires),
      ...rest,
    });
  },
  async read(handle) {
    const now = new Date();
    return toRecord(
      await sessions.findOne({ _id: new Binary(handle), expires: { $gt: now }, ends: { $gt: now } }),
    );
  },
  async replace({ handle, secret, userid }, time, { data, touched, expires }) {
    const now = new Date(time);
    const live = { expires: { $gt: now }, ends: { $gt: now } };
    return toRecord(
      await sessions.findOneAndUpdate(
        { _id: new Binary(handle), secret: new Binary(secret), userid, ...live },
        { $set: { data, touched: new Date(touched), expires: new Date(expires) }, $inc: { version: 1 } },
        { returnDocument: 'after', projection: { data: 0 } },
      ),
    );
  },
});

function toRecord(found) {
  if (found === null) return undefined;
  return {
    ...found,
    handle: found._id.buffer,
    secret: found.secret.buffer,
    created: found.created.getTime(),
    touched: found.touched.getTime(),
    ends: found.ends.getTime(),
    expires: found.expires.getTime(),
  };
}
