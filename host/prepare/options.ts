import type { PluginCode } from '../diagnostics/blame.js';
import type { Deadlines } from '../kit/deadline.js';
import type { Snapshot } from './snapshot.js';

export interface PrepareOptions {
  readonly iniFile: string;
  /** For `${ENV:…}`; the process's own when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Starts no plugin but those that `[main] safe` names. */
  readonly safe?: boolean;
  /** What `plugin(name)` gives for plugins that are not there, by name: for tests. */
  readonly fakes?: Readonly<Record<string, unknown>>;
  /** In place of the usual ones. */
  readonly deadlines?: Partial<Deadlines>;
  /** Told of each plugin before its code is loaded, before it checks its configuration, and before it is set up. */
  readonly onPlugin?: (plugin: PluginCode) => void;
  /** Taken in place of what the disk has now. */
  readonly snapshot?: Snapshot;
  /** Reads a configuration file, where there is no snapshot. */
  readonly readFile?: (path: string) => string;
}
