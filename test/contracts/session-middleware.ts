import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { type Api, startApi } from '../plugins/sessman/support/api.js';

/** What the stores of all middlewares can do beside what their middleware asks for. */
export interface SessmanStore {
  list(userid: string | number | bigint): Promise<readonly { handle: string }[]>;
  endAll(userid: string | number | bigint, except?: string): Promise<number>;
  close(): void;
}

// biome-ignore lint/suspicious/noExplicitAny: a session's data is what an application makes of it
export type SessionData = Record<string, any>;

/** A session as an application handles it, whatever the middleware calls things. */
export interface SessionHandle {
  readonly data: SessionData;
  readonly id: string;
  /** Gives the session a new id and no data, and then that data. */
  regenerate(data: SessionData): Promise<void>;
  destroy(): Promise<void>;
  save(): Promise<void>;
}

export interface StoreOptions {
  base_url: string;
  auth: string;
  prefix?: string;
  userid?: (data: SessionData) => string | number | bigint | null | undefined;
  touch_after?: number;
}

export interface Application {
  readonly url: string;
  readonly store: SessmanStore;
  close(): Promise<void>;
}

/** Starts an application that answers each request with `act`; `maxAge` is that of its sessions, in milliseconds. */
export type StartApplication = (
  options: StoreOptions,
  act: (url: string, session: SessionHandle) => Promise<object>,
  maxAge?: number,
) => Promise<Application>;

const KEY = 'the key of the test';

/** What sessman promises to applications that use it through a session middleware. */
export function describeSessionMiddleware(name: string, startApplication: StartApplication): void {
  describe(`${name} on sessman`, () => {
    let sessman: Api;
    let base: StoreOptions;
    const applications: Application[] = [];
    before(async () => {
      sessman = await startApi({}, { ini: `[auth]\napikey=${KEY}\n` });
      base = { base_url: `${sessman.server.url}/sessman`, auth: KEY };
    });
    after(async () => {
      for (const application of applications) await application.close();
      await sessman?.close();
    });

    const start = async (options: Partial<StoreOptions> = {}, maxAge?: number) => {
      const gate = new Gate();
      const act = (url: string, session: SessionHandle) => actions(url, session, gate);
      const application = await startApplication({ ...base, ...options }, act, maxAge);
      applications.push(application);
      return { application, gate, visitor: () => new Visitor(application.url) };
    };

    /** What sessman has of a session, by the id that the middleware gave it. */
    const stored = (id: string, prefix = '') => {
      const session_id = createHash('sha256').update(`${prefix}\0${id}`).digest('base64url');
      const headers = { Authorization: `Bearer ${KEY}`, 'X-Session-Id': session_id };
      return sessman.get('/sessman/get', { headers });
    };

    it('keeps data from one request to the next', async () => {
      const { visitor } = await start();
      const [mary, john] = [visitor(), visitor()];
      await mary.get('/put?key=name&value=mary');
      await john.get('/put?key=name&value=john');
      expect((await mary.get('/show')).data).to.deep.equal({ name: 'mary' });
      expect((await john.get('/show')).data).to.deep.equal({ name: 'john' });
    });

    it('gives sessman no id that opens a session of the application', async () => {
      const { visitor } = await start();
      const { id } = await visitor().get('/put?key=a&value=1');
      const { body } = await stored(id);
      expect(body.data.a).to.equal('1');
      expect(JSON.stringify(body)).not.to.include(id);
    });

    it('keeps applications of different prefixes apart', async () => {
      const [one, two] = [await start({ prefix: 'one' }), await start({ prefix: 'two' })];
      const mary = one.visitor();
      const { id } = await mary.get('/put?key=a&value=1');
      expect((await stored(id, 'one')).status).to.equal(200);
      expect((await stored(id, 'two')).status).to.equal(404);
      const elsewhere = new Visitor(two.application.url, mary.cookie);
      expect((await elsewhere.get('/show')).data).to.deep.equal({});
    });

    describe('when requests of one session overlap', () => {
      it('keeps what each of 50 has put', async () => {
        const { visitor } = await start();
        const mary = visitor();
        await mary.get('/put?key=name&value=mary');
        const keys = Array.from({ length: 50 }, (_, i) => `key${i}`);
        await Promise.all(keys.map((key) => mary.get(`/put?key=${key}&value=1`)));
        const { data } = await mary.get('/show');
        expect(data).to.deep.equal({ name: 'mary', ...Object.fromEntries(keys.map((key) => [key, '1'])) });
      });

      it('keeps what each has put into the same object, and what one has removed stays removed', async () => {
        const { visitor, gate } = await start();
        const mary = visitor();
        await mary.get('/put?key=gone&value=1');
        const late = mary.get('/wait?then=nest&key=a');
        await gate.entered();
        await mary.get('/nest?key=b');
        await mary.get('/drop?key=gone');
        gate.open();
        await late;
        expect((await mary.get('/show')).data).to.deep.equal({ nested: { a: 1, b: 1 } });
      });

      it('keeps what others have put when one saves twice', async () => {
        const { visitor, gate } = await start();
        const mary = visitor();
        await mary.get('/put?key=name&value=mary');
        const late = mary.get('/wait?then=twice');
        await gate.entered();
        await mary.get('/put?key=other&value=1');
        gate.open();
        await late;
        expect((await mary.get('/show')).data).to.deep.equal({
          name: 'mary',
          other: '1',
          first: 1,
          second: 1,
        });
      });

      it('overwrites nothing with what it did not change', async () => {
        const { visitor, gate } = await start();
        const mary = visitor();
        await mary.get('/put?key=n&value=1');
        const late = mary.get('/wait?then=show');
        await gate.entered();
        await mary.get('/put?key=n&value=2');
        gate.open();
        await late;
        expect((await mary.get('/show')).data).to.deep.equal({ n: '2' });
      });
    });

    describe('when a session has ended', () => {
      it('has nothing under its id any more', async () => {
        const { visitor } = await start();
        const mary = visitor();
        const { id } = await mary.get('/put?key=name&value=mary');
        const { cookie } = mary;
        await mary.get('/logout');
        expect((await stored(id)).status).to.equal(404);
        expect((await new Visitor(mary.url, cookie).get('/show')).data).to.deep.equal({});
      });

      it('stays ended whatever a request does that had it before, and tells that one', async () => {
        const { visitor, gate } = await start();
        const mary = visitor();
        const { id } = await mary.get('/put?key=name&value=mary');
        const { cookie } = mary;
        const late = new Visitor(mary.url, cookie).get('/wait?then=put&key=late&value=1&save=1');
        await gate.entered();
        await mary.get('/logout');
        gate.open();
        expect(await late).to.include({ status: 500, code: 'session_not_found' });
        expect((await stored(id)).status).to.equal(404);
        expect((await new Visitor(mary.url, cookie).get('/show')).data).to.deep.equal({});
      });

      it('does not disturb a request that had it and changes nothing', async () => {
        const { visitor, gate } = await start({ touch_after: 0 });
        const mary = visitor();
        const { id } = await mary.get('/put?key=name&value=mary');
        const late = new Visitor(mary.url, mary.cookie).get('/wait?then=show');
        await gate.entered();
        await mary.get('/logout');
        gate.open();
        expect(await late).to.include({ status: 200 });
        expect((await stored(id)).status).to.equal(404);
      });

      it('ends the old one when it is regenerated', async () => {
        const { visitor } = await start();
        const mary = visitor();
        const before = await mary.get('/put?key=name&value=mary');
        const { cookie } = mary;
        await mary.get('/login?user=mary');
        const now = await mary.get('/show');
        expect(now.id).not.to.equal(before.id);
        expect(now.data).to.deep.equal({ user: 'mary' });
        expect((await stored(before.id)).status).to.equal(404);
        expect((await new Visitor(mary.url, cookie).get('/show')).data).to.deep.equal({});
      });
    });

    describe('when a session is only used', () => {
      it('writes no data, and touches it now and then', async () => {
        const { visitor } = await start({ touch_after: 0 }, 600_000);
        const mary = visitor();
        const { id } = await mary.get('/put?key=name&value=mary');
        const { body: before } = await stored(id);
        let after = before;
        // koa-session touches when half of the time is over; the others with each request.
        if (name !== 'koa-session') {
          while (after.updated_at === before.updated_at) {
            await mary.get('/show');
            after = (await stored(id)).body;
          }
        }
        expect(after.version).to.equal(before.version);
        expect(after.data).to.deep.equal(before.data);
      });

      it('touches it no more often than is told', async () => {
        const { visitor } = await start({}, 600_000);
        const mary = visitor();
        const { id } = await mary.get('/put?key=name&value=mary');
        const { body: before } = await stored(id);
        for (let i = 0; i < 5; i++) {
          await mary.get('/show');
          await turn();
        }
        expect((await stored(id)).body).to.deep.equal(before);
      });

      it('says when sessman ends sessions sooner than their cookie', async () => {
        const { visitor } = await start({}, 2 * 86_400_000);
        const warned = once(process, 'warning');
        await visitor().get('/put?key=a&value=1');
        const [warning] = await warned;
        expect(warning).to.include({ code: 'SESSMAN_TTL' });
        expect(warning.message).to.match(/86400 s .* 172800 s.*session_ttl/);
      });
    });

    describe('with data that JSON cannot hold', () => {
      for (const [kind, place] of [
        ['nan', '"kept.nan"'],
        ['infinity', '"kept.list[1]"'],
        ['minus', '"minus"'],
        ['bigint', '"kept.bigint"'],
        ['proto', '"kept.__proto__"'],
        ['map', '"kept.map"'],
        ['bytes', '"kept.list[0].bytes"'],
        ['hole', '"kept.list[1]"'],
        ['date', '"kept.date"'],
        ['circle', 'circular'],
      ] as const) {
        it(`refuses the save and names the place, and keeps what was stored: ${kind}`, async () => {
          const { visitor } = await start();
          const mary = visitor();
          await mary.get('/put?key=name&value=mary');
          const refused = await mary.get(`/unkept?key=${kind}&save=1`);
          expect(refused.status).to.equal(500);
          // express-session itself turns those two into JSON, and throws, before it asks the store.
          if (name !== 'express-session' || !['bigint', 'circle'].includes(kind)) {
            expect(refused).to.include({ code: 'invalid_data' });
            expect(refused.message).to.include(place);
          }
          expect((await mary.get('/show')).data).to.deep.equal({ name: 'mary' });
        });
      }
    });

    it('saves a changed lifetime when nothing else has changed', async () => {
      const { visitor } = await start({}, 600_000);
      const mary = visitor();
      const { id } = await mary.get('/put?key=name&value=mary');
      const before = (await stored(id)).body;
      await mary.get('/lifetime?ms=3600000');
      const { body } = await stored(id);
      expect(body.version).to.equal(before.version + 1);
      expect(body.data._maxAge ?? body.data.cookie.originalMaxAge).to.be.within(3_599_900, 3_600_000);
      expect((await mary.get('/show')).data).to.deep.equal({ name: 'mary' });
      expect((await stored(id)).body.version).to.equal(body.version);
    });

    describe('with users', () => {
      const userid = (data: SessionData) => data.user;

      it("lists a user's sessions, and ends them all, or all but one", async () => {
        const { application, visitor } = await start({ userid });
        const { store } = application;
        const user = `user ${Math.random()}`;
        const visitors = [visitor(), visitor(), visitor()];
        for (const each of visitors) await each.get(`/login?user=${encodeURIComponent(user)}`);
        const other = visitor();
        await other.get('/login?user=other');
        const { id } = await visitors[0]!.get('/show');
        expect(await store.list(user)).to.have.lengthOf(3);
        expect(await store.endAll(user, id)).to.equal(2);
        const shown = await Promise.all([...visitors, other].map((each) => each.get('/show')));
        expect(shown.map(({ data }) => data.user)).to.deep.equal([user, undefined, undefined, 'other']);
        expect(await store.endAll(user)).to.equal(1);
        expect(await store.list(user)).to.deep.equal([]);
      });

      it('insists that a login regenerates the session', async () => {
        const { visitor } = await start({ userid });
        const mary = visitor();
        await mary.get('/put?key=name&value=mary');
        const refused = await mary.get('/put?key=user&value=mary&save=1');
        expect(refused).to.include({ status: 500, code: 'user_changed' });
        expect((await mary.get('/show')).data).to.deep.equal({ name: 'mary' });
      });

      it('takes a user that comes after the first save, but in the same request', async () => {
        const { application, visitor } = await start({ userid });
        const user = `user ${Math.random()}`;
        const mary = visitor();
        await mary.get(`/saved_login?user=${encodeURIComponent(user)}`);
        expect((await mary.get('/show')).data).to.deep.equal({ first: 1, user });
        expect(await application.store.list(user)).to.have.lengthOf(1);
      });

      it('takes numbers for users, and nothing or empty text for nobody', async () => {
        let user: string | number | null = 7;
        const { application, visitor } = await start({ userid: () => user });
        const mary = visitor();
        const { id } = await mary.get('/put?key=a&value=1');
        await mary.get('/put?key=a&value=2');
        expect((await stored(id)).body).to.deep.include({ userid: '7' });
        expect(await application.store.list(7)).to.have.lengthOf(1);
        expect(await application.store.list(7n)).to.deep.equal(await application.store.list('7'));
        expect(await application.store.endAll(7)).to.equal(1);
        for (user of [null, '']) {
          const other = await visitor().get('/put?key=a&value=1');
          expect((await stored(other.id)).body.userid).to.match(/^anonymous:/);
        }
      });

      for (const [what, user] of [
        ['an object', { id: 7 }],
        ['an array', ['ann']],
        ['a boolean', true],
        ['a fraction', 7.5],
        ['a number beyond those that are exact', 2 ** 53],
        ['a number that JSON cannot hold', Number.NaN],
      ] as const) {
        it(`refuses ${what} for a user, whose text others would share`, async () => {
          const { application, visitor } = await start({ userid: ({ a }) => a && (user as never) });
          expect(await visitor().get('/put?key=a&value=1&save=1')).to.include({
            status: 500,
            code: 'invalid_userid',
          });
          const { store } = application;
          for (const call of [() => store.list(user as never), () => store.endAll(user as never)]) {
            expect(await call().catch((error: unknown) => error)).to.have.property('code', 'invalid_userid');
          }
        });
      }

      it('keeps the user of a session whose data names none any more', async () => {
        const { application, visitor } = await start({ userid });
        const user = `user ${Math.random()}`;
        const mary = visitor();
        await mary.get(`/login?user=${encodeURIComponent(user)}`);
        await mary.get('/drop?key=user');
        await mary.get('/put?key=a&value=1');
        expect((await mary.get('/show')).data).to.deep.equal({ a: '1' });
        expect(await application.store.endAll(user)).to.equal(1);
        expect((await mary.get('/show')).data).to.deep.equal({});
      });

      it('lets a session without a user stand for itself', async () => {
        const { visitor } = await start({ userid });
        const { id } = await visitor().get('/put?key=name&value=mary');
        const { body } = await stored(id);
        expect(body.userid).to.equal(`anonymous:${body.session_id.slice(0, 16)}`);
      });
    });

    it('says what is wrong with the way to sessman', async () => {
      const { visitor } = await start({ auth: 'wrong' });
      expect(await visitor().get('/put?key=a&value=1&save=1')).to.include({
        status: 500,
        code: 'wrong_api_key',
      });
    });
  });
}

/** What the applications do: the same for each, so that only the middleware and its store differ. */
async function actions(url: string, session: SessionHandle, gate: Gate): Promise<object> {
  const { pathname, searchParams } = new URL(url, 'http://localhost');
  const parameter = (name: string) => searchParams.get(name) ?? '';
  let action = pathname.slice(1);
  if (action === 'wait') {
    await gate.enter();
    action = parameter('then');
  }
  const { data } = session;
  if (action === 'put') data[parameter('key')] = parameter('value');
  else if (action === 'drop') delete data[parameter('key')];
  else if (action === 'nest') data.nested = { ...data.nested, [parameter('key')]: 1 };
  else if (action === 'lifetime') {
    if (data.cookie) data.cookie.maxAge = Number(parameter('ms'));
    else data.maxAge = Number(parameter('ms'));
  } else if (action === 'unkept') Object.assign(data, unkept(parameter('key')));
  else if (action === 'twice') {
    data.first = 1;
    await session.save();
    data.second = 1;
  } else if (action === 'saved_login') {
    data.first = 1;
    await session.save();
    data.user = parameter('user');
  } else if (action === 'login') await session.regenerate({ user: parameter('user') });
  else if (action === 'logout') {
    await session.destroy();
    return {};
  }
  if (parameter('save')) {
    try {
      await session.save();
    } catch (error) {
      // Else the middleware tries once more, and hides this error behind that one.
      for (const name of [parameter('key'), 'kept', 'minus']) delete data[name];
      throw error;
    }
  }
  const { cookie, ...shown } = JSON.parse(JSON.stringify(session.data));
  return { id: session.id, data: shown };
}

/** Data that JSON would not keep as they are. */
function unkept(kind: string): object {
  if (kind === 'nan') return { kept: { nan: Number.NaN } };
  if (kind === 'infinity') return { kept: { list: [0, Number.POSITIVE_INFINITY] } };
  if (kind === 'minus') return { minus: Number.NEGATIVE_INFINITY };
  if (kind === 'bigint') return { kept: { bigint: 7n } };
  if (kind === 'proto') return { kept: JSON.parse('{"__proto__":{"admin":true}}') };
  if (kind === 'map') return { kept: { map: new Map([['a', 1]]) } };
  if (kind === 'bytes') return { kept: { list: [{ bytes: new Uint8Array(2) }] } };
  if (kind === 'hole') return { kept: { list: [1, undefined] } };
  if (kind === 'date') return { kept: { date: new Date('x') } };
  const kept: Record<string, unknown> = {};
  kept.self = kept;
  return { kept };
}

/** Where requests wait until the test lets them go on. */
class Gate {
  #enter!: () => void;
  #open!: () => void;
  readonly #entered = new Promise<void>((resolve) => {
    this.#enter = resolve;
  });
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  enter(): Promise<void> {
    this.#enter();
    return this.#opened;
  }
  entered(): Promise<void> {
    return this.#entered;
  }
  open(): void {
    this.#open();
  }
}

/** Somebody with a browser. */
class Visitor {
  readonly url: string;
  cookie: string;

  constructor(url: string, cookie = '') {
    this.url = url;
    this.cookie = cookie;
  }

  async get(
    path: string,
  ): Promise<{ status: number; id: string; data: SessionData; code?: string; message: string }> {
    const response = await fetch(this.url + path, { headers: { Cookie: this.cookie } });
    const cookies = response.headers.getSetCookie().map((line) => line.split(';')[0]!);
    if (cookies.length > 0) this.cookie = cookies.join('; ');
    return {
      status: response.status,
      ...((await response.json()) as { id: string; data: SessionData; message: string }),
    };
  }
}
