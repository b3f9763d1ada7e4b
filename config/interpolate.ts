import { basename } from 'node:path';
import { type Conversion, conversions } from './conversions.js';
import type { IniEntry, IniSection } from './ini.js';
import { type Located, plainObject } from './located.js';
import { NameMap, nearest, quoteName, shortName } from './names.js';
import { parseParameters } from './parameters.js';
import { embeddedSecrets, isSecretName } from './secrets.js';
import type { Fault, Source, Span } from './source.js';
import {
  dropStart,
  isOrdinary,
  nameOf,
  type Part,
  parseTemplate,
  type Reference,
  spanOf,
  splitParts,
} from './template.js';

export interface InterpolationContext {
  readonly source: Source;
  readonly sections: NameMap<IniSection>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether the values of this section are lists of parameters, `a=1&b=2`. */
  isParameterSection(section: string): boolean;
  /** The value in a JSON file, or undefined once the reason has been reported. The file's name may be a secret. */
  loadJson(name: string, span: Span, isSecret: boolean): Located | undefined;
  /** A file's text, or undefined once the reason has been reported. */
  loadText(name: string, span: Span): string | undefined;
  /** A reference uses this section. */
  use(section: string): void;
  /** The value turns out to be a secret. */
  hide(located: Located): void;
  fault(fault: Fault): void;
}

/** The longest chain of references, and the size to which they may expand one value, in characters or items. */
const longestChain = 100;
const longestText = 1_048_576;
const longestList = 10_000;

/** An entry that is being evaluated, and the reference in it that is being followed. */
interface Frame {
  readonly section: IniSection;
  readonly entry: IniEntry;
  via?: Reference;
}

/** Where a value stands, and what is known of it so far. */
interface Scope {
  readonly section: IniSection;
  /** It is a secret, or part of one. */
  readonly secret: boolean;
  /** Something in it has been reported. */
  faulty: boolean;
  /** It is an item of a list. */
  isItem?: boolean;
}

/** Turns the texts of an INI file into values: follows references, converts, and reads JSON files. */
export class Interpolation {
  readonly #context: InterpolationContext;
  readonly #done = new Map<IniEntry, Located>();
  readonly #open: Frame[] = [];

  constructor(context: InterpolationContext) {
    this.#context = context;
  }

  /** The value of an entry. Each is evaluated once, so that its mistakes are reported once. */
  evaluate(section: IniSection, entry: IniEntry, intoSecret = false): Located {
    const done = this.#done.get(entry) ?? this.#evaluateNow(section, entry, intoSecret);
    if (intoSecret && !done.secret) this.#context.hide(done);
    return done;
  }

  #evaluateNow(section: IniSection, entry: IniEntry, intoSecret: boolean): Located {
    const { source, isParameterSection } = this.#context;
    const secret = intoSecret || isSecretName(entry.key);
    const scope: Scope = { section, secret, faulty: entry.refused };
    this.#open.push({ section, entry });
    const parts = parseTemplate(entry.value, entry.valueSpan.start, (fault) => this.#tell(scope, fault));
    const value = isParameterSection(section.name)
      ? this.#parameters(scope, entry, parts)
      : this.#value(scope, parts, entry.valueSpan);
    this.#open.pop();
    const located: Located = {
      ...value,
      secret: value.secret || secret,
      broken: value.broken || scope.faulty,
      // A refused line has no key to point at: the whole line has been reported.
      ...(!entry.refused && keyPlace(source, entry.keySpan)),
    };
    this.#done.set(entry, located);
    return located;
  }

  /** One value, by the rules of all sections: a prefix converts, and a single reference keeps its type. */
  #value(scope: Scope, parts: readonly Part[], span: Span): Located {
    const [first] = parts;
    const prefix =
      first?.kind === 'text' ? /^(?:int:|float:|bool:|list:|json=)/.exec(first.text)?.[0] : undefined;
    if (prefix !== undefined) {
      const rest = dropStart(parts, prefix.length);
      const restSpan = { start: span.start + prefix.length, end: span.end };
      if (prefix === 'json=') return this.#json(scope, rest, restSpan);
      const value =
        prefix === 'list:'
          ? this.#list(scope, rest, restSpan)
          : this.#convert(scope, conversions[prefix as keyof typeof conversions], rest, restSpan);
      return { ...value, ...this.#place(span) };
    }
    if (first?.kind !== 'reference' || parts.length > 1) return this.#text(scope, parts, span);
    const { keyPosition: _, keyLength: __, ...target } = this.#follow(scope, first);
    return { ...target, ...this.#place(span), notation: 'ini' };
  }

  #text(scope: Scope, parts: readonly Part[], span: Span): Located {
    let text = '';
    let secret = scope.secret;
    for (const part of parts) {
      if (part.kind === 'text') {
        text += part.text;
        continue;
      }
      const target = this.#follow(scope, part);
      if (target.broken) return this.#broken(span);
      if (typeof target.value === 'object') {
        const kind = Array.isArray(target.value) ? 'a list' : 'an object';
        const message = `${nameOf(part)} is ${kind}, which cannot be part of a text`;
        return this.#fault(scope, part, message, 'make the reference the whole value');
      }
      text += String(target.value);
      secret ||= target.secret;
      if (text.length > longestText) {
        return this.#fault(scope, part, `references make the value longer than ${longestText} characters`);
      }
    }
    return {
      value: text,
      secret: secret || embeddedSecrets(text).length > 0,
      ...this.#place(span),
      notation: 'ini',
    };
  }

  #convert(scope: Scope, conversion: Conversion, parts: readonly Part[], span: Span): Located {
    const text = this.#text(scope, parts, span);
    if (text.broken) return text;
    const value = conversion.parse(text.value as string);
    if (value !== undefined) return { ...text, value };
    const { message, hint } = conversion.refusal;
    const written = text.value as string;
    const hasCommas = scope.isItem ? written.includes(',') : /,\s*(?:int|float|bool):/.test(written);
    if (!hasCommas) return this.#fault(scope, span, message, hint);
    const blanks = 'separate the items of a list with blanks, such as list:int:1 int:2';
    return this.#fault(scope, span, message, blanks);
  }

  /** Splits into items before references are followed, unless the whole list is one reference. */
  #list(scope: Scope, parts: readonly Part[], span: Span): Located {
    const pieces = splitParts(parts, /\s+/g).filter((piece) => piece.length > 0);
    const items: Located[] = [];
    for (const piece of pieces) {
      const pieceSpan = spanOf(piece)!;
      const isReference = piece.length === 1 && piece[0]!.kind === 'reference';
      scope.isItem = true;
      const item = this.#value(scope, piece, pieceSpan);
      scope.isItem = false;
      if (item.broken) items.push(item);
      else if (item.items) {
        if (!isReference)
          return this.#fault(scope, pieceSpan, 'a list cannot hold a list', 'write list: once');
        if (items.length + item.items.length > longestList) {
          return this.#fault(scope, pieceSpan, `references make the list longer than ${longestList} items`);
        }
        items.push(...item.items);
      } else if (isReference && pieces.length === 1 && typeof item.value === 'string') {
        for (const value of item.value.split(/\s+/)) if (value !== '') items.push({ ...item, value });
      } else {
        items.push(item);
      }
    }
    return {
      value: items.map((child) => child.value),
      items,
      secret: scope.secret || items.some((child) => child.secret),
      broken: items.some((child) => child.broken),
      ...this.#place(span),
      notation: 'ini',
    };
  }

  #json(scope: Scope, parts: readonly Part[], span: Span): Located {
    // That the value is a secret does not make the file's name one.
    const name = this.#text({ ...scope, secret: false }, parts, span);
    if (name.broken) return name;
    if (name.value === '')
      return this.#fault(scope, span, 'the name of the JSON file is missing', 'write json=FILE');
    const loaded = this.#context.loadJson(name.value as string, span, name.secret);
    if (!loaded) return this.#broken(span);
    if (scope.secret) this.#context.hide(loaded);
    return loaded;
  }

  #parameters(scope: Scope, entry: IniEntry, parts: readonly Part[]): Located {
    const { source } = this.#context;
    const fields = new NameMap<Located>();
    const parameters = parseParameters(parts, source, (fault) => this.#tell(scope, fault));
    for (const parameter of parameters) {
      if ('reference' in parameter) {
        this.#spread(scope, fields, this.#follow(scope, parameter.reference), parameter.reference);
      } else if (parameter.key === 'json') {
        const loaded = this.#json(scope, parameter.value, parameter.valueSpan);
        // When a file has all the parameters, a missing one belongs there.
        if (parameters.length === 1 && loaded.fields) return { ...loaded, fields: named(loaded) };
        this.#spread(scope, fields, loaded, parameter.valueSpan);
      } else {
        const { key, keySpan, value, valueSpan } = parameter;
        const within: Scope = { ...scope, secret: scope.secret || isSecretName(key), faulty: false };
        const located = this.#value(within, value, valueSpan);
        this.#addParameter(scope, fields, key, keySpan, {
          ...located,
          secret: located.secret || within.secret,
          broken: located.broken || within.faulty,
          ...keyPlace(source, keySpan),
        });
      }
    }
    const secret = [...fields.values()].some((child) => child.secret);
    return {
      value: plainObject(fields),
      fields,
      secret,
      ...this.#place(entry.valueSpan),
      notation: 'ini',
    };
  }

  #spread(scope: Scope, into: NameMap<Located>, object: Located, span: Span): void {
    if (object.broken) scope.faulty = true;
    else if (!object.fields)
      this.#fault(scope, span, 'this is not an object', 'write an object: {"key": value}');
    for (const [key, child] of named(object)) this.#addParameter(scope, into, key, span, child);
  }

  #addParameter(scope: Scope, into: NameMap<Located>, key: string, span: Span, value: Located): void {
    const first = into.get(key);
    if (key === '__proto__')
      this.#fault(scope, span, 'a parameter cannot be called "__proto__"', 'rename it');
    else if (!first) into.set(key, value);
    else {
      const message = `the parameter ${quoteName(key)} is given twice${elsewhere(this.#context.source, first)}`;
      this.#fault(scope, span, message, 'remove one of the two');
    }
  }

  /** The value of a reference; broken after a fault in it, or in what it refers to. */
  #follow(scope: Scope, reference: Reference): Located {
    if (reference.environment) return this.#environment(scope, reference);
    if (reference.file) return this.#file(reference, scope);
    const section =
      reference.section === undefined ? scope.section : this.#context.sections.get(reference.section);
    const entry = section?.entries.get(reference.key);
    if (!section || !entry) return this.#missing(scope, reference, section);
    this.#context.use(section.name);
    this.#open.at(-1)!.via = reference;
    const circle = this.#open.findIndex((open) => open.entry === entry);
    if (circle !== -1) return this.#circle(scope, this.#open.slice(circle));
    if (this.#open.length > longestChain) {
      return this.#fault(scope, reference, `references are chained more than ${longestChain} deep`);
    }
    return this.evaluate(section, entry, scope.secret);
  }

  #environment(scope: Scope, reference: Reference): Located {
    const { key, fallback } = reference;
    const value = this.#variable(key);
    const secret = scope.secret || isSecretName(key);
    if (value !== undefined && (value !== '' || !fallback)) {
      return {
        value,
        secret: secret || embeddedSecrets(value).length > 0,
        ...this.#place(reference),
        notation: 'ini',
      };
    }
    if (fallback) return this.#text({ ...scope, secret }, fallback, reference);
    const message = `the environment variable ${quoteName(key)} is not set`;
    return this.#fault(
      scope,
      reference,
      message,
      `set it, or write ${nameOf({ ...reference, key: `${key}:-default` })}`,
    );
  }

  /** Such files usually contain secrets, so their text is never shown. */
  #file(reference: Reference, scope: Scope): Located {
    const value = this.#context.loadText(reference.key, reference);
    if (value === undefined) {
      scope.faulty = true;
      return this.#broken(reference);
    }
    return { value, secret: true, ...this.#place(reference), notation: 'ini' };
  }

  #variable(name: string): string | undefined {
    const { env } = this.#context;
    return Object.hasOwn(env, name) ? env[name] : undefined;
  }

  #missing(scope: Scope, reference: Reference, section: IniSection | undefined): Located {
    // A secret may happen to contain "${": do not name it. Whether a value is a secret may turn out only later.
    if (!isOrdinary(reference)) {
      return this.#fault(scope, reference, 'a key of this name does not exist', 'write $$ for a plain $');
    }
    const name = shortName(section?.name ?? reference.section ?? '');
    const message = section
      ? `key ${quoteName(reference.key)} does not exist in [${name}]`
      : `section [${name}] does not exist`;
    const meant = this.#meantBy(reference, section);
    const add = `write ${shortName(reference.key)}=… in [${name}], or $${nameOf(reference)} for the text itself`;
    return this.#fault(scope, reference, message, meant ?? add);
  }

  /** What to write in place of a reference to nothing, if that can be guessed. */
  #meantBy(reference: Reference, section: IniSection | undefined): string | undefined {
    const { sections } = this.#context;
    const { key } = reference;
    if (/^-|:-/.test(key)) return 'only ${ENV:NAME:-default} takes a default';
    const near = section
      ? nearest(key, section.entries.keys())
      : nearest(reference.section!, sections.keys());
    if (near !== undefined) {
      return `did you mean ${nameOf({ ...reference, ...(section ? { key: near } : { section: near }) })}?`;
    }
    return section && this.#variable(key) !== undefined ? asVariable(key) : undefined;
  }

  /** Reported at the reference through which the circle was entered. */
  #circle(scope: Scope, frames: readonly Frame[]): Located {
    const entered = frames[0]!.via!;
    const names = [...frames, frames[0]!].map(({ section, entry }) =>
      nameOf({ section: section.name, key: entry.key, environment: false }),
    );
    const isVariable = frames.length === 1 && this.#variable(entered.key) !== undefined;
    const hint = isVariable ? asVariable(entered.key) : 'give one of them a plain value';
    return this.#fault(scope, entered, `circular reference: ${names.join(' -> ')}`, hint);
  }

  #fault(scope: Scope, { start, end }: Span, message: string, hint?: string): Located {
    this.#tell(scope, { start, end, message, hint });
    return this.#broken({ start, end });
  }

  #tell(scope: Scope, fault: Fault): void {
    scope.faulty = true;
    this.#context.fault(fault);
  }

  #broken(at: Span): Located {
    return { value: undefined, secret: false, ...this.#place(at), notation: 'ini', broken: true };
  }

  #place({ start, end }: Span): Pick<Located, 'position' | 'length' | 'written'> {
    const { source } = this.#context;
    return { position: source.position(start), length: end - start, written: source.text.slice(start, end) };
  }
}

function asVariable(key: string): string {
  return `write ${nameOf({ section: undefined, key, environment: true })} for the variable`;
}

function keyPlace(source: Source, keySpan: Span) {
  return { keyPosition: source.position(keySpan.start), keyLength: keySpan.end - keySpan.start };
}

/** An object's values by name; like parameters, the names are not case-sensitive. */
function named({ fields = new Map<string, Located>() }: Located): NameMap<Located> {
  const result = new NameMap<Located>();
  for (const [key, child] of fields) result.set(key, child);
  return result;
}

/** Where else a parameter is given, if that is in a JSON file. */
function elsewhere(source: Source, { keyPosition: at }: Located): string {
  return !at || at.file === source.path ? '' : `; ${basename(at.file)} has it in line ${at.line}`;
}
