import type { Span } from './source.js';

/** Text between references, with every `$$` already a `$`. */
export interface TextPart extends Span {
  readonly kind: 'text';
  readonly text: string;
}

/** `${key}`, `${section:key}`, `${ENV:NAME}` or `${ENV:NAME:-default}`. */
export interface Reference extends Span {
  readonly kind: 'reference';
  /** `ENV` for the environment; undefined for a key of the same section. */
  readonly section: string | undefined;
  readonly key: string;
  /** What an environment variable that is not set, or empty, is taken to be. */
  readonly fallback?: readonly Part[];
}

export type Part = TextPart | Reference;

/** Something wrong with the text itself, by offsets. */
export interface Fault extends Span {
  readonly message: string;
  readonly hint?: string;
}

const deepestDefault = 20;

/**
 * Takes a value apart into text and references. Spans count from `start`, where the value stands in its file.
 * A faulty reference stays in the text, and is told to `fault`.
 */
export function parseTemplate(
  value: string,
  start: number,
  fault: (fault: Fault) => void,
  depth = 0,
): Part[] {
  const parts: Part[] = [];
  const addText = (from: number, to: number) => {
    if (to > from)
      parts.push({ kind: 'text', text: value.slice(from, to), start: start + from, end: start + to });
  };
  let shown = 0;
  for (let at = value.indexOf('$'); at !== -1; at = value.indexOf('$', at)) {
    const next = value[at + 1];
    if (next !== '$' && next !== '{') {
      at += 1;
      continue;
    }
    addText(shown, at);
    if (next === '$') {
      shown = at + 2;
      parts.push({ kind: 'text', text: '$', start: start + at, end: start + shown });
    } else {
      const close = closingBrace(value, at);
      const problem = close === -1 ? unclosed : depth === deepestDefault ? tooDeep : undefined;
      if (problem) {
        fault({ ...problem, start: start + at, end: start + (close === -1 ? value.length : close + 1) });
        shown = at;
        break;
      }
      shown = close + 1;
      const span = { start: start + at, end: start + shown };
      const reference = parseReference(value.slice(at + 2, close), span, fault, depth);
      if (reference) parts.push(reference);
      else addText(at, shown);
    }
    at = shown;
  }
  addText(shown, value.length);
  return parts;
}

const unclosed = {
  message: 'the reference is not closed: "}" is missing',
  hint: `write \${section:key}, or $$ for a plain $`,
};
const tooDeep = { message: `a default holds defaults more than ${deepestDefault} deep` };

/** Splits at each run of `separator` characters in the text; what a reference stands for is never split. */
export function splitParts(parts: readonly Part[], separator: RegExp): Part[][] {
  const pieces: Part[][] = [[]];
  for (const part of parts) {
    if (part.kind === 'reference' || part.text.length !== part.end - part.start) {
      pieces.at(-1)!.push(part);
      continue;
    }
    let from = 0;
    for (const match of part.text.matchAll(separator)) {
      pieces.at(-1)!.push(...slicePart(part, from, match.index));
      pieces.push([]);
      from = match.index + match[0].length;
    }
    pieces.at(-1)!.push(...slicePart(part, from, part.text.length));
  }
  return pieces;
}

/** The parts without blanks at their two ends. */
export function trimParts(parts: readonly Part[]): Part[] {
  const first = parts[0];
  const led =
    first?.kind === 'text' ? dropStart(parts, first.text.length - first.text.trimStart().length) : parts;
  const last = led.at(-1);
  if (last?.kind !== 'text') return [...led];
  return [...led.slice(0, -1), ...slicePart(last, 0, last.text.trimEnd().length)];
}

/** The parts without the first `count` characters, which must be plain text of the first part. */
export function dropStart(parts: readonly Part[], count: number): Part[] {
  const [first, ...rest] = parts;
  return first?.kind === 'text' ? [...slicePart(first, count, first.text.length), ...rest] : [...parts];
}

/** The stretches that are written out, those in defaults included: all but the references themselves. */
export function literalSpans(parts: readonly Part[]): Span[] {
  return parts.flatMap((part) => (part.kind === 'text' ? [part] : literalSpans(part.fallback ?? [])));
}

function slicePart(part: TextPart, from: number, to: number): TextPart[] {
  if (from >= to) return [];
  if (from === 0 && to === part.text.length) return [part];
  return [{ kind: 'text', text: part.text.slice(from, to), start: part.start + from, end: part.start + to }];
}

/** The index of the brace that closes the reference opened at `open`, or -1. */
function closingBrace(value: string, open: number): number {
  let depth = 0;
  for (let at = open; at < value.length; at += 1) {
    if (value[at] === '$' && (value[at + 1] === '{' || value[at + 1] === '$')) {
      at += 1;
      if (value[at] === '{') depth += 1;
    } else if (value[at] === '}') {
      depth -= 1;
      if (depth === 0) return at;
    }
  }
  return -1;
}

function parseReference(
  inside: string,
  span: Span,
  fault: (fault: Fault) => void,
  depth: number,
): Reference | undefined {
  const colon = inside.indexOf(':');
  const section = colon === -1 ? undefined : inside.slice(0, colon).trim();
  let key = inside.slice(colon + 1).trim();
  let fallback: Part[] | undefined;
  if (section?.toUpperCase() === 'ENV') {
    const dash = inside.indexOf(':-', colon + 1);
    if (dash !== -1) {
      key = inside.slice(colon + 1, dash).trim();
      fallback = parseTemplate(inside.slice(dash + 2), span.start + 2 + dash + 2, fault, depth + 1);
    }
  }
  if (key === '' || section === '') {
    fault({
      ...span,
      message: 'the reference names nothing',
      hint: `write \${section:key}, \${key}, \${ENV:NAME}, or $$ for a plain $`,
    });
    return undefined;
  }
  return { kind: 'reference', section, key, ...(fallback && { fallback }), ...span };
}
