import { on, once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import sinon from 'sinon';
import { Session, type SessionEvent } from '../../../../plugins/sessman/client/client.js';
import { type Api, apiKey, aUser, startApi } from '../support/api.js';

describe("the client's watch, outside a browser", () => {
  let api: Api;
  before(async () => {
    api = await startApi({}, { ini: `[auth]\napikey=${apiKey}\n` });
  });
  after(() => api?.close());

  const options = () => ({ base_url: `${api.server.url}/sessman`, auth: apiKey });

  it('tells of the state, of each change, and of the end with its reason', async () => {
    const session = await Session.create(aUser(), options());
    const { next, events } = watched(session);
    expect(await next()).to.deep.equal({
      type: 'session',
      version: 1,
      updated_at: session.updated_at,
      expires_at: session.expires_at,
    });
    const elsewhere = await Session.open(session.user, session.session_id!, options());
    await elsewhere.patch({ seen: true });
    expect(await next()).to.include({ type: 'session', version: 2, updated_at: elsewhere.updated_at });
    await elsewhere.end();
    expect(await next()).to.deep.equal({ type: 'end', reason: 'end' });
    expect(events).to.have.length(3);
  });

  it('goes on over its own renewal, and says that the session is gone to whoever has the old id', async () => {
    const session = await Session.create(aUser(), options());
    const thief = await Session.open(session.user, session.session_id!, options());
    // The shortest pauses there are.
    sinon.stub(Math, 'random').returns(0);
    const { next } = watched(thief);
    expect(await next()).to.include({ type: 'session' });
    const owner = watched(session);
    expect(await owner.next()).to.include({ type: 'session' });
    await session.renew();
    expect(await next()).to.deep.equal({ type: 'end', reason: 'gone' });
    await session.patch({ seen: true });
    let event = await owner.next();
    while (event.type === 'session' && event.version < 2) event = await owner.next();
    expect(event).to.include({ type: 'session', version: 2 });
    owner.stop();
  }).timeout(30_000);
  afterEach(() => sinon.restore());

  it('tells nothing once it is stopped, whether it has begun or not', async () => {
    const session = await Session.create(aUser(), options());
    const early = watched(session);
    early.stop();
    const begun = watched(session);
    await begun.next();
    begun.stop();
    const other = watched(session);
    await other.next();
    await session.end();
    expect(await other.next()).to.deep.equal({ type: 'end', reason: 'end' });
    expect([early.events.length, begun.events.length]).to.deep.equal([0, 1]);
  });
});

/** Here the responses are written by hand. */
describe("the client's watch, reading one stream after another", () => {
  let streams: Streams;
  let pauses: number[];
  /** The timers of the longest silence, and what each would do. */
  let silences: { timer: NodeJS.Timeout; end: () => void }[];
  beforeEach(async () => {
    streams = await serveStreams();
    pauses = [];
    silences = [];
    const { setTimeout } = globalThis;
    sinon.stub(Math, 'random').returns(0.5);
    sinon.stub(globalThis, 'setTimeout').callsFake(((
      wake: () => void,
      milliseconds: number,
      ...given: []
    ) => {
      // The timers of fetch itself.
      if (milliseconds < 1000 || given.length > 0) return setTimeout(wake, milliseconds, ...given);
      const timer = setTimeout(wake, milliseconds === 45_000 ? milliseconds : 0);
      if (milliseconds === 45_000) silences.push({ timer, end: wake });
      else pauses.push(milliseconds);
      return timer;
    }) as typeof setTimeout);
  });
  afterEach(() => {
    sinon.restore();
    streams.close();
  });

  const watchStreams = () => watched(new Session('mary', { base_url: streams.url }));

  it('tells each event however it is cut, and no comment, and reads no more after the end', async () => {
    const cleared = sinon.spy(globalThis, 'clearTimeout');
    const { events, next } = watchStreams();
    const [request, first] = await streams.next();
    expect(request.url).to.equal('/sessman/watch');
    // As fetch does it for what no cache may answer.
    expect(request.headers['cache-control']).to.equal('no-cache');
    for (const part of [
      ': one com',
      'ment\n\nevent: session\ndata: {"ver',
      'sion":1}\n',
      '\nevent: session\n\ndata: {"version":2}\n\nno field\nevent:other\ndata:{"version":3,"type":"x"}\n\nretry: 1234\n\nevent: session\ndata: {"version":4}\n\n',
    ])
      await new Promise<void>((written) => first.write(part, () => written())).then(() => setImmediate());
    for (const expected of [
      { type: 'session', version: 1 },
      { type: 'other', version: 3 },
      { type: 'session', version: 4 },
    ])
      expect(await next()).to.deep.equal(expected);
    first.end('event: session\ndata: {"version":5}');
    const [, second] = await streams.next();
    expect(pauses).to.deep.equal([1234]);
    const closed = once(second, 'close');
    second.end('event: end\ndata: {"reason":"limit"}\n\nevent: session\ndata: {"version":6}\n\n');
    expect(await next()).to.deep.equal({ type: 'end', reason: 'limit' });
    await closed;
    // A timer that is left would keep a program from ending.
    for (const { timer } of silences) expect(cleared.calledWith(timer)).to.equal(true);
    expect([events.length, streams.asked, pauses.length]).to.deep.equal([4, 2, 1]);
  });

  it('tells the rest after data that are not JSON in another stream', async () => {
    const { next, stop } = watchStreams();
    (await streams.next())[1].write('event: session\ndata: {\n\n');
    (await streams.next())[1].write('event: session\ndata: {"version":1}\n\n');
    expect(await next()).to.deep.equal({ type: 'session', version: 1 });
    stop();
  });

  it('waits longer and longer while it is refused, and shortly once it was not', async () => {
    const { next, stop } = watchStreams();
    for (const status of [503, 503, 500, 503, 503, 503, 200, 429]) {
      const [, response] = await streams.next();
      response.writeHead(status).end();
    }
    (await streams.next())[1].write('event: session\ndata: {"version":1}\n\n');
    await next();
    stop();
    expect(pauses).to.deep.equal([3000, 6000, 12_000, 24_000, 48_000, 48_000, 3000, 3000]);
  });

  it('waits longer and longer while nothing listens', async () => {
    const { next, stop } = watchStreams();
    for (let times = 0; times < 2; times += 1) (await streams.next())[0].destroy();
    (await streams.next())[1].write('event: session\ndata: {"version":1}\n\n');
    await next();
    stop();
    expect(pauses).to.deep.equal([3000, 6000]);
  });

  for (const [statuses, asked] of <const>[
    [[401, 401], 2],
    [[404, 404], 2],
    [[401, 404, 401], 3],
    [[404, 503, 404], 3],
    [[401, 404, 200, 404, 401, 401], 6],
  ])
    it(`says that the session is gone after two refusals of one kind: ${statuses}`, async () => {
      const { next, events } = watchStreams();
      for (const status of statuses) (await streams.next())[1].writeHead(status).end();
      expect(await next()).to.deep.equal({ type: 'end', reason: 'gone' });
      expect([events.length, streams.asked]).to.deep.equal([1, asked]);
    });

  it('asks again after a long silence, which each byte ends', async () => {
    const { next, stop } = watchStreams();
    const cleared = sinon.spy(globalThis, 'clearTimeout');
    const [, first] = await streams.next();
    first.write('event: session\ndata: {"version":1}\n\n');
    await next();
    first.write(': still here\n\nevent: session\ndata: {"version":2}\n\n');
    await next();
    expect(silences).to.have.length(3);
    const closed = once(first, 'close');
    silences.at(-1)!.end();
    await closed;
    (await streams.next())[1].write('event: session\ndata: {"version":3}\n\n');
    expect(await next()).to.deep.equal({ type: 'session', version: 3 });
    for (const { timer } of silences.slice(0, -1)) expect(cleared.calledWith(timer)).to.equal(true);
    stop();
  });

  it('closes the connection as it is stopped, and asks no more', async () => {
    const { stop } = watchStreams();
    const [, open] = await streams.next();
    open.write(': open\n\n');
    stop();
    await once(open, 'close');
    await setImmediate();
    // The lock of another tab would wait for it.
    expect(pauses).to.be.empty;
    // Stopped between two requests.
    const paused = watchStreams();
    const [, refusing] = await streams.next();
    refusing.writeHead(503).end();
    while (pauses.length === 0) await setImmediate();
    paused.stop();
    const last = watchStreams();
    const [, response] = await streams.next();
    response.write('event: session\ndata: {"version":1}\n\n');
    await last.next();
    last.stop();
    expect([paused.events.length, streams.asked]).to.deep.equal([0, 3]);
  });
});

/** A page of a browser as far as `watch` sees it. Real ones are in browsers.test.ts. */
describe("the client's watch, in the tabs of a page", () => {
  let streams: Streams;
  let page: FakePage;
  beforeEach(async () => {
    streams = await serveStreams();
  });
  afterEach(() => {
    page.close();
    streams.close();
  });

  const watchStreams = (name = 'mary') =>
    watched(Object.assign(new Session(name, { base_url: streams.url }), { handle: name }));
  const version = (number: number) => `event: session\ndata: {"version":${number}}\n\n`;

  it('one tab reads for all, tells the state to those that come later, and is followed by the next', async () => {
    page = openPage({ locks: true });
    const first = watchStreams();
    const [, stream] = await streams.next();
    stream.write(version(1));
    await first.next();
    const second = watchStreams();
    expect(await second.next()).to.deep.equal({ type: 'session', version: 1 });
    stream.write(version(2));
    for (const { next } of [first, second])
      expect(await next()).to.deep.equal({ type: 'session', version: 2 });
    // The session of somebody else.
    const other = watchStreams('eve');
    (await streams.next())[1].write(version(7));
    expect(await other.next()).to.deep.equal({ type: 'session', version: 7 });
    first.stop();
    await once(stream, 'close');
    const [, following] = await streams.next();
    following.write(`${version(3)}event: end\ndata: {"reason":"end"}\n\n`);
    expect(await second.next()).to.deep.equal({ type: 'session', version: 3 });
    expect(await second.next()).to.deep.equal({ type: 'end', reason: 'end' });
    other.stop();
    expect([first, second, other].map(({ events }) => events.length)).to.deep.equal([2, 4, 1]);
    expect(streams.asked).to.equal(3);
  });

  it('an end that one tab reads is told in all', async () => {
    page = openPage({ locks: true });
    const tabs = [watchStreams(), watchStreams()];
    const [, stream] = await streams.next();
    stream.write(version(1));
    for (const { next } of tabs) await next();
    stream.write('event: end\ndata: {"reason":"login"}\n\n');
    for (const { next } of tabs) expect(await next()).to.deep.equal({ type: 'end', reason: 'login' });
    await once(stream, 'close');
    expect(streams.asked).to.equal(1);
  });

  it('without locks, a tab reads while it is visible', async () => {
    page = openPage({ locks: false, visibilityState: 'hidden' });
    const { next, stop } = watchStreams();
    const elsewhere = fetch(streams.url);
    const [, answer] = await streams.next();
    answer.end();
    await elsewhere;
    expect(streams.asked).to.equal(1);
    page.show('visible');
    const [, first] = await streams.next();
    first.write(version(1));
    await next();
    page.show('visible');
    page.show('hidden');
    await once(first, 'close');
    page.show('visible');
    const [, second] = await streams.next();
    second.write(version(2));
    expect(await next()).to.deep.equal({ type: 'session', version: 2 });
    stop();
    await once(second, 'close');
    page.show('hidden');
    page.show('visible');
    expect(streams.asked).to.equal(3);
  });

  it('with locks, a hidden tab reads as well', async () => {
    page = openPage({ locks: true, visibilityState: 'hidden' });
    const { next, stop } = watchStreams();
    const [, stream] = await streams.next();
    page.show('hidden');
    stream.write(version(1));
    await next();
    stop();
  });

  for (const locks of [true, false])
    it(`releases everything while the page is left, and reads the session when it is back, ${locks ? 'with' : 'without'} locks`, async () => {
      page = openPage({ locks });
      const { next, stop, events } = watchStreams();
      const [, first] = await streams.next();
      first.write(version(1));
      await next();
      page.leave();
      await once(first, 'close');
      page.return(false);
      page.return(true);
      const [read, answer] = await streams.next();
      expect(read.url).to.equal('/sessman/get');
      // What it says does not matter as long as it does not say that the session has ended.
      answer.writeHead(503).end('{"code":"store_unavailable","error":"No."}');
      const [watching, second] = await streams.next();
      expect(watching.url).to.equal('/sessman/watch');
      second.write(version(2));
      expect(await next()).to.deep.equal({ type: 'session', version: 2 });
      page.leave();
      page.return(true);
      const [, ended] = await streams.next();
      ended.writeHead(404).end('{"code":"session_not_found","error":"No."}');
      expect(await next()).to.deep.equal({ type: 'end', reason: 'gone' });
      page.leave();
      page.return(true);
      stop();
      const other = watchStreams('eve');
      expect((await streams.next())[0].url).to.equal('/sessman/watch');
      other.stop();
      expect([events.length, streams.asked]).to.deep.equal([3, 5]);
    });
});

type Exchange = [IncomingMessage, ServerResponse];

/** A server whose responses the test writes. */
interface Streams {
  readonly url: string;
  /** How many requests there were. */
  readonly asked: number;
  next(): Promise<Exchange>;
  close(): void;
}

async function serveStreams(): Promise<Streams> {
  let asked = 0;
  const server = createServer(() => {
    asked += 1;
  });
  const requests = on(server, 'request');
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/sessman`,
    get asked() {
      return asked;
    },
    next: async () => (await requests.next()).value as Exchange,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

interface FakePage {
  show(visibilityState: string): void;
  leave(): void;
  /** @param persisted whether the page comes from the back-forward cache */
  return(persisted: boolean): void;
  close(): void;
}

function openPage({
  locks,
  visibilityState = 'visible',
}: {
  locks: boolean;
  visibilityState?: string;
}): FakePage {
  const window = new EventTarget();
  const document = Object.assign(new EventTarget(), { visibilityState });
  const turns = new Map<string, Promise<void>>();
  /** One holder of each name at a time, in the order in which they asked. */
  const request = (name: string, { signal }: { signal: AbortSignal }, held: () => Promise<void>) => {
    const turn = (turns.get(name) ?? Promise.resolve()).then(() => {
      signal.throwIfAborted();
      return held();
    });
    turns.set(
      name,
      turn.catch(() => {}),
    );
    return turn;
  };
  const parts: Record<string, unknown> = {
    document,
    navigator: locks ? { locks: { request } } : undefined,
    addEventListener: window.addEventListener.bind(window),
  };
  const before = Object.keys(parts).map(
    (name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)] as const,
  );
  for (const [name, value] of Object.entries(parts))
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  return {
    show(state) {
      document.visibilityState = state;
      document.dispatchEvent(new Event('visibilitychange'));
    },
    leave: () => void window.dispatchEvent(new Event('pagehide')),
    return: (persisted) => void window.dispatchEvent(Object.assign(new Event('pageshow'), { persisted })),
    close() {
      for (const [name, descriptor] of before) {
        if (descriptor === undefined) delete (globalThis as Record<string, unknown>)[name];
        else Object.defineProperty(globalThis, name, descriptor);
      }
    },
  };
}

/** The events as they come, and the next one. */
function watched(session: Session) {
  const events: SessionEvent[] = [];
  let wake = () => {};
  const stop = session.watch((event) => {
    events.push(event);
    wake();
  });
  let read = 0;
  return {
    events,
    stop,
    async next(): Promise<SessionEvent> {
      while (events.length === read) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return events[read++]!;
    },
  };
}
