import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nearest } from '../config/index.js';
import { Host } from './host.js';
import { discoverPlugins } from './prepare/discovery.js';

export interface PluginServerOptions {
  /** The plugin's parameters, as its line in `[plugin_parms]` would give them. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /**
   * Other plugins that it needs: by name those that come with the server, by file URL or absolute path any other:
   * `['sessman', new URL('../plugins/clock.ts', import.meta.url)]`. They have the parameters that `ini` gives them.
   */
  readonly plugins?: readonly (string | URL)[];
  /** More of the INI file, whole sections: `[file_server]\ndocuments=html:/docs`. */
  readonly ini?: string;
}

export interface PluginServer {
  /** `http://127.0.0.1:40123` */
  readonly url: string;
  /** Closes the plugin and the server, and removes the data that they wrote. */
  close(): Promise<void>;
}

/**
 * Serves one plugin in this process, for its tests: on a free port, with an empty data folder, no API key, and no other
 * plugin but those asked for.
 *
 * ```js
 * const server = await startPlugin(new URL('..', import.meta.url), { parameters: { greeting: 'Hi' } });
 * const answer = await fetch(`${server.url}/hello/world`);
 * await server.close();
 * ```
 *
 * @param plugin the plugin's folder, or its file
 * @throws ConfigError when the parameters or a plugin are wrong, TypeError when an option is unknown
 */
export async function startPlugin(
  plugin: URL | string,
  options: PluginServerOptions = {},
): Promise<PluginServer> {
  refuseUnknown(options);
  const path = pathOf(plugin);
  const folder = mkdtempSync(join(tmpdir(), 'plugin-server-test-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  try {
    const iniFile = writeServer(folder, path, options);
    const host = await Host.start({ iniFile, safe: true, logLevel: 'error' });
    return { url: host.url, close: () => host.close().finally(remove) };
  } catch (error) {
    remove();
    throw error;
  }
}

function writeServer(
  folder: string,
  plugin: string,
  { parameters = {}, plugins = [], ini = '' }: PluginServerOptions,
) {
  const pluginsFolder = join(folder, 'plugins');
  mkdirSync(pluginsFolder);
  const isFile = (other: string | URL) =>
    other instanceof URL || isAbsolute(other) || other.startsWith('file:');
  const others = plugins.filter(isFile).map(pathOf);
  for (const path of [plugin, ...others]) symlinkSync(path, join(pluginsFolder, basename(path)));
  const { packages } = discoverPlugins(pluginsFolder);
  const nameOf = (path: string) => packages.find(({ folder }) => folder === path)?.name ?? basename(path);
  const name = nameOf(plugin);
  const safe = [name, ...others.map(nameOf), ...plugins.filter((other) => !isFile(other))];
  writeFileSync(join(folder, 'parameters.json'), JSON.stringify(parameters));
  const iniFile = join(folder, 'plugin-server.ini');
  const lines = [
    '[main]',
    `safe=list:${safe.join(' ')}`,
    '[network]',
    'port=int:0',
    '[plugin_parms]',
    `${name}=auth_type=none&json=parameters.json`,
    ini,
  ];
  writeFileSync(iniFile, `${lines.join('\n')}\n`);
  return iniFile;
}

function pathOf(plugin: URL | string): string {
  return realpathSync(String(plugin).startsWith('file:') ? fileURLToPath(plugin) : plugin);
}

const KNOWN: readonly string[] = ['parameters', 'plugins', 'ini'] satisfies (keyof PluginServerOptions)[];

/** A misspelt option would leave the test with defaults, and pass. */
function refuseUnknown(options: PluginServerOptions): void {
  for (const key of Object.keys(options)) {
    if (KNOWN.includes(key)) continue;
    const near = nearest(key, KNOWN);
    const hint = near === undefined ? `the options are ${KNOWN.join(', ')}` : `did you mean "${near}"?`;
    throw new TypeError(`startPlugin: unknown option "${key}"; ${hint}`);
  }
}
