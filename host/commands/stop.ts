import type { IniFile } from '../prepare/ini-file.js';
import { findServer } from './find-server.js';

/** Has the running server finish its requests and exit; true once it has exited. */
export async function stop({ path }: IniFile): Promise<boolean> {
  const server = await findServer(path);
  if (server === undefined) return false;
  process.kill(server.pid, 'SIGTERM');
  await server.connection.closed;
  process.stdout.write('stopped\n');
  return true;
}
