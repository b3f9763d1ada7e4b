import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import type { Document } from 'mongodb';
import { sharedMongo } from '../../../support/mongodb.js';
import { ServerProcess } from '../../../support/process.js';
import { type MongoRelay, startMongoRelay } from '../support/mongo-relay.js';

/** Logs every end that its worker hears of. */
const ears = `
  import { definePlugin } from 'plugin-server';
  export default definePlugin({
    after: ['sessman'],
    setup({ plugin, log }) {
      plugin('sessman').on('ended', ({ handle, reason }) =>
        log.info({ worker: process.pid, ended: handle ?? reason }, 'heard'));
    },
  });`;

/** Of which process of this machine the other end of a socket is. */
function processOf(socket: Socket, pids: readonly number[]): number | undefined {
  const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, '0');
  const [local, remote] = [`:${hex(socket.remotePort!)}`, `:${hex(socket.localPort!)}`];
  const row = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .find(([, from, to]) => from?.endsWith(local) && to?.endsWith(remote));
  const link = `socket:[${row?.[9]}]`;
  return pids.find((pid) =>
    readdirSync(`/proc/${pid}/fd`).some((fd) => linkOf(`/proc/${pid}/fd/${fd}`) === link),
  );
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

for (const store of ['embedded', 'mongodb'] as const) {
  describe(`workers hear of ends on the ${store} store`, () => {
    let server: ServerProcess;
    let relay: MongoRelay | undefined;
    let onCommand: (command: Document, pid: number) => Document | undefined = () => undefined;
    before(async () => {
      let settings: object = {};
      if (store === 'mongodb') {
        const { host, user, password, database } = await (await sharedMongo()).createDatabase();
        const pids = new Map<Socket, number>();
        relay = await startMongoRelay(host, (command, from) => {
          const pid = pids.get(from) ?? (server && processOf(from, server.workers()));
          if (pid === undefined) return undefined;
          pids.set(from, pid);
          return onCommand(command, pid);
        });
        settings = { server_url: relay.url, username: user, password, database };
      }
      server = await ServerProcess.start({
        ini: '[network]\nworkers=int:2\n[paths]\nplugins=plugins\n[plugin_parms]\nsessman=json=sessman.json\n',
        files: { 'sessman.json': JSON.stringify(settings), 'plugins/ears.mjs': ears },
      });
    });
    after(async () => {
      await server?.close();
      relay?.close();
    });

    /** Over a connection of its own, so that no call waits for a worker that does not run. */
    const post = async (path: string, headers: Record<string, string> = {}) => {
      const sent = request(`${server.url}/sessman/${path}`, { method: 'POST', agent: false, headers }).end();
      const [response] = (await once(sent, 'response')) as [IncomingMessage];
      expect(response.statusCode).to.equal(200);
      return JSON.parse(await text(response)) as { session_id: string; handle: string };
    };
    /** Workers that hear of an end, as soon as two of the living have. */
    const heardBy = async (ended: string, from = 0): Promise<Set<number>> => {
      const pids = new Set<number>();
      await server.until((line) => {
        if (line.msg === 'heard' && line.ended === ended) pids.add(line.worker as number);
        return pids.size === 2;
      }, from);
      return pids;
    };
    const end = async () => {
      const { session_id, handle } = await post('new?userid=ann');
      await post('end', { 'X-Session-Id': session_id });
      return handle;
    };
    /** Resolves when another worker has taken its place. */
    const kill = async (pid: number) => {
      const before = server.workers();
      const from = server.logs.length;
      process.kill(pid, 'SIGKILL');
      await server.until((line) => line.msg === 'heard' && !before.includes(line.worker as number), from);
    };

    it('in both workers', async () => {
      expect([...(await heardBy(await end()))]).to.have.members(server.workers());
    });

    it('a worker also of what happened before it took the place of a killed one', async () => {
      const [victim, other] = server.workers();
      process.kill(victim!, 'SIGSTOP');
      const handle = await end();
      await post('end_all?everyone=true');
      const from = server.logs.length;
      process.kill(victim!, 'SIGKILL');
      for (const ended of [handle, 'everyone']) {
        await server.until(
          (line) => line.msg === 'heard' && line.ended === ended && line.worker !== other,
          from,
        );
      }
    });

    if (store === 'mongodb') {
      /** The workers that sent the next few commands of a kind. */
      const sendersOf = (isMeant: (command: Document) => boolean, count: number): Promise<Set<number>> =>
        new Promise((resolve) => {
          const pids: number[] = [];
          onCommand = (command, pid) => {
            if (isMeant(command) && pids.push(pid) === count) resolve(new Set(pids));
            return undefined;
          };
        });
      const asksForChanges = ({ getMore, collection }: Document) =>
        getMore && collection === '$cmd.aggregate';
      const looksForEnds = ({ find, filter }: Document) =>
        find === 'sessions' && JSON.stringify(filter).includes('ended_at');
      let reader: number | undefined;

      it('by the change stream of one of them, without asking for ends', async () => {
        await heardBy(await end());
        const polls: Document[] = [];
        let isSettled = false;
        const senders = await sendersOf((command) => {
          if (looksForEnds(command) && isSettled) polls.push(command);
          isSettled ||= asksForChanges(command);
          return asksForChanges(command);
        }, 4);
        expect(senders.size).to.equal(1);
        expect(polls).to.deep.equal([]);
        [reader] = senders;
      });

      it('by that of another one once it was killed', async () => {
        await kill(reader!);
        const handle = await end();
        expect([...(await heardBy(handle))]).to.have.members(server.workers());
        const senders = await sendersOf(asksForChanges, 2);
        expect(senders.size).to.equal(1);
        expect([...senders]).not.to.include(reader);
      });

      it('also of an end between a change stream that is lost and the next one', async () => {
        let handle: string | undefined;
        let isLost = false;
        const lost = new Promise<void>((resolve) => {
          onCommand = (command) => {
            if (asksForChanges(command) && handle === undefined) {
              isLost = true;
              resolve();
              return { ok: 0, code: 286, codeName: 'ChangeStreamHistoryLost', errmsg: 'the history is lost' };
            }
            const opens = command.aggregate === 1 && isLost && handle === undefined;
            return opens ? { ok: 0, code: 11602, codeName: 'Interrupted', errmsg: 'not yet' } : undefined;
          };
        });
        await lost;
        const ended = await end();
        handle = ended;
        expect([...(await heardBy(ended))]).to.have.members(server.workers());
      });

      it('by one poll a host where the server refuses change streams', async () => {
        const refusals: number[] = [];
        const polls: number[] = [];
        const polled = new Promise<void>((resolve) => {
          onCommand = (command, pid) => {
            if (looksForEnds(command) && refusals.length > 0 && polls.push(pid) === 10) resolve();
            if (command.aggregate === 1 || asksForChanges(command)) {
              if (command.aggregate === 1) refusals.push(pid);
              return {
                ok: 0,
                code: 40573,
                codeName: 'Location40573',
                errmsg: 'only supported on replica sets',
              };
            }
            return undefined;
          };
        });
        await polled;
        const handle = await end();
        expect([...(await heardBy(handle))]).to.have.members(server.workers());
        expect(new Set(refusals).size, 'asked once').to.equal(refusals.length);
        // The one that joins, or misses something, reads once by itself.
        const [most = 0] = server
          .workers()
          .map((worker) => polls.filter((pid) => pid === worker).length)
          .sort((a, b) => b - a);
        expect(polls.length - most).to.be.below(4);
      });
    }
  });
}
