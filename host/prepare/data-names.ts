import { type Dirent, readdirSync } from 'node:fs';
import { relative } from 'node:path';
import { type Configuration, childAt } from '../../config/index.js';
import { isWithin } from '../diagnostics/locate.js';
import { isSwitchedOff, type Lines } from './lines.js';
import type { PreparedPlugin } from './plugin-parameters.js';
import { PARAMETERS, type Settings } from './settings.js';

/** Reports two plugins that would keep their data under one name. */
export function reportSharedData(configuration: Configuration, plugins: readonly PreparedPlugin[]): void {
  const owners = new Map<string, PreparedPlugin>();
  for (const plugin of plugins) {
    const owner = owners.get(plugin.dataName.toLowerCase());
    owners.set(plugin.dataName.toLowerCase(), owner ?? plugin);
    if (owner === undefined || owner.name === plugin.name) continue;
    const [movable, other] = childAt(plugin.line, 'data') === undefined ? [owner, plugin] : [plugin, owner];
    configuration.report(
      childAt(movable.line, 'data') ?? movable.position,
      `plugins "${owner.name}" and "${plugin.name}" both keep their data under "${plugin.dataName}"`,
      `write another name, or remove data=, so that "${other.name}" has it alone`,
    );
  }
}

/** The names under which plugins keep data, in lower case; those that are switched off keep theirs. */
export function claimedNames(plugins: readonly PreparedPlugin[], lines: Lines): ReadonlySet<string> {
  const switchedOff = [...lines.values()]
    .filter((line) => isSwitchedOff(line, 'enabled'))
    .map(({ name, at }) => String(childAt(at, 'data')?.value ?? name));
  return new Set([...plugins.map(({ dataName }) => dataName), ...switchedOff].map(fold));
}

/** Warns of folders below `[paths] data` that belong to no plugin, for example because it was renamed or removed. */
export function warnOfStrayFolders(
  configuration: Configuration,
  { dataFolder, pluginsFolder }: Settings,
  claimed: ReadonlySet<string>,
): void {
  // Such a folder holds more than data.
  if ([configuration.file, pluginsFolder].some((path) => isWithin(dataFolder, path))) return;
  const where = `the folder "${relative(configuration.folder, dataFolder)}"`;
  warnOfStray(configuration, where, foldersIn(dataFolder), claimed);
}

/** Warns of those of the names that no plugin claims. `where` is the place of that data, for the message. */
export function warnOfStray(
  configuration: Configuration,
  where: string,
  names: readonly string[],
  claimed: ReadonlySet<string>,
): void {
  const text = strayText(where, names, claimed);
  if (text === undefined) return;
  const start = { position: { file: configuration.file, line: 1, column: 1 }, length: 0 };
  const at = childAt(configuration.section('paths'), 'data') ?? configuration.section(PARAMETERS);
  configuration.warn(at ?? start, text.message, text.hint);
}

export function strayText(
  where: string,
  names: readonly string[],
  claimed: ReadonlySet<string>,
): { readonly message: string; readonly hint: string } | undefined {
  const stray = names.filter((name) => !claimed.has(fold(name)));
  if (stray.length === 0) return undefined;
  const shown = stray.slice(0, mostShown).map((name) => `"${name}"`);
  const more = stray.length > mostShown ? ` and ${stray.length - mostShown} more` : '';
  return {
    message: `${where} contains data that belongs to no plugin: ${shown.join(', ')}${more}`,
    hint: `write data=${stray[0]} in the line of the plugin that wrote it, or remove it`,
  };
}

const mostShown = 10;

function foldersIn(folder: string): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
  // Names with "_" in front are the server's own, as in the plugins folder.
  return entries
    .filter((entry) => entry.isDirectory() && !/^[._]|^lost\+found$/.test(entry.name))
    .map(({ name }) => name)
    .sort();
}

function fold(name: string): string {
  return name.toLowerCase();
}
