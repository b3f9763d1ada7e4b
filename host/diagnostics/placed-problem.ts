import { basename, isAbsolute, relative } from 'node:path';
import type { Problem } from '../../config/index.js';
import type { PlacedProblem } from '../kit/server-view.js';

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
