import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const bundleCondition = 'plugin-server-bundle';

/** This package's folder: the one with its package.json, two levels above the compiled host/. */
export const packageFolder = fileURLToPath(new URL('../../', import.meta.url));

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
  exports: Record<string, string | { default: string; [bundleCondition]?: string }>;
};

/** Whether this is the bundle (bundle.mjs), and not the files that it is made of. */
export const isBundle = fileURLToPath(new URL('./', import.meta.url)) === join(packageFolder, 'dist/bundle/');

/**
 * What a process of the bundle is started with: plugins get the kit that belongs to it, and Node does not warn of the
 * `url.parse` in what Koa stands on, as it does where that does not lie in node_modules.
 */
export const bundleFlags: readonly string[] = isBundle
  ? [`--conditions=${bundleCondition}`, '--disable-warning=DEP0169']
  : [];

export const version: string = manifest.version;

/** The modules that a plugin may import wherever it lies (`plugin-server`, `plugin-server/…`), as absolute paths. */
export function kitModules(): Map<string, string> {
  const modules = new Map<string, string>();
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    const file =
      typeof target === 'string' ? target : (isBundle && target[bundleCondition]) || target.default;
    if (!file.endsWith('.js')) continue;
    modules.set(`plugin-server${subpath.slice(1)}`, fileURLToPath(new URL(`../../${file}`, import.meta.url)));
  }
  return modules;
}
