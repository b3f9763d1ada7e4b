import { relative } from 'node:path';
import { readConfiguration } from '../../config/index.js';
import { formatProblems } from '../diagnostics/print-problems.js';
import { sections } from '../prepare/settings.js';
import type { ControlConnection } from '../supervisor/control-socket.js';
import { connectToServer, readPid } from '../supervisor/pid-file.js';

/** Finds the running server of this configuration by its pid file. Undefined once it has printed why it cannot. */
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
    process.stderr.write(
      `plugin-server: cannot connect to the server of ${shown} (${code}); run this command as the server's user\n`,
    );
    return undefined;
  }
  const why =
    pid === undefined
      ? `${shown} does not exist`
      : `${shown} is left from a server that has ended (pid ${pid})`;
  process.stderr.write(`plugin-server: no server is running with ${relative('.', iniFile)}: ${why}\n`);
  return undefined;
}

/** The pid file is all that is needed: whatever else is wrong with the configuration, the server itself will tell. */
function readPidFile(iniFile: string): string | undefined {
  const configuration = readConfiguration(iniFile);
  const paths = configuration.read('paths', sections.paths);
  if (paths?.pidfile !== undefined) return configuration.resolvePath(paths.pidfile);
  // The mistake may be in the line of the pid file.
  if (configuration.problems.length > 0) {
    process.stderr.write(formatProblems('the server cannot be found', configuration));
    return undefined;
  }
  process.stderr.write(
    `plugin-server: ${relative('.', iniFile)} does not set a pid file, which this command requires to find the server; add these lines and restart the server:\n\n[paths]\npidfile=plugin-server.pid\n`,
  );
  return undefined;
}
