import { basename } from 'node:path';
import { type Configuration, nearest } from '../../config/index.js';
import type { DiscoveryFault, PluginPackage } from './discovery.js';
import { installedNames, packageOf } from './installed.js';
import type { Line, Lines } from './lines.js';

export interface UsesOptions {
  /** The plugins of the plugins folder and those that come with the server, by each of their names in lower case. */
  readonly plugins: ReadonlyMap<string, PluginPackage>;
  /** Names of plugins that cannot be used, which has been reported. */
  readonly faulty: ReadonlySet<string>;
  readonly installed: (name: string) => PluginPackage | DiscoveryFault | undefined;
  /** Whether to report unknown names: not if the plugins folder itself is wrong. */
  readonly isFolderRead: boolean;
}

/**
 * Which package each line with `uses` runs: a plugin of the plugins folder, else one that comes with the server, else a
 * package in node_modules beside the INI file. `npm:NAME` is always the package. Unknown names are reported.
 */
export function resolveUses(
  configuration: Configuration,
  lines: Lines,
  options: UsesOptions,
): ReadonlyMap<Line, PluginPackage> {
  const found = new Map<Line, PluginPackage>();
  for (const line of lines.values()) {
    if (line.uses === undefined || line.uses.broken) continue;
    const package_ = resolveOne(configuration, { ...line, uses: line.uses }, lines, options);
    if (package_ !== undefined) found.set(line, package_);
  }
  return found;
}

function resolveOne(
  configuration: Configuration,
  { name, uses }: Required<Line> & { readonly uses: NonNullable<Line['uses']> },
  lines: Lines,
  { plugins, faulty, installed, isFolderRead }: UsesOptions,
): PluginPackage | undefined {
  const target = typeof uses.value === 'string' ? uses.value.replace(/^npm:/, '') : '';
  if (target === '') {
    configuration.report(uses, `"uses" of plugin "${name}" is not a name`, 'write uses=PLUGIN');
    return undefined;
  }
  const isPackage = target !== uses.value;
  const plugin = isPackage ? undefined : plugins.get(target.toLowerCase());
  if (plugin !== undefined || (!isPackage && faulty.has(target.toLowerCase()))) return plugin;
  const package_ = installed(target);
  if (package_ !== undefined) {
    if ('entry' in package_) return package_;
    configuration.report(uses, `plugin "${name}": ${package_.message}`, package_.hint);
    return undefined;
  }
  const names = [...plugins.keys()];
  const fault = { name, target, names, installed: installedNames(configuration.folder) };
  const beside = `beside ${basename(configuration.file)}`;
  const leads = packageOf(target);
  if (leads !== target) configuration.report(uses, ...notAName(fault, leads));
  else if (isPackage || target.startsWith('@')) configuration.report(uses, ...notInstalled(fault, beside));
  else if (isFolderRead)
    configuration.report(uses, ...unknown(fault, beside, lines.get(target.toLowerCase())));
  return undefined;
}

/** A line whose `uses` leads to nothing that is there. */
interface Unresolved {
  readonly name: string;
  /** Without `npm:`. */
  readonly target: string;
  readonly names: readonly string[];
  readonly installed: readonly string[];
}

type Report = readonly [message: string, hint: string];

/** @param leads the package that the path leads into */
function notAName({ name, target, names, installed }: Unresolved, leads: string | undefined): Report {
  const near = nearest(target, new Set([...names, ...installed])) ?? leads;
  const write = `write ${near === undefined ? 'the name of a plugin or a package' : `uses=${near}`}`;
  return target.includes('/')
    ? [`"uses" of plugin "${name}" is a path, not a name`, write]
    : [`"uses" of plugin "${name}" is not a name`, `${write}, and "&" before the next parameter`];
}

function notInstalled({ name, target, installed }: Unresolved, beside: string): Report {
  const near = nearest(target, installed);
  const install = `run: npm install ${target}`;
  return [
    `plugin "${name}" uses the package "${target}", which is not in node_modules ${beside}`,
    near === undefined ? install : `did you mean "${near}"? If not, ${install}`,
  ];
}

function unknown(
  { name, target, names, installed }: Unresolved,
  beside: string,
  other: Line | undefined,
): Report {
  const near = nearest(target, new Set([...names, ...installed]));
  return [
    `plugin "${name}" uses "${target}", which is neither a plugin nor a package in node_modules ${beside}`,
    hintFor(other, near, names),
  ];
}

function hintFor(other: Line | undefined, near: string | undefined, names: readonly string[]): string {
  if (typeof other?.uses?.value === 'string')
    return `write uses=${other.uses.value}, as "${other.name}" does`;
  return near === undefined ? `the plugins are ${names.join(', ')}` : `did you mean "${near}"?`;
}
