import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { pino } from 'pino';
import type { JsonObject } from '../../../plugins/sessman/merge-patch.js';
import { Sessions } from '../../../plugins/sessman/sessions.js';
import type { Store } from '../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../plugins/sessman/stores/embedded/index.js';
import { MongoStore } from '../../../plugins/sessman/stores/mongodb/index.js';
import { sharedMongo } from '../../support/mongodb.js';

// Random sequences of calls, made of two hosts on one store whose clock the test moves, and of a Map. Whatever the Map
// says, the hosts must have answered. MODEL_RUNS and MODEL_RUNS_MONGODB say how many sequences; `npm run test:model`
// runs very many.

const limits = { idleTimeout: 100, absoluteTimeout: 150, maxData: 120, maxPerUser: 3 };

interface Known {
  readonly id: string;
  readonly userid: string;
  data: JsonObject;
  version: number;
  readonly created: number;
  touched: number;
  expires: number;
  ends: number;
  authenticated: number;
}

/** What the sessions of one sequence should be. */
class Model {
  readonly live = new Map<string, Known>();
  /** Every id there ever was, ended ones included. */
  readonly ids: string[] = [];
  /** Keeps the users of one sequence apart from those of all others. */
  readonly prefix = randomBytes(6).toString('hex');
  constructor(readonly clock: { now: number }) {}

  find(id: string, userid?: string): Known | undefined {
    const known = this.live.get(id);
    if (!known || Math.min(known.expires, known.ends) <= this.clock.now) return undefined;
    return userid === undefined || known.userid === userid ? known : undefined;
  }

  ofUser(userid: string): Known[] {
    return [...this.live.values()].filter(({ id }) => this.find(id, userid));
  }

  add(known: Known): void {
    this.live.set(known.id, known);
    this.ids.push(known.id);
  }

  use(known: Known): void {
    known.touched = this.clock.now;
    known.expires = this.clock.now + limits.idleTimeout * 1000;
  }
}

interface Real {
  readonly hosts: readonly Sessions[];
  readonly stores: readonly Store[];
}

type Outcome = { answer: unknown } | { code: string };

/** One call: what it should come to, and what it came to. */
class Step implements fc.AsyncCommand<Model, Real> {
  constructor(
    private readonly name: string,
    private readonly given: object,
    private readonly expected: (model: Model) => (answer: never) => Outcome,
    private readonly call: (sessions: Sessions, model: Model, real: Real) => unknown,
    private readonly host: number,
  ) {}

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    const expected = this.expected(model);
    let outcome: Outcome;
    try {
      outcome = { answer: await this.call(real.hosts[this.host]!, model, real) };
    } catch (error) {
      const { code } = error as { code?: unknown };
      if (typeof code !== 'string') throw error;
      outcome = { code };
    }
    expect(outcome).to.deep.equal(expected(('answer' in outcome ? outcome.answer : undefined) as never));
  }

  toString(): string {
    return `${this.name}${JSON.stringify({ ...this.given, host: this.host })}`;
  }
}

const host = fc.nat(1);
const user = fc.constantFrom('mary', 'mary', 'mary', 'ü\u0000🐢', '');
const anId = fc.nat(1000);
const key = fc.constantFrom('a', 'b', '', '$c.d', 'ü');
const data = fc.dictionary(key, fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 }) as fc.Arbitrary<JsonObject>;
const whose = fc.constantFrom('own', 'own', 'own', 'none', 'none', 'other');
const version = fc.constantFrom('none', 'none', 'current', 'stale', 'ahead');

const idOf = (model: Model, n: number) => model.ids[n % Math.max(model.ids.length, 1)] ?? 'A'.repeat(43);
const userOf = (model: Model, name: string) => `${model.prefix} ${name}`;
const useridFor = (model: Model, id: string, who: string) =>
  who === 'none' ? undefined : who === 'own' ? (model.live.get(id)?.userid ?? 'nobody') : 'nobody';
const versionFor = (model: Model, id: string, which: string) => {
  const current = model.live.get(id)?.version ?? 1;
  return which === 'none' ? undefined : current + { current: 0, stale: -1, ahead: 1 }[which]!;
};

function view(known: Known): object {
  const { id, userid, data, version, created, touched, expires, ends, authenticated } = known;
  return {
    id,
    handle: id.slice(0, 16),
    userid,
    data: plain(data),
    version,
    created,
    touched,
    expires: Math.min(expires, ends),
    ends,
    authenticated,
    remember: true,
  };
}

/** An answer with its data read. */
function read(answer: { data: string }): object {
  return { ...answer, data: JSON.parse(answer.data) };
}

function plain(value: JsonObject): JsonObject {
  return JSON.parse(JSON.stringify(value));
}

function size(value: JsonObject): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** RFC 7396, section 2, as it is written there. */
function merged(target: unknown, patch: unknown): unknown {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const result: Record<string, unknown> =
    typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = merged(result[name], value);
  }
  return result;
}

const notFound = () => ({ code: 'session_not_found' });
const wrongVersion = () => ({ code: 'version_mismatch' });
const tooLarge = () => ({ code: 'data_too_large' });

const create = fc.record({ user, data, host }).map(
  (given) =>
    new Step(
      'create',
      given,
      (model) => {
        if (size(given.data) > limits.maxData) return tooLarge;
        return ({ id }: { id: string }) => {
          const { now } = model.clock;
          const known = {
            id,
            userid: userOf(model, given.user),
            data: given.data,
            version: 1,
            created: now,
            touched: now,
            expires: now + limits.idleTimeout * 1000,
            ends: now + limits.absoluteTimeout * 1000,
            authenticated: now,
          };
          model.add(known);
          const all = model
            .ofUser(known.userid)
            .sort((a, b) => a.touched - b.touched || a.created - b.created || (a.id < b.id ? -1 : 1));
          for (const surplus of all.slice(0, Math.max(0, all.length - limits.maxPerUser))) {
            model.live.delete(surplus.id);
          }
          return { answer: view(known) };
        };
      },
      async (sessions, model) => read(await sessions.create(userOf(model, given.user), given.data)),
      given.host,
    ),
);

const get = fc.record({ id: anId, whose, host }).map(
  (given) =>
    new Step(
      'get',
      given,
      (model) => {
        const id = idOf(model, given.id);
        const known = model.find(id, useridFor(model, id, given.whose));
        return known ? () => ({ answer: view(known) }) : notFound;
      },
      async (sessions, model) => {
        const id = idOf(model, given.id);
        return read(await sessions.get(id, useridFor(model, id, given.whose)));
      },
      given.host,
    ),
);

const change = fc
  .record({ kind: fc.constantFrom('update', 'patch'), id: anId, whose, version, data, host })
  .map(
    (given) =>
      new Step(
        given.kind,
        given,
        (model) => {
          const id = idOf(model, given.id);
          const known = model.find(id, useridFor(model, id, given.whose));
          const isUpdate = given.kind === 'update';
          if (isUpdate && size(given.data) > limits.maxData) return tooLarge;
          if (!known) return notFound;
          const expected = versionFor(model, id, given.version);
          if (expected !== undefined && expected !== known.version) return wrongVersion;
          const next = isUpdate ? given.data : (merged(known.data, given.data) as JsonObject);
          if (size(next) > limits.maxData) return tooLarge;
          return () => {
            known.data = next;
            known.version += 1;
            model.use(known);
            return { answer: view(known) };
          };
        },
        async (sessions, model) => {
          const id = idOf(model, given.id);
          const expected = {
            userid: useridFor(model, id, given.whose),
            version: versionFor(model, id, given.version),
          };
          const call =
            given.kind === 'update'
              ? sessions.update(id, given.data, expected)
              : sessions.patch(id, given.data, expected);
          return read(await call);
        },
        given.host,
      ),
  );

const touch = fc.record({ id: anId, whose, host }).map(
  (given) =>
    new Step(
      'touch',
      given,
      (model) => {
        const id = idOf(model, given.id);
        const known = model.find(id, useridFor(model, id, given.whose));
        if (!known) return notFound;
        return () => {
          model.use(known);
          return { answer: view(known) };
        };
      },
      async (sessions, model) => {
        const id = idOf(model, given.id);
        return read(await sessions.touch(id, { userid: useridFor(model, id, given.whose) }));
      },
      given.host,
    ),
);

const renew = fc.record({ id: anId, whose, authenticated: fc.boolean(), host }).map(
  (given) =>
    new Step(
      'renew',
      given,
      (model) => {
        const id = idOf(model, given.id);
        const known = model.find(id, useridFor(model, id, given.whose));
        if (!known) return notFound;
        return (answer: { id: string }) => {
          expect(answer.id).not.to.equal(id);
          expect(answer.id.slice(0, 16)).to.equal(id.slice(0, 16));
          const next = { ...known, id: answer.id };
          model.live.delete(id);
          model.add(next);
          model.use(next);
          if (given.authenticated) {
            next.authenticated = model.clock.now;
            next.ends = model.clock.now + limits.absoluteTimeout * 1000;
          }
          return { answer: view(next) };
        };
      },
      async (sessions, model) => {
        const id = idOf(model, given.id);
        const { authenticated } = given;
        return read(await sessions.renew(id, { userid: useridFor(model, id, given.whose), authenticated }));
      },
      given.host,
    ),
);

const end = fc.record({ id: anId, whose, byHandle: fc.boolean(), host }).map(
  (given) =>
    new Step(
      'end',
      given,
      (model) => {
        const id = idOf(model, given.id);
        const userid = useridFor(model, id, given.whose);
        // A handle outlives a renew, and so names what an old id does not.
        const known = given.byHandle
          ? [...model.live.values()].find(
              (each) => each.id.slice(0, 16) === id.slice(0, 16) && model.find(each.id, userid ?? ''),
            )
          : model.find(id, userid);
        if (!known) return notFound;
        return () => {
          model.live.delete(known.id);
          return { answer: undefined };
        };
      },
      (sessions, model) => {
        const id = idOf(model, given.id);
        const userid = useridFor(model, id, given.whose);
        return given.byHandle
          ? sessions.endByHandle(userid ?? 'nobody', id.slice(0, 16))
          : sessions.end(id, { userid });
      },
      given.host,
    ),
);

const list = fc.record({ user, host }).map(
  (given) =>
    new Step(
      'list',
      given,
      (model) => {
        const expected = model
          .ofUser(userOf(model, given.user))
          .sort((a, b) => b.created - a.created || (a.id < b.id ? -1 : 1))
          .map(({ id, created, touched, expires, ends, authenticated }) => ({
            handle: id.slice(0, 16),
            created,
            touched,
            expires: Math.min(expires, ends),
            authenticated,
          }));
        return () => ({ answer: expected });
      },
      (sessions, model) => sessions.list(userOf(model, given.user)),
      given.host,
    ),
);

const endAll = fc.record({ user, except: fc.option(anId), host }).map(
  (given) =>
    new Step(
      'endAll',
      given,
      (model) => {
        const userid = userOf(model, given.user);
        const except = given.except === null ? undefined : idOf(model, given.except);
        if (except !== undefined && !model.find(except, userid)) return notFound;
        return () => {
          const ended = model.ofUser(userid).filter(({ id }) => id !== except);
          for (const { id } of ended) model.live.delete(id);
          return { answer: ended.length };
        };
      },
      (sessions, model) =>
        sessions.endAll(
          userOf(model, given.user),
          given.except === null ? undefined : idOf(model, given.except),
        ),
      given.host,
    ),
);

const wait = fc.record({ seconds: fc.constantFrom(1, 1, 10, 40, 70, 99, 100, 101, 350) }).map(
  (given) =>
    new Step(
      'wait',
      given,
      (model) => () => {
        model.clock.now += given.seconds * 1000;
        return { answer: undefined };
      },
      () => undefined,
      0,
    ),
);

const sweep = fc.record({ host }).map(
  (given) =>
    new Step(
      'sweep',
      given,
      () => () => ({ answer: undefined }),
      async (_sessions, model, { stores }) => {
        while ((await stores[given.host]!.sweep(model.clock.now, 20)).more);
      },
      given.host,
    ),
);

const commands = fc.commands(
  [create, create, create, get, change, change, touch, touch, renew, end, list, endAll, wait, sweep],
  {
    size: 'max',
    maxCommands: 50,
  },
);

const stores: [string, number, () => Promise<{ open(): Promise<Store>; remove(): Promise<void> }>][] = [
  [
    'embedded',
    Number(process.env.MODEL_RUNS ?? 150),
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
      return { open: async () => EmbeddedStore.open(folder), remove: () => rm(folder, { recursive: true }) };
    },
  ],
  [
    'mongodb',
    Number(process.env.MODEL_RUNS_MONGODB ?? 25),
    async () => {
      const { host, user, password, database } = await (await sharedMongo()).createDatabase();
      const settings = { server_url: host, username: user, password, database, collection: 'sessions' };
      return {
        open: () => MongoStore.open({ ...settings, log: pino({ level: 'silent' }) }),
        remove: async () => {},
      };
    },
  ],
];

for (const [name, runs, makePlace] of stores) {
  describe(`sessions against a model, on the ${name} store`, () => {
    it(`agree in ${runs} random sequences`, async function () {
      this.timeout(0);
      const place = await makePlace();
      const opened = [await place.open(), await place.open()];
      // Goes on from one sequence to the next, so that a database which clears away by its own clock is not early.
      const clock = { now: Date.now() };
      const hosts = opened.map((store) => new Sessions(store, limits, { now: () => clock.now }));
      let steps = 0;
      try {
        await fc.assert(
          fc.asyncProperty(commands, async (sequence) => {
            steps += [...sequence].length;
            await fc.asyncModelRun(
              () => ({ model: new Model(clock), real: { hosts, stores: opened } }),
              sequence,
            );
          }),
          { numRuns: runs },
        );
      } finally {
        for (const store of opened) await store.close();
        await place.remove();
      }
      expect(steps).to.be.greaterThan(runs * 10);
    });
  });
}
