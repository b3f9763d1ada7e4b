import {
  type Configuration,
  formatProblem,
  type ReadOptions,
  readConfiguration,
} from '../../config/index.js';

/** Files by path, relative to the folder of `plugin-server.ini`; an error's code stands for a file that gives it. */
export type Files = Readonly<Record<string, string | { readonly code: string }>>;

const folder = '/etc/plugin-server';

/** Reads `plugin-server.ini` of these files, which exist in memory only. */
export function read(files: Files | string, options: Omit<ReadOptions, 'readFile'> = {}): Configuration {
  const all = typeof files === 'string' ? { 'plugin-server.ini': files } : files;
  return readConfiguration(`${folder}/plugin-server.ini`, {
    env: {},
    parameterSections: ['plugin_parms'],
    jsonFolders: (value) => [value('paths', 'plugins') ?? 'plugins'],
    readFile(path) {
      const found = path.startsWith(`${folder}/`) ? all[path.slice(folder.length + 1)] : undefined;
      if (typeof found === 'string') return found;
      throw Object.assign(new Error(), found ?? { code: 'ENOENT' });
    },
    ...options,
  });
}

/** The first line of each problem as it is printed: `plugin-server.ini:1:1: what is wrong; what to write`. */
export function sentences(configuration: Configuration): string[] {
  return printed(configuration).map((text) => text.split('\n', 1)[0]!);
}

/** Each problem as it is printed, the quoted line and the caret included. */
export function printed(configuration: Configuration): string[] {
  return configuration.problems.map((problem) => formatProblem(problem, { cwd: folder }));
}
