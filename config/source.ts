import type { Position } from './problem.js';

/** A stretch of text, by offsets: from `start` up to but not including `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** A line as it may be shown: secrets masked, and where in it the caret goes. */
export interface Quotation {
  readonly source: string;
  /** Index into `source` of what is pointed at. */
  readonly caret: number;
  /** How many characters of `source` are pointed at, at least 1. */
  readonly length: number;
}

const mask = '***';

/** One file's text: turns offsets into lines and columns, and quotes lines without their secrets. */
export class Source {
  readonly path: string;
  /** The text without a byte order mark; offsets count from its start in UTF-16 units. */
  readonly text: string;
  readonly #lines: readonly Span[];
  readonly #secrets: Span[] = [];

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text.startsWith('\uFEFF') ? text.slice(1) : text;
    this.#lines = splitLines(this.text);
  }

  /** Every line without its line break, which is LF, CRLF or CR. */
  get lines(): readonly Span[] {
    return this.#lines;
  }

  position(offset: number): Position {
    const index = this.#lineIndex(offset);
    return { file: this.path, line: index + 1, column: offset - this.#lines[index]!.start + 1 };
  }

  /** The inverse of `position`. */
  offset(position: Position): number {
    return (this.#lines[position.line - 1]?.start ?? 0) + position.column - 1;
  }

  /** From now on no quotation shows this stretch. */
  hide(secret: Span): void {
    if (secret.end > secret.start) this.#secrets.push(secret);
  }

  quote(offset: number, length: number): Quotation {
    const line = this.#lines[this.#lineIndex(offset)]!;
    const end = Math.min(offset + Math.max(length, 1), Math.max(line.end, offset + 1));
    let source = '';
    let caret = offset - line.start;
    let caretEnd = end - line.start;
    let shown = line.start;
    for (const secret of this.#secretsOn(line)) {
      source += this.text.slice(shown, secret.start) + mask;
      const masked = { start: source.length - mask.length, end: source.length };
      caret = moved(offset, secret, masked, caret);
      caretEnd = moved(end, secret, masked, caretEnd, true);
      shown = secret.end;
    }
    source += this.text.slice(shown, line.end);
    return { source, caret, length: Math.max(caretEnd - caret, 1) };
  }

  /** The secrets on a line, cut to it, in order, those that touch joined. */
  #secretsOn(line: Span): Span[] {
    const joined: { start: number; end: number }[] = [];
    const cut = this.#secrets
      .filter((secret) => secret.start < line.end && secret.end > line.start)
      .map((secret) => ({ start: Math.max(secret.start, line.start), end: Math.min(secret.end, line.end) }))
      .sort((a, b) => a.start - b.start);
    for (const secret of cut) {
      const last = joined.at(-1);
      if (last && secret.start <= last.end) last.end = Math.max(last.end, secret.end);
      else joined.push(secret);
    }
    return joined;
  }

  #lineIndex(offset: number): number {
    let low = 0;
    let high = this.#lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lines[middle]!.start <= offset) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

function splitLines(text: string): Span[] {
  const lines: Span[] = [];
  let start = 0;
  for (const lineBreak of text.matchAll(/\r\n|\n|\r/g)) {
    lines.push({ start, end: lineBreak.index });
    start = lineBreak.index + lineBreak[0].length;
  }
  lines.push({ start, end: text.length });
  return lines;
}

/** Where a point of the original line lies once `secret` has become `masked`; within a secret, at the mask's edge. */
function moved(offset: number, secret: Span, masked: Span, before: number, isEnd = false): number {
  if (isEnd ? offset <= secret.start : offset < secret.start) return before;
  if (offset < secret.end) return isEnd ? masked.end : masked.start;
  return masked.end + (offset - secret.end);
}
