import { type Dirent, type FSWatcher, readdirSync, type Stats, statSync, watch } from 'node:fs';
import { join } from 'node:path';

export interface FolderWatchesOptions {
  /** Which files and folders count. */
  readonly includes: (path: string) => boolean;
  /** Something that counts is new, gone, or has other contents. */
  readonly onChange: () => void;
  /** A folder cannot be watched: the system has no watches left, say. */
  readonly onError: (folder: string, error: NodeJS.ErrnoException) => void;
}

/** A file system's clock lags behind by up to a tick of the kernel's timer. Milliseconds. */
const clockTolerance = 10;

/**
 * Watches folders and what is in them, with one watch a folder: a file that an editor puts in the place of another is
 * seen as one that is written to. A folder is watched before it is read, so that no change falls in between.
 */
export class FolderWatches {
  readonly #options: FolderWatchesOptions;
  readonly #watches = new Map<string, { readonly watcher: FSWatcher; readonly inode: number }>();

  constructor(options: FolderWatchesOptions) {
    this.#options = options;
  }

  /** Watches a folder and the folders in it. What is found changed since that time (milliseconds) is a change. */
  open(folder: string, since: number): void {
    const inode = statOf(folder)?.ino;
    const known = this.#watches.get(folder);
    if (known !== undefined && known.inode === inode) return;
    this.#close(folder);
    if (inode === undefined) return;
    try {
      const watcher = watch(folder);
      watcher.on('change', (_kind, name) => this.#look(folder, name === null ? undefined : String(name)));
      watcher.on('error', () => this.#close(folder));
      this.#watches.set(folder, { watcher, inode });
    } catch (error) {
      this.#options.onError(folder, error as NodeJS.ErrnoException);
      return;
    }
    this.#read(folder, since);
  }

  close(): void {
    for (const folder of this.#watches.keys()) this.#close(folder);
  }

  #close(folder: string): void {
    this.#watches.get(folder)?.watcher.close();
    this.#watches.delete(folder);
  }

  #read(folder: string, since: number): void {
    for (const entry of entriesOf(folder)) {
      const path = join(folder, entry.name);
      if (!this.#options.includes(path)) continue;
      if (entry.isDirectory()) this.open(path, since);
      else {
        const changed = statOf(path)?.ctimeMs ?? 0;
        if (changed > since - clockTolerance) this.#options.onChange();
      }
    }
  }

  /** Something has happened to an entry of the folder; which, the system may not tell. */
  #look(folder: string, name: string | undefined): void {
    const path = name === undefined ? folder : join(folder, name);
    if (!this.#options.includes(path)) return;
    // A folder that is new, or was put in the place of another: all in it is.
    if (name !== undefined && statOf(path)?.isDirectory()) this.open(path, 0);
    else this.#options.onChange();
  }
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

/** Undefined where nothing is, or what was above it has become a file. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}
