import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/** `from './x.js'`, `import './x.js'`, `import('./x.js')`, `require('./x')`: relative paths only, because packages do not change. */
const importPattern = /\b(?:from|import|require)\s*\(?\s*(['"])(\.{1,2}\/[^'"\n]+)\1/g;
const endings = ['', '.ts', '.js', '.mts', '.mjs', '.cts', '.cjs', '.json', '.tsx', '.jsx'];

/**
 * The given files and every file that they import by a relative path, directly or not. Imports are found in the text, so
 * that a file that does not compile works too. An import in a comment only adds a file to watch.
 */
export function importsOf(entries: readonly string[]): readonly string[] {
  const found = new Set<string>();
  const open = [...entries];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (found.has(file)) continue;
    found.add(file);
    for (const [, , path = ''] of read(file).matchAll(importPattern)) {
      const target = findFile(resolve(dirname(file), path));
      if (target !== undefined) open.push(target);
    }
  }
  return [...found];
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** The file that an import refers to: in TypeScript, `./x.js` means `./x.ts`, and the ending may be missing. */
function findFile(path: string): string | undefined {
  const source = path.replace(/\.([cm]?)js(x?)$/, '.$1ts$2');
  const candidates = [
    path,
    source,
    ...endings.map((ending) => path + ending),
    ...endings.map((ending) => `${path}/index${ending}`),
  ];
  return candidates.find((candidate) => statSync(candidate, { throwIfNoEntry: false })?.isFile());
}
