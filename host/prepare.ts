import { createPrivateKey, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { z } from 'zod';
import {
  boolean,
  ConfigError,
  type Configuration,
  choice,
  type Located,
  list,
  maskedValue,
  nearest,
  type Position,
  type Problem,
  readConfiguration,
  splitKeys,
  text,
} from '../config/index.js';
import type { PluginCode } from './blame.js';
import { withDeadline } from './deadline.js';
import { discoverPlugins, type PluginPackage } from './discovery.js';
import { DEADLINES, type Deadlines, messageOf, orderPlugins } from './lifecycle.js';
import { findSyntaxError, importPlugin } from './loader.js';
import { locateError, locateText } from './locate.js';
import { version as hostVersion, packageFolder } from './package-info.js';
import { isReserved, PATH_FORM, RESERVED_PATHS, routePath } from './paths.js';
import { isPlugin, type PluginDefinition } from './plugin.js';
import { PARAMETERS, readSettings, reportMisspeltSections, type Settings, sections } from './settings.js';

export interface PrepareOptions {
  readonly iniFile: string;
  /** For `${ENV:…}`; the process's own when absent. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Starts no plugin but those that `[main] safe` names. */
  readonly safe?: boolean;
  /** In place of the usual ones. */
  readonly deadlines?: Partial<Deadlines>;
  /** Told of each plugin before its code is loaded, and again before it is set up. */
  readonly onPlugin?: (plugin: PluginCode) => void;
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

export { RESERVED_PATHS };

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
  /** Its line in `[plugin_parms]`, if there is one. */
  readonly line: Located | undefined;
  /** Where its parameters are, or where they would be. */
  readonly position: Position;
  /** Where its path is written, when it is. */
  readonly pathPosition?: Position | undefined;
  /** Why it cannot be set up; only a plugin that is not required gets as far as this with a fault. */
  readonly fault?: Problem;
  /** Its configuration as it is written, secrets masked. */
  readonly shown: { readonly parameters: unknown; readonly sections: Readonly<Record<string, unknown>> };
}

/** Which key opens a plugin. `own`: it asks for keys itself, route by route. */
export type AuthType = 'global' | 'plugin' | 'none' | 'own';

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
  const plugins = await preparePlugins(configuration, settings, pluginsFolder, options);
  const pluginSections = plugins.flatMap(({ definition }) => Object.keys(definition.sections ?? {}));
  // In safe mode nobody knows which sections belong to the plugins that are left out.
  if (!options.safe) reportMisspeltSections(configuration, pluginSections);
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
  options: PrepareOptions,
): Promise<readonly PreparedPlugin[]> {
  const { packages, faults } = discoverPlugins(pluginsFolder);
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
      !settings?.safe.some((name) => name.toLowerCase() === package_.name.toLowerCase())
    )
      continue;
    if (isSwitchedOff(lines.get(package_.name.toLowerCase()), 'enabled')) continue;
    const plugin = await preparePlugin(configuration, package_, lines, options);
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
  const misplaced = new Map<string, Problem>();
  for (const { plugin, message, missing } of orderFaults) {
    const { package_, position, required } = plugins.find(({ name }) => name === plugin)!;
    const near = missing === undefined ? undefined : nearest(missing, [...known.keys()]);
    const at = package_.bundled ? position : { file: package_.entry, line: 1, column: 1 };
    const hint = near === undefined ? 'mend "after" in definePlugin' : `did you mean "${near}"?`;
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
  options: PrepareOptions,
): Promise<PreparedPlugin | undefined> {
  const ownLine = lines.get(package_.name.toLowerCase());
  options.onPlugin?.({ name: package_.name, folder: package_.folder });
  const loaded = await load(package_, options.deadlines?.load ?? DEADLINES.load);
  if ('fault' in loaded) {
    if (isSwitchedOff(ownLine, 'required')) return unusable(configuration, package_, ownLine, loaded.fault);
    const { position, message, hint } = loaded.fault;
    configuration.report(position, message, hint);
    return undefined;
  }
  const { definition } = loaded;
  const name = definition.name ?? package_.name;
  const line = lines.get(name.toLowerCase()) ?? ownLine;
  return readParameters(configuration, { name, package_, definition, line });
}

/** The package's definition, or what keeps it from being used. */
async function load(
  package_: PluginPackage,
  deadline: number,
): Promise<{ readonly definition: PluginDefinition } | { readonly fault: Problem }> {
  const { name, entry, folder, hostRange } = package_;
  const fault = (
    message: string,
    hint: string,
    position: Position = { file: entry, line: 1, column: 1 },
  ) => ({
    fault: { position, message, hint },
  });
  if (hostRange !== undefined && !(await fitsHost(hostRange))) {
    return fault(
      `plugin "${name}" is for plugin-server ${hostRange}, and this is ${hostVersion}`,
      'install a version of the plugin that fits, or mend "engines" in its package.json',
      locateText(join(folder, 'package.json'), '"plugin-server"'),
    );
  }
  let exported: unknown;
  try {
    const late = () => new Error(`it did not finish within ${deadline / 1000} s`);
    exported = defaultExport(await withDeadline(deadline, () => importPlugin(entry), late));
  } catch (error) {
    const why = firstLine(error)
      .replaceAll(join(folder, '..', '/'), '')
      .replaceAll(packageFolder, '');
    const at =
      locateError(error, folder) ??
      (error instanceof SyntaxError ? await findSyntaxError(folder) : undefined);
    return fault(`plugin "${name}" cannot be loaded: ${why}`, 'mend this file', at);
  }
  if (!isPlugin(exported)) {
    return fault(
      `plugin "${name}" has no default export made by definePlugin`,
      'write: export default definePlugin({ setup({ router }) { … } })',
    );
  }
  if (exported.name !== undefined && !NAME.test(exported.name)) {
    return fault(
      `plugin "${name}" calls itself "${exported.name}", which is no name for a plugin`,
      'use letters, digits, ".", "_" and "-", a letter or digit first',
    );
  }
  return { definition: exported };
}

async function fitsHost(range: string): Promise<boolean> {
  const { satisfies, validRange } = (await import('semver')).default;
  return validRange(range) !== null && satisfies(hostVersion, range);
}

/** A plugin that the server starts without. */
function unusable(
  configuration: Configuration,
  package_: PluginPackage,
  line: Located | undefined,
  fault: Problem,
): PreparedPlugin {
  const { name, version = '0.0.0' } = package_;
  return {
    name,
    path: routePath(String(childOf(line, 'route_path')?.value ?? name)) ?? `/${name}`,
    version,
    package_,
    definition: { setup() {} },
    after: [],
    parameters: {},
    sections: {},
    required: false,
    auth: 'none',
    keys: [],
    line,
    position: positionOf(configuration, line),
    shown: { parameters: line === undefined ? {} : maskedValue(line), sections: {} },
    fault,
  };
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
  const shownSections: Record<string, unknown> = {};
  for (const [section, sectionSchema] of Object.entries(definition.sections ?? {})) {
    if (section.toLowerCase() in sections) {
      configuration.report(
        { file: package_.entry, line: 1, column: 1 },
        `plugin "${name}" asks for the section [${section}], which is the host's`,
        'name a section of its own',
      );
    } else {
      sectionValues[section] = configuration.read(section, sectionSchema);
      const written = configuration.section(section);
      if (written !== undefined) shownSections[section] = maskedValue(written);
    }
  }
  if (definition.auth === 'own') {
    for (const key of ['auth_type', 'auth', 'apikey']) {
      const given = childOf(taken, key);
      if (given === undefined) continue;
      configuration.report(
        given.keyPosition ?? given.position,
        `${name} takes no ${key}: it asks for keys itself`,
        'remove it',
      );
    }
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
      PATH_FORM,
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
    auth: definition.auth ?? host.auth_type,
    keys,
    line,
    position: positionOf(configuration, line),
    pathPosition: childOf(line, 'route_path')?.position,
    shown: { parameters: line === undefined ? {} : maskedValue(line), sections: shownSections },
  };
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
    if (isReserved(plugin.path)) {
      configuration.report(
        plugin.pathPosition ?? plugin.position,
        `the path ${plugin.path} of plugin "${plugin.name}" is the host's own`,
        `write ${plugin.name}=route_path=PATH in [${PARAMETERS}]`,
      );
    }
    const samePath = paths.get(plugin.path);
    if (samePath !== undefined) {
      const movable = plugin.pathPosition === undefined ? samePath : plugin;
      configuration.report(
        movable.pathPosition ?? movable.position,
        `plugins "${samePath.name}" and "${plugin.name}" both want the path ${plugin.path}`,
        `write ${movable.name}=route_path=PATH in [${PARAMETERS}]`,
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

/** Whether a line has a switch of the host's and it is off. */
function isSwitchedOff(line: Located | undefined, key: 'enabled' | 'required'): boolean {
  const value = childOf(line, key)?.value;
  return value === false || boolean().safeParse(value).data === false;
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
  return messageOf(error).split('\n', 1)[0]!;
}
