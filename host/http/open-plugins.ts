import type { PluginUnit } from '../lifecycle/plugin-unit.js';
import { RESERVED_PATHS } from '../prepare/paths.js';
import type { Mount } from './mounts.js';

/** The names of plugins that are open to everyone: no key is set for them, and they check none themselves. */
export function openPlugins(mounts: Iterable<Mount>, plugins: readonly PluginUnit[]): readonly string[] {
  const hostPaths = new Set(RESERVED_PATHS.map((path) => `/${path}`));
  const own = new Set(
    plugins.filter(({ plugin }) => plugin.definition.auth === 'own').map(({ name }) => name),
  );
  return [...mounts]
    .filter(
      ({ name, path, keys, open, checksKeys }) =>
        keys === undefined && !open && !checksKeys && !own.has(name) && !hostPaths.has(path),
    )
    .map(({ name }) => name);
}
