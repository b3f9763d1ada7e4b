import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { MongoClient } from 'mongodb';
import { Sessions } from '../../../../plugins/sessman/sessions.js';
import type { SessionRecord, Store } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';
import { encryptStore } from '../../../../plugins/sessman/stores/encrypted-store.js';
import { fingerprintOf, Keyring, sealedWith } from '../../../../plugins/sessman/stores/keyring.js';
import { type KeyCounts, keysOf, runReencryption } from '../../../../plugins/sessman/stores/reencrypt.js';
import { sharedMongo } from '../../../support/mongodb.js';
import { type Api, aUser, startApi } from '../support/api.js';
import { instead, openTemporary, recordAt } from '../support/embedded.js';

const newKey = () => randomBytes(32).toString('base64');

interface Place {
  readonly settings: object;
  /** All that the store has kept, as its bytes. */
  bytes(): Promise<Buffer>;
}

const places: { name: string; make: (folder: () => string) => Promise<Place> }[] = [
  {
    name: 'embedded',
    make: async (folder) => ({
      settings: {},
      async bytes() {
        const all = await readdir(folder(), { withFileTypes: true });
        const files = all.filter((file) => file.isFile());
        return Buffer.concat(await Promise.all(files.map(({ name }) => readFile(join(folder(), name)))));
      },
    }),
  },
  {
    name: 'mongodb',
    async make() {
      const { host, user, password, database, url } = await (await sharedMongo()).createDatabase();
      return {
        settings: { server_url: host, username: user, password, database },
        async bytes() {
          const client = new MongoClient(url());
          try {
            const all = await client.db(database).collection('sessions').find().toArray();
            return Buffer.from(JSON.stringify(all));
          } finally {
            await client.close();
          }
        },
      };
    },
  },
];

for (const { name, make } of places) {
  describe(`encryption on the ${name} store`, () => {
    let folder: string;
    let place: Place;
    const hosts: Api[] = [];
    beforeEach(async () => {
      place = await make(() => folder);
    });
    afterEach(async () => {
      for (const host of hosts.splice(0).reverse()) await host.close();
    });

    /** A host on the place's store, which the first one creates. */
    const start = async (encryption_key: string | string[] | undefined, more: object = {}): Promise<Api> => {
      const path = name === 'embedded' && hosts.length > 0 ? { path: folder } : {};
      const host = await startApi({
        ...place.settings,
        ...path,
        ...(encryption_key && { encryption_key }),
        record: ['ip', 'user_agent'],
        ...more,
      });
      if (hosts.length === 0) folder = join(host.server.folder, 'data/sessman/store');
      hosts.push(host);
      return host;
    };
    /** Stops a host when its calls have ended, and leaves the store where it is. */
    const stop = (host: Api) => host.server.host.close();
    const post = async (host: Api, path: string, body: object) => {
      const reply = await host.post(`/sessman/${path}`, body);
      expect(reply.status, `${path}: ${reply.text}`).to.equal(200);
      return reply.body;
    };
    const countsOf = async (host: Api): Promise<Record<string, number>> => {
      const text = await (await host.server.fetch('/metrics')).text();
      const found = [...text.matchAll(/^sessman_records\{[^}]*key="(\w+)"[^}]*\} (\d+)$/gm)];
      return Object.fromEntries(found.map(([, key, count]) => [key, Number(count)]));
    };
    const until = async (host: Api, fits: (counts: Record<string, number>) => boolean): Promise<void> => {
      while (!fits(await countsOf(host))) await sleep(20);
    };

    /** The host has no key that opens the session: it can use, replace and end it, and not read it. */
    const expectUnread = async (host: Api, userid: string, made: { session_id: string }): Promise<void> => {
      let { session_id } = made;
      for (const [call, body] of [
        ['get', { userid }],
        ['patch', { data: {} }],
      ] as const) {
        const reply = await host.post(`/sessman/${call}`, { session_id, ...body });
        expect([reply.status, reply.body.code], call).to.deep.equal([503, 'store_damaged']);
      }
      const { sessions } = await post(host, 'list', { userid });
      expect(sessions[0]).to.deep.include({ about: null, ip: null, user_agent: null });
      await post(host, 'touch', { session_id });
      const check = await host.get('/sessman/check', { headers: { 'X-Session-Id': session_id } });
      expect(check.status).to.equal(204);
      ({ session_id } = await post(host, 'renew', { session_id }));
      expect((await post(host, 'update', { session_id, data: { c: 1 } })).data).to.deep.equal({ c: 1 });
      expect((await host.post('/sessman/get', { session_id, userid })).body.data).to.deep.equal({ c: 1 });
      expect(await post(host, 'end', { session_id })).to.deep.equal({ ended: 1 });
    };

    it('leaves not one plain byte of data, about, ip and user_agent in the store', async () => {
      const host = await start(newKey());
      const [one, two, three] = [aUser(), aUser(), aUser()];
      const secret = () => `secret${randomBytes(8).toString('hex')}`;
      const secrets = Array.from({ length: 8 }, secret);
      const ip = '2001:db8::5ec2:e7';
      const told = { about: { device: secrets[0] }, user_agent: secrets[1], ip };
      const made = await post(host, 'new', { userid: one, data: { a: secrets[2] }, ...told });
      const { session_id } = made;
      expect(made.data).to.deep.equal({ a: secrets[2] });
      await post(host, 'update', { session_id, data: { b: secrets[3] } });
      const patched = await post(host, 'patch', { session_id, data: { c: secrets[4] } });
      expect(patched.data).to.deep.equal({ b: secrets[3], c: secrets[4] });
      const renewed = await post(host, 'renew', {
        session_id,
        about: { d: secrets[5] },
        user_agent: secrets[6],
      });
      expect(renewed.data).to.deep.equal(patched.data);
      expect((await post(host, 'touch', { session_id: renewed.session_id })).data).to.deep.equal(
        patched.data,
      );
      expect((await post(host, 'list', { userid: one })).sessions[0]).to.deep.include({
        about: { d: secrets[5] },
        user_agent: secrets[6],
        ip,
      });
      for (const userid of [two, three])
        await post(host, 'new', { userid, data: { a: secrets[7] }, ...told });
      await post(host, 'end_all', { userid: two });
      const bytes = await place.bytes();
      for (const text of [...secrets, ip]) expect(bytes.includes(text), text).to.equal(false);
      // What was searched is the store.
      expect(bytes.includes(one)).to.equal(true);
      expect(host.server.logText()).not.to.match(/secret[0-9a-f]{16}/);
    });

    it('rotates in three roll-outs over two hosts, with no failed call', async () => {
      const [old, next] = [newKey(), newKey()];
      const userid = aUser();
      const first = await start([old]);
      const ids: string[] = [];
      for (let n = 0; n < 30; n++) {
        const about = { n };
        ids.push((await post(first, 'new', { userid, data: { n }, about, ip: '::1' })).session_id);
      }
      const before = await post(first, 'list', { userid });
      const failed: string[] = [];
      let stopped = false;
      const calls: Promise<unknown>[] = [];
      const load = async (which: number, host: () => Api) => {
        for (let n = 0; !stopped; n++) {
          const call = host().post('/sessman/patch', { session_id: ids[n % ids.length]!, data: { at: n } });
          calls[which] = call;
          const reply = await call;
          if (reply.status !== 200) failed.push(reply.text);
        }
      };
      /** As a load balancer does it: no new calls, then an end. */
      const replace = async (host: Api) => {
        await Promise.all(calls);
        await stop(host);
      };
      // Roll-outs one host after the other; calls go to those that serve.
      let [a, b] = [first, await start([old])];
      const loads = [load(0, () => a), load(1, () => b)];
      for (const keys of [[old, next], [next, old], [next]]) {
        if (keys[0] === next && keys.length === 1)
          await until(a, (counts) => counts[fingerprintOf(old)] === 0);
        const replaced = [b, a];
        b = await start(keys);
        await replace(replaced[0]!);
        a = await start(keys);
        await replace(replaced[1]!);
      }
      stopped = true;
      await Promise.all(loads);
      expect(failed).to.deep.equal([]);
      const seen = (await post(a, 'list', { userid })).sessions;
      expect(seen.map(({ about }: { about: object }) => about)).to.deep.equal(
        before.sessions.map(({ about }: { about: object }) => about),
      );
      for (const [n, session_id] of ids.entries()) {
        const { body } = await b.post('/sessman/get', { session_id, userid });
        expect(body.data.n).to.equal(n);
      }
    });

    it('encrypts again without moving a version or a time, and never to a key that a live host does not list', async () => {
      const [old, next] = [newKey(), newKey()];
      const userid = aUser();
      const plainHost = await start(undefined);
      const made = await post(plainHost, 'new', { userid, data: { a: 1 }, about: { b: 2 } });
      const over = await post(plainHost, 'new', { userid });
      expect((await place.bytes()).includes('{"a":1}') || name === 'mongodb').to.equal(true);
      await stop(plainHost);

      const one = await start([old, 'plain']);
      await until(one, (counts) => counts.plain === 0 && counts[fingerprintOf(old)] === 2);
      const { session_id } = over;
      expect((await one.post('/sessman/end', { session_id })).status, 'before anything is written').to.equal(
        200,
      );
      await until(one, (counts) => counts[fingerprintOf(old)] === 1);
      const { body } = await one.post('/sessman/get', { session_id: made.session_id, userid });
      expect(body).to.deep.equal(made);
      expect((await post(one, 'list', { userid })).sessions[0].about).to.deep.equal({ b: 2 });

      const two = await start([next, old]);
      await until(two, (counts) => counts[fingerprintOf(old)] === 1);
      expect((await one.post('/sessman/get', { session_id: made.session_id, userid })).body).to.deep.equal(
        made,
      );
      await stop(one);
      await until(two, (counts) => counts[fingerprintOf(next)] === 1 && counts[fingerprintOf(old)] === 0);
      expect((await two.post('/sessman/get', { session_id: made.session_id, userid })).body).to.deep.equal(
        made,
      );
    });

    it('ends, renews and replaces what no key opens, and does not read it', async () => {
      const [key, other] = [newKey(), newKey()];
      const [userid, mine] = [aUser(), aUser()];
      const writer = await start([key]);
      const told = { about: { b: 1 }, ip: '::1', user_agent: 'Firefox' };
      const made = await post(writer, 'new', { userid, data: { a: 1 }, ...told });
      const start2 = await startApi({
        ...place.settings,
        ...(name === 'embedded' && { path: folder }),
        encryption_key: [other],
      }).then(
        async (api) => {
          await api.close();
          return undefined;
        },
        (error: Error) => error.message,
      );
      expect(start2).to.match(/encryption_key/);
      expect(start2).not.to.include(other);
      // Once it has counted, the others know that the writer lives: no host replaces its key with one that it does not list.
      await until(writer, (counts) => counts[fingerprintOf(key)] === 1);
      // One that it can read, and it starts.
      const both = await start([other, key]);
      await post(both, 'new', { userid: mine });
      expect(both.server.logText()).to.include('requires this version of plugin-server');
      await stop(both);
      const host = await start([other]);
      await expectUnread(host, userid, made);
    });

    it('is not taken for data by a host without keys', async () => {
      const [key, userid] = [newKey(), aUser()];
      // Both start on a store without sessions, in which nothing is unreadable yet.
      const host = await start(undefined);
      const writer = await start([key]);
      const told = { about: { b: 1 }, ip: '::1', user_agent: 'Firefox' };
      const made = await post(writer, 'new', { userid, data: { a: 1 }, ...told });
      await expectUnread(host, userid, made);
    });

    it('keeps a host without keys from starting, where it could read nothing', async () => {
      const [key, userid] = [newKey(), aUser()];
      const writer = await start([key]);
      await post(writer, 'new', { userid, data: { a: 1 } });
      const path = name === 'embedded' && { path: folder };
      for (const keys of [{}, { encryption_key: ['plain'] }]) {
        const refusal = await startApi({ ...place.settings, ...path, ...keys }).then(
          async (api) => {
            await api.close();
            return undefined;
          },
          (error: Error) => error.message,
        );
        expect(refusal, JSON.stringify(keys)).to.match(/encryption_key/);
      }
    });
  });
}

describe('encryption_key', () => {
  const key = newKey();
  const wrong: [string, unknown][] = [
    ['a short key', key.slice(4)],
    ['hexadecimal', randomBytes(32).toString('hex')],
    ['no key', []],
    ['a key twice', [key, key]],
  ];
  for (const [what, encryption_key] of wrong) {
    it(`is refused where it is ${what}`, async () => {
      const error = await startApi({ encryption_key }).then(
        async (api) => {
          await api.close();
          return undefined;
        },
        (thrown: Error) => thrown,
      );
      expect(error?.message).to.include('encryption_key');
      expect(error?.message).not.to.include(key);
    });
  }
});

describe('encrypting again', () => {
  const limits = {
    idleTimeout: 60,
    absoluteTimeout: 0,
    maxData: 1000,
    maxPerUser: 0,
    record: ['ip'],
  } as const;
  const [old, next] = [newKey(), newKey()];
  let folder: string;
  let store: EmbeddedStore;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sessman-'));
    store = EmbeddedStore.open(folder);
  });
  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });

  /** The fingerprints of all keys in use, for each record. */
  const used = async () => (await store.sealed(1000)).map((sealed) => keysOf(sealed).sort().join());

  it('goes over more than one step of records, and counts each once', async () => {
    const both = new Keyring([old, 'plain']);
    const sessions = [new Sessions(store, limits), new Sessions(encryptStore(store, both), limits)];
    const ids = await Promise.all(
      Array.from({ length: 230 }, (_, n) =>
        sessions[n % 2]!.create('mary', { n }, undefined, { ip: '::1', about: { n } }),
      ),
    );
    const keys = new Keyring([next, old, 'plain']);
    const ending = new AbortController();
    const running = runReencryption(store, keys, { signal: ending.signal });
    const counts = async () => (await store.fact<KeyCounts>('records-by-key'))?.counts;
    while ((await counts())?.[keys.first] === undefined) await sleep(2);
    expect(await counts()).to.deep.equal({ [keys.first]: 230, [fingerprintOf(old)]: 0, plain: 0 });
    ending.abort();
    await running;
    expect(await store.fact('hosts')).to.deep.equal({});
    expect(new Set(await used())).to.deep.equal(new Set([keys.first]));
    const alone = new Sessions(encryptStore(store, new Keyring([next])), limits);
    for (const [n, { id }] of ids.entries()) expect((await alone.get(id)).data).to.equal(`{"n":${n}}`);
    expect((await alone.list('mary')).map(({ ip }) => ip)).to.deep.equal(ids.map(() => '::1'));
  });

  it('replaces nothing that it cannot open, and nothing while another host does not list the key', async () => {
    await new Sessions(encryptStore(store, new Keyring([old])), limits).create('mary', { a: 1 });
    const before = await used();
    const until = Date.now() + 60_000;
    await store.changeFact('hosts', () => ({ other: { fingerprints: [fingerprintOf(old)], until } }));
    for (const keys of [
      [next, 'plain'],
      [next, old],
    ]) {
      const ending = new AbortController();
      const running = runReencryption(store, new Keyring(keys), { signal: ending.signal });
      const first = fingerprintOf(next);
      const counted = async () => (await store.fact<KeyCounts>('records-by-key'))?.counts[first];
      while ((await counted()) === undefined) await sleep(2);
      expect((await store.fact<KeyCounts>('records-by-key'))!.counts).to.include({
        [first]: 0,
        [fingerprintOf(old)]: 1,
      });
      ending.abort();
      await running;
      expect(await used()).to.deep.equal(before);
      await store.changeFact('records-by-key', () => ({ first: '', counts: {} }));
    }
    expect(await store.fact('hosts')).to.have.keys('other');
  });

  it('reports each outage once, and goes on after it', async () => {
    let attempts = 0;
    let passed = 0;
    const failing: EmbeddedStore = Object.create(store, {
      changeFact: {
        value: (...args: Parameters<EmbeddedStore['changeFact']>) => {
          attempts += 1;
          return attempts < 3 || attempts === 6
            ? Promise.reject(new Error('it is broken'))
            : store.changeFact(...args);
        },
      },
    });
    const told: unknown[] = [];
    const ending = new AbortController();
    const onError = (error: unknown) => told.push((error as Error).message);
    for (const name of ['fact', 'lease', 'sealed', 'isRaised', 'raise', 'replaceSealed'] as const)
      Object.defineProperty(failing, name, { value: store[name].bind(store) });
    const running = runReencryption(failing, new Keyring([next]), {
      signal: ending.signal,
      onError,
      now: () => Date.now() + passed,
    });
    const counts = () => Object.keys(store.fact<KeyCounts>('records-by-key')?.counts ?? {});
    while (counts().length === 0) await sleep(2);
    passed = 60_000;
    while (attempts < 7) await sleep(2);
    ending.abort();
    await running;
    expect(told).to.deep.equal(['it is broken', 'it is broken']);
  });
});

describe('an encrypted store', () => {
  const now = Date.now();
  const keys = new Keyring([newKey(), 'plain']);
  let store: EmbeddedStore;
  let close: () => Promise<void>;
  beforeEach(async () => {
    ({ store, close } = await openTemporary());
  });
  afterEach(() => close());

  it('keeps off versions that know no encryption before its first write, and writes nothing until it has', async () => {
    const change = { touched: now, expires: now + 1e6 };
    for (const [name, act] of <[string, (on: Store, record: SessionRecord) => Promise<unknown>][]>[
      ['insert', (on) => on.insert(recordAt(now))],
      ['write', (on, { handle }) => on.write({ handle, now }, { ...change, data: '{"b":1}' })],
      ['rewrite', (on, { handle }) => on.rewrite({ handle, now }, change, () => '{"b":1}')],
      ['replaceSealed', (on, { handle }) => on.replaceSealed({ handle, data: '{}' }, { handle, data: 'x' })],
    ]) {
      const record = recordAt(now);
      await store.insert(record);
      const count = store.count();
      let raisings = 0;
      const on = encryptStore(
        instead(store, {
          async raise() {
            raisings += 1;
            if (raisings === 1) throw new Error('it cannot be written');
          },
        }),
        keys,
      );
      const refused = await act(on, record).catch((error: Error) => error.message);
      expect(refused, name).to.equal('it cannot be written');
      expect([(await store.read(record.handle, now))?.data, store.count()]).to.deep.equal(['{}', count]);
      expect([await act(on, record), raisings], name).to.satisfy(([done, n]: unknown[]) => done && n === 2);
    }
    await encryptStore(store, keys).insert(recordAt(now));
    expect(store.isRaised()).to.equal(true);
  });
});

describe('Keyring', () => {
  const key = newKey();
  const handle = 'mJ8tV5cB2nQ0xYw7';
  const keys = new Keyring([key]);
  const recordKey = createHmac('sha256', Buffer.from(key, 'base64')).update(`sessman-1${handle}`).digest();
  const mark = `\u0001${fingerprintOf(key)}`;
  const text = JSON.stringify({ name: 'Zoë', emoji: '🔑'.repeat(300) });

  it('seals with AES-256-GCM under the HMAC of the handle, and authenticates field and handle', () => {
    const sealed = keys.seal('data', handle, text);
    expect(sealed.startsWith(mark)).to.equal(true);
    const bytes = Buffer.from(sealed.slice(mark.length), 'base64');
    const decipher = createDecipheriv('aes-256-gcm', recordKey, bytes.subarray(0, 12));
    decipher.setAAD(Buffer.from(`data${handle}`));
    decipher.setAuthTag(bytes.subarray(12, 28));
    expect(decipher.update(bytes.subarray(28), undefined, 'utf8') + decipher.final('utf8')).to.equal(text);
    expect(keys.seal('data', handle, text)).not.to.equal(sealed);
  });

  it('opens what was sealed so, and nothing that was changed or stands in another place', () => {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', recordKey, nonce);
    cipher.setAAD(Buffer.from(`data${handle}`));
    const encrypted = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    const bytes = Buffer.concat([nonce, cipher.getAuthTag(), encrypted]);
    const sealed = mark + bytes.toString('base64');
    expect(keys.open('data', handle, sealed)).to.equal(text);
    expect(keys.open('about', handle, sealed)).to.equal(undefined);
    expect(keys.open('data', `${handle.slice(1)}x`, sealed)).to.equal(undefined);
    bytes[bytes.length - 1]! ^= 1;
    expect(keys.open('data', handle, mark + bytes.toString('base64'))).to.equal(undefined);
    bytes[bytes.length - 1]! ^= 1;
    for (let length = 0; length < bytes.length; length += length < 32 ? 1 : 97)
      expect(keys.open('data', handle, mark + bytes.toString('base64', 0, length))).to.equal(undefined);
    expect(keys.open('data', handle, sealed.replace(mark, `\u0001${fingerprintOf(newKey())}`))).to.equal(
      undefined,
    );
  });

  it('opens what earlier versions sealed, and knows their keys by the same fingerprints', () => {
    const earlier = Buffer.from(Array.from({ length: 32 }, (_, n) => n)).toString('base64');
    const sealed = '\u000125a61af4040aYBTjQzRLBCczFZ5YbQDM1vVf+mTW7Xd6p0TQsrlBSrX1B9CcpYWY9g23qg==';
    expect(fingerprintOf(earlier)).to.equal('25a61af4040a');
    expect(new Keyring([key, earlier]).open('about', handle, sealed)).to.equal('{"name":"Zoë"}');
  });

  it('seals with its first key, and opens with each', () => {
    const [one, two] = [newKey(), newKey()];
    const clear = '{"a":1}';
    for (const list of [[one], [two, one], [one, 'plain'], ['plain', one], ['plain']]) {
      const ring = new Keyring(list);
      expect(ring.first).to.equal(fingerprintOf(list[0]!));
      expect(ring.fingerprints).to.deep.equal(list.map(fingerprintOf));
      expect(ring.encrypts).to.equal(list.some((each) => each !== 'plain'));
      const sealed = ring.seal('ip', handle, clear);
      expect(sealed === clear).to.equal(list[0] === 'plain');
      expect(sealedWith(sealed)).to.equal(ring.first);
      for (const each of [one, two, 'plain']) {
        const opened = ring.open('ip', handle, new Keyring([each]).seal('ip', handle, clear));
        expect(opened, `${each} by ${list}`).to.equal(list.includes(each) ? clear : undefined);
      }
    }
  });

  it('seals texts of every length, and each with another nonce', () => {
    const nonces = new Set<string>();
    const open = (text: string) => {
      const sealed = keys.seal('data', handle, text);
      nonces.add(sealed.slice(mark.length, mark.length + 16));
      expect(keys.open('data', handle, sealed) === text, `${text.length} characters`).to.equal(true);
    };
    for (let length = 0; length < 600; length++) open('ü'.repeat(length));
    for (let length = 16_350; length < 16_390; length++) open('x'.repeat(length));
    expect(nonces.size).to.equal(640);
  });
});
