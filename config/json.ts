import { createScanner, type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser';
import { isExactNumber } from './exact-json.js';
import { type Located, plainObject } from './located.js';
import { quoteName } from './names.js';
import { embeddedSecrets, isSecretName } from './secrets.js';
import type { Fault, Source, Span } from './source.js';

const deepest = 100;

/** The scanner's `SyntaxKind`, a const enum that only its own compiler can read. */
const Token = {
  openBrace: 1,
  closeBrace: 2,
  openBracket: 3,
  closeBracket: 4,
  comma: 5,
  colon: 6,
  string: 10,
  unknown: 16,
  end: 17,
} as const;

/**
 * Reads a JSON text, in which comments and trailing commas are allowed, into a value whose parts know their positions.
 * Faults are a key given twice in an object (the first counts), a `__proto__` key, and a number that a double cannot
 * represent. Undefined if the text is not JSON.
 */
export function readJson(
  source: Source,
  fault: (fault: Fault) => void,
  expand: Expand = (text) => ({ value: text, secret: false }),
): Located | undefined {
  const { text } = source;
  const tokens = tokenize(text);
  hideSecrets(source, tokens);
  const tooDeep = firstTooDeep(tokens);
  if (tooDeep !== undefined) {
    fault({ start: tooDeep, end: tooDeep + 1, message: `the JSON is nested more than ${deepest} deep` });
    return undefined;
  }
  const errors: ParseError[] = [];
  const tree = parseTree(text, errors, { allowTrailingComma: true });
  if (errors.length > 0 || !tree) {
    for (const error of firstOfEachLine(source, errors)) fault(syntaxFault(source, error));
    return undefined;
  }
  return locate(tree, false, { source, fault, expand });
}

/** The string with its references replaced; undefined after a fault in them. */
export type Expand = (text: string, span: Span, secret: boolean) => Expanded | undefined;

export interface Expanded {
  readonly value: string;
  readonly secret: boolean;
}

interface Reading {
  readonly source: Source;
  readonly fault: (fault: Fault) => void;
  readonly expand: Expand;
}

function locate(node: Node, secret: boolean, reading: Reading): Located {
  const { source, fault } = reading;
  const place = {
    position: source.position(node.offset),
    length: node.length,
    secret,
    notation: 'json' as const,
  };
  if (node.type === 'array') {
    const items = (node.children ?? []).map((child) => locate(child, secret, reading));
    return { ...place, value: items.map((item) => item.value), items };
  }
  const span = { start: node.offset, end: node.offset + node.length };
  if (node.type === 'string') {
    const text = reading.expand(node.value, span, secret);
    if (!text) return { ...place, value: undefined, broken: true };
    return { ...place, ...text, secret: secret || text.secret || embeddedSecrets(text.value).length > 0 };
  }
  if (node.type === 'number' && !isExactNumber(source.text.slice(span.start, span.end))) {
    fault({ ...span, ...inexact });
    return { ...place, value: undefined, broken: true };
  }
  if (node.type !== 'object') return { ...place, value: node.value };
  const fields = new Map<string, Located>();
  for (const property of node.children ?? []) {
    const [keyNode, valueNode] = property.children ?? [];
    if (!keyNode || !valueNode) continue;
    const key: string = keyNode.value;
    const span = { start: keyNode.offset, end: keyNode.offset + keyNode.length };
    const first = fields.get(key);
    if (key === '__proto__')
      fault({ ...span, message: 'the key "__proto__" is not allowed', hint: 'remove it or rename it' });
    else if (first)
      fault({
        ...span,
        message: `the key ${quoteName(key)} is given twice; line ${first.keyPosition?.line} has it first`,
        hint: 'remove one of the two',
      });
    else
      fields.set(key, {
        ...locate(valueNode, secret || isSecretName(key), reading),
        keyPosition: source.position(keyNode.offset),
        keyLength: keyNode.length,
      });
  }
  return { ...place, value: plainObject(fields), fields };
}

const inexact = {
  message: 'this number cannot be represented exactly',
  hint: 'write it as text in double quotes, or use a number that a double holds',
};

/** Further errors on the same line usually follow from the first. */
function firstOfEachLine(source: Source, errors: readonly ParseError[]): ParseError[] {
  const seen = new Set<number>();
  return errors.filter(({ offset }) => {
    const { line } = source.position(offset);
    return !seen.has(line) && seen.add(line);
  });
}

const sentences: Readonly<Record<string, { message: string; hint?: string }>> = {
  InvalidSymbol: { message: 'this is not a JSON value', hint: 'put text in double quotes' },
  InvalidNumberFormat: { message: 'this is not a JSON number', hint: 'write it as 6123 or 0.5' },
  PropertyNameExpected: {
    message: 'a key is missing here',
    hint: 'write "key": value, the key in double quotes',
  },
  ValueExpected: { message: 'a value is missing here' },
  ColonExpected: { message: '":" is missing after the key', hint: 'write "key": value' },
  CommaExpected: { message: '"," is missing before this' },
  CloseBraceExpected: { message: '"}" is missing' },
  CloseBracketExpected: { message: '"]" is missing' },
  EndOfFileExpected: { message: 'nothing may follow the JSON value' },
  UnexpectedEndOfComment: { message: 'the comment is not closed', hint: 'write */ at its end' },
  UnexpectedEndOfString: { message: 'the text is not closed', hint: `write " at its end` },
  UnexpectedEndOfNumber: { message: 'the number is not finished', hint: 'write it as 6123 or 0.5' },
  InvalidUnicode: { message: 'this is not a \\u escape', hint: 'write \\u and four hexadecimal digits' },
  InvalidEscapeCharacter: { message: 'this is not an escape', hint: 'write \\\\ for a backslash' },
  InvalidCharacter: {
    message: 'a text contains a control character',
    hint: 'write it as an escape such as \\n or \\t',
  },
};

function syntaxFault(source: Source, error: ParseError): Fault {
  const span = { start: error.offset, end: error.offset + error.length };
  if (source.text.trim() === '')
    return { start: 0, end: 0, message: 'the JSON file is empty', hint: 'write {}' };
  return { ...span, ...(sentences[printParseErrorCode(error.error)] ?? { message: 'this is not JSON' }) };
}

/** The offset of the first bracket that is nested too deep: the parser is recursive, and such a text would end the process. */
function firstTooDeep(tokens: readonly JsonToken[]): number | undefined {
  let depth = 0;
  for (const { kind, start } of tokens) {
    if (opens(kind)) depth += 1;
    if (closes(kind)) depth -= 1;
    if (depth > deepest) return start;
  }
  return undefined;
}

/** Masks the values of secret names, and passwords in URLs, even in text that is not valid JSON. */
function hideSecrets(source: Source, tokens: readonly JsonToken[]): void {
  for (let index = 0; index < tokens.length; index += 1) {
    const { kind, start, end, text } = tokens[index]!;
    if (kind !== Token.string && kind !== Token.unknown) continue;
    for (const span of embeddedSecrets(source.text.slice(start, end), start)) source.hide(span);
    const first = tokens[index + 1]?.kind === Token.colon ? index + 2 : index + 1;
    if (!isSecretName(text)) continue;
    const next = endOfValue(tokens, first);
    const [from, to] = [tokens[first], tokens[next - 1]];
    if (!from || !to || next <= first) continue;
    // More tokens than a value has: a quote is missing, and the value may reach to the end of its line.
    const isWhole = next === first + 1 || (opens(from.kind) && closes(to.kind));
    const line = source.position(to.end).line;
    source.hide({ start: from.start, end: isWhole ? to.end : source.lines[line - 1]!.end });
    index = next - 1;
  }
}

/** The index of the token that ends the value that starts at `first`: a comma, or a bracket that it did not open. */
function endOfValue(tokens: readonly JsonToken[], first: number): number {
  let depth = 0;
  for (let index = first; index < tokens.length; index += 1) {
    const { kind } = tokens[index]!;
    if (depth === 0 && (kind === Token.comma || closes(kind))) return index;
    if (opens(kind)) depth += 1;
    if (closes(kind)) depth -= 1;
  }
  return tokens.length;
}

interface JsonToken {
  readonly kind: number;
  readonly start: number;
  readonly end: number;
  /** Of a string, what it stands for. */
  readonly text: string;
}

function tokenize(text: string): JsonToken[] {
  const scanner = createScanner(text, true);
  const tokens: JsonToken[] = [];
  for (let kind: number = scanner.scan(); kind !== Token.end; kind = scanner.scan()) {
    const start = scanner.getTokenOffset();
    tokens.push({ kind, start, end: start + scanner.getTokenLength(), text: scanner.getTokenValue() });
  }
  return tokens;
}

function opens(kind: number): boolean {
  return kind === Token.openBrace || kind === Token.openBracket;
}

function closes(kind: number): boolean {
  return kind === Token.closeBrace || kind === Token.closeBracket;
}
