import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { ConfigError } from '../../../config/index.js';
import { type StartedPlugin, type StartPluginOptions, startPlugin } from '../../../host/testing.js';
import { sharedMongo } from '../../support/mongodb.js';
import { type ProcessOptions, ServerProcess } from '../../support/process.js';
import { makeFolder, startServer } from '../../support/server.js';

/** Tells of each run of its job, by the storage. */
const cleaner = (schedule = '10 min', options = '{}', name = 'clean') => `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage, every, now }) {
    const runs = storage('runs');
    const sessions = storage('sessions');
    every('${name}', '${schedule}', async ({ scheduledAt, catchUp, attempt, fence, signal }) => {
      const run = { at: scheduledAt.toISOString(), catchUp, attempt, fence, pid: process.pid, now: now().toISOString() };
      await runs.set(String(fence).padStart(6, '0'), run);
      if (await sessions.get('fail')) throw new Error('as asked');
    }, ${options});
    router.get('/runs', async (ctx) => {
      ctx.body = [];
      for await (const [, run] of runs.entries()) ctx.body.push(run);
    });
    router.put('/sessions/:id', async (ctx) => {
      await sessions.set(ctx.params.id, true, { ttl: 3600 });
      ctx.status = 204;
    });
    router.get('/sessions/:id', async (ctx) => {
      ctx.body = { live: (await sessions.get(ctx.params.id)) ?? false, now: now().toISOString() };
    });
  },
});
`;

interface Run {
  readonly at: string;
  readonly catchUp: boolean;
  readonly attempt: number;
  readonly fence: number;
  readonly pid: number;
  readonly now: string;
}

const runsOf = async ({ url }: { url: string }) =>
  (await (await fetch(`${url}/cleaner/runs`)).json()) as Run[];
const minutes = (count: number) => count * 60_000;

for (const storage of ['embedded', 'mongodb'] as const) {
  describe(`every() of the plugin kit, ${storage}`, () => {
    let folder: string;
    let server: StartedPlugin | undefined;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'jobs-'));
    });
    afterEach(async () => {
      await server?.close();
      server = undefined;
      await rm(folder, { recursive: true });
    });

    async function start(code: string, options: StartPluginOptions = {}): Promise<StartedPlugin> {
      const file = join(folder, 'cleaner.js');
      await writeFile(file, code);
      const place =
        storage === 'embedded'
          ? {}
          : { storage: (await (await sharedMongo()).createDatabase()).url() as never };
      server = await startPlugin(file, { ...place, ...options });
      return server;
    }

    it('runs at each multiple of an interval, with a fence that grows', async () => {
      const { url, clock } = await start(cleaner(), { now: new Date('2026-01-01T00:05:00Z') });
      await clock.advance(minutes(60));
      const runs = await runsOf({ url });
      const times = ['00:10', '00:20', '00:30', '00:40', '00:50', '01:00'];
      expect(runs.map(({ at }) => at)).to.deep.equal(times.map((time) => `2026-01-01T${time}:00.000Z`));
      expect(runs.map(({ fence }) => fence)).to.deep.equal([1, 2, 3, 4, 5, 6]);
      for (const { catchUp, attempt, at, now } of runs) {
        expect([catchUp, attempt]).to.deep.equal([false, 1]);
        expect(Date.parse(now) - Date.parse(at)).to.be.within(0, 5000);
      }
      expect(clock.now().getTime() - Date.parse('2026-01-01T01:05:00Z')).to.be.within(0, 60_000);
    });

    it('runs each time once over two workers and a reload', async () => {
      const { url, clock, reload } = await start(cleaner(), {
        workers: 2,
        now: new Date('2026-01-01T00:05:00Z'),
      });
      await clock.advance(minutes(30));
      await reload();
      await clock.advance(minutes(30));
      const runs = await runsOf({ url });
      expect(runs.map(({ at }) => at.slice(11, 16))).to.deep.equal([
        '00:10',
        '00:20',
        '00:30',
        '00:40',
        '00:50',
        '01:00',
      ]);
      expect(runs.every(({ catchUp, attempt }) => !catchUp && attempt === 1)).to.equal(true);
      // Those of the second half ran in the new generation.
      const [before, after] = [runs.slice(0, 3), runs.slice(3)].map((half) => half.map(({ pid }) => pid));
      expect(before!.filter((pid) => after!.includes(pid))).to.deep.equal([]);
    });

    it('has missed nothing where its name is new or its schedule has changed', async () => {
      const { url, clock, reload } = await start(cleaner(), {
        workers: 1,
        now: new Date('2026-01-01T00:05:00Z'),
      });
      await clock.advance(minutes(1));
      expect(await runsOf({ url })).to.deep.equal([]);
      await writeFile(join(folder, 'cleaner.js'), cleaner('30 0 * * *'));
      await reload();
      await clock.advance(minutes(10));
      expect(await runsOf({ url })).to.deep.equal([]);
      await clock.advance(minutes(20));
      expect((await runsOf({ url })).map(({ at }) => at)).to.deep.equal(['2026-01-01T00:30:00.000Z']);
    });

    it('keeps its schedule when a reload with another one fails', async () => {
      const { url, clock, reload } = await start(cleaner(), {
        workers: 1,
        now: new Date('2026-01-01T00:05:00Z'),
      });
      await clock.advance(minutes(6));
      const changed = cleaner('5 min')
        .replace('every, now }', 'every, now, onReady }')
        .replace('router.get', "onReady(() => { throw new Error('no'); });\n    router.get");
      await writeFile(join(folder, 'cleaner.js'), changed);
      expect((await reload().catch((error) => error)).message).to.include('failed in its onReady hook: no');
      await clock.advance(minutes(15));
      const runs = await runsOf({ url });
      expect(runs.map(({ at, catchUp }) => [at.slice(11, 16), catchUp])).to.deep.equal([
        ['00:10', false],
        ['00:20', false],
      ]);
    });

    it('logs and counts a run that throws, and goes on at its next time', async () => {
      const { url, clock } = await start(cleaner(), { now: new Date('2026-01-01T00:05:00Z') });
      await fetch(`${url}/cleaner/sessions/fail`, { method: 'PUT' });
      await clock.advance(minutes(20));
      const runs = await runsOf({ url });
      expect(runs.map(({ at, attempt }) => [at.slice(11, 16), attempt])).to.deep.equal([
        ['00:10', 1],
        ['00:20', 1],
      ]);
      const metrics = await (await fetch(`${url}/metrics`)).text();
      expect(metrics).to.include(
        'plugin_server_job_runs_total{plugin="cleaner",job="clean",outcome="error"} 2',
      );
      expect(metrics).to.include('plugin_server_job_duration_seconds_count{plugin="cleaner",job="clean"} 2');
    });
  });
}

describe('every() of the plugin kit', () => {
  it('minds daylight saving both ways in its time zone', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'jobs-'));
    const file = join(folder, 'cleaner.js');
    await writeFile(file, cleaner('30 2 * * *', "{ timeZone: 'Europe/Berlin' }"));
    try {
      for (const [now, times] of [
        ['2026-03-28T12:00:00Z', ['2026-03-29T01:00:00.000Z', '2026-03-30T00:30:00.000Z']],
        ['2026-10-24T12:00:00Z', ['2026-10-25T00:30:00.000Z', '2026-10-26T01:30:00.000Z']],
      ] as const) {
        const server = await startPlugin(file, { now: new Date(now) });
        await server.clock.advance(minutes(48 * 60));
        const runs = await runsOf(server);
        await server.close();
        expect(runs.map(({ at }) => at)).to.deep.equal(times);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('moves now() and ttl with the clock of a test', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'jobs-'));
    const file = join(folder, 'cleaner.js');
    await writeFile(file, cleaner());
    const server = await startPlugin(file, { workers: 2, now: new Date('2030-05-01T00:00:00Z') });
    try {
      await fetch(`${server.url}/cleaner/sessions/a`, { method: 'PUT' });
      const look = async () => {
        const response = await fetch(`${server.url}/cleaner/sessions/a`, {
          headers: { connection: 'close' },
        });
        return (await response.json()) as { live: boolean; now: string };
      };
      await server.clock.advance(minutes(59));
      expect((await look()).live).to.equal(true);
      await server.clock.advance(minutes(1));
      await server.reload();
      const { live, now } = await look();
      expect([live, now.slice(0, 16)]).to.deep.equal([false, '2030-05-01T01:00']);
      expect(server.clock.now().toISOString().slice(0, 16)).to.equal('2030-05-01T01:00');
    } finally {
      await server.close();
      await rm(folder, { recursive: true });
    }
  });

  it('fails the start where two jobs of a plugin have one name, or a schedule is none', async () => {
    const twice = cleaner().replace('router.get', "every('clean', '1 h', () => {});\n    router.get");
    const cases: readonly (readonly [string, RegExp])[] = [
      [twice, /every\("clean"\): the plugin already has a job of this name/],
      [
        cleaner('10 minutes'),
        /every\("clean"\): "10 minutes" is not a schedule; write an interval such as "10 min"/,
      ],
      [cleaner('0 0 * * *', "{ timeZone: 'Mars' }"), /timeZone "Mars" is not an IANA time zone/],
      [cleaner('10 min', '{}', ''), /every\(""\): the name is empty/],
    ];
    for (const [code, message] of cases) {
      const error = await startServer({ files: { 'plugins/cleaner.js': code } }).then(
        () => expect.fail('it started'),
        (failure: unknown) => failure as ConfigError,
      );
      expect(error).to.be.instanceOf(ConfigError);
      expect(error.problems[0]!.message).to.match(message);
    }
  });

  it('catches up with the latest time that came while all were down, and with no other', async () => {
    const folder = await makeFolder();
    const options = {
      folder,
      safe: true,
      ini: '[main]\nsafe=list:cleaner\n',
      files: { 'plugins/cleaner.js': cleaner() },
    };
    const now = Math.floor(Date.now() / minutes(10)) * minutes(10) + minutes(1);
    try {
      const first = await startServer({ ...options, timeShift: now - Date.now() });
      await first.host.moveClock(now + minutes(10) - Date.now());
      expect(await runsOf(first)).to.have.length(1);
      await first.close();
      const second = await startServer({ ...options, timeShift: now + minutes(65) - Date.now() });
      await second.host.moveClock(now + minutes(65) - Date.now());
      await second.host.moveClock(now + minutes(72) - Date.now());
      const runs = await runsOf(second);
      await second.close();
      const ago = (run: Run) => (Date.parse(run.at) - (now - minutes(1))) / minutes(1);
      expect(runs.map((run) => [ago(run), run.catchUp])).to.deep.equal([
        [10, false],
        [60, true],
        [70, false],
      ]);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** A job that works until it is told to end, and writes in a file what became of its calls. */
const worker = `
import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage, every, resolvePath }) {
    const state = storage('state');
    const tell = (line) => appendFileSync(resolvePath('told.log'), JSON.stringify({ pid: process.pid, ...line }) + '\\n');
    every('work', '1 s', async ({ scheduledAt, attempt, fence, signal }) => {
      const run = { at: scheduledAt.toISOString(), attempt, fence };
      tell({ ...run, what: 'begin' });
      signal.addEventListener('abort', () => tell({ ...run, what: 'aborted' }));
      try {
        for (let isTold = false; await state.get('busy'); isTold = true) {
          if (!isTold) tell({ ...run, what: 'busy' });
          await sleep(20);
        }
        await state.set('done ' + run.at, attempt);
        tell({ ...run, what: 'end' });
      } catch (error) {
        const late = await state.set('late', run).catch((failure) => failure.code);
        tell({ ...run, what: error.code, late });
      }
    });
    router.put('/busy', async (ctx) => {
      await state.set('busy', true);
      ctx.status = 204;
    });
    router.delete('/busy', async (ctx) => {
      await state.delete('busy');
      ctx.status = 204;
    });
    router.get('/', async (ctx) => {
      ctx.body = { late: (await state.get('late')) ?? null };
    });
  },
});
`;

let password = '';
/** The keys of [storage] for a new database. */
async function database(): Promise<string> {
  const made = await (await sharedMongo()).createDatabase();
  password = made.password;
  return `server_url=${made.host}\nusername=${made.user}\npassword=\${ENV:PASSWORD}\ndatabase=${made.database}`;
}

interface Told {
  readonly pid: number;
  readonly at: string;
  readonly attempt: number;
  readonly what: string;
  readonly late?: string;
}

for (const storage of ['embedded', 'mongodb'] as const)
  describe(`a job whose worker fails it, ${storage}`, () => {
    let server: ServerProcess;
    let options: ProcessOptions;
    const start = async (ini: string, plugin = worker) => {
      const place = storage === 'embedded' ? '' : `[storage]\n${await database()}\n`;
      options = {
        ini: `${place}[main]\nsafe=list:worker\n[paths]\npidfile=server.pid\n[plugin_parms]\nworker=auth_type=none\n[network]\n${ini}\n`,
        env: { PASSWORD: password },
        files: { 'plugins/worker.js': plugin },
        args: ['--safe'],
      };
      server = await ServerProcess.start(options);
    };
    const restart = async () => {
      server = await ServerProcess.start({ ...options, folder: server.folder });
    };
    afterEach(() => server.close());

    const allTold = async (): Promise<Told[]> => {
      const text = await readFile(join(server.folder, 'told.log'), 'utf8').catch(() => '');
      return text
        .split('\n')
        .slice(0, -1) // The last one may be half written.
        .map((line) => JSON.parse(line) as Told);
    };
    const told = async () => (await allTold()).filter(({ what }) => what !== 'busy');
    const until = async (fits: (line: Told) => boolean): Promise<Told> => {
      for (;;) {
        const line = (await told()).find(fits);
        if (line !== undefined) return line;
        await sleep(20);
      }
    };
    const setBusy = async (busy: boolean) => {
      const response = await fetch(`${server.url}/worker/busy`, {
        method: busy ? 'PUT' : 'DELETE',
        headers: { connection: 'close' },
      });
      expect(response.status).to.equal(204);
    };
    /** Waits until a run is busy, which may have begun before. */
    const busyRun = async (): Promise<Told> => {
      await setBusy(true);
      for (;;) {
        const busy = (await allTold()).find(({ what }) => what === 'busy');
        if (busy !== undefined) return busy;
        await sleep(20);
      }
    };
    /** Each time is done at most once. */
    const expectOnce = async () => {
      const ends = (await told()).filter(({ what }) => what === 'end').map(({ at }) => at);
      expect(ends).to.deep.equal([...new Set(ends)]);
    };

    it('is taken up by another when the worker is killed, with the next attempt', async function () {
      this.timeout(60_000);
      await start('workers=2');
      const run = await busyRun();
      process.kill(run.pid, 'SIGKILL');
      const second = await until(({ at, attempt }) => at === run.at && attempt === 2);
      expect(second.pid).not.to.equal(run.pid);
      await setBusy(false);
      await until(({ at, what }) => at === run.at && what === 'end');
      await until(({ at, what }) => at > run.at && what === 'end');
      await expectOnce();
    });

    it('is taken up by another when the worker is frozen, which can write nothing once it wakes', async function () {
      this.timeout(60_000);
      await start('workers=2\nworker_timeout=0');
      const run = await busyRun();
      process.kill(run.pid, 'SIGSTOP');
      try {
        await until(({ at, attempt }) => at === run.at && attempt === 2);
      } finally {
        process.kill(run.pid, 'SIGCONT');
      }
      const lost = await until(({ pid, what }) => pid === run.pid && what === 'lease_lost');
      expect([lost.at, lost.attempt, lost.late]).to.deep.equal([run.at, 1, 'lease_lost']);
      await until(({ pid, what }) => pid === run.pid && what === 'aborted');
      await setBusy(false);
      await until(({ at, what }) => at === run.at && what === 'end');
      await expectOnce();
      expect(await server.json('/worker')).to.deep.equal({ late: null });
      const metrics = await (await server.fetch('/metrics')).text();
      expect(metrics).to.match(/plugin_server_job_runs_total\{.*outcome="lost".*\} 1/);
    });

    it('skips the times that come while a run lasts', async () => {
      await start('workers=2');
      const run = await busyRun();
      await until(() => Date.now() >= Date.parse(run.at) + 3500);
      const released = Date.now();
      await setBusy(false);
      const next = await until(({ at, what }) => at > run.at && what === 'begin');
      expect(Date.parse(next.at)).to.be.greaterThan(released);
      expect(Date.parse(next.at) % 1000).to.equal(0);
      await expectOnce();
    });

    it('ends within stream_grace of a reload, and only the new generation starts the next', async () => {
      await start('workers=2\nstream_grace=30');
      const run = await busyRun();
      expect((await server.command('reload')).status).to.equal(0);
      await setBusy(false);
      await until(({ at, what }) => at === run.at && what === 'end');
      const next = await until(({ at, what }) => at > run.at && what === 'end');
      const old = new Set((await told()).filter(({ at }) => at <= run.at).map(({ pid }) => pid));
      expect(old.has(next.pid)).to.equal(false);
      expect((await told()).filter(({ at }) => at === run.at).map(({ attempt }) => attempt)).to.deep.equal([
        1, 1,
      ]);
      await expectOnce();
    });

    it('is aborted after stream_grace, and given up 5 s later', async function () {
      this.timeout(60_000);
      await start('workers=1\nstream_grace=1');
      const run = await busyRun();
      expect((await server.command('reload')).status).to.equal(0);
      const second = await until(({ at, attempt }) => at === run.at && attempt === 2);
      expect(second.pid).not.to.equal(run.pid);
      const lines = (await told()).filter(({ pid, at }) => pid === run.pid && at === run.at);
      expect(lines.map(({ what }) => what).slice(0, 2)).to.deep.equal(['begin', 'aborted']);
      await setBusy(false);
      await until(({ at, attempt, what }) => at === run.at && attempt === 2 && what === 'end');
      await expectOnce();
      expect(await server.json('/worker')).to.deep.equal({ late: null });
    });

    it('is aborted after stop_timeout at a stop, and taken up at the next start', async () => {
      const obedient = worker
        .replace('await sleep(20)', 'await sleep(20, undefined, { signal })')
        .replace('what: error.code, late });', 'what: error.code, late }); throw error;');
      await start('workers=2\nstop_timeout=4', obedient);
      const run = await busyRun();
      server.signal('SIGTERM');
      expect((await server.exited).status).to.equal(0);
      expect((await told()).filter(({ at }) => at === run.at).map(({ what }) => what)).to.include('aborted');
      await restart();
      const second = await until(({ at, attempt }) => at === run.at && attempt === 2);
      await setBusy(false);
      await until(({ at, what, pid }) => at === run.at && what === 'end' && pid === second.pid);
      await expectOnce();
    });

    it('is given up at once where it throws after stream_grace', async function () {
      this.timeout(60_000);
      const obedient = worker
        .replace('await sleep(20)', 'await sleep(20, undefined, { signal })')
        .replace('what: error.code, late });', 'what: error.code, late }); throw error;');
      await start('workers=1\nstream_grace=1', obedient);
      const run = await busyRun();
      expect((await server.command('reload')).status).to.equal(0);
      const second = await until(({ at, attempt }) => at === run.at && attempt === 2);
      expect(second.pid).not.to.equal(run.pid);
      await setBusy(false);
      await until(({ at, attempt, what }) => at === run.at && attempt === 2 && what === 'end');
      await expectOnce();
    });
  });

/** Says when its job runs, and keeps a value for a minute. */
const clockwork = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage, every, now }) {
    const values = storage('values');
    every('tick', '1 s', ({ scheduledAt }) => values.set('tick', scheduledAt.getTime()));
    router.put('/', async (ctx) => {
      await values.set('short', true, { ttl: 60 });
      ctx.status = 204;
    });
    router.get('/', async (ctx) => {
      ctx.body = { now: now().getTime(), own: Date.now(), tick: (await values.get('tick')) ?? 0, short: (await values.get('short')) ?? false };
    });
  },
});
`;

describe('the clock of hosts that share MongoDB', () => {
  it('is that of the database, however wrong that of a host is', async () => {
    const storage = `[storage]\n${await database()}\n`;
    const start = (lines: string, args: readonly string[]) =>
      ServerProcess.start({
        ini: `${storage}[main]\nsafe=list:clockwork\n[plugin_parms]\nclockwork=auth_type=none\n[network]\nworkers=2\n${lines}`,
        env: { PASSWORD: password },
        files: {
          'plugins/clockwork.js': clockwork,
          'wrong.mjs': 'const { now } = Date;\nDate.now = () => now() + 7_200_000;\n',
        },
        args: ['--safe', ...args],
      });
    interface Times {
      readonly now: number;
      readonly own: number;
      readonly tick: number;
      readonly short: boolean;
    }
    const [right, wrong] = [await start('', []), await start('', ['--import', './wrong.mjs'])];
    try {
      await right.fetch('/clockwork', { method: 'PUT' });
      const here = Date.now();
      const seen = await wrong.json<Times>('/clockwork');
      expect(seen.own - here).to.be.above(7_000_000);
      expect(Math.abs(seen.now - here)).to.be.below(60_000);
      expect(seen.short).to.equal(true);
      await wrong.fetch('/clockwork', { method: 'PUT' });
      expect((await right.json<Times>('/clockwork')).short).to.equal(true);
      // The host whose clock is right is gone: the other alone runs the job. Not by a kill, which could come in the middle of
      // a transaction: MongoDB holds what it has written for a minute.
      right.signal('SIGTERM');
      await right.exited;
      const { tick } = await wrong.json<Times>('/clockwork');
      let next = tick;
      while (next <= tick + 1000) next = (await wrong.json<Times>('/clockwork')).tick;
      expect(Math.abs(next - Date.now())).to.be.below(60_000);
    } finally {
      await right.close();
      await wrong.close();
    }
  });
});
