import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { pino } from 'pino';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import type { Store } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { Keyring } from '../../../../plugins/sessman/stores/keyring.js';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import { sharedMongo } from '../../../support/mongodb.js';
import { aUser } from '../support/api.js';
import { type Sessions010, type Version010, version010 } from '../support/version-0.1.0.js';

const limits = {
  idleTimeout: 100,
  absoluteTimeout: 1000,
  maxData: 10_000,
  maxPerUser: 0,
  record: ['ip', 'user_agent'] as const,
};

interface Place {
  openNew(): Promise<Store>;
  openOld(old: Version010): Promise<Pick<Store, 'close'>>;
  remove(): Promise<void>;
}

const places: { name: string; make: () => Promise<Place> }[] = [
  {
    name: 'embedded',
    async make() {
      const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
      return {
        openNew: async () => EmbeddedStore.open(folder),
        openOld: async (old) => old.EmbeddedStore.open(folder),
        remove: () => rm(folder, { recursive: true }),
      };
    },
  },
  {
    name: 'mongodb',
    async make() {
      const { host, user, password, database } = await (await sharedMongo()).createDatabase();
      const settings = { server_url: host, username: user, password, database, collection: 'sessions' };
      const options = { ...settings, log: pino({ level: 'silent' }) };
      return {
        openNew: () => MongoStore.open(options),
        openOld: (old) => old.MongoStore.open(options),
        remove: async () => {},
      };
    },
  },
];

for (const { name, make } of places) {
  describe(`version 0.1.0 on the same ${name} store`, () => {
    let place: Place;
    let store: Store;
    let oldStore: Pick<Store, 'close'>;
    let sessions: Sessions;
    let old: Sessions010;
    let now: number;
    let userid: string;
    before(async () => {
      const version = await version010();
      now = Date.now();
      place = await make();
      store = await place.openNew();
      oldStore = await place.openOld(version);
      sessions = new Sessions(store, limits, { now: () => now });
      old = new version.Sessions(oldStore, limits, { now: () => now });
    });
    after(async () => {
      await oldStore?.close();
      await store?.close();
      await place?.remove();
    });
    beforeEach(() => {
      userid = aUser();
    });

    const told = { remember: false, about: { device: 'phone' }, ip: '::1', user_agent: 'Browser/1' };

    it('reads and writes what this version made, and keeps what it does not know', async () => {
      for (const traits of [{}, told]) {
        const made = await sessions.create(userid, { a: 1 }, undefined, traits);
        now += 10;
        expect(await old.get(made.id, userid)).to.include({ data: '{"a":1}', version: 1 });
        await old.patch(made.id, { b: 2 });
        await old.update(made.id, { c: 3 });
        await old.touch(made.id);
        const renewed = await old.renew(made.id);
        const seen = await sessions.get(renewed.id, userid);
        expect(seen).to.include({ data: '{"c":3}', version: 3, authenticated: made.authenticated });
        expect(seen.remember).to.equal(traits !== told);
        const [entry] = await sessions.list(userid);
        expect(entry?.about).to.deep.equal(traits === told ? told.about : undefined);
        expect(entry?.ip).to.equal(traits === told ? '::1' : undefined);
        expect(await old.list(userid)).to.have.length(1);
        await old.end(renewed.id);
      }
      expect(await sessions.list(userid)).to.deep.equal([]);
    });

    it('what it made is read and written by this version; it was authenticated when it was created', async () => {
      const made = await old.create(userid, { a: 1 });
      now += 10;
      expect(await sessions.get(made.id, userid)).to.include({
        authenticated: made.created,
        remember: true,
        ends: made.created + 1_000_000,
      });
      await sessions.patch(made.id, { b: 2 });
      const renewed = await sessions.renew(made.id, { authenticated: true, ...told });
      expect(renewed).to.include({ authenticated: now, remember: false, ends: now + 1_000_000 });
      expect(await old.get(renewed.id, userid)).to.include({ data: '{"a":1,"b":2}', version: 2 });
      now += 10;
      await old.touch(renewed.id);
      expect(await sessions.get(renewed.id, userid)).to.include({ authenticated: now - 10, remember: false });
      expect((await sessions.list(userid))[0]).to.deep.include({ about: told.about, userAgent: 'Browser/1' });
      expect(await old.endAll(userid)).to.equal(1);
      expect(await sessions.list(userid)).to.deep.equal([]);
    });

    it('ends a session, and nothing of it shows in the next one of the same id', async () => {
      const { id } = await sessions.create(userid, {}, undefined, told);
      await old.end(id);
      now += 10;
      await old.create(userid, {}, id);
      expect(await sessions.get(id, userid)).to.include({ authenticated: now, remember: true });
      expect((await sessions.list(userid))[0]).not.to.have.any.keys('about', 'ip', 'userAgent');
      await sessions.end(id);
      const again = await sessions.create(userid, {}, id);
      expect(await old.get(id, userid)).to.include({ created: again.created });
    });

    it('is kept off by the first encrypted session, and writes nothing to it', async () => {
      const version = await version010();
      const another = await make();
      const opened = await another.openNew();
      const oldOpened = await another.openOld(version);
      try {
        const clock = { now: () => now };
        const outdated = new version.Sessions(oldOpened, limits, clock);
        const plain = await new Sessions(opened, limits, clock).create(userid, { a: 1 });
        expect(await outdated.get(plain.id, userid)).to.include({ data: '{"a":1}' });
        const key = randomBytes(32).toString('base64');
        const encrypted = new Sessions(encryptStore(opened, new Keyring([key, 'plain'])), limits, clock);
        const made = await encrypted.create(userid, { b: 1 });
        for (const call of [
          () => outdated.get(made.id, userid),
          () => outdated.update(made.id, {}),
          () => outdated.touch(made.id),
          () => outdated.renew(made.id),
        ]) {
          const outcome = await Promise.resolve()
            .then(call)
            .catch((error: Error) => error);
          expect(outcome).to.be.an('error');
        }
        expect(await encrypted.get(made.id, userid)).to.deep.equal(made);
        expect(await encrypted.get(plain.id, userid)).to.include({ data: '{"a":1}' });
        if (name !== 'embedded') return;
        const error = await another.openOld(version).catch((thrown: Error) => thrown);
        expect(error).to.be.an('error').with.property('message').that.includes('format 2');
      } finally {
        await oldOpened.close();
        await opened.close();
        await another.remove();
      }
    });

    it('is kept off by the first end of everyone, and finds nothing to read or write', async () => {
      const version = await version010();
      const gone = await sessions.create(userid);
      await sessions.endEveryone();
      const made = await sessions.create(userid, { a: 1 });
      for (const { id } of [gone, made]) {
        for (const call of [
          () => old.get(id, userid),
          () => old.update(id, {}),
          () => old.touch(id),
          () => old.renew(id),
        ]) {
          const outcome = await Promise.resolve()
            .then(call)
            .catch((error: Error) => error);
          // What was ended may still be there for it for a moment; what is newer it cannot use.
          if (id === made.id) expect(outcome).to.be.an('error');
        }
      }
      expect(await sessions.get(made.id, userid)).to.deep.equal(made);
      expect((await sessions.update(made.id, { b: 1 })).version).to.equal(2);
      const next = await sessions.renew(made.id);
      expect(await sessions.get(next.id)).to.include({ data: '{"b":1}' });
      if (name !== 'embedded') return;
      let opened: unknown;
      try {
        opened = await place.openOld(version);
      } catch (error) {
        expect((error as Error).message).to.include('format 2');
      }
      expect(opened).to.equal(undefined);
      const reopened = await place.openNew();
      expect(await reopened.read(next.handle, now)).to.include({ data: '{"b":1}' });
      await reopened.close();
    });
  });
}
