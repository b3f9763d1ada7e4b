/** A part of an INI file as Python's configparser reads it, with the lines that it takes in the file. */
export type Part =
  | { readonly kind: 'text'; readonly line: number; readonly text: string }
  | { readonly kind: 'section'; readonly line: number; readonly text: string; readonly name: string }
  | Entry;

export interface Entry {
  readonly kind: 'entry';
  /** Counts from 1. */
  readonly line: number;
  readonly section: string;
  /** In lower case, as configparser has it. */
  readonly key: string;
  /** Continuation lines are joined with blanks. */
  readonly value: string;
  /** Whether it goes on in further lines. */
  readonly continued: boolean;
}

/**
 * Reads the INI dialect of Python's configparser: a key ends at the first `=` or `:`, a value goes on in the lines below that
 * are indented further, and only a line of its own is a comment.
 */
export function readOriginal(text: string): Part[] {
  const parts: Part[] = [];
  let section = '';
  let last: { entry: Entry; indent: number } | undefined;
  for (const [index, raw] of text.split(/\r\n|\n|\r/).entries()) {
    const line = index + 1;
    const trimmed = raw.trim();
    const indent = raw.length - raw.trimStart().length;
    if (trimmed === '' || /^[#;]/.test(trimmed)) {
      parts.push({ kind: 'text', line, text: raw });
      continue;
    }
    if (last !== undefined && indent > last.indent) {
      const { entry } = last;
      const longer = { ...entry, value: `${entry.value} ${trimmed}`.trim(), continued: true };
      parts[parts.indexOf(entry)] = longer;
      last = { entry: longer, indent: last.indent };
      continue;
    }
    const [, name] = /^\[([^\]]+)\]/.exec(trimmed) ?? [];
    const [, key, value = ''] = /^([^=:]+?)\s*[=:]\s*(.*)$/.exec(trimmed) ?? [];
    if (name !== undefined) {
      section = name;
      last = undefined;
      parts.push({ kind: 'section', line, text: raw, name });
    } else if (key === undefined) {
      parts.push({ kind: 'text', line, text: `# ${trimmed}` });
    } else {
      const entry: Entry = { kind: 'entry', line, section, key: key.toLowerCase(), value, continued: false };
      parts.push(entry);
      last = { entry, indent };
    }
  }
  return parts;
}
