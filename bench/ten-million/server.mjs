import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { storeFile } from '../../dist/plugins/sessman/stores/embedded/folder.js';
import { serverCore } from '../machine.mjs';
import { freePort, startServer as start } from '../server.mjs';
import { cli, writeSite } from '../site.mjs';
import { calls } from './calls.mjs';
import { enter, memoryOf } from './memory.mjs';
import { dropFromCache } from './page-cache.mjs';

/** Seconds: nothing of the ten million expires while it is measured. */
const session_ttl = 60 * 86_400;

/**
 * Starts a server of one worker on a store, in a memory cgroup of its own where that is possible.
 *
 * @param {object} run
 * @param {object} [options]
 * @param {string} [options.store] the folder of the store
 * @param {object} [options.settings] of sessman, besides
 * @param {number} [options.limit] bytes that the cgroup may have; as much of the file is read into it first
 * @param {boolean} [options.cold] whether the file is dropped from the page cache first
 * @param {number} [options.probe] the number of the session that is read first
 */
export async function startServer(run, options = {}) {
  const { store = run.store, settings = {}, limit, cold = false, probe = 0 } = options;
  const folder = join(run.folder, 'site');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  if (cold || limit !== undefined) dropFromCache(store);
  const cgroup = enter(limit);
  if (limit !== undefined) cgroup.fill(join(store, storeFile));
  const port = await freePort();
  // What has expired is removed at once, so that it need not be waited for.
  const sessman = { path: store, session_ttl, session_max_age: 0, removal_delay: 0, ...settings };
  const ini = writeSite(folder, { port, workers: 1, echoPlugins: 0, sessman });
  const server = await start({
    name: 'plugin-server',
    command: cgroup.command,
    args: [cli, 'start', '-i', ini],
    env: {},
    folder,
    port,
    cores: serverCore,
    probe: calls.get(run.population.id(probe)),
  });
  return {
    ...server,
    folder,
    memory: () => ({ ...memoryOf(server.pid), ...cgroup.memory() }),
    async stop() {
      await server.stop();
      cgroup.remove();
    },
  };
}
