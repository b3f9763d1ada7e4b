import { parse } from 'ini';
import { foldName, NameMap, quoteName, shortName } from './names.js';
import { isSecretName, secretSpans } from './secrets.js';
import type { Fault, Source, Span } from './source.js';

/** One `key=value` line. */
export interface IniEntry {
  /** As written. */
  readonly key: string;
  readonly keySpan: Span;
  /** The text to the end of the line, without the blanks around it. */
  readonly value: string;
  readonly valueSpan: Span;
  /** The line was refused. It is kept so that the key is not reported as missing, too. */
  readonly refused: boolean;
}

export interface IniSection {
  /** As written in its first header. */
  readonly name: string;
  /** The name within the brackets of the first header. */
  readonly span: Span;
  readonly entries: NameMap<IniEntry>;
}

/**
 * Reads INI text. A line is blank, a comment (its first character is `#` or `;`), a `[section]`, or `key=value`, whose
 * value is everything from the first `=` to the end of the line. `#`, `;`, quotes, backslashes and a second `=` are
 * ordinary characters in a value. Blanks around names and values do not count. A section given twice is one section: its
 * lines are merged, as in systemd. A key given twice in it is a fault.
 *
 * The `ini` package parses. It gives no positions, and silently accepts or drops what no user means, so a scan runs before
 * it: what the scan refuses never reaches the parser, and the rest is escaped, so that the parser returns exactly what was
 * written.
 */
export function readIni(source: Source, fault: (fault: Fault) => void): NameMap<IniSection> {
  const sections = scan(source, fault);
  const parsed = parse(escapeIni(sections));
  for (const section of sections.values()) {
    const values = parsed[escapeName(section.name)] ?? {};
    for (const [key, entry] of section.entries) {
      if (!entry.refused)
        section.entries.set(key, { ...entry, value: unescapeValue(values[escapeName(key)]) });
    }
  }
  return sections;
}

/** Finds sections and entries with their positions, and reports every line that is neither. */
function scan(source: Source, fault: (fault: Fault) => void): NameMap<IniSection> {
  const sections = new NameMap<IniSection>();
  let section: IniSection | undefined;
  let isLost = false;
  let afterSecret = false;
  for (const line of source.lines) {
    const text = source.trim(line);
    const first = source.text[text.start];
    if (text.start === text.end || first === '#' || first === ';') continue;
    if (first === '[') {
      section = readHeader(source, text, sections, fault);
      afterSecret = false;
      continue;
    }
    const entry = readEntry(source, text, afterSecret, fault);
    if (!entry.refused) afterSecret = isSecretName(entry.key);
    if (section) addEntry(source, section, entry, fault);
    else if (!isLost && !entry.refused) {
      isLost = true;
      fault({ ...entry.keySpan, ...beforeSections });
    }
  }
  return sections;
}

const beforeSections = {
  message: 'there are keys before the first [section]',
  hint: 'write a line such as [main] above',
};

const reserved = (what: string) => ({
  message: `a ${what} cannot be called "__proto__"`,
  hint: 'rename it',
});

/** INI text that the `ini` package reads as exactly these sections and values. */
function escapeIni(sections: NameMap<IniSection>): string {
  const lines: string[] = [];
  for (const section of sections.values()) {
    lines.push(`[${escapeName(section.name)}]`);
    for (const entry of section.entries.values()) {
      if (!entry.refused) lines.push(`${escapeName(entry.key)}=${escapeValue(entry.value)}`);
    }
  }
  return lines.join('\n');
}

/** Escapes everything but letters and digits: `.`, `]`, `[]`, `__proto__` and others have a meaning to `ini`. */
function escapeName(name: string): string {
  return foldName(name).replace(/[^a-z0-9]/g, (character) => `_${character.charCodeAt(0).toString(16)}_`);
}

/** A JSON string, which `ini` reads literally. The leading `=` keeps it from reading true, false or null as a value. */
function escapeValue(value: string): string {
  return JSON.stringify(`=${value}`).replace(/[\u2028\u2029]/g, (character) =>
    character === '\u2028' ? '\\u2028' : '\\u2029',
  );
}

function unescapeValue(value: unknown): string {
  return String(value).slice(1);
}

function readHeader(
  source: Source,
  text: Span,
  sections: NameMap<IniSection>,
  fault: (fault: Fault) => void,
): IniSection {
  const close = text.start + source.text.slice(text.start, text.end).indexOf(']');
  const isClosed = close >= text.start;
  const span = source.trim({ start: text.start + 1, end: isClosed ? close : text.end });
  const name = source.text.slice(span.start, span.end);
  if (!isClosed)
    fault({ ...text, message: '"]" is missing after the name of the section', hint: 'write [section]' });
  else if (name === '__proto__') fault({ ...span, ...reserved('section') });
  else if (name === '') fault({ ...text, message: 'the section has no name', hint: 'write [section]' });
  else if (close + 1 < text.end) {
    const rest = source.trim({ start: close + 1, end: text.end });
    fault({ ...rest, message: 'nothing may follow "]"', hint: 'write a comment or a key on its own line' });
  }
  const known = sections.get(name);
  if (known) return known;
  const section = { name, span, entries: new NameMap<IniEntry>() };
  sections.set(name, section);
  return section;
}

function readEntry(
  source: Source,
  text: Span,
  afterSecret: boolean,
  fault: (fault: Fault) => void,
): IniEntry {
  const equals = text.start + source.text.slice(text.start, text.end).indexOf('=');
  if (equals < text.start) return refuse(source, text, afterSecret, fault);
  const keySpan = source.trim({ start: text.start, end: equals });
  const valueSpan = source.trim({ start: equals + 1, end: text.end });
  const key = source.text.slice(keySpan.start, keySpan.end);
  const value = source.text.slice(valueSpan.start, valueSpan.end);
  for (const secret of secretSpans(key, value, valueSpan.start)) source.hide(secret);
  if (key !== '') return { key, keySpan, value, valueSpan, refused: false };
  if (afterSecret) source.hide(valueSpan);
  fault({
    start: equals,
    end: equals + 1,
    message: 'the key before "=" is missing',
    hint: 'write key=value',
  });
  return { key, keySpan, value, valueSpan, refused: true };
}

/** A line without "=". */
function refuse(source: Source, text: Span, afterSecret: boolean, fault: (fault: Fault) => void): IniEntry {
  const line = source.text.slice(text.start, text.end);
  const [key = ''] = line.split(/[\s:]/, 1);
  const isSecret = afterSecret || isSecretName(key);
  // It may be the rest of a secret that contains a line break, or a secret after a colon or a blank instead of "=".
  if (isSecret) source.hide(afterSecret ? text : { start: text.start + key.length, end: text.end });
  const hint =
    key !== '' && line[key.length] === ':' && !isSecret
      ? `write ${key}=value`
      : 'write key=value, on one line';
  fault({ ...text, message: '"=" is missing', hint });
  const nowhere = { start: text.end, end: text.end };
  return { key: afterSecret ? '' : key, keySpan: text, value: '', valueSpan: nowhere, refused: true };
}

function addEntry(source: Source, section: IniSection, entry: IniEntry, fault: (fault: Fault) => void): void {
  if (entry.key === '') return;
  if (entry.key === '__proto__') {
    fault({ ...entry.keySpan, ...reserved('key') });
    return;
  }
  const first = section.entries.get(entry.key);
  if (!first || (first.refused && !entry.refused)) section.entries.set(entry.key, entry);
  else if (!entry.refused) {
    const { line } = source.position(first.keySpan.start);
    fault({
      ...entry.keySpan,
      message: `the key ${quoteName(entry.key)} is given twice in [${shortName(section.name)}]; line ${line} has it first`,
      hint: 'remove one of the two',
    });
  }
}
