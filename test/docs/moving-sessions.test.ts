import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import MongoStore from 'connect-mongo';
import { RedisStore } from 'connect-redis';
import express from 'express';
import session, { type CookieOptions, type Store } from 'express-session';
import { MongoClient } from 'mongodb';
import { createClient } from 'redis';
import fileStore from 'session-file-store';
import { SessmanStore } from '../../plugins/sessman/adapters/express.js';
import { freePort } from '../support/mongodb/process.js';
import { type MongoDatabase, sharedMongo } from '../support/mongodb.js';
import { runProgram, ServerProcess } from '../support/process.js';
import { readSteps, Walkthrough } from '../support/walkthrough.js';

const moved = (count: number, expired = 0, failed = 0) =>
  `sessions moved: ${count}; expired: ${expired}; failed: ${failed}\n`;

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

describe('the programs that move sessions', () => {
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
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await fetch(`${server.url}/sessman/end_all`, {
      method: 'POST',
      body: new URLSearchParams({ userid: 'ann' }),
    });
  });

  describe('of connect-mongo', () => {
    let database: MongoDatabase;
    let client: MongoClient;

    beforeEach(async () => {
      database = await (await sharedMongo()).createDatabase();
      client = await MongoClient.connect(database.url());
    });
    afterEach(() => client?.close());

    for (const [what, given] of options) {
      it(`keep visitors logged in: ${what}`, async () => {
        const { expired, ...cookies } = await visits(MongoStore.create({ client, ...given }));
        const { matchedCount } = await client
          .db()
          .collection<{ _id: string }>(given.collectionName ?? 'sessions')
          .updateOne({ _id: idOf(expired) }, { $set: { expires: new Date(Date.now() - 1000) } });
        expect(matchedCount).to.equal(1);
        expect(await move('connect-mongo', { ...given }, { MONGODB_URL: database.url() })).to.equal(
          moved(3, 1),
        );
        await expectMoved({ expired, ...cookies });
      });
    }

    it('move nothing where there is nothing', async () => {
      expect(await move('connect-mongo', {}, { MONGODB_URL: database.url() })).to.equal(moved(0));
    });
  });

  describe('of connect-redis', () => {
    let redis: ChildProcess | undefined;
    let url: string;

    before(async function () {
      if (spawnSync('redis-server', ['--version']).status !== 0) this.skip();
      const port = await freePort();
      url = `redis://127.0.0.1:${port}`;
      redis = spawn('redis-server', [
        '--port',
        `${port}`,
        '--bind',
        '127.0.0.1',
        '--save',
        '',
        '--appendonly',
        'no',
      ]);
      for await (const text of redis.stdout!) if (`${text}`.includes('Ready to accept connections')) break;
    });
    after(() => redis?.kill());

    for (const [what, given] of [
      ['its defaults', {}],
      ['another prefix', { prefix: 'visitors:' }],
    ] as const) {
      it(`keep visitors logged in: ${what}`, async () => {
        const client = await createClient({ url }).connect();
        closing.push(() => client.destroy());
        await client.flushDb();
        const { expired, ...cookies } = await visits(new RedisStore({ client, ...given }));
        const prefix = { prefix: 'sess:', ...given }.prefix;
        // Gone between the listing and the reading.
        await client.del(`${prefix}${idOf(expired)}`);
        await client.set(`${prefix}broken`, 'no JSON');
        expect(await move('connect-redis', given, { REDIS_URL: url })).to.match(
          /^not moved: .+\nsessions moved: 3; expired: 0; failed: 1\n$/,
        );
        await client.flushDb();
        await expectMoved({ expired, ...cookies });
      });
    }
  });

  describe('of session-file-store', () => {
    for (const [what, given] of [
      ['its defaults', {}],
      ['encrypted sessions with another ending', { secret: 'squirrel', fileExtension: '.session' }],
    ] as const) {
      it(`keep visitors logged in: ${what}`, async () => {
        const path = await mkdtemp(join(walk.folder, 'sessions-'));
        const old = new (fileStore(session))({ ...given, path, reapInterval: -1, logFn: () => {} });
        const { expired, ...cookies } = await visits(old, { maxAge: -1 });
        expect(await move('session-file-store', { ...given, path })).to.equal(moved(3, 1));
        await expectMoved({ expired, ...cookies });
      });
    }
  });

  describe('of a SQLite file of the Python server', () => {
    /** The table as the Python server makes it, and what it writes: base64 of JSON. */
    const write = `
import base64, json, sqlite3, sys, time
db = sqlite3.connect(sys.argv[1])
db.execute("CREATE TABLE IF NOT EXISTS sessions (timestamp INTEGER NOT NULL, session_id TEXT NOT NULL UNIQUE, "
  "client_ip TEXT NOT NULL, data TEXT NOT NULL);")
for age, id, data in [
  (5, "0b6c7f6a-7c5e-4c80-9f5a-3f3a7de9d0a1", {"user": "zoë", "visits": 7}),
  (5, "6f1de6c8-7b57-4f2e-a1a9-4a9f0c8a9f11", {}),
  (90000, "d9e0f6b4-52a7-4f63-8f0b-a5b6c1c9e7e2", {"user": "old"}),
  (5, "2f8a1c3e-98ab-4d1b-8d4d-5a1e7b3c6d92", ["no", "object"]),
]:
  db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)",
    (int(time.time()) - age, id, "127.0.0.1", base64.b64encode(json.dumps(data).encode()).decode()))
db.commit()
`;

    it('move with data and user, and count those that cannot', async () => {
      const python = (...args: string[]) => runProgram('python3', args, walk.folder);
      expect((await python('-c', write, 'sessions.db')).stderr).to.equal('');
      await walk.write(
        'move-sqlite.py',
        (await textOf('move-sqlite.py')).replaceAll('http://127.0.0.1:6123', server.url),
      );
      for (const run of ['first', 'second']) {
        const { stdout, stderr, status } = await python('move-sqlite.py', 'sessions.db');
        expect(stdout, `${run} run: ${stderr}`).to.equal(moved(2, 1, 1));
        expect(stderr).to.match(/^not moved: .+\n$/);
        expect(status).to.equal(1);
      }
      const id = createHash('sha256').update('0b6c7f6a-7c5e-4c80-9f5a-3f3a7de9d0a1').digest('base64url');
      const response = await fetch(`${server.url}/sessman/get?userid=zoë`, {
        headers: { 'X-Session-Id': id },
      });
      expect(await response.json()).to.deep.include({ userid: 'zoë', data: { user: 'zoë', visits: 7 } });
    });
  });

  interface Cookies {
    readonly ann: string;
    readonly ben: string;
    readonly nobody: string;
    readonly expired: string;
  }

  /** What an application with the old store leaves behind: three visitors, and a fourth session, which may live shorter. */
  async function visits(old: Store, short: CookieOptions = {}): Promise<Cookies> {
    const before = await application(old);
    const ann = await before.visit(undefined, 'ann');
    const ben = await before.visit(undefined, 'ben');
    const nobody = await before.visit();
    await before.visit(ann);
    await before.close();
    const brief = await application(old, short);
    const expired = await brief.visit();
    await brief.close();
    return { ann, ben, nobody, expired };
  }

  async function expectMoved({ ann, ben, nobody, expired }: Cookies): Promise<void> {
    const store = new SessmanStore({ base_url: `${server.url}/sessman`, userid: ({ user }) => user });
    closing.push(() => store.close());
    const after = await application(store);
    expect(await after.read(ann)).to.deep.equal({ user: 'ann', visits: 3 });
    expect(await after.read(ben)).to.deep.equal({ user: 'ben', visits: 2 });
    expect(await after.read(nobody)).to.deep.equal({ visits: 2 });
    expect(await after.read(expired)).to.deep.equal({ visits: 1 });
    expect(await store.endAll('ann'), 'sessions of ann').to.equal(1);
  }

  /** Runs the page's program for this store, with these of the store's options. */
  async function move(from: string, given: object, env: NodeJS.ProcessEnv = {}): Promise<string> {
    const program = `move-${from}.js`;
    const mine = (await textOf(program)).replace(
      /(?<=^const options = )\{ (.*) \}(?=;$)/m,
      (_, of) => `{ ${of}, ...${JSON.stringify(given)} }`,
    );
    await walk.write('move.js', (await textOf('move.js')).replaceAll('http://127.0.0.1:6123', server.url));
    await walk.write(program, mine);
    const { stdout, stderr } = await runProgram(process.execPath, [program], walk.folder, {
      ...process.env,
      ...env,
    });
    return stderr + stdout;
  }

  async function textOf(path: string): Promise<string> {
    const step = (await readSteps('docs/migrating.md')).find(
      (each) => each.kind === 'file' && each.path === path,
    );
    return step?.kind === 'file' ? step.text : '';
  }

  const idOf = (cookie: string) => /^connect\.sid=s%3A([^.]*)/.exec(cookie)![1]!;

  /** An application that counts the visits of each session. */
  async function application(store: Store, cookie: CookieOptions = {}) {
    const app = express();
    app.use(session({ store, cookie, secret: 'a secret', resave: false, saveUninitialized: false }));
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
