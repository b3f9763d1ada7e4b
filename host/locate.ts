import type { Position } from '../config/index.js';

/** `file:///x/y.js:3:7`, `/x/y.ts:3:7` and `/x/y.js:3`, as stacks and syntax errors have them. */
const PLACE = /(?:file:\/\/)?(\/[^\s:()]+):(\d+)(?::(\d+))?/g;

/** Where in a plugin's code an error, or its cause, came from: the innermost frame that lies in the plugin's folder. */
export function locateError(error: unknown, folder: string): Position | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    const text = `${current.stack ?? ''}\n${current.message}`;
    for (const [, path, line, column] of text.matchAll(PLACE)) {
      const file = decodeURI(path!);
      if (file.startsWith(folder) && !file.includes('/node_modules/')) {
        return { file, line: Number(line), column: Number(column ?? 1) };
      }
    }
  }
  return undefined;
}
