import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { JsonObject } from '../../plugins/sessman/merge-patch.js';
import {
  type StoredSession as Session,
  type SessionLimits,
  Sessions,
} from '../../plugins/sessman/sessions.js';
import type { Store } from '../../plugins/sessman/store.js';
import type { StorePlace } from './store.js';

/** The rules of sessions on a real store, with a clock that the tests move. Each store runs them all. */
export function describeSessions(name: string, makePlace: () => Promise<StorePlace>): void {
  describe(`${name}: the rules of sessions`, () => {
    let place: StorePlace;
    let store: Store;
    // Starts at the real time and only goes on from there: a database that clears away by its own clock is not early.
    let now: number;
    before(async () => {
      now = Date.now();
      place = await makePlace();
      store = await place.open();
    });
    after(async () => {
      await store?.close();
      await place?.remove();
    });

    const sessionsWith = (limits: Partial<SessionLimits> = {}, time = () => now) =>
      new Sessions(
        store,
        { idleTimeout: 100, absoluteTimeout: 1000, maxData: 262_144, maxPerUser: 0, ...limits },
        { now: time },
      );
    // A database dates its notes by its own clock, from which the one of the tests may be hours away.
    const noteOf = (id: string) => sessionsWith({}, Date.now).noteOf(id);
    let sessions: Sessions;
    let userid: string;
    beforeEach(() => {
      sessions = sessionsWith();
      userid = `user ${randomBytes(6).toString('hex')}`;
    });

    describe('create and get', () => {
      it('gives back what was put in', async () => {
        const made = await sessions.create(userid, { a: [1, 'ü', null], b: {} });
        expect(made.id).to.match(/^[A-Za-z0-9_-]{43}$/);
        expect(made).to.deep.equal({
          id: made.id,
          handle: made.id.slice(0, 16),
          userid,
          data: '{"a":[1,"ü",null],"b":{}}',
          version: 1,
          created: now,
          touched: now,
          expires: now + 100_000,
          ends: now + 1_000_000,
          authenticated: now,
          remember: true,
        });
        expect(await sessions.get(made.id, userid)).to.deep.equal(made);
      });

      it('makes a new id each time', async () => {
        const made = await Promise.all(Array.from({ length: 20 }, () => sessions.create(userid)));
        expect(new Set(made.map(({ id }) => id)).size).to.equal(20);
      });

      it('takes an id that the caller chose, once', async () => {
        const chosen = randomBytes(32).toString('base64url');
        const made = await sessions.create(userid, { a: 1 }, chosen);
        expect(made).to.include({ id: chosen, version: 1 });
        expect(await sessions.get(chosen, userid)).to.deep.equal(made);
        await refused('session_exists', () => sessions.create(userid, { a: 2 }, chosen));
        await refused('session_exists', () =>
          sessions.create('other', {}, chosen.slice(0, 16) + 'A'.repeat(27)),
        );
        expect((await sessions.get(chosen, userid)).data).to.equal('{"a":1}');
      });

      it('refuses a chosen id that is none', async () => {
        for (const chosen of ['', 'x', 'A'.repeat(42), 'A'.repeat(44), `${'A'.repeat(42)}B`]) {
          await refused('invalid_session_id', () => sessions.create(userid, {}, chosen));
        }
      });

      it('reads without the user too', async () => {
        const { id } = await sessions.create(userid);
        expect(await sessions.get(id)).to.include({ id, userid });
      });

      it('keeps odd names and text', async () => {
        const data = JSON.parse(
          '{"__proto__":{"a":1},"":0,"$set":{"a.b":1},"\\u0000":"\\ud800","constructor":null}',
        );
        const { id } = await sessions.create(userid, data);
        expect(JSON.parse((await sessions.get(id, userid)).data)).to.deep.equal(data);
      });

      it("does not show another user's session", async () => {
        const { id } = await sessions.create(userid);
        await refused('session_not_found', () => sessions.get(id, `${userid}x`));
      });

      it('takes an id in exactly one form', async () => {
        const { id } = await sessions.create(userid);
        const last = id.at(-1)!;
        const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
        const loose = alphabet[alphabet.indexOf(last) + 1]!;
        const swapped = id.replace(/[a-z]/i, (c) =>
          c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase(),
        );
        for (const wrong of [
          '',
          id.slice(0, -1),
          `${id}A`,
          `${id}=`,
          ` ${id}`,
          `${id}\n`,
          id.slice(0, -1) + loose,
          swapped,
          id.slice(0, 16),
          `+${id.slice(1)}`,
          'x'.repeat(100_000),
        ]) {
          await refused('session_not_found', () => sessions.get(wrong, userid));
          await refused('session_not_found', () => sessions.update(wrong, {}));
          await refused('session_not_found', () => sessions.end(wrong));
        }
        expect((await sessions.get(id, userid)).id).to.equal(id);
      });

      it('does not take the handle with another secret', async () => {
        const one = await sessions.create(userid);
        const two = await sessions.create(userid);
        await refused('session_not_found', () =>
          sessions.get(one.id.slice(0, 16) + two.id.slice(16), userid),
        );
      });

      it('takes userids of 1 to 1024 bytes of well-formed Unicode', async () => {
        for (const good of [
          'a',
          '\u0000',
          'ü'.repeat(512),
          '🐢'.repeat(256),
          ' ',
          'constructor',
          '__proto__',
        ]) {
          const made = await sessions.create(good);
          expect((await sessions.get(made.id, good)).userid).to.equal(good);
          await sessions.endAll(good);
        }
        for (const bad of ['', 'a'.repeat(1025), 'ü'.repeat(513), '\ud800', 'a\udc00b', 'a\ufffd']) {
          await refused('invalid_userid', () => sessions.create(bad));
          await refused('invalid_userid', () => sessions.list(bad));
        }
      });
    });

    describe('update', () => {
      it('replaces the data and adds one to the version', async () => {
        const made = await sessions.create(userid, { a: 1 });
        now += 10;
        const updated = await sessions.update(made.id, { b: 2 });
        expect(updated).to.deep.equal({
          ...made,
          data: '{"b":2}',
          version: 2,
          touched: now,
          expires: now + 100_000,
        });
        expect(await sessions.get(made.id, userid)).to.deep.equal(updated);
      });

      it('minds the user where one is given', async () => {
        const { id } = await sessions.create(userid);
        await refused('session_not_found', () => sessions.update(id, { a: 1 }, { userid: 'other' }));
        expect((await sessions.update(id, { a: 1 }, { userid })).version).to.equal(2);
      });

      it('refuses a version that is not the current one, and says which is', async () => {
        const { id } = await sessions.create(userid);
        await sessions.update(id, { a: 1 }, { version: 1 });
        for (const version of [1, 3, 0]) {
          const error = await refused('version_mismatch', () => sessions.update(id, { b: 1 }, { version }));
          expect(error.details).to.deep.equal({ version: 2 });
        }
        expect((await sessions.get(id, userid)).data).to.equal('{"a":1}');
      });

      it('takes any of several versions', async () => {
        const { id } = await sessions.create(userid);
        expect((await sessions.update(id, { a: 1 }, { version: [7, 1] })).version).to.equal(2);
        expect((await sessions.patch(id, { b: 1 }, { version: [2, 7] })).version).to.equal(3);
        for (const version of [[], [1, 2], [4]]) {
          const error = await refused('version_mismatch', () => sessions.update(id, {}, { version }));
          expect(error.details).to.deep.equal({ version: 3 });
        }
        expect((await sessions.get(id, userid)).data).to.equal('{"a":1,"b":1}');
      });

      it('tells nobody else the version', async () => {
        const { id } = await sessions.create(userid);
        await refused('session_not_found', () => sessions.update(id, {}, { userid: 'other', version: 7 }));
        const wrong = (await sessions.create(userid)).id;
        await refused('session_not_found', () =>
          sessions.update(id.slice(0, 16) + wrong.slice(16), {}, { version: 7 }),
        );
      });

      it('lets one of 64 updates from one version through', async () => {
        const { id } = await sessions.create(userid);
        const results = await Promise.allSettled(
          Array.from({ length: 64 }, (_, n) => sessions.update(id, { n }, { version: 1 })),
        );
        const won = results.filter((result) => result.status === 'fulfilled');
        expect(won).to.have.length(1);
        const codes = results
          .filter((result) => result.status === 'rejected')
          .map(({ reason }) => reason.code);
        expect(codes).to.deep.equal(Array(63).fill('version_mismatch'));
        expect((await sessions.get(id, userid)).data).to.equal(won[0]!.value.data);
      });
    });

    describe('patch', () => {
      // RFC 7396, appendix A, where the target is an object.
      const cases: [JsonObject, JsonObject, JsonObject][] = [
        [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
        [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
        [{ a: 'b' }, { a: null }, {}],
        [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
        [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
        [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
        [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
        [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
        [{ e: null }, { a: 1 }, { e: null, a: 1 }],
        [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
        // An object takes the place of what is not one.
        [{ a: 'c' }, { a: { b: 'd' } }, { a: { b: 'd' } }],
        [{ a: ['b'] }, { a: { b: 1, c: null } }, { a: { b: 1 } }],
        [{ a: null }, { a: { b: null } }, { a: {} }],
        // And the example of its section 3.
        [
          {
            title: 'Goodbye!',
            author: { givenName: 'John', familyName: 'Doe' },
            tags: ['example', 'sample'],
            content: 'This will be unchanged',
          },
          {
            title: 'Hello!',
            phoneNumber: '+01-123-456-7890',
            author: { familyName: null },
            tags: ['example'],
          },
          {
            title: 'Hello!',
            author: { givenName: 'John' },
            tags: ['example'],
            content: 'This will be unchanged',
            phoneNumber: '+01-123-456-7890',
          },
        ],
      ];
      for (const [target, patch, result] of cases) {
        it(`${JSON.stringify(target)} with ${JSON.stringify(patch)}`, async () => {
          const { id } = await sessions.create(userid, target);
          const patched = await sessions.patch(id, patch);
          expect(JSON.parse(patched.data)).to.deep.equal(result);
          expect(patched.version).to.equal(2);
          expect(await sessions.get(id, userid)).to.deep.equal(patched);
        });
      }

      it('takes __proto__ for a name like any other', async () => {
        const { id } = await sessions.create(userid, JSON.parse('{"__proto__":{"a":1,"b":2}}'));
        const { data } = await sessions.patch(
          id,
          JSON.parse('{"__proto__":{"a":null},"c":{"__proto__":{"d":1}}}'),
        );
        expect(data).to.equal('{"__proto__":{"b":2},"c":{"__proto__":{"d":1}}}');
        expect(({} as { d?: unknown }).d).to.equal(undefined);
      });

      it('loses none of 64 patches of different names', async () => {
        const { id } = await sessions.create(userid);
        const patched = await Promise.all(
          Array.from({ length: 64 }, (_, n) => sessions.patch(id, { [`key${n}`]: n })),
        );
        expect(new Set(patched.map(({ version }) => version)).size).to.equal(64);
        const { data, version } = await sessions.get(id, userid);
        expect(JSON.parse(data)).to.deep.equal(Object.fromEntries(patched.map((_, n) => [`key${n}`, n])));
        expect(version).to.equal(65);
      });

      it('loses none over several hosts on one store', async () => {
        const others = await Promise.all([place.open(), place.open()]);
        try {
          const hosts = [store, ...others].map(
            (each) =>
              new Sessions(each, { idleTimeout: 100, absoluteTimeout: 0, maxData: 262_144, maxPerUser: 0 }),
          );
          const { id } = await hosts[0]!.create(userid);
          await Promise.all(
            Array.from({ length: 60 }, (_, n) => hosts[n % 3]!.patch(id, { [`key${n}`]: n })),
          );
          expect(Object.keys(JSON.parse((await hosts[1]!.get(id, userid)).data))).to.have.length(60);
        } finally {
          await Promise.all(others.map((each) => each.close()));
        }
      });

      it('minds a version where one is given', async () => {
        const { id } = await sessions.create(userid, { a: 1 });
        expect((await sessions.patch(id, { b: 2 }, { version: 1, userid })).data).to.equal('{"a":1,"b":2}');
        const error = await refused('version_mismatch', () => sessions.patch(id, { c: 3 }, { version: 1 }));
        expect(error.details).to.deep.equal({ version: 2 });
      });

      it('patches nothing of a session that is not there or not theirs', async () => {
        const { id } = await sessions.create(userid, { a: 1 });
        await refused('session_not_found', () => sessions.patch(id, { a: 2 }, { userid: 'other' }));
        await sessions.end(id);
        await refused('session_not_found', () => sessions.patch(id, { a: 2 }));
      });
    });

    describe('max_data', () => {
      it('counts the bytes of the JSON text, on new, update and patch', async () => {
        sessions = sessionsWith({ maxData: 20 });
        const { id } = await sessions.create(userid, { a: 'x'.repeat(12) });
        for (const call of [
          () => sessions.create(userid, { a: 'x'.repeat(13) }),
          () => sessions.update(id, { a: 'ü'.repeat(7) }),
          () => sessions.patch(id, { b: 1 }),
        ]) {
          const error = await refused('data_too_large', call);
          expect(error.details).to.include({ max_data: 20 });
        }
        expect((await sessions.get(id, userid)).version).to.equal(1);
        expect(await sessions.list(userid)).to.have.length(1);
        expect((await sessions.update(id, { a: 'ü'.repeat(6) })).version).to.equal(2);
      });
    });

    describe('ends by time', () => {
      it('after the idle time, to the millisecond', async () => {
        const { id } = await sessions.create(userid, { a: 1 });
        now += 99_999;
        await sessions.get(id, userid);
        now += 1;
        await gone(id);
      });

      it('later after each update, patch, touch and renew, but not after get', async () => {
        const made = await sessions.create(userid);
        let { id } = made;
        const calls: (() => Promise<Session>)[] = [
          () => sessions.update(id, { a: 1 }),
          () => sessions.patch(id, { b: 1 }),
          () => sessions.touch(id),
          () => sessions.renew(id),
        ];
        for (const call of calls) {
          now += 60_000;
          const before = (await sessions.get(id, userid)).expires;
          const after = await call();
          expect(before).to.equal(now + 40_000);
          expect(after.expires).to.equal(now + 100_000);
          expect(after.touched).to.equal(now);
          expect(after.created).to.equal(made.created);
          id = after.id;
        }
        now += 100_000;
        await gone(id);
      });

      it('at its absolute end, however busy', async () => {
        const { id, created } = await sessions.create(userid);
        while (now < created + 920_000) {
          now += 90_000;
          await sessions.touch(id);
        }
        expect((await sessions.get(id, userid)).expires).to.equal(created + 1_000_000);
        expect((await sessions.list(userid))[0]!.expires).to.equal(created + 1_000_000);
        now = created + 999_999;
        expect((await sessions.touch(id)).expires).to.equal(created + 1_000_000);
        now += 1;
        await gone(id);
      });

      it('never absolutely where that is off', async () => {
        sessions = sessionsWith({ absoluteTimeout: 0 });
        const { id } = await sessions.create(userid);
        for (let n = 0; n < 20; n++) {
          now += 99_000;
          await sessions.touch(id);
        }
        expect((await sessions.get(id, userid)).expires).to.equal(now + 100_000);
      });

      it('by the timeout in force at the last use', async () => {
        const { id } = await sessions.create(userid);
        await sessionsWith({ idleTimeout: 10 }).touch(id);
        now += 10_000;
        await gone(id);
      });

      async function gone(id: string): Promise<void> {
        for (const call of [
          () => sessions.get(id, userid),
          () => sessions.update(id, {}),
          () => sessions.update(id, {}, { version: 1 }),
          () => sessions.patch(id, {}),
          () => sessions.touch(id),
          () => sessions.renew(id),
          () => sessions.end(id),
          () => sessions.endByHandle(userid, id.slice(0, 16)),
          () => sessions.endAll(userid, id),
        ]) {
          await refused('session_not_found', call);
        }
        expect(await sessions.list(userid)).to.deep.equal([]);
        expect(await sessions.endAll(userid)).to.equal(0);
      }
    });

    describe('touch and renew', () => {
      it('leave data and version alone', async () => {
        const made = await sessions.create(userid, { a: 1 });
        now += 5;
        expect(await sessions.touch(made.id, { userid })).to.deep.equal({
          ...made,
          touched: now,
          expires: now + 100_000,
        });
      });

      it('renew gives a new id with the same handle, and the old one dies', async () => {
        const made = await sessions.create(userid, { a: 1 });
        const renewed = await sessions.renew(made.id);
        expect(renewed).to.deep.equal({ ...made, id: renewed.id });
        expect(renewed.id).not.to.equal(made.id);
        expect(renewed.id.slice(0, 16)).to.equal(made.id.slice(0, 16));
        await refused('session_not_found', () => sessions.get(made.id, userid));
        await refused('session_not_found', () => sessions.update(made.id, {}));
        await refused('session_not_found', () => sessions.renew(made.id));
        expect(await sessions.get(renewed.id, userid)).to.deep.equal(renewed);
      });

      it('refuse another user', async () => {
        const { id } = await sessions.create(userid);
        await refused('session_not_found', () => sessions.touch(id, { userid: 'other' }));
        await refused('session_not_found', () => sessions.renew(id, { userid: 'other' }));
        expect((await sessions.get(id, userid)).touched).to.equal(now);
      });

      it('of many renews at once one wins', async () => {
        const { id } = await sessions.create(userid);
        const results = await Promise.allSettled(Array.from({ length: 16 }, () => sessions.renew(id)));
        const won = results.filter((result) => result.status === 'fulfilled');
        expect(won).to.have.length(1);
        expect((await sessions.get(won[0]!.value.id, userid)).id).to.equal(won[0]!.value.id);
      });
    });

    describe('end', () => {
      it('once', async () => {
        const { id } = await sessions.create(userid);
        await refused('session_not_found', () => sessions.end(id, { userid: 'other' }));
        await sessions.end(id, { userid });
        await refused('session_not_found', () => sessions.end(id));
        await refused('session_not_found', () => sessions.get(id, userid));
      });

      it('by handle, of the same user only', async () => {
        const { id } = await sessions.create(userid);
        const handle = id.slice(0, 16);
        const { id: _, ...rest } = await sessions.get(id);
        const { id: none, ...found } = await sessions.getByHandle(userid, handle);
        expect(found).to.deep.equal(rest);
        expect(none).to.equal(undefined);
        for (const [user, name] of <[string, string][]>[
          ['other', handle],
          [userid, id],
          [userid, ''],
          [userid, 'A'.repeat(16)],
        ])
          await refused('session_not_found', async () => sessions.getByHandle(user, name));
        await refused('session_not_found', () => sessions.endByHandle('other', handle));
        await refused('session_not_found', () => sessions.endByHandle(userid, id));
        await refused('session_not_found', () => sessions.endByHandle(userid, ''));
        await sessions.endByHandle(userid, handle);
        await refused('session_not_found', () => sessions.get(id, userid));
        expect(await noteOf(id)).to.include({ reason: 'end' });
      });
    });

    describe('list and end_all', () => {
      it("list a user's sessions, the newest first, without ids or data", async () => {
        const made: Session[] = [];
        for (let n = 0; n < 5; n++) {
          made.push(await sessions.create(userid, { n }));
          now += 10;
        }
        await sessions.create(`${userid}x`);
        await sessions.update(made[2]!.id, {});
        const expected = made
          .map(({ handle, created, touched, expires, authenticated }) => ({
            handle,
            created,
            touched,
            expires,
            authenticated,
          }))
          .reverse();
        expected[2] = { ...expected[2]!, touched: now, expires: now + 100_000 };
        expect(await sessions.list(userid)).to.deep.equal(expected);
        expect(await sessions.list('nobody')).to.deep.equal([]);
      });

      it('list sessions of one moment by their handles', async () => {
        const made = await Promise.all(Array.from({ length: 12 }, () => sessions.create(userid)));
        const handles = made.map(({ handle }) => handle).sort((a, b) => (a < b ? -1 : 1));
        expect((await sessions.list(userid)).map(({ handle }) => handle)).to.deep.equal(handles);
        await sessionsWith({ maxPerUser: 3 }).create(`${userid}x`);
        now += 1;
        const { handle } = await sessionsWith({ maxPerUser: 3 }).create(userid);
        const left = (await sessions.list(userid)).map((each) => each.handle);
        expect(left).to.deep.equal([handle, ...handles.slice(-2)]);
      });

      it('walk through all sessions of users with a prefix, page by page, to the last', async () => {
        const users = [`${userid}a`, `${userid}b`, `${userid}c`];
        for (const user of users) for (let n = 0; n < 2; n++) await sessions.create(user);
        for (const limit of [1, 2, 3, 6, 7]) {
          const seen: string[] = [];
          let pages = 0;
          let after: string | null | undefined;
          do {
            const page = await sessions.all({ limit, userid_prefix: userid, ...(after && { after }) });
            seen.push(...page.sessions.map((session) => session.userid));
            after = page.next;
            pages += 1;
          } while (after !== null);
          expect(seen, `${limit}`).to.deep.equal(users.flatMap((user) => [user, user]));
          expect(pages, `${limit}`).to.equal(Math.ceil(6 / limit));
        }
        const { next } = await sessions.all({ limit: 1, userid_prefix: userid });
        for (const [after, withPrefix] of [
          [next!, false],
          [next!.slice(0, 16), true],
          [`${next}=`, true],
          [next!.slice(1), true],
        ] as const)
          await refused('invalid_parameter', () =>
            sessions.all({ after, ...(withPrefix && { userid_prefix: userid }) }),
          );
      });

      it('list what the application told of a session, and which one asks', async () => {
        const told = {
          about: { device: 'żółw' },
          ip: '2001:db8::1',
          user_agent: `Browser ${'x'.repeat(600)}`,
        };
        const one = await sessions.create(userid, {}, undefined, told);
        now += 10;
        const two = await sessions.create(userid);
        const entry = ({ handle, created, touched, expires, authenticated }: Session) => ({
          handle,
          created,
          touched,
          expires,
          authenticated,
        });
        expect(await sessions.list(userid, one.id)).to.deep.equal([
          entry(two),
          { ...entry(one), about: told.about, current: true },
        ]);
        sessions = sessionsWith({ record: ['ip', 'user_agent'] });
        const renewed = await sessions.renew(one.id, { ...told, about: {} });
        expect((await sessions.list(userid, two.id))[1]).to.deep.equal({
          ...entry(renewed),
          about: {},
          ip: told.ip,
          userAgent: told.user_agent.slice(0, 512),
        });
        await refused('invalid_parameter', () => sessions.renew(renewed.id, { ip: 'here' }));
        await refused('invalid_parameter', () =>
          sessions.create(userid, {}, undefined, { about: { a: 'ü'.repeat(509) } }),
        );
        expect(await sessions.create(userid, {}, undefined, { about: { a: 'ü'.repeat(508) } })).to.be.an(
          'object',
        );
        const half = `${'x'.repeat(511)}🐢`;
        await sessions.endAll(userid);
        await sessions.create(userid, {}, undefined, { user_agent: half });
        const [{ userAgent } = {}] = await sessions.list(userid, 'x');
        expect(userAgent).to.equal(`${'x'.repeat(511)}\ufffd`);
      });

      it('end all but one, named in any way', async () => {
        for (const name of ['id', 'handle', 'current']) {
          const [one, two] = [await sessions.create(userid), await sessions.create(userid)];
          const except = name === 'current' ? name : one[name as 'id'];
          expect(await sessions.endAll(userid, except, one.id)).to.equal(1);
          expect((await sessions.list(userid)).map(({ handle }) => handle)).to.deep.equal([one.handle]);
          await refused('session_not_found', () => sessions.get(two.id));
          await refused('session_not_found', () => sessions.endAll(`${userid}x`, except, one.id));
          await sessions.endAll(userid);
        }
        await refused('session_not_found', () => sessions.endAll(userid, 'current'));
      });

      it('end all but one', async () => {
        const [one, two, three] = await Promise.all([1, 2, 3].map((n) => sessions.create(userid, { n })));
        const stranger = await sessions.create(`${userid}x`);
        await refused('session_not_found', () => sessions.endAll(userid, stranger.id));
        expect(await sessions.list(userid)).to.have.length(3);
        expect(await sessions.endAll(userid, two!.id)).to.equal(2);
        await refused('session_not_found', () => sessions.get(one!.id, userid));
        await refused('session_not_found', () => sessions.get(three!.id, userid));
        expect((await sessions.get(two!.id, userid)).id).to.equal(two!.id);
        expect(await sessions.endAll(userid)).to.equal(1);
        expect(await sessions.endAll(userid)).to.equal(0);
        expect((await sessions.get(stranger.id, `${userid}x`)).id).to.equal(stranger.id);
      });
    });

    describe('authenticated and remember', () => {
      it('a renewal after a login begins both timeouts again', async () => {
        const made = await sessions.create(userid, { a: 1 });
        now += 50_000;
        const plain = await sessions.renew(made.id);
        expect(plain).to.include({ authenticated: made.created, ends: made.ends });
        now += 50_000;
        const renewed = await sessions.renew(plain.id, { authenticated: true });
        expect(renewed).to.include({
          handle: made.handle,
          version: 1,
          created: made.created,
          authenticated: now,
          ends: now + 1_000_000,
          expires: now + 100_000,
        });
        now = made.ends;
        await refused('session_not_found', () => sessions.get(renewed.id));
        now -= 901_000;
        expect(await sessions.get(renewed.id, userid)).to.deep.equal(renewed);
        for (let end = renewed.ends; now + 99_999 < end; ) {
          now += 99_999;
          await sessions.touch(renewed.id);
        }
        expect((await sessions.get(renewed.id)).expires).to.equal(renewed.ends);
        now = renewed.ends;
        await refused('session_not_found', () => sessions.get(renewed.id));
      });

      it('a renewal happens at one moment', async () => {
        const { id } = await sessions.create(userid);
        const limits = { idleTimeout: 100, absoluteTimeout: 1000, maxData: 100, maxPerUser: 0 };
        const ticking = new Sessions(store, limits, { now: () => now++ });
        const { touched, authenticated } = await ticking.renew(id, { authenticated: true });
        expect(touched).to.equal(authenticated);
      });

      it('remember is true, or what the last call that named it said', async () => {
        const made = await sessions.create(userid, {}, undefined, { remember: false });
        expect(made.remember).to.equal(false);
        const kept = await sessions.renew(made.id);
        expect(kept.remember).to.equal(false);
        await sessions.update(kept.id, { a: 1 });
        expect((await sessions.get(kept.id)).remember).to.equal(false);
        const { id } = await sessions.renew(kept.id, { remember: true });
        expect((await sessions.get(id)).remember).to.equal(true);
      });

      it('peek shows a session without its data', async () => {
        const {
          id,
          data: _,
          ...state
        } = await sessions.create(userid, { a: 1 }, undefined, { remember: false });
        expect(await sessions.peek(id, userid)).to.deep.equal(state);
        expect(await sessions.peek((await sessions.create(userid)).id)).to.include({ remember: true });
        await refused('session_not_found', () => sessions.peek(id, `${userid}x`));
        await refused('session_not_found', () => sessions.peek(`${id.slice(0, 16)}${'A'.repeat(27)}`));
        now += 100_000;
        await refused('session_not_found', () => sessions.peek(id));
      });
    });

    describe('max_sessions_per_user', () => {
      it('ends the session used longest ago', async () => {
        sessions = sessionsWith({ maxPerUser: 2 });
        const one = await sessions.create(userid);
        now += 10;
        const two = await sessions.create(userid);
        now += 10;
        await sessions.touch(one.id);
        now += 10;
        const three = await sessions.create(userid);
        await refused('session_not_found', () => sessions.get(two.id, userid));
        expect(await noteOf(two.id)).to.include({ reason: 'limit' });
        expect((await sessions.list(userid)).map(({ handle }) => handle)).to.have.members(
          [one, three].map(({ id }) => id.slice(0, 16)),
        );
      });

      it('counts live sessions of that user only', async () => {
        sessions = sessionsWith({ maxPerUser: 1 });
        const other = await sessions.create(`${userid}x`);
        await sessions.create(userid);
        now += 100_000;
        const two = await sessions.create(userid);
        expect((await sessions.get(two.id, userid)).id).to.equal(two.id);
        await refused('session_not_found', () => sessions.get(other.id, `${userid}x`));
      });

      it('leaves one session where it is 1', async () => {
        sessions = sessionsWith({ maxPerUser: 1 });
        const one = await sessions.create(userid);
        now += 10;
        const two = await sessions.create(userid);
        await refused('session_not_found', () => sessions.get(one.id, userid));
        expect((await sessions.list(userid)).map(({ handle }) => handle)).to.deep.equal([
          two.id.slice(0, 16),
        ]);
      });

      it('a login ends up to 32 sessions over it before it returns', async () => {
        for (let n = 0; n < 33; n += 11)
          await Promise.all(Array.from({ length: 11 }, () => sessions.create(userid)));
        now += 10;
        const { id } = await sessionsWith({ maxPerUser: 2 }).create(userid);
        const left = await sessions.list(userid);
        expect(left).to.have.length(2);
        expect(left[0]!.handle).to.equal(id.slice(0, 16));
      });

      it('holds when many are made at once, and never ends more than the surplus', async () => {
        sessions = sessionsWith({ maxPerUser: 3 });
        const made = await Promise.all(Array.from({ length: 24 }, () => sessions.create(userid)));
        const live = await sessions.list(userid);
        expect(live).to.have.length(3);
        const found = await Promise.allSettled(made.map(async ({ id }) => sessions.get(id, userid)));
        expect(found.filter(({ status }) => status === 'fulfilled')).to.have.length(3);
      });

      it('a login leaves a large surplus for afterwards, and it ends in a few steps', async () => {
        for (let n = 0; n < 240; n += 20) {
          await Promise.all(Array.from({ length: 20 }, () => sessions.create(userid)));
          now += 1;
        }
        const steps: number[] = [];
        let rest: () => void = () => {};
        const done = new Promise<void>((resolve) => {
          rest = resolve;
        });
        const counting: Store = Object.create(store, {
          needsSweeping: { get: () => store.needsSweeping },
          ...Object.fromEntries(
            (['insert', 'list', 'read', 'epoch'] as const).map((name) => [
              name,
              { value: (...args: never[]) => (store[name] as (...args: never[]) => unknown)(...args) },
            ]),
          ),
          removeEach: {
            value: async (...args: Parameters<Store['removeEach']>) => {
              const removed = await store.removeEach(...args);
              steps.push(removed);
              if (steps.reduce((sum, step) => sum + step, 0) === 239) rest();
              return removed;
            },
          },
        });
        const capped = new Sessions(
          counting,
          { idleTimeout: 100, absoluteTimeout: 1000, maxData: 262_144, maxPerUser: 2 },
          { now: () => now },
        );
        const { id } = await capped.create(userid);
        expect(steps).to.deep.equal([]);
        await done;
        expect(steps).to.deep.equal([50, 50, 50, 50, 39]);
        const left = await capped.list(userid);
        expect(left).to.have.length(2);
        expect(left[0]!.handle).to.equal(id.slice(0, 16));
      });

      it('one of a surplus that was used meanwhile stays, and the next goes', async () => {
        const ids = [];
        for (let n = 0; n < 5; n++) {
          ids.push((await sessions.create(userid)).id);
          now += 10;
        }
        const used = ids[0]!;
        let first = true;
        const racing: Store = Object.assign(Object.create(null), {
          insert: store.insert.bind(store),
          removeEach: store.removeEach.bind(store),
          list: async (...args: Parameters<Store['list']>) => {
            const listed = await store.list(...args);
            if (first) await sessions.touch(used);
            first = false;
            return listed;
          },
        });
        const limits = { idleTimeout: 100, absoluteTimeout: 1000, maxData: 262_144, maxPerUser: 3 };
        const { id } = await new Sessions(racing, limits, { now: () => now }).create(userid);
        const left = (await sessions.list(userid)).map(({ handle }) => handle);
        expect(left).to.have.members([used, ids[4]!, id].map((each) => each.slice(0, 16)));
      });
    });

    describe('what callers are told', () => {
      it('of a wrong userid, by every call that takes one, before anything else', async () => {
        const { id, handle } = await sessions.create(userid);
        const other = 'A'.repeat(43);
        for (const bad of ['', 'a\ufffd'])
          for (const call of [
            () => sessions.get(other, bad),
            () => sessions.getByHandle(bad, handle),
            () => sessions.peek(other, bad),
            () => sessions.update(other, {}, { userid: bad }),
            () => sessions.update(other, {}, { userid: bad, version: [1] }),
            () => sessions.patch(other, {}, { userid: bad }),
            () => sessions.touch(other, { userid: bad }),
            () => sessions.renew(other, { userid: bad }),
            () => sessions.end(other, { userid: bad }),
            () => sessions.endByHandle(bad, 'x'),
            () => sessions.endAll(bad),
            () => sessions.all({ userid_prefix: bad }),
          ])
            await refused('invalid_userid', call);
        expect(await sessions.get(id, userid)).to.include({ id });
      });

      it('of what is wrong, in words', async () => {
        const small = sessionsWith({ maxData: 20, record: ['ip'] });
        const { id } = await sessions.create(userid);
        for (const [call, message] of [
          [() => sessions.list(''), 'userid is empty; it names the user that the session belongs to.'],
          [() => sessions.list(5 as unknown as string), 'userid is not text.'],
          [() => sessions.list('\ud800'), 'userid is not well-formed Unicode.'],
          [() => sessions.list('a'.repeat(1025)), 'userid is longer than 1024 bytes of UTF-8.'],
          [
            () => small.update(id, { a: 'x'.repeat(20) }),
            "The session's data would take 28 bytes of JSON; max_data allows 20.",
          ],
          [
            () => sessions.update(id, {}, { version: 3 }),
            /^The session is at version 1 now\..*send version 1\.$/,
          ],
          [() => small.renew(id, { ip: 'here' }), '"ip" is not an IP address.'],
          [
            () => sessions.renew(id, { about: { a: 'x'.repeat(1024) } }),
            '"about" takes more than 1024 bytes of JSON; keep a name for the device and little else.',
          ],
          [
            () => sessions.all({ after: 'x' }),
            '"after" is not the "next" of a page with the same userid_prefix.',
          ],
        ] as [() => unknown, string | RegExp][]) {
          const { message: told } = await refused(undefined, call);
          if (typeof message === 'string') expect(told).to.equal(message);
          else expect(told).to.match(message);
        }
      });

      it('of a session by its id: whether it is theirs, and why it ended', async () => {
        const { id } = await sessions.create(userid);
        const wrong = id.slice(0, 16) + 'A'.repeat(27);
        expect(await sessions.has(id, userid)).to.equal(true);
        for (const [which, user] of [
          [id, `${userid}x`],
          [wrong, userid],
          ['A'.repeat(43), userid],
          ['x', userid],
        ] as const)
          expect(await sessions.has(which, user), which).to.equal(false);
        expect(await noteOf(id)).to.equal(undefined);
        await sessions.end(id);
        expect(await sessions.has(id, userid)).to.equal(false);
        expect(await noteOf(id)).to.include({ reason: 'end', userid });
        expect(await noteOf(wrong)).to.equal(undefined);
        expect(await noteOf('x')).to.equal(undefined);
      });

      it('of each session made and ended, and of nothing that was not', async () => {
        const told: unknown[] = [];
        const observer = {
          made: () => told.push('made'),
          ended: (reason: string, count: number) => told.push([reason, count]),
          surplusRemains: (error: unknown) => told.push(error),
        };
        const limits = { idleTimeout: 100, absoluteTimeout: 0, maxData: 100, maxPerUser: 2 };
        const watched = new Sessions(store, limits, { now: () => now, observer });
        const since = () => told.splice(0);
        for (let n = 0; n < 2; n++) {
          await watched.create(userid);
          now += 10;
        }
        expect(since()).to.deep.equal(['made', 'made']);
        const { id } = await watched.create(userid);
        expect(since()).to.deep.equal(['made', ['limit', 1]]);
        await watched.end(id, {}, 'login');
        await refused('session_not_found', () => watched.end(id));
        expect(since()).to.deep.equal([['login', 1]]);
        expect([await watched.endAll(userid), await watched.endAll(userid)]).to.deep.equal([1, 0]);
        expect(since()).to.deep.equal([['end_all', 1]]);
      });

      it('of sessions over the limit that could not be ended, and the next login tries again', async () => {
        await Promise.all(Array.from({ length: 36 }, () => sessions.create(userid)));
        const broken = new Error('it is broken');
        let isBroken = true;
        const failing: Store = Object.assign(Object.create(null), {
          insert: store.insert.bind(store),
          list: store.list.bind(store),
          removeEach: (...args: Parameters<Store['removeEach']>) =>
            isBroken ? Promise.reject(broken) : store.removeEach(...args),
        });
        let tell: (what: unknown) => void = () => {};
        const observer = {
          made: () => {},
          ended: (_reason: string, count: number) => tell(count),
          surplusRemains: (error: unknown) => tell(error),
        };
        const told = () =>
          new Promise((resolve) => {
            tell = resolve;
          });
        const limits = { idleTimeout: 100, absoluteTimeout: 0, maxData: 100, maxPerUser: 2 };
        const capped = new Sessions(failing, limits, { now: () => now, observer });
        let next = told();
        await capped.create(userid);
        expect(await next).to.equal(broken);
        await new Promise(setImmediate);
        isBroken = false;
        next = told();
        await capped.create(userid);
        expect(await next).to.equal(36);
      });
    });

    describe('races', () => {
      it('no write is acknowledged after the end, and none brings it back', async () => {
        for (let round = 0; round < place.rounds; round++) {
          const { id } = await sessions.create(userid);
          let ended = false;
          const lateWrites: string[] = [];
          const writer = async (name: string, call: () => Promise<Session>) => {
            for (;;) {
              const startedAfterEnd = ended;
              try {
                await call();
                if (startedAfterEnd) lateWrites.push(name);
              } catch (error) {
                expect((error as { code?: string }).code).to.equal('session_not_found');
                return;
              }
            }
          };
          const writers = [
            writer('update', () => sessions.update(id, { a: round })),
            writer('patch', () => sessions.patch(id, { b: round })),
            writer('touch', () => sessions.touch(id)),
          ];
          await sessions.end(id);
          ended = true;
          await Promise.all(writers);
          expect(lateWrites).to.deep.equal([]);
          await refused('session_not_found', () => sessions.get(id, userid));
        }
        expect(await sessions.list(userid)).to.deep.equal([]);
      });

      it('no patch that was acknowledged is lost over a renew, and none is applied by the old id after it', async () => {
        for (let round = 0; round < place.rounds; round++) {
          const { id } = await sessions.create(userid);
          const patches = Array.from({ length: 4 }, (_, n) => sessions.patch(id, { [`n${n}`]: n }));
          const [renewed, ...patched] = await Promise.allSettled([sessions.renew(id), ...patches]);
          expect(renewed!.status).to.equal('fulfilled');
          const { id: next } = (renewed as PromiseFulfilledResult<Session>).value;
          const data = JSON.parse((await sessions.get(next, userid)).data);
          const kept = patched.map((result, n) => [result.status, `n${n}` in data]);
          for (const [status, present] of kept) expect(present).to.equal(status === 'fulfilled');
          await refused('session_not_found', () => sessions.patch(id, { late: 1 }));
          await sessions.end(next);
        }
      });

      it('no write is acknowledged once it has expired, whoever races', async () => {
        for (let round = 0; round < place.rounds; round++) {
          const { id, expires } = await sessions.create(userid);
          now = expires - 1;
          const early = Promise.allSettled([sessions.get(id, userid), sessions.patch(id, { a: 1 })]);
          now = round % 2 ? expires : expires + 99_999;
          const sweep = store.sweep(now, 100);
          const late = await Promise.allSettled([
            sessions.update(id, { b: 1 }),
            sessions.touch(id),
            sessions.renew(id),
            sessions.patch(id, { c: 1 }),
            sweep,
          ]);
          const settled = await early;
          // The patch that began in time may have come first and made the session last longer.
          const patched = settled[1]! as PromiseSettledResult<Session>;
          const extended = patched.status === 'fulfilled' && patched.value.expires > now;
          if (!extended) {
            expect(late.slice(0, 4).map(({ status }) => status)).to.deep.equal(Array(4).fill('rejected'));
            await refused('session_not_found', () => sessions.get(id, userid));
          }
        }
      });
    });
  });
}

/** The call must fail, at once or later, with that code if there is one; gives the error. */
async function refused(
  code: string | undefined,
  call: () => unknown,
): Promise<{ code: string; message: string; details?: object }> {
  let result: unknown;
  try {
    result = await call();
  } catch (error) {
    if (code !== undefined) expect(error).to.have.property('code', code);
    return error as { code: string; message: string };
  }
  throw new Error(`expected ${code}, but it answered ${JSON.stringify(result)}`);
}
