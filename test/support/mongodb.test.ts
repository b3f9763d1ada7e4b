import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { MongoClient, MongoServerError, MongoServerSelectionError } from 'mongodb';
import { type MongoServer, sharedMongo, startMongo } from './mongodb.js';

describe('the MongoDB server of the tests', () => {
  describe('as it is shared', () => {
    let server: MongoServer;
    before(async () => {
      server = await sharedMongo();
    });

    it('is one server, whoever asks', async () => {
      expect(await sharedMongo()).to.equal(server);
    });

    it('lets a user with an odd password read and write its own database, and no other', async () => {
      const [mine, other] = [await server.createDatabase(), await server.createDatabase()];
      await using client = await new MongoClient(mine.url()).connect();
      await client.db().collection<{ _id: number }>('c').insertOne({ _id: 1 });
      expect(await client.db().collection('c').countDocuments()).to.equal(1);
      const refused = await caught(client.db(other.database).collection('c').countDocuments());
      expect(refused).to.be.instanceOf(MongoServerError).with.property('code', 13);
    });

    it('refuses a wrong password', async () => {
      const client = new MongoClient(server.url({ password: 'wrong' }));
      expect(await caught(client.connect()))
        .to.be.instanceOf(MongoServerError)
        .with.property('code', 18);
      await client.close();
    });
  });

  describe('as one of its own', () => {
    let server: MongoServer;
    before(async function () {
      if (process.env.TEST_MONGODB_URL) this.skip();
      server = await startMongo({ testCommands: true, user: 'ps_sessman', database: 'sessman' });
    });
    after(async () => server?.stop());

    it('has the user and database asked for', () => {
      expect(server).to.include({ user: 'ps_sessman', database: 'sessman' });
    });

    it('keeps acknowledged writes over a kill and a restart, on the same port', async () => {
      const { host } = server;
      await using client = await new MongoClient(server.url(), {
        writeConcern: { w: 'majority', j: true },
      }).connect();
      const things = client.db().collection<{ _id: number }>('things');
      await things.insertOne({ _id: 1 });
      await server.kill();
      await server.restart();
      expect(server.host).to.equal(host);
      expect(await things.countDocuments()).to.equal(1);
    });

    it('answers nothing while frozen, and again when thawed', async () => {
      server.freeze();
      const client = new MongoClient(server.url(), { serverSelectionTimeoutMS: 300, connectTimeoutMS: 300 });
      expect(await caught(client.connect())).to.be.instanceOf(MongoServerSelectionError);
      await client.close();
      server.thaw();
      await using again = await new MongoClient(server.url()).connect();
      expect(await again.db().command({ ping: 1 })).to.include({ ok: 1 });
    });

    it('fails commands on demand', async () => {
      await using client = await new MongoClient(server.rootUrl).connect();
      await client.db('admin').command({
        configureFailPoint: 'failCommand',
        mode: { times: 1 },
        data: { failCommands: ['ping'], errorCode: 11602 },
      });
      expect(await caught(client.db().command({ ping: 1 }))).to.have.property('code', 11602);
      expect(await client.db().command({ ping: 1 })).to.include({ ok: 1 });
    });

    it('is gone with its data when the process that started it is killed', async () => {
      const module = new URL('./mongodb.js', import.meta.url).href;
      const script = `
        import { sharedMongo } from ${JSON.stringify(module)};
        console.log((await sharedMongo()).rootUrl);
        setInterval(() => {}, 1000);`;
      const child = execFile(process.execPath, ['--input-type=module', '-e', script]);
      const [url] = (await once(child.stdout!, 'data')) as [string];
      await using client = await new MongoClient(url.trim(), { serverSelectionTimeoutMS: 2000 }).connect();
      const closed = once(client, 'serverHeartbeatFailed');
      child.kill('SIGKILL');
      await closed;
      expect(await caught(client.db().command({ ping: 1 }))).to.be.instanceOf(MongoServerSelectionError);
    });
  });
});

async function caught(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}
