import { lstatSync, readdirSync, realpathSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import { type FSWatcher, watch as watchFiles } from 'chokidar';
import type { WorkerReport } from '../ipc/messages.js';
import { importsOf } from './imports.js';
import type { Supervisor } from './index.js';

/**
 * Editors save in several steps, and tools write many files: changes within this many milliseconds cause one reload.
 * More than the 50 within which chokidar reports one change of a file.
 */
const settleTime = 60;

/** A file system's clock lags behind by up to a tick of the kernel's timer. Milliseconds. */
const clockTolerance = 10;

/**
 * Reloads when a file of the configuration or of a plugin changes: any file in the plugins' folders, and each file
 * elsewhere that a plugin imports. The supervisor logs a reload that fails; the next change tries again.
 *
 * Each reload, failed or not, starts the watches again: the edit may have added an import, and chokidar keeps
 * watching a folder that another has replaced. It also misses what comes between its look at a folder and its watch of it.
 * What has changed since the reload began therefore causes another.
 */
export function watch(supervisor: Supervisor): void {
  let settled: NodeJS.Timeout | undefined;
  const onChange = () => {
    clearTimeout(settled);
    settled = setTimeout(() => supervisor.reload({ by: 'watch' }), settleTime);
  };
  /** The time of the latest change of each file that was found while watches started. */
  const found = new Map<string, number>();
  /** A clock that is ahead, for example that of a network drive, does not cause one reload after another. */
  const isNew = (path: string, begun: number) => {
    const changed = lstatSync(path, { throwIfNoEntry: false })?.ctimeMs ?? 0;
    if (changed <= begun - clockTolerance || found.get(path) === changed) return false;
    found.set(path, changed);
    return true;
  };
  const complain = complainOnce();
  let report: WorkerReport | undefined;
  let watcher: FSWatcher | undefined;

  const follow = (begun: number) => {
    if (report === undefined) return;
    const before = watcher?.getWatched() ?? {};
    watcher?.close();
    const scope = new Scope(report);
    const started = watchFiles(scope.roots(), {
      ignored: (path) => !scope.includes(path),
      followSymlinks: false,
      // It would report a removed file 100 ms later.
      atomic: false,
    });
    watcher = started;
    let starting = true;
    started.on('all', (event, path) => {
      // A file that is added is watched by now, so no change of it is missed.
      if (!starting || (event === 'add' ? isNew(path, begun) : event !== 'addDir')) onChange();
    });
    // A folder that is put in the place of another with the same names in it is no event of chokidar's own.
    started.on('raw', (event, name: string | null, details) => {
      const { watchedPath } = details as { watchedPath: string };
      if (event === 'rename' && name !== null && scope.includes(join(watchedPath, name))) onChange();
    });
    started.once('ready', () => {
      starting = false;
      const watched = started.getWatched();
      const missed = added(watched, scope).some((path) => isNew(path, begun));
      if (missed || removed(before).length > 0) onChange();
    });
    started.on('error', (error) => complain(error as NodeJS.ErrnoException));
  };

  supervisor.on('serving', (latest, _url, begun) => {
    report = latest;
    follow(begun);
  });
  supervisor.on('reloadFailed', (_outcome, begun) => follow(begun));
  supervisor.once('stopped', () => {
    clearTimeout(settled);
    watcher?.close();
  });
}

type Watched = Readonly<Record<string, readonly string[]>>;

/** What has come between the look at a folder and its watch. */
function added(watched: Watched, scope: Scope): string[] {
  return Object.entries(watched).flatMap(([folder, names]) => {
    if (!scope.includes(folder)) return [];
    const known = new Set(names);
    return namesIn(folder)
      .filter((name) => !known.has(name))
      .map((name) => join(folder, name))
      .filter((path) => scope.includes(path));
  });
}

/** What has gone while nothing was watched. */
function removed(watched: Watched): string[] {
  return Object.entries(watched).flatMap(([folder, names]) =>
    names
      .map((name) => join(folder, name))
      .filter((path) => lstatSync(path, { throwIfNoEntry: false }) === undefined),
  );
}

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** What keeps one file from being watched keeps many: the first of each kind is printed. */
function complainOnce(): (error: NodeJS.ErrnoException) => void {
  const printed = new Set<string>();
  return ({ code, message, path }) => {
    const reason = code ?? message;
    if (printed.has(reason)) return;
    printed.add(reason);
    const hint = code === 'ENOSPC' ? '; raise fs.inotify.max_user_watches' : '';
    process.stderr.write(`plugin-server: cannot watch ${path ?? 'a file'} (${reason})${hint}\n`);
  };
}

/** Which paths are watched. */
class Scope {
  /** Watched with everything below them. */
  readonly #folders: readonly string[];
  readonly #files: ReadonlySet<string>;
  /** The folders of the files. Whole folders are watched, because many editors save by replacing the file. */
  readonly #parents: ReadonlySet<string>;
  readonly #dataFolder: string;

  constructor(report: WorkerReport) {
    this.#dataFolder = real(report.dataFolder);
    // For a plugin that is a single file, `folder` is that file.
    const folders = report.plugins
      .filter(({ folder, entry }) => folder !== entry)
      .map(({ folder }) => folder);
    this.#folders = [report.pluginsFolder, ...folders].map(real);
    this.#files = new Set(
      [...report.configurationFiles, ...importsOf(report.plugins.map(({ entry }) => real(entry)))].map(real),
    );
    this.#parents = new Set([...this.#files].map((file) => dirname(file)));
  }

  /** The folders to watch, without those that are watched as part of another. */
  roots(): string[] {
    return [...new Set([...this.#folders, ...this.#parents])].filter(
      (folder) => !this.includes(dirname(folder)),
    );
  }

  includes(path: string): boolean {
    if (this.#parents.has(path) || this.#files.has(path)) return true;
    // A file that the configuration names may not exist yet.
    if (this.#parents.has(dirname(path)) && /\.(ini|json)$/.test(path)) return true;
    if (isWithin(this.#dataFolder, path)) return false;
    return this.#folders.some((folder) => isWithin(folder, path) && !isHidden(path.slice(folder.length)));
  }
}

function isWithin(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder + sep);
}

/** Files that tools keep for themselves: `.git`, `node_modules`, an editor's swap files. */
function isHidden(path: string): boolean {
  return path
    .split(sep)
    .some((part) => part.startsWith('.') || part === 'node_modules' || part.endsWith('~'));
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}
