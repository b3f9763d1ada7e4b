import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
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

/** How many bytes a file in `${FILE:PATH}` may have. Such files hold a password, a key or a certificate, not data. */
export const mostHandedIn = 65_536;

/** Reads UTF-8 text of at most so many bytes. Other bytes are an error, because their meaning would be a guess. */
export function readTextFile(path: string, most?: number): string {
  const bytes = most === undefined ? readFileSync(path) : readAtMost(path, most);
  const text = bytes.toString('utf8');
  const offset = findInvalidUtf8(bytes);
  if (offset === undefined) return text;
  throw Object.assign(new Error('not UTF-8'), { code: notUtf8, text, offset });
}

const notUtf8 = 'not_utf8';
const tooLarge = 'too_large';

/** Reads no further than it has to: the file may be one without an end, such as /dev/zero. */
function readAtMost(path: string, most: number): Buffer {
  const file = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(most + 1);
    let length = 0;
    for (;;) {
      const read = readSync(file, bytes, length, bytes.length - length, null);
      length += read;
      if (length > most) throw Object.assign(new Error('too large'), { code: tooLarge });
      if (read === 0) return bytes.subarray(0, length);
    }
  } finally {
    closeSync(file);
  }
}

/** Why the text of a file in `${FILE:PATH}` cannot be a value: an empty key would open the server to everyone. */
export function unfitText(text: string): Unreadable | undefined {
  if (text.trim() === '') return { isMissing: false, reason: 'is empty', hint: 'write the value into it' };
  return Buffer.byteLength(text) > mostHandedIn ? oversized : undefined;
}

const oversized: Unreadable = {
  isMissing: false,
  reason: `has more than ${mostHandedIn / 1024} KiB`,
  hint: 'write the path of a file that contains only the value',
};

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
  if (code === tooLarge) return oversized;
  const name = typeof code === 'string' ? code : 'unknown error';
  const isMissing = name === 'ENOENT' || name === 'ENOTDIR';
  return { isMissing, reason: reasons[name] ?? `cannot be read (${name})` };
}
