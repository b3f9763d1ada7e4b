import type { ReloadOutcome } from '../control.js';
import { formatProblems } from '../diagnostics/print-problems.js';
import type { IniFile } from '../prepare/ini-file.js';
import { findServer } from './find-server.js';

/** Has the running server read everything again: true once that is in force, false when the server continues unchanged. */
export async function reload({ path }: IniFile): Promise<boolean> {
  const server = await findServer(path);
  if (server === undefined) return false;
  const outcome = (await server.connection.ask('reload')) as ReloadOutcome | undefined;
  server.connection.close();
  if (outcome === undefined) {
    process.stderr.write('plugin-server: the server stopped before the reload finished\n');
    return false;
  }
  if (outcome.success) {
    process.stdout.write('reloaded\n');
    return true;
  }
  process.stderr.write(formatProblems('not reloaded, the server continues unchanged', outcome));
  return false;
}
