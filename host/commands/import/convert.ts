import type { DifferenceName } from './differences.js';
import { type Parameter, readParameters, successors } from './parameters.js';
import { type Entry, type Part, readOriginal } from './read-original.js';

/** A difference, at a line of the original file or of a JSON file that it names. */
export interface Notice {
  /** Absent for the original file. */
  readonly file?: string;
  readonly line: number;
  readonly difference: DifferenceName;
  /** What is meant there: `sessman`, `[paths] listen`. */
  readonly subject: string;
}

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The names of the Python files in a folder, without their ending. */
  readonly pythonFiles: (folder: string) => readonly string[];
  /** The text of a JSON file that a plugin's line names; undefined where there is none. */
  readonly jsonFile: (name: string) => string | undefined;
}

/** Turns the INI file of the Python server into one of this server, comments included, and notes what behaves differently. */
export function convert(original: string, around: Surroundings): { text: string; notices: Notice[] } {
  return new Conversion(original, around).run();
}

/** The sections of the server and of the included plugins, and which keys stay as they are. */
const keptKeys: Readonly<Record<string, readonly string[]>> = {
  network: ['bindto', 'port'],
  paths: ['plugins', 'pluginpath', 'pidfile'],
  ssl: ['enabled', 'keyfile', 'certfile'],
  auth: ['apikey'],
  cors: ['enabled', 'origin_url'],
  file_server: ['documents', 'indexfile', 'markdown_css', 'highlight_css'],
};

/** Keys that are commented out, with a difference of their own. */
const goneKeys: Readonly<Record<string, DifferenceName>> = {
  'paths documents': 'documents',
  'file_server common_log': 'common_log',
  'file_server log_includes': 'common_log',
  'file_server markdown_envelope': 'markdown_envelope',
};

const pathKeys = new Set(['plugins', 'pluginpath', 'pidfile', 'keyfile', 'certfile', 'documents']);

/** What looks false, and was not always. */
const falseWord = /^(?:false|disabled?|off|no|0)$/i;

class Conversion {
  readonly #around: Surroundings;
  readonly #parts: readonly Part[];
  readonly #entries: readonly Entry[];
  /** Free values in sections of the server that others refer to, by section and key. */
  readonly #moved: ReadonlyMap<string, Entry>;
  readonly #hasKey: boolean;
  readonly #notices: Notice[] = [];
  readonly #lines: string[] = [];

  constructor(original: string, around: Surroundings) {
    this.#around = around;
    this.#parts = readOriginal(original);
    this.#entries = this.#parts.filter((part) => part.kind === 'entry');
    const free = this.#entries.filter((entry) => isFree(entry) && this.#isReferredTo(entry));
    this.#moved = new Map(free.map((entry) => [placeOf(entry), entry]));
    this.#hasKey = this.#entries.some((entry) => placeOf(entry) === 'auth apikey' && entry.value !== '');
  }

  run(): { text: string; notices: Notice[] } {
    for (const part of this.#parts) {
      if (part.kind === 'entry') {
        this.#entry(part);
        continue;
      }
      if (part.kind === 'section') this.#section(part.line, part.name);
      this.#lines.push(part.text.trimEnd());
    }
    this.#addDocuments();
    while (this.#lines.at(-1) === '') this.#lines.pop();
    if (this.#moved.size > 0) this.#lines.push('', '[imported]');
    for (const entry of this.#moved.values())
      this.#lines.push(`${placeOf(entry).replace(' ', '_')}=${this.#references(entry)}`);
    if (!this.#hasKey) this.#note(1, 'no_key', '[auth] apikey');
    return { text: `${this.#lines.join('\n')}\n`, notices: this.#notices.sort(byPlace) };
  }

  #note(line: number, difference: DifferenceName, subject: string, file?: string): void {
    this.#notices.push({ line, difference, subject, ...(file !== undefined && { file }) });
  }

  #section(line: number, name: string): void {
    const lower = name.toLowerCase();
    if (name === 'DEFAULT') this.#note(line, 'defaults', '[DEFAULT]');
    if (lower === 'ssl' && name !== 'SSL') this.#note(line, 'ssl_case', `[${name}]`);
    if (lower === 'cors') this.#note(line, 'cors_credentials', `[${name}]`);
    if (lower !== 'auth') return;
    this.#note(line, 'status_401', `[${name}]`);
    this.#note(line, 'control_answers', `[${name}]`);
  }

  #entry(entry: Entry): void {
    const { section, key, line, value } = entry;
    if (entry.continued) this.#note(line, 'joined', subjectOf(entry));
    for (const [, name = ''] of value.matchAll(/(?<!\$)\$\{ENV:([^}:]+)\}/g)) {
      if (this.#around.env[name] === undefined) this.#note(line, 'environment', `\${ENV:${name}}`);
    }
    if (section.toLowerCase() === 'plugin_parms') {
      this.#plugin(entry);
      return;
    }
    const gone = goneKeys[placeOf(entry)] ?? (isFree(entry) ? 'unknown_key' : undefined);
    if (gone === undefined) this.#lines.push(`${key}=${this.#value(entry)}`);
    else this.#commentOut(entry, gone, subjectOf(entry));
    if (/^paths plugin/.test(placeOf(entry))) this.#pluginsWithoutLine(entry);
  }

  #value(entry: Entry): string {
    const { section, key, line, value } = entry;
    const place = placeOf(entry);
    const subject = subjectOf(entry);
    if (keptKeys[section.toLowerCase()] && pathKeys.has(key) && isRelative(entry))
      this.#note(line, 'relative_path', subject);
    const [, word] = /^bool:\s*(.*)$/.exec(value) ?? [];
    const isFalse = word !== undefined && !/^(?:true|enabled|enable|on|1)$/.test(word);
    if (place === 'cors enabled' && (isFalse || falseWord.test(value)))
      this.#note(line, 'cors_enabled', subject);
    if (section === 'SSL' && key === 'enabled' && word === undefined && falseWord.test(value))
      this.#note(line, 'text_enabled', subject);
    if (!isFalse || falseWord.test(word)) return this.#references(entry);
    this.#note(line, 'bool_false', subject);
    return 'bool:false';
  }

  #commentOut({ line, key, value }: Entry, difference: DifferenceName, subject: string): void {
    this.#note(line, difference, subject);
    this.#lines.push(`# ${key}=${value}`);
  }

  #isReferredTo({ section, key }: Entry): boolean {
    const full = `\${${section}:${key}}`.toLowerCase();
    return this.#entries.some((other) => {
      const value = other.value.toLowerCase();
      return value.includes(full) || (other.section === section && value.includes(`\${${key}}`));
    });
  }

  /** A value whose references lead to what has moved, and, in another section than before, to what has stayed. */
  #references({ section, value }: Entry, target = section): string {
    return value.replaceAll(
      /(?<!\$)\$\{(?:([^}:]+):)?([^}]+)\}/g,
      (all, named: string | undefined, key: string) => {
        const place = `${named ?? section} ${key}`.toLowerCase();
        if (this.#moved.has(place)) return `\${imported:${place.replace(' ', '_')}}`;
        return named === undefined && target !== section ? `\${${section}:${key}}` : all;
      },
    );
  }

  #plugin(entry: Entry): void {
    const { key, line } = entry;
    const successor = Object.hasOwn(successors, key) ? successors[key] : undefined;
    if (successor === undefined) {
      this.#commentOut(entry, 'python_plugin', key);
      return;
    }
    const read = readParameters(this.#references(entry).replace(/^json:/, 'json='));
    if (read.decoded) this.#note(line, 'decoded', key);
    if (read.ampersand) this.#note(line, 'ampersand', key);
    const isSqlite = read.parameters.some(({ name, value }) => name === 'backend' && value === 'sqlite');
    if (isSqlite) this.#note(line, 'sqlite', key);
    const written: Parameter[] = [];
    for (const { name, value } of read.parameters) {
      const target = Object.hasOwn(successor.parameters, name) ? successor.parameters[name] : undefined;
      if (target === undefined) this.#note(line, 'dropped_parameter', `${key}: ${name}`);
      else if (typeof target === 'string') this.#note(line, target, key);
      else if (!isSqlite || (name !== 'backend' && name !== 'database')) {
        if (/^(?:int|float|bool|list):/.test(value)) this.#note(line, 'typed', `${key}: ${name}`);
        const prefix = target.type === 'int' && /^\d+$/.test(value) ? 'int:' : '';
        written.push({ name: target.name, value: prefix + value });
      }
    }
    const has = (name: string) => written.some((parameter) => parameter.name === name);
    if (has('auth')) this.#note(line, 'auth_ignored', key);
    else if (!has('auth_type') && this.#hasKey) this.#note(line, 'open_plugin', key);
    for (const difference of successor.differences) this.#note(line, difference, key);
    for (const { name, value } of written) if (name === 'json') this.#jsonFile(value);
    this.#lines.push(`${successor.name}=${written.map(({ name, value }) => `${name}=${value}`).join('&')}`);
  }

  /** What a JSON file of sessman holds is for its owner to change. */
  #jsonFile(name: string): void {
    for (const [index, line] of (this.#around.jsonFile(name)?.split('\n') ?? []).entries()) {
      if (/"backend"\s*:\s*"sqlite"/.test(line)) this.#note(index + 1, 'sqlite', 'backend', name);
      if (/"vacuum_interval"\s*:/.test(line))
        this.#note(index + 1, 'vacuum_interval', 'vacuum_interval', name);
    }
  }

  #pluginsWithoutLine({ line, section, value }: Entry): void {
    const named = new Set(this.#entries.filter(isLine).map(({ key }) => key));
    for (const name of this.#around.pythonFiles(this.#resolve(value, section))) {
      if (named.has(name.toLowerCase())) continue;
      const successor = Object.hasOwn(successors, name) ? successors[name] : undefined;
      if (successor !== undefined && this.#hasKey) this.#note(line, 'open_plugin', name);
      for (const difference of successor?.differences ?? ['python_plugin' as const])
        this.#note(line, difference, name);
    }
  }

  /** A value with its references followed. What leads nowhere is empty. */
  #resolve(value: string, section: string, depth = 0): string {
    if (depth > 10) return '';
    return value.replaceAll(
      /\$\{(?:([^}:]+):)?([^}]+)\}/g,
      (_all, named: string | undefined, key: string) => {
        if (named === 'ENV') return this.#around.env[key] ?? '';
        const where = named ?? section;
        const found = this.#entries.find(
          (entry) => entry.section === where && entry.key === key.toLowerCase(),
        );
        return found === undefined ? '' : this.#resolve(found.value, where, depth + 1);
      },
    );
  }

  /** `[paths] documents` goes on as `[file_server] documents`, unless that is there. */
  #addDocuments(): void {
    const find = (place: string) => this.#entries.find((entry) => placeOf(entry) === place);
    const old = find('paths documents');
    if (old === undefined || find('file_server documents') !== undefined) return;
    const value = this.#references(old, 'file_server');
    // Without a request path, it was served under /doc.
    const written = `documents=${/^[^$]*:/.test(value) ? value : `doc:${value}`}`;
    const at = this.#lines.findIndex((line) => /^\[file_server\]/i.test(line.trim()));
    if (at < 0) this.#lines.push('', '[file_server]', written);
    else this.#lines.splice(at + 1, 0, written);
  }
}

/** `paths plugins` */
function placeOf({ section, key }: Entry): string {
  return `${section.toLowerCase()} ${key}`;
}

function subjectOf({ section, key }: Entry): string {
  return `[${section}] ${key}`;
}

function isLine({ section }: Entry): boolean {
  return section.toLowerCase() === 'plugin_parms';
}

/** Whether it is a value in a section of the server that only others use. */
function isFree(entry: Entry): boolean {
  const kept = keptKeys[entry.section.toLowerCase()];
  return kept !== undefined && !kept.includes(entry.key) && goneKeys[placeOf(entry)] === undefined;
}

function isRelative({ key, value }: Entry): boolean {
  const path = key === 'documents' ? value.replace(/^[^:/$]*:/, '') : value;
  return path !== '' && !/^[/~$]/.test(path);
}

function byPlace(a: Notice, b: Notice): number {
  return Number(a.file !== undefined) - Number(b.file !== undefined) || a.line - b.line;
}
