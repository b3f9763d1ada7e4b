import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import { type MongoServer, startMongo } from '../../support/mongodb.js';
import { type Fault, Verdict } from '../support/fault.js';
import type { Command } from '../support/mongo-wire.js';
import { FaultyProxy, type Mode } from '../support/proxy.js';
import { Server, signal } from '../support/server.js';
import { SharedSessions } from '../support/shared-sessions.js';

/** A job of all hosts that writes under its lease, and tells in a file what came of it. */
const ticker = `
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ storage, every, resolvePath }) {
    const fences = storage('fences');
    every('tick', '2 s', async ({ fence }) => {
      const tell = (what) => appendFileSync(resolvePath('told.log'), what + ' ' + fence + '\\n');
      for (let write = 0; write < 3; write += 1) {
        await fences.update('latest', (latest = 0) => {
          if (latest > fence) throw new Error('a later run has written');
          return fence;
        }).catch((error) => {
          tell(error.code ?? 'overtaken');
          throw error;
        });
        await sleep(100);
      }
      tell('end');
    });
  },
});
`;

const clients = 6;
const sessions = 4;

/** One host: a server of two workers, and the proxy through which alone it reaches the database. */
interface Host {
  readonly server: Server;
  readonly proxy: FaultyProxy;
  /** `beforeAnswer` is called before an answer of the database reaches the host. */
  readonly wire: { beforeAnswer(command: Command): void };
}

/** Does its worst to one host, or to the database for all, and resolves when that is over. `strikes` is called at the moment. */
type Strike = (context: Context) => Promise<void>;

interface Context {
  readonly host: Host;
  readonly root: MongoClient;
  strikes(): void;
}

export const hosts: Fault = {
  name: 'hosts',
  title:
    'hosts on one MongoDB-protocol server killed, frozen, reloaded and cut off, and elections, while clients use the same sessions through all of them',
  async run(scale) {
    const verdict = new Verdict();
    const mongo = await startMongo({ testCommands: true });
    const root = await new MongoClient(mongo.rootUrl).connect();
    const all: Host[] = [];
    const key = randomBytes(32).toString('base64');
    const cycle = [...quickStrikes, ...(scale(1, 0) === 1 ? longStrikes : [])];
    const strikes = Array.from({ length: scale(2, 1) }, () => cycle).flat();
    const moments: { readonly at: number; readonly host: number | undefined }[] = [];
    const missed: string[] = [];
    let recovery = 0;
    try {
      for (let n = 0; n < scale(3, 2); n += 1) all.push(await startHost(mongo, key));
      const shared = new SharedSessions(
        clients,
        sessions,
        all.map(
          ({ server }) =>
            () =>
              server.url,
        ),
      );
      const counts = watchCounts(root, mongo.database);
      shared.start();
      for (const [n, [name, strike]] of strikes.entries()) {
        const at = n % all.length;
        const host = all[at]!;
        let struck = false;
        await sleep(500);
        await strike({
          host,
          root,
          strikes: () => {
            struck = true;
            moments.push({ at: performance.now(), host: name.startsWith('election') ? undefined : at });
          },
        });
        if (!struck) missed.push(name);
        const begun = performance.now();
        for (const { server } of all) await server.until('/readyz', 200, 60_000);
        recovery = Math.max(recovery, performance.now() - begun);
      }
      await shared.stop();
      const fences = await counts.stop();
      const told = (await Promise.all(all.map(({ server }) => readTold(server)))).flat();
      const wrongHistories = shared.judge();
      const overtaken = told.filter((line) => line.startsWith('overtaken')).length;
      const inside = moments.filter(({ at, host }) => shared.wasBusy(at, host)).length;
      const { calls, sessions: histories, longest } = shared.lengths;
      verdict.expect(
        wrongHistories.length === 0,
        `not linearizable: ${wrongHistories.slice(0, 2).join('; ')}`,
      );
      verdict.expect(shared.wrong.length === 0, `wrong: ${shared.wrong.slice(0, 3).join(', ')}`);
      verdict.expect(overtaken === 0, `${overtaken} writes of a job came after those of a later run`);
      verdict.expect(
        fences.every((fence, n) => n === 0 || fence >= fences[n - 1]!),
        'a count of an earlier holder replaced that of a later one',
      );
      verdict.expect(missed.length === 0, `no such moment came: ${missed.join(', ')}`);
      verdict.expect(inside * 2 > moments.length, 'most faults fell between calls');
      return {
        times: `${moments.length} faults on ${all.length} hosts`,
        acknowledged: shared.tally.acknowledged,
        lost: wrongHistories.length,
        wrong: shared.wrong.length + overtaken,
        slowest: shared.tally.slowest,
        recovery,
        notes: [
          `${calls.toLocaleString('en')} calls of ${clients} clients in ${histories} histories of up to ${longest}, each linearizable; ${inside} of ${moments.length} faults fell inside a call of their host; ${shared.tally.unknown} calls were refused or not answered, and may have happened later or never; ${told.filter((line) => line.startsWith('end')).length} runs of the job ended, and ${told.filter((line) => line.startsWith('lease_lost')).length} writes of frozen ones were refused with lease_lost; ${fences.length} results of counts, none of an earlier holder after a later one's`,
        ],
        failures: verdict.failures,
      };
    } finally {
      for (const { server, proxy } of all) {
        await server.close();
        proxy.close();
      }
      await root.close();
      await mongo.stop();
    }
  },
};

async function startHost(mongo: MongoServer, key: string): Promise<Host> {
  const wire: Host['wire'] = { beforeAnswer() {} };
  const port = Number(mongo.host.split(':')[1]);
  const proxy = await FaultyProxy.start(port, (command) => wire.beforeAnswer(command));
  const place = {
    server_url: `127.0.0.1:${proxy.port}/?directConnection=true`,
    username: mongo.user,
    password: '${ENV:MONGO_PASSWORD}',
    database: mongo.database,
  };
  const storage = Object.entries(place).map(([name, value]) => `${name}=${value}`);
  const server = await Server.start({
    ini: [
      '[paths]\npidfile=server.pid',
      '[network]\nworkers=2',
      `[storage]\n${storage.join('\n')}`,
      '[plugin_parms]\nsessman=json=sessman.json\n',
    ].join('\n'),
    files: {
      'plugins/ticker.js': ticker,
      'sessman.json': JSON.stringify({ ...place, password: mongo.password, encryption_key: [key] }),
    },
    env: { MONGO_PASSWORD: mongo.password },
  });
  return { server, proxy, wire };
}

const worker = async ({ server }: Host): Promise<number> => {
  const [, ...workers] = server.pids();
  return workers[Math.floor(Math.random() * workers.length)]!;
};

async function freeze(pids: readonly number[], seconds: number, strikes: () => void): Promise<void> {
  for (const pid of pids) signal(pid, 'SIGSTOP');
  strikes();
  await sleep(seconds * 1000);
  for (const pid of pids) signal(pid, 'SIGCONT');
}

const frozenHost =
  (seconds: number): Strike =>
  async ({ host, strikes }) =>
    freeze(host.server.pids(), seconds, strikes);

/** Freezes the host when the answer to such a command is about to reach it: what it does next comes after its thaw. */
const frozenAt =
  (seconds: number, isMeant: (command: Command) => boolean): Strike =>
  async ({ host, strikes }) => {
    const pids = host.server.pids();
    const isOver = new Promise<void>((resolve) => {
      const giveUp = setTimeout(resolve, 60_000);
      host.wire.beforeAnswer = (command) => {
        if (!isMeant(command)) return;
        host.wire.beforeAnswer = () => {};
        clearTimeout(giveUp);
        // The answer is passed on at once, and waits in the frozen process's socket.
        void freeze(pids, seconds, strikes).then(resolve);
      };
    });
    await isOver;
    host.wire.beforeAnswer = () => {};
  };

const cut =
  (mode: Mode, ms: number): Strike =>
  async ({ host, strikes }) => {
    host.proxy.mode = mode;
    strikes();
    await sleep(ms);
    host.proxy.mode = 'pass';
  };

/** What drivers see of an election: some commands of all hosts are refused in this way. */
const election =
  (errorCode: number): Strike =>
  async ({ root, strikes }) => {
    const failCommands = ['find', 'insert', 'update', 'findAndModify'];
    await root
      .db('admin')
      .command({ configureFailPoint: 'failCommand', mode: { times: 12 }, data: { failCommands, errorCode } });
    strikes();
    await sleep(1000);
    await root.db('admin').command({ configureFailPoint: 'failCommand', mode: 'off' });
  };

/** As a service manager would: a busy machine may need more than the time that a setup has. */
async function startAgain(server: Server): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await server.start();
      return;
    } catch (error) {
      if (tries === 10) throw error;
    }
  }
}

const reload: Strike = async ({ host: { server }, strikes }) => {
  const reloaded = server.command('reload');
  strikes();
  await reloaded;
};

const leaseOfCounts = ({ findAndModify }: Command) => findAndModify === 'sessions_leases';
const readOfCounts = ({ find, filter }: Command) =>
  find === 'sessions_leases' && filter._id === 'records-by-key';
const readOfJob = ({ find, filter }: Command) => find === 'storage' && String(filter._id).includes('/.jobs/');
const writeOfJob = ({ update, txnNumber, autocommit }: Command) =>
  update === 'storage' && txnNumber !== undefined && autocommit === false;
const readOfSession = ({ find, filter }: Command) => find === 'sessions' && filter._id !== undefined;

const quickStrikes: readonly (readonly [string, Strike])[] = [
  [
    'a worker killed',
    async ({ host, strikes }) => {
      signal(await worker(host), 'SIGKILL');
      strikes();
    },
  ],
  ['a lease read, frozen for 5 s', frozenAt(5, leaseOfCounts)],
  ['reset', cut('reset', 500)],
  ['election: 10107', election(10107)],
  ['reload', reload],
  ['a session read, frozen for 5 s', frozenAt(5, readOfSession)],
  ['delay', cut('delay', 2000)],
  ['election: 11602', election(11602)],
  ['a write of a job, frozen for 20 s', frozenAt(20, writeOfJob)],
];

const longStrikes: readonly (readonly [string, Strike])[] = [
  [
    'a host killed',
    async ({ host: { server }, strikes }) => {
      const killed = server.kill();
      strikes();
      await killed;
      await startAgain(server);
    },
  ],
  ['a worker frozen for 5 s', async ({ host, strikes }) => freeze([await worker(host)], 5, strikes)],
  ['halfClose', cut('halfClose', 500)],
  ['a lease read, frozen for 20 s', frozenAt(20, leaseOfCounts)],
  ['a count read, frozen for 20 s', frozenAt(20, readOfCounts)],
  ['stall', cut('stall', 2500)],
  ['a job read, frozen for 20 s', frozenAt(20, readOfJob)],
  ['a session read, frozen for 20 s', frozenAt(20, readOfSession)],
  ['drop', cut('drop', 2500)],
  ['frozen for 20 s', frozenHost(20)],
  ['frozen for 60 s', frozenHost(60)],
  ['a write of a job, frozen for 60 s', frozenAt(60, writeOfJob)],
  ['a lease read, frozen for 60 s', frozenAt(60, leaseOfCounts)],
  ['reload', reload],
];

/** The fences of the counts of records, as they come, straight from the database. */
function watchCounts(root: MongoClient, database: string): { stop(): Promise<readonly number[]> } {
  const facts = root
    .db(database)
    .collection<{ _id: string; value: { fence?: number }; revision: number }>('sessions_leases');
  const seen: number[] = [];
  let revision = 0;
  let isStopping = false;
  const watching = (async () => {
    for (; !isStopping; await sleep(100)) {
      const fact = await facts.findOne({ _id: 'records-by-key' }).catch(() => null);
      if (!fact || fact.revision === revision) continue;
      revision = fact.revision;
      seen.push(fact.value.fence ?? 0);
    }
  })();
  return {
    async stop() {
      isStopping = true;
      await watching;
      return seen;
    },
  };
}

async function readTold(server: Server): Promise<string[]> {
  const text = await readFile(join(server.folder, 'told.log'), 'utf8').catch(() => '');
  return text.split('\n').filter(Boolean);
}
