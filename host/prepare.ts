import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { satisfies, validRange } from 'semver';
import { z } from 'zod';
import {
  boolean,
  ConfigError,
  type Configuration,
  choice,
  type Located,
  list,
  nearest,
  type Position,
  readConfiguration,
  splitKeys,
  text,
} from '../config/index.js';
import { discoverPlugins, type PluginPackage } from './discovery.js';
import { messageOf, orderPlugins } from './lifecycle.js';
import { importPlugin } from './loader.js';
import { locateError } from './locate.js';
import { version as hostVersion, packageFolder } from './package-info.js';
import { isPlugin, type PluginDefinition } from './plugin.js';
import { PARAMETERS, readSettings, type Settings, sections } from './settings.js';

export interface PrepareOptions {
  readonly iniFile: string;
  /** For `${ENV:…}`; the process's own when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Starts no plugin but those that `[main] safe` names. */
  readonly safe?: boolean;
  /** Reads a configuration file; a worker that replaces a fallen one reads what its generation began with. */
  readonly readFile?: (path: string) => string;
}

/** A whole configuration that is right, and the plugins it names, imported and not yet set up. */
export interface Prepared {
  readonly configuration: Configuration;
  readonly settings: Settings;
  /** In the order in which they are set up. */
  readonly plugins: readonly PreparedPlugin[];
  /** PEM texts. */
  readonly tls: { readonly key: string; readonly cert: string } | undefined;
}

export interface PreparedPlugin {
  readonly name: string;
  /** `/sessman` */
  readonly path: string;
  readonly version: string;
  readonly package_: PluginPackage;
  readonly definition: PluginDefinition;
  readonly after: readonly string[];
  readonly parameters: unknown;
  readonly sections: Readonly<Record<string, unknown>>;
  readonly required: boolean;
  readonly auth: AuthType;
  /** The plugin's own keys, where `auth` is `plugin`. */
  readonly keys: readonly string[];
  /** Where its parameters are, or where they would be. */
  readonly position: Position;
}

export type AuthType = 'global' | 'plugin' | 'none';

/** The parameters that the host takes of each plugin's line. */
export const hostParameters = z.object({
  route_path: text()
    .optional()
    .meta({ description: "the path of its routes; the plugin's name when absent" }),
  auth_type: choice(['global', 'plugin', 'none'])
    .default('global')
    .meta({ description: 'which key it needs', aliases: ['auth'] }),
  apikey: z
    .union([text(), list()])
    .optional()
    .meta({ description: 'its own key or keys, for `auth_type=plugin`', secret: true }),
  enabled: boolean().default(true).meta({ description: '`false` leaves the plugin out' }),
  required: boolean()
    .default(true)
    .meta({ description: '`false` lets the server start when the plugin fails' }),
});

/** Those, and their other names. */
const HOST_KEYS = [...Object.keys(hostParameters.shape), 'auth'];

/** Paths that are the host's own. */
export const RESERVED_PATHS = ['livez', 'healthz', 'readyz', 'metrics', 'openapi.json', 'plugins', 'reload'];

const NAME = /^[a-z0-9][\w.-]*$/i;

/**
 * Reads everything and serves nothing: the INI file, the JSON files, each plugin's module, certificates.
 * Rejects with a ConfigError that has every problem of them all.
 */
export async function prepare(options: PrepareOptions): Promise<Prepared> {
  const configuration = readConfiguration(options.iniFile, {
    env: options.env ?? process.env,
    parameterSections: [PARAMETERS],
    jsonFolders: (value) => [configuredPlugins(value)],
    ...(options.readFile && { readFile: options.readFile }),
  });
  const settings = readSettings(configuration);
  const pluginsFolder = settings?.pluginsFolder ?? configuration.resolvePath('plugins');
  const named = configuration.section('paths');
  if (settings !== undefined && !existsSync(pluginsFolder)) {
    const at = childOf(named, 'plugins') ?? childOf(named, 'pluginpath');
    if (at !== undefined) {
      configuration.report(
        at,
        'the plugins folder is not there',
        'make it, or write the path of one that is',
      );
    }
  }
  const plugins = await preparePlugins(configuration, settings, pluginsFolder, options.safe === true);
  const tls = settings?.tls && readTls(configuration, settings.tls);
  if (settings === undefined || configuration.problems.length > 0)
    throw new ConfigError(configuration.problems);
  return { configuration, settings, plugins, tls };
}

function configuredPlugins(value: (section: string, key: string) => string | undefined): string {
  return value('paths', 'plugins') ?? value('paths', 'pluginpath') ?? 'plugins';
}

async function preparePlugins(
  configuration: Configuration,
  settings: Settings | undefined,
  pluginsFolder: string,
  safe: boolean,
): Promise<readonly PreparedPlugin[]> {
  const { packages, faults } = discoverPlugins(pluginsFolder);
  for (const { path, message, hint } of faults) {
    configuration.report({ file: path, line: 1, column: 1 }, message, hint);
  }
  const lines = parameterLines(configuration);
  const known = new Map<string, PluginPackage>();
  const plugins: PreparedPlugin[] = [];
  for (const package_ of packages) {
    known.set(package_.name.toLowerCase(), package_);
    if (safe && !settings?.safe.some((name) => name.toLowerCase() === package_.name.toLowerCase())) continue;
    if (isDisabled(lines.get(package_.name.toLowerCase()))) continue;
    const plugin = await preparePlugin(configuration, package_, lines);
    if (plugin === undefined) continue;
    known.set(plugin.name.toLowerCase(), package_);
    plugins.push(plugin);
  }
  for (const [name, line] of lines) {
    if (known.has(name)) continue;
    const near = nearest(name, [...known.keys()]);
    configuration.report(
      line.keyPosition ?? line.position,
      `there is no plugin "${name}"`,
      near === undefined ? `the plugins are ${[...known.keys()].join(', ')}` : `did you mean "${near}"?`,
    );
  }
  reportClashes(configuration, plugins);
  const { ordered, faults: orderFaults } = orderPlugins(plugins);
  for (const { plugin, message, missing } of orderFaults) {
    const { package_, position } = plugins.find(({ name }) => name === plugin)!;
    const near = missing === undefined ? undefined : nearest(missing, [...known.keys()]);
    configuration.report(
      package_.bundled ? position : { file: package_.entry, line: 1, column: 1 },
      message,
      near === undefined ? 'mend "after" in definePlugin' : `did you mean "${near}"?`,
    );
  }
  return ordered;
}

async function preparePlugin(
  configuration: Configuration,
  package_: PluginPackage,
  lines: ReadonlyMap<string, Located>,
): Promise<PreparedPlugin | undefined> {
  const atEntry = { file: package_.entry, line: 1, column: 1 };
  const { hostRange } = package_;
  if (hostRange !== undefined && !(validRange(hostRange) && satisfies(hostVersion, hostRange))) {
    configuration.report(
      { file: package_.folder, line: 1, column: 1 },
      `plugin "${package_.name}" is for plugin-server ${hostRange}, and this is ${hostVersion}`,
      'install a version of the plugin that fits, or mend "engines" in its package.json',
    );
    return undefined;
  }
  let exported: unknown;
  try {
    exported = defaultExport(await importPlugin(package_.entry));
  } catch (error) {
    const at = locateError(error, package_.folder) ?? atEntry;
    configuration.report(
      at,
      `plugin "${package_.name}" cannot be loaded: ${firstLine(error)}`,
      'mend this file',
    );
    return undefined;
  }
  if (!isPlugin(exported)) {
    configuration.report(
      atEntry,
      `plugin "${package_.name}" has no default export made by definePlugin`,
      'write: export default definePlugin({ setup({ router }) { … } })',
    );
    return undefined;
  }
  const name = exported.name ?? package_.name;
  if (!NAME.test(name)) {
    configuration.report(
      atEntry,
      `"${name}" is no name for a plugin`,
      'use letters, digits, ".", "_" and "-", a letter or digit first',
    );
    return undefined;
  }
  const line = lines.get(name.toLowerCase()) ?? lines.get(package_.name.toLowerCase());
  return readParameters(configuration, { name, package_, definition: exported, line });
}

function readParameters(
  configuration: Configuration,
  plugin: { name: string; package_: PluginPackage; definition: PluginDefinition; line: Located | undefined },
): PreparedPlugin | undefined {
  const { name, package_, definition, line } = plugin;
  const where = `the parameters of ${name}`;
  const { taken, rest } =
    line === undefined ? { taken: undefined, rest: undefined } : splitKeys(line, HOST_KEYS);
  const host = configuration.check(taken, hostParameters, where);
  const schema = definition.config ?? z.strictObject({});
  const parameters = configuration.check(rest, schema, where, { alsoKnown: HOST_KEYS });
  const sectionValues: Record<string, unknown> = {};
  for (const [section, sectionSchema] of Object.entries(definition.sections ?? {})) {
    if (section.toLowerCase() in sections) {
      configuration.report(
        { file: package_.entry, line: 1, column: 1 },
        `plugin "${name}" asks for the section [${section}], which is the host's`,
        'name a section of its own',
      );
    } else sectionValues[section] = configuration.read(section, sectionSchema);
  }
  if (host === undefined || parameters === undefined) return undefined;
  if (!host.enabled) return undefined;
  const keys = host.apikey === undefined ? [] : typeof host.apikey === 'string' ? [host.apikey] : host.apikey;
  if (host.auth_type === 'plugin' && keys.length === 0) {
    configuration.report(line!, `${name} has auth_type=plugin and no apikey`, 'add &apikey=KEY');
  }
  const path = routePath(host.route_path ?? name);
  if (path === undefined) {
    configuration.report(
      childOf(line, 'route_path') ?? positionOf(configuration, line),
      `"${host.route_path ?? name}" is no path for a plugin`,
      'write segments of letters, digits, ".", "_", "~" and "-", such as api/hello',
    );
    return undefined;
  }
  return {
    name,
    path,
    version: package_.version ?? (package_.bundled ? hostVersion : '0.0.0'),
    package_,
    definition,
    after: definition.after ?? [],
    parameters,
    sections: sectionValues,
    required: host.required,
    auth: host.auth_type,
    keys,
    position: positionOf(configuration, line),
  };
}

/** `/api/hello` of `api/hello/`; undefined when it cannot be one. */
function routePath(text: string): string | undefined {
  const trimmed = text.replace(/^\/|\/$/g, '');
  return /^[\w.~-]+(?:\/[\w.~-]+)*$/.test(trimmed) && !/(?:^|\/)\.{1,2}(?:\/|$)/.test(trimmed)
    ? `/${trimmed}`
    : undefined;
}

function reportClashes(configuration: Configuration, plugins: readonly PreparedPlugin[]): void {
  const names = new Map<string, PreparedPlugin>();
  const paths = new Map<string, PreparedPlugin>();
  for (const plugin of plugins) {
    const sameName = names.get(plugin.name.toLowerCase());
    if (sameName !== undefined) {
      const [one, two] = [sameName, plugin].map(({ package_ }) => basename(package_.folder));
      configuration.report(
        { file: plugin.package_.entry, line: 1, column: 1 },
        `two plugins are named "${plugin.name}": ${one} and ${two}`,
        'give one another name in definePlugin or its package.json',
      );
      continue;
    }
    names.set(plugin.name.toLowerCase(), plugin);
    if (RESERVED_PATHS.includes(plugin.path.split('/')[1]!)) {
      configuration.report(
        plugin.position,
        `the path ${plugin.path} of plugin "${plugin.name}" is the host's own`,
        `write ${plugin.name}=route_path=PATH in [${PARAMETERS}]`,
      );
    }
    const samePath = paths.get(plugin.path);
    if (samePath !== undefined) {
      configuration.report(
        plugin.position,
        `plugins "${samePath.name}" and "${plugin.name}" both want the path ${plugin.path}`,
        `write ${plugin.name}=route_path=PATH in [${PARAMETERS}]`,
      );
    }
    paths.set(plugin.path, plugin);
  }
}

/** The TLS files, checked as far as they can be before a client comes. */
function readTls(
  configuration: Configuration,
  { keyFile, certFile }: NonNullable<Settings['tls']>,
): { key: string; cert: string } | undefined {
  const section = configuration.section('ssl')!;
  const read = (file: string, key: string) => {
    try {
      return readFileSync(file, 'utf8');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const why =
        code === 'ENOENT'
          ? 'is not there'
          : code === 'EACCES'
            ? 'may not be read'
            : `cannot be read (${code})`;
      configuration.report(
        childOf(section, key) ?? section,
        `the ${key} ${why}`,
        'write the path of a PEM file',
      );
      return undefined;
    }
  };
  const [key, cert] = [read(keyFile, 'keyfile'), read(certFile, 'certfile')];
  if (key === undefined || cert === undefined) return undefined;
  const atKey = childOf(section, 'keyfile') ?? section;
  const atCert = childOf(section, 'certfile') ?? section;
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(cert);
  } catch {
    configuration.report(
      atCert,
      'the certfile holds no PEM certificate',
      'give one that begins with -----BEGIN CERTIFICATE-----',
    );
    return undefined;
  }
  let privateKey: ReturnType<typeof createPrivateKey>;
  try {
    privateKey = createPrivateKey(key);
  } catch {
    configuration.report(
      atKey,
      'the keyfile holds no PEM private key without a passphrase',
      'give one that begins with -----BEGIN PRIVATE KEY-----',
    );
    return undefined;
  }
  if (!certificate.checkPrivateKey(privateKey)) {
    configuration.report(
      atKey,
      'the keyfile and the certfile are not a pair',
      'give the key that the certificate was made for',
    );
  }
  if (Date.parse(certificate.validTo) < Date.now()) {
    configuration.report(atCert, `the certificate expired on ${certificate.validTo}`, 'renew it');
  }
  return { key, cert };
}

function parameterLines(configuration: Configuration): Map<string, Located> {
  const children = configuration.section(PARAMETERS)?.children;
  const lines = new Map<string, Located>();
  if (children instanceof Map)
    for (const [name, line] of children) lines.set(name.toLowerCase(), line as Located);
  return lines;
}

/** Where a plugin's line is, or where it would be. */
function positionOf(configuration: Configuration, line: Located | undefined): Position {
  const at = line ?? configuration.section(PARAMETERS);
  return at?.keyPosition ?? { file: configuration.file, line: 1, column: 1 };
}

function isDisabled(line: Located | undefined): boolean {
  const enabled = childOf(line, 'enabled')?.value;
  return enabled === false || boolean().safeParse(enabled).data === false;
}

function childOf(located: Located | undefined, key: string): Located | undefined {
  const children = located?.children;
  return children instanceof Map ? (children.get(key) as Located | undefined) : undefined;
}

/** The default export, also of a CommonJS module whose interop wraps it once more. */
function defaultExport(module: Record<string, unknown>): unknown {
  const first = module.default;
  return isPlugin(first) || typeof first !== 'object' || first === null || !('default' in first)
    ? first
    : first.default;
}

function firstLine(error: unknown): string {
  return messageOf(error).split('\n')[0]!.replaceAll(packageFolder, '');
}
