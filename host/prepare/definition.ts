import { join } from 'node:path';
import type { Position, Problem } from '../../config/index.js';
import { locateError, locateText } from '../diagnostics/locate.js';
import { messageOf, withDeadline } from '../kit/deadline.js';
import { isPlugin, type PluginDefinition } from '../kit/index.js';
import { version as hostVersion, packageFolder } from '../package-layout.js';
import type { PluginPackage } from './discovery.js';
import { findSyntaxError, importPlugin } from './loader.js';

/** The package's definition, or what keeps it from being used. */
export async function loadDefinition(
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
      .replaceAll(join(packageFolder, '/'), '');
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

const NAME = /^[a-z0-9][\w.-]*$/i;

/** The default export, also of a CommonJS module whose interop wraps it once more. */
function defaultExport(module: Record<string, unknown>): unknown {
  const first = module.default;
  return isPlugin(first) || typeof first !== 'object' || first === null || !('default' in first)
    ? first
    : first.default;
}

function firstLine(error: unknown): string {
  return messageOf(error).split('\n', 1)[0]!.trimEnd();
}
