import { readFileSync } from 'node:fs';
import type { Position } from '../../config/index.js';

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

/** Where a text stands for the first time in a file; the file's beginning when it does not. */
export function locateText(file: string, text: string): Position {
  const content = readFileSync(file, 'utf8');
  return positionAt(file, content, Math.max(0, content.indexOf(text)));
}

export function positionAt(file: string, content: string, offset: number): Position {
  const lines = content.slice(0, offset).split('\n');
  return { file, line: lines.length, column: lines.at(-1)!.length + 1 };
}
