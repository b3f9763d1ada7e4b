import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The export condition under which plugins get the kit that belongs to the bundle. */
const bundleCondition = 'plugin-server-bundle';

/** This package's folder, without a slash at its end: the nearest above this file with a package.json. */
export const packageFolder: string = folderAbove(dirname(fileURLToPath(import.meta.url)));

const manifest = JSON.parse(readFileSync(inPackage('package.json'), 'utf8')) as {
  version: string;
  exports: Record<string, string | Target>;
};

interface Target {
  readonly types?: string;
  readonly default: string;
  readonly [bundleCondition]?: string;
}

/** Whether this process runs the bundle that host/bundle.mjs makes, rather than the files it is made of. */
export const isBundle: boolean = dirname(fileURLToPath(import.meta.url)) === inPackage('dist/bundle');

/**
 * Flags of every process that the bundle starts. Plugins get the kit that belongs to the bundle, and Node does not warn
 * about the `url.parse` in Koa's dependencies, as it does for code outside node_modules.
 */
export const bundleFlags: readonly string[] = isBundle
  ? [`--conditions=${bundleCondition}`, '--disable-warning=DEP0169']
  : [];

export const version: string = manifest.version;

/** The folder of the plugins that come with the server, compiled. */
export const bundledPluginsFolder: string = inPackage(isBundle ? 'dist/bundle/plugins' : 'dist/plugins');

/** The folder of their sources, in a clone. */
export const pluginSourcesFolder: string = inPackage('plugins');

/** The module that a worker process runs. */
export const workerModule: URL = moduleUrl('worker.js', 'worker/index.js');

/** The module hooks that Node 20 runs in a thread of their own. */
export const loaderHooksModule: URL = moduleUrl('loader-hooks.js', 'prepare/loader-hooks.js');

/** The modules that a plugin can import wherever it lies (`plugin-server`, `plugin-server/…`), as absolute paths. */
export function kitModules(): Map<string, string> {
  const modules = new Map<string, string>();
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    const file =
      typeof target === 'string' ? target : (isBundle && target[bundleCondition]) || target.default;
    if (file.endsWith('.js')) modules.set(`plugin-server${subpath.slice(1)}`, inPackage(file));
  }
  return modules;
}

/** Where one of those modules is declared (`types`) and compiled (`default`), as absolute paths: `.`, `./testing`. */
export function kitEntry(subpath: '.' | './testing'): { readonly types: string; readonly module: string } {
  const { types, default: module } = manifest.exports[subpath] as Target;
  return { types: inPackage(types!), module: inPackage(module) };
}

function inPackage(path: string): string {
  return join(packageFolder, path);
}

function moduleUrl(bundled: string, compiled: string): URL {
  return pathToFileURL(inPackage(isBundle ? `dist/bundle/${bundled}` : `dist/host/${compiled}`));
}

function folderAbove(folder: string): string {
  return existsSync(join(folder, 'package.json')) ? folder : folderAbove(dirname(folder));
}
