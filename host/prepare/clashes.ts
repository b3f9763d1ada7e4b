import { basename } from 'node:path';
import type { Configuration } from '../../config/index.js';
import { isReserved } from './paths.js';
import type { PreparedPlugin } from './plugin-parameters.js';
import { PARAMETERS } from './settings.js';

/** Reports plugins that want the same name or path, or a path of the host's. */
export function reportClashes(configuration: Configuration, plugins: readonly PreparedPlugin[]): void {
  const names = new Map<string, PreparedPlugin>();
  const paths = new Map<string, PreparedPlugin>();
  for (const plugin of plugins) {
    const sameName = names.get(plugin.name.toLowerCase());
    if (sameName !== undefined) {
      const [one, two] = [sameName, plugin].map(({ package_ }) => basename(package_.folder));
      configuration.report(
        { file: plugin.package_.entry, line: 1, column: 1 },
        `two plugins are named "${plugin.name}": ${one} and ${two}`,
        'rename one of them in definePlugin or in its package.json',
      );
      continue;
    }
    names.set(plugin.name.toLowerCase(), plugin);
    if (isReserved(plugin.path)) {
      configuration.report(
        plugin.pathPosition ?? plugin.position,
        `the path ${plugin.path} of plugin "${plugin.name}" is reserved by the server`,
        `write ${plugin.name}=route_path=PATH in [${PARAMETERS}]`,
      );
    }
    const samePath = paths.get(plugin.path);
    if (samePath !== undefined) {
      const movable = plugin.pathPosition === undefined ? samePath : plugin;
      configuration.report(
        movable.pathPosition ?? movable.position,
        `plugins "${samePath.name}" and "${plugin.name}" both use the path ${plugin.path}`,
        `write ${movable.name}=route_path=PATH in [${PARAMETERS}]`,
      );
    }
    paths.set(plugin.path, plugin);
  }
}
