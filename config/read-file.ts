import { readFileSync } from 'node:fs';
import type { Position } from './problem.js';
import { Source } from './source.js';
import { findInvalidUtf8 } from './utf8.js';

/** Why a file could not be read. */
export interface Unreadable {
  readonly isMissing: boolean;
  /** Completes "the file …". */
  readonly reason: string;
  readonly hint?: string;
  /** Where in the file, when it was its content. */
  readonly position?: Position;
}

/** Reads UTF-8 text. Other bytes are an error, because their meaning would be a guess. */
export function readTextFile(path: string): string {
  const bytes = readFileSync(path);
  const text = bytes.toString('utf8');
  const offset = findInvalidUtf8(bytes);
  if (offset === undefined) return text;
  throw Object.assign(new Error('not UTF-8'), { code: notUtf8, text, offset });
}

const notUtf8 = 'not_utf8';

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'does not exist',
  EISDIR: 'is a folder',
  EACCES: 'may not be read by this user',
  EPERM: 'may not be read by this user',
};

/** Explains an error of `readTextFile`, or one with a `code` such as node:fs gives. */
export function unreadable(path: string, error: unknown): Unreadable {
  const { code, text, offset } = error as { code?: unknown; text?: unknown; offset?: unknown };
  if (code === notUtf8 && typeof text === 'string' && typeof offset === 'number') {
    // The source leaves a byte order mark out.
    const position = new Source(path, text).position(offset - Number(text.startsWith('\uFEFF')));
    return { isMissing: false, reason: 'is not UTF-8 text from here on', hint: 'save it as UTF-8', position };
  }
  const name = typeof code === 'string' ? code : 'unknown error';
  const isMissing = name === 'ENOENT' || name === 'ENOTDIR';
  return { isMissing, reason: reasons[name] ?? `cannot be read (${name})` };
}
