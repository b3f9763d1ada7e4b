import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { HttpError, type PluginMetrics } from 'plugin-server';
import { StoreDamagedError } from '../../../../plugins/sessman/errors.js';
import type { Store } from '../../../../plugins/sessman/store.js';
import type { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { Keyring } from '../../../../plugins/sessman/stores/keyring.js';
import { observeStore } from '../../../../plugins/sessman/stores/observed-store.js';
import { startServer, type TestServer } from '../../../support/server.js';
import { instead, openTemporary, recordAt } from '../support/embedded.js';

/** A server with a plugin that lends its metrics. */
const lender = `
  import { definePlugin } from 'plugin-server';
  export default definePlugin({ setup({ metrics }) { globalThis.lentMetrics = metrics; } });`;

let store: EmbeddedStore;
let close: () => Promise<void>;
let server: TestServer;
const observe = (on: Store) =>
  observeStore(on, (globalThis as unknown as { lentMetrics: PluginMetrics }).lentMetrics);
const encrypt = (on: Store) => encryptStore(on, new Keyring([randomBytes(32).toString('base64')]));

describe('what wraps a store', () => {
  beforeEach(async () => {
    ({ store, close } = await openTemporary());
    server = await startServer({
      ini: '[paths]\nplugins=plugins\n[plugin_parms]\nsessman=enabled=bool:false\n',
      files: { 'plugins/lender.mjs': lender },
    });
  });
  afterEach(async () => {
    await server.close();
    await close();
  });

  for (const [name, wrap] of [
    ['with encryption', encrypt],
    ['with metrics', observe],
  ] as const) {
    it(`a store ${name} is in all else the same`, async () => {
      const now = Date.now();
      const changes = async () => ({ broken: new Promise<never>(() => {}) });
      const on = wrap(instead(store, { changes }));
      const record = recordAt(now);
      await on.insert(record);
      await store.endEveryone();
      const ended = recordAt(now);
      await on.insert(ended);
      await on.remove({ handle: ended.handle, now }, 'end');
      expect([on.system, on.isRemote, on.clock]).to.deep.equal(['lmdb', false, store.clock]);
      expect(on.changes).not.to.equal(undefined);
      expect([await on.epoch(), await on.everyoneAt()]).to.deep.equal([1, store.everyoneAt()]);
      expect((await on.notes()).notes.map(({ reason }) => reason)).to.deep.equal(['end']);
      expect((await on.notes((await on.notes()).place)).notes).to.deep.equal([]);
      expect(await on.noteOf(ended.handle, now)).to.include({ reason: 'end' });
      expect(await on.countLive(now)).to.deep.equal({ count: 0, exact: true });
      expect([await on.count(), await on.isSweepDue(now)]).to.deep.equal([1, true]);
      expect(await on.lease('duty', 'one', now, now + 1)).to.be.a('number');
      expect(await on.lease('duty', 'two', now, now + 1)).to.equal(undefined);
      await on.changeFact('fact', () => ({ a: 1 }));
      expect(await on.fact('fact')).to.deep.equal({ a: 1 });
      await on.raise();
      expect(await on.isRaised()).to.equal(true);
      expect((await on.sealed(9)).map(({ handle }) => handle)).to.deep.equal([record.handle]);
      expect((await on.file!.scrub(undefined, 1000)).records).to.equal(1);
      await on.check();
      await on.close();
      for (const each of [on, store])
        expect(await each.check().catch((error: Error) => error.name)).to.be.a('string');
      expect(encrypt(store).changes).to.equal(undefined);
      for (const needsSweeping of [true, false])
        expect(encrypt(instead(store, { needsSweeping })).needsSweeping).to.equal(needsSweeping);
    });
  }

  it('the metrics of a store tell its clock, its file, and what was found in it', async () => {
    const clock = { skew: 2500 as number | undefined, error: 40, isDoubtful: true };
    const found = {
      began: 1000,
      finished: 5000,
      records: 7,
      unchecked: 1,
      damaged: 2,
      repaired: 3,
      contested: 4,
    };
    await store.changeFact('scrub', () => ({ last: found }));
    await store.changeFact('records-by-key', () => ({ first: 'a', counts: { a: 4, b: 5 } }));
    const { file } = store;
    const size = () => ({ bytes: 8192, free: 4096 });
    const on = { ...file, oldestReader: () => 12, size };
    observe(instead(store, { clock: clock as Partial<Store['clock']> as Store['clock'], file: on }));
    const figures = async () => {
      const text = await (await server.fetch('/metrics')).text();
      return [...text.matchAll(/^sessman_(\w+)\{(?:key="(\w)",)?plugin="lender"\} (\S+)$/gm)]
        .map(([, name, key = '', value]) => `${name} ${key}${value}`)
        .sort();
    };
    const others = [
      'clock_doubtful 1',
      'clock_error_seconds 0.04',
      'records a4',
      'records b5',
      'sessions 0',
      'store_file_bytes 8192',
      'store_free_bytes 4096',
      'store_oldest_reader_seconds 12',
      'store_scrub_contested_pages 4',
      'store_scrub_damaged 2',
      'store_scrub_finished_timestamp_seconds 5',
      'store_scrub_records 7',
      'store_scrub_repaired 3',
    ];
    expect(await figures()).to.deep.equal([...others, 'clock_skew_seconds 2.5'].sort());
    clock.skew = undefined;
    await store.changeFact('records-by-key', () => ({ first: 'b', counts: { b: 5 } }));
    expect(await figures()).to.deep.equal(others.filter((each) => each !== 'records a4'));
  });

  it('the metrics of a store count its errors, by operation and code, and leave out what is not known', async () => {
    const failures: unknown[] = [
      new StoreDamagedError(),
      new TypeError('it is broken'),
      new HttpError(413, 'data_too_large', 'too large'),
    ];
    const fail = () => {
      throw failures[0];
    };
    const reject = async () => fail();
    const on = observe(
      instead(store, { read: fail, peek: reject, needsSweeping: false, count: reject, fact: reject }),
    );
    expect([on.needsSweeping, on.changes]).to.deep.equal([false, undefined]);
    const now = Date.now();
    for (const failure of [...failures]) {
      for (const call of [() => on.read('handle', now), () => on.peek('handle', now)]) {
        const seen = await (async () => call())().catch((error: unknown) => error);
        expect(seen).to.equal(failure);
      }
      failures.shift();
    }
    failures.push(new Error('it is still broken'));
    const text = await (await server.fetch('/metrics')).text();
    const lines = text.split('\n').filter((line) => line.startsWith('sessman_'));
    const errors = lines.filter((line) => line.startsWith('sessman_store_errors_total'));
    const line = (operation: string, code: string) =>
      `sessman_store_errors_total{operation="${operation}",code="${code}",plugin="lender"} 1`;
    expect(errors).to.have.members([
      line('read', 'store_damaged'),
      line('peek', 'store_damaged'),
      line('read', 'internal_error'),
      line('peek', 'internal_error'),
    ]);
    for (const absent of ['sessman_sessions', 'sessman_records', 'sessman_store_scrub'])
      expect(lines.filter((each) => each.startsWith(absent))).to.deep.equal([]);
  });
});
