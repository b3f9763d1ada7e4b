import { realpathSync } from 'node:fs';
import { dirname, sep } from 'node:path';
import type { WorkerReport } from '../ipc/messages.js';
import { FolderWatches } from './folder-watches.js';
import { importsOf } from './imports.js';
import type { Supervisor } from './index.js';

/** Editors save in several steps, and tools write many files: changes within this many milliseconds cause one reload. */
const settleTime = 60;

/**
 * Reloads when a file of the configuration or of a plugin changes: any file in the plugins' folders, and each file
 * elsewhere that a plugin imports. The supervisor logs a reload that fails; the next change tries again.
 */
export function watch(supervisor: Supervisor): void {
  let settled: NodeJS.Timeout | undefined;
  const onChange = () => {
    clearTimeout(settled);
    settled = setTimeout(() => supervisor.reload({ by: 'watch' }), settleTime);
  };
  const scope = new Scope();
  const watches = new FolderWatches({
    includes: (path) => scope.includes(path),
    onChange,
    onError: complain,
  });
  let report: WorkerReport | undefined;
  let since = 0;
  const follow = () => {
    if (report === undefined) return;
    for (const folder of scope.set(report)) watches.open(folder, since);
  };
  supervisor.on('serving', (latest, _url, begun) => {
    report = latest;
    since = begun;
    follow();
  });
  // The edit that failed may have added an import.
  supervisor.on('reloadFailed', follow);
  supervisor.once('stopped', () => {
    clearTimeout(settled);
    watches.close();
  });
}

function complain(folder: string, { code, message }: NodeJS.ErrnoException): void {
  const hint = code === 'ENOSPC' ? '; raise fs.inotify.max_user_watches' : '';
  process.stderr.write(`plugin-server: cannot watch ${folder} (${code ?? message})${hint}\n`);
}

/** Which paths are watched. */
class Scope {
  /** Watched with everything below them. */
  #folders: readonly string[] = [];
  #files = new Set<string>();
  /** The folders of the files. Whole folders are watched, because many editors save by replacing the file. */
  #parents = new Set<string>();
  #dataFolder = '';

  /** Returns the folders to watch. */
  set(report: WorkerReport): string[] {
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
    return [...this.#folders, ...this.#parents];
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
