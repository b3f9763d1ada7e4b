import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { checkLmdbFile, type Held, StoreFileError } from './check-file.js';

/** A folder of one LMDB file, and a mark that tells what was created in it. */
export interface StoreLayout extends Held {
  /** The name of the file. */
  readonly file: string;
  /** Whose file it is, as the mark says. */
  readonly owner: string;
  /** The format of records and keys in a new file. A later version can tell it from its own. */
  readonly format: number;
  /** The format to which `raiseFormat` turns a file, which can be used as well. */
  readonly raisedFormat?: number;
  /** The settings that name another folder. */
  readonly setting: string;
  /** Those of the folder alone. */
  readonly ownSetting: string;
}

/** Marks a folder in which a store was created: JSON that names its format. */
const markFile = 'store.json';

/**
 * Creates a store's folder, which only its owner may open, or checks the existing one.
 * @returns the path of the store's file
 * @throws StoreFileError
 */
export function prepareStoreFolder(folder: string, layout: StoreLayout): string {
  makeFolder(folder, layout);
  const file = join(folder, layout.file);
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  if (readMark(folder, layout) && size === 0) {
    throw new StoreFileError(
      `${layout.store} ${file} is ${existsSync(file) ? 'empty' : 'gone'}, although ${layout.content} were kept in it. Put a backup in its place, or remove ${join(folder, markFile)} to start without ${layout.content}.`,
    );
  }
  if (size > 0) checkLmdbFile(file, layout);
  return file;
}

/**
 * Folder by folder: where one cannot be created, Node's recursive mkdir may report another error than the system's, or
 * none at all and never return.
 */
export function makeFolder(folder: string, layout: StoreLayout): void {
  try {
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory()) return;
    if (dirname(folder) !== folder && !existsSync(dirname(folder))) makeFolder(dirname(folder), layout);
    mkdirSync(folder, { mode: 0o700 });
    flushFolder(dirname(folder));
  } catch (cause) {
    if (cause instanceof StoreFileError) throw cause;
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    // Another process may have been faster.
    if (code === 'EEXIST' && statSync(folder).isDirectory()) return;
    throw new StoreFileError(
      `${layout.store}'s folder ${folder} cannot be created: ${obstacle(code, layout)} (${code})`,
      { cause },
    );
  }
}

function obstacle(code: string, { setting, ownSetting }: StoreLayout): string {
  switch (code) {
    case 'EROFS':
      return `the file system is read-only; set ${setting} to a folder on a writable one`;
    case 'EACCES':
    case 'EPERM':
      return `this user may not write in the folder above it; change its owner, or set ${ownSetting} to another folder`;
    case 'EEXIST':
      return `a file of that name is in the way; remove it, or set ${ownSetting} to another folder`;
    case 'ENOTDIR':
      return `part of the path is a file, not a folder; set ${ownSetting} to another folder`;
    case 'ENOENT':
      return `the file system there does not accept folders; set ${ownSetting} to another folder`;
    case 'ENOSPC':
      return 'the disk is full; free some space';
    default:
      return 'the system refuses it';
  }
}

/**
 * Marks the folder as one that holds a store, of the layout's format unless another is named. What the mark speaks of is on
 * disk before it: a file that is created is there after a crash only once its folder was flushed, too.
 */
export function markStoreFolder(folder: string, layout: StoreLayout, format = layout.format): void {
  if (existsSync(join(folder, markFile))) return;
  flushFolder(folder);
  writeMark(folder, layout, format);
}

/** Returns once the content of a file is on disk. */
export function flushFile(path: string): void {
  const fd = openSync(path, 'r+');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Returns once the names in a folder are on disk, as far as its file system allows that to be asked for. */
export function flushFolder(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(path, 'r');
    fsyncSync(fd);
  } catch {
    // Windows opens no folders, some network file systems flush none, and this user may be unable to read it.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Marks the store in the folder as one of the layout's raised format: versions that do not know it then refuse it. */
export function raiseFormat(folder: string, layout: StoreLayout): void {
  const { raisedFormat } = layout;
  if (raisedFormat !== undefined && readMark(folder, layout) !== raisedFormat)
    writeMark(folder, layout, raisedFormat);
}

function writeMark(folder: string, { owner }: StoreLayout, format: number): void {
  const file = join(folder, markFile);
  // Several processes may do this at once.
  const written = `${file}.${process.pid}`;
  writeFileSync(written, `${JSON.stringify({ store: owner, format })}\n`, { mode: 0o600, flush: true });
  renameSync(written, file);
  flushFolder(dirname(file));
}

/**
 * The format that the mark names; undefined where the folder has none.
 * @throws StoreFileError
 */
export function readMark(
  folder: string,
  { store, owner, format, raisedFormat }: StoreLayout,
): number | undefined {
  const file = join(folder, markFile);
  if (!existsSync(file)) return undefined;
  let mark: { format?: unknown };
  try {
    mark = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new StoreFileError(`${file}, which names the format of ${store}, cannot be read`, {
      cause,
    });
  }
  if (mark.format === format || (raisedFormat !== undefined && mark.format === raisedFormat)) {
    return mark.format;
  }
  const read = raisedFormat === undefined ? `format ${format}` : `formats ${format} and ${raisedFormat}`;
  throw new StoreFileError(
    `${file} says that ${store} has format ${JSON.stringify(mark.format)}; this version of ${owner} reads ${read}`,
  );
}
