import { hash, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import {
  extrasOf,
  type Match,
  NEVER,
  type ScrubPlace,
  type SessionRecord,
  type Store,
} from '../../plugins/sessman/store.js';
import { changeFenced } from '../../plugins/sessman/stores/fenced.js';

/** What a store's test gives the suite: how to open stores on one and the same fresh place, and how to remove it. */
export interface StorePlace {
  /** How many times each race is run. */
  readonly rounds: number;
  open(): Promise<Store>;
  remove(): Promise<void>;
}

/** The store contract (plugins/sessman/store.ts) as tests. Each store runs them all. */
export function describeStore(name: string, makePlace: () => Promise<StorePlace>): void {
  describe(`${name}: the store contract`, () => {
    let place: StorePlace;
    let store: Store;
    // Not older than the records' times by the database's own clock, which clears away by it.
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

    it('keeps a record byte for byte', async () => {
      const record = aRecord({
        userid: 'żółw\u0000\u{1F422}$.a',
        data: '{"$set":{"a.b":null},"\\u0000":"\u{1F422}","n":1e400,"deep":[[[{}]]]}',
        ends: now + 86_400_000,
      });
      expect(await store.insert(record)).to.equal(true);
      expect(await read(record.handle, now)).to.deep.equal(record);
    });

    it('keeps what few records have, and changes it', async () => {
      const extras = { authenticated: now - 7, remember: false, about: '{"ü":1}', ip: '::1', userAgent: 'ü' };
      const some = aRecord(extras);
      const none = aRecord({ userid: some.userid });
      await store.insert(some);
      await store.insert(none);
      expect(await store.read(some.handle, now)).to.deep.include(extras);
      expect(await store.peek(some.handle, now)).to.deep.include(extras);
      expect(await store.peek(some.handle, now)).not.to.have.property('data');
      expect(await store.list(some.userid, now)).to.deep.include({ ...summaryOf(some), ...extras });
      expect(await store.read(none.handle, now)).not.to.have.any.keys(...Object.keys(extras));
      const change = { touched: now, expires: now + 90_000 };
      const changed = { about: '{}', ends: now + 700_000_000, remember: true };
      for (const record of [some, none]) {
        const had = record === some ? extras : {};
        expect(await store.write(matchOf(record), { ...change, data: '{"b":1}' })).to.deep.include(had);
        expect(await store.write(matchOf(record), { ...change, ...changed })).to.deep.include({
          ...had,
          ...changed,
        });
        expect(await store.read(record.handle, now)).to.deep.include({ ...had, ...changed, data: '{"b":1}' });
        await store.rewrite(matchOf(record), change, () => '{}');
        expect(await store.read(record.handle, now)).to.deep.include({ ...had, ...changed, data: '{}' });
        expect(await store.remove(matchOf(record), 'end')).to.equal(true);
        await store.insert({ ...none, handle: record.handle });
        expect(await store.read(record.handle, now)).not.to.have.any.keys(...Object.keys(extras));
      }
      await expectRightIndexes();
    });

    it('keeps each of what few records have without the others', async () => {
      for (const extras of [
        { about: '{"a":1}' },
        { ip: '192.0.2.1' },
        { userAgent: 'Firefox' },
        { about: '{}', ip: '::1' },
        { ip: '::2', userAgent: 'curl' },
        { authenticated: now - 1 },
        { remember: false },
      ]) {
        const record = aRecord(extras);
        const { userid, handle } = record;
        const has = (found: object | undefined, what: object = extras) =>
          expect(extrasOf(found ?? {}), JSON.stringify(what)).to.deep.equal(what);
        await store.insert(record);
        has(await store.read(handle, now));
        has(await store.peek(handle, now));
        has((await store.list(userid, now))[0]);
        has((await store.walk(now, { limit: 1, useridPrefix: userid }))[0]);
        const change = { touched: now, expires: now + 90_000 };
        has(await store.write(matchOf(record), { ...change, data: '{"b":1}' }));
        has(await store.rewrite(matchOf(record), change, (data) => data));
        const others = { ...extras, about: '{"new":1}', ip: '::3', userAgent: 'Safari' };
        has(await store.write(matchOf(record), { ...change, ...others }), others);
        has(await store.read(handle, now), others);
      }
    });

    it('peeks at live records alone', async () => {
      const record = aRecord({ expires: now + 10 });
      expect(await store.peek(record.handle, now)).to.equal(undefined);
      await store.insert(record);
      expect(await store.peek(record.handle, now + 9)).to.deep.include({ userid: record.userid, version: 1 });
      expect(await store.peek(record.handle, now + 10)).to.equal(undefined);
    });

    it('peeks at many at once, and counts those that live', async () => {
      const before = await store.countLive(now);
      const [one, two] = [aRecord({ expires: now + 10 }), aRecord({ about: '{}' })];
      const ended = aRecord();
      for (const record of [one, two, ended]) await store.insert(record);
      await store.remove(matchOf(ended), 'end');
      const handles = [one.handle, ended.handle, two.handle, aRecord().handle];
      const seen = async (at: number) => [...(await store.peekEach(handles, at)).keys()].sort();
      expect(await seen(now + 9)).to.deep.equal([one.handle, two.handle].sort());
      expect(await seen(now + 10)).to.deep.equal([two.handle]);
      expect((await store.peekEach(handles, now)).get(two.handle)).to.include({
        userid: two.userid,
        version: 1,
      });
      expect([...(await store.peekEach([], now)).keys()]).to.deep.equal([]);
      const after = await store.countLive(now);
      expect(after).to.deep.equal({ count: before.count + 2, exact: before.exact });
      if (after.exact) expect((await store.countLive(now + 10)).count).to.be.at.most(before.count + 1);
    });

    it('gives what is sealed page by page, each record once', async () => {
      const records = [aRecord(), aRecord({ ip: '::1', userAgent: 'x' }), aRecord({ about: '{}' })];
      for (const record of records) await store.insert(record);
      const whole = await store.sealed(1000);
      for (const record of records) {
        const found = whole.filter(({ handle }) => handle === record.handle);
        expect(found).to.have.length(1);
        const there = (['handle', 'data', 'about', 'ip', 'userAgent'] as const).filter(
          (name) => record[name],
        );
        expect(found[0]).to.have.all.keys(there);
      }
      const limit = Math.max(2, Math.floor(whole.length / 2));
      const seen: string[] = [];
      for (let after: string | undefined; ; ) {
        const page = await store.sealed(limit, after);
        seen.push(...page.map(({ handle }) => handle));
        if (page.length < limit) break;
        after = page.at(-1)!.handle;
      }
      expect(seen).to.deep.equal(whole.map(({ handle }) => handle));
    });

    it('keeps no end at all', async () => {
      const record = aRecord({ ends: NEVER });
      await store.insert(record);
      expect((await read(record.handle, now))?.ends).to.equal(NEVER);
    });

    it('keeps large data and long userids', async () => {
      const record = aRecord({ userid: 'ü'.repeat(512), data: `{"a":"${'x'.repeat(1_000_000)}"}` });
      await store.insert(record);
      expect(await read(record.handle, now)).to.deep.equal(record);
      expect(await store.list(record.userid, now)).to.have.length(1);
    });

    it('does not take a handle twice', async () => {
      const record = aRecord();
      await store.insert(record);
      expect(await store.insert({ ...aRecord({ data: '{"other":1}' }), handle: record.handle })).to.equal(
        false,
      );
      expect(await read(record.handle, now)).to.deep.equal(record);
    });

    it('knows nothing of an unknown handle', async () => {
      const { handle } = aRecord();
      expect(await store.read(handle, now)).to.equal(undefined);
      expect(await store.write({ handle, now }, { touched: now, expires: now + 1 })).to.equal(undefined);
      expect(await store.remove({ handle, now }, 'end')).to.equal(false);
      expect(await store.read(handle, now)).to.equal(undefined);
    });

    it('changes data and adds one to the version', async () => {
      const record = aRecord();
      await store.insert(record);
      const change = { data: '{"a":2}', touched: now + 5, expires: now + 90_000 };
      const expected = { ...record, ...change, version: 2 };
      expect(pick(await store.write(matchOf(record), change))).to.deep.equal(expected);
      expect(await read(record.handle, now)).to.deep.equal(expected);
    });

    it('leaves data and version alone when only the end changes', async () => {
      const record = aRecord();
      await store.insert(record);
      const change = { touched: now + 5, expires: now + 90_000 };
      expect(pick(await store.write(matchOf(record), change))).to.deep.equal({ ...record, ...change });
      expect(await read(record.handle, now)).to.deep.equal({ ...record, ...change });
    });

    it('rewrites data by what they are, and leaves alone what does not match', async () => {
      const record = aRecord();
      await store.insert(record);
      const change = { touched: now + 5, expires: now + 90_000 };
      const longer = (data: string) => JSON.stringify({ before: JSON.parse(data) });
      const expected = { ...record, ...change, data: longer(record.data), version: 2 };
      expect(pick(await store.rewrite(matchOf(record), change, longer))).to.deep.equal(expected);
      expect(await store.rewrite({ ...matchOf(record), version: 1 }, change, longer)).to.equal(undefined);
      expect(await store.rewrite({ ...matchOf(record), userid: 'other' }, change, longer)).to.equal(
        undefined,
      );
      expect(await read(record.handle, now)).to.deep.equal(expected);
    });

    it('rejects with what a rewriting throws, and changes nothing', async () => {
      const record = aRecord();
      await store.insert(record);
      const refusal = new RangeError('too large');
      const refused = await store
        .rewrite(matchOf(record), { touched: now + 5, expires: now + 90_000 }, () => {
          throw refusal;
        })
        .catch((error: unknown) => error);
      expect(refused).to.equal(refusal);
      expect(await read(record.handle, now)).to.deep.equal(record);
    });

    it('loses none of many rewritings at the same time', async () => {
      const record = { ...aRecord(), data: '[]' };
      await store.insert(record);
      const add = (n: number) => (data: string) => JSON.stringify([...(JSON.parse(data) as number[]), n]);
      const numbers = Array.from({ length: 20 }, (_, n) => n);
      const change = { touched: now, expires: now + 60_000 };
      const all = await Promise.all(numbers.map((n) => store.rewrite(matchOf(record), change, add(n))));
      expect(all.map((one) => one?.version).sort((a, b) => a! - b!)).to.deep.equal(numbers.map((n) => n + 2));
      const { data } = (await read(record.handle, now))!;
      expect((JSON.parse(data) as number[]).sort((a, b) => a - b)).to.deep.equal(numbers);
    });

    it('changes the secret, and the old one matches no more', async () => {
      const record = aRecord();
      await store.insert(record);
      const secretHash = randomBytes(32);
      const change = { touched: now, expires: now + 90_000, secretHash };
      expect(pick(await store.write(matchOf(record), change))).to.deep.equal({ ...record, ...change });
      expect(await store.write(matchOf(record), change)).to.equal(undefined);
      expect(await store.remove(matchOf(record), 'end')).to.equal(false);
      expect(await store.remove({ ...matchOf(record), secretHash }, 'end')).to.equal(true);
    });

    describe('writes and removes only what matches', () => {
      const wrong: [string, (record: SessionRecord) => Partial<Match>][] = [
        ['another secret', () => ({ secretHash: randomBytes(32) })],
        ['another user', (record) => ({ userid: `${record.userid}x` })],
        ['another version', (record) => ({ version: record.version + 1 })],
        ['another time of use', (record) => ({ touched: record.touched - 1 })],
        ['a time at which its idle time is over', (record) => ({ now: record.expires })],
        ['a time at which its life is over', (record) => ({ now: record.ends })],
      ];
      for (const [what, change] of wrong) {
        it(what, async () => {
          const record = aRecord({ expires: now + 60_000, ends: now + 50_000 });
          await store.insert(record);
          const match = {
            ...matchOf(record),
            userid: record.userid,
            version: record.version,
            touched: record.touched,
            ...change(record),
          };
          expect(await store.write(match, { touched: now, expires: now + 1, data: '{}' })).to.equal(
            undefined,
          );
          expect(await store.remove(match, 'end')).to.equal(false);
          expect(await read(record.handle, now)).to.deep.equal(record);
        });
      }

      it('all that is asked for', async () => {
        const record = aRecord();
        await store.insert(record);
        const match = { ...matchOf(record), userid: record.userid, version: 1, touched: record.touched };
        expect(await store.write(match, { touched: now, expires: now + 60_000 })).not.to.equal(undefined);
        expect(await store.remove({ handle: record.handle, userid: record.userid, now }, 'end')).to.equal(
          true,
        );
        expect(await store.read(record.handle, now)).to.equal(undefined);
      });
    });

    it('removes each of many that match, and says how many', async () => {
      const records = Array.from({ length: 120 }, () => aRecord({ userid: 'of many' }));
      for (let n = 0; n < records.length; n += 20)
        await Promise.all(records.slice(n, n + 20).map((record) => store.insert(record)));
      const used = records.slice(0, 20);
      await Promise.all(
        used.map((record) => store.write(matchOf(record), { touched: now + 1, expires: now + 60_000 })),
      );
      const matches = records.map(({ handle, userid, touched }) => ({ handle, userid, touched, now }));
      const another = aRecord();
      expect(await store.list('of many', now, 7)).to.have.length(7);
      expect(await store.list('of many', now, 500)).to.have.length(120);
      expect(await store.removeEach([], 'limit')).to.equal(0);
      expect(await store.removeEach([...matches, { handle: another.handle, now }], 'limit')).to.equal(100);
      const left = (await store.list('of many', now)).map(({ handle }) => handle);
      expect(left).to.have.members(used.map(({ handle }) => handle));
      expect(await store.removeEach(matches, 'limit')).to.equal(0);
      expect(await store.removeOfUser('of many', now)).to.equal(20);
    });

    it('does not show a dead record, swept or not', async () => {
      const idle = aRecord({ expires: now + 10 });
      const old = aRecord({ userid: idle.userid, ends: now + 10 });
      await store.insert(idle);
      await store.insert(old);
      for (const { handle } of [idle, old]) {
        expect(await store.read(handle, now + 9)).not.to.equal(undefined);
        expect(await store.read(handle, now + 10)).to.equal(undefined);
      }
      expect(await store.list(idle.userid, now + 9)).to.have.length(2);
      expect(await store.list(idle.userid, now + 10)).to.deep.equal([]);
      expect(await store.removeOfUser(idle.userid, now + 10)).to.equal(0);
    });

    it("lists a user's sessions and nobody else's", async () => {
      const userid = `user ${randomBytes(6).toString('hex')}`;
      const records = [aRecord({ userid }), aRecord({ userid }), aRecord({ userid })];
      for (const record of [
        ...records,
        aRecord({ userid: `${userid}\u0000` }),
        aRecord({ userid: userid.slice(0, -1) }),
      ]) {
        await store.insert(record);
      }
      const listed = await store.list(userid, now);
      expect(listed.sort(byHandle)).to.deep.equal(
        records
          .map(({ handle, created, touched, expires, ends }) => ({ handle, created, touched, expires, ends }))
          .sort(byHandle),
      );
    });

    it('walks over all live sessions by handle, each once, while others begin and end', async () => {
      const mine = Array.from({ length: 25 }, () => aRecord());
      const dead = aRecord({ expires: now });
      for (const record of [...mine, dead]) await store.insert(record);
      const seen: string[] = [];
      for (let handle: string | undefined; ; ) {
        const page = await store.walk(now, {
          limit: 7,
          after: handle === undefined ? undefined : { handle },
        });
        seen.push(...page.map((session) => session.handle));
        if (page.length < 7) break;
        // The place stays one, though its session ends.
        handle = seen.at(-1)!;
        if (!mine.some((record) => record.handle === handle)) await store.remove({ handle, now }, 'end');
        await store.insert(aRecord());
      }
      expect(new Set(seen).size).to.equal(seen.length);
      const bytes = seen.map((each) => Buffer.from(each, 'base64url').toString('hex'));
      expect(bytes).to.deep.equal([...bytes].sort());
      expect(seen).to.include.members(mine.map(({ handle }) => handle));
      expect(seen).not.to.include(dead.handle);
      const one = mine[3]!;
      const before = Buffer.from(one.handle, 'base64url');
      before[11]! -= before[11]! > 0 ? 1 : 0;
      const page = await store.walk(now, { limit: 1, after: { handle: before.toString('base64url') } });
      if (before.toString('base64url') !== one.handle)
        expect(page).to.deep.equal([{ ...summaryOf(one), userid: one.userid }]);
    });

    it('walks over users with a prefix, by the bytes of userid and handle', async () => {
      const prefix = randomBytes(6).toString('hex');
      const names = [
        '',
        'a',
        'a',
        'a',
        'a\u0000',
        'a\u0000b',
        'aa',
        'ab',
        'b',
        'z',
        'ü',
        '\ud7ff',
        '\ue000',
        '🐢',
        '\u{10ffff}',
      ];
      for (const name of [...names].reverse()) await store.insert(aRecord({ userid: `${prefix}${name}` }));
      await store.insert(aRecord({ userid: `${prefix}a`, expires: now }));
      await store.insert(aRecord({ userid: prefix.slice(0, -1) }));
      const walked = async (useridPrefix: string, limit: number) => {
        const seen: { userid: string; handle: string }[] = [];
        for (;;) {
          const page = await store.walk(now, { limit, after: seen.at(-1), useridPrefix });
          seen.push(...page.map(({ userid, handle }) => ({ userid, handle })));
          if (page.length < limit) return seen;
        }
      };
      for (const limit of [1, 2, 100]) {
        const seen = await walked(prefix, limit);
        expect(seen.map(({ userid }) => userid.slice(prefix.length))).to.deep.equal(names);
        const handles = seen
          .slice(1, 4)
          .map(({ handle }) => Buffer.from(handle, 'base64url').toString('hex'));
        expect(handles).to.deep.equal([...handles].sort());
      }
      expect((await walked(`${prefix}a`, 3)).map(({ userid }) => userid.slice(prefix.length))).to.deep.equal(
        names.slice(1, 8),
      );
      for (const last of ['\ud7ff', '\u{10ffff}'])
        expect(await walked(`${prefix}${last}`, 5), last).to.have.length(1);
      expect(await walked('\u{10ffff}', 5)).to.deep.equal([]);
      for (const none of ['c', 'z{', 'z{"a":1}'])
        expect(await walked(`${prefix}${none}`, 5), none).to.deep.equal([]);
    });

    it("removes a user's sessions but one, and counts them", async () => {
      const userid = `user ${randomBytes(6).toString('hex')}`;
      const records = Array.from({ length: 250 }, () => aRecord({ userid }));
      for (let n = 0; n < records.length; n += 25) {
        await Promise.all(records.slice(n, n + 25).map((record) => store.insert(record)));
      }
      const other = aRecord();
      await store.insert(other);
      const kept = records[17]!.handle;
      expect(await store.removeOfUser(userid, now, kept)).to.equal(249);
      expect((await store.list(userid, now)).map(({ handle }) => handle)).to.deep.equal([kept]);
      expect(await store.removeOfUser(userid, now)).to.equal(1);
      expect(await store.list(userid, now)).to.deep.equal([]);
      expect(await read(other.handle, now)).to.deep.equal(other);
    });

    describe('notes of ends', () => {
      it('say who was ended and why, to every process that reads them, at least once', async () => {
        const other = await place.open();
        try {
          let [mine, theirs] = [(await store.notes()).place, (await other.notes()).place];
          const records = Array.from({ length: 6 }, () => aRecord());
          const [one, two, three, four, five, expired] = records as [
            SessionRecord,
            ...SessionRecord[],
          ] as never as SessionRecord[];
          for (const record of records) await store.insert(record);
          await store.remove(matchOf(one!), 'end');
          await other.remove(matchOf(two!), 'login');
          await store.removeEach(
            [three!, four!].map(({ handle }) => ({ handle, now })),
            'limit',
          );
          await other.removeOfUser(five!.userid, now);
          expect(await store.remove({ ...matchOf(expired!), now: expired!.expires }, 'end')).to.equal(false);
          const expected = [
            [one, 'end'],
            [two, 'login'],
            [three, 'limit'],
            [four, 'limit'],
            [five, 'end_all'],
          ].map(
            ([record, reason]) =>
              `${(record as SessionRecord).handle} ${(record as SessionRecord).userid} ${reason}`,
          );
          for (const [reader, place] of [
            [store, mine],
            [other, theirs],
          ] as const) {
            const read = await reader.notes(place);
            const texts = read.notes.map(({ handle, userid, reason }) => `${handle} ${userid} ${reason}`);
            expect(texts).to.have.members(expected);
            expect(read.notes.map(({ secretHash }) => secretHash.toString('hex'))).to.have.members(
              records.slice(0, 5).map(({ secretHash }) => secretHash.toString('hex')),
            );
            if (reader === store) mine = read.place;
            else theirs = read.place;
          }
          await other.remove(matchOf(expired!), 'end');
          expect((await store.notes(mine)).notes.map(({ handle }) => handle)).to.deep.equal([
            expired!.handle,
          ]);
          expect((await other.notes(theirs)).notes.map(({ handle }) => handle)).to.deep.equal([
            expired!.handle,
          ]);
          expect((await store.notes()).notes.length).to.be.at.least(6);
        } finally {
          await other.close();
        }
      });

      it('are found by handle, hold no data, and make way for a new session', async () => {
        const record = aRecord({ about: '{}', ip: '::1' });
        await store.insert(record);
        expect(await store.noteOf(record.handle, now)).to.equal(undefined);
        const { place: before } = await store.notes();
        await store.remove(matchOf(record), 'end_all');
        const note = await store.noteOf(record.handle, now);
        expect(note).to.deep.include({ handle: record.handle, userid: record.userid, reason: 'end_all' });
        expect(note?.secretHash.equals(record.secretHash)).to.equal(true);
        expect(await store.noteOf(record.handle, Date.now() + 600_001)).to.equal(undefined);
        expect(await store.read(record.handle, now)).to.equal(undefined);
        expect(await store.peek(record.handle, now)).to.equal(undefined);
        expect(await store.remove(matchOf(record), 'end')).to.equal(false);
        expect(await store.list(record.userid, now)).to.deep.equal([]);
        const next = { ...aRecord(), handle: record.handle };
        expect(await store.insert(next)).to.equal(true);
        expect(await store.insert(next)).to.equal(false);
        expect(await read(record.handle, now)).to.deep.equal(next);
        const { notes } = await store.notes(before);
        expect(notes.map(({ handle }) => handle)).to.deep.equal([record.handle]);
        await store.remove(matchOf(next), 'end');
        expect((await store.noteOf(record.handle, now))?.secretHash.equals(next.secretHash)).to.equal(true);
      });
    });

    it('lets one of many writers of one version through', async () => {
      const record = aRecord();
      await store.insert(record);
      const results = await Promise.all(
        Array.from({ length: 64 }, (_, n) =>
          store.write(
            { ...matchOf(record), version: 1 },
            { touched: now, expires: now + 60_000, data: `{"n":${n}}` },
          ),
        ),
      );
      const won = results.filter((result) => result !== undefined);
      expect(won).to.have.length(1);
      expect(await read(record.handle, now)).to.deep.equal(pick(won[0]));
    });

    it('lets every one of many writers without a version through, each with a version of its own', async () => {
      const record = aRecord();
      await store.insert(record);
      const results = await Promise.all(
        Array.from({ length: 32 }, (_, n) =>
          store.write(matchOf(record), { touched: now, expires: now + 60_000, data: `{"n":${n}}` }),
        ),
      );
      expect(results.map((result) => result?.version).sort((a, b) => a! - b!)).to.deep.equal(
        Array.from({ length: 32 }, (_, n) => n + 2),
      );
      const last = results.find((result) => result?.version === 33);
      expect(await read(record.handle, now)).to.deep.equal(pick(last));
    });

    it('lets one of many removers through', async () => {
      const record = aRecord();
      await store.insert(record);
      const results = await Promise.all(
        Array.from({ length: 16 }, () => store.remove(matchOf(record), 'end')),
      );
      expect(results.filter(Boolean)).to.have.length(1);
    });

    it('never brings a removed record back, whatever races', async () => {
      const removers = [
        async (match: Match) => Number(await store.remove(match, 'end')),
        (match: Match) => store.removeEach([match], 'limit'),
        (_: Match, { userid }: SessionRecord) => store.removeOfUser(userid, now),
      ];
      for (let round = 0; round < place.rounds; round++) {
        const record = aRecord();
        const remove = removers[round % 3]!;
        await store.insert(record);
        const write = (data?: string) =>
          store.write(matchOf(record), { touched: now, expires: now + 60_000, ...(data && { data }) });
        const [, removed] = await Promise.all([
          write('{"a":1}'),
          remove(matchOf(record), record),
          write(),
          store.read(record.handle, now),
        ]);
        expect(removed).to.equal(1);
        expect(await store.read(record.handle, now)).to.equal(undefined);
        expect(await write('{"late":1}')).to.equal(undefined);
        expect(await store.read(record.handle, now)).to.equal(undefined);
      }
    });

    it('has ended a session for clocks that are behind, too', async () => {
      const [one, two, three] = [aRecord(), aRecord(), aRecord({ userid: 'three' })];
      for (const record of [one, two, three]) await store.insert(record);
      const ahead = now + 30_000;
      expect(await store.remove({ ...matchOf(one), now: ahead }, 'end')).to.equal(true);
      expect(await store.removeEach([{ ...matchOf(two), now: ahead }], 'limit')).to.equal(1);
      expect(await store.removeOfUser(three.userid, ahead)).to.equal(1);
      const change = { touched: now, expires: now + 60_000, ends: now + 600_000 };
      for (const record of [one, two, three]) {
        const match = matchOf(record);
        expect(await store.read(record.handle, now)).to.equal(undefined);
        expect(await store.peek(record.handle, now)).to.equal(undefined);
        expect(await store.write(match, change)).to.equal(undefined);
        expect(await store.rewrite(match, change, (data) => data)).to.equal(undefined);
        expect(await store.remove(match, 'end')).to.equal(false);
        expect(await store.list(record.userid, now)).to.deep.equal([]);
      }
      expect(await store.walk(now, { limit: 9, useridPrefix: one.userid })).to.deep.equal([]);
    });

    it('shows a write to every other opener at once', async () => {
      const other = await place.open();
      try {
        for (let round = 0; round < 50; round++) {
          const record = aRecord();
          await store.insert(record);
          expect(await other.read(record.handle, now)).not.to.equal(undefined);
          await other.write(matchOf(record), { touched: now, expires: now + 60_000, data: '{"b":1}' });
          expect((await store.read(record.handle, now))?.data).to.equal('{"b":1}');
          await store.remove(matchOf(record), 'end');
          expect(await other.read(record.handle, now)).to.equal(undefined);
        }
      } finally {
        await other.close();
      }
    });

    it('clears away the dead, moves on from those used since, and leaves the living', async () => {
      const later = now + 1_000_000;
      const userid = `user ${randomBytes(6).toString('hex')}`;
      const dead = Array.from({ length: 30 }, (_, n) =>
        aRecord({ userid, expires: later - n, ...(n % 2 && { ends: later - 50 }) }),
      );
      const used = Array.from({ length: 30 }, (_, n) =>
        aRecord({ userid, expires: later - 1 - n, ...(n % 3 === 0 && { ip: `::${n}` }) }),
      );
      const living = Array.from({ length: 5 }, () => aRecord({ userid, expires: later + 2000 }));
      for (const record of [...dead, ...used, ...living]) await store.insert(record);
      for (const record of used) await store.write(matchOf(record), { touched: now, expires: later + 3000 });
      const before = await store.count();

      expect(await store.isSweepDue(later)).to.equal(true);
      let removed = 0;
      let late = Number.POSITIVE_INFINITY;
      for (let more = true; more; ) {
        const step = await store.sweep(later, 7);
        removed += step.removed;
        more = step.more;
        expect(step.late ?? 0).at.least(0);
        // Those that have been dead for longest come first. What others left, such as notes of ends, has a time of its own.
        if (step.removed > 0) {
          expect(step.late).at.most(late);
          late = step.late!;
        }
      }
      expect(removed).to.be.at.least(30);
      expect(await store.count()).to.equal(before - removed);
      expect(await store.list(userid, later)).to.have.length(35);
      for (const { handle } of dead) expect(await store.read(handle, now)).to.equal(undefined);
      for (const record of [...used, ...living])
        expect(extrasOf((await store.read(record.handle, later))!)).to.deep.equal(extrasOf(record));
      await expectRightIndexes();

      while ((await store.sweep(later + 3000, 100)).more);
      expect(await store.list(userid, now)).to.deep.equal([]);
      expect((await store.sweep(later + 3000, 100)).removed).to.equal(0);
      expect(await store.isSweepDue(later + 3000)).to.equal(false);
      await expectRightIndexes();
    });

    it('gives a duty to one owner at a time, with a fence that grows', async () => {
      const lease = (owner: string, from: number) =>
        store.lease('sweeper', owner, now + from, now + from + 100);
      const fences = [await lease('a', 0)];
      expect(await lease('b', 99)).to.equal(undefined);
      fences.push(await lease('a', 99), await lease('b', 199));
      expect(await lease('a', 200)).to.equal(undefined);
      const many = await Promise.all(Array.from({ length: 8 }, (_, n) => lease(`many ${n}`, 1000)));
      const held = many.filter((fence) => fence !== undefined);
      expect(held).to.have.length(1);
      for (const [n, fence] of [...fences, ...held].entries())
        expect(fence).to.be.above(n === 0 ? 0 : fences[n - 1]!);
    });

    it('lets no earlier holder of a duty change its fact after a later one has', async () => {
      const other = await place.open();
      try {
        const lease = async (of: Store, owner: string, at: number) =>
          (await of.lease('counting', owner, at, at + 100))!;
        const [first, second] = [await lease(store, 'a', now), await lease(other, 'b', now + 100)];
        const change = (of: Store, fence: number, by: string) =>
          changeFenced<{ by: string[] }>(of, 'counted', fence, (before) => ({
            by: [...(before?.by ?? []), by],
          }));
        expect(await change(store, first, 'a, in time')).to.equal(true);
        expect(await change(other, second, 'b')).to.equal(true);
        expect(await change(store, first, 'a, late')).to.equal(false);
        expect(await change(other, second, 'b again')).to.equal(true);
        expect(await store.fact('counted')).to.deep.equal({
          by: ['a, in time', 'b', 'b again'],
          fence: second,
        });
      } finally {
        await other.close();
      }
    });

    it('loses none of many changes of a fact at the same time', async () => {
      const other = await place.open();
      try {
        expect(await store.fact('numbers')).to.equal(undefined);
        const numbers = [0, 1, 2, 3, 4, 5, 6, 7];
        await Promise.all(
          numbers.map((n) =>
            (n % 2 ? store : other).changeFact<{ all: number[] }>('numbers', (before) => ({
              all: [...(before?.all ?? []), n],
            })),
          ),
        );
        for (const each of [store, other]) {
          const { all } = (await each.fact<{ all: number[] }>('numbers'))!;
          expect(all.sort()).to.deep.equal(numbers);
        }
      } finally {
        await other.close();
      }
    });

    it('replaces sealed fields only as they were, and changes nothing else', async () => {
      const record = aRecord({ about: '{"a":1}' });
      const none = aRecord();
      for (const each of [record, none]) await store.insert(each);
      await store.raise();
      const { handle } = record;
      const sealedOf = async (of: SessionRecord) =>
        (await store.sealed(1000)).find((each) => each.handle === of.handle)!;
      for (const [of, name] of [
        [record, 'about'],
        [record, 'data'],
        [none, 'data'],
      ] as const) {
        const before = await sealedOf(of);
        const after = { ...before, [name]: `${before[name]} ` };
        expect(await store.replaceSealed({ handle: of.handle, [name]: before[name] }, after)).to.equal(true);
        expect(await sealedOf(of)).to.deep.equal(after);
        expect(await store.peek(of.handle, now)).to.include({ version: 1, touched: of.touched });
      }
      await expectRightIndexes();
      const sealed = await sealedOf(record);
      await store.write(matchOf(record), { touched: now, expires: now + 60_000, data: '{"b":1}' });
      expect(await store.replaceSealed(sealed, sealed), 'a later write is undone').to.equal(false);
      expect(await store.read(handle, now)).to.deep.include({ data: '{"b":1}', version: 2 });
      await store.remove(matchOf(record), 'end');
      expect(await store.replaceSealed(sealed, sealed), 'an ended session').to.equal(false);
      const unknown = { handle: aRecord().handle };
      expect(await store.replaceSealed(unknown, unknown), 'an unknown session').to.equal(false);
      expect(await store.read(handle, now)).to.equal(undefined);
    });

    it('says that it can work', async () => {
      await store.check();
    });

    it('ends everyone for every process, and what is made afterwards lives', async () => {
      const other = await place.open();
      try {
        const before = aRecord();
        const mate = aRecord({ userid: before.userid });
        await store.insert(before);
        await other.insert(mate);
        const epoch = await store.epoch();
        expect((await store.countLive(now)).count).to.be.at.least(2);
        expect(await store.everyoneAt()).to.equal(0);
        const began = Date.now();
        const racing = Array.from({ length: 20 }, () => aRecord());
        const [raced] = await Promise.all([
          Promise.all(racing.map((record, n) => (n % 2 ? store : other).insert(record))),
          store.endEveryone(),
        ]);
        expect(raced.every(Boolean)).to.equal(true);
        for (const each of [store, other]) {
          expect(await each.epoch()).to.equal(epoch + 1);
          expect(await each.everyoneAt()).to.be.within(began - 100, Date.now() + 100);
          expect(each.needsSweeping).to.equal(true);
          for (const { handle } of [before, mate]) {
            expect(await each.read(handle, now)).to.equal(undefined);
            expect(await each.peek(handle, now)).to.equal(undefined);
            expect(await each.write({ handle, now }, { touched: now, expires: now + 60_000 })).to.equal(
              undefined,
            );
            expect(
              await each.rewrite({ handle, now }, { touched: now, expires: now + 1 }, (d) => d),
            ).to.equal(undefined);
            expect(await each.remove({ handle, now }, 'end')).to.equal(false);
          }
          expect((await each.peekEach([before.handle, mate.handle], now)).size).to.equal(0);
          expect(await each.list(before.userid, now)).to.deep.equal([]);
          expect(await each.walk(now, { limit: 10, useridPrefix: before.userid })).to.deep.equal([]);
          expect(await each.removeOfUser(before.userid, now)).to.equal(0);
        }
        // One that raced it is wholly before or after.
        const seen = await Promise.all(
          [store, other].map((each) =>
            Promise.all(racing.map(async ({ handle }) => (await each.read(handle, now)) !== undefined)),
          ),
        );
        expect(seen[0]).to.deep.equal(seen[1]);
        const after = aRecord();
        expect(await other.insert(after)).to.equal(true);
        expect(await read(after.handle, now)).to.deep.equal(after);
        expect(await store.list(after.userid, now)).to.deep.equal([summaryOf(after)]);
        const change = { data: '{"b":1}', touched: now, expires: now + 60_000, secretHash: randomBytes(32) };
        expect(await store.write(matchOf(after), change)).to.deep.include({ version: 2, data: '{"b":1}' });
        expect(await other.write(matchOf(after), change)).to.equal(undefined);
        expect(pick(await other.read(after.handle, now))).to.deep.equal({ ...after, ...change, version: 2 });

        expect(await store.isSweepDue(now)).to.equal(true);
        const count = await store.count();
        for (let more = true; more && (await store.isSweepDue(now)); )
          ({ more } = await store.sweep(now, 50));
        expect(await store.count()).to.be.below(count);
        const left = await store.walk(now, { limit: 1000 });
        expect(left.map(({ handle }) => handle)).to.include(after.handle);
        expect(await store.insert(before), 'its record is gone').to.equal(true);
        // A walk that removes the dead of one epoch does not count as one for the next.
        await store.insert(aRecord());
        await store.sweep(now, 1);
        await store.endEveryone();
        expect(await other.read(after.handle, now)).to.equal(undefined);
        await other.sweep(now, 1);
        const last = aRecord();
        await store.insert(last);
        await Promise.all([store.endEveryone(), other.endEveryone()]);
        for (const each of [store, other]) expect(await each.epoch()).to.equal(epoch + 4);
        while (await other.isSweepDue(now)) await other.sweep(now, 5);
        await expectRightIndexes();
        const inserted = await Promise.all([after, last].map((record) => store.insert(record)));
        expect(inserted, 'their records are gone').to.deep.equal([true, true]);
      } finally {
        await other.close();
      }
    });

    it('keeps everything over a close', async () => {
      const record = aRecord();
      await store.insert(record);
      await store.close();
      await store.close();
      store = await place.open();
      expect(await read(record.handle, now)).to.deep.equal(record);
    });

    /** Where a store can say so, that its indexes hold what they should. */
    async function expectRightIndexes(): Promise<void> {
      let place: ScrubPlace | undefined;
      do {
        const seen = await store.file?.scrub(place, 60_000);
        expect(seen?.repaired ?? 0).to.equal(0);
        expect(seen?.damaged ?? []).to.deep.equal([]);
        place = seen?.next;
      } while (place);
    }

    async function read(handle: string, at: number): Promise<SessionRecord | undefined> {
      return pick(await store.read(handle, at));
    }

    function aRecord(change: Partial<SessionRecord> = {}): SessionRecord {
      return {
        handle: randomBytes(12).toString('base64url'),
        secretHash: hash('sha256', randomBytes(20), 'buffer'),
        userid: `user ${randomBytes(6).toString('hex')}`,
        data: '{"a":1}',
        version: 1,
        created: now,
        touched: now,
        expires: now + 60_000,
        ends: now + 600_000_000,
        ...change,
      };
    }

    function matchOf({ handle, secretHash }: SessionRecord): Match {
      return { handle, secretHash, now };
    }
  });
}

/** Only what the contract names. */
function pick(record: SessionRecord | undefined): SessionRecord | undefined {
  if (!record) return undefined;
  const { handle, secretHash, userid, data, version, created, touched, expires, ends } = record;
  return { handle, secretHash, userid, data, version, created, touched, expires, ends };
}

function summaryOf({ handle, created, touched, expires, ends }: SessionRecord) {
  return { handle, created, touched, expires, ends };
}

function byHandle(a: { handle: string }, b: { handle: string }): number {
  return a.handle < b.handle ? -1 : 1;
}
