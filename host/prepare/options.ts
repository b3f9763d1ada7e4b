import type { PluginCode } from '../diagnostics/blame.js';
import type { Deadlines } from '../kit/deadline.js';
import type { Snapshot } from './snapshot.js';

export interface PrepareOptions {
  /** The name of a plugin that requires no key under any of its names, unless it checks keys itself: for tests. */
  readonly keyless?: string;
  readonly iniFile: string;
  /** For `${ENV:…}`; the process's own when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Starts no plugin but those that `[main] safe` names. */
  readonly safe?: boolean;
  /** Runs no plugin, and reads no plugin's code. */
  readonly withoutPlugins?: boolean;
  /** For tests: what `plugin(name)` returns for plugins that do not run, by name. */
  readonly fakes?: Readonly<Record<string, unknown>>;
  /** In place of the usual ones. */
  readonly deadlines?: Partial<Deadlines>;
  /** Called for each plugin before its code is loaded, before it checks its configuration, and before it is set up. */
  readonly onPlugin?: (plugin: PluginCode) => void;
  /** Used in place of the current files. */
  readonly snapshot?: Snapshot;
  /** Reads a configuration file, if there is no snapshot. */
  readonly readFile?: (path: string) => string;
}
