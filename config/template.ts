import { shortName } from './names.js';
import type { Fault, Span } from './source.js';

/** Text between references, with every `$$` already a `$`. */
export interface TextPart extends Span {
  readonly kind: 'text';
  readonly text: string;
}

/** `${key}`, `${section:key}`, `${ENV:NAME}`, `${ENV:NAME:-default}` or `${FILE:PATH}`. */
export interface Reference extends Span {
  readonly kind: 'reference';
  /** Undefined for a key of the same section, the environment and files. */
  readonly section: string | undefined;
  readonly key: string;
  /** `key` names an environment variable. */
  readonly environment: boolean;
  /** `key` is the path of a file, whose text is meant. */
  readonly file: boolean;
  /** The value of an environment variable that is unset or empty. */
  readonly fallback: readonly Part[] | undefined;
}

export type Part = TextPart | Reference;

const deepestDefault = 20;

/**
 * Splits a value into text and references. Spans count from `start`, the value's offset in its file. A faulty reference
 * stays in the text, and is reported to `fault`.
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
    if (value[at + 1] === '$') {
      addText(shown, at);
      shown = at + 2;
      parts.push({ kind: 'text', text: '$', start: start + at, end: start + shown });
      at = shown;
    } else if (value[at + 1] === '{') {
      const close = closingBrace(value, at);
      if (close === -1 || depth > deepestDefault) {
        const end = start + (close === -1 ? value.length : close + 1);
        fault({ start: start + at, end, ...(close === -1 ? unclosed : tooDeep) });
        break;
      }
      const span = { start: start + at, end: start + close + 1 };
      const reference = parseReference(value.slice(at + 2, close), span, fault, depth);
      if (reference) {
        addText(shown, at);
        parts.push(reference);
        shown = close + 1;
      }
      at = close + 1;
    } else {
      at += 1;
    }
  }
  addText(shown, value.length);
  return parts;
}

const unclosed = {
  message: 'the reference is not closed: "}" is missing',
  hint: 'write ${section:key}, or $$ for a plain $',
};
const tooDeep = { message: `defaults are nested more than ${deepestDefault} deep` };
const empty = {
  message: 'the reference is empty',
  hint: `write \${section:key}, \${key}, \${ENV:NAME} or \${FILE:PATH}, or $$ for a plain $`,
};

/** Splits at each match of `separator` in the text; the value of a reference is never split. */
export function splitParts(parts: readonly Part[], separator: RegExp): Part[][] {
  const pieces: Part[][] = [[]];
  for (const part of parts) {
    if (part.kind === 'reference') {
      pieces.at(-1)!.push(part);
      continue;
    }
    let from = 0;
    for (const match of part.text.matchAll(separator)) {
      pieces.at(-1)!.push(...sliceText(part, from, match.index));
      pieces.push([]);
      from = match.index + match[0].length;
    }
    pieces.at(-1)!.push(...sliceText(part, from, part.text.length));
  }
  return pieces;
}

/** The parts without blanks at their two ends. */
export function trimParts(parts: readonly Part[]): Part[] {
  const first = parts[0];
  const led =
    first?.kind === 'text' ? dropStart(parts, first.text.length - first.text.trimStart().length) : parts;
  const last = led.at(-1);
  return last?.kind === 'text'
    ? [...led.slice(0, -1), ...sliceText(last, 0, last.text.trimEnd().length)]
    : [...led];
}

/** The parts without the first `count` characters, which must be text of the first part. */
export function dropStart(parts: readonly Part[], count: number): Part[] {
  const [first, ...rest] = parts;
  return first?.kind === 'text' ? [...sliceText(first, count, first.text.length), ...rest] : [...parts];
}

/** The literal spans, including those in defaults: everything but references to ordinary names. */
export function literalSpans(parts: readonly Part[]): Span[] {
  return parts.flatMap((part) =>
    part.kind === 'text' || !isOrdinary(part) ? [part] : literalSpans(part.fallback ?? []),
  );
}

/** Whether its names are ordinary; with others, it is doubtful that a reference was meant at all. */
export function isOrdinary({
  section = '',
  key,
  file,
}: Pick<Reference, 'section' | 'key' | 'file'>): boolean {
  return file || (/^[\w. -]*$/.test(section) && /^[\w. -]+$/.test(key));
}

/** From the first part's start to the last one's end. */
export function spanOf(parts: readonly Part[]): Span | undefined {
  const [first, last] = [parts[0], parts.at(-1)];
  return first && last && { start: first.start, end: last.end };
}

/** `${section:key}` */
export function nameOf({
  section,
  key,
  environment,
  file = false,
}: Pick<Reference, 'section' | 'key' | 'environment'> & { file?: boolean }): string {
  return `\${${environment ? 'ENV:' : file ? 'FILE:' : section === undefined ? '' : `${shortName(section)}:`}${shortName(key)}}`;
}

function sliceText(part: TextPart, from: number, to: number): TextPart[] {
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
  const environment = section?.toUpperCase() === 'ENV';
  const file = section?.toUpperCase() === 'FILE';
  const dash = environment ? inside.indexOf(':-', colon + 1) : -1;
  const key = inside.slice(colon + 1, dash === -1 ? undefined : dash).trim();
  if (key === '' || section === '') {
    fault({ ...span, ...empty });
    return undefined;
  }
  const fallback =
    dash === -1 ? undefined : parseTemplate(inside.slice(dash + 2), span.start + dash + 4, fault, depth + 1);
  return {
    kind: 'reference',
    section: environment || file ? undefined : section,
    key,
    environment,
    file,
    fallback,
    ...span,
  };
}
