import type { BigIntStats } from 'node:fs';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readlink, realpath } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import type { Logger } from 'pino';
import { fileError } from './file-errors.js';
import { isServable } from './served-name.js';

/** A regular file inside the folder, open for reading. Whoever receives it closes its handle. */
export interface OpenFile {
  readonly kind: 'file';
  readonly handle: FileHandle;
  readonly stat: BigIntStats;
  /** Its real path, with links resolved. */
  readonly path: string;
}

export type FolderEntry = OpenFile | { readonly kind: 'folder' };

/** A served folder. No name and no link reaches anything outside it. */
export class ServedFolder {
  constructor(
    /** Absolute. It may be a link, which may change while the server runs. */
    readonly path: string,
    private readonly log: Logger,
  ) {}

  /** The file or folder with these names. Undefined when it does not exist or may not be served. */
  async find(names: readonly string[]): Promise<FolderEntry | undefined> {
    try {
      return await this.#find(names);
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code === 'EACCES' || code === 'EPERM') {
        this.log.warn(
          { folder: this.path, file: names.join('/') },
          'not served: the server has no permission to read it',
        );
      } else if (code === 'EMFILE' || code === 'ENFILE') {
        throw fileError('too_many_open_files', { headers: { 'Retry-After': '2' }, cause: error });
      } else if (!absences.has(code)) {
        throw error;
      }
      return undefined;
    }
  }

  async #find(names: readonly string[]): Promise<FolderEntry | undefined> {
    const root = await realpath(this.path);
    const path = await realpath(join(this.path, ...names));
    if (!isInside(root, path)) return undefined;
    // Checked before it is opened, since opening a device can have effects.
    const before = await lstat(path);
    if (before.isDirectory()) return { kind: 'folder' };
    if (!before.isFile()) return undefined;
    const handle = await open(path, openFlags);
    try {
      const stat = await handle.stat({ bigint: true });
      // Names may have changed since they were checked. What counts is the file that was opened.
      const opened = await pathOf(handle, path);
      if (stat.isFile() && isInside(root, opened)) return { kind: 'file', handle, stat, path: opened };
    } catch (error) {
      await handle.close();
      throw error;
    }
    await handle.close();
    return undefined;
  }
}

/** Differs for each version of the file that its size and modification time tell apart. */
export function versionOf(stat: BigIntStats): string {
  return `${stat.mtimeNs.toString(36)}-${stat.size.toString(36)}`;
}

/** Neither follows a link that has replaced the file nor waits for the writer of a pipe. Windows has neither flag. */
const openFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Errors that mean there is nothing to serve under that name. */
const absences = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'EINVAL', 'ENXIO', 'EISDIR']);

/** Whether a real path is inside the real root, with no hidden name on the way. */
function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way === '' || (!isAbsolute(way) && way.split(sep).every(isServable));
}

/** The path of an open file: from the kernel where it can tell, otherwise by resolving the name again. */
async function pathOf(handle: FileHandle, path: string): Promise<string> {
  if (process.platform !== 'linux') return realpath(path);
  // Some sandboxes have no /proc; the name must do.
  return readlink(`/proc/self/fd/${handle.fd}`).catch(() => realpath(path));
}
