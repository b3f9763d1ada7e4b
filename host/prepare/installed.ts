import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type DiscoveryFault, type PluginPackage, readPackage } from './discovery.js';

/** The name of an npm package: `jobs`, `@acme/jobs`. Anything else could lead out of node_modules. */
const packageName = /^(?:@[a-z0-9~-][\w.~-]*\/)?[a-z0-9~-][\w.~-]*$/i;

/** A package in the node_modules folder beside the INI file, not yet imported; undefined when it is not there. */
export function findInstalled(folder: string, name: string): PluginPackage | DiscoveryFault | undefined {
  const path = join(folder, 'node_modules', name);
  if (!packageName.test(name) || !existsSync(path)) return undefined;
  const faults: DiscoveryFault[] = [];
  const found = readPackage(path, false, faults);
  return found === undefined ? faults[0] : { ...found, installedAs: name };
}
