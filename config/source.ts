import type { Position } from './problem.js';

/** A stretch of text, by offsets: from `start` up to but not including `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Something wrong in a text. */
export interface Fault extends Span {
  readonly message: string;
  /** What to write instead. */
  readonly hint?: string | undefined;
}

/** A line with its secrets masked, and the position of the caret in it. */
export interface Quotation {
  readonly source: string;
  /** Index into `source` at which the caret points. */
  readonly caret: number;
  /** How many characters of `source` the caret line underlines, at least 1. */
  readonly length: number;
}

/** What stands in place of a secret. */
export const mask = '***';

/** One file's text: turns offsets into lines and columns, and quotes lines without their secrets. */
export class Source {
  readonly path: string;
  /** The text without a byte order mark; offsets count from its start in UTF-16 units. */
  readonly text: string;
  /** Every line without its line break, which is LF, CRLF or CR. */
  readonly lines: readonly Span[];
  readonly #secrets = new Map<Span, Span[]>();

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text.startsWith('\uFEFF') ? text.slice(1) : text;
    this.lines = splitLines(this.text);
  }

  position(offset: number): Position {
    const index = this.#lineIndex(offset);
    return { file: this.path, line: index + 1, column: offset - this.lines[index]!.start + 1 };
  }

  /** The inverse of `position`. */
  offset({ line, column }: Position): number {
    return (this.lines[line - 1]?.start ?? 0) + column - 1;
  }

  /** The text without the blanks at the ends of a stretch of it. */
  trim({ start, end }: Span): Span {
    const text = this.text.slice(start, end);
    const trimmed = text.trimStart();
    const from = end - trimmed.length;
    return { start: from, end: from + trimmed.trimEnd().length };
  }

  /** From now on, this span is masked in every quoted line. */
  hide({ start, end }: Span): void {
    for (let index = this.#lineIndex(start); index < this.lines.length; index += 1) {
      const line = this.lines[index]!;
      if (line.start >= end) return;
      const onLine = { start: Math.max(start, line.start), end: Math.min(end, line.end) };
      if (onLine.start >= onLine.end) continue;
      const known = this.#secrets.get(line);
      if (known) known.push(onLine);
      else this.#secrets.set(line, [onLine]);
    }
  }

  /** The line that holds `offset`, or undefined when there is nothing on it to see. */
  quote(offset: number, length: number): Quotation | undefined {
    const line = this.lines[this.#lineIndex(offset)]!;
    if (this.text.slice(line.start, line.end).trim() === '') return undefined;
    const end = Math.min(offset + length, line.end);
    let source = '';
    let caret = offset - line.start;
    let caretEnd = end - line.start;
    let shown = line.start;
    for (const secret of joined(this.#secrets.get(line) ?? [])) {
      source += this.text.slice(shown, secret.start);
      const masked = { start: source.length, end: source.length + mask.length };
      source += mask;
      shown = secret.end;
      if (offset >= secret.end) caret = masked.end + offset - secret.end;
      else if (offset >= secret.start) caret = masked.start;
      if (end >= secret.end) caretEnd = masked.end + end - secret.end;
      else if (end > secret.start) caretEnd = masked.end;
    }
    source += this.text.slice(shown, line.end);
    return { source, caret, length: Math.max(caretEnd - caret, 1) };
  }

  #lineIndex(offset: number): number {
    let low = 0;
    let high = this.lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lines[middle]!.start <= offset) low = middle;
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

/** The spans in order, those that overlap or touch as one. */
function joined(spans: readonly Span[]): Span[] {
  const result: { start: number; end: number }[] = [];
  for (const span of spans.toSorted((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last && span.start <= last.end) last.end = Math.max(last.end, span.end);
    else result.push({ ...span });
  }
  return result;
}
