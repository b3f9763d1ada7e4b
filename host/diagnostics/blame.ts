import type { Position } from '../../config/index.js';
import { locateError } from './locate.js';

/** A plugin and where its code lies. */
export interface PluginCode {
  readonly name: string;
  /** Real, absolute; of a single-file plugin the file itself. */
  readonly folder: string;
}

/** The plugin whose code an error came from, and the place there. */
export function blame(
  error: unknown,
  plugins: Iterable<PluginCode>,
): { readonly plugin: string; readonly position: Position } | undefined {
  for (const { name, folder } of plugins) {
    const position = locateError(error, folder);
    if (position !== undefined) return { plugin: name, position };
  }
  return undefined;
}
