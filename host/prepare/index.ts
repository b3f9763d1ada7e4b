import { existsSync } from 'node:fs';
import {
  boolean,
  ConfigError,
  type Configuration,
  childAt,
  keyPlace,
  type Located,
  nearest,
  type Problem,
  readConfiguration,
} from '../../config/index.js';
import type { PluginCode } from '../diagnostics/blame.js';
import { DEADLINES, type Deadlines } from '../kit/deadline.js';
import { reportClashes } from './clashes.js';
import { loadDefinition } from './definition.js';
import { type Discovery, discoverPlugins, type PluginPackage } from './discovery.js';
import { orderPlugins } from './order.js';
import { checkPlugin } from './plugin-check.js';
import { type PreparedPlugin, readParameters, unusable } from './plugin-parameters.js';
import {
  PARAMETERS,
  readSettings,
  reportMisspeltSections,
  type Settings,
  warnOfShortKeys,
} from './settings.js';
import { readerOfSnapshot, type Snapshot, type TlsFiles } from './snapshot.js';
import { readTls } from './tls-files.js';

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
  /** Told of each plugin before its code is loaded, and again before it is set up. */
  readonly onPlugin?: (plugin: PluginCode) => void;
  /** Taken in place of what the disk has now. */
  readonly snapshot?: Snapshot;
  /** Reads a configuration file, where there is no snapshot. */
  readonly readFile?: (path: string) => string;
}

/** A whole configuration that is right, and the plugins it names, imported and not yet set up. */
export interface Prepared {
  readonly configuration: Configuration;
  readonly settings: Settings;
  /** In the order in which they are set up. */
  readonly plugins: readonly PreparedPlugin[];
  readonly tls: TlsFiles | undefined;
  /** What was read for it. */
  readonly snapshot: Snapshot;
}

/**
 * Reads everything and serves nothing: the INI file, the JSON files, each plugin's module and what it checks, certificates.
 * Rejects with a ConfigError that has every problem of them all.
 */
export async function prepare(options: PrepareOptions): Promise<Prepared> {
  const { snapshot } = options;
  const readFile = snapshot === undefined ? options.readFile : readerOfSnapshot(snapshot);
  const configuration = readConfiguration(options.iniFile, {
    env: options.env ?? process.env,
    parameterSections: [PARAMETERS],
    jsonFolders: (value) => [configuredPlugins(value)],
    ...(readFile && { readFile }),
  });
  const { settings, isFolderKnown } = readSettings(configuration);
  const { pluginsFolder } = settings;
  const named = configuration.section('paths');
  const isMissing = snapshot === undefined && isFolderKnown && !existsSync(pluginsFolder);
  if (isMissing) {
    const at = childAt(named, 'plugins') ?? childAt(named, 'pluginpath');
    if (at !== undefined) {
      configuration.report(
        at,
        'the plugins folder does not exist',
        'create it, or write the path of an existing folder',
      );
    }
  }
  const discovery = snapshot?.discovery ?? discoverPlugins(pluginsFolder);
  const plugins = await preparePlugins(
    configuration,
    settings,
    discovery,
    options,
    isFolderKnown && !isMissing,
  );
  const pluginSections = plugins.flatMap(({ definition }) => Object.keys(definition.sections ?? {}));
  // In safe mode nobody knows which sections belong to the plugins that are left out.
  if (!options.safe) reportMisspeltSections(configuration, pluginSections);
  const tls = settings.tls && (snapshot?.tls ?? readTls(configuration, settings.tls));
  if (configuration.problems.length > 0) throw new ConfigError(configuration.problems);
  return {
    configuration,
    settings,
    plugins,
    tls,
    snapshot: { texts: [...configuration.texts], discovery, tls },
  };
}

function configuredPlugins(value: (section: string, key: string) => string | undefined): string {
  return value('paths', 'plugins') ?? value('paths', 'pluginpath') ?? 'plugins';
}

async function preparePlugins(
  configuration: Configuration,
  settings: Settings,
  { packages, faults }: Discovery,
  options: PrepareOptions,
  isFolderRead: boolean,
): Promise<readonly PreparedPlugin[]> {
  for (const { position, message, hint } of faults) configuration.report(position, message, hint);
  const lines = parameterLines(configuration);
  const known = new Map<string, PluginPackage | undefined>(
    faults.map(({ name }) => [name.toLowerCase(), undefined]),
  );
  const plugins: PreparedPlugin[] = [];
  for (const package_ of packages) {
    known.set(package_.name.toLowerCase(), package_);
    if (
      options.safe === true &&
      !settings.safe.some((name) => name.toLowerCase() === package_.name.toLowerCase())
    )
      continue;
    if (isSwitchedOff(lines.get(package_.name.toLowerCase()), 'enabled')) continue;
    const plugin = await preparePlugin(configuration, package_, lines, settings, options);
    if (plugin === undefined) continue;
    known.set(plugin.name.toLowerCase(), package_);
    plugins.push(plugin);
  }
  for (const [name, line] of lines) {
    warnOfShortKeys(configuration, childAt(line, 'apikey'));
    // Where the folder is wrong, that is the one mistake.
    if (known.has(name) || !isFolderRead) continue;
    const near = nearest(name, [...known.keys()]);
    configuration.report(
      keyPlace(line),
      `plugin "${name}" does not exist`,
      near === undefined ? `the plugins are ${[...known.keys()].join(', ')}` : `did you mean "${near}"?`,
    );
  }
  reportClashes(configuration, plugins);
  const { ordered, faults: orderFaults } = orderPlugins(plugins, Object.keys(options.fakes ?? {}));
  const misplaced = new Map<string, Problem>();
  for (const { plugin, message, missing } of orderFaults) {
    const { package_, position, required } = plugins.find(({ name }) => name === plugin)!;
    const near = missing === undefined ? undefined : nearest(missing, [...known.keys()]);
    const at = package_.bundled ? position : { file: package_.entry, line: 1, column: 1 };
    const hint = near === undefined ? 'correct "after" in definePlugin' : `did you mean "${near}"?`;
    if (required) configuration.report(at, message, hint);
    else misplaced.set(plugin, { position: at, message, hint });
  }
  return ordered.map((plugin) => {
    const fault = misplaced.get(plugin.name);
    return fault === undefined ? plugin : { ...plugin, fault };
  });
}

async function preparePlugin(
  configuration: Configuration,
  package_: PluginPackage,
  lines: ReadonlyMap<string, Located>,
  settings: Settings,
  options: PrepareOptions,
): Promise<PreparedPlugin | undefined> {
  const ownLine = lines.get(package_.name.toLowerCase());
  const optional = isSwitchedOff(ownLine, 'required');
  const stray = new AbortController();
  options.onPlugin?.({
    name: package_.name,
    folder: package_.folder,
    ...(optional && { fail: (error) => stray.abort(error) }),
  });
  const deadlines = { ...DEADLINES, ...options.deadlines };
  const loaded = await loadDefinition(package_, deadlines.load, stray.signal);
  if ('faults' in loaded) {
    if (optional) return unusable(configuration, package_, ownLine, loaded.faults[0]);
    for (const { position, message, hint } of loaded.faults) configuration.report(position, message, hint);
    return undefined;
  }
  const { definition } = loaded;
  const name = definition.name ?? package_.name;
  const line = lines.get(name.toLowerCase()) ?? ownLine;
  const plugin = readParameters(configuration, { name, package_, definition, line });
  const isWhole =
    plugin !== undefined && Object.values(plugin.sections).every((section) => section !== undefined);
  const checked = isWhole ? await checkPlugin(configuration, plugin, settings, deadlines.check) : plugin;
  return checked && { ...checked, stray: stray.signal };
}

function parameterLines(configuration: Configuration): Map<string, Located> {
  const { fields = new Map<string, Located>() } = configuration.section(PARAMETERS) ?? {};
  const lines = new Map<string, Located>();
  for (const [name, line] of fields) lines.set(name.toLowerCase(), line);
  return lines;
}

/** Whether a line has a switch of the host's and it is off. */
function isSwitchedOff(line: Located | undefined, key: 'enabled' | 'required'): boolean {
  const value = childAt(line, key)?.value;
  return value === false || boolean().safeParse(value).data === false;
}
