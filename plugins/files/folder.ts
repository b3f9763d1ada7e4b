import type { BigIntStats } from 'node:fs';
import { constants } from 'node:fs';
import { type FileHandle, lstat, open, readlink, realpath } from 'node:fs/promises';
import { isAbsolute, join, relative, sep } from 'node:path';
import type { Logger } from 'plugin-server';
import { fileError } from './errors.js';
import { isServable } from './request-path.js';

/** A regular file inside the folder, open for reading. Whoever gets it closes its handle. */
export interface OpenFile {
  readonly kind: 'file';
  readonly handle: FileHandle;
  readonly stat: BigIntStats;
  /** Where it really lies, links resolved. */
  readonly path: string;
}

export type Entry = OpenFile | { readonly kind: 'folder' };

/** A served folder. Nothing outside it can be reached through it, by whatever names or links. */
export class Folder {
  constructor(
    /** Absolute. It may be a link, and the link may change while the server runs. */
    readonly path: string,
    private readonly log: Logger,
  ) {}

  /** What lies at these names. Undefined when there is nothing, or nothing that may be served. */
  async find(names: readonly string[]): Promise<Entry | undefined> {
    try {
      return await this.#find(names);
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException;
      if (code === 'EACCES' || code === 'EPERM') {
        this.log.warn({ folder: this.path, file: names.join('/') }, 'not served: the server may not read it');
      } else if (code === 'EMFILE' || code === 'ENFILE') {
        throw fileError('too_many_open_files', { headers: { 'Retry-After': '2' }, cause: error });
      } else if (!absences.has(code)) {
        throw error;
      }
      return undefined;
    }
  }

  async #find(names: readonly string[]): Promise<Entry | undefined> {
    const root = await realpath(this.path);
    const path = await realpath(join(this.path, ...names));
    if (!isInside(root, path)) return undefined;
    // Looked at before it is opened, since opening a device can already do something.
    const before = await lstat(path);
    if (before.isDirectory()) return { kind: 'folder' };
    if (!before.isFile()) return undefined;
    const handle = await open(path, openFlags);
    try {
      const stat = await handle.stat({ bigint: true });
      // Names may have been exchanged since they were looked at; what counts is what was opened.
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

/** Changes with each change of the file's content that its folder entry shows. */
export function versionOf(stat: BigIntStats): string {
  return `${stat.mtimeNs.toString(36)}-${stat.size.toString(36)}`;
}

/** Never follow a last link that was put there meanwhile, never wait for the writer of a pipe. Windows has neither. */
const openFlags = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);

/** Errors that say there is nothing to serve under that name. */
const absences = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP', 'EINVAL', 'ENXIO', 'EISDIR']);

/** Whether a real path lies inside the real root, and no name on the way is hidden. */
function isInside(root: string, path: string): boolean {
  const way = relative(root, path);
  return way === '' || (!isAbsolute(way) && way.split(sep).every(isServable));
}

/** Where an open file lies: asked of the kernel where it can tell, else of its name once more. */
async function pathOf(handle: FileHandle, path: string): Promise<string> {
  if (process.platform !== 'linux') return realpath(path);
  // Without /proc, as in some jails, the name must do.
  return readlink(`/proc/self/fd/${handle.fd}`).catch(() => realpath(path));
}
