import { homedir } from 'node:os';
import { dirname, isAbsolute, join, relative, resolve } from 'node:path';
import type { z } from 'zod';
import type { Explanation } from './explain.js';
import { type IniSection, readIni } from './ini.js';
import { Interpolation } from './interpolate.js';
import { type Expanded, readJson } from './json.js';
import { childAt, everything, type Located, type Place, plainObject } from './located.js';
import { foldName, NameMap, quoteName, shortName } from './names.js';
import type { Position, Problem } from './problem.js';
import { mostHandedIn, readTextFile, type Unreadable, unfitText, unreadable } from './read-file.js';
import { type CheckOptions, checkValue, soundPart } from './schema.js';
import { isSecretName } from './secrets.js';
import { type Fault, mask, Source, type Span } from './source.js';

export interface ReadOptions {
  /** What `${ENV:NAME}` refers to. Default: the environment of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /**
   * The folders in which a JSON file is looked for when it is not beside the INI file, in order. They may depend on values
   * of the configuration, and are relative to the INI file.
   */
  readonly jsonFolders?: (value: (section: string, key: string) => string | undefined) => readonly string[];
  /** The sections in which every value is a list of parameters, `a=1&b=2`. */
  readonly parameterSections?: readonly string[];
  /**
   * Reads a text file, or throws an error with a `code` as node:fs does. It may refuse one with more than `most` bytes.
   * Default: from the disk, as UTF-8.
   */
  readonly readFile?: (path: string, most?: number) => string;
}

/**
 * Reads an INI file and the JSON files that it names. It never throws because of their content, nor when one is missing:
 * everything that is wrong is in `problems`.
 */
export function readConfiguration(file: string, options: ReadOptions = {}): Configuration {
  return new Configuration(file, options);
}

interface Finding {
  readonly position: Position;
  /** How much of the line is wrong; undefined when there is no line to show. */
  readonly length: number | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  readonly severity?: 'warning';
}

/** What was read. Checking its parts against schemas adds to its problems. */
export class Configuration {
  /** Absolute path of the INI file. */
  readonly file: string;
  /** The INI file's folder: relative paths in the file start from it. */
  readonly folder: string;
  readonly #options: ReadOptions;
  readonly #texts = new Map<string, string>();
  readonly #sources = new Map<string, Source>();
  readonly #json = new Map<string, Located | undefined>();
  readonly #sections = new NameMap<Located>();
  readonly #usedSections = new NameMap<true>();
  readonly #findings = new Map<string, Finding>();
  #jsonFolders: readonly string[] = [];

  constructor(file: string, options: ReadOptions = {}) {
    this.file = resolve(file);
    this.folder = dirname(this.file);
    this.#options = options;
    const text = this.#readFile(this.file);
    if (typeof text === 'string') this.#readIni(this.#addSource(this.file, text));
    else this.#tellUnreadable(this.file, text);
  }

  /** Every file that was read, by absolute path, with its text. */
  get texts(): ReadonlyMap<string, string> {
    return this.#texts;
  }

  /** The names of all sections, as they are written. */
  get sectionNames(): readonly string[] {
    return [...this.#sections.keys()];
  }

  /** The sections that nothing has read and no reference uses so far: perhaps misspelt. */
  get unusedSections(): readonly string[] {
    return this.sectionNames.filter((name) => !this.#usedSections.has(name));
  }

  /** A section, by its name in any case; its `fields` are its keys, in any case as well. */
  section(name: string): Located | undefined {
    return this.#sections.get(name);
  }

  /** The value at a section, a key, and further keys or indexes; the nearest one around it where the path ends early. */
  locate([section = '', ...keys]: readonly (string | number)[]): Located | undefined {
    let found = this.section(String(section));
    for (const key of keys) {
      const child = found && childAt(found, key);
      if (!child) break;
      found = child;
    }
    return found;
  }

  /** All that is wrong, each once: the INI file's problems first, then those of other files, by line and column. */
  get problems(): readonly Problem[] {
    return this.#sorted((finding) => finding.severity === undefined);
  }

  /** What is probably wrong but stops nothing, in the same order. */
  get warnings(): readonly Problem[] {
    return this.#sorted((finding) => finding.severity === 'warning');
  }

  #sorted(wanted: (finding: Finding) => boolean): readonly Problem[] {
    const files = [this.file, ...this.#sources.keys()];
    const rank = (file: string) => (files.includes(file) ? files.indexOf(file) : files.length);
    return [...this.#findings.values()]
      .filter(wanted)
      .sort(({ position: a }, { position: b }) => {
        const byFile = rank(a.file) - rank(b.file) || (a.file < b.file ? -1 : Number(a.file > b.file));
        return byFile || a.line - b.line || a.column - b.column;
      })
      .map((finding) => this.#quote(finding));
  }

  /**
   * A section as the schema gives it, or undefined after having added everything that is wrong with it to `problems`.
   * A section that is not there counts as an empty one.
   */
  read<Output>(section: string, schema: z.ZodType<Output>, options?: CheckOptions): Output | undefined {
    this.#usedSections.set(section, true);
    return this.check(this.section(section), schema, `[${section}]`, options);
  }

  /**
   * A section in whose schema every key is optional or has a default. Mistakes are reported, and the valid keys still
   * count: one mistake must not discard the other values.
   */
  readSound<Output>(
    section: string,
    schema: z.ZodType<Output>,
  ): { value: Output; wrong: ReadonlySet<string> } {
    this.read(section, schema);
    return soundPart(this.section(section) ?? this.#nothing(), schema);
  }

  /** The same for any value of this configuration; for one that is not there, undefined. `where` names it in messages. */
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

  /** Adds a problem at a value or another stretch of a file; a position alone is one character. */
  report(at: Place | Position, message: string, hint?: string): void {
    const { position, length } = 'line' in at ? { position: at, length: 1 } : at;
    this.#find({ position, length, message, hint });
  }

  /** Where a problem would be that shows only later: everything of it but the message. */
  placeOf({ position, length }: Place): Omit<Problem, 'message' | 'hint'> {
    const { message: _, ...place } = this.#quote({ position, length, message: '', hint: undefined });
    return place;
  }

  /** Adds a warning at a value. */
  warn({ position, length }: Place, message: string, hint?: string): void {
    this.#find({ position, length, message, hint, severity: 'warning' });
  }

  /** An absolute path of one written in the configuration: relative to the INI file, `~` is the home directory. */
  resolvePath(path: string): string {
    return resolve(
      this.folder,
      path.replace(/^~(?=$|[/\\])/, () => homedir()),
    );
  }

  #readIni(source: Source): void {
    const { env = process.env, parameterSections = [], jsonFolders } = this.#options;
    const fault = (found: Fault) => this.#tell(source, found);
    const sections = readIni(source, fault);
    const withParameters = new Set(parameterSections.map(foldName));
    for (const name of parameterSections) this.#usedSections.set(name, true);
    const interpolation = new Interpolation({
      source,
      sections,
      env,
      isParameterSection: (name) => withParameters.has(foldName(name)),
      loadJson: (name, span, isSecret) => this.#loadJson(name, source, span, isSecret),
      loadText: (name, span) => this.#loadText(name, source, span),
      use: (section) => this.#usedSections.set(section, true),
      hide: (secret) => this.#hide(secret),
      fault,
    });
    this.#jsonFolders =
      jsonFolders?.((name, key) => {
        const section = sections.get(name);
        const entry = section?.entries.get(key);
        const value = section && entry && interpolation.evaluate(section, entry).value;
        return typeof value === 'string' ? value : undefined;
      }) ?? [];
    for (const section of sections.values()) {
      this.#sections.set(section.name, locateSection(section, source, interpolation));
    }
  }

  #loadJson(name: string, source: Source, span: Span, isSecret: boolean): Located | undefined {
    const candidates = this.#jsonPaths(name);
    const quoted = (path: string) => (isSecret ? mask : quoteName(path));
    for (const { path, shown } of candidates) {
      if (this.#json.has(path)) return this.#json.get(path);
      const text = this.#readFile(path);
      if (typeof text === 'string') return this.#parseJson(path, text);
      if (text.isMissing) continue;
      if (text.position) this.#tellUnreadable(path, text);
      else
        this.#tell(source, {
          ...span,
          message: `the file ${quoted(shown)} ${text.reason}`,
        });
      return undefined;
    }
    const tried = candidates.map(({ shown }) => (isSecret ? mask : shown)).join(' and ');
    this.#tell(source, { ...span, message: `the file ${quoted(name)} does not exist; looked for ${tried}` });
    return undefined;
  }

  /** A file's text without its last line break: Docker, Kubernetes and systemd provide secrets as files. */
  #loadText(name: string, source: Source, span: Span): string | undefined {
    const path = this.resolvePath(name);
    const text = this.#texts.get(path) ?? this.#readFile(path, mostHandedIn);
    const unfit = typeof text === 'string' ? unfitText(text) : text;
    if (unfit === undefined) return (text as string).replace(/^\uFEFF/, '').replace(/\r?\n$/, '');
    const hint = unfit.hint ?? (unfit.isMissing ? 'create it, or correct the path' : undefined);
    this.#tell(source, { ...span, message: `the file ${quoteName(name)} ${unfit.reason}`, hint });
    return undefined;
  }

  /** In a string of JSON, `${ENV:…}` and `${FILE:…}` are replaced with their values; every other `$` is literal. */
  #expand(text: string, source: Source, span: Span, isSecret: boolean): Expanded | undefined {
    if (!text.includes('${')) return { value: text, secret: false };
    const { env = process.env } = this.#options;
    let isBroken = false;
    let secret = false;
    const value = text.replace(
      /\$?\$\{(?:(ENV):([^}]+?)(:-[^}]*)?|(?:FILE):([^}]+))\}/gi,
      (all: string, kind?: string, key = '', fallback?: string, path = '') => {
        if (all.startsWith('$$')) return all.slice(1);
        if (kind === undefined) {
          const found = this.#loadText(path.trim(), source, span);
          secret = true;
          isBroken ||= found === undefined;
          return found ?? '';
        }
        const name = key.trim();
        const found = Object.hasOwn(env, name) ? env[name] : undefined;
        secret ||= isSecretName(name);
        if (found !== undefined && (found !== '' || fallback === undefined)) return found;
        if (fallback !== undefined) return fallback.slice(2);
        isBroken = true;
        const shown = isSecret ? 'an environment variable' : `the environment variable ${quoteName(name)}`;
        const hint = `set it, or write \${ENV:${isSecret ? 'NAME' : shortName(name)}:-default}`;
        this.#tell(source, { ...span, message: `${shown} is not set`, hint });
        return '';
      },
    );
    return isBroken ? undefined : { value, secret };
  }

  /** Where a JSON file may be, and how that place is written in the INI file, which tells nothing of where that lies. */
  #jsonPaths(name: string): { path: string; shown: string }[] {
    const isRooted = isAbsolute(name) || name.startsWith('~');
    const paths = new Map([[this.resolvePath(name), name]]);
    for (const folder of isRooted ? [] : this.#jsonFolders) {
      const path = resolve(this.resolvePath(folder), name);
      const within = relative(this.folder, path);
      if (!paths.has(path)) paths.set(path, within.startsWith('..') ? join(folder, name) : within);
    }
    return [...paths].map(([path, shown]) => ({ path, shown }));
  }

  #parseJson(path: string, text: string): Located | undefined {
    const source = this.#addSource(path, text);
    const located = readJson(
      source,
      (found) => this.#tell(source, found),
      (text, span, secret) => this.#expand(text, source, span, secret),
    );
    this.#json.set(path, located);
    return located;
  }

  /** Of a file with more than `most` bytes, only that is known. */
  #readFile(path: string, most?: number): string | Unreadable {
    try {
      const text = (this.#options.readFile ?? readTextFile)(path, most);
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

  /** Stands for a value that is not written anywhere. */
  #nothing(): Located {
    const place = { position: start(this.file), length: 0 };
    return { ...place, value: {}, fields: new NameMap(), secret: false, notation: 'absent' };
  }

  #hide(located: Located): void {
    for (const part of everything(located)) {
      (part as { secret: boolean }).secret = true;
      const source = this.#sources.get(part.position.file);
      const offset = source?.offset(part.position) ?? 0;
      source?.hide({ start: offset, end: offset + part.length });
    }
  }

  #explain({ at, atKey, message, hint }: Explanation): void {
    const { position, length, keyPosition, keyLength, notation } = at;
    if (atKey && keyPosition) this.#find({ position: keyPosition, length: keyLength, message, hint });
    else if (notation === 'absent') this.#find({ position, length: undefined, message, hint });
    // Of a JSON object or list, the bracket that opens it.
    else
      this.#find({
        position,
        length: notation === 'json' && (at.fields ?? at.items) ? 1 : length,
        message,
        hint,
      });
  }

  #tell(source: Source, { start, end, message, hint }: Fault): void {
    this.#find({ position: source.position(start), length: end - start, message, hint });
  }

  #tellUnreadable(path: string, { reason, hint, position = start(path) }: Unreadable): void {
    this.#find({ position, length: undefined, message: `the file ${reason}`, hint });
  }

  #find(finding: Finding): void {
    const { file, line, column } = finding.position;
    const key = JSON.stringify([file, line, column, finding.message]);
    if (!this.#findings.has(key)) this.#findings.set(key, finding);
  }

  /** The line is quoted only now, when every secret is known. */
  #quote({ position, length, message, hint, severity }: Finding): Problem {
    const source = this.#sources.get(position.file);
    const quotation = length === undefined ? undefined : source?.quote(source.offset(position), length);
    return {
      position,
      message,
      ...(hint !== undefined && { hint }),
      ...(severity && { severity }),
      ...quotation,
    };
  }
}

function start(file: string): Position {
  return { file, line: 1, column: 1 };
}

function locateSection(section: IniSection, source: Source, interpolation: Interpolation): Located {
  const fields = new NameMap<Located>();
  for (const [key, entry] of section.entries) fields.set(key, interpolation.evaluate(section, entry));
  const position = source.position(section.span.start);
  const length = section.span.end - section.span.start;
  const place = { position, length, keyPosition: position, keyLength: length };
  return { ...place, value: plainObject(fields), fields, secret: false, notation: 'ini' };
}
