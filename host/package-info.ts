import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** This package's folder: the one with its package.json, two levels above the compiled host/. */
export const packageFolder = fileURLToPath(new URL('../../', import.meta.url));

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
  exports: Record<string, string | { default: string }>;
};

export const version: string = manifest.version;

/** The modules that a plugin may import wherever it lies (`plugin-server`, `plugin-server/…`), as absolute paths. */
export function kitModules(): Map<string, string> {
  const modules = new Map<string, string>();
  for (const [subpath, target] of Object.entries(manifest.exports)) {
    const file = typeof target === 'string' ? target : target.default;
    if (!file.endsWith('.js')) continue;
    modules.set(`plugin-server${subpath.slice(1)}`, fileURLToPath(new URL(`../../${file}`, import.meta.url)));
  }
  return modules;
}
