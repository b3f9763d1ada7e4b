import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { checkStoreFile, StoreFileError } from './check-file.js';

/** The name of the file in a store's folder that holds the sessions. */
export const storeFile = 'sessions.mdb';

/** The format of records and keys. A later version of sessman can tell it from its own. */
const format = 1;
/** Marks a folder in which a store was created: JSON that names its format. */
const markFile = 'store.json';

/**
 * Creates a store's folder, which only its owner may open, or checks the existing one.
 * @returns the path of the store's file
 * @throws StoreFileError
 */
export function prepareStoreFolder(folder: string): string {
  makeFolder(folder);
  const file = join(folder, storeFile);
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (readMark(folder) && size === 0) {
    throw new StoreFileError(
      `the session store ${file} is ${existsSync(file) ? 'empty' : 'gone'}, although sessions were kept in it. Put a backup in its place, or remove ${join(folder, markFile)} to start without sessions.`,
    );
  }
  if (size > 0) checkStoreFile(file);
  return file;
}

/**
 * Folder by folder: where one cannot be created, Node's recursive mkdir may report another error than the system's, or
 * none at all and never return.
 */
function makeFolder(folder: string): void {
  try {
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return;
    if (dirname(folder) !== folder && !existsSync(dirname(folder))) makeFolder(dirname(folder));
    mkdirSync(folder, { mode: 0o700 });
  } catch (cause) {
    if (cause instanceof StoreFileError) throw cause;
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    // Another process may have been faster.
    if (code === 'EEXIST' && statSync(folder).isDirectory()) return;
    throw new StoreFileError(
      `the session store's folder ${folder} cannot be created: ${obstacles[code] ?? 'the system refuses it'} (${code})`,
      { cause },
    );
  }
}

const obstacles: Readonly<Record<string, string>> = {
  EROFS: 'the file system is read-only; set path or [paths] data to a folder on a writable one',
  EACCES: `this user may not write in the folder above it; change its owner, or set path to another folder`,
  EPERM: `this user may not write in the folder above it; change its owner, or set path to another folder`,
  EEXIST: 'a file of that name is in the way; remove it, or set path to another folder',
  ENOTDIR: 'part of the path is a file, not a folder; set path to another folder',
  ENOENT: 'the file system there does not accept folders; set path to another folder',
  ENOSPC: 'the disk is full; free some space',
};

/** Marks the folder as one that holds a store. */
export function markStoreFolder(folder: string): void {
  const file = join(folder, markFile);
  if (existsSync(file)) return;
  // Several processes may do this at once.
  const written = `${file}.${process.pid}`;
  writeFileSync(written, `${JSON.stringify({ store: 'sessman', format })}\n`, { mode: 0o600, flush: true });
  renameSync(written, file);
}

function readMark(folder: string): boolean {
  const file = join(folder, markFile);
  if (!existsSync(file)) return false;
  let mark: { format?: unknown };
  try {
    mark = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new StoreFileError(`${file}, which names the format of the session store, cannot be read`, {
      cause,
    });
  }
  if (mark.format !== format) {
    throw new StoreFileError(
      `${file} says that the session store has format ${JSON.stringify(mark.format)}; this version of sessman reads format ${format}`,
    );
  }
  return true;
}
