import type { IniEntry, IniSection } from './ini.js';
import { type Located, plainValue } from './located.js';
import { NameMap, nearest, quoteName } from './names.js';
import { booleanWords, parseBoolean, parseDecimal, parseInteger } from './numbers.js';
import { isSecretName, secretSpans } from './secrets.js';
import type { Source, Span } from './source.js';
import {
  dropStart,
  type Fault,
  type Part,
  parseTemplate,
  type Reference,
  splitParts,
  trimParts,
} from './template.js';

export interface InterpolationContext {
  readonly source: Source;
  readonly sections: NameMap<IniSection>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether the values of this section are lists of parameters, `a=1&b=2`. */
  isParameterSection(section: string): boolean;
  /** The value in a JSON file, or undefined after having reported why there is none. */
  loadJson(name: string, span: Span): Located | undefined;
  fault(fault: Fault): void;
}

/** How long a chain of references may be, and how much text one value may grow to by them. */
const longestChain = 100;
const longestText = 1_048_576;

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** An entry whose value is being worked out. */
interface Frame {
  readonly section: IniSection;
  readonly entry: IniEntry;
  /** The reference that is being followed from here. */
  via?: Reference;
}

/** Where a value stands, and what is known of it so far. */
interface Scope {
  readonly section: IniSection;
  /** It is a secret, or goes into one. */
  readonly secret: boolean;
  /** Something in it has been reported. */
  faulty: boolean;
}

/** Turns the texts of an INI file into values: follows references, converts, and reads JSON files. */
export class Interpolation {
  readonly #context: InterpolationContext;
  readonly #done = new Map<IniEntry, Mutable<Located>>();
  readonly #open: Frame[] = [];

  constructor(context: InterpolationContext) {
    this.#context = context;
  }

  /** The value of an entry. Each is worked out once, so that what is wrong with it is told once. */
  evaluate(section: IniSection, entry: IniEntry, intoSecret = false): Located {
    const { source } = this.#context;
    const secret = intoSecret || isSecretName(entry.key);
    const name = secret ? 'secret' : entry.key;
    for (const span of secretSpans(name, entry.value, entry.valueSpan.start)) source.hide(span);
    const done = this.#done.get(entry);
    if (done) {
      done.secret ||= secret;
      return done;
    }
    const scope: Scope = { section, secret, faulty: entry.refused === true };
    this.#open.push({ section, entry });
    const parts = parseTemplate(entry.value, entry.valueSpan.start, (fault) => this.#fault(scope, fault));
    const read = this.#context.isParameterSection(section.name)
      ? this.#parameters(scope, entry, parts)
      : this.#value(scope, parts, entry.valueSpan);
    this.#open.pop();
    const located = {
      ...read,
      ...this.#place(entry.valueSpan),
      keyPosition: source.position(entry.keySpan.start),
      keyLength: entry.keySpan.end - entry.keySpan.start,
      secret: read.secret || secret,
      broken: read.broken || scope.faulty,
    };
    this.#done.set(entry, located);
    return located;
  }

  /** One value by the rules that hold everywhere: a prefix converts, a reference alone keeps its type. */
  #value(scope: Scope, parts: readonly Part[], span: Span): Located {
    const [first] = parts;
    const prefix =
      first?.kind === 'text' ? /^(?:(?:int|float|bool|list):|json=)/.exec(first.text)?.[0] : undefined;
    if (prefix) {
      const rest = dropStart(parts, prefix.length);
      const restSpan = { start: Math.min(span.start + prefix.length, span.end), end: span.end };
      if (prefix === 'list:') return this.#list(scope, rest, restSpan);
      if (prefix === 'json=') return this.#json(scope, rest, restSpan);
      return this.#convert(scope, conversions[prefix]!, rest, restSpan);
    }
    if (first?.kind === 'reference' && parts.length === 1) {
      const target = this.#follow(scope, first);
      return { ...target, ...this.#place(span), notation: 'ini' };
    }
    return this.#text(scope, parts, span);
  }

  #text(scope: Scope, parts: readonly Part[], span: Span): Located {
    const found = { text: '', secret: scope.secret };
    for (const part of parts) {
      const target = part.kind === 'text' ? undefined : this.#follow(scope, part);
      if (target?.broken) return this.#broken(span);
      if (typeof target?.value === 'object') {
        return this.#fault(scope, {
          ...part,
          message: `${nameOf(part as Reference)} is ${Array.isArray(target.value) ? 'a list' : 'an object'}, which cannot stand within text`,
          hint: 'let the reference be the whole value',
        });
      }
      found.text += part.kind === 'text' ? part.text : String(target?.value);
      found.secret ||= target?.secret === true;
      if (found.text.length > longestText && parts.length > 1) {
        return this.#fault(scope, {
          ...part,
          message: `the references grow the value beyond ${longestText} characters`,
        });
      }
    }
    return { value: found.text, secret: found.secret, ...this.#place(span), notation: 'ini' };
  }

  #convert(scope: Scope, conversion: Conversion, parts: readonly Part[], span: Span): Located {
    const text = this.#text(scope, parts, span);
    if (text.broken) return text;
    const value = conversion.parse(text.value as string);
    return value === undefined ? this.#fault(scope, { ...span, ...conversion.refusal }) : { ...text, value };
  }

  #list(scope: Scope, parts: readonly Part[], span: Span): Located {
    const pieces = splitParts(parts, /\s+/g).filter((piece) => piece.length > 0);
    const alone = pieces.length === 1 && pieces[0]!.length === 1 && pieces[0]![0]!.kind === 'reference';
    const children = pieces.flatMap((piece): Located | readonly Located[] => {
      const item = this.#value(scope, piece, spanOf(piece));
      if (Array.isArray(item.children)) {
        if (piece[0]!.kind === 'reference') return item.children;
        return this.#fault(scope, {
          ...spanOf(piece),
          message: 'a list cannot hold a list',
          hint: 'write list: once',
        });
      }
      if (!alone || typeof item.value !== 'string') return item;
      return item.value.split(/\s+/).flatMap((value) => (value === '' ? [] : [{ ...item, value }]));
    });
    return {
      value: children.map((child) => child.value),
      children,
      secret: scope.secret || children.some((child) => child.secret),
      ...this.#place(span),
      notation: 'ini',
    };
  }

  #json(scope: Scope, parts: readonly Part[], span: Span): Located {
    const name = this.#text(scope, parts, span);
    if (name.broken) return name;
    if (name.value === '') {
      return this.#fault(scope, { ...span, message: 'json= names no file', hint: 'write json=FILE' });
    }
    const loaded = this.#context.loadJson(name.value as string, span);
    return loaded ? { ...loaded, secret: scope.secret } : this.#broken(span);
  }

  /** `a=1&b=2&json=FILE`. It is split before references are followed, so that what they stand for may hold `&`. */
  #parameters(scope: Scope, entry: IniEntry, parts: readonly Part[]): Located {
    const { valueSpan } = entry;
    const children = new NameMap<Located>();
    const pieces = splitParts(parts, /&/g);
    let afterSecret = false;
    for (const piece of valueSpan.start === valueSpan.end ? [] : pieces) {
      const trimmed = trimParts(piece);
      const span = trimmed.length > 0 ? spanOf(trimmed) : valueSpan;
      const first = trimmed[0];
      const equals = first?.kind === 'text' ? first.text.indexOf('=') : -1;
      if (equals <= 0 || first?.kind !== 'text') {
        const spread =
          trimmed.length === 1 && first?.kind === 'reference' ? this.#follow(scope, first) : undefined;
        if (spread?.broken) scope.faulty = true;
        else if (spread?.children instanceof Map) this.#spread(scope, children, spread, span);
        else {
          if (afterSecret) this.#context.source.hide(span);
          this.#fault(
            scope,
            trimmed.length === 0 ? { ...span, ...emptyParameter } : { ...span, ...bareParameter },
          );
        }
        continue;
      }
      const key = first.text.slice(0, equals).trimEnd();
      const keySpan = { start: first.start, end: first.start + key.length };
      const valueParts = trimParts(dropStart(trimmed, equals + 1));
      const value = valueParts.length > 0 ? spanOf(valueParts) : { start: span.end, end: span.end };
      afterSecret = isSecretName(key);
      if (key === 'json') {
        const loaded = this.#json(scope, valueParts, value);
        if (loaded.broken) scope.faulty = true;
        else if (loaded.children instanceof Map) this.#spread(scope, children, loaded, value);
        else
          this.#fault(scope, {
            ...value,
            message: 'the JSON file holds no object',
            hint: 'write {"key": value} in it',
          });
        continue;
      }
      const within: Scope = { ...scope, secret: scope.secret || afterSecret, faulty: false };
      const located = this.#value(within, valueParts, value);
      this.#addParameter(scope, children, key, keySpan, {
        ...located,
        secret: located.secret || within.secret,
        broken: located.broken || within.faulty,
        keyPosition: this.#context.source.position(keySpan.start),
        keyLength: key.length,
        notation: 'parameter',
      });
    }
    const secret = scope.secret || [...children.values()].some((child) => child.secret);
    return {
      value: plainValue(children),
      children,
      secret,
      ...this.#place(valueSpan),
      notation: 'parameter',
    };
  }

  #spread(scope: Scope, into: NameMap<Located>, object: Located, span: Span): void {
    for (const [key, child] of object.children as ReadonlyMap<string, Located>) {
      this.#addParameter(scope, into, key, span, child);
    }
  }

  #addParameter(scope: Scope, into: NameMap<Located>, key: string, span: Span, value: Located): void {
    const first = into.get(key);
    if (!first) {
      into.set(key, value);
      return;
    }
    this.#fault(scope, {
      ...span,
      message: `the parameter ${quoteName(key)} is given twice`,
      hint: 'remove one of the two',
    });
  }

  /** What a reference stands for; broken after a fault in it, or in what it leads to. */
  #follow(scope: Scope, reference: Reference): Located {
    if (reference.section?.toUpperCase() === 'ENV') return this.#environment(scope, reference);
    const { sections } = this.#context;
    const section = reference.section === undefined ? scope.section : sections.get(reference.section);
    const entry = section?.entries.get(reference.key);
    if (!section || !entry) return this.#fault(scope, this.#missing(reference, section));
    this.#open.at(-1)!.via = reference;
    const circle = this.#open.findIndex((open) => open.entry === entry);
    if (circle !== -1) {
      const frames = this.#open.slice(circle);
      const names = [...frames, frames[0]!].map((open) => `\${${open.section.name}:${open.entry.key}}`);
      return this.#fault(scope, {
        ...frames[0]!.via!,
        message: `the references go in a circle: ${names.join(' -> ')}`,
        hint: 'give one of them a value of its own',
      });
    }
    if (this.#open.length > longestChain) {
      return this.#fault(scope, {
        ...reference,
        message: `the references lead on more than ${longestChain} times`,
      });
    }
    return this.evaluate(section, entry, scope.secret);
  }

  #environment(scope: Scope, reference: Reference): Located {
    const value = this.#context.env[reference.key];
    const secret = scope.secret || isSecretName(reference.key);
    if (value !== undefined && (value !== '' || !reference.fallback)) {
      return { value, secret, ...this.#place(reference), notation: 'ini' };
    }
    if (reference.fallback) {
      const fallback = this.#text(scope, reference.fallback, reference);
      return { ...fallback, secret: fallback.secret || secret };
    }
    return this.#fault(scope, {
      ...reference,
      message: `the environment variable ${reference.key} is not set`,
      hint: `set it, or write \${ENV:${reference.key}:-default}`,
    });
  }

  #missing(reference: Reference, section: IniSection | undefined): Fault {
    const { sections, env } = this.#context;
    if (!section) {
      const near = nearest(reference.section ?? '', sections.keys());
      const hint = near && `did you mean \${${near}:${reference.key}}?`;
      return { ...reference, message: `there is no section [${reference.section}]`, ...(hint && { hint }) };
    }
    const near = nearest(reference.key, section.entries.keys());
    const prefix = reference.section === undefined ? '' : `${section.name}:`;
    const hint = reference.key.includes(':-')
      ? `only \${ENV:NAME:-default} takes a default`
      : near
        ? `did you mean \${${prefix}${near}}?`
        : env[reference.key] !== undefined
          ? `write \${ENV:${reference.key}} for the environment variable`
          : undefined;
    return {
      ...reference,
      message: `there is no key ${quoteName(reference.key)} in [${section.name}]`,
      ...(hint && { hint }),
    };
  }

  #fault(scope: Scope, fault: Fault): Located {
    const { start, end, message, hint } = fault;
    this.#context.fault({ start, end, message, ...(hint && { hint }) });
    scope.faulty = true;
    return this.#broken(fault);
  }

  #broken(span: Span): Located {
    return { value: undefined, secret: false, ...this.#place(span), notation: 'ini', broken: true };
  }

  #place(span: Span): Pick<Located, 'position' | 'length'> {
    return { position: this.#context.source.position(span.start), length: span.end - span.start };
  }
}

interface Conversion {
  parse(text: string): unknown;
  readonly refusal: { readonly message: string; readonly hint: string };
}

const conversions: Readonly<Record<string, Conversion>> = {
  'int:': {
    parse: parseInteger,
    refusal: {
      message: 'this is no integer',
      hint: 'write up to 15 digits and nothing else, such as int:6123',
    },
  },
  'float:': {
    parse: parseDecimal,
    refusal: { message: 'this is no decimal number', hint: 'write it such as float:0.5' },
  },
  'bool:': {
    parse: parseBoolean,
    refusal: { message: 'this is neither true nor false', hint: `write bool: and ${booleanWords}` },
  },
};

const emptyParameter = { message: 'a parameter is missing beside "&"', hint: 'write a=1&b=2' };
const bareParameter = {
  message: 'the parameter has no "="',
  hint: `write name=value; a value that holds "&" goes on a line of its own, in [main], and here \${main:key}`,
};

function spanOf(parts: readonly Part[]): Span {
  return { start: parts[0]!.start, end: parts.at(-1)!.end };
}

function nameOf(reference: Reference): string {
  return `\${${reference.section === undefined ? '' : `${reference.section}:`}${reference.key}}`;
}
