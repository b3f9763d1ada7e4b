import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { type Database, open as openLmdb } from 'lmdb';
import type { SessionRecord, Store } from '../../../../plugins/sessman/store.js';
import { EmbeddedStore } from '../../../../plugins/sessman/stores/embedded/index.js';

/** A store in a folder of its own, which is removed when it is closed. */
export async function openTemporary() {
  const parent = await mkdtemp(join(tmpdir(), 'sessman-'));
  const folder = join(parent, 'store');
  const store = EmbeddedStore.open(folder);
  const close = async () => {
    await store.close();
    await rm(parent, { recursive: true });
  };
  return { store, folder, close };
}

/** A store's databases. */
const tables = {
  records: { useVersions: true },
  extras: {},
  byUser: {},
  byExpiry: {},
  notes: {},
  noteByHandle: {},
  // Its keys are names.
  meta: { useVersions: true, keyEncoding: undefined },
};

/** Reads or changes the file of a store behind its back. */
export async function behind<T>(
  folder: string,
  work: (dbs: Record<keyof typeof tables, Database<Buffer, Buffer>>) => T,
): Promise<T> {
  const root = openLmdb(join(folder, 'sessions.mdb'), { overlappingSync: false });
  const dbs = Object.entries(tables).map(([table, options]) => {
    const name = table.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    return [table, root.openDB(name, { encoding: 'binary', keyEncoding: 'binary', ...options })] as const;
  });
  try {
    return work(Object.fromEntries(dbs) as Parameters<typeof work>[0]);
  } finally {
    await root.close();
    // Reads of one turn may share a snapshot.
    await nextTurn();
  }
}

/**
 * Puts a database into a store's file that is large for who counts its pages: keys are so long that a branch page has two or
 * three children, and so most of them are read.
 */
export async function addBallast(folder: string, entries: number): Promise<void> {
  await withBallast(folder, (ballast) =>
    ballast.transactionSync(() => {
      for (let n = 0; n < entries; n++) {
        const key = Buffer.alloc(1900);
        key.writeUInt32BE(n);
        ballast.putSync(key, Buffer.alloc(0));
      }
    }),
  );
}

export function dropBallast(folder: string): Promise<void> {
  return withBallast(folder, (ballast) => ballast.dropSync());
}

async function withBallast(folder: string, work: (ballast: Database<Buffer, Buffer>) => void): Promise<void> {
  const root = openLmdb(join(folder, 'sessions.mdb'), { overlappingSync: false });
  try {
    work(root.openDB('ballast', { encoding: 'binary', keyEncoding: 'binary' }));
  } finally {
    await root.close();
  }
}

/** The processes that have a place in the lock file of a store, and those of them that hold a snapshot. */
export async function readersOf(folder: string): Promise<{ all: number[]; reading: number[] }> {
  const root = openLmdb(join(folder, 'sessions.mdb'), { overlappingSync: false });
  try {
    const lines = [...root.readerList().matchAll(/^\s*(\d+)\s+\S+\s+(\d+|-)$/gm)];
    const pidsOf = (some: typeof lines) => some.map(([, pid]) => Number(pid));
    return { all: pidsOf(lines), reading: pidsOf(lines.filter(([, , snapshot]) => snapshot !== '-')) };
  } finally {
    await root.close();
  }
}

/** The store, but for these members. */
export function instead(store: EmbeddedStore, overridden: Partial<Store>): Store {
  return new Proxy<Store>(store, {
    get(target, name) {
      if (name in overridden) return Reflect.get(overridden, name);
      const value: unknown = Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** A record that was made and used at that time. */
export function recordAt(now: number, change: Partial<SessionRecord> = {}): SessionRecord {
  return {
    handle: randomBytes(12).toString('base64url'),
    secretHash: randomBytes(32),
    userid: 'ann',
    data: '{}',
    version: 1,
    created: now,
    touched: now,
    expires: now + 1e6,
    ends: now + 1e9,
    ...change,
  };
}

/** Resolves when it is so. */
export async function until(isSo: () => unknown): Promise<void> {
  while (!(await isSo())) await sleep(2);
}
