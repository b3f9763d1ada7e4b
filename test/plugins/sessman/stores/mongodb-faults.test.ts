import { expect } from 'chai';
import { MongoClient } from 'mongodb';
import { ConfigError } from '../../../../config/index.js';
import { type MongoServer, startMongo } from '../../../support/mongodb.js';
import { type Api, aUser, type Reply, startApi } from '../support/api.js';

describe('sessman when MongoDB does not work', () => {
  let mongo: MongoServer;
  before(async () => {
    mongo = await startMongo({ testCommands: true });
  });
  after(() => mongo?.stop());

  const settings = (change: object = {}) => ({
    server_url: mongo.host,
    username: mongo.user,
    password: mongo.password,
    database: mongo.database,
    ...change,
  });

  describe('at the start', () => {
    const refusal = async (change: object): Promise<string> => {
      try {
        await (await startApi(settings(change))).close();
      } catch (error) {
        expect(error).to.be.instanceOf(ConfigError);
        const { problems } = error as ConfigError;
        expect(problems).to.have.length(1);
        expect(problems[0]!.position.file).to.match(/(plugin-server\.ini|sessman\.json)$/);
        expect(JSON.stringify(problems)).not.to.include('secret').and.not.to.include(mongo.password);
        return problems[0]!.message;
      }
      throw new Error('it started');
    };

    it('says so when the password is wrong', async () => {
      expect(await refusal({ password: 'a secret' }))
        .to.include('does not accept the credentials')
        .and.include(`"${mongo.user}"`);
    });

    it('says so when the user is in another database', async () => {
      expect(await refusal({ server_url: `${mongo.host}/?authSource=admin` })).to.include('authSource');
    });

    it('says so when there are no credentials', async () => {
      expect(await refusal({ username: undefined, password: undefined })).to.include(
        'Set username and password',
      );
    });

    it('says so when the user may not use the database', async () => {
      const url = `${mongo.host}/?authSource=${mongo.database}`;
      expect(await refusal({ server_url: url, database: 'elsewhere' }))
        .to.include('readWrite')
        .and.include('"elsewhere"');
    });

    it('says in log and readiness that the password is wrong, where the server comes up later', async () => {
      await mongo.kill();
      const api = await startApi(settings({ password: 'a secret' }));
      try {
        await expectUnready(api);
        await mongo.restart();
        const isNamed = async () =>
          (await api.get('/readyz')).text.includes(
            'store_unavailable: MongoDB does not accept the credentials',
          );
        while (!(await isNamed())) await new Promise((resolve) => setTimeout(resolve, 50));
        expect(api.server.logText()).to.include('Check username and password').and.not.to.include('a secret');
        expect((await api.get('/readyz')).text)
          .not.to.include(mongo.host)
          .and.not.to.include(mongo.user);
        await expectUnavailable(await api.post('/sessman/new', { userid: 'mary' }));
      } finally {
        await api.close();
      }
    });

    it('says in log and readiness that no server is of the replica set', async () => {
      const api = await startApi(settings({ server_url: `${mongo.host}/?replicaSet=other` }));
      try {
        while (!(await api.get('/readyz')).text.includes('replica set \\"other\\"'))
          await new Promise((resolve) => setTimeout(resolve, 50));
        expect(api.server.logText()).to.include('Check replicaSet in server_url');
      } finally {
        await api.close();
      }
    });

    it('starts without a server, answers 503, and recovers by itself', async () => {
      await mongo.kill();
      const api = await startApi(settings());
      try {
        await expectUnavailable(await api.post('/sessman/new', { userid: 'mary' }));
        await expectUnready(api);
        await mongo.restart();
        await recovered(api);
        expect((await api.post('/sessman/new', { userid: 'mary' })).status).to.equal(200);
        expect(api.server.logText()).not.to.include(mongo.password);
      } finally {
        await api.close();
      }
    });
  });

  describe('later', () => {
    let api: Api;
    let userid: string;
    let session_id: string;
    beforeEach(async () => {
      api = await startApi(settings());
      userid = aUser();
      session_id = (await api.post('/sessman/new', { userid, data: { n: 0 } })).body.session_id;
    });
    afterEach(() => api?.close());

    const read = () => api.post('/sessman/get', { session_id, userid });
    const everyCall = () =>
      Promise.all([
        read(),
        api.post('/sessman/new', { userid }),
        api.post('/sessman/update', { session_id, data: { n: 1 } }),
        api.post('/sessman/patch', { session_id, data: { n: 1 } }),
        api.post('/sessman/touch', { session_id }),
        api.post('/sessman/renew', { session_id }),
        api.post('/sessman/end', { session_id }),
        api.post('/sessman/list', { userid }),
        api.post('/sessman/end_all', { userid }),
      ]);

    it('answers 503 while it is dead, and recovers with everything that was acknowledged', async () => {
      await api.post('/sessman/update', { session_id, data: { n: 1 } });
      await mongo.kill();
      for (const reply of await everyCall()) await expectUnavailable(reply);
      await expectUnready(api);
      await mongo.restart();
      await recovered(api);
      const reply = await read();
      expect(reply.body.data).to.deep.equal({ n: 1 });
      expect(reply.body.version).to.equal(2);
    });

    it('answers in bounded time while it is frozen, and a write sent again with its version is applied once', async () => {
      mongo.freeze();
      const began = performance.now();
      const write = () => api.post('/sessman/update', { session_id, data: { n: 1 }, version: 1 });
      try {
        await expectUnavailable(await write());
        await expectUnavailable(await read());
        await expectUnready(api);
        // Three calls one after the other: not a figure to compare, only far from a driver's own 70 s.
        expect(performance.now() - began).to.be.below(15_000);
      } finally {
        mongo.thaw();
      }
      await recovered(api);
      const again = await write();
      expect(again.status).to.be.oneOf([200, 412]);
      const { body } = await read();
      expect(body.version).to.equal(2);
      expect(body.data).to.deep.equal({ n: 1 });
    });

    it('survives a change of primary: the driver sends the operation once more', async () => {
      await failing(2, { errorCode: 10107, errorLabels: ['RetryableWriteError'] }, ['findAndModify', 'find']);
      const updated = await api.post('/sessman/update', { session_id, data: { n: 1 }, version: 1 });
      expect(updated.status).to.be.oneOf([200, 503]);
      await recovered(api);
      expect((await read()).body.version).to.equal(updated.status === 200 ? 2 : 1);
    });

    it('answers 503 when a connection breaks, and writes no more than once', async () => {
      await failing(3, { closeConnection: true }, ['findAndModify']);
      await expectUnavailable(await api.post('/sessman/update', { session_id, data: { n: 1 }, version: 1 }));
      await failing(0, {}, []);
      await recovered(api);
      expect((await read()).body.version).to.equal(1);
      expect(
        (await api.post('/sessman/update', { session_id, data: { n: 1 }, version: 1 })).body.version,
      ).to.equal(2);
    });

    it('answers 503 when the disk is full', async () => {
      await failing(1, { errorCode: 14031 }, ['insert']);
      const reply = await api.post('/sessman/new', { userid });
      expect(reply.status).to.equal(503);
      expect(reply.body.code).to.equal('store_full');
      expect(reply.headers.get('retry-after')).to.match(/^\d+$/);
      expect((await api.post('/sessman/new', { userid })).status).to.equal(200);
    });

    it("lets a proxy's visitor in although touch=true cannot be written", async () => {
      const soon = await startApi(settings({ session_ttl: 20 }));
      try {
        const made = (await soon.post('/sessman/new', { userid })).body;
        const check = () =>
          soon.get('/sessman/check?touch=true', { headers: { 'X-Session-Id': made.session_id } });
        // A tenth of session_ttl after the last move, by the server's clock, another is due.
        while (Date.now() - Date.parse(made.updated_at) < 2500)
          await new Promise((resolve) => setTimeout(resolve, 20));
        await failing(1, { errorCode: 14031 }, ['findAndModify']);
        const unmoved = await check();
        expect([unmoved.status, unmoved.headers.get('x-session-expires')]).to.deep.equal([
          204,
          made.expires_at,
        ]);
        const moved = await check();
        expect(moved.status).to.equal(204);
        expect(Date.parse(moved.headers.get('x-session-expires')!)).to.be.above(Date.parse(made.expires_at));
      } finally {
        await soon.close();
      }
    });

    async function failing(times: number, data: object, failCommands: string[]): Promise<void> {
      const root = new MongoClient(mongo.rootUrl);
      try {
        await root.db('admin').command({
          configureFailPoint: 'failCommand',
          mode: times === 0 ? 'off' : { times },
          data: { failCommands, ...data },
        });
      } finally {
        await root.close();
      }
    }
  });

  async function expectUnavailable(reply: Reply): Promise<void> {
    expect(reply.status, reply.text).to.equal(503);
    expect(reply.body.code).to.equal('store_unavailable');
    expect(reply.headers.get('retry-after')).to.match(/^\d+$/);
    expect(reply.text).not.to.include(mongo.host).and.not.to.include(mongo.password);
  }

  async function expectUnready(api: Api): Promise<void> {
    expect((await api.get('/readyz')).status).to.equal(503);
    expect((await api.get('/healthz')).status).to.equal(200);
    expect((await api.get('/livez')).status).to.equal(200);
  }

  /** Readiness tells when the server works again. */
  async function recovered(api: Api): Promise<void> {
    while ((await api.get('/readyz')).status !== 200) await new Promise((resolve) => setTimeout(resolve, 20));
  }
});
