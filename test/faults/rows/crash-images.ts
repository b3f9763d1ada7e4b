import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSessionId } from '../../../plugins/sessman/session-id.js';
import { Disk, type Luck } from '../support/disk.js';
import { type Fault, Verdict } from '../support/fault.js';
import { call, oneConnection } from '../support/http.js';
import { type Order, type Reply, sessionState } from '../support/open-image.js';
import { mutants, Recorder, type Step } from '../support/recording.js';
import { Server } from '../support/server.js';

const clients = 8;
const opener = fileURLToPath(new URL('../support/open-image.js', import.meta.url));

const ledger = `
import { definePlugin } from 'plugin-server';
export default definePlugin({
  setup({ router, storage }) {
    const entries = storage('entries');
    router.post('/', async (ctx) => {
      const { key, value } = ctx.request.body;
      if (value === null) await entries.delete(key);
      else await entries.set(key, value);
      ctx.status = 204;
    });
  },
});
`;

const stores = [
  { kind: 'sessions', file: 'sessions.mdb' },
  { kind: 'storage', file: 'storage.mdb' },
] as const;
type Kind = (typeof stores)[number]['kind'];

/** What one write makes of what it writes to; undefined: it is gone. */
interface Write {
  /** Its request's id. */
  readonly id: string;
  readonly state: string | undefined;
}

/** All writes to one session or key, each begun when the one before was acknowledged. */
interface History {
  readonly kind: Kind;
  /** A session's handle, or a key. */
  readonly name: string;
  readonly writes: Write[];
}

export const crashImages: Fault = {
  name: 'crash-images',
  title:
    'a crash of the machine: nothing, a random part, or all of what was not flushed of the embedded stores is on disk',
  async run(scale) {
    const verdict = new Verdict();
    const recorder = await Recorder.create();
    const server = await Server.create({
      ini: '[main]\nsafe=list:ledger\n[plugin_parms]\nledger=auth_type=none\n[network]\nworkers=2\n',
      files: { 'plugins/ledger.js': ledger },
      env: (folder) => recorder.env(folder),
    });
    const images = new Images();
    try {
      await server.start();
      const histories = await writeHistories(server, scale(6000, 600));
      await server.stop();
      const steps = await recorder.steps();
      const points = scale(250, 25);
      // While the files are made, every moment is worth a look.
      const real = await check(steps, histories, images, points, { all: points });
      const failed = real.failures.length;
      verdict.expect(failed === 0, `${failed} images: ${real.failures.slice(0, 3).join('; ')}`);
      const caught: string[] = [];
      for (const [name, mutate] of Object.entries(mutants)) {
        const mutant = await check(mutate(steps), histories, images, points, { enough: 1 });
        const isCaught = mutant.failures.length > 0;
        verdict.expect(isCaught, `the mutant "${name}" was not caught in ${mutant.images} images`);
        caught.push(`${name}, by image ${mutant.images}`);
      }
      const writes = histories.reduce((sum, history) => sum + history.writes.length, 0);
      const flushes = steps.filter(({ kind }) => kind === 'flush').length;
      return {
        times: `${real.images.toLocaleString('en')} images of ${real.points} moments`,
        acknowledged: writes,
        lost: failed,
        wrong: 0,
        notes: [
          `${steps.length.toLocaleString('en')} steps of two workers were recorded, ${flushes.toLocaleString('en')} of them flushes`,
          `faults in the same recording that were caught: ${caught.join('; ')}`,
        ],
        failures: verdict.failures,
      };
    } finally {
      await server.close();
      await recorder.remove();
      await images.close();
    }
  },
};

/** Clients that change sessions and values of their own, one request after the other. */
async function writeHistories(server: Server, count: number): Promise<History[]> {
  const histories: History[] = [];
  let sent = 0;
  const client = async (number: number) => {
    const agent = oneConnection();
    const write = async (path: string, body: unknown) => {
      sent += 1;
      const id = `${path === '/ledger' ? 'storage' : 'sessions'}-${sent}`;
      const answer = await call(server.url, path, { body, agent, headers: { 'X-Request-Id': id } });
      if (answer.status !== 200 && answer.status !== 204)
        throw new Error(`${path}: ${answer.status} ${answer.text}`);
      return { id, answer: (answer.text === '' ? {} : JSON.parse(answer.text)) as Answered };
    };
    const own: Session[] = [];
    while (sent < count) {
      if (number % 4 === 0) await changeValue(write, histories, `key-${number}-${random(30)}`);
      else if (own.length < 10 || random(20) === 0) own.push(await Session.make(write, histories, number));
      else {
        const session = own[random(own.length)]!;
        await session.change();
        if (session.hasEnded) own.splice(own.indexOf(session), 1);
      }
    }
    agent.destroy();
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  return histories;
}

type Send = (path: string, body: unknown) => Promise<{ id: string; answer: Answered }>;

interface Answered {
  readonly session_id: string;
  readonly version: number;
}

class Session {
  hasEnded = false;

  private constructor(
    private readonly send: Send,
    private id: string,
    private version: number,
    private data: object,
    private readonly history: History,
  ) {}

  static async make(send: Send, histories: History[], client: number): Promise<Session> {
    const data = newData();
    const { id, answer } = await send('/sessman/new', { userid: `user-${client}-${random(5)}`, data });
    const { session_id, version } = answer;
    const history: History = { kind: 'sessions', name: parseSessionId(session_id)!.handle, writes: [] };
    histories.push(history);
    const session = new Session(send, session_id, version, data, history);
    session.#note(id);
    return session;
  }

  async change(): Promise<void> {
    const dice = random(20);
    const session_id = this.id;
    if (dice === 0) {
      const { id } = await this.send('/sessman/end', { session_id });
      this.hasEnded = true;
      this.history.writes.push({ id, state: undefined });
    } else if (dice < 4) {
      const { id, answer } = await this.send('/sessman/renew', { session_id });
      this.id = answer.session_id;
      this.#note(id);
    } else {
      const data = newData();
      const path = dice < 12 ? '/sessman/update' : '/sessman/patch';
      const { id, answer } = await this.send(path, { session_id, data });
      this.version = answer.version;
      this.data = data;
      this.#note(id);
    }
  }

  #note(id: string): void {
    const state = sessionState(this.version, this.data, parseSessionId(this.id)!.secretHash);
    this.history.writes.push({ id, state });
  }
}

async function changeValue(send: Send, histories: History[], key: string): Promise<void> {
  let history = histories.find(({ name }) => name === key);
  if (history === undefined) {
    history = { kind: 'storage', name: key, writes: [] };
    histories.push(history);
  }
  const value = random(10) === 0 && history.writes.length > 0 ? null : newData();
  const { id } = await send('/ledger', { key, value });
  history.writes.push({ id, state: value === null ? undefined : JSON.stringify(value) });
}

/** Sometimes too long for one page of the file. */
function newData(): object {
  return { n: random(1e9), filling: 'x'.repeat(random(20) === 0 ? 9000 : random(600)) };
}

interface Checked {
  images: number;
  points: number;
  /** What was wrong with an image. */
  readonly failures: string[];
}

/**
 * Builds images at some `points` of the recording for each store, and compares what they hold with what had been acknowledged
 * then. Half of these moments are right after a response.
 * @param all how many moments are looked at from the beginning, besides
 * @param enough after how many failures it returns
 */
async function check(
  steps: readonly Step[],
  histories: readonly History[],
  images: Images,
  points: number,
  { all = 0, enough = Number.POSITIVE_INFINITY }: { all?: number; enough?: number },
): Promise<Checked> {
  const checked: Checked = { images: 0, points: 0, failures: [] };
  const responses = steps.filter(({ kind }) => kind === 'response').length;
  const disk = new Disk();
  const acknowledged = new Set<string>();
  const paths = stores.map(({ kind, file }) => ({ kind, path: pathOf(steps, file) }));
  for (const [at, step] of steps.entries()) {
    disk.apply(step);
    if (step.kind === 'response') acknowledged.add(step.id);
    const alike = step.kind === 'response' ? responses : steps.length - responses;
    if (at >= all && Math.random() * alike > points / 2) continue;
    checked.points += 1;
    for (const { kind, path } of paths) {
      const lucks: readonly Luck[] = disk.isPending(path) ? ['none', 'all', 'some', 'some', 'some'] : ['all'];
      for (const luck of lucks) {
        const held = await images.open(kind, disk, path, luck, histories);
        checked.images += 1;
        const failure =
          held.error?.replaceAll(/\S*\/plugin-server-image-\w+\/\w+\//g, '') ??
          mismatch(histories, kind, held.held!, acknowledged);
        if (failure !== undefined)
          checked.failures.push(`${failure}, at step ${at} with ${luck} of the rest`);
        if (checked.failures.length >= enough) return checked;
      }
    }
  }
  return checked;
}

function pathOf(steps: readonly Step[], file: string): string {
  const found = steps.find((step) => step.kind === 'write' && basename(step.path) === file);
  if (found?.kind !== 'write') throw new Error(`nothing was written to ${file}`);
  return found.path;
}

/** Each must be as its last acknowledged write left it, or the one after that. */
function mismatch(
  histories: readonly History[],
  kind: Kind,
  held: Readonly<Record<string, string>>,
  acknowledged: ReadonlySet<string>,
): string | undefined {
  for (const { name, writes } of histories.filter((history) => history.kind === kind)) {
    const next = writes.findIndex(({ id }) => !acknowledged.has(id));
    const done = next === -1 ? writes.length : next;
    const may = [
      writes[done - 1]?.state,
      done < writes.length ? writes[done]!.state : writes[done - 1]?.state,
    ];
    if (!may.includes(held[name])) {
      return `${name} is ${held[name]?.slice(0, 40) ?? 'gone'} after ${done} acknowledged writes`;
    }
  }
  return undefined;
}

/** Opens images in a process apart. */
class Images {
  #child: ChildProcess | undefined;
  #folder: string | undefined;

  async open(
    kind: Kind,
    disk: Disk,
    path: string,
    luck: Luck,
    histories: readonly History[],
  ): Promise<Reply> {
    this.#folder ??= await mkdtemp(
      join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'plugin-server-image-'),
    );
    const folder = join(this.#folder, kind);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { mode: 0o700 });
    const image = disk.image(path, luck);
    if (image !== undefined) await writeFile(join(folder, basename(path)), image, { mode: 0o600 });
    const mark = join(dirname(path), 'store.json');
    if (disk.has(mark, luck))
      await writeFile(join(folder, 'store.json'), await readFile(mark), { mode: 0o600 });
    const names = histories.filter((history) => history.kind === kind).map(({ name }) => name);
    return this.#ask({ kind, folder, names });
  }

  async #ask(order: Order): Promise<Reply> {
    this.#child ??= fork(opener, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const child = this.#child;
    const ended = new AbortController();
    const { signal } = ended;
    child.send(order);
    const reply = once(child, 'message', { signal }).then(([message]) => message as Reply);
    const death = once(child, 'exit', { signal }).then(([status, by]): Reply => {
      this.#child = undefined;
      return { error: `the process that opened it ended with ${by ?? status}` };
    });
    return Promise.race([reply, death]).finally(() => {
      ended.abort();
      reply.catch(() => {});
      death.catch(() => {});
    });
  }

  async close(): Promise<void> {
    this.#child?.disconnect();
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true });
  }
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}
