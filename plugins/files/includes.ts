import { join, posix } from 'node:path';
import type { Logger, OpenFile, ServedFolder } from 'plugin-server';
import { missing, type Source, sourceOf } from './sources.js';

/** A Markdown text after its `@INCLUDE=…@` and `@TITLE=…@`. */
export interface ExpandedText {
  readonly text: string;
  /** The value of its last `@TITLE=…@`. */
  readonly title: string | undefined;
  /** Every file that the text came from. A change of any of them changes the page. */
  readonly sources: Source[];
}

/** Bytes of Markdown in a page, and names that it may include. */
export const maximumText = 512 * 1024;
const maximumIncludes = 100;

/** `@NAME=value@`. A backslash in front or a code span around it keeps it as written. A block of code does not. */
const variable = /(?<!`)(`{1,2})(?!`)[^\n]*?[^`\n]\1(?!`)|(\\?)@(INCLUDE|TITLE)=([^@\r\n]+)@/g;

/**
 * Reads a Markdown file with all that it includes. A name in `@INCLUDE=name@` is relative to the file it stands in, or
 * to the served folder when it starts with a slash; nothing outside that folder can be included. What cannot be
 * included leaves a note in its place, in the page and in the log.
 */
export async function expand(
  folder: ServedFolder,
  names: readonly string[],
  file: OpenFile,
  log: Logger,
): Promise<ExpandedText> {
  const sources: Source[] = [];
  let title: string | undefined;
  let left = maximumText;
  let includes = 0;

  async function read(open: OpenFile): Promise<string> {
    const text = await open.handle.readFile('utf8');
    sources.push(sourceOf(open.path, open.stat));
    left -= text.length;
    return text;
  }

  async function carryOut(text: string, at: readonly string[], above: readonly string[]): Promise<string> {
    const parts: string[] = [];
    let done = 0;
    for (const match of text.matchAll(variable)) {
      const [whole, span, backslash, name, value = ''] = match;
      parts.push(text.slice(done, match.index));
      done = match.index + whole.length;
      if (span) parts.push(whole);
      else if (backslash) parts.push(whole.slice(1));
      else if (name === 'INCLUDE') parts.push(await include(value.trim(), at, above));
      else if (above.length === 1) title = value.trim();
    }
    parts.push(text.slice(done));
    return parts.join('');
  }

  async function include(name: string, at: readonly string[], above: readonly string[]): Promise<string> {
    includes += 1;
    // Counted before the file is looked for, and logged once: thousands of names cost neither look-ups nor log lines.
    if (includes > maximumIncludes) {
      const why = `a page can include at most ${maximumIncludes} files`;
      return includes === maximumIncludes + 1 ? refuse(name, at, why) : note(name, why);
    }
    const target = resolveName(name, at);
    const found = target && (await folder.find(target));
    if (found?.kind !== 'file') {
      if (target) sources.push(missing(join(folder.path, ...target)));
      return refuse(name, at, 'file not found in the served folder');
    }
    try {
      if (above.includes(found.path)) return refuse(name, at, 'it includes itself');
      if (Number(found.stat.size) > left)
        return refuse(name, at, `a page can contain at most ${maximumText / 1024} KiB of Markdown`);
      return await carryOut(await read(found), target ?? [], [...above, found.path]);
    } finally {
      await found.handle.close();
    }
  }

  function refuse(name: string, at: readonly string[], why: string): string {
    log.warn({ folder: folder.path, file: at.join('/'), include: name }, `not included: ${why}`);
    return note(name, why);
  }

  const text = await carryOut(await read(file), names, [file.path]);
  return { text, title, sources };
}

function note(name: string, why: string): string {
  return `[${name} is not included: ${why}]`;
}

/** The names below the folder that an include stands for. Undefined when it leads out of the folder. */
function resolveName(name: string, at: readonly string[]): string[] | undefined {
  const resolved = posix.join(...(name.startsWith('/') ? [] : at.slice(0, -1)), name);
  const names = resolved.split('/').filter((part) => part !== '' && part !== '.');
  return names.includes('..') || name.includes('\0') ? undefined : names;
}
