import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Listening, ProcessSettings } from '../ipc/messages.js';
import type { Generation } from './generation.js';
import { ListeningSocket } from './listening-socket.js';
import { StartFailure } from './start-failure.js';
import type { WorkerProcess } from './worker-process.js';

/** How often another free port is tried that several addresses can share. */
const portTries = 5;

/** The sockets of one generation. A socket that the next one wants too is used again. */
export class ListeningSockets {
  private constructor(
    /** For everybody. */
    readonly main: readonly ListeningSocket[],
    /** For operators; empty without [admin]. */
    readonly admin: readonly ListeningSocket[],
    /** Between the process that serves `admin` and the workers. */
    readonly relay: ListeningSocket | undefined,
  ) {}

  /**
   * Binds the addresses that `before` does not have, and has a worker claim them. Rejects with a StartFailure; nothing is
   * left bound then.
   */
  static async claim(
    { addresses, admin = [] }: ProcessSettings,
    generation: Generation,
    before: ListeningSockets | undefined,
    listenFd: number | undefined,
  ): Promise<ListeningSockets> {
    const bound: ListeningSocket[] = [];
    const claim = async (sockets: readonly ListeningSocket[]) => {
      bound.push(...sockets);
      for (const socket of sockets) if (socket.needsClaim) await generation.claim(socket);
      return sockets;
    };
    try {
      const main =
        listenFd === undefined
          ? await bindAll(addresses, before?.main ?? [], claim)
          : (before?.main ?? [await ListeningSocket.bind({ fd: listenFd })]);
      const operators = await bindAll(admin, before?.admin ?? [], claim);
      if (operators.length === 0) return new ListeningSockets(main, operators, undefined);
      const [relay] = before?.relay === undefined ? await claim([await bindRelay()]) : [before.relay];
      return new ListeningSockets(main, operators, relay);
    } catch (error) {
      for (const socket of bound) socket.close();
      throw error;
    }
  }

  /** Those that a process accepts from, in the order of their indexes. */
  of({ isFront }: WorkerProcess): readonly ListeningSocket[] {
    if (isFront) return this.admin;
    return this.relay === undefined ? this.main : [...this.main, this.relay];
  }

  get all(): readonly ListeningSocket[] {
    return [...this.main, ...this.admin, ...(this.relay === undefined ? [] : [this.relay])];
  }

  /** Of the relay. */
  get relayPath(): string | undefined {
    return this.relay && 'path' in this.relay.address ? this.relay.address.path : undefined;
  }

  /** Those that `other` does not have. */
  without(other: ListeningSockets | undefined): readonly ListeningSocket[] {
    return this.all.filter((socket) => other?.all.includes(socket) !== true);
  }
}

/** Several addresses with the port 0 get the same port. */
async function bindAll(
  addresses: readonly Listening[],
  before: readonly ListeningSocket[],
  claim: (sockets: readonly ListeningSocket[]) => Promise<unknown>,
): Promise<readonly ListeningSocket[]> {
  const kept = before.filter((socket) => addresses.some(({ address }) => socket.serves(address)));
  for (let tries = 1; ; tries += 1) {
    const sockets: ListeningSocket[] = [];
    try {
      for (const { address, ...purpose } of addresses) {
        const known = kept.find((socket) => socket.serves(address));
        const port = [...kept, ...sockets].map(freePortOf).find((each) => each !== undefined);
        sockets.push(known ?? (await ListeningSocket.bind(address, purpose, port)));
      }
    } catch (error) {
      const fresh = sockets.filter((socket) => !before.includes(socket));
      for (const socket of fresh) socket.close();
      // Another program has that port at another of the addresses.
      if (tries < portTries && fresh.some((socket) => freePortOf(socket) !== undefined)) continue;
      throw error;
    }
    await claim(sockets.filter((socket) => !before.includes(socket)));
    return sockets;
  }
}

/** The port that was taken for a port 0. */
function freePortOf({ wanted, address }: ListeningSocket): number | undefined {
  return 'port' in wanted && wanted.port === 0 && 'port' in address ? address.port : undefined;
}

/** A Unix socket in a folder that only this user may enter. */
async function bindRelay(): Promise<ListeningSocket> {
  let folder: string;
  try {
    folder = mkdtempSync(join(tmpdir(), 'plugin-server-'));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartFailure(
      `[admin] requires a folder for a Unix socket, and none can be created in ${tmpdir()} (${code}); set TMPDIR to a folder that this user may write.`,
    );
  }
  try {
    return await ListeningSocket.bind({ path: join(folder, 'relay.sock') }, { relayed: true, folder });
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
