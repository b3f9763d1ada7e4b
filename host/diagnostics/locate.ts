import { readFileSync } from 'node:fs';
import { sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Position } from '../../config/index.js';

/**
 * Where in a plugin's code an error, or its cause, came from: the innermost frame in the plugin's own files, else the
 * innermost in the packages that it brings along.
 */
export function locateError(error: unknown, folder: string): Position | undefined {
  let inPackage: Position | undefined;
  for (const position of placesOf(error)) {
    if (!isWithin(folder, position.file)) continue;
    if (!position.file.slice(folder.length).includes(`${sep}node_modules${sep}`)) return onItsLine(position);
    inPackage ??= position;
  }
  return inPackage;
}

/** Every place that the stacks of an error and of its causes name, innermost first. */
export function* placesOf(error: unknown): Generator<Position> {
  const seen = new Set<unknown>();
  for (let current = error; current instanceof Error && !seen.has(current); current = current.cause) {
    seen.add(current);
    for (const line of `${current.stack ?? ''}\n${current.message}`.split('\n')) {
      const position = placeIn(line);
      if (position !== undefined) yield position;
    }
  }
}

/** Compares whole segments: `shop-admin` does not lie in `shop`. A single-file plugin is its own folder. */
export function isWithin(folder: string, file: string): boolean {
  return file === folder || file.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}

/** The text of a file; none where it has gone since it was loaded, while a deployment replaces it for example. */
export function sourceOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** The first place of a text in a file; the file's beginning if it does not occur. */
export function locateText(file: string, text: string): Position {
  const content = sourceOf(file);
  return positionAt(file, content, Math.max(0, content.indexOf(text)));
}

export function positionAt(file: string, content: string, offset: number): Position {
  const lines = content.slice(0, offset).split('\n');
  return { file, line: lines.length, column: lines.at(-1)!.length + 1 };
}

/** A path may hold anything, blanks, colons and brackets too: what ends it is the line number at the end of the line. */
const PATH = String.raw`((?:file:\/\/)?\/.*?)`;
const PLACES = [
  // `at file:///x/y.js:3:7`, `at async /x/y.js:3:7`
  new RegExp(String.raw`^\s*at (?:async )?${PATH}:(\d+):(\d+)$`),
  // `at new Shop [as x] (/x/y.js:3:7)`
  new RegExp(String.raw`^\s*at .*? \(${PATH}:(\d+):(\d+)\)$`),
  // `at eval (eval at run (/x/y.js:3:7), <anonymous>:1:1)`
  new RegExp(String.raw`^\s*at .*?\(eval at .*? \(${PATH}:(\d+):(\d+)\)`),
  // `/x/y.cjs:3` and ` /x/y.ts:3:7`, as syntax errors have them
  new RegExp(String.raw`^\s*${PATH}:(\d+)(?::(\d+))?$`),
];

function placeIn(line: string): Position | undefined {
  for (const pattern of PLACES) {
    const [, path, row, column] = pattern.exec(line) ?? [];
    const file = path && pathOf(path);
    if (file) return { file, line: Number(row), column: Number(column ?? 1) };
  }
  return undefined;
}

/** Only a URL is encoded: in a path, `%` is itself. */
function pathOf(text: string): string | undefined {
  if (!text.startsWith('file:')) return text;
  try {
    return fileURLToPath(text);
  } catch {
    return undefined;
  }
}

/** Compiled TypeScript keeps its lines, and not always its columns: one beyond the line becomes the line's beginning. */
function onItsLine(position: Position): Position {
  let text: string | undefined;
  try {
    text = readFileSync(position.file, 'utf8').split('\n')[position.line - 1];
  } catch {
    return position;
  }
  if (text === undefined || position.column <= text.trimEnd().length + 1) return position;
  return { ...position, column: text.length - text.trimStart().length + 1 };
}
