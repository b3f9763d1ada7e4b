import { basename, isAbsolute, relative } from 'node:path';
import { unprintable } from './names.js';

/** A position in a file. Line and column count from 1; columns are UTF-16 units, as in editors. */
export interface Position {
  /** Absolute path. */
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** One thing that is wrong with the configuration. */
export interface Problem {
  readonly position: Position;
  /** What is wrong: `unknown key "prot" in [network]`. */
  readonly message: string;
  /** What to write instead: `did you mean "port"?`. */
  readonly hint?: string;
  /** A warning stops nothing; without it, the problem is an error. */
  readonly severity?: 'warning';
  /** The offending line as it stands in the file, secrets masked. */
  readonly source?: string;
  /** Index into `source` of what is wrong; differs from the column where a mask stands before it. */
  readonly caret?: number;
  /** How many characters of `source` the caret line underlines; 1 when absent. */
  readonly length?: number;
}

/** The configuration is wrong. `message` holds every problem, as `formatProblem` prints it. */
export class ConfigError extends Error {
  readonly code = 'configuration_invalid';
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map((problem) => formatProblem(problem)).join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

export interface FormatOptions {
  /** Paths inside this folder are shown relative to it, others by their file name. Default: the working directory. */
  readonly cwd?: string;
  /** Whether to colour for a terminal. Default: no. */
  readonly color?: boolean;
}

/**
 * The problem for people, without a line break at its end:
 *
 * ```
 * plugin-server.ini:12:1: unknown key "prot" in [network]; did you mean "port"?
 *    |
 * 12 | prot=int:6123
 *    | ^^^^
 * ```
 */
export function formatProblem(problem: Problem, options: FormatOptions = {}): string {
  const paint = options.color ? colors : plain;
  const { file, line, column } = problem.position;
  const place = paint.place(`${showPath(file, options.cwd ?? process.cwd())}:${line}:${column}:`);
  const hint = problem.hint === undefined ? '' : `; ${problem.hint}`;
  const label = problem.severity === undefined ? '' : `${problem.severity}: `;
  const sentence = `${place} ${label}${paint.message(printable(problem.message))}${printable(hint)}`;
  if (problem.source === undefined) return sentence;
  const { before, marked, after } = excerpt(problem.source, problem.caret ?? column - 1, problem.length ?? 1);
  const number = String(line);
  const margin = `${' '.repeat(number.length)} ${paint.gutter('|')}`;
  return [
    sentence,
    margin,
    `${paint.gutter(`${number} |`)} ${before}${marked}${after}`,
    `${margin} ${blank(before)}${paint.caret('^'.repeat(Math.max(1, blank(marked).length)))}`,
  ].join('\n');
}

const ansi = (codes: string) => (text: string) => `\u001B[${codes}m${text}\u001B[0m`;
const same = (text: string) => text;
const colors = { place: ansi('1'), message: ansi('1;31'), gutter: ansi('34'), caret: ansi('1;31') };
const plain = { place: same, message: same, gutter: same, caret: same };

function showPath(file: string, cwd: string): string {
  const path = relative(cwd, file);
  return path.startsWith('..') || isAbsolute(path) || path === '' ? basename(file) : path;
}

const longestLine = 140;
const mostBefore = 60;

/** The part of a line around the caret, in three, made safe to print; `…` where something is left out. */
function excerpt(source: string, caret: number, length: number) {
  const from = source.length > longestLine && caret > mostBefore ? caret - mostBefore : 0;
  const to = from + Math.min(source.length - from, longestLine);
  const caretEnd = Math.min(caret + length, to);
  return {
    before: `${from > 0 ? '…' : ''}${printable(source.slice(from, caret))}`,
    marked: printable(source.slice(caret, caretEnd)),
    after: `${printable(source.slice(caretEnd, to))}${to < source.length ? '…' : ''}`,
  };
}

/** Blanks as wide as the text: two for a wide character, none for a combining one. */
function blank(text: string): string {
  return text.replace(/\p{M}/gu, '').replace(/./gsu, (character) => (wide.test(character) ? '  ' : ' '));
}

const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\uFF01-\uFF60]/u;

function printable(text: string): string {
  return text.replaceAll('\t', '  ').replace(unprintable, '\uFFFD');
}
