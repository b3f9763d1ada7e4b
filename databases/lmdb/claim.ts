import { once } from 'node:events';
import { closeSync, constants, openSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { StoreFileError } from './check-file.js';
import { makeFolder, type StoreLayout } from './folder.js';

/** Tells the processes of other containers that this one uses a store. */
export interface Claim {
  /** May be called twice. */
  release(): Promise<void>;
}

/**
 * Claims the folder of a store for the pid namespace of this process, so that no container opens it beside another one: LMDB
 * tells processes apart by their pids, which are alike in two containers. Any number of processes of one namespace may hold
 * claims. Creates the folder if it does not exist.
 *
 * A claim is a Unix socket in the folder, named after the namespace and the process. Whoever can connect to it has the proof
 * that its process lives, even if that is frozen; after a kill, the system refuses the connection, and the file is removed.
 * Sockets reach over containers, but not over machines. Where there are no namespaces or no sockets, nothing is claimed.
 *
 * @throws StoreFileError when a process of another namespace holds the store
 */
export async function claimFolder(folder: string, layout: StoreLayout): Promise<Claim> {
  const namespace = ownNamespace();
  if (namespace === undefined) return noClaim;
  makeFolder(folder, layout);
  const place = new Place(folder);
  const name = `${prefix}${namespace}-${process.pid}-${++count}`;
  const server = createServer((socket) => socket.destroy());
  try {
    server.listen(place.pathOf(name));
    await once(server, 'listening');
  } catch {
    place.close();
    return noClaim;
  }
  server.unref();
  let released: Promise<void> | undefined;
  const release = () => {
    released ??= new Promise<void>((resolve) => server.close(() => resolve())).then(() => place.close());
    return released;
  };
  // Claimed before the look at the others: of two that start at once, at least one sees the other.
  const other = (await place.holders()).find((holder) => namespaceOf(holder) !== namespace);
  if (other !== undefined) {
    await release();
    throw new StoreFileError(
      `${layout.store} ${folder} is in use by process ${pidOf(other)} of another container (pid namespace ${namespaceOf(other)}; this is ${namespace}). Only processes of one container can share it: stop that server first, or run this command in its container`,
    );
  }
  return { release };
}

/** Claims the folder, and opens what it contains. What cannot be opened is not left claimed. */
export async function openClaimed<Store>(
  folder: string,
  layout: StoreLayout,
  open: (claim: Claim) => Store,
): Promise<Store> {
  const claim = await claimFolder(folder, layout);
  try {
    return open(claim);
  } catch (error) {
    await claim.release();
    throw error;
  }
}

/** The pids of the processes that hold claims of that folder, each as its own namespace counts. */
export async function holdersOf(folder: string): Promise<number[]> {
  const place = new Place(folder);
  try {
    return (await place.holders()).map(pidOf);
  } finally {
    place.close();
  }
}

/** A folder by its descriptor: the path of a socket may have 107 bytes at most. */
class Place {
  #fd: number | undefined;

  constructor(private readonly folder: string) {
    this.#fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  }

  pathOf(name: string): string {
    return `/proc/self/fd/${this.#fd}/${name}`;
  }

  /** The names of the claims whose processes live. */
  async holders(): Promise<string[]> {
    const names = readdirSync(this.folder).filter((name) => name.startsWith(prefix));
    const living = await Promise.all(names.map((name) => this.#isHeld(name)));
    return names.filter((_, i) => living[i]);
  }

  async #isHeld(name: string): Promise<boolean> {
    const socket = connect(this.pathOf(name));
    try {
      await once(socket, 'connect');
      return true;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ECONNREFUSED') rmSync(this.pathOf(name), { force: true });
      // Whatever else keeps this process from it, such as another owner, somebody may be there.
      return code !== 'ECONNREFUSED' && code !== 'ENOENT';
    } finally {
      socket.destroy();
    }
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

const prefix = 'claim-';
const noClaim: Claim = { release: async () => {} };
let count = 0;

function namespaceOf(name: string): string {
  return name.split('-')[1]!;
}

function pidOf(name: string): number {
  return Number(name.split('-')[2]);
}

/** The number of the pid namespace; undefined where the system has none. */
function ownNamespace(): string | undefined {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
  } catch {
    return undefined;
  }
}
