import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { type ParseError, parse as parseJson } from 'jsonc-parser';
import type { Position } from '../../config/index.js';
import { positionAt } from '../diagnostics/locate.js';
import { bundledPluginsFolder, pluginSourcesFolder } from '../package-layout.js';

/** A plugin package on disk, not yet imported. */
export interface PluginPackage {
  /** From package.json without its scope, else the folder's or file's name. */
  readonly name: string;
  readonly version: string | undefined;
  /** The range of host versions it is for, from `engines` in its package.json. */
  readonly hostRange: string | undefined;
  /** Real, absolute paths; the folder of a single-file plugin is the file itself. */
  readonly folder: string;
  readonly entry: string;
  /** Comes with the host. */
  readonly bundled: boolean;
  /** Of one in node_modules: `@acme/jobs`. */
  readonly installedAs?: string;
}

/** A thing in the plugins folder that should be a plugin and is not. */
export interface DiscoveryFault {
  /** The name that the plugin would have. */
  readonly name: string;
  readonly position: Position;
  readonly message: string;
  readonly hint: string;
}

export interface Discovery {
  readonly packages: readonly PluginPackage[];
  readonly faults: readonly DiscoveryFault[];
  /** The packages of node_modules that lines use; found when the lines are known. */
  readonly installed: readonly PluginPackage[];
}

/** Its name in messages: the plugin's, or for an installed package, the package's. */
export function titleOf({ name, installedAs }: Pick<PluginPackage, 'name' | 'installedAs'>): string {
  return installedAs === undefined ? `plugin "${name}"` : `package "${installedAs}"`;
}

const EXTENSIONS = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs'];
const INDEXES = EXTENSIONS.map((extension) => `index${extension}`);

/**
 * The plugins of a folder and those that come with the host. Each folder is a plugin package, and so is each single
 * TypeScript or JavaScript file; `@scope/name` is looked into; names that begin with `.` or `_`, node_modules, tests and
 * type declarations are left out. A plugin in the folder replaces a bundled plugin of the same name.
 */
export function discoverPlugins(pluginsFolder: string): Discovery {
  const faults: DiscoveryFault[] = [];
  const bundled = scan(bundledPluginsFolder, true, faults);
  const own = scan(pluginsFolder, false, faults);
  // In a clone the plugins folder holds the sources of the bundled plugins.
  const isSourceFolder = existsSync(pluginsFolder) && realpathSync(pluginsFolder) === pluginSourcesFolder;
  const chosen = isSourceFolder
    ? own.filter((plugin) => !bundled.some((other) => basename(other.folder) === basename(plugin.folder)))
    : own;
  const names = new Set(chosen.map((plugin) => plugin.name.toLowerCase()));
  return {
    packages: [...bundled.filter((plugin) => !names.has(plugin.name.toLowerCase())), ...chosen],
    faults,
    installed: [],
  };
}

function scan(folder: string, bundled: boolean, faults: DiscoveryFault[]): PluginPackage[] {
  const packages: PluginPackage[] = [];
  if (!existsSync(folder)) return packages;
  for (const name of readdirSync(folder).sort()) {
    if (/^[._]/.test(name) || name === 'node_modules') continue;
    const path = join(folder, name);
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats?.isDirectory()) {
      if (name.startsWith('@')) packages.push(...scan(path, bundled, faults));
      else {
        const found = readPackage(path, bundled, faults);
        if (found !== undefined) packages.push(found);
      }
    } else if (stats?.isFile() && EXTENSIONS.some((extension) => name.endsWith(extension))) {
      if (/\.(?:d|test|spec)\.[cm]?[jt]s$/.test(name)) continue;
      const entry = realpathSync(path);
      packages.push({
        name: name.replace(/\.[cm]?[jt]s$/, ''),
        version: undefined,
        hostRange: undefined,
        folder: entry,
        entry,
        bundled,
      });
    }
  }
  return packages;
}

/**
 * The package in a folder; undefined once its mistakes have been added to `faults`.
 *
 * @param remedy what to do where it has no entry
 */
export function readPackage(
  path: string,
  bundled: boolean,
  faults: DiscoveryFault[],
  remedy = 'create one of them, or begin the name of the folder with "_" if it is not a plugin',
): PluginPackage | undefined {
  const folder = realpathSync(path);
  const manifestPath = join(folder, 'package.json');
  let manifest: Manifest = {};
  if (existsSync(manifestPath)) {
    const text = readFileSync(manifestPath, 'utf8');
    const errors: ParseError[] = [];
    manifest = (parseJson(text, errors, { disallowComments: true }) ?? {}) as Manifest;
    const [error] = errors;
    if (error !== undefined) {
      faults.push({
        name: basename(path),
        position: positionAt(manifestPath, text, error.offset),
        message: `the package.json of plugin "${basename(path)}" is not valid JSON`,
        hint: 'correct it, or remove it',
      });
      return undefined;
    }
  }
  const main = mainOf(manifest);
  const tried = [...(main === undefined ? [] : [main]), ...INDEXES];
  const entry = tried
    .map((file) => join(folder, file))
    .find((file) => statSync(file, { throwIfNoEntry: false })?.isFile());
  if (entry === undefined) {
    faults.push({
      name: basename(path),
      position: { file: folder, line: 1, column: 1 },
      message: `no plugin in ${basename(path)}/: none of ${tried.map((file) => relative('.', file)).join(', ')} exists`,
      hint: remedy,
    });
    return undefined;
  }
  return {
    name: typeof manifest.name === 'string' ? manifest.name.replace(/^@[^/]*\//, '') : basename(path),
    version: typeof manifest.version === 'string' ? manifest.version : undefined,
    hostRange: manifest.engines?.['plugin-server'],
    folder,
    entry: realpathSync(entry),
    bundled,
  };
}

interface Manifest {
  readonly name?: unknown;
  readonly version?: unknown;
  readonly main?: unknown;
  readonly exports?: unknown;
  readonly engines?: Readonly<Record<string, string>>;
}

/** The entry that package.json names: the `.` of `exports` under Node's conditions, else `main`. */
function mainOf({ exports, main }: Manifest): string | undefined {
  const root = isRecord(exports) && '.' in exports ? exports['.'] : exports;
  return targetOf(root) ?? (typeof main === 'string' ? main : undefined);
}

const CONDITIONS = new Set(['node', 'import', 'module-sync', 'default']);

/** As Node does: the first condition in the order of writing that leads to a file, however deep. */
function targetOf(target: unknown): string | undefined {
  if (typeof target === 'string') return target;
  if (Array.isArray(target)) return first(target);
  if (!isRecord(target)) return undefined;
  return first(Object.keys(target).flatMap((name) => (CONDITIONS.has(name) ? [target[name]] : [])));
}

function first(targets: readonly unknown[]): string | undefined {
  for (const each of targets) {
    const found = targetOf(each);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
