import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { pino } from 'pino';
import type { SessionRecord, Store } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { changeFenced } from '../../../../plugins/sessman/stores/fenced.js';
import { MongoStore } from '../../../../plugins/sessman/stores/mongodb/index.js';
import type { Command } from '../../../faults/support/mongo-wire.js';
import { FaultyProxy } from '../../../faults/support/proxy.js';
import { sharedMongo } from '../../../support/mongodb.js';
import { recordAt } from '../support/embedded.js';

/** Holds an answer of the database back: the process is as good as frozen between that read and its next write. */
class Brake {
  #isMeant: ((command: Command) => boolean) | undefined;
  #held = () => {};
  release = () => {};

  /** Resolves once the answer to the next such command is held. */
  next(isMeant: (command: Command) => boolean): Promise<void> {
    this.#isMeant = isMeant;
    return new Promise((resolve) => {
      this.#held = resolve;
    });
  }

  pass(command: Command): Promise<void> | undefined {
    if (!this.#isMeant?.(command)) return undefined;
    this.#isMeant = undefined;
    this.#held();
    return new Promise((resolve) => {
      this.release = resolve;
    });
  }
}

describe('a process that is frozen between a read and its write', () => {
  describe('on MongoDB', () => {
    const brake = new Brake();
    let proxy: FaultyProxy;
    let frozen: Store;
    let other: Store;
    let open: (isBraked: boolean) => Promise<Store>;
    const now = Date.now();
    const found = (collection: string) => (command: Command) => command.find === collection;

    before(async () => {
      const mongo = await sharedMongo();
      proxy = await FaultyProxy.start(Number(mongo.host.split(':')[1]), (command) => brake.pass(command));
      const { host, user, password, database } = await mongo.createDatabase();
      open = (isBraked) =>
        MongoStore.open({
          server_url: isBraked ? `127.0.0.1:${proxy.port}/?directConnection=true` : host,
          username: user,
          password,
          database,
          collection: 'sessions',
          log: pino({ level: 'silent' }),
        });
      other = await open(false);
      frozen = await open(true);
    });
    after(async () => {
      await frozen?.close();
      await other?.close();
      proxy?.close();
    });

    /** What the frozen one results in when the other one did its work in between. */
    async function frozenWhile<T>(
      isMeant: (command: Command) => boolean,
      work: () => Promise<T>,
      meanwhile: () => Promise<unknown>,
    ): Promise<T> {
      const held = brake.next(isMeant);
      const result = work();
      await held;
      await meanwhile();
      brake.release();
      return result;
    }

    it('ends and changes a session although the store was raised meanwhile', async () => {
      const [ended, written] = [aRecord(), aRecord()];
      for (const record of [ended, written]) await other.insert(record);
      const change = { touched: now, expires: now + 60_000 };
      const matchOf = ({ handle, secretHash }: SessionRecord) => ({ handle, secretHash, now });
      // The first call of the frozen one reads the state.
      const result = await frozenWhile(
        found('sessions_leases'),
        () =>
          Promise.all([
            frozen.remove(matchOf(ended), 'end'),
            frozen.write(matchOf(written), { ...change, data: '{"b":1}' }),
          ]),
        async () => {
          await other.raise();
          for (const record of [ended, written]) await other.write(matchOf(record), change);
        },
      );
      expect(result[0]).to.equal(true);
      expect(result[1]).to.deep.include({ data: '{"b":1}', version: 2 });
    });

    it('sweeps nothing that was used since', async () => {
      const record = aRecord({ expires: now + 50 });
      await other.insert(record);
      const swept = await frozenWhile(
        found('sessions'),
        () => frozen.sweep(now + 100, 10),
        () => other.write({ handle: record.handle, now }, { touched: now, expires: now + 60_000 }),
      );
      expect(swept.removed).to.equal(0);
      expect(await other.read(record.handle, now + 100)).not.to.equal(undefined);
    });

    it('encrypts no session back to what it was', async () => {
      const record = aRecord();
      await other.insert(record);
      const { handle, data } = record;
      const replaced = await frozenWhile(
        found('sessions'),
        () => frozen.replaceSealed({ handle, data }, { handle, data: '{"sealed":1}' }),
        () => other.write({ handle, now }, { touched: now, expires: now + 60_000, data: '{"b":1}' }),
      );
      expect(replaced).to.equal(false);
      expect(await other.read(handle, now)).to.deep.include({ data: '{"b":1}', version: 2 });
    });

    it('changes no fact of a duty after the next holder has', async () => {
      const first = (await frozen.lease('counting', 'frozen', now, now + 10))!;
      const isChanged = await frozenWhile(
        found('sessions_leases'),
        () => changeFenced(frozen, 'counts', first, () => ({ by: 'frozen' })),
        async () => {
          const next = (await other.lease('counting', 'other', now + 10, now + 20))!;
          await changeFenced(other, 'counts', next, () => ({ by: 'other' }));
        },
      );
      expect(isChanged).to.equal(false);
      expect(await other.fact('counts')).to.deep.include({ by: 'other' });
    });

    it('brings no session back that was ended with everyone', async () => {
      const record = aRecord();
      await other.insert(record);
      const change = { touched: now, expires: now + 60_000, data: '{"b":1}' };
      // Its first call reads the state.
      const fresh = await open(true);
      try {
        await frozenWhile(
          found('sessions_leases'),
          () => fresh.write({ handle: record.handle, now }, change),
          () => other.endEveryone(),
        );
        expect(await fresh.read(record.handle, now)).to.equal(undefined);
      } finally {
        await fresh.close();
      }
      for (const store of [frozen, other]) expect(await store.read(record.handle, now)).to.equal(undefined);
    });
  });

  it('sweeps nothing of the embedded store that was used since', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    const [frozen, other] = [EmbeddedStore.open(folder), EmbeddedStore.open(folder)];
    try {
      const now = Date.now();
      const record = aRecord({ expires: now + 50 });
      await other.insert(record);
      // The sweep reads before this write is committed, and writes after it.
      const written = other.write({ handle: record.handle, now }, { touched: now, expires: now + 60_000 });
      const swept = frozen.sweep(now + 100, 10);
      await written;
      expect((await swept).removed).to.equal(0);
      expect(await other.read(record.handle, now + 100)).not.to.equal(undefined);
    } finally {
      await frozen.close();
      await other.close();
      await rm(folder, { recursive: true });
    }
  });
});

function aRecord(change: Partial<SessionRecord> = {}): SessionRecord {
  const now = Date.now();
  return recordAt(now, { data: '{"a":1}', expires: now + 60_000, ends: now + 600_000, ...change });
}
