import { type Configuration, childAt, nearest } from '../../config/index.js';
import type { PluginPackage } from './discovery.js';
import { parseAfter } from './order.js';
import type { PreparedPlugin } from './plugin-parameters.js';

/**
 * Binds each name in a plugin's `after` to a plugin that runs: the one that its line names in `with`, else the plugin of
 * that name, else the only one that uses it. Reports a name that several use, and what is wrong with `with`.
 */
export function bindAfter(
  configuration: Configuration,
  plugins: readonly PreparedPlugin[],
): readonly PreparedPlugin[] {
  const byName = new Map(plugins.map((plugin) => [plugin.name.toLowerCase(), plugin]));
  return plugins.map((plugin) => {
    const chosen = readWith(configuration, plugin, byName);
    const bindings = new Map<string, string>();
    const after: string[] = [];
    for (const entry of plugin.after) {
      const { name, optional } = parseAfter(entry);
      const choice = chosen.get(name.toLowerCase());
      // Mistakes in `with` have been reported.
      if (choice === undefined && chosen.has(name.toLowerCase())) continue;
      const candidates = choice === undefined ? candidatesFor(name, byName, plugins) : [choice];
      if (candidates.length > 1) {
        reportSeveral(configuration, plugin, name, candidates);
        continue;
      }
      const bound = candidates[0]?.name ?? name;
      if (bound.toLowerCase() !== name.toLowerCase()) bindings.set(name.toLowerCase(), bound);
      after.push(optional ? `${bound}?` : bound);
    }
    return { ...plugin, after, bindings };
  });
}

type ByName = ReadonlyMap<string, PreparedPlugin>;

/** The pairs in the line's `with`: the name in the plugin's code, in lower case, and the plugin that it stands for. */
function readWith(
  configuration: Configuration,
  { name, after, line, with: pairs }: PreparedPlugin,
  byName: ByName,
): ReadonlyMap<string, PreparedPlugin | undefined> {
  const chosen = new Map<string, PreparedPlugin | undefined>();
  const known = after.map((entry) => parseAfter(entry).name);
  const written = childAt(line, 'with')!;
  for (const [i, pair] of pairs.entries()) {
    const at = childAt(written, i) ?? written;
    const [role = '', target = ''] = pair.split(':');
    const other = byName.get(target.toLowerCase());
    if (!known.some((each) => each.toLowerCase() === role.toLowerCase())) {
      const near = nearest(role, known);
      const names = known.length === 0 ? 'none' : known.join(', ');
      configuration.report(
        at,
        `plugin "${name}" does not depend on "${role}"`,
        near === undefined ? `it depends on: ${names}` : `did you mean "${near}"?`,
      );
    } else if (other === undefined) {
      const near = nearest(target, [...byName.keys()]);
      const hint = near === undefined ? `the plugins are ${[...byName.keys()].join(', ')}` : undefined;
      configuration.report(at, `plugin "${target}" does not exist`, hint ?? `did you mean "${near}"?`);
    }
    chosen.set(role.toLowerCase(), other);
  }
  return chosen;
}

function candidatesFor(
  name: string,
  byName: ByName,
  plugins: readonly PreparedPlugin[],
): readonly PreparedPlugin[] {
  const own = byName.get(name.toLowerCase());
  return own === undefined ? plugins.filter((plugin) => isInstanceOf(plugin, name)) : [own];
}

function isInstanceOf({ uses, package_, definition }: PreparedPlugin, name: string): boolean {
  if (uses === undefined) return false;
  return namesOf(package_, definition.name).includes(name.toLowerCase());
}

/** Each name by which a plugin is known, in lower case. */
function namesOf({ name, installedAs }: PluginPackage, defined: string | undefined): string[] {
  return [defined, name, installedAs].flatMap((each) => (each === undefined ? [] : [each.toLowerCase()]));
}

function reportSeveral(
  configuration: Configuration,
  { name, line, position }: PreparedPlugin,
  wanted: string,
  candidates: readonly PreparedPlugin[],
): void {
  const names = candidates.map((candidate) => `"${candidate.name}"`).join(', ');
  configuration.report(
    line ?? position,
    `plugin "${name}" depends on "${wanted}", which several plugins provide: ${names}`,
    `write ${line === undefined ? `${name}=` : ''}with=${wanted}:${candidates[0]!.name} in its line`,
  );
}
