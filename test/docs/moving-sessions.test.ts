import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { expect } from 'chai';
import MongoStore from 'connect-mongo';
import express from 'express';
import session, { type Store } from 'express-session';
import { MongoClient } from 'mongodb';
import { SessmanStore } from '../../plugins/sessman/adapters/express.js';
import { type MongoDatabase, sharedMongo } from '../support/mongodb.js';
import { runProgram, ServerProcess } from '../support/process.js';
import { readSteps, Walkthrough } from '../support/walkthrough.js';

const program = 'move-connect-mongo.js';

interface Visit {
  readonly user?: string;
  readonly visits: number;
}

declare module 'express-session' {
  interface SessionData {
    user?: string;
    visits?: number;
  }
}

const options: readonly (readonly [string, Partial<Parameters<typeof MongoStore.create>[0]>])[] = [
  ['its defaults', {}],
  ['sessions stored as objects', { stringify: false }],
  ['encrypted sessions', { crypto: { secret: 'squirrel' } }],
  ['sessions touched now and then, with times', { touchAfter: 3600, timestamps: true }],
  ['another collection', { collectionName: 'visitors' }],
];

describe('the program that moves sessions of connect-mongo', () => {
  let database: MongoDatabase;
  let client: MongoClient;
  let walk: Walkthrough;
  let server: ServerProcess;
  const closing: (() => unknown)[] = [];

  before(async () => {
    walk = await Walkthrough.start();
    server = await ServerProcess.start({ folder: walk.folder });
  });
  after(async () => {
    await server?.close();
    await walk?.end();
  });
  beforeEach(async () => {
    database = await (await sharedMongo()).createDatabase();
    client = await MongoClient.connect(database.url());
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await client?.close();
  });

  for (const [what, given] of options) {
    it(`keeps visitors logged in, and counts the sessions that it moved: ${what}`, async () => {
      const old = MongoStore.create({ client, ...given });
      const before = await application(old);
      const cookies: string[] = [];
      for (const user of ['ann', 'ben', undefined]) cookies.push(await before.visit(undefined, user));
      const expired = await before.visit();
      await before.visit(cookies[0]);
      await expire(given.collectionName ?? 'sessions', expired);
      await before.close();

      expect(await move(given)).to.equal('sessions moved: 3\n');

      const store = new SessmanStore({ base_url: `${server.url}/sessman`, userid: ({ user }) => user });
      closing.push(() => store.close());
      const after = await application(store);
      expect(await after.read(cookies[0]!)).to.deep.equal({ user: 'ann', visits: 3 });
      expect(await after.read(cookies[1]!)).to.deep.equal({ user: 'ben', visits: 2 });
      expect(await after.read(cookies[2]!)).to.deep.equal({ visits: 2 });
      expect(await after.read(expired)).to.deep.equal({ visits: 1 });
      expect(await store.endAll('ann'), 'sessions of ann').to.equal(1);
    });
  }

  it('moves nothing where there is nothing', async () => {
    expect(await move({})).to.equal('sessions moved: 0\n');
  });

  /** Runs the program of the page, with these options of connect-mongo. */
  async function move(given: object): Promise<string> {
    const steps = await readSteps('docs/migrating.md');
    const step = steps.find((each) => each.kind === 'file' && each.path === program);
    const text = step?.kind === 'file' ? step.text : '';
    const all = JSON.stringify({ collectionName: 'sessions', ...given });
    const mine = text.replace("{ collectionName: 'sessions' }", () => all);
    expect(mine).to.include(all);
    await walk.write(program, mine.replaceAll('http://127.0.0.1:6123', server.url));
    const env = { ...process.env, MONGODB_URL: database.url() };
    const { stdout, stderr } = await runProgram(process.execPath, [program], walk.folder, env);
    return stderr + stdout;
  }

  async function expire(collection: string, cookie: string): Promise<void> {
    const _id = /^connect\.sid=s%3A([^.]*)/.exec(cookie)![1]!;
    const expires = { $set: { expires: new Date(Date.now() - 1000) } };
    const { matchedCount } = await client
      .db()
      .collection<{ _id: string }>(collection)
      .updateOne({ _id }, expires);
    expect(matchedCount).to.equal(1);
  }

  /** An application that counts the visits of each session. */
  async function application(store: Store) {
    const app = express();
    app.use(session({ store, secret: 'a secret', resave: false, saveUninitialized: false }));
    app.get('/', (req, res, next) => {
      req.session.visits = (req.session.visits ?? 0) + 1;
      const { user } = req.query;
      if (typeof user === 'string') req.session.user = user;
      const { user: known, visits } = req.session;
      req.session.save((error) => (error ? next(error) : res.json({ user: known, visits })));
    });
    const server: Server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const close = async () => {
      if (server.listening) await promisify(server.close).call(server);
    };
    closing.push(close);
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const get = (cookie?: string, user?: string) =>
      fetch(user === undefined ? url : `${url}?user=${user}`, {
        headers: { Connection: 'close', ...(cookie !== undefined && { Cookie: cookie }) },
      });
    return {
      close,
      /** The cookie of a new session, or of the one given. */
      visit: async (cookie?: string, user?: string): Promise<string> => {
        const response = await get(cookie, user);
        await response.arrayBuffer();
        return response.headers.get('set-cookie')?.split(';')[0] ?? cookie!;
      },
      read: async (cookie: string): Promise<Visit> => (await (await get(cookie)).json()) as Visit,
    };
  }
});
