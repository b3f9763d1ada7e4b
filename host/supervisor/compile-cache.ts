import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Environment variables that let Node 22.1 and later keep compiled code from one worker to the next: a quarter of a start.
 * Earlier releases ignore them. Node's own default is a folder that every user of the machine may have created first.
 */
export function compileCache(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_COMPILE_CACHE, NODE_V8_COVERAGE, CACHE_DIRECTORY, XDG_CACHE_HOME } = environment;
  // Code from the cache has no coverage of its functions.
  if (NODE_COMPILE_CACHE !== undefined || NODE_V8_COVERAGE !== undefined) return {};
  // systemd sets the first for `CacheDirectory=`; several are separated by colons.
  const folder = CACHE_DIRECTORY?.split(':')[0] ?? XDG_CACHE_HOME ?? join(homedir(), '.cache');
  return { NODE_COMPILE_CACHE: join(folder, 'plugin-server') };
}
