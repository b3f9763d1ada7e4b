import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { type DiscoveryFault, type PluginPackage, readPackage } from './discovery.js';

/** The name of an npm package: `jobs`, `@acme/jobs`. Anything else could lead out of node_modules. */
const packageName = /^(?:@[a-z0-9~-][\w.~-]*\/)?[a-z0-9~-][\w.~-]*$/i;

const nameEntry =
  'name its entry in its package.json: as "main", or as "." of "exports", under "import" or "default"';

/** A package in the node_modules folder beside the INI file, not yet imported; undefined when it is not there. */
export function findInstalled(folder: string, name: string): PluginPackage | DiscoveryFault | undefined {
  const path = join(folder, 'node_modules', name);
  if (!packageName.test(name) || !existsSync(path)) return undefined;
  const faults: DiscoveryFault[] = [];
  const found = readPackage(path, false, faults, nameEntry);
  return found === undefined ? faults[0] : { ...found, installedAs: name };
}

/** The package that `name` leads into: of `@acme/jobs/nightly`, `@acme/jobs`. Undefined where it leads into none. */
export function packageOf(name: string): string | undefined {
  const parts = name.split('/');
  const package_ = parts.slice(0, name.startsWith('@') ? 2 : 1).join('/');
  return packageName.test(package_) ? package_ : undefined;
}

/** The names of the packages in the node_modules folder beside the INI file. */
export function installedNames(folder: string): readonly string[] {
  const modules = join(folder, 'node_modules');
  return namesIn(modules).flatMap((name) =>
    name.startsWith('@') ? namesIn(join(modules, name)).map((each) => `${name}/${each}`) : [name],
  );
}

function namesIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => !name.startsWith('.'));
}
