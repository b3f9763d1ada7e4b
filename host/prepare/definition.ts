import { join } from 'node:path';
import type { Position, Problem } from '../../config/index.js';
import { locateError, locateText, positionAt, sourceOf } from '../diagnostics/locate.js';
import { secondDefaultExport } from '../diagnostics/locate-member.js';
import { messageOf, withDeadline } from '../kit/deadline.js';
import { isPlugin, type PluginDefinition } from '../kit/index.js';
import { version as hostVersion, packageFolder } from '../package-layout.js';
import { definitionFaults } from './definition-check.js';
import { type PluginPackage, titleOf } from './discovery.js';
import { findSyntaxError, importPlugin } from './loader.js';

export type LoadedDefinition =
  | { readonly definition: PluginDefinition }
  | { readonly faults: readonly [Problem, ...Problem[]] };

/**
 * The package's definition, or everything that keeps it from being used. `stray` aborts with an error that the plugin's
 * code has left uncaught meanwhile.
 */
export async function loadDefinition(
  package_: PluginPackage,
  deadline: number,
  stray: AbortSignal,
): Promise<LoadedDefinition> {
  const { entry, folder, hostRange } = package_;
  const title = titleOf(package_);
  const fault = (
    message: string,
    hint: string,
    position: Position = { file: entry, line: 1, column: 1 },
  ): { faults: [Problem] } => ({
    faults: [{ position, message, hint }],
  });
  if (hostRange !== undefined && !(await fitsHost(hostRange))) {
    return fault(
      `${title} requires plugin-server ${hostRange}; this is ${hostVersion}`,
      'install a version of the plugin that supports it, or correct "engines" in its package.json',
      locateText(join(folder, 'package.json'), '"plugin-server"'),
    );
  }
  let exported: unknown;
  try {
    const late = () => new Error(`it did not finish within ${deadline / 1000} s`);
    exported = defaultExport(
      await withDeadline(deadline, () => unlessAborted(stray, importPlugin(entry)), late),
    );
  } catch (error) {
    const why = firstLine(error)
      .replaceAll(join(folder, '..', '/'), '')
      .replaceAll(join(packageFolder, '/'), '');
    const at =
      locateError(error, folder) ??
      (error instanceof SyntaxError ? await findSyntaxError(folder) : undefined);
    const missing = missingModule(error);
    if (missing === undefined) return fault(`${title} cannot be loaded: ${why}`, remedy(why), at);
    return fault(
      `${title} cannot be loaded: ${why}`,
      remedyOfMissing(missing),
      importPlace(missing, at?.file ?? importerIn(error) ?? entry) ?? at,
    );
  }
  const second = /\.[cm]?ts$/.test(entry) ? secondDefaultExport(entry) : undefined;
  if (second !== undefined)
    return fault(`${title} has two default exports`, 'keep one default export', second);
  if (!isPlugin(exported)) {
    return fault(
      `${title} has no default export made by definePlugin`,
      'write: export default definePlugin({ setup({ router }) { … } })',
    );
  }
  const [first, ...others] = definitionFaults(package_, exported);
  return first === undefined ? { definition: exported } : { faults: [first, ...others] };
}

function unlessAborted<Result>(signal: AbortSignal, work: Promise<Result>): Promise<Result> {
  const aborted = new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  return Promise.race([work, aborted]);
}

async function fitsHost(range: string): Promise<boolean> {
  const { satisfies, validRange } = (await import('semver')).default;
  return validRange(range) !== null && satisfies(hostVersion, range);
}

/** The default export, also of a CommonJS module whose interop wraps it once more. */
function defaultExport(module: Record<string, unknown>): unknown {
  const first = module.default;
  return isPlugin(first) || typeof first !== 'object' || first === null || !('default' in first)
    ? first
    : first.default;
}

function remedy(why: string): string {
  if (/ before it has a value;| before initialization$/.test(why)) {
    return 'move what both files need to a third file, or use it in a function that runs later';
  }
  if (why === 'Cannot use import statement outside a module') {
    return 'write "type": "module" in package.json, or name this file .mjs';
  }
  return /default/.test(why) && /(?:duplicate|only one).*export/i.test(why)
    ? 'keep one default export'
    : 'correct this file';
}

function remedyOfMissing(specifier: string): string {
  if (/^[./]/.test(specifier)) return 'correct the path, or create the file';
  if (specifier.startsWith('#')) return 'correct the name, or define it in "imports" of package.json';
  if (specifier.startsWith('node:')) return 'correct the name: Node has no such module';
  return `run: npm install ${packageOf(specifier)}`;
}

/** What Node and jiti say of a missing file or package, of a missing module of Node, and of a missing name of "imports". */
const missingPatterns = [
  /^Cannot find (?:module|package) '([^']+)'/,
  /^No such built-in module: (node:\S+)/,
  /^Package import specifier "([^"]+)"/,
];

/** The specifier, as it is written, of an import that leads nowhere. */
function missingModule(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  for (const pattern of missingPatterns) {
    const specifier = pattern.exec(error.message)?.[1];
    if (specifier !== undefined) return specifier;
  }
  return undefined;
}

/** The file that Node says it is imported from. */
function importerIn(error: unknown): string | undefined {
  return /imported from (\/.+)$/m.exec(messageOf(error))?.[1];
}

/** `@acme/jobs` of `@acme/jobs/client.js`. */
function packageOf(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

/** Where a file imports that. Node names a file by its whole path, which ends as the import does. */
function importPlace(missing: string, file: string): Position | undefined {
  const content = sourceOf(file);
  const places = [...content.matchAll(/\b(?:from|import|require)\s*\(?\s*(['"])([^'"\n]+)\1/g)];
  const place = places.find(
    ([, , specifier = '']) =>
      specifier === missing ||
      specifier.startsWith(`${missing}/`) ||
      (missing.startsWith('/') && missing.endsWith(specifier.replace(/^(?:\.{1,2}\/)+/, '/'))),
  );
  return place && positionAt(file, content, place.index + place[0].length - place[2]!.length - 1);
}

function firstLine(error: unknown): string {
  return messageOf(error).split('\n', 1)[0]!.trimEnd();
}
