import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { createRequire } from 'node:module';
import { dirname, extname, join, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Jiti, JitiOptions } from 'jiti';
import type { Position } from '../../config/index.js';
import { bundleFlags, kitModules, loaderHooksModule, packageFolder } from '../package-layout.js';
import { liveExports } from './live-exports.js';

/**
 * Imports plugin code. JavaScript is Node's own to import; TypeScript goes through jiti, which behaves the same on each
 * Node release and takes all of TypeScript's syntax. Either may import `plugin-server` and `zod` wherever it lies.
 */
export async function importPlugin(entry: string): Promise<Record<string, unknown>> {
  // A command of the bundle that runs plugins in its own process has been started without them.
  const hasFlags = bundleFlags.every((flag) => process.execArgv.includes(flag));
  if (hasFlags && isOfThisPackage(entry) && !/\.[cm]?tsx?$/.test(entry)) {
    return import(pathToFileURL(entry).href);
  }
  provideModules(entry);
  if (/^\.[cm]?tsx?$/.test(extname(entry))) return (await typescript()).import(entry);
  return import(pathToFileURL(entry).href);
}

/** Node lets a package's own files import it by its name: those that no nearer package.json claims. */
function isOfThisPackage(entry: string): boolean {
  if (!entry.startsWith(packageFolder + sep)) return false;
  let folder = dirname(entry);
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return folder === packageFolder;
}

/**
 * Where in a folder, or a file, the JavaScript is that cannot be parsed. Node's own SyntaxError does not say it for what
 * was imported; the parser that reads the TypeScript does.
 */
export async function findSyntaxError(folder: string): Promise<Position | undefined> {
  const { transform } = await typescript();
  for (const file of scripts(folder)) {
    const code = transform({ source: readFileSync(file, 'utf8'), filename: file, async: true });
    const [, fault] = /^exports\.__JITI_ERROR__ = (\{.*\})$/.exec(code) ?? [];
    if (fault === undefined) continue;
    const { line, column } = JSON.parse(fault) as { line: number; column: number };
    return { file, line, column: column + 1 };
  }
  return undefined;
}

function scripts(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : scripts(inner);
    return /\.[cm]?js$/.test(entry.name) ? [inner] : [];
  });
}

let jiti: Jiti | undefined;

async function typescript(): Promise<Jiti> {
  const { createJiti } = await import('jiti');
  if (jiti !== undefined) return jiti;
  const options: JitiOptions = {
    // Its default folder for a cache is a shared one, which another user could write to.
    fsCache: false,
    interopDefault: true,
    sourceMaps: true,
  };
  const compiler = createJiti(import.meta.url, options);
  jiti = createJiti(import.meta.url, {
    ...options,
    alias: Object.fromEntries(provided()),
    transform: (source) => ({ code: liveExports(compiler.transform(source)) }),
  });
  return jiti;
}

/** The modules that plugins get from here, by specifier. If a plugin has its own zod, that comes first. */
function provided(): Map<string, string> {
  return kitModules().set('zod', fileURLToPath(import.meta.resolve('zod')));
}

/** Of Node 22.15 and later: one hook for import and require. */
type RegisterHooks = (hooks: {
  resolve(
    specifier: string,
    context: unknown,
    nextResolve: (specifier: string, context: unknown) => object,
  ): object;
}) => unknown;

let isProviding = false;

function provideModules(entry: string): void {
  if (isProviding) return;
  const { registerHooks } = nodeModule as { registerHooks?: RegisterHooks };
  // Node 20's hooks take a thread: 9 MB and a tenth of the time of a start.
  if (registerHooks === undefined && findsThisPackage(entry)) return;
  isProviding = true;
  const modules = provided();
  const urls = new Map([...modules].map(([specifier, file]) => [specifier, pathToFileURL(file).href]));
  if (registerHooks !== undefined) {
    registerHooks({
      resolve(specifier, context, nextResolve) {
        const url = urls.get(specifier);
        if (url === undefined) return nextResolve(specifier, context);
        if (specifier !== 'zod') return { url, shortCircuit: true };
        try {
          return nextResolve(specifier, context);
        } catch {
          return { url, shortCircuit: true };
        }
      },
    });
    return;
  }
  nodeModule.register(loaderHooksModule, { data: urls });
  provideToRequire(modules);
}

/** Whether Node itself resolves these modules there, for example because this package is installed beside the plugins. */
function findsThisPackage(entry: string): boolean {
  const { resolve } = createRequire(realpathSync(entry));
  try {
    return resolve('plugin-server') === kitModules().get('plugin-server') && resolve('zod') !== '';
  } catch {
    return false;
  }
}

/** Node 20's hooks do not see require(). */
function provideToRequire(modules: ReadonlyMap<string, string>): void {
  type Resolve = (request: string, ...rest: unknown[]) => string;
  const internals = createRequire(import.meta.url)('node:module') as { _resolveFilename: Resolve };
  const resolve = internals._resolveFilename;
  internals._resolveFilename = function (request, ...rest) {
    const file = modules.get(request);
    if (file === undefined) return resolve.call(this, request, ...rest);
    if (request !== 'zod') return file;
    try {
      return resolve.call(this, request, ...rest);
    } catch {
      return file;
    }
  };
}
