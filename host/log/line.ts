import { fstatSync } from 'node:fs';

/**
 * What a line is about, which decides how long it is kept when lines cannot be written: access lines go first, and audit lines
 * have space of their own.
 */
export type LineKind = 'access' | 'application' | 'audit';

export type LineCounts = Readonly<Record<LineKind, number>>;

export const NO_LINES: LineCounts = { access: 0, application: 0, audit: 0 };

export type LevelName = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal';

/** The levels of syslog, which sd-daemon(3) reads at the beginning of a line. */
const PRIORITIES: Readonly<Record<LevelName, number>> = {
  fatal: 2,
  error: 3,
  warn: 4,
  info: 6,
  debug: 7,
  trace: 7,
};

/** `<6>` */
export function priorityPrefix(level: LevelName): string {
  return `<${PRIORITIES[level]}>`;
}

/** Whether the descriptor is the stream that systemd has connected to its journal (JOURNAL_STREAM in systemd.exec(5)). */
export function isJournal(fd: number): boolean {
  const { JOURNAL_STREAM } = process.env;
  if (JOURNAL_STREAM === undefined) return false;
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return JOURNAL_STREAM === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

/**
 * Bytes of a line with its priority and its line feed. Docker splits lines from here on, and journald from 48 KiB on
 * (LineMax= in journald.conf(5)): the parts would no longer be JSON.
 */
const LONGEST = 16 * 1024;
const FRAME = '<6>\n'.length;

/** How many characters a text may keep, tried one after the other. */
const LENGTHS = [4096, 1024, 256, 64];
/** How many members are kept of a line that is still too long, and which of them in any case. */
const MEMBERS = 16;
const FIRST = ['level', 'time', 'msg', 'audit', 'event', 'plugin', 'request_id'];

/** The line, which is JSON, or where it is too long one with its long members cut, and `cut_from`: how many bytes it had. */
export function fitLine(line: string): string {
  const most = LONGEST - FRAME;
  // A character has at most three bytes of UTF-8.
  if (line.length * 3 <= most) return line;
  const bytes = Buffer.byteLength(line);
  if (bytes <= most) return line;
  const members = JSON.parse(line) as Record<string, unknown>;
  for (const length of LENGTHS) {
    const text = JSON.stringify({ ...(shorten(members, length) as object), cut_from: bytes });
    if (Buffer.byteLength(text) <= most) return text;
  }
  const names = [...new Set([...FIRST, ...Object.keys(members)])].filter((name) => name in members);
  const kept = names.slice(0, MEMBERS).map((name) => {
    const value = members[name];
    return [cutText(name, 64), typeof value === 'object' && value !== null ? '…' : shorten(value, 64)];
  });
  return JSON.stringify({ ...Object.fromEntries(kept), cut_from: bytes });
}

function shorten(value: unknown, length: number): unknown {
  if (typeof value === 'string') return cutText(value, length);
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const kept = value.slice(0, length).map((each) => shorten(each, length));
    return value.length > length ? [...kept, '…'] : kept;
  }
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shorten(each, length)]));
}

function cutText(text: string, length: number): string {
  if (text.length <= length) return text;
  // Not between the halves of a surrogate pair.
  return `${text.slice(0, length).replace(/[\uD800-\uDBFF]$/, '')}…`;
}
