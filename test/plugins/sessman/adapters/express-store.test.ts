import { promisify } from 'node:util';
import { expect } from 'chai';
import type { SessionData } from 'express-session';
import { SessmanStore } from '../../../../plugins/sessman/adapters/express.js';
import { startServer, type TestServer } from '../../../support/server.js';

describe('the store for express-session, by its own methods', () => {
  let sessman: TestServer;
  let store: SessmanStore;
  let sid: string;
  before(async () => {
    sessman = await startServer();
    store = new SessmanStore({ base_url: `${sessman.url}/sessman`, touch_after: 0 });
  });
  after(async () => {
    store?.close();
    await sessman?.close();
  });
  beforeEach(() => {
    sid = `sid ${Math.random()}`;
  });

  const get = () => promisify(store.get).call(store, sid) as Promise<SessionData | null>;
  const set = (data: object) => promisify(store.set).call(store, sid, data as SessionData);
  const touch = (data: object) => promisify(store.touch).call(store, sid, data as SessionData);
  const destroy = () => promisify(store.destroy).call(store, sid);
  const session = (data: object, cookie: object = {}) => ({
    cookie: { originalMaxAge: null, ...cookie },
    ...data,
  });

  it('has nothing under an unknown id, and takes its destruction and touch calmly', async () => {
    expect(await get()).to.equal(null);
    await destroy();
    await touch(session({}));
    expect(await get()).to.equal(null);
  });

  it('keeps what is set, and overwrites it with what is set anew', async () => {
    await set(session({ a: 1, b: 1 }));
    await set(session({ a: 2 }));
    expect(await get()).to.deep.equal(session({ a: 2 }));
  });

  it('keeps data whose cookie has an invalid expiry, of which express-session itself tells the application', async () => {
    await set(session({ a: 1 }, { originalMaxAge: Number.NaN, expires: new Date(Number.NaN) }));
    expect(await get()).to.deep.equal(session({ a: 1 }, { expires: null }));
    const error = await set(session({ a: Number.NaN })).catch((thrown: unknown) => thrown);
    expect(error).to.have.property('code', 'invalid_data');
  });

  it('has nothing after destroy', async () => {
    await set(session({ a: 1 }));
    await destroy();
    expect(await get()).to.equal(null);
  });

  it('does not set again what was got before it was destroyed', async () => {
    await set(session({ a: 1 }));
    const got = (await get())!;
    await destroy();
    const error = await set({ ...got, a: 2 }).catch((thrown: unknown) => thrown);
    expect(error, 'a copy is nothing that was got').to.equal(undefined);
    const again = (await get())!;
    await destroy();
    Object.assign(again, { a: 3 });
    expect(await set(again).catch((thrown: unknown) => thrown)).to.have.property('code', 'session_not_found');
    expect(await get()).to.equal(null);
  });

  it('carries out in their order calls that nobody waits for', async () => {
    const data = session({ n: 0 }) as unknown as SessionData & { n: number };
    const last = [1, 2, 3].map((n) => {
      data.n = n;
      return set(data);
    });
    await Promise.all([...last, destroy()]);
    expect(await get()).to.equal(null);
  });

  it('gives a session whose cookie lives for a time the end that follows from its last use', async () => {
    await set(session({}, { originalMaxAge: 60_000, expires: new Date(0) }));
    const first = Date.parse(`${(await get())!.cookie.expires}`);
    expect(first - Date.now()).to.be.within(55_000, 60_000);
    const got = (await get())!;
    do await touch(got);
    while (Date.parse(`${(await get())!.cookie.expires}`) === first);
    expect(Date.parse(`${(await get())!.cookie.expires}`)).to.be.greaterThan(first);
  });

  it('ends a session when the time of its cookie is over', async () => {
    await set(session({ a: 1 }, { originalMaxAge: 30 }));
    while ((await get()) !== null);
    // Nothing is left that a longer cookie could bring back.
    const answer = await sessman.fetch('/metrics');
    expect(await answer.text()).to.match(/sessman_sessions_ended_total\{[^}]*reason="end"[^}]*\} [1-9]/);
  });

  it('keeps the end of a cookie that has a fixed one', async () => {
    const expires = new Date(Date.now() + 60_000).toISOString();
    await set(session({}, { expires }));
    expect((await get())!.cookie.expires).to.equal(expires);
    await set(session({}, { expires: new Date(0) }));
    expect(await get()).to.equal(null);
  });

  it('does not catch what a callback throws', async () => {
    const thrown = new Error('of the callback');
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    const seen = new Promise((resolve) => process.once('uncaughtException', resolve));
    store.get(sid, () => {
      throw thrown;
    });
    expect(await seen).to.equal(thrown);
    for (const listener of listeners) process.on('uncaughtException', listener);
  });
});
