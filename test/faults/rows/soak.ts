import { mkdtemp, rm } from 'node:fs/promises';
import { type Agent, get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { HISTORY } from '../../../host/monitor/monitor.js';
import { noteLifetime } from '../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../plugins/sessman/stores/embedded/index.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call, oneConnection } from '../support/http.js';
import type { Leak, Vitals } from '../support/probe.js';
import { Server, signal } from '../support/server.js';
import { type Slope, slopeOf } from '../support/slope.js';

const probe = new URL('../support/probe.js', import.meta.url).href;
const clients = 4;
/** Measurements. */
const fewest = 10;
/** Milliseconds for which a server keeps figures of the past, and the store how sessions ended. */
const remembered = Math.max(HISTORY * 1000, noteLifetime);

interface Plan {
  /** Seconds that a session lives. */
  readonly ttl: number;
  /** Seconds of load. */
  readonly load: number;
  /** Seconds between two measurements. */
  readonly every: number;
  /** Operations a second. */
  readonly rate: number;
  /** Reloads between two measurements of the server that is reloaded. */
  readonly reloads: number;
  /** Whether the heap is judged, and the notes of ended sessions are waited for. */
  readonly isLong: boolean;
}

/** Of a load of so many minutes. */
function planOf(minutes: number): Plan {
  const load = 60 * minutes;
  return { ttl: load / 12, load, every: load / 60, rate: 80, reloads: Math.ceil(load / 600), isLong: true };
}

/** For what is counted: a heap needs longer to settle. */
const short: Plan = { ttl: 5, load: 60, every: 3, rate: 100, reloads: 1, isLong: false };

/** As what it must be seen that something is kept. */
const seenAs: Readonly<Record<Leak, string>> = {
  login: 'heap of the worker',
  watch: 'listeners of the worker',
  reload: 'descriptors of the supervisor',
};

export const soak: Fault = {
  name: 'soak',
  title: 'logins, logouts, expiry, renewals, watchers and reloads, for as long as SOAK_MINUTES says',
  isLong: true,
  async run(scale) {
    const verdict = new Verdict();
    const minutes = scale(Number(process.env.SOAK_MINUTES ?? 60), 0);
    const plan = minutes === 0 ? short : planOf(minutes);
    const runs = await Promise.allSettled([
      soakSessions(plan),
      soakReloads(plan),
      ...(plan.isLong ? [soakSessions(plan, 'login')] : []),
      soakSessions(short, 'watch'),
      soakReloads(short, 'reload'),
    ]);
    // Not before all servers are closed.
    const [sessions, reloads, ...leaking] = runs.map((run) => {
      if (run.status === 'rejected') throw run.reason;
      return run.value;
    }) as [Soaked, Soaked, ...Soaked[]];
    for (const failure of [...sessions.failures, ...reloads.failures]) verdict.expect(false, failure);
    const caught = leaking.map(({ leak, failures }) => {
      const seen = failures.find((failure) => failure.startsWith(seenAs[leak!]));
      verdict.expect(seen !== undefined, `what was kept at each ${leak} was not seen`);
      return `at each ${leak}, ${seen}`;
    });
    return {
      times: `${plan.load / 60} minutes, sessions of ${plan.ttl} s, ${reloads.operations} reloads`,
      acknowledged: sessions.operations,
      wrong: sessions.wrong + reloads.wrong,
      notes: [...sessions.notes, ...reloads.notes, `what was kept on purpose was seen: ${caught.join('; ')}`],
      failures: verdict.failures,
    };
  },
};

interface Soaked {
  readonly leak?: Leak | undefined;
  readonly operations: number;
  readonly wrong: number;
  readonly notes: readonly string[];
  readonly failures: readonly string[];
}

/** The clients of one server, which is not reloaded: what its worker keeps would go with the worker. */
async function soakSessions(plan: Plan, leak?: Leak): Promise<Soaked> {
  const probed = await Probed.start(plan, leak);
  const load = new Load(probed.server, plan);
  try {
    await load.run(plan.every);
    await load.end();
    const before = await probed.idle();
    const began = load.operations;
    const samples: Sample[] = [];
    const begun = performance.now();
    for (const end = begun + plan.load * 1000; performance.now() < end; ) {
      await load.run(plan.every);
      // Measured while no client is there: what each of them costs would hide what is kept.
      load.rest();
      await sleep(500);
      const seen = await probed.lookAtHeap();
      // From the third lifetime of a session on, and when the server has its figures of the last minutes.
      if (performance.now() - begun > Math.max(2000 * plan.ttl, plan.isLong ? remembered : 0))
        samples.push({ operations: load.operations - began, seen });
    }
    await load.end();
    // The last sessions expire, and how sessions ended is forgotten.
    await sleep(plan.ttl * 1000 + (plan.isLong ? remembered : 0));
    const after = await probed.idleAs(before);
    const { failures, notes } = judge(plan, samples, before, after, 'operation');
    const pages = [before[0]!, ...samples.map(({ seen }) => seen), after.at(-1)!].map((seen) => seen.pages);
    notes.push(
      `pages of the store's file in use: ${pages[0]} before, ${Math.max(...pages)} at most, ${pages.at(-1)} after`,
    );
    return { leak, operations: load.operations, wrong: load.wrong, notes, failures };
  } finally {
    load.rest();
    await probed.close();
  }
}

/** A server that is reloaded again and again: what its supervisor keeps stays. */
async function soakReloads(plan: Plan, leak?: Leak): Promise<Soaked> {
  const probed = await Probed.start(plan, leak);
  const { server } = probed;
  let wrong = 0;
  const reload = async () => {
    const outcomes = () => server.logs.filter(({ event, outcome }) => event === 'reload' && outcome);
    const before = outcomes().length;
    signal(server.pid, 'SIGHUP');
    while (outcomes().length === before) await sleep(50);
    const { outcome, msg } = outcomes().at(-1)!;
    if (outcome !== 'success') throw new Error(String(msg));
    const answer = await call(server.url, '/sessman/new', { body: { userid: 'reload', data: {} } });
    if (answer.status !== 200) wrong += 1;
  };
  try {
    for (let i = 0; i < 3; i += 1) await reload();
    const before = await probed.idle();
    const samples: Sample[] = [];
    let reloads = 0;
    for (const end = performance.now() + plan.load * 1000; performance.now() < end; ) {
      for (let j = 0; j < plan.reloads; j += 1) {
        await reload();
        await sleep((1000 * plan.every) / plan.reloads / 2);
      }
      reloads += plan.reloads;
      samples.push({ operations: reloads, seen: await probed.lookAtHeap() });
    }
    await sleep(plan.ttl * 1000);
    const after = await probed.idleAs(before);
    return {
      leak,
      operations: reloads,
      wrong,
      ...judge(plan, samples, before, after, 'reload'),
    };
  } finally {
    await probed.close();
  }
}

type Role = 'supervisor' | 'worker';

interface Seen {
  /** By role of the process. */
  readonly processes: Readonly<Record<Role, Vitals>>;
  readonly sessions: number;
  /** Of the store's file. */
  readonly pages: number;
}

interface Sample {
  readonly operations: number;
  readonly seen: Seen;
}

function judge(
  plan: Plan,
  samples: readonly Sample[],
  before: readonly Seen[],
  after: readonly Seen[],
  unit: 'operation' | 'reload',
) {
  const failures: string[] = [];
  const notes: string[] = [];
  for (const role of ['supervisor', 'worker'] as const) {
    // The worker of a server that is reloaded is always a new one.
    if (unit === 'reload' && role === 'worker') continue;
    failures.push(...differences(role, before, after));
    if (!plan.isLong) continue;
    if (samples.length < fewest) {
      failures.push(`only ${samples.length} measurements of the ${role}, which shows nothing`);
      continue;
    }
    const line = (of: (vitals: Vitals) => number) =>
      slopeOf(samples.map(({ operations, seen }) => [operations, of(seen.processes[role])]));
    const heap = line((vitals) => vitals.heap);
    const anonymous = line((vitals) => vitals.anonymous);
    const said = ({ slope, upper }: Slope) => `${slope.toFixed(2)} bytes, at most ${upper.toFixed(2)}`;
    notes.push(
      `${role}, per ${unit}: heap ${said(heap)}, RssAnon ${said(anonymous)} (${samples.length} measurements)`,
    );
    if (unit === 'operation' && heap.upper >= 1) failures.push(`heap of the ${role}: ${said(heap)}`);
  }
  const { sessions } = after.at(-1)!;
  if (sessions !== 0) failures.push(`${sessions} sessions are left in the store`);
  return { failures, notes };
}

/** The counts that are more than before. Timers come and go, so the least of several looks counts. */
function differences(role: Role, before: readonly Seen[], after: readonly Seen[]): string[] {
  const names = new Set([...before, ...after].flatMap((seen) => Object.keys(seen.processes[role].counts)));
  const least = (all: readonly Seen[], name: string) =>
    Math.min(...all.map((seen) => seen.processes[role].counts[name] ?? 0));
  return [...names]
    .filter((name) => least(after, name) > least(before, name))
    .map((name) => `${name} of the ${role}: ${least(before, name)} before, ${least(after, name)} after`);
}

/** A server whose processes tell what they hold. */
class Probed {
  private constructor(
    readonly server: Server,
    private readonly folder: string,
  ) {}

  static async start(plan: Plan, leak: Leak | undefined): Promise<Probed> {
    const folder = await mkdtemp(join(tmpdir(), 'plugin-server-probe-'));
    const server = await Server.start({
      ini: '[network]\nworkers=1\nworker_timeout=int:60\n[plugin_parms]\nsessman=json=sessman.json\n',
      files: { 'sessman.json': JSON.stringify({ session_ttl: plan.ttl, removal_delay: 0 }) },
      env: {
        NODE_OPTIONS: `--import=${probe}`,
        PROBE_FOLDER: folder,
        ...(leak && { PROBE_LEAK: leak }),
      },
    });
    return new Probed(server, folder);
  }

  async look(): Promise<Seen> {
    const processes = await this.#processes('all');
    const store = EmbeddedStore.open(join(this.server.folder, 'data/sessman/store'));
    const { bytes, free } = store.file.size();
    const sessions = store.count();
    await store.close();
    return { processes, sessions, pages: (bytes - free) / 4096 };
  }

  /** With the least heap of five looks: what was just optimized or cached comes and goes. */
  async lookAtHeap(): Promise<Seen> {
    const seen = await this.look();
    const all = [seen.processes];
    for (let i = 0; i < 4; i += 1) all.push(await this.#processes('memory'));
    const least = (role: Role) => ({
      ...seen.processes[role],
      heap: Math.min(...all.map((each) => each[role].heap)),
    });
    return { ...seen, processes: { supervisor: least('supervisor'), worker: least('worker') } };
  }

  async #processes(what: 'memory' | 'all'): Promise<Record<Role, Vitals>> {
    const [supervisor, worker] = this.server.pids();
    return { supervisor: await this.#vitals(supervisor!, what), worker: await this.#vitals(worker!, what) };
  }

  /** Several looks at processes that have nothing to do. */
  async idle(): Promise<Seen[]> {
    await sleep(5000);
    const looks: Seen[] = [];
    for (let i = 0; i < 8; i += 1) {
      looks.push(await this.look());
      await sleep(400);
    }
    return looks;
  }

  /** The same once no count is more than before, or after a minute. */
  async idleAs(before: readonly Seen[]): Promise<Seen[]> {
    const end = performance.now() + 60_000;
    for (;;) {
      const looks = await this.idle();
      const isSame = (['supervisor', 'worker'] as const).every(
        (role) => differences(role, before, looks).length === 0,
      );
      if ((isSame && looks.at(-1)!.sessions === 0) || performance.now() > end) return looks;
    }
  }

  async #vitals(pid: number, what: 'memory' | 'all'): Promise<Vitals> {
    const socket = connect(join(this.folder, `${pid}`));
    socket.write(what);
    return JSON.parse(await text(socket)) as Vitals;
  }

  async close(): Promise<void> {
    await this.server.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Sessions that are made, used, watched, ended and left alone, at a steady rate. */
class Load {
  operations = 0;
  wrong = 0;
  #agents: Agent[] = [];
  #ids: string[] = [];
  readonly #watching = new Set<IncomingMessage>();

  constructor(
    private readonly server: Server,
    private readonly plan: Plan,
  ) {}

  async run(seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000;
    this.#agents = Array.from({ length: clients }, oneConnection);
    await Promise.all(
      this.#agents.map(async (agent) => {
        const pause = (clients * 1000) / this.plan.rate;
        for (let at = performance.now(); at < end; at = Math.max(at + pause, performance.now())) {
          await sleep(Math.max(0, at - performance.now()));
          await this.#operate(agent);
          this.operations += 1;
        }
      }),
    );
  }

  /** All clients leave; their sessions stay. */
  rest(): void {
    for (const response of this.#watching) response.destroy();
    this.#watching.clear();
    for (const agent of this.#agents) agent.destroy();
  }

  /** Ends the sessions that it knows, too. */
  async end(): Promise<void> {
    this.rest();
    for (const session_id of this.#ids.splice(0)) {
      await call(this.server.url, '/sessman/end', { body: { session_id } });
    }
  }

  async #operate(agent: Agent): Promise<void> {
    const dice = Math.random();
    const at = Math.floor(Math.random() * this.#ids.length);
    const session_id = this.#ids[at];
    if (dice < 0.4 || session_id === undefined) {
      const body = { userid: `user-${Math.floor(Math.random() * 500)}`, data: { n: this.operations } };
      const answer = await this.#send(agent, 'new', body);
      if (answer) this.#ids.push(answer.session_id);
      // The others are left to expire.
      if (this.#ids.length > 300) this.#ids.shift();
    } else if (dice < 0.6) {
      this.#ids.splice(at, 1);
      await this.#send(agent, 'end', { session_id });
    } else if (dice < 0.75) {
      this.#ids.splice(at, 1);
      const answer = await this.#send(agent, 'renew', { session_id });
      if (answer) this.#ids.push(answer.session_id);
    } else if (dice < 0.95) await this.#send(agent, 'patch', { session_id, data: { n: this.operations } });
    else this.#watch(session_id);
  }

  async #send(agent: Agent, path: string, body: unknown): Promise<{ session_id: string } | undefined> {
    const answer = await call(this.server.url, `/sessman/${path}`, { body, agent });
    if (answer.status === 200) return JSON.parse(answer.text) as { session_id: string };
    // It has expired, another client has ended it, or the machine is busy.
    if (answer.status !== 404 && answer.status !== 503) this.wrong += 1;
    return undefined;
  }

  #watch(id: string): void {
    const request = get(`${this.server.url}/sessman/watch`, { headers: { 'X-Session-Id': id } });
    request.on('error', () => {});
    request.on('response', (response) => {
      if (![200, 401, 503].includes(response.statusCode!)) this.wrong += 1;
      this.#watching.add(response);
      response.resume();
      response.on('error', () => {});
      const timer = setTimeout(() => response.destroy(), Math.random() * this.plan.ttl * 250);
      response.on('close', () => {
        clearTimeout(timer);
        this.#watching.delete(response);
      });
    });
  }
}
