import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, isAbsolute, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError, nearest, type Problem, readConfiguration } from '../config/index.js';
import { Host } from './host.js';
import { discoverPlugins } from './prepare/discovery.js';
import { parameterLines } from './prepare/lines.js';
import { parseAfter } from './prepare/order.js';
import { PARAMETERS } from './prepare/settings.js';
import type { JobTimes } from './storage/jobs.js';

export interface StartPluginOptions {
  /**
   * The plugin's parameters, as in its line in `[plugin_parms]`. Without them, the plugin runs only under the names of the lines
   * in `ini` that use it, if there are any.
   */
  readonly parameters?: Readonly<Record<string, unknown>>;
  /**
   * Other plugins that it depends on: bundled ones by name, any other by file URL or absolute path:
   * `['sessman', new URL('../plugins/clock.ts', import.meta.url)]`. Their parameters are those in `ini`.
   */
  readonly plugins?: readonly (string | URL)[];
  /** What `plugin(name)` returns in place of a plugin that is not started. Only in this process, with `workers` 0. */
  readonly fakes?: Readonly<Record<string, unknown>>;
  /**
   * Further sections of the INI file: `[file_server]\ndocuments=html:/docs`. Lines of `[plugin_parms]` with `uses` start, too:
   * `shop_eu=uses=shop&currency=EUR`.
   */
  readonly ini?: string;
  /** 0, the default: the plugin runs in this process. From 1: in worker processes under a supervisor, as in production. */
  readonly workers?: number;
  /** Where `storage` and `every` keep their values: by default in the data folder, or in this database. */
  readonly storage?: 'embedded' | `mongodb://${string}`;
  /** The initial time of `every`, ttl and `now`, in place of the real one. It advances from there. */
  readonly now?: Date;
}

export interface StartedPlugin {
  /** `http://127.0.0.1:40123`; a reload keeps it. */
  readonly url: string;
  /**
   * Replaces the workers with new ones that run the current code of the plugin, and resolves when these serve. Rejects with a
   * ConfigError if they cannot; the old ones then continue. Requires `workers` from 1.
   */
  reload(): Promise<void>;
  /** The time of `every`, ttl and `now` in all workers. JavaScript's Date stays real. */
  readonly clock: {
    now(): Date;
    /** Moves the time forward, from one run to the next, and resolves when every run that became due has ended. */
    advance(milliseconds: number): Promise<void>;
  };
  /** Closes the plugin and the server, and removes the data that they wrote. */
  close(): Promise<void>;
}

/**
 * Serves one plugin for its tests: on a free port, with an empty data folder, without an API key, and with no plugins but those
 * in the options.
 *
 * ```js
 * const server = await startPlugin(new URL('..', import.meta.url), { parameters: { greeting: 'Hi' } });
 * const response = await fetch(`${server.url}/hello/world`);
 * await server.close();
 * ```
 *
 * @param plugin the plugin's folder, or its file
 * @throws ConfigError when the parameters or a plugin are wrong, TypeError when an option is
 */
export async function startPlugin(
  plugin: URL | string,
  options: StartPluginOptions = {},
): Promise<StartedPlugin> {
  checkOptions(options);
  const { workers = 0, fakes = {}, now } = options;
  const timeShift = now === undefined ? 0 : now.getTime() - Date.now();
  const path = pathOf(plugin);
  const folder = mkdtempSync(join(tmpdir(), 'plugin-server-test-'));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  try {
    const { iniFile, name } = writeServer(folder, path, options);
    const { move, ...started } = await (workers === 0
      ? startHere(iniFile, name, fakes, timeShift)
      : startWorkers(iniFile, name, timeShift));
    return { ...started, clock: movedBy(move, timeShift), close: () => started.close().finally(remove) };
  } catch (error) {
    remove();
    throw error;
  }
}

interface Running extends Omit<StartedPlugin, 'clock'> {
  /** Moves the time of jobs by so many milliseconds from the real one. Resolves when nothing is due. */
  readonly move: (shift: number) => Promise<JobTimes>;
}

async function startHere(
  iniFile: string,
  keyless: string,
  fakes: Readonly<Record<string, unknown>>,
  timeShift: number,
): Promise<Running> {
  const host = await Host.start({
    timeShift,
    iniFile,
    keyless,
    safe: true,
    logLevel: 'error',
    auditByLevel: true,
    development: true,
    fakes,
  });
  try {
    checkFakes(host, fakes);
  } catch (error) {
    await host.close();
    throw error;
  }
  const reload = async () => {
    throw new Error('startPlugin: reload() needs worker processes; pass workers: 1, or more');
  };
  return { url: host.url, reload, move: (shift) => host.moveClock(shift), close: () => host.close() };
}

async function startWorkers(iniFile: string, keyless: string, timeShift: number): Promise<Running> {
  const { Supervisor } = await import('./supervisor/index.js');
  const { StartFailure } = await import('./supervisor/start-failure.js');
  const supervisor = new Supervisor(
    {
      iniFile,
      iniOptional: false,
      safe: true,
      development: true,
      logLevel: 'error',
      auditByLevel: true,
      timeShift,
      keyless,
    },
    { endsIdleAtReload: true },
  );
  let url = '';
  supervisor.on('serving', (_report, address) => {
    url = address;
  });
  try {
    await supervisor.start();
  } catch (error) {
    if (error instanceof StartFailure) throw failure(error.message, error.problems);
    throw error;
  }
  return {
    url,
    async reload() {
      const outcome = await supervisor.reload({ by: 'program' });
      if (!outcome.success) throw failure(outcome.reason, outcome.problems);
      // This process reads what was sent on its old connections before it sends its next request.
      await new Promise(setImmediate);
    },
    move: (shift) => supervisor.moveClock(shift),
    close: () => supervisor.stop(),
  };
}

function movedBy(move: Running['move'], begin: number): StartedPlugin['clock'] {
  let shift = begin;
  let latest: Promise<unknown> = Promise.resolve();
  const advance = async (milliseconds: number) => {
    const end = shift + milliseconds;
    for (;;) {
      const { now, next = Number.POSITIVE_INFINITY } = await move(shift);
      if (shift + next - now > end) break;
      shift += Math.max(next - now, 1);
    }
    shift = end;
    await move(shift);
  };
  return {
    now: () => new Date(Date.now() + shift),
    advance(milliseconds) {
      if (!(milliseconds >= 0 && milliseconds < Number.POSITIVE_INFINITY)) {
        throw new TypeError(`clock.advance: ${milliseconds} is not a number of milliseconds from 0 on`);
      }
      const advanced = latest.then(() => advance(milliseconds));
      latest = advanced.catch(() => {});
      return advanced;
    },
  };
}

function failure(reason: string, problems: readonly Problem[]): Error {
  return problems.length === 0 ? new Error(reason) : new ConfigError(problems);
}

function writeServer(
  folder: string,
  plugin: string,
  { parameters, plugins = [], ini = '', workers = 0, storage = 'embedded' }: StartPluginOptions,
) {
  const pluginsFolder = join(folder, 'plugins');
  mkdirSync(pluginsFolder);
  const isFile = (other: string | URL) =>
    other instanceof URL || isAbsolute(other) || other.startsWith('file:');
  const others = plugins.filter(isFile).map(pathOf);
  for (const path of new Set([plugin, ...others])) symlinkSync(path, join(pluginsFolder, basename(path)));
  const { packages } = discoverPlugins(pluginsFolder);
  const nameOf = (path: string) => packages.find(({ folder }) => folder === path)?.name ?? basename(path);
  const name = nameOf(plugin);
  const named = plugins.filter((other): other is string => !isFile(other));
  checkNames(
    named,
    packages.map((each) => each.name),
  );
  const iniFile = join(folder, 'plugin-server.ini');
  writeFileSync(iniFile, ini);
  const instances = instancesIn(iniFile);
  const safe = [name, ...others.map(nameOf), ...named, ...instances.map((each) => each.name)];
  const isUsed = instances.some(({ uses }) => uses.toLowerCase() === name.toLowerCase());
  writeFileSync(join(folder, 'parameters.json'), JSON.stringify(parameters ?? {}));
  const own = [
    ['main', `safe=list:${safe.join(' ')}`],
    ['network', 'port=int:0'],
    ['network', `workers=int:${Math.max(workers, 1)}`],
    ...(storage === 'embedded'
      ? []
      : [['storage', `server_url=${storage.replaceAll('$', '$$$$')}`] as const]),
    ...(isUsed && parameters === undefined
      ? []
      : [['plugin_parms', `${name}=json=parameters.json`] as const]),
  ] as const;
  writeFileSync(
    iniFile,
    own.reduce((text, [section, line]) => withLine(text, section, line), ini),
  );
  return { iniFile, name };
}

/** The lines with `uses` of an INI file. */
function instancesIn(iniFile: string): readonly { readonly name: string; readonly uses: string }[] {
  const configuration = readConfiguration(iniFile, {
    env: process.env,
    parameterSections: [PARAMETERS],
  });
  const lines = parameterLines(configuration).values();
  return [...lines].flatMap(({ name, uses }) =>
    uses === undefined ? [] : [{ name, uses: String(uses.value) }],
  );
}

/** Adds a line to a section of an INI file, and creates the section if necessary. The lines below keep their numbers. */
function withLine(ini: string, section: string, line: string): string {
  const head = new RegExp(`^[ \\t]*\\[${section}\\][^\\n]*`, 'im');
  return head.test(ini)
    ? ini.replace(head, (found) => `${found}\n${line}`)
    : `${ini}\n[${section}]\n${line}\n`;
}

function pathOf(plugin: URL | string): string {
  const isUrl = plugin instanceof URL || /^[a-z]+:/i.test(plugin);
  if (isUrl && !String(plugin).startsWith('file:'))
    throw new TypeError(`startPlugin: ${plugin} is not a file URL`);
  try {
    return realpathSync(isUrl ? fileURLToPath(plugin) : plugin);
  } catch (error) {
    throw new TypeError(`startPlugin: no plugin is at ${plugin}; pass its file or its folder`, {
      cause: error,
    });
  }
}

const KNOWN: readonly string[] = [
  'parameters',
  'plugins',
  'fakes',
  'ini',
  'workers',
  'storage',
  'now',
] satisfies (keyof StartPluginOptions)[];

/** A misspelt option would leave the test with defaults, and pass. */
function checkOptions(options: StartPluginOptions): void {
  if (!isObject(options)) throw new TypeError('startPlugin: the options are not an object');
  for (const key of Object.keys(options)) {
    if (!KNOWN.includes(key))
      throw new TypeError(`startPlugin: unknown option "${key}"; ${remedy(key, KNOWN)}`);
  }
  const {
    workers = 0,
    parameters = {},
    plugins = [],
    fakes = {},
    ini = '',
    now,
    storage = 'embedded',
  } = options;
  if (!isObject(parameters)) throw new TypeError('startPlugin: parameters is not an object');
  if (!Array.isArray(plugins) || !plugins.every((each) => typeof each === 'string' || each instanceof URL))
    throw new TypeError("startPlugin: plugins is not a list of names, paths and URLs; write ['sessman']");
  if (!isObject(fakes)) throw new TypeError('startPlugin: fakes is not an object');
  if (typeof ini !== 'string') throw new TypeError('startPlugin: ini is not the text of an INI file');
  if (!Number.isInteger(workers) || workers < 0)
    throw new TypeError(`startPlugin: workers is ${workers}; write 0, or how many worker processes to start`);
  if (now !== undefined && !(now instanceof Date && Number.isFinite(now.getTime())))
    throw new TypeError('startPlugin: now is not a Date');
  if (storage !== 'embedded' && !/^mongodb(?:\+srv)?:\/\//.test(storage))
    throw new TypeError(`startPlugin: storage is "${storage}"; write "embedded", or a mongodb:// URL`);
  if (workers > 0 && Object.keys(fakes).length > 0)
    throw new TypeError(
      'startPlugin: fakes stay in this process; leave workers out, or start the real plugin',
    );
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A plugin of another name would be left out without a word. */
function checkNames(names: readonly string[], known: readonly string[]): void {
  for (const name of names) {
    if (!known.some((each) => each.toLowerCase() === name.toLowerCase()))
      throw new TypeError(
        `startPlugin: no plugin comes with the server as "${name}"; ${remedy(name, known)}`,
      );
  }
}

/** A fake that no plugin uses probably has a misspelt name. */
function checkFakes({ plugins }: Host, fakes: Readonly<Record<string, unknown>>): void {
  const asked = plugins.flatMap(({ plugin }) =>
    (plugin.definition.after ?? []).map((entry) => parseAfter(entry).name),
  );
  for (const name of Object.keys(fakes)) {
    const is = (other: string) => other.toLowerCase() === name.toLowerCase();
    if (plugins.some((plugin) => is(plugin.name)))
      throw new TypeError(`startPlugin: plugin "${name}" is started and faked; leave one of them out`);
    if (!asked.some(is))
      throw new TypeError(
        `startPlugin: no plugin has "${name}" of fakes in its after; ${remedy(name, asked)}`,
      );
  }
}

function remedy(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  if (near !== undefined) return `did you mean "${near}"?`;
  return known.length === 0 ? 'leave it out' : `known: ${known.join(', ')}`;
}
