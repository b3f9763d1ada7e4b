import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MongoServer, startMongo } from '../../support/mongodb.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call, oneConnection } from '../support/http.js';
import { Server, signal } from '../support/server.js';

/** Publishes numbers, and writes to a file of its own what arrives: whose number, and which. */
const wire = `
import { appendFileSync } from 'node:fs';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, channel, resolvePath }) {
    const numbers = channel('numbers');
    const { pid } = process;
    const latest = {};
    let published = 0;
    let lines = '';
    const write = () => {
      appendFileSync(resolvePath('seen-' + pid), lines);
      lines = '';
    };
    numbers.subscribe(({ from, n }) => {
      if (lines === '') setImmediate(write);
      lines += from + ' ' + n + '\\n';
      latest[from] = n;
    });
    router.post('/', (ctx) => {
      for (let i = 0; i < ctx.request.body.count; i += 1) {
        published += 1;
        numbers.publish({ from: pid, n: published });
      }
      ctx.status = 204;
    });
    router.get('/', (ctx) => { ctx.body = { pid, published, latest }; });
  },
});
`;

interface State {
  readonly pid: number;
  readonly published: number;
  readonly latest: Readonly<Record<string, number>>;
}

const key = 'correct-horse-battery';
const clients = 4;
/** Milliseconds within which what living workers published has arrived: a poll of the database, on a busy machine. */
const arrival = 20_000;

export const channel: Fault = {
  name: 'channel',
  title:
    'workers killed and generations reloaded while every worker of two hosts publishes to a channel, MongoDB between the hosts',
  async run(scale) {
    const rounds = scale(40, 3);
    const verdict = new Verdict();
    const mongo = await startMongo();
    const hosts: Server[] = [];
    let stopping = false;
    let wrong = 0;
    let slowest = 0;
    let sent = 0;
    const publish = async (host: Server) => {
      const agent = oneConnection();
      while (!stopping) {
        const answer = await call(host.url, '/wire', { body: { count: 5 }, agent });
        slowest = Math.max(slowest, answer.ms);
        if (answer.status === 204) sent += 5;
        else if (answer.status !== 0 && answer.status !== 503) wrong += 1;
        await sleep(20);
      }
      agent.destroy();
    };
    try {
      for (let i = 0; i < 2; i += 1) hosts.push(await startHost(mongo));
      const publishing = hosts.flatMap((host) => Array.from({ length: clients / 2 }, () => publish(host)));
      let reloads = 0;
      for (let round = 0; round < rounds; round += 1) {
        await sleep(200 + Math.random() * 500);
        const host = hosts[round % 2]!;
        const step = round % 3;
        if (step !== 0) reloads += 1;
        const reloading =
          step === 0
            ? undefined
            : call(host.url, '/reload/all', {
                body: {},
                headers: { Authorization: `Bearer ${key}` },
                timeout: 60_000,
              });
        // In every third round, a worker dies while the next generation starts.
        if (step !== 1) {
          const workers = host.pids().slice(1);
          signal(workers[Math.floor(Math.random() * workers.length)]!, 'SIGKILL');
        }
        const reloaded = await reloading;
        // A worker of the next generation may have been the victim.
        if (reloaded !== undefined && ![200, 422, 0].includes(reloaded.status)) wrong += 1;
      }
      stopping = true;
      await Promise.all(publishing);
      const begun = performance.now();
      const states = await settled(hosts);
      const recovery = performance.now() - begun;
      verdict.expect(states !== undefined, 'what a living worker published did not reach another in time');
      let told = 0;
      for (const host of hosts) told += await dropped(host);
      const seen = (await Promise.all(hosts.map((host) => readSeen(host.folder)))).flat();
      let twice = 0;
      let missing = 0;
      let arrived = 0;
      for (const numbers of seen) {
        arrived += numbers.length;
        for (const [i, n] of numbers.entries()) {
          const before = numbers[i - 1];
          if (before === undefined) continue;
          if (n <= before) twice += 1;
          else missing += n - before - 1;
        }
      }
      verdict.expect(twice === 0, `${twice} values came twice, or out of their order`);
      verdict.expect(missing <= told, `${missing} values are missing, and only ${told} were told as dropped`);
      verdict.expect(wrong === 0, `${wrong} answers were neither a success nor a refusal`);
      return {
        times: `${rounds} kills and reloads`,
        acknowledged: sent,
        lost: Math.max(0, missing - told),
        wrong: wrong + twice,
        slowest,
        recovery,
        notes: [
          `${reloads} reloads; ${arrived.toLocaleString('en')} values arrived, each at most once and in its publisher's order; ${told} were told as dropped; between what a worker saw first and last of another, ${missing} are missing; recovery is until all that living workers published had arrived at every living worker of both hosts`,
        ],
        failures: verdict.failures,
      };
    } finally {
      stopping = true;
      for (const host of hosts) await host.close();
      await mongo.stop();
    }
  },
};

function startHost(mongo: MongoServer): Promise<Server> {
  return Server.start({
    ini: [
      `[auth]\napikey=${key}`,
      '[network]\nworkers=2',
      `[storage]\nserver_url=${mongo.host}\nusername=${mongo.user}\npassword=\${ENV:MONGO_PASSWORD}\ndatabase=${mongo.database}`,
      '[plugin_parms]\nwire=auth_type=none',
      '',
    ].join('\n'),
    files: { 'plugins/wire.js': wire },
    env: { MONGO_PASSWORD: mongo.password },
  });
}

/** The states of all serving workers once each has seen all that the others published; undefined if that takes too long. */
async function settled(hosts: readonly Server[]): Promise<readonly State[] | undefined> {
  for (const end = performance.now() + arrival; performance.now() < end; await sleep(20)) {
    const states = (await Promise.all(hosts.map(statesOf))).flat();
    const all = states.every(({ latest }) =>
      // A worker that started after the last value of another has seen none of it.
      states.every(({ pid, published }) => latest[pid] === undefined || latest[pid] === published),
    );
    if (states.length === 4 && all) return states;
  }
  return undefined;
}

/** Of the two workers that accept connections, asked by many connections. */
async function statesOf(host: Server): Promise<readonly State[]> {
  const states = new Map<number, State>();
  for (let asked = 0; asked < 40 && states.size < 2; asked += 1) {
    const { status, text } = await call(host.url, '/wire', { headers: { Connection: 'close' } });
    if (status !== 200) continue;
    const state = JSON.parse(text) as State;
    states.set(state.pid, state);
  }
  return [...states.values()];
}

async function dropped(host: Server): Promise<number> {
  const { text } = await call(host.url, '/metrics', { headers: { Authorization: `Bearer ${key}` } });
  const counts = text.matchAll(/^plugin_server_channel_dropped_total\{[^}]*\} (\d+)/gm);
  return [...counts].reduce((sum, [, n]) => sum + Number(n), 0);
}

/** What each worker that ever ran there has seen of each publisher, in its order. */
async function readSeen(folder: string): Promise<readonly (readonly number[])[]> {
  const all: number[][] = [];
  for (const name of await readdir(folder)) {
    if (!name.startsWith('seen-')) continue;
    const text = await readFile(join(folder, name), 'utf8');
    const byPublisher = new Map<string, number[]>();
    // A killed worker may have written half a line.
    for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
      const [from = '', n] = line.split(' ');
      if (n === undefined) continue;
      const numbers = byPublisher.get(from) ?? [];
      byPublisher.set(from, numbers);
      numbers.push(Number(n));
    }
    all.push(...byPublisher.values());
  }
  return all;
}
