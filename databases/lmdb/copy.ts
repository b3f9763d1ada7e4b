import { renameSync, rmSync } from 'node:fs';
import { type FileHandle, open as openFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { StoreFileError } from './check-file.js';
import { spaceOfDisk } from './disk-space.js';
import { flushFolder } from './folder.js';
import type { Pages } from './pages.js';

/**
 * Copies all databases of an LMDB file into a new file, as they are at one moment, while any process may write. The new file
 * gets its name once all of it is on disk: a crash leaves a complete copy or none.
 *
 * It copies records byte by byte, damaged ones included, and not pages. LMDB's own copy does that, and refuses a file whose
 * list of free pages is wrong, although no record is missing. The new file has a new list.
 *
 * @throws StoreFileError when a database does not yield as many records as it holds
 */
export async function copyRecords(from: RootDatabase, file: string): Promise<void> {
  const draft = `${file}.draft`;
  const remove = () => {
    for (const path of [draft, `${draft}-lock`]) rmSync(path, { force: true });
  };
  remove();
  try {
    const handle = await openFile(draft, 'w+');
    try {
      // Not flushed commit by commit: nobody reads the draft.
      const to = open(draft, { noSync: true, encoding: 'binary' });
      await copyDatabases(from, to, new Flushes(handle)).finally(() => to.close());
      await handle.sync();
    } finally {
      await handle.close();
    }
    renameSync(draft, file);
    flushFolder(dirname(file));
  } finally {
    remove();
  }
}

/**
 * Before a copy of a file with these pages is written into a new folder at that path.
 * @throws StoreFileError when its disk has too little space left
 */
export function checkSpaceForCopy({ bytes, free }: Pages, path: string): void {
  const above = dirname(resolve(path));
  const { left } = spaceOfDisk(above);
  if (left >= bytes - free) return;
  const needed = Math.ceil((bytes - free) / mib);
  throw new StoreFileError(
    `the copy takes up to ${needed} MiB, and ${above} has ${Math.floor(left / mib)} MiB left`,
  );
}

const mib = 1024 * 1024;

async function copyDatabases(from: RootDatabase, to: RootDatabase, flushes: Flushes): Promise<void> {
  from.resetReadTxn();
  // Before the snapshot is taken, which would end when another database is opened.
  const sources = new Map(
    Array.from(from.getKeys(), (name) => [name, from.openDB<Buffer, string>(name as string, reading)]),
  );
  const snapshot = from.useReadTransaction();
  try {
    for (const { key, value } of [...from.getRange({ transaction: snapshot })]) {
      const name = key as string;
      const source = sources.get(name)!;
      const { flags, count } = described(value);
      // The file keeps this mark. As in the source, versions are then read and written as part of the bytes.
      if ((flags & versioned) !== 0) to.openDB(name, { ...writing, useVersions: true });
      const target = to.openDB<Buffer, string>(name, writing);
      const entries = source.getRange({ start: first, transaction: snapshot })[Symbol.iterator]();
      await copyEntries(entries, target, flushes);
      const { entryCount: copied } = target.getStats() as { entryCount: number };
      if (copied === count) continue;
      throw new StoreFileError(
        `the file is damaged: of the ${count} entries of its database "${name}", ${copied} can be copied. Stop the server and copy its folder as it is.`,
      );
    }
  } finally {
    snapshot.done();
  }
}

async function copyEntries(entries: Entries, to: Database<Buffer, string>, flushes: Flushes): Promise<void> {
  let last = '';
  const copySome = (): boolean => {
    for (let copied = 0; copied < stretch; ) {
      const next = entries.next();
      if (next.done) return false;
      const { key, value } = next.value;
      // A damaged key may be out of order.
      const isNext = key > last;
      to.putSync(key, value, isNext ? atEnd : ifNew);
      if (isNext) last = key;
      copied += key.length + value.length;
    }
    return true;
  };
  for (let isMore = true; isMore; await flushes.next()) isMore = to.transactionSync(copySome);
}

type Entries = Iterator<{ key: string; value: Buffer }>;

/** Writes a file to disk while it grows: a flush of many gigabytes at its end would keep other files from theirs. */
class Flushes {
  #last: Promise<void> = Promise.resolve();

  constructor(private readonly handle: FileHandle) {}

  /** Begins one, when the one before has ended. */
  async next(): Promise<void> {
    await this.#last;
    this.#last = this.handle.datasync();
    // It is awaited later.
    this.#last.catch(() => {});
  }
}

function same(value: Buffer): Buffer {
  return value;
}

/** What LMDB keeps of a database under its name: MDB_db of libraries/liblmdb/mdb.c. */
function described(bytes: Buffer): { flags: number; count: number } {
  return { flags: bytes.readUInt16LE(4), count: Number(bytes.readBigUInt64LE(32)) };
}

/** lmdb's flag of a database whose values begin with a version. */
const versioned = 0x100;
/** Keys as strings of their bytes, which cost less than a buffer for each, and are in the same order. */
const bytes = {
  writeKey: (key: string, target: Buffer, start: number) => start + target.write(key, start, 'latin1'),
  readKey: (target: Buffer, start: number, end: number) => target.toString('latin1', start, end),
};
/** Of any database. */
const first = '\0';
const writing = { encoding: 'binary', keyEncoder: bytes } as const;
/** Values are not copied: each is valid until lmdb reads another. */
const reading = { ...writing, encoder: { encode: same, decode: same } } as const;
const atEnd = { append: true };
const ifNew = { noOverwrite: true };
/** Bytes of one transaction. */
const stretch = 32 * 1024 * 1024;
