import type { Position } from '../../config/index.js';
import { isWithin, locateError, placesOf } from './locate.js';

/** A plugin and the location of its code. */
export interface PluginCode {
  readonly name: string;
  /** Real, absolute; of a single-file plugin the file itself. */
  readonly folder: string;
  /** For a plugin that is not required: receives an error that its code leaves uncaught during the start. */
  readonly fail?: (error: unknown) => void;
}

/**
 * The plugin whose code an error came from, and the place there: that of the innermost frame that lies in any plugin. Where
 * several plugins run that code, `plugin` names them all: `shop_eu or shop_us`.
 */
export function blame(
  error: unknown,
  plugins: Iterable<PluginCode>,
): { readonly plugin: string; readonly position: Position; readonly code: PluginCode } | undefined {
  // If the folder of a plugin is inside another's, the inner one comes first.
  const innerFirst = [...plugins].sort((a, b) => b.folder.length - a.folder.length);
  for (const { file } of placesOf(error)) {
    const plugin = innerFirst.find(({ folder }) => isWithin(folder, file));
    const position = plugin && locateError(error, plugin.folder);
    if (position === undefined) continue;
    const names = innerFirst.filter(({ folder }) => folder === plugin!.folder).map(({ name }) => name);
    return { plugin: names.join(' or '), position, code: plugin! };
  }
  return undefined;
}
