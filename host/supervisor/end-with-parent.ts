import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** What `fork` runs in the place of node, with the flags in front of node's own. */
export interface Launcher {
  readonly execPath: string;
  readonly execArgv: readonly string[];
}

/** Once it has been looked for. */
let found: { readonly launcher: Launcher | undefined } | undefined;

/**
 * Runs a process that the kernel ends together with this one (prctl(2), PR_SET_PDEATHSIG), whatever it does at that time.
 * Undefined without util-linux 2.33 or later, such as with BusyBox, and where a sandbox does not let it run.
 */
export function endingWithParent(): Launcher | undefined {
  found ??= { launcher: find() };
  return found.launcher;
}

function find(): Launcher | undefined {
  // The kernel forgets the signal when a program gains privileges: a node with the capability to bind low ports.
  if (process.platform !== 'linux' || (process.getuid?.() !== 0 && hasCapabilities())) return undefined;
  const flags = ['--pdeathsig', 'KILL'];
  const { status } = spawnSync(setpriv, [...flags, setpriv, '--version'], { stdio: 'ignore' });
  return status === 0 ? { execPath: setpriv, execArgv: [...flags, process.execPath] } : undefined;
}

const setpriv = 'setpriv';

function hasCapabilities(): boolean {
  return !/^CapPrm:\t0+$/m.test(readFileSync('/proc/self/status', 'latin1'));
}
