import { z } from 'zod';
import {
  boolean,
  type Configuration,
  childAt,
  choice,
  integer,
  keyPlace,
  keys,
  type Located,
  list,
  maskedValue,
  type Position,
  type Problem,
  splitKeys,
  text,
} from '../../config/index.js';
import type { PluginDefinition } from '../kit/index.js';
import type { AuthType } from '../kit/server-view.js';
import { version as hostVersion } from '../package-layout.js';
import type { PluginPackage } from './discovery.js';
import type { Line } from './lines.js';
import { PATH_FORM, routePath } from './paths.js';
import { PARAMETERS, sections } from './settings.js';

export interface PreparedPlugin {
  readonly name: string;
  /** `/sessman` */
  readonly path: string;
  readonly version: string;
  readonly package_: PluginPackage;
  readonly definition: PluginDefinition;
  /** The plugin or package that its line names in `uses`. */
  readonly uses: string | undefined;
  /** The name of its data: of its folder, its storage and everything else that it keeps. */
  readonly dataName: string;
  /** Which plugins its line chooses for the names in `after`: `NAME:PLUGIN`. */
  readonly with: readonly string[];
  /** Names of plugins that run; until they are bound, as the code has them. */
  readonly after: readonly string[];
  /** The names in `after` as the code has them, in lower case, whose plugins have another name. */
  readonly bindings: ReadonlyMap<string, string>;
  readonly parameters: unknown;
  readonly sections: Readonly<Record<string, unknown>>;
  readonly required: boolean;
  readonly auth: AuthType;
  /** The plugin's own keys, where `auth` is `plugin`. */
  readonly keys: readonly string[];
  /** The limits on bodies in its line: bytes and milliseconds. */
  readonly bounds: { readonly limit: number | undefined; readonly timeout: number | undefined };
  /** Its line in `[plugin_parms]`, if there is one. */
  readonly line: Located | undefined;
  /** The position of its parameters, or where they would be. */
  readonly position: Position;
  /** The position of its path, if it is written. */
  readonly pathPosition?: Position | undefined;
  /** Why it cannot be set up; only a plugin that is not required gets as far as this with a fault. */
  readonly fault?: Problem;
  /** Of a plugin that is not required: aborts with an error that its code leaves uncaught before it is set up. */
  readonly stray?: AbortSignal;
  /** Its configuration as it is written, secrets masked. */
  readonly shown: { readonly parameters: unknown; readonly sections: Readonly<Record<string, unknown>> };
}

const namePattern = /^[a-z0-9][\w.-]*$/i;

/** The host's own parameters in each plugin's line. */
export const hostParameters = z.object({
  route_path: text().optional().meta({ description: "the path of its routes; by default the plugin's name" }),
  auth_type: choice(['global', 'plugin', 'none'])
    .default('global')
    .meta({ description: 'which API key its routes require', aliases: ['auth'] }),
  apikey: keys()
    .optional()
    .meta({ description: 'its own key or keys, for `auth_type=plugin`', secret: true }),
  enabled: boolean().default(true).meta({ description: '`false` leaves the plugin out' }),
  required: boolean()
    .default(true)
    .meta({ description: '`false` lets the server start when the plugin fails' }),
  body_limit: integer({ min: 1 })
    .optional()
    .meta({ description: 'maximum size of a request body, in bytes; replaces `[limits] body`' }),
  request_timeout: integer({ min: 1, max: 86_400 }).optional().meta({
    description: 'seconds within which a whole request must arrive; replaces `[limits] request_timeout`',
  }),
  uses: text().optional().meta({
    description:
      "the plugin that this line runs, if its name differs from the line's: a plugin, or a package in `node_modules` beside the INI file; `npm:NAME` is always the package",
  }),
  with: list(text().regex(/^[^:\s]+:[^:\s]+$/, 'expected NAME:PLUGIN, such as shop:shop_eu'))
    .default([])
    .meta({
      description:
        'which instances it works with, if a plugin that it depends on runs several times: a `list:` of `NAME:PLUGIN`, such as `shop:shop_eu`',
    }),
  data: z
    .string()
    .regex(namePattern, 'is not a name; write letters, digits, ".", "_" and "-"')
    .optional()
    .meta({
      description:
        "the name of its data: of its folder below `[paths] data`, and of its storage; by default the line's name in lower case",
    }),
});

/** Those, and their other names. */
const HOST_KEYS = [...Object.keys(hostParameters.shape), 'auth'];

/** A plugin that the server starts without. */
export function unusable(
  configuration: Configuration,
  { name, package_, line }: { name: string; package_: PluginPackage; line: Located },
  fault: Problem,
): PreparedPlugin {
  const { version = '0.0.0' } = package_;
  return {
    name,
    path: routePath(String(childAt(line, 'route_path')?.value ?? name)) ?? `/${name}`,
    version,
    package_,
    definition: { setup() {} },
    uses: usesOf(line),
    dataName: String(childAt(line, 'data')?.value ?? name.toLowerCase()),
    with: [],
    after: [],
    bindings: new Map(),
    parameters: {},
    sections: {},
    required: false,
    auth: 'none',
    keys: [],
    bounds: { limit: undefined, timeout: undefined },
    line,
    position: positionOf(configuration, line),
    shown: { parameters: maskedValue(line), sections: {} },
    fault,
  };
}

/** Checks a plugin's line and sections; undefined if it is switched off, or once its mistakes have been reported. */
export function readParameters(
  configuration: Configuration,
  plugin: {
    name: string;
    package_: PluginPackage;
    definition: PluginDefinition;
    line: Line | undefined;
    keyless: boolean;
  },
): PreparedPlugin | undefined {
  const { name, package_, definition } = plugin;
  const line = plugin.line?.at;
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
        `plugin "${name}" declares the section [${section}], which belongs to the server`,
        'give the section another name',
      );
    } else {
      sectionValues[section] = configuration.read(section, sectionSchema);
      const written = configuration.section(section);
      if (written !== undefined) shownSections[section] = maskedValue(written);
    }
  }
  if (definition.auth === 'own') {
    for (const key of ['auth_type', 'auth', 'apikey']) {
      const given = childAt(taken, key);
      if (given === undefined) continue;
      configuration.report(
        keyPlace(given),
        `plugin "${name}" does not accept ${key}: it checks keys itself`,
        'remove it',
      );
    }
  }
  if (plugin.line?.uses !== undefined && !namePattern.test(name)) {
    configuration.report(keyPlace(plugin.line.at), `"${name}" is not a valid name for a plugin`, nameForm);
  }
  if (host === undefined || parameters === undefined) return undefined;
  if (!host.enabled) return undefined;
  const keys = host.apikey === undefined ? [] : typeof host.apikey === 'string' ? [host.apikey] : host.apikey;
  if (host.auth_type === 'plugin' && keys.length === 0) {
    configuration.report(line!, `plugin "${name}" has auth_type=plugin but no apikey`, 'add &apikey=KEY');
  }
  const path = routePath(host.route_path ?? name);
  if (path === undefined) {
    configuration.report(
      childAt(line, 'route_path') ?? positionOf(configuration, line),
      `"${host.route_path ?? name}" is not a valid path for a plugin`,
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
    uses: host.uses,
    dataName: host.data ?? name.toLowerCase(),
    with: host.with,
    after: definition.after ?? [],
    bindings: new Map(),
    parameters,
    sections: sectionValues,
    required: host.required,
    auth: definition.auth ?? (plugin.keyless ? 'none' : host.auth_type),
    keys,
    bounds: {
      limit: host.body_limit,
      timeout: host.request_timeout === undefined ? undefined : host.request_timeout * 1000,
    },
    line,
    position: positionOf(configuration, line),
    pathPosition: childAt(line, 'route_path')?.position,
    shown: { parameters: line === undefined ? {} : maskedValue(line), sections: shownSections },
  };
}

const nameForm = 'write letters, digits, ".", "_" and "-", beginning with a letter or digit';

function usesOf(line: Located): string | undefined {
  const value = childAt(line, 'uses')?.value;
  return typeof value === 'string' ? value : undefined;
}

/** Where a plugin's line is, or where it would be. */
function positionOf(configuration: Configuration, line: Located | undefined): Position {
  const at = line ?? configuration.section(PARAMETERS);
  return at?.keyPosition ?? { file: configuration.file, line: 1, column: 1 };
}
