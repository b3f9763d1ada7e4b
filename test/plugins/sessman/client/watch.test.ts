import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { Session, type SessionEvent } from '../../../../plugins/sessman/client/client.js';
import { type Api, apiKey, aUser, startApi } from '../support/api.js';

describe("the client's watch, outside a browser", () => {
  let api: Api;
  before(async () => {
    api = await startApi({}, { ini: `[auth]\napikey=${apiKey}\n` });
  });
  after(() => api?.close());

  const options = () => ({ base_url: `${api.server.url}/sessman`, auth: apiKey });

  /** The events as they come, and the next one. */
  const watched = (session: Session) => {
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
  };

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

  it('waits longer and longer while the server has no room, and goes on once it has', async () => {
    const full = createServer((_request, response) => response.writeHead(503).end()).listen(0, '127.0.0.1');
    await once(full, 'listening');
    const { random } = Math;
    const asked: number[] = [];
    const made = await Session.create(aUser(), options());
    const session = await Session.open(made.user, made.session_id!, {
      ...options(),
      fetch: (url, init) => {
        if (!String(url).endsWith('/watch')) return fetch(url, init);
        asked.push(performance.now());
        return fetch(
          asked.length > 3 ? url : `http://127.0.0.1:${(full.address() as AddressInfo).port}`,
          init,
        );
      },
    });
    try {
      // The shortest pauses there are: no longer one comes by chance.
      Math.random = () => 0;
      const { next, stop } = watched(session);
      expect(await next()).to.include({ type: 'session', version: 1 });
      stop();
      const pauses = asked.slice(1).map((time, n) => time - asked[n]!);
      expect(pauses).to.have.length(3);
      // Timers may be a millisecond early.
      for (const [n, pause] of pauses.entries()) expect(pause).to.be.at.least(1000 * 2 ** n - 2);
    } finally {
      Math.random = random;
      full.close();
    }
  });

  it('asks once more after a 401 or a 404 before it says that the session is gone', async () => {
    const refusing = createServer((request, response) =>
      response.writeHead(Number(request.url!.slice(1))).end(),
    );
    await once(refusing.listen(0, '127.0.0.1'), 'listening');
    const { random } = Math;
    const made = await Session.create(aUser(), options());
    const askedOf = async (status: number, refusals: number) => {
      const url = `http://127.0.0.1:${(refusing.address() as AddressInfo).port}/${status}`;
      let asked = 0;
      const session = await Session.open(made.user, made.session_id!, {
        ...options(),
        fetch: (to, init) => fetch(String(to).endsWith('/watch') && ++asked <= refusals ? url : to, init),
      });
      const { next, stop } = watched(session);
      const event = await next();
      stop();
      return [event.type === 'end' ? event.reason : event.type, asked];
    };
    try {
      // The shortest pauses there are.
      Math.random = () => 0;
      for (const told of await Promise.all([askedOf(401, 1), askedOf(404, 1)]))
        expect(told).to.deep.equal(['session', 2]);
      for (const told of await Promise.all([askedOf(401, 3), askedOf(404, 3)]))
        expect(told).to.deep.equal(['gone', 2]);
    } finally {
      Math.random = random;
      refusing.close();
    }
  });

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
