import { createScanner, type Node, type ParseError, parseTree, printParseErrorCode } from 'jsonc-parser';
import { type Located, plainValue } from './located.js';
import { quoteName } from './names.js';
import { isSecretName, secretSpans } from './secrets.js';
import type { Source } from './source.js';
import type { Fault } from './template.js';

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
  end: 17,
} as const satisfies Record<string, number>;

/**
 * Reads a JSON text, comments and trailing commas allowed, into a value every part of which knows its place. A key
 * given twice in an object and a `__proto__` key are faults. Undefined after a fault.
 */
export function readJson(source: Source, fault: (fault: Fault) => void): Located | undefined {
  hideSecrets(source);
  const { text } = source;
  const tooDeep = firstTooDeep(text);
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
  let sound = true;
  const located = locate(tree, source, false, (problem) => {
    sound = false;
    fault(problem);
  });
  return sound ? located : undefined;
}

function locate(node: Node, source: Source, secret: boolean, fault: (fault: Fault) => void): Located {
  const place = {
    position: source.position(node.offset),
    length: node.length,
    secret,
    notation: 'json' as const,
  };
  if (node.type === 'array') {
    const children = (node.children ?? []).map((child) => locate(child, source, secret, fault));
    return { ...place, value: children.map((child) => child.value), children };
  }
  if (node.type !== 'object') return { ...place, value: node.value };
  const children = new Map<string, Located>();
  for (const property of node.children ?? []) {
    const [keyNode, valueNode] = property.children ?? [];
    if (!keyNode || !valueNode) continue;
    const key: string = keyNode.value;
    const span = { start: keyNode.offset, end: keyNode.offset + keyNode.length };
    const first = children.get(key);
    if (key === '__proto__')
      fault({ ...span, message: 'the key "__proto__" is not allowed', hint: 'remove it or rename it' });
    else if (first)
      fault({
        ...span,
        message: `the key ${quoteName(key)} is given twice; line ${first.keyPosition?.line} has it first`,
        hint: 'remove one of the two',
      });
    else
      children.set(key, {
        ...locate(valueNode, source, secret || isSecretName(key), fault),
        keyPosition: source.position(keyNode.offset),
        keyLength: keyNode.length,
      });
  }
  return { ...place, value: plainValue(children), children };
}

/** Errors after the first of a line follow from it more often than not. */
function firstOfEachLine(source: Source, errors: readonly ParseError[]): ParseError[] {
  const seen = new Set<number>();
  return errors.filter(({ offset }) => {
    const { line } = source.position(offset);
    return !seen.has(line) && seen.add(line);
  });
}

const sentences: Readonly<Record<string, { message: string; hint?: string }>> = {
  InvalidSymbol: { message: 'this is no JSON value', hint: 'put text in double quotes' },
  InvalidNumberFormat: { message: 'this is no JSON number', hint: 'write it as 6123 or 0.5' },
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
  InvalidUnicode: { message: 'this is no \\u escape', hint: 'write \\u and four hexadecimal digits' },
  InvalidEscapeCharacter: { message: 'this is no escape', hint: 'write \\\\ for a backslash' },
  InvalidCharacter: {
    message: 'a control character stands in a text',
    hint: 'write it as an escape such as \\n or \\t',
  },
};

function syntaxFault(source: Source, error: ParseError): Fault {
  const span = { start: error.offset, end: error.offset + error.length };
  if (source.text.trim() === '')
    return { start: 0, end: 0, message: 'the JSON file is empty', hint: 'write {}' };
  return { ...span, ...(sentences[printParseErrorCode(error.error)] ?? { message: 'this is no JSON' }) };
}

/** The offset of the first bracket that goes too deep. Recursive parsing of such a text would end the process. */
function firstTooDeep(text: string): number | undefined {
  const scanner = createScanner(text, true);
  let depth = 0;
  for (let token = scanner.scan(); token !== Token.end; token = scanner.scan()) {
    if (token === Token.openBrace || token === Token.openBracket) depth += 1;
    if (token === Token.closeBrace || token === Token.closeBracket) depth -= 1;
    if (depth > deepest) return scanner.getTokenOffset();
  }
  return undefined;
}

/** Hides what stands under secret names, by tokens, so that it works on text that is no valid JSON too. */
function hideSecrets(source: Source): void {
  const scanner = createScanner(source.text, true);
  let key = '';
  let secretDepth: number | undefined;
  let secretStart = 0;
  let depth = 0;
  let previousEnd = 0;
  let tokens = 0;
  const hideUpTo = (end: number) => {
    // More than one token where one value should be: the value is broken, and its end is not where it seems.
    const lineEnd = source.text.slice(previousEnd).search(/[\r\n]/);
    const brokenEnd = lineEnd === -1 ? source.text.length : previousEnd + lineEnd;
    source.hide({ start: secretStart, end: tokens > 1 ? Math.max(brokenEnd, end) : end });
  };
  for (let token = scanner.scan(); token !== Token.end; token = scanner.scan()) {
    const start = scanner.getTokenOffset();
    const end = start + scanner.getTokenLength();
    const closes = token === Token.closeBrace || token === Token.closeBracket;
    const opens = token === Token.openBrace || token === Token.openBracket;
    if (secretDepth !== undefined) {
      const ends = (token === Token.comma && depth === secretDepth) || (closes && depth <= secretDepth);
      if (ends) {
        hideUpTo(previousEnd);
        secretDepth = undefined;
      } else {
        if (tokens === 0) secretStart = start;
        if (depth === secretDepth) tokens += 1;
      }
    } else if (token === Token.string) {
      key = scanner.getTokenValue();
      for (const span of secretSpans('', source.text.slice(start + 1, end - 1), start + 1)) source.hide(span);
    } else if (token === Token.colon && isSecretName(key)) {
      secretDepth = depth;
      secretStart = end;
      tokens = 0;
    }
    if (opens) depth += 1;
    if (closes) depth -= 1;
    previousEnd = end;
  }
  if (secretDepth !== undefined) hideUpTo(source.text.length);
}
