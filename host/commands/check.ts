import { existsSync } from 'node:fs';
import { ConfigError, formatProblem, type Problem } from '../../config/index.js';
import { formatProblems } from '../diagnostics/print-problems.js';
import { warnOfStray } from '../prepare/data-names.js';
import { type Prepared, prepare } from '../prepare/index.js';
import { type IniFile, readerOf } from '../prepare/ini-file.js';
import type { PreparedPlugin } from '../prepare/plugin-parameters.js';
import { type Settings, storageFolder } from '../prepare/settings.js';
import type { StorageSettings } from '../prepare/storage-settings.js';
import { dataNamesIn } from '../storage/data-names.js';
import type { Store } from '../storage/store.js';

/** Reads everything and serves nothing: true when all is right, else every problem has been printed. */
export async function check(ini: IniFile): Promise<boolean> {
  try {
    const prepared = await prepare({ iniFile: ini.path, ...readerOf(ini) });
    const { plugins, configuration } = prepared;
    await warnOfStrayStorage(prepared);
    const warnings = [...configuration.warnings, ...plugins.flatMap(leftOut)];
    for (const warning of warnings) process.stderr.write(`${formatProblem(warning)}\n\n`);
    const count = plugins.length === 1 ? '1 plugin' : `${plugins.length} plugins`;
    process.stdout.write(`configuration ok: ${count}${counted(warnings.length)}; setup was not run\n`);
    if (process.stdout.isTTY) process.stdout.write('Serve it:  plugin-server start\n');
    return true;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(formatProblems('the configuration is not valid', error));
    return false;
  }
}

async function warnOfStrayStorage({ configuration, settings, claimed }: Prepared): Promise<void> {
  const names = settings.storage === undefined ? namesInFile(settings) : namesInDatabase(settings.storage);
  warnOfStray(configuration, "the plugins' storage", await names, claimed);
}

async function namesInFile(settings: Settings): Promise<readonly string[]> {
  const folder = storageFolder(settings);
  if (!existsSync(folder)) return [];
  const { EmbeddedStore } = await import('../storage/embedded.js');
  return namesIn(await EmbeddedStore.openClaimed(folder));
}

/** None where the database cannot be asked: that is no mistake in the configuration, and a start tells of it. */
async function namesInDatabase(settings: StorageSettings): Promise<readonly string[]> {
  const { MongoStore } = await import('../storage/mongodb.js');
  const silent = { info() {}, warn() {}, error() {}, debug() {} };
  try {
    return await namesIn(await MongoStore.open(settings, silent, { isReadOnly: true }));
  } catch {
    return [];
  }
}

async function namesIn(store: Store): Promise<readonly string[]> {
  try {
    return await dataNamesIn(store);
  } finally {
    await store.close();
  }
}

/** Why a plugin with `required=off` cannot start. */
function leftOut({ name, fault }: PreparedPlugin): readonly Problem[] {
  if (fault === undefined) return [];
  return [
    { ...fault, message: `${fault.message} (the server starts without "${name}")`, severity: 'warning' },
  ];
}

function counted(warnings: number): string {
  return warnings === 0 ? '' : `, ${warnings} warning${warnings === 1 ? '' : 's'}`;
}
