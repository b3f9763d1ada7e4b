import { readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** What `fork` runs in the place of node, with the flags in front of node's own. */
export interface Launcher {
  readonly execPath: string;
  readonly execArgv: readonly string[];
}

/**
 * Runs a process that the kernel ends together with this one (prctl(2), PR_SET_PDEATHSIG), whatever it does at that time. Of
 * util-linux; undefined where its version is older than 2.33, and on other systems.
 */
export function endingWithParent(): Launcher | undefined {
  // The kernel forgets the signal when a program gains privileges: a node with the capability to bind low ports.
  if (process.platform !== 'linux' || (process.getuid?.() !== 0 && hasCapabilities())) return undefined;
  const folders = process.env.PATH?.split(delimiter) ?? [];
  const path = folders.map((folder) => join(folder, 'setpriv')).find(isSuitable);
  return path === undefined
    ? undefined
    : { execPath: path, execArgv: ['--pdeathsig', 'KILL', process.execPath] };
}

function isSuitable(setpriv: string): boolean {
  return contentOf(setpriv).includes('pdeathsig');
}

function hasCapabilities(): boolean {
  return !/^CapPrm:\t0+$/m.test(contentOf('/proc/self/status'));
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
