import { existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { readConfiguration } from '../../config/index.js';
import { StoreFileError } from '../../databases/lmdb/check-file.js';
import { giveWayToServers } from '../../databases/lmdb/priority.js';
import { formatProblems } from '../diagnostics/print-problems.js';
import { type IniFile, readerOf } from '../prepare/ini-file.js';
import { sections, storageFolder } from '../prepare/settings.js';

/** Copies what plugins keep in `storage` into a new folder, while the server runs. */
export async function backup(target: string, ini: IniFile): Promise<boolean> {
  const folder = readStorageFolder(ini);
  if (folder === undefined) return false;
  const { EmbeddedStore, storageFile } = await import('../storage/embedded.js');
  if (!existsSync(join(folder, storageFile)))
    return fail(`${shown(folder)} does not exist: no plugin has stored anything yet`);
  if (existsSync(target)) return fail(`${target} already exists; name a new folder`);
  giveWayToServers();
  let store: Awaited<ReturnType<typeof EmbeddedStore.open>> | undefined;
  try {
    store = await EmbeddedStore.openClaimed(folder);
    await store.backup(target);
    process.stdout.write(`the plugins' storage is copied to ${resolve(target)}\n`);
    return true;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof StoreFileError) return fail(message);
    // LMDB's codes are numbers.
    const reason =
      typeof code === 'string' ? code : `${message}. Stop the server and copy ${shown(folder)} instead`;
    return fail(`the storage cannot be copied to ${target}: ${reason}`);
  } finally {
    await store?.close();
  }
}

/** The folder of the embedded storage. Undefined once it has been printed why there is none. */
function readStorageFolder(ini: IniFile): string | undefined {
  const configuration = readConfiguration(ini.path, readerOf(ini));
  const paths = configuration.read('paths', sections.paths);
  const storage = configuration.read('storage', sections.storage);
  if (paths === undefined || storage === undefined || configuration.problems.length > 0) {
    process.stderr.write(formatProblems('the storage cannot be found', configuration));
    return undefined;
  }
  if (storage.server_url !== undefined) {
    fail('[storage] keeps the values of plugins in MongoDB; back up that database with mongodump');
    return undefined;
  }
  return storageFolder({ dataFolder: configuration.resolvePath(paths.data) });
}

function shown(path: string): string {
  return relative('.', path) || '.';
}

function fail(message: string): false {
  process.stderr.write(`plugin-server: ${message}\n`);
  return false;
}
