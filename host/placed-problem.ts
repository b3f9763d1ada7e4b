import { basename, isAbsolute, relative } from 'node:path';
import type { Problem } from '../config/index.js';

/** A problem with the configuration as clients are told of it: no path but one relative to the INI file's folder. */
export interface PlacedProblem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** What is wrong. */
  readonly message: string;
  /** What to write instead. */
  readonly hint: string | null;
  /** The line as it stands in the file, secrets masked. */
  readonly source: string | null;
  /** Index into `source` of what is wrong, and how many characters that is. */
  readonly caret: number;
  readonly length: number;
}

export function placedProblem(problem: Problem, folder: string): PlacedProblem {
  const { position, message, hint, source, caret, length } = problem;
  const { file, line, column } = position;
  return {
    file: shownPath(file, folder),
    line,
    column,
    message,
    hint: hint ?? null,
    source: source ?? null,
    caret: caret ?? column - 1,
    length: length ?? 1,
  };
}

/** Relative to the folder where it lies in it, else its name alone. */
export function shownPath(file: string, folder: string): string {
  const path = relative(folder, file);
  return path === '' || path.startsWith('..') || isAbsolute(path) ? basename(file) : path;
}
