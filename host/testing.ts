import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Host } from './host.js';
import { discoverPlugins } from './prepare/discovery.js';

export interface PluginServerOptions {
  /** The plugin's parameters, as its line in `[plugin_parms]` would give them. */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /** Other plugins that it needs, of those that come with the server: `['sessman']`. */
  readonly plugins?: readonly string[];
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
 * @throws ConfigError when the parameters or the plugin are wrong
 */
export async function startPlugin(
  plugin: URL | string,
  options: PluginServerOptions = {},
): Promise<PluginServer> {
  const path = realpathSync(plugin instanceof URL ? fileURLToPath(plugin) : plugin);
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
  symlinkSync(plugin, join(pluginsFolder, basename(plugin)));
  const own = discoverPlugins(pluginsFolder).packages.find(({ bundled }) => !bundled);
  const name = own?.name ?? basename(plugin);
  writeFileSync(join(folder, 'parameters.json'), JSON.stringify(parameters));
  const iniFile = join(folder, 'plugin-server.ini');
  const lines = [
    '[main]',
    `safe=list:${[name, ...plugins].join(' ')}`,
    '[network]',
    'port=int:0',
    '[plugin_parms]',
    `${name}=auth_type=none&json=parameters.json`,
    ini,
  ];
  writeFileSync(iniFile, `${lines.join('\n')}\n`);
  return iniFile;
}
