import {
  type Configuration,
  childAt,
  keyPlace,
  type Located,
  nearest,
  type Position,
  type Problem,
} from '../../config/index.js';
import { shownPath } from '../diagnostics/placed-problem.js';
import { DEADLINES, type Deadlines } from '../kit/deadline.js';
import { bindAfter } from './bindings.js';
import { reportClashes } from './clashes.js';
import { claimedNames, reportSharedData, warnOfStrayFolders } from './data-names.js';
import { type LoadedDefinition, loadDefinition } from './definition.js';
import type { Discovery, PluginPackage } from './discovery.js';
import { findInstalled } from './installed.js';
import { resolveUses } from './instances.js';
import { isSwitchedOff, type Line, type Lines, parameterLines } from './lines.js';
import type { PrepareOptions } from './options.js';
import { orderPlugins } from './order.js';
import { checkPlugin } from './plugin-check.js';
import { type PreparedPlugin, readParameters, unusable } from './plugin-parameters.js';
import { type Settings, warnOfShortKeys } from './settings.js';

export interface PreparedPlugins {
  /** In the order in which they are set up. */
  readonly plugins: readonly PreparedPlugin[];
  /** The names under which plugins keep data, in lower case. */
  readonly claimed: ReadonlySet<string>;
  /** The packages of node_modules that lines use. */
  readonly installed: readonly PluginPackage[];
}

/** Loads and checks each plugin that is to run, and its line in the INI file. Mistakes are reported. */
export function preparePlugins(around: PreparationOptions): Promise<PreparedPlugins> {
  return new Preparation(around).run();
}

export interface PreparationOptions {
  readonly configuration: Configuration;
  readonly settings: Settings;
  readonly discovery: Discovery;
  readonly options: PrepareOptions;
  /** Whether the plugins folder could be read; if not, that is the one mistake. */
  readonly isFolderRead: boolean;
}

/** A package whose code has been loaded, or could not be. */
interface Code {
  readonly package_: PluginPackage;
  readonly loaded: LoadedDefinition;
  /** If no line requires the plugin: aborts with an error that its code leaves uncaught before it is set up. */
  readonly stray: AbortSignal;
  readonly fail: ((error: unknown) => void) | undefined;
}

/** A plugin to run: a name, and a package. */
interface Run {
  readonly name: string;
  readonly code: Code;
  readonly line: Line | undefined;
}

class Preparation {
  readonly #around: PreparationOptions;
  readonly #lines: Lines;
  readonly #deadlines: Deadlines;
  readonly #codes = new Map<PluginPackage, Code>();

  constructor(around: PreparationOptions) {
    this.#around = around;
    this.#lines = parameterLines(around.configuration);
    this.#deadlines = { ...DEADLINES, ...around.options.deadlines };
  }

  async run(): Promise<PreparedPlugins> {
    const { configuration, settings, discovery, options } = this.#around;
    for (const { position, message, hint } of discovery.faults) configuration.report(position, message, hint);
    for (const { at } of this.#lines.values()) warnOfShortKeys(configuration, childAt(at, 'apikey'));
    const named = new Map(discovery.packages.map((package_) => [package_.name.toLowerCase(), package_]));
    const early = this.#namedUses(named);
    const own: Code[] = [];
    for (const package_ of discovery.packages) {
      if (this.#isLeftOut(package_, early)) continue;
      const code = await this.#load(package_, early);
      own.push(code);
      if (!('faults' in code.loaded)) {
        const { name } = code.loaded.definition;
        if (name !== undefined) named.set(name.toLowerCase(), package_);
      }
    }
    const uses = this.#resolve(named);
    const plugins: PreparedPlugin[] = [];
    for (const run of await this.#runs(own, uses)) {
      const plugin = await this.#prepare(run);
      if (plugin !== undefined) plugins.push(plugin);
    }
    this.#reportUnknownLines([...named.keys()]);
    reportClashes(configuration, plugins);
    reportSharedData(configuration, plugins);
    const claimed = claimedNames(plugins, this.#lines);
    if (options.safe !== true && options.snapshot === undefined)
      warnOfStrayFolders(configuration, settings, claimed);
    return {
      claimed,
      plugins: this.#order(bindAfter(configuration, plugins), [...named.keys()]),
      installed: [...new Set(uses.values())].filter(({ installedAs }) => installedAs !== undefined),
    };
  }

  /** The lines that use a package by the name of its folder or package.json, which is known without its code. */
  #namedUses(named: ReadonlyMap<string, PluginPackage>): ReadonlyMap<Line, PluginPackage> {
    const found = new Map<Line, PluginPackage>();
    for (const line of this.#lines.values()) {
      const package_ = named.get(String(line.uses?.value).toLowerCase());
      if (line.uses !== undefined && package_ !== undefined) found.set(line, package_);
    }
    return found;
  }

  #isLeftOut(package_: PluginPackage, uses: ReadonlyMap<Line, PluginPackage>): boolean {
    const line = this.#lines.get(package_.name.toLowerCase());
    const isUsed = [...uses].some(([each, used]) => used === package_ && this.#isWanted(each.name, each));
    return !isUsed && (line?.uses !== undefined || !this.#isWanted(package_.name, line));
  }

  #isWanted(name: string, line: Line | undefined): boolean {
    const { settings, options } = this.#around;
    if (isSwitchedOff(line, 'enabled')) return false;
    return options.safe !== true || settings.safe.some((each) => each.toLowerCase() === name.toLowerCase());
  }

  /** Once for each package: instances share its module. */
  async #load(package_: PluginPackage, uses: ReadonlyMap<Line, PluginPackage>): Promise<Code> {
    const known = this.#codes.get(package_);
    if (known !== undefined) return known;
    const own = this.#lines.get(package_.name.toLowerCase());
    const lines = [...uses].flatMap(([line, used]) => (used === package_ ? [line] : []));
    if (own !== undefined && own.uses === undefined) lines.push(own);
    const isOptional = lines.length > 0 && lines.every((line) => isSwitchedOff(line, 'required'));
    const stray = new AbortController();
    const fail = isOptional ? (error: unknown) => stray.abort(error) : undefined;
    this.#announce(package_.name, package_, fail);
    const loaded = await loadDefinition(package_, this.#deadlines.load, stray.signal);
    const code = { package_, loaded, stray: stray.signal, fail };
    this.#codes.set(package_, code);
    return code;
  }

  #announce(name: string, { folder }: PluginPackage, fail: Code['fail']): void {
    this.#around.options.onPlugin?.({ name, folder, ...(fail && { fail }) });
  }

  #resolve(plugins: ReadonlyMap<string, PluginPackage>): ReadonlyMap<Line, PluginPackage> {
    const { configuration, discovery, options, isFolderRead } = this.#around;
    const { snapshot } = options;
    return resolveUses(configuration, this.#lines, {
      plugins,
      faulty: new Set(discovery.faults.map(({ name }) => name.toLowerCase())),
      installed: (name) =>
        snapshot === undefined
          ? findInstalled(configuration.folder, name)
          : discovery.installed.find(({ installedAs }) => installedAs === name),
      isFolderRead,
    });
  }

  /**
   * A package runs under its own name, unless lines use it and none has its name; and under the name of each line that
   * uses it.
   */
  async #runs(own: readonly Code[], uses: ReadonlyMap<Line, PluginPackage>): Promise<readonly Run[]> {
    const used = new Set(uses.values());
    const runs: Run[] = [];
    for (const code of own) {
      const { package_, loaded } = code;
      const name = ('definition' in loaded ? loaded.definition.name : undefined) ?? package_.name;
      const line = this.#lines.get(name.toLowerCase());
      const plain = [line, this.#lines.get(package_.name.toLowerCase())].find(
        (each) => each !== undefined && each.uses === undefined,
      );
      if (plain === undefined && (used.has(package_) || line !== undefined)) continue;
      if (this.#isWanted(package_.name, plain)) runs.push({ name, code, line: plain });
    }
    for (const [line, package_] of uses) {
      if (!this.#isWanted(line.name, line)) continue;
      runs.push({ name: line.name, code: await this.#load(package_, uses), line });
    }
    return runs;
  }

  async #prepare({ name, code, line }: Run): Promise<PreparedPlugin | undefined> {
    const { configuration, settings } = this.#around;
    const { package_, loaded, stray } = code;
    if ('faults' in loaded) {
      const faults = loaded.faults.map((fault) => this.#withLine(fault, package_, line));
      if (isSwitchedOff(line, 'required')) {
        return unusable(configuration, { name, package_, line: line!.at }, faults[0]!);
      }
      for (const { position, message, hint } of faults) configuration.report(position, message, hint);
      return undefined;
    }
    const { definition } = loaded;
    const plugin = readParameters(configuration, {
      ...{ name, package_, definition, line },
      keyless: package_.name === this.#around.options.keyless,
    });
    const isWhole =
      plugin !== undefined && Object.values(plugin.sections).every((section) => section !== undefined);
    if (!isWhole) return plugin;
    this.#announce(name, package_, code.fail);
    return { ...(await checkPlugin(configuration, plugin, settings, this.#deadlines.check)), stray };
  }

  /** A fault in a package's code, with the line that uses it: of an installed package, which nobody here writes, at the line. */
  #withLine(fault: Problem, { installedAs }: PluginPackage, line: Line | undefined): Problem {
    const uses = line?.uses;
    if (uses === undefined) return fault;
    const { folder } = this.#around.configuration;
    const shown = ({ file, line, column }: Position) => `${shownPath(file, folder)}:${line}:${column}`;
    if (installedAs === undefined)
      return { ...fault, hint: `${fault.hint}; ${shown(uses.position)} uses it` };
    return { ...fault, position: uses.position, message: `${fault.message} (${shown(fault.position)})` };
  }

  #reportUnknownLines(known: readonly string[]): void {
    const { configuration, discovery, isFolderRead } = this.#around;
    if (!isFolderRead) return;
    const faulty = discovery.faults.map(({ name }) => name.toLowerCase());
    const names = [...faulty, ...known];
    for (const [name, { at, uses }] of this.#lines) {
      if (uses !== undefined || names.includes(name)) continue;
      configuration.report(keyPlace(at), `plugin "${name}" does not exist`, hintForUnknown(name, at, names));
    }
  }

  #order(plugins: readonly PreparedPlugin[], known: readonly string[]): readonly PreparedPlugin[] {
    const { configuration, options } = this.#around;
    const { ordered, faults } = orderPlugins(plugins, Object.keys(options.fakes ?? {}));
    const misplaced = new Map<string, Problem>();
    for (const { plugin, message, missing } of faults) {
      const { package_, position, required } = plugins.find(({ name }) => name === plugin)!;
      const isCode = !package_.bundled && package_.installedAs === undefined;
      const at = isCode ? { file: package_.entry, line: 1, column: 1 } : position;
      const hint = hintForMissing(missing, known);
      if (required) configuration.report(at, message, hint);
      else misplaced.set(plugin, { position: at, message, hint });
    }
    return ordered.map((plugin) => {
      const fault = misplaced.get(plugin.name);
      return fault === undefined ? plugin : { ...plugin, fault };
    });
  }
}

function hintForMissing(missing: string | undefined, known: readonly string[]): string {
  if (missing !== undefined && known.includes(missing.toLowerCase()))
    return `"${missing}" is there and does not run; switch it on`;
  const near = missing === undefined ? undefined : nearest(missing, known);
  return near === undefined ? 'correct "after" in definePlugin' : `did you mean "${near}"?`;
}

function hintForUnknown(name: string, { fields }: Located, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== undefined) return `did you mean "${near}"?`;
  const misspelt = nearest('uses', fields?.keys() ?? []);
  if (misspelt !== undefined) return `did you mean "uses" instead of "${misspelt}"?`;
  return `the plugins are ${known.join(', ')}`;
}
