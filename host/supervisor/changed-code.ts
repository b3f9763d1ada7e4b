import { statSync } from 'node:fs';
import type { PluginReport } from '../ipc/messages.js';
import { importsOf } from './imports.js';

/** The names of the plugins whose code has changed since that time, in milliseconds since the Unix epoch. */
export function changedPlugins(plugins: readonly PluginReport[], since: number): readonly string[] {
  return plugins
    .filter(({ entry }) => importsOf([entry]).some((file) => changeTime(file) > since))
    .map(({ name }) => name);
}

function changeTime(file: string): number {
  // A missing file counts as changed.
  return statSync(file, { throwIfNoEntry: false })?.ctimeMs ?? Number.POSITIVE_INFINITY;
}
