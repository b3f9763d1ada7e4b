import { relative } from 'node:path';
import { readConfiguration } from '../../config/index.js';
import { formatProblems } from '../diagnostics/print-problems.js';
import { sections } from '../prepare/settings.js';
import type { ControlConnection } from '../supervisor/control-socket.js';
import { connectToServer, readPid } from '../supervisor/pid-file.js';

/** The server that runs with this configuration, by its pid file; undefined when it cannot be had, having said why. */
export async function findServer(
  iniFile: string,
): Promise<{ readonly pid: number; readonly connection: ControlConnection } | undefined> {
  const pidFile = readPidFile(iniFile);
  if (pidFile === undefined) return undefined;
  const shown = relative('.', pidFile);
  const pid = readPid(pidFile);
  try {
    const connection = await connectToServer(pidFile);
    if (pid !== undefined && connection !== undefined) return { pid, connection };
    connection?.close();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    process.stderr.write(`plugin-server: this user may not speak to the server of ${shown} (${code})\n`);
    return undefined;
  }
  const why =
    pid === undefined ? `there is no ${shown}` : `${shown} was left by one that has ended (pid ${pid})`;
  process.stderr.write(`plugin-server: no server runs with ${relative('.', iniFile)}: ${why}\n`);
  return undefined;
}

/** The pid file is all that is needed: whatever else is wrong with the configuration, the server itself will tell. */
function readPidFile(iniFile: string): string | undefined {
  const configuration = readConfiguration(iniFile);
  const paths = configuration.read('paths', sections.paths);
  if (paths?.pidfile !== undefined) return configuration.resolvePath(paths.pidfile);
  // The line that names it may be the one that is wrong.
  if (configuration.problems.length > 0) {
    process.stderr.write(formatProblems('the pid file is not known', configuration));
    return undefined;
  }
  process.stderr.write(
    `plugin-server: ${relative('.', iniFile)} names no pid file to find the server by; write this into it and start the server anew:\n\n[paths]\npidfile=plugin-server.pid\n`,
  );
  return undefined;
}
