import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import type { z } from 'zod';
import type { Explanation } from './explain.js';
import { type IniSection, readIni } from './ini.js';
import { Interpolation } from './interpolate.js';
import { readJson } from './json.js';
import { type Located, plainValue } from './located.js';
import { NameMap, quoteName } from './names.js';
import type { Position, Problem } from './problem.js';
import { type CheckOptions, checkValue } from './schema.js';
import { Source, type Span } from './source.js';
import type { Fault } from './template.js';

export interface ReadOptions {
  /** What `${ENV:NAME}` refers to. Default: the environment of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /**
   * Where a JSON file is looked for that is not beside the INI file, in this order. The folders may depend on values of
   * the configuration, and are relative to the INI file.
   */
  readonly jsonFolders?: (value: (section: string, key: string) => string | undefined) => readonly string[];
  /** The sections in which every value is a list of parameters, `a=1&b=2`. */
  readonly parameterSections?: readonly string[];
  /** Reads a text file, or throws an error with a `code` as node:fs does. Default: from the disk, as UTF-8. */
  readonly readFile?: (path: string) => string;
}

/**
 * Reads an INI file and the JSON files that it names. It never throws for what they hold, nor where they are missing:
 * everything that is wrong is in `problems`.
 */
export function readConfiguration(file: string, options: ReadOptions = {}): Configuration {
  return new Configuration(file, options);
}

/** What was read. Checking its parts against schemas adds to its problems. */
export class Configuration {
  /** Absolute path of the INI file, and of its folder. */
  readonly file: string;
  readonly folder: string;
  readonly #options: ReadOptions;
  readonly #texts = new Map<string, string>();
  readonly #sources = new Map<string, Source>();
  readonly #json = new Map<string, Located | undefined>();
  readonly #sections = new NameMap<Located>();
  readonly #findings = new Map<string, Finding>();
  #jsonFolders: readonly string[] = [];

  constructor(file: string, options: ReadOptions) {
    this.file = resolve(file);
    this.folder = dirname(this.file);
    this.#options = options;
    this.#readIni();
  }

  /** Every file that was read, by absolute path, with its text. */
  get texts(): ReadonlyMap<string, string> {
    return this.#texts;
  }

  get sectionNames(): readonly string[] {
    return [...this.#sections.keys()];
  }

  /** A section, by its name in any case; its `children` are its keys, in any case as well. */
  section(name: string): Located | undefined {
    return this.#sections.get(name);
  }

  /** All that is wrong, each once: the INI file's problems first, then those of other files, by line and column. */
  get problems(): readonly Problem[] {
    const order = [...this.#sources.keys()];
    const rank = ({ file }: Position) => (file === this.file ? -1 : order.indexOf(file));
    return [...this.#findings.values()]
      .sort(
        (a, b) =>
          rank(a.position) - rank(b.position) ||
          a.position.line - b.position.line ||
          a.position.column - b.position.column,
      )
      .map((finding) => this.#problem(finding));
  }

  /**
   * A section as the schema gives it, or undefined after having added everything that is wrong with it to `problems`.
   * A section that is not there counts as an empty one.
   */
  read<Output>(section: string, schema: z.ZodType<Output>, options?: CheckOptions): Output | undefined {
    return this.check(this.section(section), schema, `[${section}]`, options);
  }

  /** The same for any value of this configuration. `where` names it in messages, `[network]` say. */
  check<Output>(
    located: Located | undefined,
    schema: z.ZodType<Output>,
    where: string,
    options?: CheckOptions,
  ): Output | undefined {
    const reporter = {
      report: (explanation: Explanation) => this.#explain(explanation),
      hide: (secret: Located) => this.#hide(secret),
    };
    return checkValue(located ?? this.#nothing(), schema, where, reporter, options);
  }

  /** Adds a problem. Of a value, it points at the value; of a position, at one character. */
  report(at: Located | Position, message: string, hint?: string): void {
    if ('line' in at) this.#find({ position: at, length: 1, message, hint });
    else this.#find({ position: at.position, length: at.length, message, hint });
  }

  /** An absolute path of one written in the configuration: relative to the INI file, `~` is the home directory. */
  resolvePath(path: string): string {
    return resolve(
      this.folder,
      path.replace(/^~(?=$|[/\\])/, () => homedir()),
    );
  }

  #readIni(): void {
    const text = this.#readFile(this.file);
    if (typeof text !== 'string') {
      this.#find({
        position: text.position ?? start(this.file),
        length: 0,
        message: `the file ${text.reason}`,
      });
      return;
    }
    const source = this.#addSource(this.file, text);
    const fault = (problem: Fault) => this.#fault(source, problem);
    const sections = readIni(source, fault);
    const parameterSections = new Set(this.#options.parameterSections?.map((name) => name.toLowerCase()));
    const interpolation = new Interpolation({
      source,
      sections,
      env: this.#options.env ?? process.env,
      isParameterSection: (name) => parameterSections.has(name.toLowerCase()),
      loadJson: (name, span) => this.#loadJson(name, source, span),
      fault,
    });
    const value = (section: string, key: string) => {
      const entry = sections.get(section)?.entries.get(key);
      const found = entry && interpolation.evaluate(sections.get(section)!, entry).value;
      return typeof found === 'string' ? found : undefined;
    };
    this.#jsonFolders = this.#options.jsonFolders?.(value) ?? [];
    for (const section of sections.values())
      this.#sections.set(section.name, locateSection(section, source, interpolation));
  }

  #loadJson(name: string, source: Source, span: Span): Located | undefined {
    const paths = this.#jsonPaths(name);
    for (const path of paths) {
      const text = this.#readFile(path);
      if (typeof text === 'string') return this.#parseJson(path, text);
      if (text.missing) continue;
      if (text.position)
        this.#find({ position: text.position, length: 0, message: `the file ${text.reason}` });
      else
        this.#fault(source, {
          ...span,
          message: `the file ${quoteName(this.#display(path, name))} ${text.reason}`,
        });
      return undefined;
    }
    const tried = paths.map((path) => this.#display(path, name)).join(' and ');
    this.#fault(source, { ...span, message: `there is no file ${quoteName(name)}; looked for ${tried}` });
    return undefined;
  }

  #jsonPaths(name: string): string[] {
    if (isAbsolute(name) || name.startsWith('~')) return [this.resolvePath(name)];
    const folders = [this.folder, ...this.#jsonFolders.map((folder) => this.resolvePath(folder))];
    return [...new Set(folders.map((folder) => resolve(folder, name)))];
  }

  #parseJson(path: string, text: string): Located | undefined {
    if (!this.#json.has(path)) {
      const source = this.#addSource(path, text);
      this.#json.set(
        path,
        readJson(source, (problem) => this.#fault(source, problem)),
      );
    }
    return this.#json.get(path);
  }

  /** A path as somebody who looks at the INI file would write it. */
  #display(path: string, typed: string): string {
    if (isAbsolute(typed) || typed.startsWith('~')) return typed;
    const shown = relative(this.folder, path);
    return shown.startsWith('..') && !typed.startsWith('..') ? join('…', typed) : shown;
  }

  #readFile(path: string): string | Unreadable {
    try {
      const text = (this.#options.readFile ?? readTextFile)(path);
      this.#texts.set(path, text);
      return text;
    } catch (error) {
      return unreadable(path, error);
    }
  }

  #addSource(path: string, text: string): Source {
    const source = new Source(path, text);
    this.#sources.set(path, source);
    return source;
  }

  #nothing(): Located {
    return {
      value: {},
      children: new NameMap(),
      position: start(this.file),
      length: 0,
      secret: false,
      notation: 'section',
    };
  }

  #hide(located: Located): void {
    (located as { secret: boolean }).secret = true;
    const source = this.#sources.get(located.position.file);
    if (!source) return;
    const offset = source.offset(located.position);
    source.hide({ start: offset, end: offset + located.length });
  }

  #explain({ at, atKey, message, hint }: Explanation): void {
    const position = atKey && at.keyPosition ? at.keyPosition : at.position;
    const length = atKey && at.keyPosition ? (at.keyLength ?? 1) : at.length;
    this.#find({
      position,
      length: atKey && at.notation === 'json' && !at.keyPosition ? 1 : length,
      message,
      hint,
    });
  }

  #fault(source: Source, { start: from, end, message, hint }: Fault): void {
    this.#find({ position: source.position(from), length: end - from, message, hint });
  }

  #find(finding: Finding): void {
    const { file, line, column } = finding.position;
    const key = JSON.stringify([file, line, column, finding.message]);
    if (!this.#findings.has(key)) this.#findings.set(key, finding);
  }

  /** Quoted only now, when every secret is known. */
  #problem({ position, length, message, hint }: Finding): Problem {
    const source = this.#sources.get(position.file);
    const quotation = source && length > 0 ? source.quote(source.offset(position), length) : undefined;
    return { position, message, ...(hint !== undefined && { hint }), ...quotation };
  }
}

interface Finding {
  readonly position: Position;
  readonly length: number;
  readonly message: string;
  readonly hint?: string | undefined;
}

interface Unreadable {
  readonly missing: boolean;
  /** Completes "the file …". */
  readonly reason: string;
  readonly position?: Position;
}

function start(file: string): Position {
  return { file, line: 1, column: 1 };
}

function locateSection(section: IniSection, source: Source, interpolation: Interpolation): Located {
  const children = new NameMap<Located>();
  for (const [key, entry] of section.entries) children.set(key, interpolation.evaluate(section, entry));
  const position = source.position(section.span.start);
  const length = section.span.end - section.span.start;
  const place = { position, length, keyPosition: position, keyLength: length };
  return { ...place, value: plainValue(children), children, secret: false, notation: 'section' };
}

/** Reads UTF-8 text. Other bytes are an error, since what they stand for would be a guess. */
function readTextFile(path: string): string {
  const bytes = readFileSync(path);
  if (isUtf8(bytes)) return bytes.toString('utf8');
  throw Object.assign(new Error('not UTF-8'), { code: 'not_utf8', text: bytes.toString('utf8') });
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'does not exist',
  ENOTDIR: 'does not exist',
  EISDIR: 'is a folder',
  EACCES: 'may not be read by this user',
  EPERM: 'may not be read by this user',
  not_utf8: 'is not UTF-8 text',
};

function unreadable(path: string, error: unknown): Unreadable {
  const { code, text } = error as { code?: unknown; text?: unknown };
  const name = typeof code === 'string' ? code : 'unknown error';
  const missing = name === 'ENOENT' || name === 'ENOTDIR';
  const reason = reasons[name] ?? `cannot be read (${name})`;
  if (typeof text !== 'string') return { missing, reason };
  return { missing, reason, position: new Source(path, text).position(Math.max(text.indexOf('\uFFFD'), 0)) };
}
