import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type MongoServer, startMongo } from '../../support/mongodb.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call } from '../support/http.js';
import { Server } from '../support/server.js';

/** A server whose clock can be set, by libfaketime. */
interface Host {
  readonly server: Server;
  /** Sets its clock to so many seconds ahead of that of this machine. */
  setAhead(seconds: number): Promise<void>;
  /** Of the file that says so. */
  readonly folder: string;
  /** Seconds. */
  readonly session_ttl: number;
}

/** Sessions that were made just before a clock was set. */
interface Made {
  readonly id: string;
  /** As the server told it, in milliseconds since the Unix epoch. */
  readonly expires: number;
}

const day = 86_400;
/** Seconds that a session lives on MongoDB, and in the embedded store, whose server is started again meanwhile. */
const [onMongoFor, onEmbeddedFor] = [5, 20];
/** How many are made through a host before each jump, and after it. */
const batch = 30;
/** Milliseconds by which a session may end too early or too late on a busy machine. */
const tolerated = 3000;

export const clocks: Fault = {
  name: 'clocks',
  title:
    'clocks of hosts 90 s apart, set back 10 minutes and forward a day while they serve and before they start again, both stores',
  async run(scale) {
    const rounds = scale(2, 1);
    const verdict = new Verdict();
    const tally = { made: 0, lost: 0, wrong: 0, worst: 0 };
    let jumps = 0;
    for (let round = 0; round < rounds; round += 1) {
      jumps += await onMongo(verdict, tally);
      jumps += await onEmbedded(verdict, tally);
    }
    verdict.expect(tally.lost === 0, `${tally.lost} sessions were gone before their time`);
    verdict.expect(tally.wrong === 0, `${tally.wrong} sessions lived on after their time`);
    return {
      times: `${jumps} jumps`,
      acknowledged: tally.made,
      lost: tally.lost,
      wrong: tally.wrong,
      notes: [
        `by the clock of this machine, the end of each session was told to within ${tally.worst} ms, through whichever host it was made; in the embedded store, no session was removed while the clock was in doubt, and all that live were found after a kill -9 and a start with the wrong clock`,
      ],
      failures: verdict.failures,
    };
  },
};

type Tally = { made: number; lost: number; wrong: number; worst: number };

/** Of sessman. */
type Settings = Readonly<Record<string, unknown>> & { readonly session_ttl: number };

async function startHost(settings: Settings): Promise<Host> {
  const library = await libfaketime();
  const folder = await mkdtemp(join(tmpdir(), 'plugin-server-clock-'));
  const file = join(folder, 'clock');
  const setAhead = async (seconds: number) => {
    await writeFile(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}`);
    await rename(`${file}.new`, file);
  };
  await setAhead(0);
  const server = await Server.start({
    ini: '[network]\nworkers=2\n[plugin_parms]\nsessman=json=sessman.json',
    files: { 'sessman.json': JSON.stringify(settings) },
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    },
  });
  return { server, setAhead, folder, session_ttl: settings.session_ttl };
}

async function libfaketime(): Promise<string> {
  for (const folder of await readdir('/usr/lib')) {
    const file = `/usr/lib/${folder}/faketime/libfaketimeMT.so.1`;
    if (existsSync(file)) return file;
  }
  throw new Error('libfaketime is not installed (Debian: apt-get install faketime)');
}

async function onMongo(verdict: Verdict, tally: Tally): Promise<number> {
  const mongo = await startMongo();
  const hosts: Host[] = [];
  try {
    for (const more of [{}, { max_clock_skew: 60 }])
      hosts.push(await startHost({ ...placeOf(mongo), session_ttl: onMongoFor, ...more }));
    const [right, wrong] = hosts as [Host, Host];
    const setTo = [90, -600, day, 0];
    for (const seconds of setTo) {
      const made = await make(hosts, tally);
      await wrong.setAhead(seconds);
      made.push(...(await make(hosts, tally)));
      await watchEnds(hosts, made, tally);
      verdict.expect(
        near(await metric(wrong, 'sessman_clock_skew_seconds'), seconds),
        'the metric misses a skew',
      );
      const { text } = await call(wrong.server.url, '/readyz?verbose');
      if (seconds === 0) verdict.expect(text.includes('"ready"'), `not ready again: ${text}`);
      else verdict.expect(text.includes("this host's clock is"), `/readyz?verbose does not tell: ${text}`);
      verdict.expect((await call(right.server.url, '/readyz')).status === 200, 'the right host is not ready');
      const { status } = await call(wrong.server.url, '/readyz');
      verdict.expect(status === (seconds === 0 ? 200 : 503), `max_clock_skew: /readyz responded ${status}`);
    }
    return setTo.length;
  } finally {
    for (const host of hosts) await close(host);
    await mongo.stop();
  }
}

async function onEmbedded(verdict: Verdict, tally: Tally): Promise<number> {
  const host = await startHost({ session_ttl: onEmbeddedFor, removal_delay: 0 });
  const { server } = host;
  try {
    const all = [host];
    const doubtful = () => metric(host, 'sessman_clock_doubtful');
    // Until the store has put down the time.
    await sleep(17_000);
    const setTo = [day, 0, -600, 0];
    let over: readonly Made[] = [];
    for (const seconds of setTo) {
      const made = await make(all, tally);
      await host.setAhead(seconds);
      await countLiving(host, made, tally);
      const isDoubtful = await doubtful();
      verdict.expect(isDoubtful === (seconds === 0 ? 0 : 1), `${seconds} s ahead, doubtful is ${isDoubtful}`);
      if (seconds !== 0) {
        await server.logged("this machine's clock has jumped");
        await server.kill();
        await server.start();
        await countLiving(host, made, tally);
        verdict.expect((await doubtful()) === 1, 'a clock that has jumped is believed after a start');
      }
      for (const { id } of over) if (await lives(host, id)) tally.wrong += 1;
      made.push(...(await make(all, tally)));
      await watchEnds(all, made, tally);
      if (seconds !== 0) {
        verdict.expect(
          (await metric(host, 'sessman_sessions')) >= made.length,
          'sessions were removed in doubt',
        );
      }
      over = made;
    }
    return setTo.length;
  } finally {
    await close(host);
  }
}

async function make(hosts: readonly Host[], tally: Tally): Promise<Made[]> {
  const made: Made[] = [];
  for (let n = 0; n < batch; n += 1) {
    const { server, session_ttl } = hosts[n % hosts.length]!;
    const { status, text } = await call(server.url, '/sessman/new', { body: { userid: 'ann' } });
    if (status !== 200) throw new Error(`new: ${status} ${text}`);
    const { session_id: id, expires_at } = JSON.parse(text) as { session_id: string; expires_at: string };
    const expires = Date.parse(expires_at);
    tally.made += 1;
    tally.worst = Math.max(tally.worst, Math.abs(expires - Date.now() - session_ttl * 1000));
    made.push({ id, expires });
  }
  return made;
}

async function close({ server, folder }: Host): Promise<void> {
  await server.close();
  await rm(folder, { recursive: true });
}

/** Each lives until its time by the clock of this machine, and no longer, through every host. */
async function watchEnds(hosts: readonly Host[], made: readonly Made[], tally: Tally): Promise<void> {
  const left = new Set(made);
  while (left.size > 0) {
    for (const one of left) {
      for (const host of hosts) {
        const asked = Date.now();
        const isLive = await lives(host, one.id);
        if (isLive && asked > one.expires + tolerated) tally.wrong += 1;
        if (!isLive && Date.now() < one.expires - tolerated) tally.lost += 1;
        if (!isLive || asked > one.expires + tolerated) left.delete(one);
      }
    }
    await sleep(50);
  }
}

async function countLiving(host: Host, made: readonly Made[], tally: Tally): Promise<void> {
  for (const { id, expires } of made)
    if (!(await lives(host, id)) && Date.now() < expires - tolerated) tally.lost += 1;
}

async function lives({ server }: Host, session_id: string): Promise<boolean> {
  for (;;) {
    const { status } = await call(server.url, '/sessman/get', { body: { session_id, userid: 'ann' } });
    if (status === 200 || status === 404) return status === 200;
    await sleep(20);
  }
}

async function metric({ server }: Host, name: string): Promise<number> {
  for (;;) {
    const { text } = await call(server.url, '/metrics');
    const value = new RegExp(`^${name}\\{?[^ ]* (\\S+)$`, 'm').exec(text)?.[1];
    if (value !== undefined) return Number(value);
    // Workers that are too busy to answer are left out.
    await sleep(50);
  }
}

function near(value: number, expected: number): boolean {
  return Math.abs(value - expected) < tolerated / 1000;
}

function placeOf(mongo: MongoServer) {
  const { host, user, password, database } = mongo;
  return { server_url: host, username: user, password, database };
}
