import { setTimeout as sleep } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import { type MongoServer, startMongo } from '../../support/mongodb.js';
import { serverOn } from '../support/database.js';
import { type Fault, type Outcome, type Scale, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import type { Server } from '../support/server.js';
import { Writers } from '../support/writers.js';

const clients = 8;
/** Milliseconds. */
const slowestAllowed = 3000;
const recoveryAllowed = 2000;

interface Trouble {
  begin(): Promise<void> | void;
  end(): Promise<void> | void;
  /** How long it lasts, in milliseconds. */
  readonly lasts: number;
  /** The server is not running when it begins. */
  readonly atStart?: true;
}

const frozen = databaseFault('database-frozen', 'MongoDB-protocol server SIGSTOPped', (mongo) => ({
  begin: () => mongo.freeze(),
  end: () => mongo.thaw(),
  lasts: 6000,
}));

const killed = databaseFault(
  'database-killed',
  'MongoDB-protocol server SIGKILLed and restarted',
  (mongo) => ({
    begin: () => mongo.kill(),
    end: () => mongo.restart(),
    lasts: 2000,
  }),
);

const down = databaseFault('database-down', 'MongoDB-protocol server down at the start', (mongo) => ({
  begin: () => mongo.kill(),
  end: () => mongo.restart(),
  lasts: 2000,
  atStart: true,
}));

const credentials = databaseFault(
  'database-credentials',
  "the database user's password changed, and changed back",
  (mongo) => ({
    async begin() {
      await setPassword(mongo, 'another');
      // Connections that are there stay authenticated: only new ones notice.
      await mongo.kill();
      await mongo.restart();
    },
    end: () => setPassword(mongo, mongo.password),
    lasts: 2000,
  }),
);

export const databaseFaults: readonly Fault[] = [frozen, killed, down, credentials];

function databaseFault(name: string, title: string, trouble: (mongo: MongoServer) => Trouble): Fault {
  return { name, title, run: (scale) => run(scale, trouble) };
}

async function run(scale: Scale, makeTrouble: (mongo: MongoServer) => Trouble): Promise<Outcome> {
  const rounds = scale(10, 1);
  const verdict = new Verdict();
  const mongo = await startMongo();
  const server = await serverOn(mongo);
  const writers = new Writers(clients, () => server.url);
  const trouble = makeTrouble(mongo);
  let recovery = 0;
  try {
    if (!trouble.atStart) await server.start();
    for (let round = 0; round < rounds; round += 1) {
      if (!trouble.atStart) {
        writers.start();
        await sleep(500);
      }
      await trouble.begin();
      if (trouble.atStart) {
        await server.start();
        writers.start();
      }
      await lookDuring(server, verdict, trouble.lasts);
      await trouble.end();
      recovery = Math.max(recovery, await server.until('/readyz', 200));
      await sleep(300);
      await writers.stop();
      await writers.verify();
      if (trouble.atStart) await server.stop();
    }
  } finally {
    await server.close();
    mongo.thaw();
    await mongo.stop();
  }
  const { slowest, refused, unanswered } = writers.tally;
  verdict.expect(unanswered === 0, `${unanswered} requests got no answer`);
  verdict.expect(refused > 0, 'nothing was refused: the fault was none');
  verdict.atMost('slowest answer', slowest, slowestAllowed);
  verdict.atMost('recovery', recovery, recoveryAllowed);
  return {
    times: `${rounds} times under ${clients} clients`,
    ...writers.judge(verdict),
    recovery,
    notes: [`${refused.toLocaleString('en')} requests were refused with 503 and Retry-After`],
    failures: verdict.failures,
  };
}

/** While it lasts, the process is alive, not ready, and refuses honestly. */
async function lookDuring(server: Server, verdict: Verdict, lasts: number): Promise<void> {
  const end = performance.now() + lasts;
  let unready = false;
  while (performance.now() < end) {
    const [alive, ready] = await Promise.all([call(server.url, '/healthz'), call(server.url, '/readyz')]);
    verdict.expect(alive.status === 200, `/healthz answered ${alive.status}`);
    verdict.atMost('/healthz', alive.ms, 1000);
    verdict.atMost('/readyz', ready.ms, slowestAllowed);
    if (ready.status === 503) unready = true;
    await sleep(50);
  }
  verdict.expect(unready, '/readyz never answered 503');
}

async function setPassword(mongo: MongoServer, pwd: string): Promise<void> {
  const client = new MongoClient(mongo.rootUrl);
  try {
    await client.db(mongo.database).command({ updateUser: mongo.user, pwd });
    // Not every engine has the user on disk when it answers, but none loses what came before a durable write.
    const durable = { writeConcern: { w: 'majority', journal: true } } as const;
    await client.db('admin').collection('users_made').insertOne({ user: mongo.user }, durable);
  } finally {
    await client.close();
  }
}
