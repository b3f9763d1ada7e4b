import { existsSync } from 'node:fs';
import { ConfigError, type Configuration, childAt, readConfiguration } from '../../config/index.js';
import { discoverPlugins } from './discovery.js';
import type { PrepareOptions } from './options.js';
import type { PreparedPlugin } from './plugin-parameters.js';
import { type PreparedPlugins, preparePlugins } from './plugins.js';
import { PARAMETERS, readSettings, reportMisspeltSections, type Settings } from './settings.js';
import { readerOfSnapshot, type Snapshot, type TlsFiles } from './snapshot.js';
import { readTls } from './tls-files.js';

export type { PrepareOptions };

/** A whole configuration that is right, and the plugins it names, imported and not yet set up. */
export interface Prepared {
  readonly configuration: Configuration;
  readonly settings: Settings;
  /** In the order in which they are set up. */
  readonly plugins: readonly PreparedPlugin[];
  /** The names under which they keep data, in lower case. */
  readonly claimed: ReadonlySet<string>;
  readonly tls: TlsFiles | undefined;
  /** The files that were read. */
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
  const { plugins, claimed, installed } = options.withoutPlugins
    ? NONE
    : await preparePlugins({
        configuration,
        settings,
        discovery,
        options,
        isFolderRead: isFolderKnown && !isMissing,
      });
  const pluginSections = plugins.flatMap(({ definition }) => Object.keys(definition.sections ?? {}));
  // In safe mode nobody knows which sections belong to the plugins that are left out.
  if (!options.safe && !options.withoutPlugins) reportMisspeltSections(configuration, pluginSections);
  const tls = settings.tls && (snapshot?.tls ?? readTls(configuration, settings.tls));
  if (configuration.problems.length > 0) throw new ConfigError(configuration.problems);
  return {
    configuration,
    settings,
    plugins,
    claimed,
    tls,
    snapshot: { texts: [...configuration.texts], discovery: { ...discovery, installed }, tls },
  };
}

const NONE: PreparedPlugins = { plugins: [], claimed: new Set(), installed: [] };

function configuredPlugins(value: (section: string, key: string) => string | undefined): string {
  return value('paths', 'plugins') ?? value('paths', 'pluginpath') ?? 'plugins';
}
